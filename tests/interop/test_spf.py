"""letterlock spf, by real DNS: the public suite of RFC 7208, limits counted at the name server, and
what a name server may do wrong."""
import json
import os
import subprocess

import dns.rdata
import pytest
import yaml
from harness.dnsserver import DnsServer
from harness.server import BUILD, testdata
from dns.rdataclass import IN
from dns.rdatatype import TXT
from dns.rdtypes.ANY import TXT as TXT_RECORD

LETTERLOCK = os.path.join(BUILD, "letterlock")


def spf(server, ip, mail_from="", helo="mail.example.test", *more):
    p = subprocess.run([LETTERLOCK, "spf", "--json", "--resolver", server.address, "--ip", ip,
                        "--helo", helo, "--mail-from", mail_from, "--dns-timeout", "1", *more],
                       capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert p.returncode == 0, p.stderr
    return json.loads(p.stdout)


# ---- the suite -----------------------------------------------------------------------------------

def txt(value):
    """A TXT record: a string of octets, cut into 255 each, or a list of strings."""
    strings = [value] if isinstance(value, str) else value
    raw = [s.encode("latin-1") for s in strings]
    if len(raw) == 1 and len(raw[0]) > 255:
        raw = [raw[0][i:i + 255] for i in range(0, len(raw[0]), 255)]
    return TXT_RECORD.TXT(IN, TXT, raw or [b""])


def rdata(kind, value):
    if kind == "TXT":
        return txt(value)
    if kind == "MX":
        value = "%d %s" % (value[0], escaped(value[1]))
    elif kind in ("PTR", "CNAME"):
        value = escaped(value)
    return dns.rdata.from_text("IN", kind, value)


def escaped(name):
    return name.rstrip(".").replace(" ", "\\032") + "."


def serve(zone):
    """The suite's zone: SPF stands for TXT where the name has no TXT of its own, "TXT: NONE" says
    that there is none, TIMEOUT that other types get no answer."""
    mute = []
    server = DnsServer()
    for name, entries in zone.items():
        rows = [next(iter(e.items())) for e in entries if isinstance(e, dict)]
        own = any(kind == "TXT" for kind, _ in rows)
        if "TIMEOUT" in entries:
            mute.append(name.lower() + ".")
        for kind, value in rows:
            if kind == "SPF" and own or value == "NONE":
                continue
            server.add(name + ".", rdata("TXT" if kind == "SPF" else kind, value))
    server.mute = mute
    return server


def suite():
    path = testdata("spf-rfc7208/rfc7208-tests.yml")
    if not path:
        return []
    with open(path, encoding="utf-8") as f:
        return [s for s in yaml.safe_load_all(f) if s]


def scenarios():
    found = suite()
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason="the suite spf-rfc7208 is not there"))]
    return [pytest.param(s, id=s["description"].replace(" ", "-")) for s in found]


@pytest.mark.parametrize("scenario", scenarios())
def test_suite(scenario):
    wrong = []
    with serve(scenario["zonedata"]) as server:
        for name, case in scenario["tests"].items():
            got = spf(server, case["host"], case["mailfrom"] or "", case["helo"])
            wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
            text = case.get("explanation")
            if got["result"] not in wanted:
                wrong.append(f"{name}: {got['result']}, not {wanted} ({got['problem']})")
            elif text == "DEFAULT" and got["explanation_from_domain"]:
                wrong.append(f"{name}: explained by {got['explanation']!r}")
            elif text and text != "DEFAULT" and got["explanation"] != text:
                wrong.append(f"{name}: explained by {got['explanation']!r}, not {text!r}")
    assert not wrong, "\n".join(wrong)


def test_suite_is_whole():
    found = suite()
    if not found:
        pytest.skip("the suite spf-rfc7208 is not there")
    assert sum(len(s["tests"]) for s in found) == 203
