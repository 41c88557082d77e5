"""Exim and OpenSMTPD as clients of letterlockd (plain, STARTTLS, a login) and as its next hops (plain,
TLS forced and verified): 8-bit, dots, long lines, 200 recipients, and no smuggling through either."""
import json
import os
import socket

import pytest
from harness import certs
from harness.mtas import RECIPIENTS, Exim, Hop, OpenSmtpd
from harness.server import PASSWORD, Server, testdata, wait_for

BODY = ("gr\xfc\xdfe \u20ac\n.\n..\n.dot\n \n" + "x" * 990 + "\n" + "ab " * 1000 +
        "\nlast\n").encode()
LETTER = (b"From: <ann@alpha.test>\nTo: <u0@local.test>\nSubject: test\nMIME-Version: 1.0\n"
          b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + BODY)
SUITE = testdata("smtp-smuggling")


class Pair:
    """A letterlockd and an MTA, each the other's next hop: letters for alpha.test, tls.test and
    login.test go from the MTA to letterlockd, for local.test the other way."""

    def __init__(self, kind, folder):
        self.authority = certs.Authority(folder)
        self.server = Server("alpha.test", start=False, settings={"private_targets": True},
                             extra='domain "tls.test" { }\ndomain "login.test" { }')
        try:
            s = self.server
            for domain in ("tls.test", "login.test"):
                s.tool("user", "add", f"ann@{domain}", "--password-file", s.password_file)
            self.mta = kind(self.authority.issue("mta.test"), {
                "alpha.test": Hop(s.mx, False), "tls.test": Hop(s.mx, True),
                "login.test": Hop(s.submission, True, ("ann@alpha.test", PASSWORD))})
        except BaseException:
            self.server.close()
            raise
        self.route(self.mta.plain, "opportunistic")
        self.server.start()

    def route(self, port, tls):
        """How letters for local.test leave letterlockd."""
        s = self.server
        with open(s.conf, encoding="utf-8") as f:
            text = f.read().partition("# hop\n")[0]
        with open(s.conf, "w", encoding="utf-8") as f:
            f.write(text + '# hop\nroute "local.test" { via = "smarthost" host = "127.0.0.1" '
                    f'port = {port} tls = "{tls}" names = {{"mta.test"}} '
                    f'ca_file = "{self.authority.file}" }}\n')
        if s.process:
            s.tool("reload")

    def close(self):
        self.mta.close()
        self.server.close()


@pytest.fixture(scope="module", params=[Exim, OpenSmtpd], ids=["exim", "opensmtpd"])
def pair(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    for f in (folder, *list(folder.parents)[:2]):
        f.chmod(0o755)
    p = Pair(request.param, folder)
    yield p
    p.close()


def say(port, sender, recipients, content):
    """Raw SMTP: content goes behind 354 as it is. The last code, 0 where the peer hung up."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as c:
        f = c.makefile("rwb")

        def reply():
            while True:
                line = f.readline()
                if line[3:4] != b"-":
                    return int(line[:3] or 0)

        def cmd(line):
            f.write(line + b"\r\n")
            f.flush()
            return reply()
        assert reply() == 220
        assert cmd(b"EHLO client.test") == 250
        assert cmd(b"MAIL FROM:<" + sender.encode() + b"> BODY=8BITMIME") == 250
        for r in recipients:
            assert cmd(b"RCPT TO:<" + r.encode() + b">") == 250
        assert cmd(b"DATA") == 354
        try:
            f.write(content)
            f.flush()
            return reply()
        except OSError:
            return 0


def wire(text):
    lines = text.replace(b"\n", b"\r\n").split(b"\r\n")
    return b"\r\n".join(b"." + x if x.startswith(b".") else x for x in lines) + b".\r\n"


def body(raw):
    return raw.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


# ---- as clients --------------------------------------------------------------------------------

@pytest.mark.parametrize("domain", ["alpha.test", "tls.test", "login.test"])
def test_as_a_client(pair, domain):
    mailbox = f"ann@{domain}"
    before = len(pair.server.mail(mailbox))
    assert say(pair.mta.plain, "ann@alpha.test", [mailbox], wire(LETTER)) == 250
    raw = pair.server.wait_mail(mailbox, before + 1, 40)[-1]
    assert body(raw) == BODY
    head = raw.replace(b"\r\n", b"\n").partition(b"\nFrom: ")[0]
    first = b" ".join(head.split(b"\nReceived: ")[1].split())
    assert (b"with ESMTP id" in first) == (domain == "alpha.test"), first
    assert (b"version=TLSv1.3" in first) == (domain != "alpha.test"), first
    assert (b"ESMTPSA" in first) == (domain == "login.test"), first


# ---- as next hops ------------------------------------------------------------------------------

@pytest.mark.parametrize("tls", ["opportunistic", "forced", "verify"])
def test_as_the_next_hop(pair, tls):
    if tls != "opportunistic" and not pair.mta.TLS_IN:
        pytest.skip(f"{pair.mta.NAME} of this Debian makes no TLS session as a server")
    pair.mta.empty()
    pair.route(pair.mta.plain if tls == "opportunistic" else pair.mta.port, tls)
    with pair.server.smtp("submission") as c:
        c.login("ann@alpha.test", PASSWORD)
        assert not c.sendmail("ann@alpha.test", [f"u{n}@local.test" for n in range(RECIPIENTS)],
                              LETTER.replace(b"\n", b"\r\n"), mail_options=["BODY=8BITMIME"])
    wait_for(lambda: all(pair.mta.mail(u) for u in pair.mta.users), 90, 0.3,
             "200 letters at the next hop")
    for user in pair.mta.users:
        letters = pair.mta.mail(user)
        assert len(letters) == 1 and body(letters[0]) == BODY
    top = letters[0].split(b"Received:")[1].lower()
    assert b"mx.alpha.test" in top and (b"with esmtps" in top) == (tls != "opportunistic"), top


def test_a_wrong_certificate_gets_nothing(pair):
    pair.mta.empty()
    pair.route(pair.mta.port, "verify")
    with open(pair.server.conf, encoding="utf-8") as f:
        text = f.read()
    with open(pair.server.conf, "w", encoding="utf-8") as f:
        f.write(text.replace('"mta.test"', '"other.test"'))
    pair.server.tool("reload")
    pair.server.submit("u1@local.test")
    wait_for(lambda: "4.7.5" in pair.server.tool("queue", "why"), 20, what="the reason")
    assert not pair.mta.mail("u1")


# ---- smuggling ---------------------------------------------------------------------------------

def attacks():
    if not SUITE:
        pytest.skip("no test data")
    with open(os.path.join(SUITE, "sequences.json"), encoding="utf-8") as f:
        return [(s["name"], bytes.fromhex(s["bytes"])) for s in json.load(f)["never_end_of_data"]]


def attack(sequence, sender, victim):
    return (b"From: <x@y.test>\r\nSubject: outer\r\n\r\nbody" + sequence + b"MAIL FROM:<" +
            sender.encode() + b">\r\nRCPT TO:<" + victim.encode() +
            b">\r\nDATA\r\nSubject: inner\r\n\r\nforged\r\n.\r\n")


def test_nothing_is_smuggled_in_through_it(pair):
    """What that server makes of a sequence, letterlockd takes for one letter or for none."""
    mailbox, victim = "ann@alpha.test", "ann@tls.test"
    before = len(pair.server.mail(mailbox)), len(pair.server.mail(victim))
    for _, sequence in attacks():
        say(pair.mta.plain, "x@y.test", [mailbox], attack(sequence, "admin@alpha.test", victim))
    assert say(pair.mta.plain, "x@y.test", [mailbox], wire(b"Subject: sentinel\n\nx\n")) == 250
    wait_for(lambda: any(b"sentinel" in m for m in pair.server.mail(mailbox)[before[0]:]), 40)
    # A server that takes a sequence for the letter's end was given the inner letter itself: it signs
    # for it by its Received field. What letterlockd alone took for a letter would lack that field.
    for raw in pair.server.mail(mailbox)[before[0]:] + pair.server.mail(victim)[before[1]:]:
        header = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
        assert b"by " + pair.mta.NAME.encode() in b" ".join(header.split()), raw


def test_nothing_is_smuggled_out_to_it(pair):
    """letterlockd refuses each sequence: the next hop sees none of them."""
    pair.mta.empty()
    pair.route(pair.mta.plain, "opportunistic")
    for name, sequence in attacks():
        with pair.server.smtp("submission") as c:
            c.login("ann@alpha.test", PASSWORD)
            assert c.mail("ann@alpha.test")[0] == c.rcpt("u2@local.test")[0] == 250
            assert c.docmd("DATA")[0] == 354
            c.send(attack(sequence, "ann@alpha.test", "u3@local.test"))
            code, _ = c.getreply()
            assert 500 <= code < 600, name
            c.close()
    pair.server.submit("u2@local.test", subject="sentinel")
    wait_for(lambda: pair.mta.mail("u2"), 40, what="the sentinel")
    letter, = pair.mta.mail("u2")
    assert b"sentinel" in letter and b"forged" not in letter and not pair.mta.mail("u3")
