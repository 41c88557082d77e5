"""letterlock milter behind real Postfix: letters from outside (by XCLIENT) are checked, ours signed.
192.0.2.7 may send for good.test, nobody for bank.test."""
import base64
import email
import os
import re
import signal
import smtplib
import socket
import subprocess
import threading
import time

import pytest

from harness import ports
from harness.auth import txt, verify
from harness.dnsserver import DnsServer
from harness.milter import LEADING_SPACE, Milter, frame
from harness.peers import Postfix
from harness.rawserver import RawServer
from harness.server import LETTERLOCK, Server, wait_for

OUTSIDE = "192.0.2.7"
ZONE = [
    "good.test. TXT \"v=spf1 ip4:192.0.2.7 -all\"",
    "_dmarc.good.test. TXT \"v=DMARC1; p=reject\"",
    "bank.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"",
    "_dmarc.bank.test. TXT \"v=DMARC1; p=reject\"",
    "shop.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"",
    "_dmarc.shop.test. TXT \"v=DMARC1; p=quarantine\"",
    "_dmarc.ours.test. TXT \"v=DMARC1; p=reject\"",
    "7.2.0.192.in-addr.arpa. PTR client.test.",
    "client.test. A 192.0.2.7",
    "alone.test. TXT \"v=spf1 -all\"",
    "slow.test. TXT \"v=spf1 include:_spf.silent.test -all\"",
]
MASTER = """\
127.0.0.1:{tls_port} inet n - n - - smtpd
 -o smtpd_milters=inet:127.0.0.1:%d
"""


def make_key(folder, kind):
    path = os.path.join(folder, kind + ".pem")
    options = {"rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
               "ed": ["-algorithm", "ED25519"]}[kind]
    subprocess.run(["openssl", "genpkey", *options, "-out", path], check=True,
                   stderr=subprocess.DEVNULL)
    os.chmod(path, 0o600)  # it is read before the milter leaves root
    der = subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], check=True,
                         stdout=subprocess.PIPE).stdout
    public = der[-32:] if kind == "ed" else der
    return path, "v=DKIM1; k=%s; p=%s" % ({"rsa": "rsa", "ed": "ed25519"}[kind],
                                          base64.b64encode(public).decode())


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("keys"))
    return {kind: make_key(folder, kind) for kind in ("rsa", "ed")}


@pytest.fixture(scope="module")
def records(keys):
    return {f"{kind}._domainkey.{domain}": record for domain in ("ours.test", "bank.test")
            for kind, (_, record) in keys.items()}


@pytest.fixture(scope="module")
def dns(records):
    with DnsServer(ZONE + [txt(n, v) for n, v in records.items()], silent=["silent.test."]) as d:
        yield d


def sign_options(keys):
    return [x for kind, (path, _) in keys.items() for x in ("--sign", f"ours.test:{kind}:{path}")]


@pytest.fixture(scope="module")
def milter(dns, keys):
    with Milter("--resolver", dns.address, "--check-timeout", "3", *sign_options(keys)) as m:
        yield m


@pytest.fixture(scope="module")
def sink():
    with RawServer() as s:
        yield s


@pytest.fixture(scope="module")
def holder(dns):
    """A second milter: quarantine is the hold queue."""
    with Milter("--resolver", dns.address, "--quarantine", "hold", "--dmarc", "quarantine") as m:
        yield m


@pytest.fixture(scope="module")
def postfix(milter, holder, sink):
    main = f"""\
smtpd_milters = {milter.address}
non_smtpd_milters = {milter.address}
milter_default_action = tempfail
milter_connect_timeout = 10s
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
local_header_rewrite_clients =
export_environment = TZ MAIL_CONFIG LANG LD_LIBRARY_PATH
message_size_limit = 60000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_client_connection_count_limit = 0
transport_maps = inline:{{ {{ out.test = smtp:[127.0.0.1]:{sink.port} }} }}
"""
    with Postfix(main, master=MASTER % holder.port) as p:
        yield p


def letter(author, subject, extra="", body="hello\r\n", to="u@local.test"):
    text = (f"From: <{author}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n"
            f"Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{subject}@x.test>\r\n{extra}"
            f"\r\n{body}")
    return text.encode()


def send(postfix, reverse, text, to="u@local.test", outside=True, port=None, login=None):
    with smtplib.SMTP("127.0.0.1", port or postfix.port, timeout=60) as s:
        s.ehlo("client.test")
        if outside:
            who = f"ADDR={OUTSIDE} NAME=client.test HELO=client.test"
            assert s.docmd("XCLIENT", who + (f" LOGIN={login}" if login else ""))[0] == 220
            s.ehlo("client.test")
        s.sendmail(reverse, [to], text, mail_options=["BODY=8BITMIME"])


def find(postfix, subject):
    for raw in postfix.mail("u@local.test"):
        m = email.message_from_bytes(raw if isinstance(raw, bytes) else raw.encode())
        if m["Subject"] == subject:
            return m
    return None


def arrived(postfix, subject):
    return wait_for(lambda: find(postfix, subject), 20, what=subject)


def results(m):
    return " ".join((m["Authentication-Results"] or "").split())


# ---- letters from outside --------------------------------------------------------------------------

def test_genuine(postfix):
    forged = ("Authentication-Results: postfix.test; dmarc=pass header.from=bank.test\r\n"
              "Authentication-Results: other.test; spf=pass\r\n"
              "authentication-results:\r\n (x) \"POSTFIX.test\" 1;\r\n dkim=pass\r\n"
              "Authentication-Results: postfix.test.; none\r\n")
    send(postfix, "joe@good.test", letter("joe@good.test", "genuine", forged))
    m = arrived(postfix, "genuine")
    r = results(m)
    assert r.startswith("postfix.test; spf=pass")
    assert "dmarc=pass" in r and "header.from=good.test" in r and "iprev=pass" in r
    assert [" ".join(x.split()) for x in m.get_all("Authentication-Results")[1:]] == \
        ["other.test; spf=pass"]
    assert m.keys().index("Authentication-Results") < m.keys().index("Received")
    assert m["DKIM-Signature"] is None


def test_forged_is_refused(postfix):
    with pytest.raises(smtplib.SMTPDataError) as e:
        send(postfix, "joe@good.test", letter("boss@bank.test", "forged"))
    assert e.value.smtp_code == 550 and e.value.smtp_error.startswith(b"5.7.26")
    assert find(postfix, "forged") is None


@pytest.mark.parametrize("head", [
    "From: <joe@good.test>\r\nFrom: <boss@bank.test>\r\n", "From: <boss@bank.test>, <joe@good.test>\r\n",
    "Subject: x\r\nFrom : <boss@bank.test>\r\n", "From:\r\n <boss@bank.test>\r\n", "Subject: x\r\n",
], ids=["two", "list", "blank", "folded", "none"])
def test_tricks_with_from(postfix, head):
    with pytest.raises(smtplib.SMTPDataError) as e:
        send(postfix, "joe@good.test", head.encode() + b"To: <u@local.test>\r\n\r\nhello\r\n")
    assert e.value.smtp_code == 550


def test_quarantine_is_marked(postfix):
    send(postfix, "joe@good.test", letter("boss@shop.test", "doubtful"))
    m = arrived(postfix, "doubtful")
    assert m["X-Quarantine"] == "the sender is not proved" and "dmarc=fail" in results(m)


def test_list_is_not_refused(postfix):
    send(postfix, "joe@good.test", letter("boss@bank.test", "list", "List-Id: <l.good.test>\r\n"))
    assert arrived(postfix, "list")["X-Quarantine"]


def test_quarantine_is_held(postfix, holder):
    """--quarantine hold, and p=reject under --dmarc quarantine."""
    before = len(os.listdir(f"{postfix.dir}/spool/hold"))
    for i, author in enumerate(("boss@shop.test", "boss@bank.test")):
        send(postfix, "joe@good.test", letter(author, f"held{i}"), port=postfix.tls_port)
        assert len(os.listdir(f"{postfix.dir}/spool/hold")) == before + i + 1
    assert find(postfix, "held0") is None and holder.log().count("action=quarantined") == 2


ODD = {
    "plain": ("", "hello\r\n"),
    "empty": ("", ""),
    "8bit": ("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
             "X-Name: J\u00f6rg\r\n", "gr\u00fc\u00dfe \u2713\r\n"),
    "folded": ("References: <a@x.test>\r\n <b@x.test>\r\n\t<c@x.test>\r\nX-Blank:   two  \r\n",
               "trailing  \r\n\tblanks \r\n\r\n\r\n"),
    "long": ("".join(f"X-Many-{i}: {i}\r\n" for i in range(200)) +
             "References: " + "\r\n ".join(f"<{i}.abcdefghijklmnopqrstuvwxyz@x.test>" for i in range(900)) +
             "\r\n", "x" * 990 + "\r\n"),
    "dots": ("", ".\r\n..\r\n.a\r\n"),
    "large": ("", "".join(f"line {i} of a long letter\r\n" for i in range(300000))),
}


@pytest.mark.parametrize("name", ODD)
def test_signed_by_others(postfix, keys, name):
    """SPF fails; the author's signature must hold through Postfix and the protocol."""
    import dkim
    extra, body = ODD[name]
    text = letter("boss@bank.test", f"theirs-{name}", extra, body)
    with open(keys["rsa"][0], "rb") as f:
        text = dkim.sign(text, b"rsa", b"bank.test", f.read(),
                         canonicalize=(b"relaxed", b"simple")) + text
    send(postfix, "x@bank.test", text)
    r = results(arrived(postfix, f"theirs-{name}"))
    assert "dkim=pass" in r and "dmarc=pass" in r and "spf=fail" in r


def test_changed_is_refused(postfix, keys):
    text = subprocess.run([LETTERLOCK, "sign", "-d", "bank.test", "-s", "ed", "-k", keys["ed"][0], "-"],
                          input=letter("boss@bank.test", "changed"), stdout=subprocess.PIPE,
                          check=True).stdout
    with pytest.raises(smtplib.SMTPDataError):
        send(postfix, "x@bank.test", text.replace(b"hello", b"hullo"))


def test_silent_dns(postfix, milter):
    """The letter is taken after --check-timeout, its SPF is temperror."""
    send(postfix, "joe@slow.test", letter("joe@slow.test", "slow"))
    assert "spf=temperror" in results(arrived(postfix, "slow"))
    assert "milter-late" in milter.log()


# ---- letters of ours ---------------------------------------------------------------------------------

def wire(octets):
    return re.sub(rb"(^|\r\n)\.", rb"\1", octets)


def check_signed(text, dns, records, identity="ours.test"):
    import dkim
    found = verify(text, "--resolver", dns.address)
    assert [(d["result"], d["algorithm"], d["domain"]) for d in found["dkim"]] == [
        ("pass", "rsa-sha256", identity), ("pass", "ed25519-sha256", identity)]
    for i in range(2):
        d = dkim.DKIM(text)
        assert d.verify(i, dnsfunc=lambda name, timeout=5: records[
            (name.decode() if isinstance(name, bytes) else name).rstrip(".")].encode())


@pytest.mark.parametrize("name", ODD)
def test_we_sign(postfix, sink, dns, records, name):
    extra, body = ODD[name]
    before = len(sink.letters)
    send(postfix, "ann@ours.test", letter("ann@ours.test", f"ours-{name}", extra, body,
                                          to="x@out.test"), "x@out.test", outside=False)
    wait_for(lambda: len(sink.letters) > before, 30)
    check_signed(wire(sink.letters[-1]), dns, records)


def test_login_is_ours(postfix, dns, records):
    """A client from anywhere that logged in: {auth_authen}."""
    send(postfix, "ann@sub.ours.test", letter("ann@sub.ours.test", "login"), login="ann")
    m = arrived(postfix, "login")
    assert len(m.get_all("DKIM-Signature")) == 2 and m["Authentication-Results"] is None


def test_not_ours_is_not_signed(postfix):
    forged = "Authentication-Results: postfix.test; dmarc=pass\r\n"
    send(postfix, "joe@good.test", letter("joe@good.test", "internal", forged), outside=False)
    m = arrived(postfix, "internal")
    assert m["DKIM-Signature"] is None and m["Authentication-Results"] is None


def test_outsider_is_not_signed(postfix):
    with pytest.raises(smtplib.SMTPDataError):
        send(postfix, "joe@good.test", letter("ann@ours.test", "outsider"))


def test_local_letter(postfix, sink, dns, records):
    """non_smtpd_milters: Postfix's own sendmail."""
    before = len(sink.letters)
    p = subprocess.run([f"{postfix.root}/usr/sbin/sendmail", "-C", f"{postfix.dir}/etc", "-f",
                        "ann@ours.test", "-i", "x@out.test"], env=postfix.env, timeout=30,
                       input=letter("ann@ours.test", "local", to="x@out.test").replace(b"\r\n", b"\n"),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert p.returncode == 0, p.stdout
    wait_for(lambda: len(sink.letters) > before, 30)
    check_signed(wire(sink.letters[-1]), dns, records)


# ---- many, and none ------------------------------------------------------------------------------------

def test_many_sessions(postfix, milter):
    faults = []

    def one(n):
        try:
            for k in range(3):
                send(postfix, "joe@good.test", letter("joe@good.test", f"many-{n}-{k}"))
        except Exception as e:  # noqa: BLE001: shown below
            faults.append(repr(e))
    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not faults

    def all_there():
        got = [x for x in postfix.mail("u@local.test") if b"many-" in (
            x if isinstance(x, bytes) else x.encode())]
        return len(got) == 60 and got
    for raw in wait_for(all_there, 30):
        assert b"dmarc=pass" in (raw if isinstance(raw, bytes) else raw.encode())


def test_killed(postfix, milter):
    """Postfix's milter_default_action decides while it is away; then it goes on."""
    milter.stop(signal.SIGKILL)
    with pytest.raises(smtplib.SMTPException) as e:
        send(postfix, "joe@good.test", letter("joe@good.test", "away"))
    assert "451" in str(e.value) or "421" in str(e.value)
    milter.start()
    send(postfix, "joe@good.test", letter("joe@good.test", "back"))
    assert "dmarc=pass" in results(arrived(postfix, "back"))


# ---- the protocol, without Postfix ---------------------------------------------------------------------

FIELDS = [(b"From", b" <ann@ours.test>"), (b"To", b"<x@out.test>"), (b"Subject", b"  two\n\tlines "),
          (b"Authentication-Results", b" postfix.test; none"),
          (b"Authentication-Results", b" other.test; none"),
          (b"authentication-results", b"\n postfix.test; none")]
BODY = b"one\r\n\r\ntwo \r\n\r\n"


@pytest.mark.parametrize("steps", [0x1fffff, 0x1fffff & ~LEADING_SPACE, 0],
                         ids=["postfix", "no-space", "old"])
@pytest.mark.parametrize("piece", [None, 1], ids=["whole", "octets"])
def test_signed_as_sent(milter, dns, records, steps, piece):
    with milter.connect(steps=steps) as mta:
        for _ in range(2):  # two letters in one session
            mta.send(mta.letter(FIELDS, BODY, ip="127.0.0.1", sender="<ann@ours.test>", chunk=3), piece)
            answers = mta.end()
            head = mta.apply(FIELDS, answers)
            check_signed(head + b"\r\n" + BODY, dns, records)
            assert head.lower().count(b"authentication-results") == 1 and b"other.test" in head
            if steps == 0x1fffff:
                mta.send(frame(b"K"))


def test_abort_and_again(milter):
    with milter.connect() as mta:
        mta.send(mta.letter([(b"From", b" <boss@bank.test>")], b"x", end=False) + frame(b"A"))
        mta.send(mta.letter([(b"From", b" <joe@good.test>")], b"x", sender="<joe@good.test>"))
        assert mta.end()[-1] == (b"c", b"")
        mta.send(mta.letter([(b"From", b" <boss@bank.test>")], b"x", sender="<joe@good.test>"))
        assert mta.end() == [(b"y", b"550 5.7.26 " + mta_text() + b"\0")]
        mta.send(frame(b"Q"))
        assert mta.closed()


def mta_text():
    """The sentence of the refusal, from the source that fronts use too."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(os.path.join(top, "daemon/front/policy.c"), encoding="utf-8") as f:
        words = re.search(r"ll_verdict_dmarc = \{\s*550, \"5.7.26\",([^}]*)\}", f.read()).group(1)
    return "".join(re.findall(r'"([^"]*)"', words)).encode()


def test_abort_while_it_waits(milter):
    """The client goes while DNS is silent; the connection serves the next letter."""
    with milter.connect() as mta:
        mta.send(mta.letter([(b"From", b" <joe@slow.test>")], b"x", sender="<joe@slow.test>"))
        time.sleep(0.3)
        mta.send(frame(b"A"))
        mta.send(mta.letter([(b"From", b" <joe@good.test>")], b"x", sender="<joe@good.test>"))
        assert b"spf=pass" in mta.end()[0][1]
    with milter.connect() as mta:
        mta.send(mta.letter([(b"From", b" <joe@slow.test>")], b"x", sender="<joe@slow.test>"))
    assert milter.process.poll() is None


@pytest.mark.parametrize("octets", [
    b"GET / HTTP/1.0\r\n\r\n", frame(b"X"), b"\0\0\0\0", b"\x7f\xff\xff\xff", frame(b"L", b"Subject\0a"),
    frame(b"c"), frame(b"O", b"\0\0"), frame(b"B", b"x") * 2,
])
def test_nonsense_is_hung_up_on(milter, octets):
    with milter.connect(negotiate=False) as mta:
        mta.send(octets)
        assert mta.closed()
    with milter.connect() as mta:
        mta.send(frame(b"E") + octets if octets[4:5] == b"B" else octets)
        assert mta.closed() or octets[4:5] == b"B"


def test_old_mta(milter):
    for version, actions in ((1, 0x1ff), (6, 0x1)):
        with milter.connect(negotiate=False) as mta:
            mta.send(frame(b"O", bytes([0, 0, 0, version]) + actions.to_bytes(4, "big") + b"\0\0\0\0"))
            assert mta.closed()


def test_limits(dns):
    with Milter("--resolver", dns.address, "--sessions", "2", "--size", "100000", "--idle", "2") as m:
        with m.connect() as mta:
            mta.send(mta.letter([(b"From", b" <joe@good.test>")] +
                                [(b"X-%d" % i, b"y" * 60000) for i in range(20)], b"x"))
            assert mta.end()[-1][1].startswith(b"552 5.3.4")
            mta.send(mta.letter([(b"From", b" <joe@good.test>")], b"x" * 200000))
            assert mta.end()[-1][1].startswith(b"552 5.3.4")
            with m.connect():
                third = socket.create_connection(("127.0.0.1", m.port), timeout=20)
                third.sendall(frame(b"O", b"\0\0\0\6\0\0\1\xff\0\0\0\0"))
                assert third.recv(1000)  # when one of the two has been silent too long
                third.close()
            assert mta.closed()
        assert "milter-full" in m.log()


FORGED = [(b"From", b" <boss@bank.test>")]


@pytest.mark.parametrize("options,fields,sender,ends", [
    ([], FORGED, "<joe@good.test>", b"550 5.7.26"),
    (["--dmarc", "quarantine"], FORGED, "<joe@good.test>", b"X-Quarantine"),
    (["--dmarc", "report"], FORGED, "<joe@good.test>", b""),
    (["--dmarc", "report"], [(b"To", b" <x@y.test>")], "<joe@good.test>", b""),
    (["--dmarc", "quarantine"], [(b"To", b" <x@y.test>")], "<joe@good.test>", b"X-Quarantine"),
    (["--forwarder", "192.0.2.0/24"], FORGED, "<joe@good.test>", b"X-Quarantine"),
    (["--forwarder", "198.51.100.0/24"], FORGED, "<joe@good.test>", b"550 5.7.26"),
    (["--internal", "192.0.2.7"], FORGED, "<joe@good.test>", None),
    ([], [(b"From", b" <a@alone.test>")], "<a@alone.test>", b""),
    (["--spf-fail", "quarantine"], [(b"From", b" <a@alone.test>")], "<a@alone.test>", b"X-Quarantine"),
    (["--spf-fail", "reject"], [(b"From", b" <a@alone.test>")], "<a@alone.test>", b"550 5.7."),
])
def test_policy(dns, options, fields, sender, ends):
    """ends: the reply; else the marking field, b"": only the results, None: nothing is looked at."""
    with Milter("--resolver", dns.address, "--authserv-id", "us.test", *options) as m, m.connect() as mta:
        mta.send(mta.letter(fields, b"x\r\n", sender=sender))
        answers = mta.end()
        if ends and ends[:1] == b"5":
            assert len(answers) == 1 and answers[0][1].startswith(ends)
            return
        assert answers[-1] == (b"c", b"")
        names = [data[4:].split(b"\0")[0] for code, data in answers if code == b"i"]
        assert names == ([] if ends is None else [ends] * (ends != b"") + [b"Authentication-Results"])
        if ends is not None:
            assert b"us.test;" in answers[-2][1]


def test_received_spf_if_asked(dns):
    for options, there in ((["--received-spf"], True), ([], False)):
        with Milter("--resolver", dns.address, "--authserv-id", "us.test", *options) as m, m.connect() as mta:
            mta.send(mta.letter([(b"From", b" <a@alone.test>")], b"x\r\n", sender="<a@alone.test>"))
            fields = [data[4:] for code, data in mta.end() if code == b"i"]
            found = [f for f in fields if f.startswith(b"Received-SPF\0")]
            assert len(found) == there
            assert not there or (b"receiver=\"us.test\"" in found[0] and b"192.0.2.7" in found[0])


def test_sender_that_takes_no_mail(dns):
    """Null MX (RFC 7505 4.2): refused where DMARC is enforced, as the server does."""
    dns.add_line("nomail.test. MX 0 .")
    for options, refused in (([], True), (["--dmarc", "report"], False)):
        with Milter("--resolver", dns.address, *options) as m, m.connect() as mta:
            mta.send(mta.letter([(b"From", b" <a@alone.test>")], b"x\r\n", sender="<a@nomail.test>"))
            code, data = mta.end()[-1]
            assert data.startswith(b"550 5.7.27") if refused else (code, data) == (b"c", b"")


def test_loopback_from_outside(dns):
    """--internal none: a client on loopback is a stranger."""
    with Milter("--resolver", dns.address, "--internal", "none") as m, m.connect() as mta:
        mta.send(mta.letter(FORGED, b"x", ip="127.0.0.1"))
        assert mta.end()[-1][1].startswith(b"550 5.7.26")


def test_trusted_sealer(dns, keys):
    """Its ARC seal says that DMARC passed there: taken. Not trusted: refused."""
    text = subprocess.run([LETTERLOCK, "sign", "-d", "ours.test", "-s", "rsa", "-k", keys["rsa"][0],
                           "--arc", "list.test", "--results", "dmarc=pass header.from=bank.test",
                           "--resolver", dns.address, "-"], input=letter("boss@bank.test", "sealed"),
                          stdout=subprocess.PIPE, check=True).stdout
    head, _, body = text.partition(b"\r\n\r\n")
    fields = [tuple(f.replace(b"\r\n", b"\n").split(b":", 1)) for f in re.split(rb"\r\n(?![ \t])", head)]
    for options, code in ((["--arc-trusted", "ours.test"], b"c"), (["--arc-trusted", "other.test"], b"y")):
        with Milter("--resolver", dns.address, *options) as m, m.connect() as mta:
            mta.send(mta.letter(fields, body, sender="<joe@good.test>"))
            answers = mta.end()
            assert answers[-1][0] == code
            assert code == b"y" or b"arc=pass" in b"".join(data for _, data in answers)


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return sum(int(x) for x in f.read().rpartition(")")[2].split()[11:13])


def test_no_descriptors_left(dns):
    """It does not spin, and goes on when there are some again."""
    with Milter("--resolver", dns.address, prefix=["prlimit", "--nofile=40:40"]) as m:
        many = [socket.create_connection(("127.0.0.1", m.port), timeout=20) for _ in range(60)]
        wait_for(lambda: "milter-no-resources" in m.log(), 10)
        before = cpu_ticks(m.process.pid)
        time.sleep(1)
        assert cpu_ticks(m.process.pid) - before < 30
        for s in many:
            s.close()
        with m.connect() as mta:
            mta.send(mta.letter([(b"From", b" <joe@good.test>")], b"x", sender="<joe@good.test>"))
            assert b"spf=pass" in mta.end()[0][1]


def test_silence_does_not_hide_dmarc(dns):
    """SPF of a silent zone waits; the author's policy is asked for, and kept."""
    with Milter("--resolver", dns.address, "--check-timeout", "4") as m, m.connect() as mta:
        mta.send(mta.letter(FORGED, b"x", sender="<joe@slow.test>"))
        assert mta.end()[-1][1].startswith(b"550 5.7.26")


def test_late_is_deferred(dns):
    with Milter("--resolver", dns.address, "--late", "defer", "--check-timeout", "1") as m:
        with m.connect() as mta:
            mta.send(mta.letter([(b"From", b" <joe@silent.test>")], b"x", sender="<joe@silent.test>"))
            assert mta.end()[-1][1].startswith(b"451 4.7.")


def test_unix_socket(dns, tmp_path):
    os.chmod(tmp_path, 0o755)
    path = str(tmp_path / "milter.sock")
    for _ in range(2):  # the second finds the socket that the first left
        with Milter("--resolver", dns.address, "--socket-mode", "600", listen=f"unix:{path}") as m:
            assert os.stat(path).st_mode & 0o777 == 0o600
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(frame(b"O", b"\0\0\0\6\0\0\1\xff\0\0\0\0"))
                assert s.recv(100)[4:5] == b"O"
            p = subprocess.run([LETTERLOCK, "milter", "--listen", path, "--user", "nobody"],
                               stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
            assert p.returncode == 73 and b"in use" in p.stderr
            assert m.process.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave root")
def test_it_leaves_root(milter):
    with open(f"/proc/{milter.process.pid}/status", encoding="ascii") as f:
        status = dict(line.split(":", 1) for line in f)
    assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split()
    assert int(status["CapEff"], 16) == 0 and status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2" or "call-filter" in milter.log()


def test_keys_of_the_server(dns):
    """The table of `letterlock dkim`."""
    with Server("table.test", start=False) as s:
        with Milter("--resolver", dns.address, "--dir", s.home) as m, m.connect() as mta:
            fields = [(b"From", b" <ann@table.test>")]
            mta.send(mta.letter(fields, BODY, ip="127.0.0.1"))
            head = mta.apply(fields, mta.end())
            zone = [f"{n} TXT {v}" for n, v in re.findall(r"^(\S+) IN TXT (.*)$", s.tool("dns"), re.M)]
            with DnsServer(zone) as d:
                found = verify(head + b"\r\n" + BODY, "--resolver", d.address)
            assert [x["result"] for x in found["dkim"]] == ["pass", "pass"]


@pytest.mark.parametrize("options,says", [
    ([], b"--listen"), (["--listen", "nowhere"], b"unix:/PATH"), (["--listen", "inet:0"], b"unix:/PATH"),
    (["--listen", "127.0.0.1:1", "--dmarc", "x"], b"--dmarc x"),
    (["--listen", "127.0.0.1:1", "--sign", "a.test:s"], b"DOMAIN:SELECTOR:KEYFILE"),
    (["--listen", "127.0.0.1:1", "--sign", "a.test:s:/nonexistent"], b"/nonexistent"),
    (["--listen", "127.0.0.1:1", "--internal", "10.0.0.1/8"], b"--internal"),
    (["--listen", "127.0.0.1:1", "--sessions", "0"], b"--sessions"),
])
def test_wrong_options(options, says):
    p = subprocess.run([LETTERLOCK, "milter", *options], stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=20, check=False)
    assert p.returncode in (64, 66) and says in p.stderr, p.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone is asked for a user")
def test_root_names_a_user():
    listen = f"127.0.0.1:{ports.pick()}"
    for options, says in (([], b"--user"), (["--user", "root"], b"strangers"), (["--user", "x-no"], b"x-no")):
        p = subprocess.run([LETTERLOCK, "milter", "--listen", listen, *options], stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=20, check=False)
        assert p.returncode != 0 and says in p.stderr
