"""Aggregate reports that the server sends: letters from outside, good and forged, are counted; the
domains that ask for reports get one, signed, which our own reader, Python and xmllint can read."""
import email
import gzip
import json
import smtplib
import subprocess
import xml.etree.ElementTree as ET

import pytest

from harness.dnsserver import DnsServer
from harness.rawserver import RawServer
from harness.server import LETTERLOCK, Server, wait_for

NS = "{urn:ietf:params:xml:ns:dmarc-2.0}"

ZONE = [
    'bank.test. TXT "v=spf1 ip4:192.0.2.1 -all"',
    '_dmarc.bank.test. TXT "v=DMARC1; p=reject; sp=quarantine; aspf=s; fo=1:d; '
    'ruf=mailto:f@bank.test; rua=https://bank.test/x,mailto:dmarc@bank.test!10m,mailto:ann@here.test,mailto:third@bank.test"',
    'bank.test._report._dmarc.here.test. TXT "v=DMARC1;"',
    'good.test. TXT "v=spf1 ip4:127.0.0.1 -all"',
    '_dmarc.good.test. TXT "v=DMARC1; p=none; rua=mailto:ann@here.test"',
    'good.test._report._dmarc.here.test. TXT "v=DMARC1"',
    # Reports of this one would go to somebody who has not asked for them.
    'rude.test. TXT "v=spf1 ip4:127.0.0.1 -all"',
    '_dmarc.rude.test. TXT "v=DMARC1; p=none; rua=mailto:victim@out.test"',
    'quiet.test. TXT "v=spf1 ip4:127.0.0.1 -all"',
    '_dmarc.quiet.test. TXT "v=DMARC1; p=none"',
]


@pytest.fixture(scope="module")
def outside():
    with RawServer() as s:
        yield s


@pytest.fixture(scope="module")
def server(outside):
    extra = "".join(f'route "{d}" {{ via = "smarthost"\n host = "127.0.0.1"\n port = {outside.port} }}\n'
                    for d in ("bank.test", "out.test"))
    with DnsServer(ZONE) as d:
        with Server("here.test", users=["ann@here.test"], extra=extra, settings={
                "resolver": d.address, "dmarc": "enforce", "dmarc_reports": "yes",
                "dmarc_report_interval": "20s"}) as s:
            yield s


def send(server, reverse, author):
    text = (f"From: <{author}>\r\nTo: <ann@here.test>\r\nSubject: s\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\n"
            "Message-ID: <x@x.test>\r\n\r\nhello\r\n")
    try:
        with server.smtp() as s:
            s.sendmail(reverse, ["ann@here.test"], text.encode())
    except smtplib.SMTPDataError as e:
        assert e.smtp_code == 550


def reports(server):
    """What came to ann: domain, the letter, the report as XML."""
    found = {}
    for raw in server.mail("ann@here.test"):
        m = email.message_from_bytes(raw)
        for part in m.walk():
            if part.get_content_type() == "application/gzip":
                xml = gzip.decompress(part.get_payload(decode=True))
                root = ET.fromstring(xml)
                found.setdefault(root.findtext(f"{NS}policy_published/{NS}domain"), []).append((raw, m, part, xml))
    return found


@pytest.fixture(scope="module")
def sent(server):
    for _ in range(3):
        send(server, "joe@bank.test", "boss@bank.test")
    send(server, "", "boss@bank.test")
    for author in ("joe@good.test", "joe@rude.test", "joe@quiet.test"):
        send(server, author, author)
    wait_for(lambda: {"bank.test", "good.test"} <= set(reports(server)) and "dmarc-report-dropped" in server.log(),
             90, what="the reports")
    return reports(server)


def rows(letters):
    """source and result -> letters, over all reports: the period may have ended between two letters."""
    out = {}
    for _, _, _, xml in letters:
        for r in ET.fromstring(xml).findall(NS + "record"):
            key = tuple(r.findtext("/".join(NS + p for p in path.split("/"))) for path in (
                "row/source_ip", "row/policy_evaluated/disposition", "row/policy_evaluated/dkim",
                "row/policy_evaluated/spf", "identifiers/header_from", "identifiers/envelope_from",
                "auth_results/spf/result"))
            out[key] = out.get(key, 0) + int(r.findtext(f"{NS}row/{NS}count"))
    return out


def test_what_was_found_is_told(sent):
    assert rows(sent["good.test"]) == {("127.0.0.1", "none", "fail", "pass", "good.test", "good.test", "pass"): 1}
    bank = rows(sent["bank.test"])
    assert bank[("127.0.0.1", "reject", "fail", "fail", "bank.test", "bank.test", "fail")] == 3
    assert sum(bank.values()) == 4 and all(k[1] == "reject" for k in bank)
    assert {k[5] for k in bank} == {"bank.test", ""}


def test_policy_and_order(sent):
    root = ET.fromstring(sent["bank.test"][0][3])
    assert [c.tag[len(NS):] for c in root][:3] == ["version", "report_metadata", "policy_published"]
    policy = {c.tag[len(NS):]: c.text for c in root.find(NS + "policy_published")}
    assert list(policy) == ["domain", "discovery_method", "p", "sp", "np", "fo", "adkim", "aspf", "testing"]
    assert policy == {"domain": "bank.test", "discovery_method": "treewalk", "p": "reject", "sp": "quarantine",
                      "np": "quarantine", "fo": "1:d", "adkim": "r", "aspf": "s", "testing": "n"}
    record = root.find(NS + "record")
    assert [c.tag[len(NS):] for c in record] == ["row", "identifiers", "auth_results"]
    begin, end = (int(root.findtext(f"{NS}report_metadata/{NS}date_range/{NS}{w}")) for w in ("begin", "end"))
    assert begin <= end and (end + 1) % 20 == 0


def test_letter_is_as_rfc_9990_asks(server, sent):
    raw, m, part, xml = sent["bank.test"][0]
    root = ET.fromstring(xml)
    rid = root.findtext(f"{NS}report_metadata/{NS}report_id")
    assert " ".join(m["Subject"].split()) == f"Report Domain: bank.test Submitter: mx.here.test Report-ID: <{rid}@mx.here.test>"
    name = part.get_filename()
    assert name.startswith("mx.here.test!bank.test!") and name.endswith(f"!{rid}.xml.gz")
    assert raw.count(b"DKIM-Signature:") == 2 and b"d=here.test" in raw
    with subprocess.Popen(["xmllint", "--noout", "-"], stdin=subprocess.PIPE) as p:
        p.communicate(xml, timeout=60)
    assert p.returncode == 0
    ours = subprocess.run([LETTERLOCK, "report", "read", "--json", "-"], input=raw, capture_output=True,
                          timeout=60, check=True)
    got = json.loads(ours.stdout)["feedback"]
    assert got["policy_published"]["aspf"] == "s" and got["record"][0]["row"]["source_ip"] == "127.0.0.1"


def test_where_reports_go(server, outside, sent):
    """At most two addresses of a domain, none by https, none to who has not asked."""
    wait_for(lambda: any(b"Report Domain: bank.test" in x for x in texts(outside)), 30, what="a report outside")
    all_of_it = b"\n".join(texts(outside))
    assert b"To: <dmarc@bank.test>" in all_of_it
    assert b"third@bank.test" not in all_of_it and b"victim@out.test" not in all_of_it
    assert "rude.test" not in sent and "quiet.test" not in sent
    log = server.log()
    assert "dmarc-report-dropped" in log and "has not said that it wants them" in log


def texts(outside):
    return [bytes(s) if isinstance(s, (bytes, bytearray)) else str(s).encode() for s in outside.letters]
