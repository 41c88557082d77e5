"""Counts for the reports that we send: they survive kill -9 of whoever has them, reports are tried
again under one Report-ID, and go only where they are wanted."""
import contextlib
import email
import gzip
import os
import re
import signal
import sqlite3
import time
import xml.etree.ElementTree as ET

import pytest

from harness.dnsserver import DnsServer
from harness.server import Server, wait_for
from test_dmarc_reports import NS, reports, send

DOMAINS = ("count", "late", "small", "moved", "astray", "except", "loose")
ZONE = [f'{d}.test. TXT "v=spf1 ip4:127.0.0.1 -all"' for d in DOMAINS] + [
    f'_dmarc.{d}.test. TXT "v=DMARC1; p=none; rua=mailto:ann@here.test{"!1k" if d == "small" else "!10m"}"'
    for d in DOMAINS] + [
    f'{d}.test._report._dmarc.here.test. TXT "v=DMARC1;{rua}"' for d, rua in (
        ("count", ""), ("small", ""), ("moved", " rua=mailto:bob@here.test"), ("except", ""),
        ("astray", " rua=mailto:victim@elsewhere.test"), ("loose", ""))]
PERIOD = 8


@pytest.fixture(scope="module")
def dns():
    with DnsServer(ZONE, broken=["late.test._report._dmarc.here.test."]) as d:
        yield d


@pytest.fixture(scope="module")
def server(dns):
    with Server("here.test", users=["ann@here.test", "bob@here.test"], settings={
            "resolver": dns.address, "dmarc": "enforce", "dmarc_reports": "yes", "dmarc_report_interval": f"{PERIOD}s",
            "dmarc_reports_except": ["except.test"], "retry_first": "1s", "retry_max": "2s"}) as s:
        yield s


def kill(server, *roles):
    for role in roles:
        for pid in server.role_pids(role):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    for role in roles:
        wait_for(lambda r=role: server.role_pids(r), 20, what=role)


def by_id(found):
    """Letters that reports about one domain tell of, by Report-ID."""
    roots = [ET.fromstring(xml) for _, _, _, xml in found]
    return {r.findtext(f"{NS}report_metadata/{NS}report_id"): sum(int(c.text) for c in r.iter(NS + "count"))
            for r in roots}


def letters(found):
    return sum(by_id(found).values())


def durable(server, domain):
    """What is counted on disk, or in a report that has come."""
    with contextlib.closing(sqlite3.connect(f"file:{server.home}/lib/reports/out.db?mode=ro", uri=True, timeout=10)) as c:
        kept = dict(c.execute("SELECT report, sum(letters) FROM rows JOIN topics ON id = topic WHERE domain = ?"
                              " GROUP BY report", (domain,)).fetchall())
    return sum({**kept, **by_id(reports(server).get(domain, []))}.values())


def sent(server, domain):
    return [r for r in server.json("report", "dmarc", "--sent", "--since", "0", "--domain", domain)]


@pytest.fixture(scope="module")
def counted(server, dns):
    """Letters between kills of tally and of the whole server, and of post while it sends."""
    for d in DOMAINS[1:]:
        send(server, f"joe@{d}.test", f"joe@{d}.test")
    for i in range(4):
        for _ in range(3):
            send(server, "joe@count.test", "joe@count.test")
        wait_for(lambda n=3 * (i + 1): durable(server, "count.test") >= n, 20, what="durable counts")
        if i == 1:
            server.crash()
            server.start()
        else:
            kill(server, "tally")
    end = time.monotonic() + 2 * PERIOD
    while time.monotonic() < end and "count.test" not in reports(server):
        kill(server, "post")
        time.sleep(0.7)
    wait_for(lambda: "late.test" in {r["domain"] for r in server.json("report", "dmarc", "--sent", "--since", "0")}, 60)
    dns.broken = ()
    dns.add_line('late.test._report._dmarc.here.test. TXT "v=DMARC1"')
    wait_for(lambda: letters(reports(server).get("count.test", [])) >= 12 and "late.test" in reports(server), 90,
             what="the reports")
    return reports(server)


def test_kills_lose_no_count_and_double_none(counted):
    assert letters(counted["count.test"]) == 12


def test_silent_dns_is_asked_again(server, counted):
    """The record that allows the report could not be read at first."""
    assert letters(counted["late.test"]) == 1
    assert wait_for(lambda: [r["result"] for r in sent(server, "late.test")] == ["sent"], 20)


def test_reports_of_one_period_have_one_id(counted):
    for found in counted.values():
        ids = {}
        for _, m, part, xml in found:
            root = ET.fromstring(xml)
            end = root.findtext(f"{NS}report_metadata/{NS}date_range/{NS}end")
            ids.setdefault(end, set()).add(root.findtext(f"{NS}report_metadata/{NS}report_id"))
            assert f"!{end}!" in part.get_filename() and m["Auto-Submitted"] == "auto-generated"
        assert all(len(v) == 1 for v in ids.values()), ids


def test_sizes_overrides_and_exceptions(server, counted):
    assert "small.test" not in counted and "longer than that address takes" in server.log()
    assert "except.test" not in counted and sent(server, "except.test") == []
    assert "astray.test" not in counted and "an address of another host" in server.log()
    assert "elsewhere.test" not in str(server.json("queue", "list"))
    moved = wait_for(lambda: [m for m in server.mail("bob@here.test") if b"Report Domain: moved.test" in m], 20)
    part = [p for p in email.message_from_bytes(moved[0]).walk() if p.get_content_type() == "application/gzip"][0]
    assert b"<domain>moved.test</domain>" in gzip.decompress(part.get_payload(decode=True))
    text = server.tool("report", "dmarc", "--sent")
    assert re.search(r"aggregate\s+small.test\s+ann@here.test\s+dropped\s+the report is longer", text)
    assert re.search(r"aggregate\s+count.test\s+ann@here.test\s+sent", text)


def test_switched_off_nothing_is_sent(server, counted):
    """What was counted before is dropped with the switch."""
    for _ in range(5):  # until all of it happens within one period
        time.sleep(PERIOD - time.time() % PERIOD)
        period = time.time() // PERIOD
        before = len(reports(server).get("loose.test", []))
        send(server, "joe@loose.test", "joe@loose.test")
        server.set("dmarc_reports", "no")
        server.tool("reload")
        wait_for(lambda: not server.role_pids("tally"), 20, what="no tally")
        if time.time() // PERIOD == period:
            break
        server.set("dmarc_reports", "yes")
        server.tool("reload")
        wait_for(lambda: server.role_pids("tally"), 20, what="tally")
    time.sleep(PERIOD + 1)
    assert len(reports(server).get("loose.test", [])) == before
