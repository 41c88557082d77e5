"""OpenPGP in tests: our example program, and the peers gpg, sq and rnp in homes of their own. Every
gpg-agent that a home starts is ended with it."""
import collections
import contextlib
import os
import shutil
import subprocess
import tempfile

import pytest

from .server import LETTERLOCK

PROGRAM = os.path.join(os.path.dirname(LETTERLOCK), "doc", "examples", "example-pgp")
Result = collections.namedtuple("Result", "out error said")


def run(args, stdin=b"", env=None, check=True):
    """Standard output of a peer; what it said where it failed."""
    p = subprocess.run(args, input=stdin, capture_output=True, timeout=60, env=env)
    if check and p.returncode:
        raise AssertionError(f"{args}: {p.returncode}\n{p.stderr.decode(errors='replace')}")
    return p.stdout if check else p


def pgp(command, *args, stdin=b""):
    """Runs our program: its output, its error ("" when it had none), what it said of the message."""
    p = subprocess.run([PROGRAM, command, *args], input=stdin, capture_output=True, timeout=60)
    lines = p.stderr.decode().splitlines()
    errors = [line[6:] for line in lines if line.startswith("error ")]
    assert bool(errors) == (p.returncode != 0), (p.returncode, lines)
    return Result(p.stdout, " ".join(errors), [line for line in lines if not line.startswith("error ")])


class Keys:
    """Key files for -k, in a directory that goes with it."""

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="ll-pgp-")
        self.args = []
        self.n = 0
        return self

    def __exit__(self, *_):
        self.dir.cleanup()

    def write(self, octets):
        self.n += 1
        path = os.path.join(self.dir.name, str(self.n))
        with open(path, "wb") as f:
            f.write(octets)
        return path

    def add(self, key):
        """A key: its octets or its file."""
        self.args += ["-k", key if isinstance(key, str) else self.write(key)]
        return self


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


class Gpg:
    """A home of GnuPG. Its path is short: the agent's socket has to fit."""

    def __enter__(self):
        need("gpg")
        self.dir = tempfile.TemporaryDirectory(prefix="llg-", dir="/tmp")
        self.env = {**os.environ, "GNUPGHOME": self.dir.name, "LC_ALL": "C"}
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["gpgconf", "--kill", "all"], env=self.env, timeout=20)
        self.dir.cleanup()

    def __call__(self, *args, stdin=b"", check=True):
        return run(["gpg", "--batch", "--yes", "--quiet", "--no-tty", "--trust-model", "always",
                    "--pinentry-mode", "loopback", *args], stdin, self.env, check)

    def generate(self, user_id, *algorithm, passphrase=""):
        self("--passphrase", passphrase, "--quick-gen-key", user_id, *(algorithm or ("future-default", "default")),
             "never")

    def fingerprint(self, user_id):
        out = self("--with-colons", "--list-keys", user_id).decode()
        return next(line.split(":")[9] for line in out.splitlines() if line.startswith("fpr")).lower()

    def decrypt(self, octets, *args):
        """(text, the words of the status lines)."""
        status = os.path.join(self.dir.name, "status")
        p = self("--status-file", status, *args, "--decrypt", stdin=octets, check=False)
        with open(status, encoding="utf-8", errors="replace") as f:
            words = [line.split()[1] for line in f if line.startswith("[GNUPG:]")]
        return p.stdout if p.returncode == 0 else None, words

    def verify(self, signature, text):
        paths = []
        for name, octets in (("sig", signature), ("text", text)):
            paths.append(os.path.join(self.dir.name, name))
            with open(paths[-1], "wb") as f:
                f.write(octets)
        p = self("--status-fd", "1", "--verify", *paths, check=False)
        return [line.split()[1] for line in p.stdout.decode().splitlines() if line.startswith("[GNUPG:]")]
