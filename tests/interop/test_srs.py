"""Aliases that lead to other servers, with the setting srs: the reverse-path is ours there, and
reports find their way back; nobody gets through who does not know the secret."""
import os
import re
import signal
import smtplib
import time

import pytest

from harness.dnsserver import DnsServer
from harness.rawserver import RawServer
from harness.server import Server, wait_for

ZONE = ['orig.test. TXT "v=spf1 ip4:127.0.0.1 -all"']
EXTRA = """
domain "second.test" { }
route "outside.test" { via = "smarthost"
    host = "127.0.0.1"
    port = %d }
route "*" { via = "smarthost"
    host = "127.0.0.1"
    port = %d }
"""


@pytest.fixture(scope="module")
def outside():
    with RawServer({"RCPT TO:<NO@OUTSIDE.TEST>": b"550 5.1.1 nobody\r\n"}, ehlo=["PIPELINING"]) as s:
        yield s


@pytest.fixture(scope="module")
def orig():
    with RawServer(ehlo=["PIPELINING"]) as s:
        yield s


@pytest.fixture(scope="module")
def server(outside, orig):
    with DnsServer(ZONE) as dns, Server(
            "alpha.test", users=["ann@alpha.test"], extra=EXTRA % (outside.port, orig.port),
            settings={"srs": "Alpha.Test.", "resolver": dns.address, "dmarc": "report",
                      "retry_first": "1s"}) as s:
        s.tool("alias", "add", "fwd@alpha.test", "x@outside.test")
        s.tool("alias", "add", "both@alpha.test", "x@outside.test", "ann@alpha.test")
        s.tool("alias", "add", "dead@alpha.test", "no@outside.test")
        yield s


def send(server, sender, to, subject="x", author="joe@orig.test"):
    with server.smtp() as s:
        s.sendmail(sender, [to], f"From: <{author}>\r\nTo: <fwd@alpha.test>\r\n"
                                 f"Subject: {subject}\r\n\r\nhello\r\n")


def through(server, hop, sender, to, **kw):
    """Sends, and waits for it at the next hop: its envelope and text there."""
    n = len(hop.envelopes)
    send(server, sender, to, **kw)
    wait_for(lambda: len(hop.envelopes) > n, 10, what=f"a letter from {sender}")
    return *hop.envelopes[-1], hop.letters[-1]


def rewritten(server, outside, sender="joe@orig.test"):
    path, rcpts, _ = through(server, outside, sender, "fwd@alpha.test")
    assert rcpts == ["x@outside.test"]
    return path


def code(server, sender, to):
    with server.smtp() as s:
        s.ehlo()
        assert s.mail(sender)[0] == 250
        return s.rcpt(to)


def test_forward(server, outside):
    path, _, text = through(server, outside, "joe@orig.test", "fwd@alpha.test")
    assert re.fullmatch(r"SRS0=[A-Z2-7]{8}=[A-Z2-7]{2}=orig\.test=joe@alpha\.test", path)
    assert b"From: <joe@orig.test>" in text and text.count(b"From:") == 1


def test_report_comes_back(server, outside, orig):
    path = rewritten(server, outside)
    for way in (path, path.lower(), path.replace("srs0", "SRS0")):
        sender, rcpts, _ = through(server, orig, "", way, subject="report")
        assert (sender, rcpts) == ("", ["joe@orig.test"])


def test_case_of_the_sender_is_kept(server, outside, orig):
    path = rewritten(server, outside, "Bounce+AbC@orig.test")
    assert through(server, orig, "", path)[1] == ["Bounce+AbC@orig.test"]


def test_reports_alone(server, outside):
    reply = code(server, "eve@evil.test", rewritten(server, outside))
    assert reply[0] == 550 and reply[1].startswith(b"5.7.1")


def test_forged(server, outside):
    path = rewritten(server, outside)
    local, _, domain = path.partition("@")
    for forged in (
            path.replace("=joe@", "=eve@"), path.replace("orig.test", "evil.test"),
            "SRS0=AAAAAAAA=AA=evil.test=eve@alpha.test", "SRS0=a@alpha.test", "SRS0==@alpha.test",
            "SRS1=AAAAAAAA=evil.test==AA=AA=x.test=eve@alpha.test",
            local.replace("SRS0=", "SRS0+") + "@" + domain, local[:-1] + "@" + domain):
        assert code(server, "", forged)[0] == 550, forged
    assert code(server, "", f"{local}@second.test")[0] == 550  # another domain of ours
    assert code(server, "", f"{local}@elsewhere.test")[0] == 550
    assert "srs-refused" in server.log()


def test_srs1(server, outside, orig):
    """What another forwarder rewrote already goes back to that one."""
    path = rewritten(server, outside, "SRS0=ab=XY=o.test=joe@first.test")
    assert re.fullmatch(r"SRS1=[A-Z2-7]{8}=first\.test==ab=XY=o\.test=joe@alpha\.test", path)
    assert through(server, orig, "", path)[1] == ["SRS0=ab=XY=o.test=joe@first.test"]


def test_null_stays_null(server, outside):
    assert rewritten(server, outside, "") == ""


def test_ours_stays_ours(server, outside):
    n = len(outside.envelopes)
    server.submit("fwd@alpha.test")
    wait_for(lambda: len(outside.envelopes) > n, 10)
    assert outside.envelopes[-1][0] == "ann@alpha.test"


def test_local_targets_see_the_sender(server, outside):
    n, sent = len(server.mail("ann@alpha.test")), len(outside.envelopes)
    send(server, "joe@orig.test", "both@alpha.test")
    assert b"Return-Path: <joe@orig.test>" in server.wait_mail("ann@alpha.test", n + 1)[-1]
    wait_for(lambda: len(outside.envelopes) > sent, 10)
    assert outside.envelopes[-1][0].startswith("SRS0=")


def test_long_senders_have_a_number(server, outside, orig):
    """They fit no local part: what is given out is short, signed, and finds them after a restart too."""
    sender = "Bounces+" + "x" * 50 + "@mass.orig.test"
    path = rewritten(server, outside, sender)
    assert re.fullmatch(r"SRS0=[A-Z2-7]{8}=[A-Z2-7]{2}=alpha\.test=~[a-z2-7]+@alpha\.test", path)
    assert rewritten(server, outside, sender) == path  # one number a day
    assert rewritten(server, outside, "y" + sender) != path
    assert through(server, orig, "", path.lower())[1] == [sender]
    assert code(server, "", re.sub("~.*@", "~zz@", path))[0] == 550
    assert os.stat(os.path.join(server.home, "lib/auth/srs.db")).st_mode & 0o777 == 0o600
    for pid in server.role_pids("auth"):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: server.role_pids("auth"), 10)
    wait_for(lambda: code(server, "", path)[0] == 250, 10, 0.2)
    assert through(server, orig, "", path)[1] == [sender]


def test_a_changed_secret_counts_on_for_a_time(server, outside, orig):
    path = rewritten(server, outside)
    name = os.path.join(server.home, "lib/auth/srs.secret")
    os.rename(name, name + ".old")
    server.tool("reload")
    wait_for(lambda: os.path.exists(name), 10)
    wait_for(lambda: rewritten(server, outside) != path, 10)
    assert through(server, orig, "", path)[1] == ["joe@orig.test"]
    long_ago = time.time() - 22 * 86400
    os.utime(name, (long_ago, long_ago))
    server.tool("reload")
    wait_for(lambda: code(server, "", path)[0] == 550, 10, 0.2)
    assert code(server, "", rewritten(server, outside))[0] == 250
    os.unlink(name + ".old")


def test_our_own_report_finds_the_sender(server, orig):
    """The next server refuses: what we report goes the way of any report."""
    sender, rcpts, text = through(server, orig, "joe@orig.test", "dead@alpha.test")
    assert (sender, rcpts) == ("", ["joe@orig.test"])
    assert b"multipart/report" in text and b"5.1.1" in text


def test_tool_tells(server, outside):
    found = server.json("test", rewritten(server, outside))
    found = found[0] if isinstance(found, list) else found
    assert found["kind"] == "bounce" and "joe@orig.test" in str(found)


def test_secret_lives_on(server, outside, orig):
    path = rewritten(server, outside)
    name = os.path.join(server.home, "lib/auth/srs.secret")
    assert os.stat(name).st_mode & 0o777 == 0o600 and os.stat(name).st_size == 65
    server.stop()
    server.start()
    assert through(server, orig, "", path)[1] == ["joe@orig.test"]
    server.stop()
    os.unlink(name)
    server.start()
    assert code(server, "", path)[0] == 550


def test_off(server, outside):
    server.set("srs", "")
    server.tool("reload")
    wait_for(lambda: rewritten(server, outside) == "joe@orig.test", 10, 0.2)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(server, "", "SRS0=AAAAAAAA=AA=evil.test=eve@alpha.test")
