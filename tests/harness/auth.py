"""Letters for `letterlock verify` and `letterlock sign`: files, runs, results."""
import concurrent.futures
import json
import os
import subprocess
import tempfile

import pytest

from .server import LETTERLOCK

DATA = os.environ.get("LETTERLOCK_TESTDATA") or os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "..", "shared", "testdata")


def suite(name):
    """The folder of a public suite; skips the test where it is absent."""
    path = os.path.join(DATA, name)
    if not os.path.isdir(path):
        pytest.skip(f"the public suite {name} is not there (LETTERLOCK_TESTDATA)")
    return path


def txt(name, value):
    """A TXT record as a zone-file line, its text in strings of at most 255 octets."""
    value = value.strip().replace("\\", "\\\\").replace('"', '\\"')
    parts = [value[i:i + 200] for i in range(0, len(value), 200)] or [""]
    return f"{name}. TXT " + " ".join(f'"{p}"' for p in parts)


def wire(text, encoding="utf-8"):
    """Text with LF to octets with CR LF."""
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode(encoding)


def run(*args, **kw):
    kw.setdefault("timeout", 60)
    if "input" not in kw:
        kw["stdin"] = subprocess.DEVNULL
    return subprocess.run([LETTERLOCK, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


def verify(letter, *args):
    """What `verify --json` says of one letter."""
    p = run("verify", "--json", *args, "-", input=letter)
    assert p.returncode == 0, p.stderr
    return json.loads(p.stdout)


class Mails:
    """with Mails() as m: files in a temporary folder."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="letterlock-mails-")
        self.n = 0

    def write(self, data, name=None):
        self.n += 1
        path = os.path.join(self.dir.name, name or f"{self.n}.eml")
        with open(path, "wb") as f:
            f.write(data)
        return path

    def run(self, *args, **kw):
        return run(*args, **kw)

    def sign(self, letter, *args):
        p = run("sign", *args, "-", input=letter)
        assert p.returncode == 0, p.stderr
        return p.stdout

    def verify_all(self, letters, *args):
        """Results of letters that have nothing to do with each other, a few at a time."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda letter: verify(letter, *args), letters))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.dir.cleanup()
