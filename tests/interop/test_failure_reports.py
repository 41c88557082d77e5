"""Failure reports: off unless switched on; then as the record asks, redacted, signed, few, and never
about what is itself a report."""
import email
import smtplib
import subprocess
import json

import pytest

from harness.dnsserver import DnsServer
from harness.server import LETTERLOCK, Server, wait_for

ZONE = [
    'bank.test. TXT "v=spf1 ip4:192.0.2.1 -all"',
    '_dmarc.bank.test. TXT "v=DMARC1; p=none; ruf=mailto:ruf@here.test"',
    'bank.test._report._dmarc.here.test. TXT "v=DMARC1"',
    'flood.test. TXT "v=spf1 ip4:192.0.2.1 -all"',
    '_dmarc.flood.test. TXT "v=DMARC1; p=none; ruf=mailto:ruf@here.test"',
    'flood.test._report._dmarc.here.test. TXT "v=DMARC1"',
    'half.test. TXT "v=spf1 ip4:127.0.0.1 -all"',  # SPF passes, nothing is signed
    '_dmarc.half.test. TXT "v=DMARC1; p=none; fo=1; ruf=mailto:ruf@here.test"',
    'half.test._report._dmarc.here.test. TXT "v=DMARC1"',
    'fine.test. TXT "v=spf1 ip4:127.0.0.1 -all"',
    '_dmarc.fine.test. TXT "v=DMARC1; p=none; ruf=mailto:ruf@here.test"',
    'fine.test._report._dmarc.here.test. TXT "v=DMARC1"',
    'rude.test. TXT "v=spf1 ip4:192.0.2.1 -all"',
    '_dmarc.rude.test. TXT "v=DMARC1; p=none; ruf=mailto:ruf@here.test"',
]


@pytest.fixture(scope="module")
def dns():
    with DnsServer(ZONE) as d:
        yield d


@pytest.fixture(scope="module")
def server(dns):
    with Server("here.test", users=["ann@here.test", "ruf@here.test"], settings={
            "resolver": dns.address, "dmarc": "enforce", "failure_reports": "yes"}) as s:
        yield s


def send(server, author, reverse=None, more="", to="ann@here.test"):
    text = (f"From: Big Boss <{author}>\r\nTo: Secret Ann <{to}>\r\nSubject: wages of ann\r\n{more}"
            "Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: <x@x.test>\r\n\r\nsecret words\r\n")
    with server.smtp() as s:
        s.sendmail(author if reverse is None else reverse, [to], text.encode())


def reports(server, domain):
    found = [m for m in map(email.message_from_bytes, server.mail("ruf@here.test")) if domain in m["Subject"]]
    return [m for m in found if m.get_content_type() == "multipart/report"]


def test_a_forged_letter_is_reported_without_what_is_private(server):
    send(server, "boss@bank.test")
    m, = wait_for(lambda: reports(server, "bank.test"), 20)
    raw = m.as_bytes()
    for private in (b"wages", b"Secret Ann", b"ann@here", b"secret words", b"Big Boss", b"boss@"):
        assert private not in raw, private
    assert m["Auto-Submitted"] == "auto-generated" and m["Return-Path"] == "<>"
    assert len(m.get_all("DKIM-Signature")) == 2 and "d=here.test" in m["DKIM-Signature"]
    assert [p.get_content_type() for p in m.get_payload()] == [
        "text/plain", "message/feedback-report", "text/rfc822-headers"]
    p = subprocess.run([LETTERLOCK, "report", "read", "--json", "-"], input=raw, capture_output=True, timeout=60,
                       check=True)
    got = json.loads(p.stdout)["feedback_report"]
    want = {"feedback_type": "auth-failure", "auth_failure": "dmarc", "source_ip": "127.0.0.1",
            "original_mail_from": "redacted@bank.test", "delivery_result": "delivered", "identity_alignment": "none",
            "reported_domain": ["bank.test"], "spf_dns": ['txt : bank.test : "v=spf1 ip4:192.0.2.1 -all"']}
    assert want.items() <= got.items(), got
    assert "From: <redacted@bank.test>" in got["headers"]


def test_fo_and_external_check_decide(server):
    for author in ("joe@half.test", "joe@fine.test", "joe@rude.test"):
        send(server, author)
    m, = wait_for(lambda: reports(server, "half.test"), 20)
    assert b"Identity-Alignment: spf" in m.as_bytes()
    assert wait_for(lambda: "has not said that it wants them" in server.log(), 20)
    assert not reports(server, "fine.test") and not reports(server, "rude.test")


def test_no_loops(server):
    """Automatic letters, reports and the null reverse-path make no report."""
    before = len(reports(server, "bank.test"))
    send(server, "boss@bank.test", reverse="")
    send(server, "boss@bank.test", more="Auto-Submitted: auto-replied\r\n")
    send(server, "boss@bank.test", more="MIME-Version: 1.0\r\nContent-Type: multipart/report; boundary=b\r\n")
    send(server, "boss@bank.test")  # and this one does, behind them
    wait_for(lambda: len(reports(server, "bank.test")) > before, 20)
    assert len(reports(server, "bank.test")) == before + 1


def test_a_flood_makes_few_reports(server):
    for _ in range(30):
        send(server, "boss@flood.test")
    wait_for(lambda: len(reports(server, "flood.test")) == 10, 30)
    send(server, "joe@half.test")
    wait_for(lambda: len(reports(server, "half.test")) == 2, 20)
    assert len(reports(server, "flood.test")) == 10


def test_off_by_default(dns):
    with Server("here.test", users=["ann@here.test", "ruf@here.test"], settings={
            "resolver": dns.address, "dmarc": "enforce", "dmarc_reports": "yes"}) as s:
        send(s, "boss@bank.test")
        s.wait_mail("ann@here.test", 1)
        p = s.tool("report", "dmarc", "--sent", "--json", check=False)
        assert p.returncode == 66 or json.loads(p.stdout) == []
        assert not reports(s, "bank.test")


def test_refused_letters_are_reported_as_such(dns):
    dns.add_line('strict.test. TXT "v=spf1 ip4:192.0.2.1 -all"')
    dns.add_line('_dmarc.strict.test. TXT "v=DMARC1; p=reject; ruf=mailto:ruf@here.test"')
    dns.add_line('strict.test._report._dmarc.here.test. TXT "v=DMARC1"')
    with Server("here.test", users=["ann@here.test", "ruf@here.test"], settings={
            "resolver": dns.address, "dmarc": "enforce", "failure_reports": "yes"}) as s:
        with pytest.raises(smtplib.SMTPDataError):
            send(s, "boss@strict.test")
        m, = wait_for(lambda: reports(s, "strict.test"), 20)
        assert b"Delivery-Result: reject" in m.as_bytes()
