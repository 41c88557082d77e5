"""OpenPGP with GnuPG, Sequoia and RNP, both ways: what each seals and signs, the other opens and
believes; what was changed on the way, neither."""
import os
import random
import subprocess
import tempfile

import pytest
from harness.pgp import Gpg, Keys, need, pgp, run

TEXT = b"Content-Type: text/plain\r\n\r\nHere is the secret.\r\n"
ANN, BOB = "Ann <ann@example.org>", "Bob <bob@example.net>"


class Pair:
    """Our Ann and a peer's Bob, who have each other's public keys."""

    def __init__(self, keys, bob_public):
        self.keys = keys
        self.secret = pgp("generate", ANN).out
        keys.add(self.secret).add(bob_public)
        self.ann, self.bob = (line.split()[0] for line in pgp("list", *keys.args).out.decode().splitlines()
                              if not line.startswith(" "))
        self.public = pgp("export", *keys.args, "-r", self.ann).out

    def seal(self, text=TEXT, signed=True):
        got = pgp("seal", *self.keys.args, "-r", self.bob, *(["-s", self.ann] if signed else []), stdin=text)
        assert not got.error
        return got.out

    def sign(self, text=TEXT):
        return pgp("sign", *self.keys.args, "-s", self.ann, stdin=text).out

    def open(self, octets, text=TEXT, signed="good", cipher="encrypted aes256, mdc"):
        got = pgp("open", *self.keys.args, stdin=octets)
        assert (got.error, got.out) == ("", text)
        assert got.said[:1] == [cipher]
        assert [line.split()[1:3] for line in got.said[1:]] == ([[signed, self.bob]] if signed else [])

    def verify(self, signature, text=TEXT):
        return [line.split()[1:3] for line in
                pgp("verify", *self.keys.args, "-d", self.keys.write(signature), stdin=text).said]


# ---- GnuPG ----

@pytest.fixture(scope="module", params=["future-default", "rsa3072"])
def gpg(request):
    with Gpg() as gpg, Keys() as keys:
        gpg.generate(BOB, *(("future-default", "default") if request.param == "future-default" else ("rsa3072", "sign")))
        if request.param == "rsa3072":
            gpg("--passphrase", "", "--quick-add-key", gpg.fingerprint(BOB), "rsa3072", "encr")
        gpg.pair = Pair(keys, gpg("--export", "bob"))
        gpg("--import", stdin=gpg.pair.public)
        yield gpg


def test_gpg_opens_ours(gpg):
    text, words = gpg.decrypt(gpg.pair.seal())
    assert text == TEXT and {"DECRYPTION_OKAY", "GOODMDC", "GOODSIG", "VALIDSIG"} <= set(words)
    text, words = gpg.decrypt(gpg.pair.seal(signed=False))
    assert text == TEXT and "DECRYPTION_OKAY" in words and "GOODSIG" not in words


def test_gpg_believes_our_signature(gpg):
    sig = gpg.pair.sign()
    assert "GOODSIG" in gpg.verify(sig, TEXT)
    assert "BADSIG" in gpg.verify(sig, TEXT.replace(b"secret", b"sEcret"))


def test_we_open_gpgs(gpg):
    for armor in ((), ("--armor",)):
        sealed = gpg(*armor, "-r", gpg.pair.ann, "-u", "bob", "--sign", "--encrypt", stdin=TEXT)
        gpg.pair.open(sealed)
        gpg.pair.open(gpg(*armor, "-r", gpg.pair.ann, "--encrypt", stdin=TEXT), signed=None)
    changed = bytearray(sealed)
    at = sealed.index(b"\n\n") + 300
    changed[at] = changed[at] ^ 1 if chr(changed[at] ^ 1).isalnum() else changed[at] ^ 2
    got = pgp("open", *gpg.pair.keys.args, stdin=bytes(changed))
    assert got.error and got.out == b""


def test_we_believe_gpgs_signatures(gpg):
    pair = gpg.pair
    for armor in ((), ("--armor",), ("--textmode",)):
        sig = gpg(*armor, "-u", "bob", "--detach-sign", stdin=TEXT)
        assert pair.verify(sig) == [["good", pair.bob]]
        assert pair.verify(sig, TEXT + b"x") == [["bad", pair.bob]]
    for args in (("--sign",), ("--sign", "--armor"), ("--clearsign",)):
        got = pgp("open", *pair.keys.args, stdin=gpg(*args, "-u", "bob", stdin=TEXT))
        assert got.out.split() == TEXT.split()
        assert got.said[0].split()[1:3] == ["good", pair.bob]
    assert pair.verify(gpg("--digest-algo", "SHA1", "-u", "bob", "--detach-sign", stdin=TEXT))[0][0] == "weak"
    assert pair.verify(gpg("--digest-algo", "SHA512", "-u", "bob", "--detach-sign", stdin=TEXT))[0][0] == "good"


def test_gpg_without_protection_is_refused(gpg):
    pair = gpg.pair
    sealed = gpg("--rfc2440", "--disable-mdc", "-r", pair.ann, "--encrypt", stdin=TEXT)
    got = pgp("open", *pair.keys.args, stdin=sealed)
    assert got.out == b"" and "nothing protects it" in got.error
    # An old cipher, protected, is read, and said to be old.
    sealed = gpg("--cipher-algo", "CAST5", "--force-mdc", "-r", pair.ann, "--encrypt", stdin=TEXT)
    pair.open(sealed, signed=None, cipher="encrypted cast5, mdc weak")


def test_gpg_hides_recipients(gpg):
    """--throw-keyids: who it is for is not said; our key is among them."""
    sealed = gpg("--throw-keyids", "-r", "bob", "-r", gpg.pair.ann, "-u", "bob", "--sign", "--encrypt", stdin=TEXT)
    gpg.pair.open(sealed)
    got = pgp("open", *gpg.pair.keys.args, stdin=gpg("--throw-keyids", "-r", "bob", "--encrypt", stdin=TEXT))
    assert got.out == b"" and "none of the keys" in got.error


def test_gpg_compresses_as_it_likes(gpg):
    """Whatever the sizes, librnp reads to the end, where the proof stands."""
    rng = random.Random(3)
    for i, n in enumerate([0, 1, 100, 8191, 8192, 32766, 32768, 65536, 200000]):
        text = rng.randbytes(n) if i % 2 else (b"all work and no play " * (n // 21 + 1))[:n]
        for algorithm in ("zip", "zlib", "bzip2"):
            sealed = gpg("--compress-algo", algorithm, "-r", gpg.pair.ann, "-u", "bob", "--sign", "--encrypt",
                         stdin=text)
            gpg.pair.open(sealed, text)


def test_password_messages(gpg):
    sealed = pgp("seal", "-p", "open sesame", stdin=TEXT).out
    assert gpg.decrypt(sealed, "--passphrase", "open sesame")[0] == TEXT
    assert gpg.decrypt(sealed, "--passphrase", "open barley")[0] is None
    theirs = gpg("--passphrase", "open sesame", "--symmetric", "--cipher-algo", "AES256", stdin=TEXT)
    assert pgp("open", "-p", "open sesame", stdin=theirs).out == TEXT
    got = pgp("open", "-p", "open barley", stdin=theirs)
    assert got.out == b"" and "password is wrong" in got.error
    got = pgp("open", stdin=theirs)
    assert got.out == b"" and "locked" in got.error


def test_secret_keys_travel():
    """Ours into GnuPG, and a home of GnuPG into ours, with passwords."""
    with Gpg() as gpg, Keys() as keys:
        ours = pgp("generate", "-p", "ours", ANN).out
        gpg("--passphrase", "ours", "--import", stdin=ours)
        ann = gpg.fingerprint("ann")
        sig = gpg("--passphrase", "ours", "-u", "ann", "--detach-sign", stdin=TEXT)
        keys.add(ours)
        assert pgp("verify", *keys.args, "-d", keys.write(sig), stdin=TEXT).said[0].split()[1:3] == ["good", ann]
        gpg.generate(BOB, passphrase="theirs")
        bob = gpg.fingerprint("bob")
        theirs = gpg("--passphrase", "theirs", "--export-secret-keys", "bob")
        box = os.path.join(gpg.dir.name, "pubring.kbx")
        assert bob in pgp("list", "-k", box).out.decode()
        with Keys() as home:
            home.add(box).add(theirs)
            sealed = gpg("-r", "bob", "--encrypt", stdin=TEXT)
            assert pgp("open", "-p", "theirs", *home.args, stdin=sealed).out == TEXT
            got = pgp("open", *home.args, stdin=sealed)
            assert got.out == b"" and "locked" in got.error


def test_gpg_stub_of_a_primary_key():
    """An offline primary key: its stub is no secret part, the subkeys are."""
    with Gpg() as gpg, Keys() as keys:
        gpg.generate(BOB)
        bob = gpg.fingerprint("bob")
        gpg("--passphrase", "", "--quick-add-key", bob, "ed25519", "sign")
        keys.add(gpg("--export-secret-subkeys", "bob"))
        sig = pgp("sign", *keys.args, "-s", bob, stdin=TEXT)
        assert "GOODSIG" in gpg.verify(sig.out, TEXT)
        assert pgp("open", *keys.args, stdin=gpg("-r", "bob", "--encrypt", stdin=TEXT)).out == TEXT


def test_gpg_key_prolonged_by_us():
    """A key of GnuPG whose parts have dates of their own: prolonged here, GnuPG uses it again."""
    with Gpg() as gpg, Keys() as keys:
        gpg("--faked-system-time", "20230101T000000!", "--passphrase", "", "--quick-gen-key", BOB,
            "future-default", "default", "1y")
        bob = gpg.fingerprint("bob")
        assert gpg("-r", bob, "--encrypt", stdin=TEXT, check=False).returncode != 0
        keys.add(gpg("--export-secret-keys", "bob"))
        assert " expired" in pgp("list", *keys.args).out.decode()
        assert "expired" in pgp("seal", *keys.args, "-r", bob, stdin=TEXT).error
        longer = pgp("prolong", *keys.args, "-r", bob)
        assert not longer.error
        gpg("--import", stdin=longer.out)
        assert gpg.decrypt(gpg("-r", bob, "-u", bob, "--sign", "--encrypt", stdin=TEXT))[0] == TEXT
        with Keys() as fresh:
            fresh.add(longer.out)
            assert " signs encrypts" in pgp("list", *fresh.args).out.decode()


def test_gpg_revokes_and_expires(gpg):
    """What GnuPG says of its own key is taken over with the newer copy."""
    with Gpg() as other, Keys() as keys:
        other.generate(BOB)
        bob = other.fingerprint("bob")
        before = other("--export", "bob")
        sig = other("-u", "bob", "--detach-sign", stdin=TEXT)
        other("--quick-revoke-uid", bob, BOB, check=False)
        p = subprocess.run(["gpg", "--batch", "--yes", "--no-tty", "--command-fd", "0", "--gen-revoke", "bob"],
                           input=b"y\n1\n\ny\n", capture_output=True, env=other.env, timeout=30)
        certificate = p.stdout
        if not certificate:  # every new key has one in its home, disabled with a colon
            with open(os.path.join(other.dir.name, "openpgp-revocs.d", bob.upper() + ".rev"), "rb") as f:
                certificate = f.read().replace(b":-----BEGIN", b"-----BEGIN")
        keys.add(before).add(certificate)
        assert " revoked" in pgp("list", *keys.args).out.decode().split("\n")[-3]
        said = pgp("verify", *keys.args, "-d", keys.write(sig), stdin=TEXT).said
        assert said[0].split()[1] == "key-revoked"


# ---- Sequoia ----

def test_sq():
    need("sq")
    with tempfile.TemporaryDirectory(prefix="ll-sq-") as d, Keys() as keys:
        def path(name, octets=None):
            p = os.path.join(d, name)
            if octets is not None:
                with open(p, "wb") as f:
                    f.write(octets)
            return p

        run(["sq", "key", "generate", "--userid", BOB, "--export", path("bob.key"), "--rev-cert", path("bob.rev")])
        pair = Pair(keys, run(["sq", "key", "extract-cert", path("bob.key")]))
        ann = path("ann.pub", pair.public)
        out = run(["sq", "decrypt", "--recipient-key", path("bob.key"), "--signer-cert", ann,
                   path("sealed", pair.seal())])
        assert out == TEXT
        run(["sq", "verify", "--signer-cert", ann, "--detached", path("sig", pair.sign()), path("text", TEXT)])
        p = run(["sq", "verify", "--signer-cert", ann, "--detached", path("sig"), path("text", TEXT + b"x")], check=False)
        assert p.returncode != 0
        sealed = run(["sq", "encrypt", "--recipient-cert", ann, "--signer-key", path("bob.key"), path("text", TEXT)])
        pair.open(sealed)
        sig = run(["sq", "sign", "--signer-key", path("bob.key"), "--detached", path("text")])
        assert pair.verify(sig) == [["good", pair.bob]]
        assert pair.verify(sig, b"x") == [["bad", pair.bob]]
        clear = run(["sq", "sign", "--signer-key", path("bob.key"), "--cleartext-signature", path("text")])
        got = pgp("open", *keys.args, stdin=clear)
        assert got.said[0].split()[1:3] == ["good", pair.bob]
        # Their revocation certificate.
        with open(path("bob.rev"), "rb") as f:
            keys.add(f.read())
        assert pair.verify(sig) == [["key-revoked", pair.bob]]


# ---- RNP ----

def test_rnp():
    need("rnp")
    with tempfile.TemporaryDirectory(prefix="ll-rnp-") as home, Keys() as keys:
        def rnp(*args, stdin=b"", check=True):
            return run([args[0], "--homedir", home, *args[1:]], stdin, check=check)

        rnp("rnpkeys", "--generate-key", "--userid", BOB, "--password", "pw")
        pair = Pair(keys, rnp("rnpkeys", "--export-key", "bob"))
        rnp("rnpkeys", "--import-key", keys.write(pair.public))
        out = rnp("rnp", "--password", "pw", "--decrypt", keys.write(pair.seal()), "--output", "-")
        assert out == TEXT
        sealed = rnp("rnp", "--password", "pw", "--encrypt", "--sign", "-r", "ann", "-u", "bob", "--output", "-",
                     keys.write(TEXT))
        got = pgp("open", *keys.args, stdin=sealed)
        assert got.out == TEXT and got.said[1].split()[1:3] == ["good", pair.bob]
        # What other programs choose by their own defaults: OCB and EAX packets.
        for aead in ("ocb", "eax"):
            sealed = rnp("rnp", f"--aead={aead}", "--encrypt", "-r", "ann", "--output", "-", keys.write(TEXT))
            pair.open(sealed, signed=None, cipher=f"encrypted aes256, aead-{aead}")
