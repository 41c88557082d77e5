"""Reports that arrive: letters to a report_address are read by a process of its own and stored, with
who sent them; what is no report goes to the account of that name or is held, and nobody is told."""
import base64
import contextlib
import gzip
import json
import os
import signal
import smtplib
import sqlite3
import time

import pytest

from harness.dnsserver import DnsServer
from harness.server import LETTERLOCK, Server, wait_for
from test_reports import letter, record, report

ZONE = [
    'good.test. TXT "v=spf1 ip4:127.0.0.1 -all"',
    '_dmarc.good.test. TXT "v=DMARC1; p=reject"',
    'bank.test. TXT "v=spf1 ip4:192.0.2.1 -all"',
    '_dmarc.bank.test. TXT "v=DMARC1; p=none"',
]
TO, HELD = "dmarc@here.test", "held@here.test"


@pytest.fixture(scope="module")
def server():
    with DnsServer(ZONE) as d:
        with Server("here.test", users=["ann@here.test", TO], settings={
                "resolver": d.address, "dmarc": "enforce", "report_address": [TO, HELD], "retry_first": "1s",
                "retry_max": "2s"}) as s:
            yield s


def named(xml, name, domain=b"here.test"):
    return xml.replace(b"<report_id>1", b"<report_id>" + name.encode()).replace(b"<domain>example.org", b"<domain>" + domain)


def send(server, content, author="noreply@good.test", to=TO):
    text = content.replace(b"\r\n", b"\n")
    head = f"From: <{author}>\nTo: <{to}>\nDate: Wed, 25 Nov 2026 10:00:00 +0000\nMessage-ID: <x@x.test>\n".encode()
    lines = text.split(b"\n")
    while lines and not lines[0].startswith((b"MIME-Version", b"Content-")) and lines[0]:
        lines.pop(0)
    with server.smtp() as s:
        s.sendmail(author, [to], (head + b"\n".join(lines)).replace(b"\n", b"\r\n"))


def shown(server, *words):
    p = tool(server, "report", "dmarc", "--since", "0", "--json", *words)
    return json.loads(p.stdout) if p.returncode == 0 else {"sources": [], "reporters": [], "failures": []}


def taken(server, content):
    """As a server that sends does: again, when it is told to (the queue was just killed)."""
    try:
        send(server, content)
        return True
    except (smtplib.SMTPException, OSError):
        return False


def tool(server, *words):
    return server.tool(*words, check=False)


def queue(server, *words):
    return server.json("queue", "list", *words)


def came(server, ip):
    return [s for s in shown(server)["sources"] if s["source"] == ip]


def pid_of(server, role):
    return wait_for(lambda: server.role_pids(role), what=role)[0]


def test_a_report_is_read_and_stored_with_who_sent_it(server):
    before = pid_of(server, "report")
    send(server, letter(gzip.compress(named(report(record("192.0.2.10", 3)), "a"))))
    one = wait_for(lambda: came(server, "192.0.2.10"), 20)[0]
    assert (one["letters"], one["domain"], one["unproved"]) == (3, "here.test", 0)
    assert {"reporter": "good.test", "proof": "pass"}.items() <= shown(server)["reporters"][0].items()
    assert wait_for(lambda: [p for p in server.role_pids("report") if p != before], what="the next reader")
    assert server.mail(TO) == [] and "crash-loop" not in server.log()


def test_a_forged_reporter_is_named_as_not_proved(server):
    """The same report in another's name counts apart, and does not take the real one's place."""
    send(server, letter(gzip.compress(named(report(record("192.0.2.11", 5)), "b"))), author="noreply@bank.test")
    wait_for(lambda: came(server, "192.0.2.11"), 20)
    send(server, letter(gzip.compress(named(report(record("192.0.2.11", 2)), "b"))))
    both = wait_for(lambda: [s for s in came(server, "192.0.2.11") if s["letters"] == 7], 20)[0]
    assert both["unproved"] == 5
    proofs = {(r["reporter"], r["proof"]) for r in shown(server)["reporters"]}
    assert {("bank.test", "fail"), ("good.test", "pass")} <= proofs
    text = tool(server, "report", "dmarc", "--since", "0").stdout
    assert "5 of the letters are told by reporters that are not proved" in text


def test_a_claim_of_the_letter_itself_does_not_count(server):
    forged = b"Authentication-Results: mx.here.test; dmarc=pass header.from=good.test\n"
    send(server, b"MIME-Version: 1.0\n" + forged + letter(gzip.compress(named(report(record("192.0.2.12", 1)), "c"))).split(
        b"MIME-Version: 1.0\n", 1)[-1], author="x@bank.test")
    assert wait_for(lambda: came(server, "192.0.2.12"), 20)[0]["unproved"] == 1


def test_long_letters_come_by_descriptor(server):
    """Beyond what travels in a message, and beyond what the journal holds in one record."""
    for i, n in ((1, 60 << 10), (2, 600 << 10)):
        noise = base64.b16encode(os.urandom(n // 2))
        xml = named(report(record(f"192.0.2.2{i}", i)), f"long{i}").replace(b"</org_name>", b"</org_name><x>" + noise + b"</x>")
        send(server, letter(gzip.compress(xml, 0)))
        assert wait_for(lambda ip=f"192.0.2.2{i}": came(server, ip), 30)[0]["letters"] == i


@pytest.mark.parametrize("content, says", [
    (b"Content-Type: text/plain\n\nhello\n", "there is no report in it"),
    (letter(gzip.compress(report(before="<!DOCTYPE feedback>"))), "DOCTYPE"),
    (letter(gzip.compress(b"<feedback>" + b" " * (24 << 20))), "200 times|16 MiB"),
], ids=["none", "doctype", "bomb"])
def test_what_is_no_report_stays_in_sight(server, content, says):
    """At the account of the address, where there is one; held else. The sender gets no letter."""
    before = len(server.mail(TO))
    send(server, content)
    wait_for(lambda: len(server.mail(TO)) == before + 1, 20)
    held = len(queue(server, "--held"))
    send(server, content, to=HELD)
    wait_for(lambda: len(queue(server, "--held")) == held + 1, 20)
    rows = queue(server, "--held")  # in no order
    assert any(w in json.dumps(rows) for w in says.split("|")), rows
    assert len(queue(server)) == len(rows)  # no letter to the sender of it


def test_failure_and_abuse_reports(server):
    arf = (b"MIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n"
           b"Content-Type: text/plain\n\nabuse\n--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\n"
           b"User-Agent: t/1\nVersion: 1\nSource-IP: 192.0.2.77\nReported-Domain: here.test\n\n--b\n"
           b"Content-Type: message/rfc822\n\nFrom: <x@y.test>\n\nz\n--b--\n")
    send(server, arf)
    got = wait_for(lambda: shown(server)["failures"], 20)[0]
    assert (got["type"], got["source"], got["reporter"], got["proof"]) == ("abuse", "192.0.2.77", "good.test", "pass")


def test_killed_readers_and_keepers_lose_nothing(server):
    """kill -9 of report, tally and queue while reports come: each counts, and counts once."""
    for i in range(12):
        content = letter(gzip.compress(named(report(record("192.0.2.99", 1)), f"k{i}")))
        wait_for(lambda c=content: taken(server, c), 30)
        for role in (("report", "tally", "queue")[i % 3],):
            for pid in server.role_pids(role):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        wait_for(lambda r=role: server.role_pids(r), 30)
    wait_for(lambda: sum(s["letters"] for s in came(server, "192.0.2.99")) >= 12, 60)
    assert sum(s["letters"] for s in came(server, "192.0.2.99")) == 12
    wait_for(lambda: not [q for q in queue(server) if q not in queue(server, "--held")], 60, what="an empty queue")


def test_a_flood_of_strangers_leaves_the_others_their_place(server):
    """200 a day of senders that are not proved; the next waits in the queue, a proved one does not."""
    db = server.home + "/lib/reports/reports.db"
    with contextlib.closing(sqlite3.connect(db, timeout=10)) as c, c:
        c.executemany("INSERT INTO reports (org, report, domain, first, last, p, received, reporter, proof)"
                      " VALUES ('flood', ?, 'x.test', 1, 1, 'none', ?, 'x.test', 'fail')",
                      [(str(i), int(time.time())) for i in range(200)])
    send(server, letter(gzip.compress(named(report(record("192.0.2.91", 1)), "f1"))), author="x@bank.test")
    send(server, letter(gzip.compress(named(report(record("192.0.2.92", 1)), "f2"))))
    wait_for(lambda: came(server, "192.0.2.92"), 20)
    wait_for(lambda: "senders that are not proved" in json.dumps(queue(server)), 20)
    assert not came(server, "192.0.2.91")
    with contextlib.closing(sqlite3.connect(db, timeout=10)) as c, c:
        c.execute("DELETE FROM reports WHERE org = 'flood'")
    wait_for(lambda: came(server, "192.0.2.91"), 60)  # it has only waited


def test_a_store_that_is_away_costs_no_report(server):
    """The store cannot be opened: letters wait, and come in when it can."""
    db = os.path.join(server.home, "lib/reports/reports.db")
    os.rename(db, db + ".away")
    os.mkdir(db)
    for pid in server.role_pids("tally"):
        os.kill(pid, signal.SIGKILL)
    send(server, letter(gzip.compress(named(report(record("192.0.2.55", 1)), "w"))))
    wait_for(lambda: "reports-unavailable" in server.log(), 20)
    os.rmdir(db)
    os.rename(db + ".away", db)
    assert wait_for(lambda: came(server, "192.0.2.55"), 60)[0]["letters"] == 1


def test_older_stores_are_read(server, tmp_path):
    """A store of version 1 becomes one of version 2, and keeps what it has."""
    with Server("old.test", start=False) as s:
        os.makedirs(s.home + "/lib/reports", exist_ok=True)
        with sqlite3.connect(s.home + "/lib/reports/reports.db") as c:
            c.executescript(
                "CREATE TABLE reports (id INTEGER PRIMARY KEY, org TEXT NOT NULL, report TEXT NOT NULL, domain TEXT NOT NULL,"
                " first INTEGER NOT NULL, last INTEGER NOT NULL, p TEXT NOT NULL, received INTEGER NOT NULL,"
                " UNIQUE (org, report, domain, first));"
                "CREATE TABLE records (report INTEGER NOT NULL REFERENCES reports ON DELETE CASCADE, source TEXT NOT NULL,"
                " letters INTEGER NOT NULL, done TEXT NOT NULL, dkim INTEGER NOT NULL, spf INTEGER NOT NULL,"
                " reason TEXT NOT NULL, author TEXT NOT NULL, signer TEXT NOT NULL, sender TEXT NOT NULL);"
                "CREATE INDEX records_report ON records (report);"
                "CREATE TABLE failures (received INTEGER NOT NULL, type TEXT NOT NULL, domain TEXT NOT NULL,"
                " source TEXT NOT NULL, failure TEXT NOT NULL, sender TEXT NOT NULL, arrived TEXT NOT NULL,"
                " UNIQUE (type, domain, source, failure, sender, arrived));"
                "INSERT INTO reports VALUES (1, 'O', 'r', 'old.test', 1, 2, 'none', 1790000000);"
                "INSERT INTO records VALUES (1, '192.0.2.1', 9, 'none', 1, 1, '', 'old.test', '', '');"
                "PRAGMA user_version = 1;")
        got = shown(s)
        assert got["sources"][0]["letters"] == 9 and got["sources"][0]["unproved"] == 0
        assert got["reporters"][0]["proof"] == "import"


def test_an_address_elsewhere_is_refused():
    with Server("here.test", start=False, settings={"report_address": ["x@other.test"]}) as s:
        p = tool(s, "check")
        assert p.returncode == 78 and "report_address" in p.stderr + p.stdout and LETTERLOCK
