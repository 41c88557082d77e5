"""Letters that mutt, gpgsm and Thunderbird's form of protected headers make; keys that come with
letters and are kept; what the reading process may do, seen from outside."""
import base64
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile

import pytest
from harness.sealing import (Ca, Gpg, Gpgsm, Mutt, Reader, cms, crlf, encrypted, header, multi, signed,
                             text)
from harness.server import LETTERLOCK

YES = "Proven:      yes: the letter is from the address in From, and unchanged"


class World:
    def __init__(self, d):
        self.d = d
        self.gpg = Gpg(os.path.join(d, "gnupg"))
        self.ca = Ca(os.path.join(d, "ca"))
        self.gpg.make("Alice <alice@example.org>")
        self.gpg.make("Bob <bob@example.net>")
        self.alice, self.bobs = self.ca.make("alice", "alice@example.org"), self.ca.make("bob", "bob@example.net")
        self.bob = self.reader("bob")

    def reader(self, name):
        r = Reader(os.path.join(self.d, name))
        r.know(self.gpg.secret("bob@example.net"))
        r.know(self.gpg.public("alice@example.org"), "verified")
        with open(self.ca.cert, "rb") as f:
            r.know(f.read(), "verified")
        with open(self.bobs[0], "rb") as f:
            r.know(f.read(), key=self.bobs[1])
        return r


@pytest.fixture(scope="module")
def w():
    with tempfile.TemporaryDirectory(prefix="letterlock-read-") as d:
        world = World(d)
        yield world
        world.gpg.close()


def said(reader, letter, *args, **kw):
    p = reader.read(crlf(letter), *args, **kw)
    return re.sub(r"\n {13}", " ", p.stdout.decode()), p.returncode


# ---- programs of others -----------------------------------------------------------------------------

@pytest.mark.skipif(not shutil.which("mutt"), reason="mutt is not installed")
def test_mutt(w):
    mutt = Mutt(os.path.join(w.d, "mutt"), w.gpg, "alice@example.org")
    rows = [({"crypt_autosign": "yes"}, "Sealed:      no", "Subject:     Lunch"),
            ({"crypt_autosign": "yes", "crypt_autoencrypt": "yes"}, "Sealed:      yes, with OpenPGP",
             "Subject:     Lunch"),
            ({"crypt_autosign": "yes", "crypt_autoencrypt": "yes",
              "crypt_protected_headers_write": "yes"}, "Hidden:      Subject", "Subject:     Lunch")]
    for settings, sealed, subject in rows:
        letter = mutt.letter("bob@example.net", "Lunch at noon?\n", pgp_sign_as='"alice@example.org"',
                             **settings)
        out, rc = said(w.bob, letter)
        assert rc == 0 and YES in out and sealed in out and subject in out, (settings, out)
        assert "| Lunch at noon?" in out and "Warning:" not in out
        changed, rc = said(w.bob, letter.replace(b"noon", b"nine"))
        assert b"noon" not in letter or (rc == 77 and YES not in changed)


@pytest.mark.skipif(not shutil.which("gpgsm"), reason="gpgsm is not installed")
def test_gpgsm(w):
    sm = Gpgsm(os.path.join(w.d, "gpgsm"), w.ca, w.alice)
    try:
        sm("--import", w.bobs[0])
        part = text().rstrip("\n")
        with open(os.path.join(w.d, "part"), "wb") as f:
            f.write(crlf(part))
        detached = sm("--passphrase-fd", "0", "--detach-sign", "--local-user", "alice@example.org",
                      f.name, input=b"x\n")
        out, rc = said(w.bob, header() + signed(part, detached, kind="smime"))
        assert rc == 0 and YES in out, out
        out, rc = said(w.bob, header() + signed(part.replace("noon", "one"), detached, kind="smime"))
        assert rc == 77 and YES not in out
        inner = signed(part, detached, kind="smime")
        sealed = sm("--encrypt", "--disable-crl-checks", "--recipient", "bob@example.net", input=crlf(inner))
        out, rc = said(w.bob, header() + cms(sealed))
        assert rc == 0 and YES in out and "Sealed:      yes, with S/MIME (aes" in out, out
    finally:
        sm.close()


def test_thunderbird_form(w):
    """protected-headers="v1": an outer Subject of "...", the real one in the root of what is sealed."""
    inner = multi("mixed", multi("mixed", text("Lunch at noon?"), boundary="b2"), boundary="b1",
                  params='; protected-headers="v1"')
    inner = "From: Alice <alice@example.org>\nTo: Bob <bob@example.net>\nSubject: Real subject\n" + inner
    letter = header(Subject="...") + encrypted(w.gpg.encrypt(inner, ["bob@example.net"], "alice@example.org"))
    out, rc = said(w.bob, letter)
    assert rc == 0 and YES in out and "Subject:     Real subject" in out and "Warning:" not in out, out
    # its older form has a copy of the hidden fields as a part: not shown twice
    legacy = multi("mixed", 'Content-Type: text/rfc822-headers; protected-headers="v1"\n'
                   "Content-Disposition: inline\n\nSubject: Real subject\n", text("Lunch at noon?"),
                   params='; protected-headers="v1"')
    letter = header(Subject="...") + encrypted(w.gpg.encrypt(
        "Subject: Real subject\n" + legacy, ["bob@example.net"], "alice@example.org"))
    out, rc = said(w.bob, letter)
    assert "Subject:     Real subject" in out and "| Subject: Real subject" not in out, out


# ---- keys that come with letters ----------------------------------------------------------------------

def rows(reader, query):
    if not os.path.exists(reader.store):
        return []
    with sqlite3.connect(reader.store) as db:
        return db.execute(query).fetchall()


FOUND = ("SELECT a.address FROM keys k JOIN addresses a ON a.key = k.id JOIN found f ON f.key = k.id "
         "WHERE k.kind = {} AND f.source = {}")
SMIME, PGP, LETTER, AUTOCRYPT, GOSSIP = 1, 2, 6, 7, 8


def test_certificates_are_kept(w):
    """Of good signatures of the author alone."""
    part = text().rstrip("\n")
    good = header() + signed(part, w.ca.sign(part, w.alice), kind="smime")
    kinds = dict(rows(w.bob, "SELECT name, kind FROM keys"))
    assert set(kinds.values()) == {SMIME, PGP}
    for name, letter, want in (
            ("changed", good.replace("noon", "one"), []),
            ("other-from", good.replace("Alice <alice@example.org>", "boss@example.org"), []),
            ("self-signed", header() + signed(part, w.ca.sign(part, w.ca.make(
                "s", "alice@example.org", issued=False)), kind="smime"), []),
            ("good", good, [("alice@example.org",)])):
        r = w.reader("keep-" + name)
        said(r, letter)
        assert rows(r, FOUND.format(SMIME, LETTER)) == []  # --no-keep
        said(r, letter, keep=True)
        assert rows(r, FOUND.format(SMIME, LETTER)) == want, name


def keydata(gpg, address):
    return base64.b64encode(gpg("--export", address)).decode()


def test_autocrypt_keys(w):
    """The key of a first letter is found; another one later is a warning, and proves nothing."""
    home = Gpg(os.path.join(w.d, "gnupg-eve"))
    home.make("Zoe <zoe@example.org>")
    w.gpg.make("Zoe <zoe@example.org>")
    try:
        r = w.reader("autocrypt")
        part = text().rstrip("\n")

        def letter(gpg, day):
            data = "\n ".join(re.findall(".{1,70}", keydata(gpg, "zoe@example.org")))
            return (f"Autocrypt: addr=zoe@example.org; prefer-encrypt=mutual; keydata=\n {data}\n" +
                    header(From="zoe@example.org", Date=f"{day} Nov 2026 01:02:03 +0000") +
                    signed(part, gpg.sign(part, "zoe@example.org")))
        first, rc = said(r, letter(w.gpg, 24), keep=True)
        assert rc == 0 and YES not in first and "is not proven" in first and "brings another" not in first
        assert "its key was found somewhere and is not verified by you" in first
        second, _ = said(r, letter(home, 25), keep=True)
        assert "Warning:     This letter brings another pgp key for zoe@example.org" in second, second
        assert "NOT PROVEN: the key is not the one that this address used before" in second
        assert YES not in second
        third = r.read(crlf(letter(home, 25)), "--json")
        assert json.loads(third.stdout)["key_warnings"] == []  # --no-keep, and the key is known by now
        assert len(rows(r, FOUND.format(PGP, AUTOCRYPT))) == 2
    finally:
        home.close()


def test_gossip_is_kept_from_sealed_letters_alone(w):
    w.gpg.make("Carol <carol@example.com>")
    data = "\n ".join(re.findall(".{1,70}", keydata(w.gpg, "carol@example.com")))
    gossip = f"Autocrypt-Gossip: addr=carol@example.com; keydata=\n {data}\n"
    outer = {"To": "Bob <bob@example.net>, carol@example.com"}
    sealed = header(**outer) + encrypted(w.gpg.encrypt(gossip + text(), ["bob@example.net"]))
    for name, letter, want in (("open", gossip + header(**outer) + text(), []),
                               ("sealed", sealed, [("carol@example.com",)])):
        r = w.reader("gossip-" + name)
        said(r, letter, keep=True)
        assert rows(r, FOUND.format(PGP, GOSSIP)) == want, name


# ---- the process that reads -------------------------------------------------------------------------

@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_nothing_is_opened_after_the_box_closes(w):
    """Every kind of letter, traced: from the call filter on, no file, no socket, no program."""
    part = text().rstrip("\n")
    page = 'Content-Type: text/html; charset=iso-8859-15\n\n<img src="http://127.0.0.1/x">hi\n'
    letters = [header() + text(), header() + page,
               header() + encrypted(w.gpg.encrypt(page, ["bob@example.net"], "alice@example.org")),
               header() + cms(w.ca.encrypt(signed(part, w.ca.sign(part, w.alice), kind="smime"), w.bobs[0])),
               header() + cms(w.ca.encrypt(page, w.bobs[0], "-aes-256-gcm")),
               header() + "Content-Type: text/plain; charset=gb18030\n\n\u4f60\n"]
    env = dict(os.environ, HOME=w.bob.folder, XDG_CONFIG_HOME=w.bob.folder)
    for letter in letters:
        log = os.path.join(w.d, "trace")
        p = subprocess.run(["strace", "-f", "-o", log, "-e", "trace=%file,%network,%process,seccomp",
                            LETTERLOCK, "read", "--store", w.bob.store, "--no-keep", "-"],
                           input=crlf(letter), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                           timeout=120)
        with open(log, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        if p.returncode and any("PTRACE" in x for x in lines + [p.stderr.decode()]):
            pytest.skip("this machine does not let processes be traced")
        assert p.returncode == 0, p.stderr
        closed = max(i for i, x in enumerate(lines)
                     if "seccomp(SECCOMP_SET_MODE_FILTER" in x and x.endswith("= 0"))
        pid = lines[closed].split()[0]
        after = [x for x in lines[closed + 1:] if x.split()[0] == pid and "exit" not in x]
        done = [x for x in after if not re.search(r"= -1 (EACCES|EPERM|ENOTTY|ENOSYS)", x)]
        assert not done, done
