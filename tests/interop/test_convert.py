"""Next hops without 8BITMIME: what starts here is converted and signed anew, what is in transit is
returned."""
import base64
import email
import os
import re

import pytest

from harness.outbound import Outbound
from harness.rawserver import RawServer, wire
from harness.server import wait_for
from harness.signing import verify

UMLAUTS = "Gr\u00fc\u00dfe aus K\u00f6ln\r\n"
INNER = """
domain "inner.test" { relay = true
    recipients = {"r@inner.test"} }
"""


@pytest.fixture(scope="module")
def alpha():
    with Outbound({"seven.test": "", "late.test": "", "inner.test": ""}, extra=INNER,
                  settings={"queue_lifetime": "30s"}) as s:
        yield s


@pytest.fixture(scope="module")
def seven(alpha):
    with RawServer(ehlo=["PIPELINING"], port=alpha.port["seven.test"]) as s:
        yield s


def letter(body, *fields):
    head = "".join(f + "\r\n" for f in ("From: <ann@alpha.test>", "Subject: x", *fields))
    return head.encode() + b"\r\n" + body


def multipart(kind, *parts, extra=""):
    lines = b"".join(b"--frontier\r\n" + p + b"\r\n" for p in parts)
    return letter(lines + b"--frontier--\r\n", "MIME-Version: 1.0",
                  f'Content-Type: multipart/{kind}; boundary="frontier"{extra}')


def part(content_type, encoding, body):
    return f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() \
        + body


def arrives(alpha, seven, raw, to="x@seven.test"):
    n = len(seven.letters)
    alpha.post(to, options=["BODY=8BITMIME"], raw=raw)
    wait_for(lambda: len(seven.letters) > n, 15, what="the converted letter")
    octets = seven.letters[-1]
    assert octets.isascii()
    assert b"BODY=" not in seven.octets
    whole = wire(octets)
    assert max(map(len, whole.split(b"\r\n"))) <= 998
    found = verify(alpha, whole)
    assert [d["result"] for d in found["dkim"]] == ["pass", "pass"], found
    head = whole.split(b"\r\n\r\n")[0]
    assert head.count(b"DKIM-Signature:") == 2  # those of before are gone
    return whole


def contents(raw):
    """What a reader of the letter sees: type and decoded octets of each leaf."""
    return [(p.get_content_type(), p.get_payload(decode=True))
            for p in email.message_from_bytes(raw).walk() if not p.is_multipart()]


@pytest.mark.parametrize("raw", [
    letter(UMLAUTS.encode(), "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
           "Content-Transfer-Encoding: 8bit"),
    letter(UMLAUTS.encode("latin-1"), "MIME-Version: 1.0",
           "Content-Type: text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: 8bit"),
    letter((".\r\n..\r\n" + UMLAUTS + "blanks  \r\n\r\n\r\n").encode(), "MIME-Version: 1.0",
           "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"),
    letter(bytes(range(128, 256)) + b"\r\n", "MIME-Version: 1.0", "Content-Type: image/png",
           "Content-Transfer-Encoding: 8bit"),
    multipart("mixed", part("text/plain; charset=utf-8", "8bit", UMLAUTS.encode()),
              part("application/pdf", "base64", base64.encodebytes(bytes(range(256))).replace(
                  b"\n", b"\r\n")),
              part("application/octet-stream", "8bit", b"\xff\xfe\x80\r\n")),
    letter(UMLAUTS.encode() * 20000, "MIME-Version: 1.0",
           "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"),
], ids=["utf-8", "latin-1", "dots-blanks", "octets", "attachments", "file"])
def test_converted(alpha, seven, raw):
    assert contents(arrives(alpha, seven, raw)) == contents(raw)


def test_without_mime(alpha, seven):
    """A letter that says nothing of what it is gets a type, and reads as before."""
    m = email.message_from_bytes(arrives(alpha, seven, letter(UMLAUTS.encode())))
    assert m["MIME-Version"] == "1.0" and m.get_content_type() == "text/plain"
    assert m.get_payload(decode=True) == UMLAUTS.encode()


def test_letter_in_letter(alpha, seven):
    inner = letter(UMLAUTS.encode(), "MIME-Version: 1.0",
                   "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit")
    raw = multipart("mixed", part("text/plain", "7bit", b"see below\r\n"),
                    part("message/rfc822", "8bit", inner))
    assert contents(arrives(alpha, seven, raw)) == contents(raw)


def refused(alpha, seven, raw, to="x@seven.test"):
    n = len(seven.letters)
    alpha.post(to, options=["BODY=8BITMIME"], raw=raw)
    fields = alpha.report(to, 15).recipients[to]
    assert fields["action"] == "failed" and fields["status"] == "5.6.3", fields
    assert len(seven.letters) == n
    return fields["diagnostic-code"]


def test_signed_is_returned(alpha, seven):
    """RFC 1847 2.1: nobody may change what a signature covers; and without 8-bit it goes."""
    def signed(text):
        return multipart("signed", part("text/plain; charset=utf-8", "8bit", text),
                         part("application/pgp-signature", "7bit", b"x\r\n"),
                         extra='; protocol="application/pgp-signature"; micalg=pgp-sha256')
    text = refused(alpha, seven, signed(UMLAUTS.encode()), "s@seven.test")
    assert "signed" in text and "8BITMIME" in text
    n = len(seven.letters)
    alpha.post("x@seven.test", raw=signed(b"hello\r\n"))
    wait_for(lambda: len(seven.letters) > n, 15)


def test_eight_bit_header_is_returned(alpha, seven):
    text = refused(alpha, seven, letter(UMLAUTS.encode(), "X-Note: K\u00f6ln"), "h@seven.test")
    assert "header" in text


def test_too_long_is_returned(alpha, seven):
    text = refused(alpha, seven, letter(UMLAUTS.encode() * (33 * 1024 * 1024 // len(UMLAUTS.encode()))),
                   "long@seven.test")
    assert "too long" in text and "32 MiB" in text


def test_in_transit_is_not_touched(alpha):
    with RawServer(ehlo=["PIPELINING"], port=alpha.port["inner.test"]) as s, alpha.smtp() as c:
        c.sendmail("joe@other.test", ["r@inner.test"],
                   b"From: <joe@other.test>\r\nSubject: transit\r\n\r\n" + UMLAUTS.encode(),
                   mail_options=["BODY=8BITMIME"])

        def held():
            return [r for q in alpha.json("queue", "list", "--held")
                    if q["sender"] == "joe@other.test" for r in q["rcpts"]]
        found = wait_for(held, 15, what="the letter, held")  # nobody proved its reverse-path
        assert "8BITMIME" in found[0]["text"]
        assert not s.letters


def test_waits_for_the_keeper(alpha):
    """Not one converted letter leaves without its signatures."""
    alpha.post("x@late.test", options=["BODY=8BITMIME"], raw=letter(UMLAUTS.encode()))
    pid = alpha.role_pids("keeper")[0]
    os.kill(pid, 9)
    with RawServer(ehlo=[], port=alpha.port["late.test"]) as s:
        wait_for(lambda: s.letters, 25, what="the letter")
        found = verify(alpha, wire(s.letters[0]))
        assert [d["result"] for d in found["dkim"]] == ["pass", "pass"]


def test_receipt_and_log_tell(alpha, seven):
    n = len(seven.letters)
    ident = alpha.post("x@seven.test", options=["BODY=8BITMIME"], raw=letter(UMLAUTS.encode()))
    wait_for(lambda: len(seven.letters) > n, 15)
    wait_for(lambda: re.search(r'converted', alpha.trace(ident)), 5, what="converted in the receipt")
    assert re.search(r" converted .*octets=", alpha.log())
