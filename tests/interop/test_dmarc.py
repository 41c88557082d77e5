"""DMARC by real DNS: the public cases of rspamd through letterlock verify, and the example program."""
import json
import os
import subprocess

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import pytest
from harness.dnsserver import DnsServer
from harness.server import BUILD, LETTERLOCK, testdata

# What the cases expect of RFC 7489 and RFC 9989 changed, each with the sentence that changed it.
CHANGED = {
    # A.6: "pct" is gone, so the policy is applied as it stands.
    "DMARC PCT ZERO REJECT": ("fail", "reject"),
    "DMARC PCT ZERO SP QUARANTINE": ("fail", "quarantine"),
    # 4.10.2: of "the domains for which valid DMARC Policy Records were retrieved" my.mom.za.org is the
    # only one; mom.za.org has none, so it is another organization.
    "DMARC SUBDOMAIN PASS DKIM RELAXED ALIGNMENT": ("fail", "reject"),
    "DMARC SUBDOMAIN PASS SPF RELAXED ALIGNMENT": ("fail", "reject"),
}
SYMBOLS = {
    "DMARC_POLICY_ALLOW": ("pass", "none"),
    "DMARC_POLICY_SOFTFAIL": ("fail", "none"),
    "DMARC_POLICY_QUARANTINE": ("fail", "quarantine"),
    "DMARC_POLICY_REJECT": ("fail", "reject"),
    "DMARC_NA": ("none", "none"),
    "DMARC_DNSFAIL": ("temperror", "none"),
}


def suite():
    path = testdata("dmarc-rspamd/cases.json")
    if not path:
        return []
    with open(path, encoding="utf-8") as f:
        return json.load(f)["dmarc"]


def cases():
    found = suite()
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason="the suite dmarc-rspamd is not there"))]
    return [pytest.param(c, id=c["name"].replace(" ", "-")) for c in found]


def text(value):
    raw = value.encode()
    return dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT,
                                   [raw[i:i + 255] for i in range(0, len(raw), 255)] or [b""])


@pytest.fixture(scope="module")
def server():
    """The suite's zone. A name whose look-up is to time out gets no answer at all."""
    with open(testdata("dmarc-rspamd/dns.json"), encoding="utf-8") as f:
        zone = json.load(f)
    silent = {r["name"] + "." for r in zone if r.get("rcode") == "timeout"}
    with DnsServer(silent=silent) as d:
        for r in zone:
            for value in r.get("replies", []):
                kind = r["type"].upper()
                if kind in ("MX", "PTR"):
                    value += "."
                d.add(r["name"] + ".", text(value) if kind == "TXT" else dns.rdata.from_text("IN", kind, value))
        yield d


@pytest.mark.parametrize("case", cases())
def test_suite(case, server):
    with open(testdata("dmarc-rspamd/messages/" + case["message"]), "rb") as f:
        letter = f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    words = [LETTERLOCK, "verify", "--json", "--resolver", server.address, "--dns-timeout", "1",
             "--trust-anchor", "/dev/null"]
    if "mailfrom" in case:
        words += ["--ip", case["ip"], "--mail-from", case["mailfrom"], "--helo", "h.test"]
    p = subprocess.run([*words, "-"], input=letter, capture_output=True, timeout=60)
    assert p.stdout, p.stderr
    got = json.loads(p.stdout)["dmarc"]
    wanted = CHANGED.get(case["name"], SYMBOLS[case["expect"][0]])
    assert (got["result"], got["disposition"]) == wanted, got


def test_suite_is_whole():
    found = suite()
    if not found:
        pytest.skip("the suite dmarc-rspamd is not there")
    assert len(found) == 17 and set(CHANGED) <= {c["name"] for c in found}


# ---- the library's example -----------------------------------------------------------------------

ZONE = ['_dmarc.x.test. TXT "v=DMARC1; p=reject; sp=quarantine; np=none"', "sub.x.test. A 192.0.2.1",
        '_dmarc.t.test. TXT "v=DMARC1; p=reject; t=y"']


@pytest.mark.parametrize("author, spf, dkim, out", [
    ("x.test", "b.x.test=pass", "=", "pass policy=reject disposition=none org=x.test (aligned: spf)"),
    ("x.test", "y.test=pass", "x.test=fail", "fail policy=reject disposition=reject org=x.test"),
    ("sub.x.test", "=", "=", "fail policy=quarantine disposition=quarantine org=x.test"),
    ("ghost.x.test", "=", "=", "fail policy=none disposition=none org=x.test"),
    ("t.test", "=", "=", "fail policy=reject disposition=quarantine org=t.test"),
    ("x.test", "=", "x.test=temperror", "temperror policy=reject disposition=none org=x.test"),
    ("broken.test", "broken.test=pass", "=", "temperror policy=none disposition=none org= "),
    ("none.test", "none.test=pass", "=", "none policy=none disposition=none org=none.test"),
])
def test_example_program(author, spf, dkim, out):
    with DnsServer(ZONE, broken=["broken.test."]) as d:
        p = subprocess.run([os.path.join(BUILD, "doc", "examples", "example-dmarc"), author, spf, dkim,
                            d.address], capture_output=True, text=True, timeout=60,
                           stdin=subprocess.DEVNULL)
        assert p.returncode == 0 and p.stdout.startswith(out), p.stdout


def test_a_deep_author_is_asked_for_eight_times():
    with DnsServer(["_dmarc.deep.test. TXT \"v=DMARC1; p=reject\""]) as d:
        name = ".".join("abcdefghijklmnopqrstuvwxyz") + ".deep.test"
        subprocess.run([os.path.join(BUILD, "doc", "examples", "example-dmarc"), name, "=", "=", d.address],
                       check=True, timeout=60, stdout=subprocess.DEVNULL)
        asked = [n for n, kind in d.asked if kind == "TXT"]
        assert asked == ["_dmarc." + name + "."] + [
            "_dmarc." + ".".join((name + ".").split(".")[-k - 1:]) for k in range(7, 0, -1)]
