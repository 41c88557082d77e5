"""GnuPG in a home of its own, its agent ended by the test that started it."""
import os
import subprocess
import tempfile

import pytest

WKS = "/usr/lib/gnupg/gpg-wks-client"


class Gnupg:
    """with Gnupg(folder) as g: g.run("--list-keys"), g.make("Ann <ann@a.test>")."""

    def __init__(self, folder):
        self.home = str(folder)
        os.makedirs(self.home, mode=0o700, exist_ok=True)
        self.env = {**os.environ, "GNUPGHOME": self.home, "LC_ALL": "C.UTF-8"}

    def run(self, *args, data=None, program="gpg", check=True):
        words = [program, *(["--batch", "--yes", "--quiet"] if program == "gpg" else []), *args]
        p = subprocess.run(words, input=data, env=self.env, timeout=60, check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check:
            assert p.returncode == 0, p.stderr.decode()
        return p.stdout if check else p

    def make(self, user_id, kind="future-default"):
        """Without a password; the fingerprint."""
        self.run("--passphrase", "", "--quick-generate-key", user_id, kind, "default", "1y")
        return self.fingerprints()[-1]

    def fingerprints(self, *which, secret=False):
        out = self.run("--with-colons", "--list-secret-keys" if secret else "--list-keys", *which)
        lines = out.decode().splitlines()
        return [lines[i + 1].split(":")[9].lower() for i, line in enumerate(lines)
                if line.startswith(("pub:", "sec:"))]

    def user_ids(self, which):
        out = self.run("--with-colons", "--list-keys", which).decode()
        return [line.split(":")[9] for line in out.splitlines() if line.startswith("uid:")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["gpgconf", "--kill", "all"], env=self.env, timeout=20, check=False)


@pytest.fixture
def gnupg():
    # A socket's path has at most 107 octets, and pytest's folders have long names.
    with tempfile.TemporaryDirectory(prefix="ll-gpg-", ignore_cleanup_errors=True) as folder:
        with Gnupg(folder) as g:
            yield g
