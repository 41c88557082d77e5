"""DMARC by real DNS: the example program."""
import os
import subprocess

import pytest
from harness.dnsserver import DnsServer
from harness.server import BUILD

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
