"""Outbound: no sequence that some server takes for the end of a letter ever leaves this house.

The sequences are those of the public list in the test data; each stands in a letter before the
commands of a second, forged one."""
import json
import os
import re
import subprocess

import pytest
from harness.rawserver import RawServer
from harness.server import LETTERLOCK, testdata

SUITE = testdata("smtp-smuggling")


def sequences():
    if not SUITE:
        return [pytest.param(b"", id="absent", marks=pytest.mark.skip("no test data"))]
    with open(os.path.join(SUITE, "sequences.json"), encoding="utf-8") as f:
        return [pytest.param(bytes.fromhex(s["bytes"]), id=s["name"])
                for s in json.load(f)["never_end_of_data"]]


@pytest.mark.parametrize("sequence", sequences())
def test_send_never_emits_it(sequence):
    letter = (b"From: <a@alpha.test>\r\nSubject: outer\r\n\r\nbody" + sequence +
              b"MAIL FROM:<smuggled@attacker.example>\r\nRCPT TO:<victim@our.example>\r\nDATA\r\n"
              b"Subject: inner\r\n\r\nforged\r\n")
    with RawServer() as s:
        p = subprocess.run([LETTERLOCK, "send", "--server", f"127.0.0.1:{s.port}", "--tls",
                            "opportunistic", "--from", "a@alpha.test", "b@beta.test"],
                           input=letter, capture_output=True, timeout=30)
        wire, letters = s.octets, s.letters
    content = letters[0] if letters else b""
    if p.returncode != 0:
        assert p.returncode == 65 and not letters, p.stderr
        assert p.stderr.strip(), "a refusal says why"
        return
    # A lone LF in a local file is a line end: it leaves as CR LF, and what follows stays content.
    assert len(letters) == 1 and b"forged" in content
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", wire)
    assert all(line.startswith(b"..") or not line.startswith(b".")
               for line in content.split(b"\r\n"))
