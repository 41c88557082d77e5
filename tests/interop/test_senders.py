"""Who sent it: letters from outside are looked at with real DNS questions, and get what DMARC asks
for. The client is 127.0.0.1; good.test lets it send, bank.test does not."""
import base64
import email
import glob
import os
import re
import smtplib
import subprocess
import time

import pytest

from harness.dnsserver import DnsServer
from harness.rawserver import RawServer
from harness.server import LETTERLOCK, Server, wait_for

ZONE = [
    "good.test. TXT \"v=spf1 ip4:127.0.0.1 -all\"",
    "_dmarc.good.test. TXT \"v=DMARC1; p=reject\"",
    "bank.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"",
    "_dmarc.bank.test. TXT \"v=DMARC1; p=reject\"",
    "shop.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"",
    "_dmarc.shop.test. TXT \"v=DMARC1; p=quarantine\"",
    "trial.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"",
    "_dmarc.trial.test. TXT \"v=DMARC1; p=reject; t=y\"",
    "watch.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"",
    "_dmarc.watch.test. TXT \"v=DMARC1; p=none\"",
    "1.0.0.127.in-addr.arpa. PTR client.test.",
    "client.test. A 127.0.0.1",
    "nomail.test. MX 0 .",
    "nomail.test. TXT \"v=spf1 ip4:127.0.0.1 -all\"",
    "twomx.test. MX 0 .",
    "twomx.test. MX 10 client.test.",
    "slow.test. TXT \"v=spf1 include:_spf.silent.test -all\"",
    "_dmarc.slow.test. TXT \"v=DMARC1; p=reject\"",
]


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("dkim") / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519", "-out", str(path)], check=True)
    der = subprocess.run(["openssl", "pkey", "-in", str(path), "-pubout", "-outform", "DER"],
                         check=True, stdout=subprocess.PIPE).stdout
    return str(path), base64.b64encode(der[-32:]).decode()


@pytest.fixture(scope="module")
def dns(key):
    record = f'"v=DKIM1; k=ed25519; p={key[1]}"'
    with DnsServer(ZONE + [f"s1._domainkey.{d}. TXT {record}" for d in ("bank.test", "good.test")],
                   broken=["broken.test."], silent=["silent.test."]) as d:
        yield d


EXTRA = """
domain "lax.test" { dmarc = "report" }
domain "inner.test" { relay = true
    recipients = {"r@inner.test"} }
route "inner.test" { via = "smarthost"
    host = "127.0.0.1"
    port = %d }
route "good.test" { via = "discard" }
"""


@pytest.fixture(scope="module")
def server(dns):
    with RawServer({"RCPT": b"550 5.1.1 no such user\r\n"}) as inner:
        with Server("here.test", users=["ann@here.test"], settings={
                "resolver": dns.address, "dmarc": "enforce", "check_timeout": "2s", "received_spf": "yes",
                "dmarc_exceptions": ["watch.test"]}, extra=EXTRA % inner.port) as s:
            s.tool("user", "add", "joe@lax.test", "--password-file", s.password_file)
            yield s


def letter(author, subject, extra="", body="hello\r\n"):
    return (f"From: <{author}>\r\nTo: <ann@here.test>\r\nSubject: {subject}\r\n"
            f"Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{subject}@x.test>\r\n{extra}"
            f"\r\n{body}")


def send(server, reverse, text, to=("ann@here.test",)):
    with server.smtp() as s:
        return s.sendmail(reverse, list(to), text.encode())


def find(server, mailbox, subject, folder="new"):
    for path in glob.glob(f"{server.maildir(mailbox)}/{folder}/*"):
        with open(path, "rb") as f:
            m = email.message_from_binary_file(f)
        if m["Subject"] == subject:
            return m
    return None


def arrived(server, subject, mailbox="ann@here.test", folder="new"):
    return wait_for(lambda: find(server, mailbox, subject, folder), 10, what=f"{subject} in {folder}")


def sign(text, key, domain):
    return subprocess.run([LETTERLOCK, "sign", "--domain", domain, "--selector", "s1", "--key",
                           key[0], "-"], input=text.encode(), stdout=subprocess.PIPE,
                          check=True).stdout.decode()


def results(m):
    return " ".join((m["Authentication-Results"] or "").split())


def test_genuine(server):
    send(server, "joe@good.test", letter("joe@good.test", "genuine"))
    m = arrived(server, "genuine")
    r = results(m)
    assert r.startswith("mx.here.test; spf=pass")
    assert "dmarc=pass" in r and "header.from=good.test" in r
    assert "iprev=pass" in r and "client.test" in r
    assert len(m.get_all("Authentication-Results")) == 1
    assert m.keys().index("Authentication-Results") < m.keys().index("Received")


def test_forged_is_refused(server):
    with pytest.raises(smtplib.SMTPDataError) as e:
        send(server, "joe@good.test", letter("boss@bank.test", "forged"))
    assert e.value.smtp_code == 550 and e.value.smtp_error.startswith(b"5.7.26")
    assert find(server, "ann@here.test", "forged") is None
    assert "letter-refused" in server.log()


def test_null_mx(server):
    """RFC 7505 4.2: a reverse-path that takes no mail, whatever SPF says of it."""
    with pytest.raises(smtplib.SMTPDataError) as e:
        send(server, "joe@nomail.test", letter("joe@good.test", "null-mx"))
    assert e.value.smtp_code == 550 and e.value.smtp_error.startswith(b"5.7.27")
    assert find(server, "ann@here.test", "null-mx") is None
    # A null MX beside another is none (RFC 7505 3), and only the reverse-path's domain counts.
    send(server, "joe@twomx.test", letter("joe@watch.test", "two-mx"))
    arrived(server, "two-mx")
    send(server, "", letter("joe@watch.test", "null-path"))
    arrived(server, "null-path")


def test_received_spf(server):
    """RFC 7208 9.1: above Received, and only where it is asked for."""
    send(server, "joe@good.test", letter("joe@good.test", "received-spf"))
    m = arrived(server, "received-spf")
    fields = m.get_all("Received-SPF")
    assert len(fields) == 1 and fields[0].startswith("pass (mx.here.test:")
    text = " ".join(fields[0].split())
    assert 'client-ip="127.0.0.1"' in text and 'envelope-from="joe@good.test"' in text
    assert m.keys().index("Authentication-Results") < m.keys().index("Received-SPF") < \
        m.keys().index("Received")


def test_signed_is_taken(server, key):
    """SPF fails, the author's own signature does not."""
    send(server, "x@bank.test", sign(letter("boss@bank.test", "signed"), key, "bank.test"))
    r = results(arrived(server, "signed"))
    assert "dkim=pass" in r and "header.d=bank.test" in r and "dmarc=pass" in r and "spf=fail" in r


def test_changed_is_refused(server, key):
    text = sign(letter("boss@bank.test", "changed"), key, "bank.test").replace("hello", "hullo")
    with pytest.raises(smtplib.SMTPDataError):
        send(server, "x@bank.test", text)


def test_signature_of_another_domain_proves_nothing(server, key):
    with pytest.raises(smtplib.SMTPDataError):
        send(server, "joe@good.test", sign(letter("boss@bank.test", "other"), key, "good.test"))


@pytest.mark.parametrize("author,subject", [("a@shop.test", "quarantine"), ("a@trial.test", "t-y")])
def test_quarantine_goes_to_junk(server, author, subject):
    """p=quarantine, and p=reject under t=y (RFC 9989 4.7)."""
    send(server, "joe@good.test", letter(author, subject))
    m = arrived(server, subject, folder=".Junk/new")
    assert "dmarc=fail" in results(m) and m["X-Quarantine"]
    assert find(server, "ann@here.test", subject) is None


def test_list_goes_to_junk(server):
    send(server, "joe@good.test", letter("boss@bank.test", "list", "List-Id: <l.good.test>\r\n"))
    assert "dmarc=fail" in results(arrived(server, "list", folder=".Junk/new"))


def test_none_changes_nothing(server):
    send(server, "joe@good.test", letter("a@watch.test", "none"))
    assert "dmarc=fail" in results(arrived(server, "none"))


def test_one_reply_many_recipients(server):
    """lax.test takes it, here.test would not have: held there, no bounce."""
    with server.smtp() as s:
        s.sendmail("joe@good.test", ["ann@here.test", "joe@lax.test"],
                   letter("boss@bank.test", "both"))
    arrived(server, "both", "joe@lax.test")
    held = wait_for(lambda: _held(server), 10, what="the held one")
    states = {r["address"]: r for h in held for r in h["rcpts"]}
    assert states["ann@here.test"]["state"] == "held"
    assert "DMARC" in states["ann@here.test"]["text"]
    assert find(server, "ann@here.test", "both") is None


def test_no_answer_is_temperror(server):
    """The letter is taken in bounded time, and says that nobody could tell."""
    send(server, "joe@slow.test", letter("joe@slow.test", "slow"))
    r = results(arrived(server, "slow"))
    assert "spf=temperror" in r and "dmarc=temperror" in r


SIGNATURE = ("DKIM-Signature: v=1; a=ed25519-sha256; d={0}; s=s{1}; h=from; "
             "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n")


@pytest.mark.parametrize("name,reverse,extra", [
    ("spf", "joe@slow.test", ""),
    ("dkim", "joe@good.test", "".join(SIGNATURE.format("silent.test", i) for i in range(10))),
    ("both", "joe@slow.test", SIGNATURE.format("deep.silent.test", 1)),
])
def test_silence_does_not_hide_the_policy(server, name, reverse, extra):
    """The forger's zones never answer. Those of whom he forges do, and are asked in time."""
    start = time.monotonic()
    with pytest.raises(smtplib.SMTPDataError) as e:
        send(server, reverse, letter("boss@bank.test", "hide-" + name, extra))
    assert e.value.smtp_code == 550 and e.value.smtp_error.startswith(b"5.7.26")
    assert time.monotonic() - start < 20  # check_timeout is 2 s


def test_dns_is_killed_while_it_is_asked(server):
    """The reply comes in time; the letter is put off, as nobody knows who sent it."""
    with server.smtp() as s:
        s.ehlo("client.test")
        assert s.mail("joe@slow.test")[0] == 250 and s.rcpt("ann@here.test")[0] == 250
        assert s.docmd("DATA")[0] == 354
        s.send(letter("boss@bank.test", "killed"))
        time.sleep(0.3)
        os.kill(server.role_pids("dns")[0], 9)
        start = time.monotonic()
        code, text = s.docmd(".")
        assert code in (451, 550), text
        assert time.monotonic() - start < 20
    assert find(server, "ann@here.test", "killed") is None
    wait_for(lambda: server.role_pids("dns"), 10, what="dns again")

    def answers():
        send(server, "joe@good.test", letter("joe@good.test", "after-kill"))
        return True
    wait_for(lambda: _tries(answers), 15, what="a check after the kill")
    assert "dmarc=pass" in results(arrived(server, "after-kill"))


def _tries(f):
    try:
        return f()
    except smtplib.SMTPResponseException:
        return False


def test_sessions_that_end_with_questions_open(server):
    """Their questions are answered to nobody; the next letter is looked at as ever."""
    socks = []
    for i in range(40):
        s = server.smtp()
        s.ehlo("client.test")
        s.mail("joe@slow.test")
        s.rcpt("ann@here.test")
        s.docmd("DATA")
        s.send(letter("boss@bank.test", f"gone{i}", "".join(
            SIGNATURE.format("silent.test", n) for n in range(10))))
        socks.append(s)
    for s in socks:
        s.sock.close()
    send(server, "joe@good.test", letter("joe@good.test", "after-gone"))
    assert "dmarc=pass" in results(arrived(server, "after-gone"))
    with pytest.raises(smtplib.SMTPDataError):
        send(server, "joe@good.test", letter("boss@bank.test", "after-gone-forged"))


def test_flood_of_open_questions(server):
    """Letters that ask silent zones for more than dns has sockets: each forged one is refused or put
    off, those behind them, too."""
    forged = letter("boss@bank.test", "flood", "{}")
    socks = []
    for i in range(380):
        s = server.smtp()
        s.ehlo("client.test")
        s.mail(f"joe{i}@slow.test")
        s.rcpt("ann@here.test")
        s.docmd("DATA")
        s.send(forged.format("".join(SIGNATURE.format(f"d{i}.silent.test", n) for n in range(10))))
        socks.append(s)
    for s in socks:
        s.send(".\r\n")
    assert {s.getreply()[0] for s in socks} <= {550, 451}
    for s in socks:
        s.sock.close()
    with pytest.raises(smtplib.SMTPDataError):
        send(server, "joe@good.test", letter("boss@bank.test", "flood-after"))
    assert find(server, "ann@here.test", "flood") is None

    def taken():
        send(server, "joe@good.test", letter("joe@good.test", "flood-genuine"))
        return True
    wait_for(lambda: _tries(taken), 60, what="a genuine letter after the flood")


def test_reload_while_asked(server):
    with server.smtp() as s:
        s.ehlo("client.test")
        s.mail("joe@slow.test")
        s.rcpt("ann@here.test")
        s.docmd("DATA")
        s.send(letter("joe@slow.test", "reloaded"))
        server.tool("reload")
        assert s.docmd(".")[0] == 250
    assert "dmarc=temperror" in results(arrived(server, "reloaded"))


def test_broken_zone_is_temperror(server):
    send(server, "joe@broken.test", letter("joe@broken.test", "broken"))
    assert "dmarc=temperror" in results(arrived(server, "broken"))


@pytest.mark.parametrize("name,header", [
    ("two-from", "From: <a@good.test>\r\nFrom: <boss@bank.test>\r\n"),
    ("two-mailboxes", "From: <a@good.test>, <boss@bank.test>\r\n"),
    ("group", "From: friends: <boss@bank.test>;\r\n"),
    ("no-from", ""),
    ("encoded", "From: =?utf-8?q?=3Cboss=40bank.test=3E?=\r\n"),
])
def test_no_single_author(server, name, header):
    with pytest.raises(smtplib.SMTPDataError):
        send(server, "joe@good.test", f"{header}To: <ann@here.test>\r\nSubject: {name}\r\n\r\nx\r\n")
    assert find(server, "ann@here.test", name) is None


@pytest.mark.parametrize("name,header", [
    ("space", "From : <boss@bank.test>\r\n"),
    ("folded", "From:\r\n <boss@bank.test>\r\n"),
    ("comment", "From: (a@good.test) boss@bank.test (x)\r\n"),
    ("display", "From: \"a@good.test\" <boss@bank.test>\r\n"),
    ("upper", "FROM: <boss@BANK.test>\r\n"),
    ("subdomain", "From: <boss@deep.bank.test>\r\n"),
])
def test_author_is_bank(server, name, header):
    """However the field is written, bank.test is whom the reader sees."""
    with pytest.raises(smtplib.SMTPDataError) as e:
        send(server, "joe@good.test", f"{header}To: <ann@here.test>\r\nSubject: {name}\r\n\r\nx\r\n")
    assert e.value.smtp_code == 550


SPOOFS = {  # name: the header, as octets; its letter shows bank.test to some reader
    "nul-in-name": b"From\0: <boss@bank.test>\r\nFrom: <joe@good.test>\r\n",
    "nul-behind": b"From: <boss@bank.test\0.good.test>\r\n",
    "nul-before": b"From: <joe@good.test>\0<boss@bank.test>\r\n",
    "tab-colon": b"From\t: <boss@bank.test>\r\nFrom: <joe@good.test>\r\n",
    "first-line-folded": b" From: <joe@good.test>\r\nFrom: <boss@bank.test>\r\n",
    "name-folded": b"From\r\n : <boss@bank.test>\r\nFrom: <joe@good.test>\r\n",
    "blank-in-front": b"\t From: <boss@bank.test>\r\nFrom: <joe@good.test>\r\n",
    "bare-cr": b"X: y\rFrom: <boss@bank.test>\r\nFrom: <joe@good.test>\r\n",
    "bare-lf": b"X: y\nFrom: <boss@bank.test>\r\nFrom: <joe@good.test>\r\n",
    "twice": b"From: <joe@good.test>\r\nfrom: <boss@bank.test>\r\n",
    "list": b"From: <joe@good.test>, <boss@bank.test>\r\n",
    "list-of-nothing": b"From: ,,<boss@bank.test>,,<joe@good.test>\r\n",
    "group-and-one": b"From: g:<boss@bank.test>;, <joe@good.test>\r\n",
    "empty-group": b"From: boss@bank.test:;\r\n",
    "route": b"From: <@good.test:boss@bank.test>\r\n",
    "comment-inside": b"From: boss@(good.test)bank.test\r\n",
    "comment-nested": b"From: (a (joe@good.test)) boss@bank.test\r\n",
    "comment-open": b"From: boss@bank.test (<joe@good.test>\r\n",
    "quoted-at": b'From: "joe@good.test,"@bank.test\r\n',
    "percent": b"From: <boss%good.test@bank.test>\r\n",
    "two-angles": b"From: <joe@good.test> <boss@bank.test>\r\n",
    "angles-inside": b"From: <<boss@bank.test>joe@good.test>\r\n",
    "trailing-dot": b"From: <boss@bank.test.>\r\n",
    "blank-at": b"From: <boss @ bank.test>\r\n",
    "encoded-address": b"From: =?us-ascii?q?boss=40bank=2Etest?=\r\n",
    "encoded-comma": b"From: =?us-ascii?q?boss=40bank=2Etest=2C?= <boss@bank.test>\r\n",
    "8-bit": b"From: <boss@b\xc3\xa4nk.bank.test>\r\n",
    "overlong": b"From: " + b"x" * 900 + b" <boss@bank.test>\r\n",
    "many-folds": b"From:" + b"\r\n " * 200 + b"<boss@bank.test>\r\n",
    "own-result": b"Authentication-Results: mx.here.test; dmarc=pass header.from=bank.test\r\n"
                  b"From: <boss@bank.test>\r\n",
    "seal": b"ARC-Seal: i=1; a=rsa-sha256; t=1; cv=none; d=bank.test; s=s1; b=AAAA\r\n"
            b"ARC-Message-Signature: i=1; a=rsa-sha256; d=bank.test; s=s1; h=from; "
            b"bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
            b"ARC-Authentication-Results: i=1; bank.test; dmarc=pass header.from=bank.test\r\n"
            b"From: <boss@bank.test>\r\n",
    "d-nul": b"DKIM-Signature: v=1; a=ed25519-sha256; d=good.test\0.bank.test; s=s1; h=from; bh=47DEQ"
             b"pj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\nFrom: <boss@bank.test>\r\n",
    "d-comment": b"DKIM-Signature: v=1; a=ed25519-sha256; d=bank.test(good.test; s=s1; h=from; bh=47DEQ"
                 b"pj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\nFrom: <boss@bank.test>\r\n",
    "s-escapes": b"DKIM-Signature: v=1; a=ed25519-sha256; d=bank.test; s=s1._domainkey.good.test.; h=from;"
                 b" bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
                 b"From: <boss@bank.test>\r\n",
}
IDENTITIES = [  # HELO and MAIL FROM; the client may send for good.test alone
    ("client.test", "joe@good.test"),
    ("good.test", ""),
    ("bank.test", "joe@good.test"),
    ("good.test", "boss@bank.test"),
    ("good.test", '"boss@bank.test"@good.test'),
]


@pytest.mark.parametrize("helo,reverse", IDENTITIES)
def test_spoofs(server, helo, reverse):
    """However it is written: refused. (What some readers show is bank.test.)"""
    wrong = []
    for name, header in SPOOFS.items():
        with server.smtp() as s:
            assert s.ehlo(helo)[0] == 250
            assert s.mail(reverse, ["BODY=8BITMIME"])[0] == 250 and s.rcpt("ann@here.test")[0] == 250
            s.docmd("DATA")
            s.send(header + b"Subject: spoof-" + name.encode() + b"\r\n\r\nx\r\n.\r\n")
            code, text = s.getreply()
            if code < 500:
                wrong.append((name, code, text))
            s.sock.close()
    assert not wrong


def test_what_a_hostile_letter_costs(server, dns):
    """Processor time of front-mx, and questions at the name server, of letters made to cost."""
    fields = b"X:\r\n" * 50000
    letters = {
        "fields": fields,
        "signatures": SIGNATURE.format("good.test", 1).encode() * 1000,
        "keys": b"".join(SIGNATURE.format(f"d{i}.test", i).encode() for i in range(900)),
        "seals": b"".join(b"ARC-Seal: i=%d; a=rsa-sha256; t=1; cv=none; d=d%d.test; s=s; b=AAAA\r\n" % (i, i)
                          for i in range(1, 900)),
        "folds": b"X:" + b"\r\n y" * 60000 + b"\r\n",
        "names": b"".join(b"X%d: y\r\n" % i for i in range(990)),
    }
    for name, extra in letters.items():
        pids, asked = server.role_pids("front-mx"), len(dns.asked)
        before = sum(_cpu(p) for p in pids)
        with server.smtp() as s:
            s.ehlo("client.test")
            s.mail("joe@good.test")
            s.rcpt("ann@here.test")
            s.docmd("DATA")
            s.send(extra + letter("joe@good.test", "cost-" + name).encode() + b".\r\n")
            assert s.getreply()[0] in (250, 550, 552), name
        assert sum(_cpu(p) for p in pids) - before < 1.0, name
        assert len(dns.asked) - asked <= 50, name
        assert server.role_pids("front-mx") == pids, name


def _cpu(pid):
    """Seconds of processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("name,field", [
    ("plain", "mx.here.test; dmarc=pass header.from=bank.test"),
    ("case", "MX.Here.Test; dmarc=pass"),
    ("comment", "(x) mx.here.test (y) 1; dmarc=pass"),
    ("fold", "\r\n mx.here.test;\r\n dmarc=pass"),
    ("quoted", "\"mx.here.test\"; dmarc=pass"),
    ("dot", "mx.here.test.; dmarc=pass"),
    ("none", "mx.here.test; none"),
    ("broken", "mx.here.test dmarc=pass"),
])
def test_forged_results_go(server, name, field):
    send(server, "joe@good.test", letter(
        "joe@good.test", "ar-" + name,
        f"Authentication-Results: {field}\r\nAuthentication-Results: other.test; spf=pass\r\n"))
    m = arrived(server, "ar-" + name)
    fields = m.get_all("Authentication-Results")
    assert len(fields) == 2 and fields[0].lstrip().startswith("mx.here.test;")
    assert fields[1].strip() == "other.test; spf=pass"


def test_results_cannot_be_injected(server):
    """HELO and MAIL FROM go into our field: no octet of them ends it or begins a result."""
    with server.smtp() as s:
        s.ehlo("x;dmarc=pass(")
        s.sendmail('"a; dmarc=pass (x"@good.test', ["ann@here.test"],
                   letter("a@watch.test", "inject"))
    r = results(arrived(server, "inject"))
    assert "dmarc=fail" in r and r.count(" dmarc=pass header") == 0
    assert len(re.findall(r";\s*dmarc=", re.sub(r'"(?:\\.|[^"\\])*"', "", r))) == 1


def test_report_only_to_the_proved(server):
    """What fails behind us is returned where SPF or DKIM proved the reverse-path, else held."""
    send(server, "joe@good.test", letter("a@watch.test", "proved"), ["r@inner.test"])
    send(server, "joe@watch.test", letter("a@watch.test", "unproved"), ["r@inner.test"])
    held = wait_for(lambda: [h for h in _held(server) if h["sender"] == "joe@watch.test"], 10)
    assert "not proved" in held[0]["rcpts"][0]["text"]
    wait_for(lambda: re.search(r" report .*for=", server.log()), 10, what="a report")
    assert not [h for h in _held(server) if h["sender"] == "joe@good.test"
                and h["rcpts"][0]["address"] == "r@inner.test"]


def _held(server):
    found = server.json("queue", "list", "--held")
    return found if isinstance(found, list) else [found]


def test_questions_are_bounded(server, dns):
    asked = len(dns.asked)
    many = "".join(f"DKIM-Signature: v=1; a=rsa-sha256; d=d{i}.test; s=s; h=from; bh=47DEQpj8HBSa+/"
                   f"TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n" for i in range(500))
    send(server, "joe@good.test", letter("joe@good.test", "many", many))
    arrived(server, "many")
    # what an earlier letter asked of silent zones may still be tried again
    assert len([q for q in dns.asked[asked:] if "silent" not in q[0]]) <= 50


def test_receipt_tells(server):
    send(server, "joe@good.test", letter("joe@good.test", "receipt"))
    m = arrived(server, "receipt")
    ident = re.search(r" id (\w+)", " ".join(m["Received"].split())).group(1)
    text = server.tool("trace", ident)
    assert "dmarc: pass" in text and "spf: pass" in text


def test_example_program(dns):
    """doc/examples/check.c, with the C library's resolver."""
    program = os.path.join(os.path.dirname(LETTERLOCK), "doc", "examples", "example-check")
    for author, word in (("joe@good.test", "dmarc=pass"), ("boss@bank.test", "dmarc=fail")):
        out = subprocess.run([program, "127.0.0.1", "client.test", "joe@good.test", dns.address],
                             input=letter(author, "example").encode(), check=True, timeout=60,
                             stdout=subprocess.PIPE).stdout.decode()
        assert out.startswith("Authentication-Results: example.net;")
        assert "spf=pass" in out and word in out


@pytest.mark.parametrize("name", ["arc", "authres", "check", "dkim", "dmarc", "spf"])
def test_examples_compile_with_pkg_config(tmp_path, name):
    """As their first lines say."""
    build = os.path.dirname(LETTERLOCK)
    source = os.path.join(os.path.dirname(__file__), "..", "..", "doc", "examples")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libletterlock-uninstalled"],
                           env={**os.environ, "PKG_CONFIG_PATH": os.path.join(build, "meson-uninstalled")},
                           check=True, stdout=subprocess.PIPE).stdout.decode().split()
    with open(os.path.join(source, name + ".c")) as f:
        more = ["ask.c"] if "ask.c $(pkg-config" in f.read() else []
    subprocess.run([os.environ.get("CC", "cc"), *(os.path.join(source, f) for f in [name + ".c", *more]),
                    *flags, "-o", str(tmp_path / name)], check=True, timeout=120)
