"""`dns` prints what lets reports come, and `check --dns` says why they do not."""
import json
import os
import re

import pytest

from harness.dnsserver import DnsServer, records
from harness.server import Server

EXTRA = 'domain "other.test" { }\ndomain "own.test" { }\n'


@pytest.fixture(scope="module")
def server():
    with Server("here.test", start=False, extra=EXTRA,
                settings={"report_address": ["dmarc@here.test", "rua@own.test"]}) as s:
        yield s


def findings(server, zone):
    with DnsServer(zone, broken=["slow.test."]) as d:
        p = server.tool("check", "--dns", "--json", "--resolver", d.address, check=False)
    return [f for f in json.loads(p.stdout) if f["area"] == "reports"]


def said(server, zone):
    return " | ".join(f"{f['finding']}: {f['text']}" for f in findings(server, zone))


def test_dns_prints_where_reports_go(server):
    out = server.tool("dns")
    assert '_dmarc.here.test. IN TXT "v=DMARC1; p=none; rua=mailto:dmarc@here.test"' in out
    assert '_dmarc.own.test. IN TXT "v=DMARC1; p=none; rua=mailto:rua@own.test"' in out  # its own address
    assert '_dmarc.other.test. IN TXT "v=DMARC1; p=none; rua=mailto:dmarc@here.test"' in out
    assert re.findall(r"^\S+_report\._dmarc\.\S+ IN TXT .*$", out, re.M) == [
        'other.test._report._dmarc.here.test. IN TXT "v=DMARC1;"']


def test_what_is_printed_is_in_order(server):
    zone = records(server.tool("dns"))
    text = said(server, zone)
    assert "warning" not in text and "note" not in text, text
    with DnsServer(zone) as d:
        p = server.tool("check", "--dns", "--json", "--resolver", d.address, check=False)
    assert not [f for f in json.loads(p.stdout) if f["area"] == "dns" and "_report" in f["text"] and f["finding"] != "ok"]


@pytest.mark.parametrize("rua, more, says", [
    ("mailto:x@reader.test", [], "warning: rua of here.test: nobody sends reports to x@reader.test"),
    ("mailto:x@reader.test", ['here.test._report._dmarc.reader.test. TXT "v=DMARC1"'], "ok: rua of here.test: x@reader.test takes"),
    ("mailto:x@reader.test", ['here.test._report._dmarc.reader.test. TXT "yes"'], "nobody sends"),
    ("mailto:x@reader.test", ['*._report._dmarc.reader.test. TXT "v=DMARC1"'], "nobody sends"),  # this server has no wildcards
    ("mailto:x@slow.test", [], "DNS does not say now"),
    ("mailto:ann@here.test", [], "note: rua of here.test: ann@here.test is no report_address"),
    ("mailto:ann@here.test", [], "names no report_address in rua"),
    ("https://x.test/", [], "is no mail address"),
    ("mailto:dmarc@here.test,mailto:x@sub.here.test", [], ""),
], ids=range(9))
def test_what_is_published_is_looked_at(server, rua, more, says):
    zone = [f'_dmarc.here.test. TXT "v=DMARC1; p=none; rua={rua}"', *more]
    text = said(server, zone)
    assert says in text, text
    if not says:
        assert "here.test:" not in text, text


def test_the_folder_must_be_the_servers(server):
    assert not findings_of(server)
    os.makedirs(server.home + "/lib/reports", exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for uid in (4242, 0):  # root's: an import before the server had such a role
        os.chown(server.home + "/lib/reports", uid, uid)
        found = [f for f in findings_of(server) if f["finding"] == "fault"]
        assert found and "chown -R" in found[0]["text"]


def findings_of(server):
    return [f for f in json.loads(server.tool("check", "--json", check=False).stdout) if f["area"] == "reports"]
