"""Keys on cards: the store has a stub of the secret key, GnuPG has the key. (Its agent holds it on disk
here; for gpg and for us a card looks the same.)"""
import email
import os
import subprocess

import pytest
from harness.pgp import Gpg, Keys, pgp
from harness.rawserver import RawServer, wire
from harness.server import LETTERLOCK

ANN, BOB = "Ann <ann@example.org>", "Bob <bob@example.net>"
LETTER = b"From: Bob <bob@example.net>\r\nTo: Ann <ann@example.org>\r\nSubject: hello\r\n" \
         b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@example.net>\r\n\r\nA secret of ours.\r\n"


def packets(octets):
    """(tag, body) of each packet of a key, old and new formats (RFC 4880 4.2)."""
    at = 0
    while at < len(octets):
        head = octets[at]
        if head & 0x40:
            tag, first = head & 0x3f, octets[at + 1]
            n, skip = (first, 2) if first < 192 else (((first - 192) << 8) + octets[at + 2] + 192, 3)
        else:
            tag, size = (head >> 2) & 15, 1 << (head & 3)
            n, skip = int.from_bytes(octets[at + 1:at + 1 + size], "big"), 1 + size
        yield tag, octets[at + skip:at + skip + n]
        at += skip + n


def public_part(body):
    """Octets of a secret key packet that are its public key: Ed25519 (22) and ECDH (18)."""
    at = 6 + 1 + body[6]
    at += 2 + (int.from_bytes(body[at:at + 2], "big") + 7) // 8
    return at + (1 + body[at] if body[5] == 18 else 0)


def stub(secret):
    """The key as GnuPG exports it when its parts are on a card: S2K 101, "GNU", mode 2, a serial number."""
    out = b""
    for tag, body in packets(secret):
        if tag in (5, 7):
            body = body[:public_part(body)] + b"\xff\x00\x65\x00GNU\x02\x10" + bytes(range(16))
        out += bytes([0xc0 | tag, 0xff]) + len(body).to_bytes(4, "big") + body
    return out


class Person:
    """Bob: his GnuPG has the card, his store the stub and Ann's key."""

    def __init__(self, gpg, keys):
        self.gpg, self.keys = gpg, keys
        self.home = keys.dir.name
        gpg.generate(BOB)
        self.bob = gpg.fingerprint("bob")
        self.stub = stub(gpg("--export-secret-keys", "bob"))
        self.ann = pgp("generate", ANN).out
        self.env = {**gpg.env, "HOME": self.home, "XDG_DATA_HOME": self.home, "XDG_CONFIG_HOME": self.home}
        keys.add(self.ann).add(gpg("--export", "bob"))
        self.ann_fpr = pgp("list", "-k", keys.args[1]).out.decode().split()[0]
        for octets in (self.stub, pgp("export", "-k", keys.args[1], "-r", self.ann_fpr).out):
            p = self.run("keys", "import", keys.write(octets))
            assert p.returncode == 0, p.stderr

    def run(self, *args, stdin=b"", **env):
        return subprocess.run([LETTERLOCK, *args], input=stdin, capture_output=True, timeout=120,
                              env={**self.env, **env})


@pytest.fixture(scope="module")
def person():
    with Gpg() as gpg, Keys() as keys:
        yield Person(gpg, keys)


def test_a_stub_is_told_from_a_secret_key(person):
    out = pgp("list", "-k", person.keys.write(person.stub)).out.decode()
    assert out.startswith(person.bob) and " secret" not in out and " card" in out
    assert "none of the keys" in pgp("sign", "-k", person.keys.write(person.stub), "-s", person.bob, stdin=b"x").error


def test_read_opens_by_card(person):
    body = pgp("mime-seal", *person.keys.args, "-r", person.bob, "-s", person.ann_fpr,
               stdin=b"Content-Type: text/plain\r\n\r\nA secret for Bob.\r\n").out
    head = b"From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: hello\r\nMIME-Version: 1.0\r\n"
    p = person.run("read", "-", stdin=head + body)
    assert b"A secret for Bob." in p.stdout, (p.stdout, p.stderr)
    # Changed on its way: nothing.
    at = body.rindex(b"\r\n=") - 300
    changed = body[:at] + (b"A" if body[at:at + 1] != b"A" else b"B") + body[at + 1:]
    p = person.run("read", "-", stdin=head + changed)
    assert b"secret for Bob" not in p.stdout + p.stderr
    # Without the card.
    empty = os.path.join(person.home, "none")
    os.makedirs(empty, mode=0o700, exist_ok=True)
    try:
        p = person.run("read", "-", stdin=head + body, GNUPGHOME=empty)
        assert b"secret for Bob" not in p.stdout + p.stderr
    finally:
        subprocess.run(["gpgconf", "--homedir", empty, "--kill", "all"], timeout=20)


def sent(person, *how):
    """What a server gets of a letter from Bob to Ann."""
    with RawServer() as server:
        p = person.run("send", *how, "--no-find", "--server", f"127.0.0.1:{server.port}", "--tls", "opportunistic",
                       "ann@example.org", stdin=LETTER)
        assert p.returncode == 0, p.stderr
        return wire(server.letters[0])


def states(got):
    return [line.split()[1:3] for line in got.said if line.startswith("signature")]


def test_send_signs_by_card(person):
    letter = sent(person, "--sign", "--seal", "none")
    m = email.message_from_bytes(letter)
    assert m.get_content_type() == "multipart/signed" and m.get_param("micalg") == "pgp-sha256"
    mark = b"--" + m.get_boundary().encode()
    entity = letter.split(mark + b"\r\n")[1][:-2]
    signature = m.get_payload()[1].get_payload(decode=True)
    got = pgp("verify", *person.keys.args, "-d", person.keys.write(signature), stdin=entity)
    assert states(got) == [["good", person.bob]] and b"A secret of ours." in entity


def test_send_signs_by_card_and_seals(person):
    letter = sent(person, "--sign", "--seal", "pgp")
    assert b"secret of ours" not in letter
    got = pgp("open", *person.keys.args, stdin=email.message_from_bytes(letter).get_payload()[1].get_payload(decode=True))
    assert not got.error and b"A secret of ours." in got.out
    assert states(got) == [["good", person.bob]] and got.said[0] == "encrypted aes256, mdc"
    # Bob can read what he sent, by his card.
    p = person.run("read", "-", stdin=letter)
    assert b"A secret of ours." in p.stdout, (p.stdout, p.stderr)


def test_send_without_the_card(person):
    """Nothing goes out, and it is said why."""
    empty = os.path.join(person.home, "none2")
    os.makedirs(empty, mode=0o700)
    try:
        with RawServer() as server:
            p = person.run("send", "--sign", "--no-find", "--server", f"127.0.0.1:{server.port}", "--tls",
                           "opportunistic", "ann@example.org", stdin=LETTER, GNUPGHOME=empty)
            assert p.returncode != 0 and not server.letters
            assert b"gpg" in p.stderr
    finally:
        subprocess.run(["gpgconf", "--homedir", empty, "--kill", "all"], timeout=20)
