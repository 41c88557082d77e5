"""The whole way: ann and bob make keys, exchange and compare them; what ann's `send` seals, bob's
`read` opens, out of his Maildir. Nothing else can, and what was changed on the way proves nothing."""
import json
import os
import subprocess
import tempfile

import pytest
from harness.server import LETTERLOCK, Server

CANARY = "canary-0815-sealed"
SUBJECT = "Hidden subject 4711"


class Person:
    def __init__(self, folder, server, address):
        self.folder, self.address = os.path.join(folder, address), address
        config = os.path.join(self.folder, ".config/letterlock")
        os.makedirs(config, 0o700)
        self.file("password", server.password)
        cert = os.path.join(server.home, "lib/keys/mx.alpha.test-ecdsa.crt")
        self.file(".config/letterlock/config", f"""account a {{
    from = "{address}" server = "localhost:{server.submissions}" tls = implicit ca = "{cert}"
    user = "{address}" password-file = "{server.password_file}"
    key-password-file = "{self.file('key-password', 'sesame')}" }}""")

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text + "\n")
        os.chmod(path, 0o600)
        return path

    def __call__(self, *args, status=0, **kw):
        p = subprocess.run([LETTERLOCK, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                           env={"HOME": self.folder, "PATH": os.environ["PATH"]}, cwd=self.folder, **kw)
        assert p.returncode == status, (args, p.returncode, p.stdout, p.stderr)
        return p.stdout.decode()

    def new_key(self, kind, *options):
        self("keys", "new", f"--{kind}", "--password-file", "key-password", *options, self.address)

    def meet(self, other, kind):
        """Compares the key, as people should."""
        path = os.path.join(self.folder, "theirs")
        with open(path, "w", encoding="utf-8") as f:
            f.write(other("keys", "export", f"--{kind}", other.address))
        self("keys", "import", path)
        own = json.loads(other("keys", "list", "--own", f"--{kind}", "--json"))[0]["fingerprint"]
        self("keys", "trust", f"--{kind}", "--fingerprint", own, other.address)


@pytest.fixture(scope="module")
def server():
    with Server("alpha.test", users=["ann@alpha.test", "bob@alpha.test"]) as s:
        with open(s.password_file, encoding="utf-8") as f:
            s.password = f.read().strip()
        yield s


@pytest.fixture(scope="module", params=["pgp", "smime"])
def pair(request, server):
    with tempfile.TemporaryDirectory(prefix="letterlock-sealed-") as d:
        ann, bob = (Person(d, server, f"{n}@alpha.test") for n in ("ann", "bob"))
        options = ["--algorithm", "p256"] if request.param == "smime" else []
        for p in (ann, bob):
            p.new_key(request.param, *options)
        ann.meet(bob, request.param)
        bob.meet(ann, request.param)
        yield request.param, ann, bob


def test_sealed_and_opened(server, pair):
    kind, ann, bob = pair
    n = len(server.mail(bob.address))
    ann("send", "--no-find", "--seal", kind, "--to", bob.address, "--subject", SUBJECT, input=CANARY.encode())
    raw = server.wait_mail(bob.address, n + 1)[-1]
    assert CANARY.encode() not in raw and SUBJECT.encode() not in raw
    out = bob("read", "--newest", server.maildir(bob.address))
    assert "Proven:      yes: the letter is from the address in From, and unchanged" in out, out
    assert f"Subject:     {SUBJECT}" in out and f"| {CANARY}" in out and "Hidden:      Subject" in out
    assert "its key was verified by you" in out and "Warning:" not in out.replace("brings", "")
    # ann can read what she sent; a third one cannot
    assert CANARY in ann("read", input=raw)
    with tempfile.TemporaryDirectory(prefix="letterlock-sealed-") as d:
        eve = Person(d, server, "eve@alpha.test")
        eve.new_key(kind, *(["--algorithm", "p256"] if kind == "smime" else []))
        out = eve("read", input=raw, status=77)
        assert CANARY not in out and SUBJECT not in out and "none of the keys here opens it" in out


def test_changed_on_the_way(server, pair):
    _, ann, bob = pair
    n = len(server.mail(bob.address))
    ann("send", "--no-find", "--sign", "--to", bob.address, "--subject", "open", input=b"pay 100\n")
    raw = server.wait_mail(bob.address, n + 1)[-1]
    out = bob("read", input=raw)
    assert "Proven:      yes" in out and "Covered:     the text and its attachments, and From, To" in out, out
    for old, new in ((b"pay 100", b"pay 900"), (b"\nSubject: open\r\nContent", b"\nSubject: 0pen\r\nContent")):
        changed = raw.replace(old, new)
        if changed != raw:
            out = bob("read", input=changed, status=77)
            assert "Proven:      yes" not in out and "the content was changed" in out
    # the copy of the fields outside is not covered: a change there is told, and the inner one shown
    head, body = raw.split(b"\r\n\r\n" if b"\r\n\r\n" in raw else b"\n\n", 1)
    out = bob("read", input=head.replace(b"Subject: open", b"Subject: fake") + b"\n\n" + body)
    assert "Subject:     open" in out and "A header field differs outside and inside of the seal" in out
