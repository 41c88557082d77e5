"""The role dns and name servers of its own."""
import os
import subprocess
import time

import pytest
from harness.dnssec import SignedServer
from harness.dnsserver import DnsServer
from harness.server import BUILD

ASK_DNS = os.path.join(BUILD, "tests", "daemon", "ask-dns")
A, MX, TXT, AAAA, TLSA, CNAME, PTR = 1, 15, 16, 28, 52, 5, 12


def ask(resolver, *questions, anchor="", local=(), delay=0, timeout=60):
    """{(name, type word): (status, secure?, canonical, [rdata])}, and what was logged."""
    words = [str(w) for q in questions for w in q]
    p = subprocess.run([ASK_DNS, resolver, anchor, str(delay), *local, "--", *words],
                       capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    assert p.returncode == 0, p.stderr
    answers = {}
    for line in p.stdout.splitlines():
        name, kind, status, secure, _, canonical, *rdata = line.split(" ")
        answers[name, kind] = (status, secure == "secure", canonical,
                               [bytes.fromhex(r) for r in rdata])
    return answers, p.stderr


def wire(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def test_records():
    with DnsServer(["a.test. MX 10 mx.a.test.", "mx.a.test. A 192.0.2.1", 'a.test. TXT "one" "two"',
                    "alias.a.test. CNAME a.test.", "1.2.0.192.in-addr.arpa. PTR mx.a.test."]) as d:
        answers, _ = ask(d.address, ("a.test", MX), ("A.Test.", TXT), ("mx.a.test", A),
                         ("mx.a.test", AAAA), ("alias.a.test", MX), ("none.a.test", A),
                         ("1.2.0.192.in-addr.arpa", PTR))
        assert answers["a.test", "MX"] == ("ok", False, "a.test", [b"\0\n" + wire("mx.a.test")])
        assert answers["A.Test.", "TXT"][3] == [b"\3one\3two"]
        assert answers["mx.a.test", "A"][3] == [bytes([192, 0, 2, 1])]
        assert answers["mx.a.test", "AAAA"][0] == "nodata"
        assert answers["alias.a.test", "MX"][2] == "a.test"
        assert answers["none.a.test", "A"][0] == "nxdomain"
        assert answers["1.2.0.192.in-addr.arpa", "PTR"][3] == [wire("mx.a.test")]


def test_answers_come_from_the_cache():
    with DnsServer(["a.test. A 192.0.2.1"]) as d:
        answers, _ = ask(d.address, *[("a.test", A)] * 20, anchor="/nonexistent")
        assert answers["a.test", "A"][0] == "ok" and d.asked == [("a.test.", "A")]


def test_local_data_comes_first():
    with DnsServer(["a.test. A 192.0.2.1", "b.test. A 192.0.2.2"]) as d:
        answers, _ = ask(d.address, ("a.test", A), ("b.test", A),
                         local=["a.test. A 192.0.2.9"])
        assert answers["a.test", "A"][3] == [bytes([192, 0, 2, 9])]
        assert answers["b.test", "A"][3] == [bytes([192, 0, 2, 2])]


def test_local_data_comes_first_without_a_forwarder_too():
    answers, _ = ask("recursive", ("a.test", A), ("a.test", MX), local=["a.test. A 192.0.2.9"])
    assert answers["a.test", "A"] == ("ok", False, "a.test", [bytes([192, 0, 2, 9])])
    assert answers["a.test", "MX"][0] == "nodata"


def test_failures():
    with DnsServer(["a.test. A 192.0.2.1"], broken=["broken.test."], silent=["silent.test."]) as d:
        begin = time.monotonic()
        answers, _ = ask(d.address, ("x.broken.test", A), ("x.silent.test", A), ("a.test", A))
        assert answers["x.broken.test", "A"][0] == "servfail"
        assert answers["x.silent.test", "A"][0] in ("timeout", "servfail")
        assert answers["a.test", "A"][0] == "ok"
        assert time.monotonic() - begin < 28


def test_cut_over_udp_whole_over_tcp():
    records = [f'big.test. TXT "{i:03d}{"x" * 200}"' for i in range(60)]
    with SignedServer(records, short=True) as d:
        answers, _ = ask(d.address, ("big.test", TXT))
        assert answers["big.test", "TXT"][0] == "ok" and len(answers["big.test", "TXT"][3]) == 60


SIGNED = ["signed.test. MX 10 mx.signed.test.", "mx.signed.test. A 192.0.2.1",
          "plain.test. A 192.0.2.2", "bad.signed.test. A 192.0.2.3"]


@pytest.fixture
def anchor(tmp_path):
    def write(server):
        path = tmp_path / "anchor"
        path.write_text("; trust this\n" + server.anchor.replace(" DS ", " DS ( ") + " )\n")
        return str(path)
    return write


def test_secure_and_bogus(anchor):
    with SignedServer(SIGNED, forged=["bad.signed.test."]) as d:
        answers, log = ask(d.address, ("signed.test", MX), ("mx.signed.test", A),
                           ("plain.test", A), ("bad.signed.test", A), anchor=anchor(d), delay=1000)
        assert answers["signed.test", "MX"][:2] == ("ok", True)
        assert answers["mx.signed.test", "A"][:2] == ("ok", True)
        assert answers["plain.test", "A"][:2] == ("ok", False)
        assert answers["bad.signed.test", "A"] == ("bogus", False, "-", [])
        assert "state=secure anchor=signed.test" in log


def test_without_anchor_nothing_is_secure():
    with SignedServer(SIGNED, forged=["bad.signed.test."]) as d:
        answers, log = ask(d.address, ("signed.test", MX), ("bad.signed.test", A),
                           anchor="/nonexistent")
        assert answers["signed.test", "MX"][:2] == ("ok", False)
        assert answers["bad.signed.test", "A"][:2] == ("ok", False)
        assert "state=plain" in log and "warning" in log


@pytest.mark.parametrize("delay", [0, 1000])
def test_forwarder_that_strips_signatures_stops_nothing(anchor, delay):
    with SignedServer(SIGNED, strip=True) as d:
        answers, log = ask(d.address, ("signed.test", MX), ("mx.signed.test", A),
                           anchor=anchor(d), delay=delay)
        assert answers["signed.test", "MX"][:2] == ("ok", False)
        assert answers["mx.signed.test", "A"][:2] == ("ok", False)
        assert "warning" in log and "state=stripped" in log
