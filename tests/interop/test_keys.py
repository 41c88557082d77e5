"""letterlock keys: the store and its words, with GnuPG, OpenSSL and others as peers both ways."""
import base64
import datetime
import json
import os
import pty
import re
import sqlite3
import subprocess
import time

import pytest
from harness.certs import openssl
from harness.gnupg import gnupg  # noqa: F401 (a fixture)
from harness.server import BUILD, testdata

LETTERLOCK = os.path.join(BUILD, "letterlock")


class Keys:
    """letterlock keys with a store of its own, and without the user's settings."""

    def __init__(self, folder):
        self.store = str(folder / "store" / "keys.db")
        self.env = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"),
                    "XDG_DATA_HOME": str(folder / "data")}

    def run(self, *words, data=None, status=0):
        p = subprocess.run([LETTERLOCK, "keys", words[0], "--store", self.store, *words[1:]],
                           input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env,
                           timeout=120, check=False, start_new_session=True)
        assert p.returncode == status, (p.returncode, p.stderr.decode())
        self.said = p.stderr.decode()
        return p.stdout

    def list(self, *words):
        return json.loads(self.run("list", "--json", *words))

    def new(self, address, *words):
        return json.loads(self.run("new", "--no-password", "--json", *words, address))[0]


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path)


def write(path, octets):
    path.write_bytes(octets)
    return str(path)


# ---- the store as a person sees it ----------------------------------------------------------------

def test_a_life(keys):
    assert "no keys yet" in (keys.run("list"), keys.said)[1]
    made = keys.new("Ann@Alpha.Test", "--name", "Ann", "--expire", "2y")
    (row,) = keys.list()
    assert row["fingerprint"] == made["fingerprint"] and row["own"] and row["default"]
    assert row["addresses"] == ["ann@alpha.test"] and row["state"] == "usable"
    assert os.stat(keys.store).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(keys.store)).st_mode & 0o777 == 0o700
    text = keys.run("list").decode()
    assert "your own key, the default" in text
    assert re.search(r"[0-9A-F]{4}( [0-9A-F]{4}){9}", text)
    keys.run("delete", "ann@alpha.test", status=77)
    assert "--own" in keys.said
    keys.run("delete", "--own", "ann@alpha.test")
    assert keys.list() == []
    keys.run("show", "ann@alpha.test", status=67)
    keys.run("new", "no address", "--no-password", status=64)
    keys.run("new", "ann@alpha.test", "--expire", "soon", "--no-password", status=64)


def test_two_kinds_of_one_address(keys):
    keys.new("ann@alpha.test")
    keys.new("ann@alpha.test", "--smime", "--algorithm", "p256")
    keys.run("show", "ann@alpha.test", status=65)
    assert "--pgp, --smime" in keys.said
    assert b"pgp" in keys.run("show", "--pgp", "ann@alpha.test")
    assert len(keys.list("--smime")) == 1
    certificate = keys.run("export", "--smime", "ann@alpha.test")
    text = openssl("x509", "-noout", "-ext", "subjectAltName,extendedKeyUsage", data=certificate)
    assert b"email:ann@alpha.test" in text and b"E-mail Protection" in text
    csr = keys.run("export", "--smime", "--csr", "ann@alpha.test")
    assert b"email:ann@alpha.test" in openssl("req", "-verify", "-text", "-noout", data=csr)


def test_decisions(keys, gnupg):  # noqa: F811
    first, second = gnupg.make("Bob <bob@beta.test>"), gnupg.make("Bobby <bob@beta.test>")
    keys.run("import", "-", data=gnupg.run("--export", first))
    assert "nobody has verified it; imported by you" in keys.run("list").decode()
    out = keys.run("import", "-", data=gnupg.run("--export", second)).decode()
    assert out.startswith("CHANGED") and "the address had another key" in keys.said
    keys.run("trust", "bob@beta.test", status=65)
    keys.run("trust", second[-16:], status=64)  # no terminal, no fingerprint
    keys.run("trust", second[-16:], "--fingerprint", first, status=65)
    assert "may be forged" in keys.said
    keys.run("trust", second[-16:], "--fingerprint", re.sub("(....)", r"\1 ", second.upper()),
             "--note", "on the phone")
    keys.run("distrust", first, "--note", "not his")
    rows = {r["fingerprint"]: r for r in keys.list("bob@beta.test")}
    assert rows[second]["trust"] == "verified" and rows[first]["trust"] == "rejected"
    assert list(rows) == [second, first]
    text = keys.run("show", second).decode()
    assert "verified by you on" in text and "on the phone" in text
    assert f"another key for an address that had one: {first}" in text
    keys.run("import", "-", data=gnupg.run("--export", first))  # found again: stays rejected
    assert keys.list(first)[0]["state"] == "rejected"
    keys.run("trust", "--undo", first)
    assert keys.list(first)[0]["trust"] == "undecided"


def test_a_secret_key_of_another_s_address(keys, gnupg):  # noqa: F811
    for _ in range(2):
        keys.run("new", "--no-password", "bob@beta.test")
    assert "trap" not in keys.said  # both are one's own
    secret = keys.run("export", "--secret", keys.list()[0]["fingerprint"])
    for row in keys.list():
        keys.run("delete", "--own", row["fingerprint"])
    keys.run("import", "-", data=gnupg.run("--export", gnupg.make("Bob <bob@beta.test>")))
    out = keys.run("import", "-", data=secret).decode()
    assert out.startswith("CHANGED") and "it is a trap" in keys.said


def test_strangers_cannot_write_to_the_terminal(keys, gnupg):  # noqa: F811
    gnupg.make("E\u202evil \u009b2J <eve@beta.test>")
    keys.run("import", "-", data=gnupg.run("--export"))
    for out in (keys.run("list"), keys.run("show", "eve@beta.test")):
        text = out.decode()
        assert "\u202e" not in text and "\u009b" not in text and "E?vil" in text


def test_damage_is_said_and_loses_nothing(keys, tmp_path):
    keys.new("ann@alpha.test")
    with open(keys.store, "r+b") as f:
        f.write(b"garbage")
        f.seek(0)
        before = f.read()
    keys.run("new", "--no-password", "bob@alpha.test", status=69)
    assert keys.store in keys.said and "no key store" in keys.said
    with open(keys.store, "rb") as f:
        assert f.read() == before
    os.chmod(keys.store, 0o644)
    keys.run("list", status=77)
    assert "chmod 600" in keys.said
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE x (y)")
    os.chmod(other, 0o600)
    keys.store = str(other)
    keys.run("list", status=77)
    assert "another program" in keys.said


# ---- OpenPGP with GnuPG, sq and rnp ---------------------------------------------------------------------

def test_our_keys_in_gnupg(keys, gnupg, tmp_path):  # noqa: F811
    made = keys.new("ann@alpha.test", "--name", "Ann")["fingerprint"]
    gnupg.run("--import", data=keys.run("export", "ann@alpha.test"))
    assert gnupg.fingerprints() == [made]
    gnupg.run("--import", data=keys.run("export", "--secret", "ann@alpha.test"))
    assert gnupg.fingerprints(secret=True) == [made]
    signed = gnupg.run("-u", made, "--clearsign", data=b"hello\n")
    assert b"BEGIN PGP SIGNED" in signed
    minimal = keys.run("export", "--minimal", "--binary", "ann@alpha.test")
    assert len(minimal) < 600
    packets = gnupg.run("--list-packets", data=minimal).decode()
    kinds = re.findall(r"^:(public key|user ID|signature|public sub key) packet", packets, re.M)
    assert kinds == ["public key", "user ID", "signature", "public sub key", "signature"]
    path = write(tmp_path / "ann.asc", keys.run("export", "ann@alpha.test"))
    assert made in subprocess.run(["sq", "inspect", path], capture_output=True, text=True,
                                  timeout=60, check=True).stdout.lower()


def test_passwords(keys, tmp_path):
    one, two = write(tmp_path / "one", b"first pass\n"), write(tmp_path / "two", b"second pass\n")
    for path in (one, two):
        os.chmod(path, 0o600)
    for kind in ("--pgp", "--smime"):
        keys.run("new", kind, "--password-file", one, "ann@alpha.test")
        keys.run("passwd", kind, "--password-file", two, "--new-password-file", two,
                 "ann@alpha.test", status=65)
        assert "the password is wrong" in keys.said
        keys.run("passwd", kind, "--password-file", one, "--new-password-file", two,
                 "ann@alpha.test")
    keys.run("expire", "--password-file", one, "--in", "90d", "ann@alpha.test", status=65)
    keys.run("expire", "--password-file", two, "--in", "90d", "ann@alpha.test")
    with open(keys.store, "rb") as f:
        assert b"PRIVATE KEY" not in f.read().replace(b"ENCRYPTED PRIVATE KEY", b"")


def test_expire_and_revoke(keys, gnupg, tmp_path):  # noqa: F811
    made = keys.new("ann@alpha.test")["fingerprint"]
    keys.run("expire", "--in", "never", made)
    assert keys.list(made)[0]["expires"] is None
    keys.run("expire", "--in", "30d", made)
    gnupg.run("--import", data=keys.run("export", made))
    line = next(x for x in gnupg.run("--with-colons", "--list-keys").decode().splitlines()
                if x.startswith("pub:"))
    assert int(line.split(":")[6]) - int(line.split(":")[5]) == pytest.approx(30 * 86400, abs=900)
    certificate = tmp_path / "revocation.asc"
    keys.run("revoke", "--reason", "retired", "--certificate", str(certificate), made)
    assert keys.list(made)[0]["state"] == "usable"
    keys.run("import", str(certificate))
    assert keys.list(made)[0]["state"] == "revoked"
    gnupg.run("--import", data=keys.run("export", made))
    assert b"pub:r:" in gnupg.run("--with-colons", "--list-keys")


def test_a_gnupg_home(keys, gnupg):  # noqa: F811
    ann, bob = gnupg.make("Ann <ann@alpha.test>"), gnupg.make("Bob <bob@alpha.test>", "rsa3072")
    gnupg.run("--delete-secret-keys", bob)
    keys.run("import", "--gnupg", gnupg.home)
    rows = {r["fingerprint"]: r for r in keys.list()}
    assert rows[ann]["own"] and not rows[bob]["own"] and len(rows) == 2


def test_rubbish_is_refused(keys, tmp_path):
    for i, octets in enumerate((b"", b"hello\n", b"\x99\x01", b"\x30\x03abc",
                                b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n"
                                b"-----END PGP PUBLIC KEY BLOCK-----\n",
                                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")):
        path = write(tmp_path / f"rubbish{i}", octets)
        keys.run("import", "--password-command", "echo x", path, status=65)
        assert path in keys.said
    keys.run("import", str(tmp_path / "none"), status=66)
    assert keys.list() == []


# ---- S/MIME with OpenSSL -----------------------------------------------------------------------------------

def test_pkcs12_both_ways(keys, tmp_path):
    password = write(tmp_path / "password", b"secret\n")
    os.chmod(password, 0o600)
    made = keys.new("ann@alpha.test", "--smime", "--algorithm", "p256")["fingerprint"]
    p12 = tmp_path / "ann.p12"
    keys.run("export", "--pkcs12", "--password-file", password, "-o", str(p12), made)
    assert os.stat(p12).st_mode & 0o777 == 0o600
    assert b"BEGIN PRIVATE KEY" in openssl("pkcs12", "-in", str(p12), "-nodes", "-passin",
                                           "pass:secret")
    other = Keys(tmp_path / "other")
    other.run("import", "--password-command", "echo wrong", str(p12), status=65)
    assert "the password is wrong" in other.said
    other.run("import", "--password-file", password, str(p12))
    assert other.list()[0]["own"] and other.list()[0]["fingerprint"] == made
    pem = other.run("export", "--secret", made)
    assert b"ENCRYPTED PRIVATE KEY" in pem
    third = Keys(tmp_path / "third")
    third.run("import", "--password-file", password, "-", data=pem)
    assert third.list()[0]["own"]


def test_authorities(keys):
    root = testdata("smime-rfc9216")
    files = sorted(os.path.join(d, f) for d, _, names in os.walk(root) for f in names
                   if f.endswith((".crt", ".pem", ".cert")))
    assert files
    for path in files:
        with open(path, "rb") as f:
            if b"BEGIN CERTIFICATE" in f.read():
                keys.run("import", "--password-command", "echo x", path)
    assert keys.list("--authorities") and all(r["authority"] for r in keys.list("--authorities"))
    assert {a for r in keys.list() for a in r["addresses"]} >= {"alice@smime.example",
                                                               "bob@smime.example"}


# ---- Autocrypt ----------------------------------------------------------------------------------------------

def test_autocrypt_suite(keys):
    messages = os.path.join(testdata("autocrypt-kde"), "messages")
    keys.run("import", os.path.join(messages, "header.mbox"))
    (row,) = keys.list()
    assert row["addresses"] == ["alice@autocrypt.example"]
    assert row["fingerprint"] == "eb85bb5fa33a75e15e944e63f231550c4f47e38e"
    assert row["found"][0]["where"] == "autocrypt"
    assert row["found"][0]["place"] == "<abe640bb-018d-4f9d-b4d8-1636d6164e22@autocrypt.example>"
    assert ("autocrypt: alice@autocrypt.example, last header of 2019-01-22, last letter of 2019-01-22, "
            "wants sealed letters: a sealed letter can be read") in keys.run("show", row[
                "fingerprint"]).decode()
    for name, why in (("multiple_autocryptheaders.mbox", "more than one valid"),
                      ("multiple_from.mbox", "not exactly one author")):
        keys.run("import", os.path.join(messages, name), status=65)
        assert why in keys.said
    other = os.path.join(messages, "setupmessage.mbox")
    keys.run("import", "--password-command",
             "echo 1742-0185-6197-1303-7016-8412-3581-4441-0597", other)
    assert "begins with 17" in keys.said
    assert keys.list("--own")[0]["fingerprint"] == "eb85bb5fa33a75e15e944e63f231550c4f47e38e"
    keys.run("import", "--password-command", "echo 1742-0185-6197-1303-7016-8412-3581-4441-0598",
             other, status=65)
    assert "the code is wrong" in keys.said


def test_setup_message_to_another_device(keys, gnupg, tmp_path):  # noqa: F811
    password = write(tmp_path / "password", b"secret\n")
    os.chmod(password, 0o600)
    made = json.loads(keys.run("new", "--json", "--password-file", password, "ann@alpha.test"))[0]
    letter = keys.run("export", "--setup", "--password-file", password, "ann@alpha.test")
    code = re.search(r"setup code: ([0-9-]{44})", keys.said)[1]
    assert code.encode() not in letter
    other = Keys(tmp_path / "other")
    other.run("import", "--password-command", "echo " + code, "-", data=letter)
    assert other.list()[0]["own"] and other.list()[0]["fingerprint"] == made["fingerprint"]
    # GnuPG opens it with the code, by hand as its specification wants it to be possible.
    armored = re.search(rb"-----BEGIN PGP MESSAGE-----.*-----END PGP MESSAGE-----", letter, re.S)[0]
    assert b"Passphrase-Format: numeric9x4" in armored
    text = gnupg.run("--pinentry-mode", "loopback", "--passphrase", code, "--decrypt",
                     data=armored.replace(b"\r\n", b"\n"))
    assert text.startswith(b"-----BEGIN PGP PRIVATE KEY BLOCK-----")
    assert b"Autocrypt-Prefer-Encrypt: nopreference" in text
    gnupg.run("--import", data=text)
    assert gnupg.fingerprints(secret=True) == [made["fingerprint"]]


def test_a_header_of_ours(keys, tmp_path):
    made = keys.new("ann@alpha.test")["fingerprint"]
    header = keys.run("export", "--autocrypt", "ann@alpha.test")
    letter = b"From: Ann <ann@alpha.test>\r\n" + header + b"\r\nhello\r\n"
    other = Keys(tmp_path / "other")
    other.run("import", "-", data=letter)
    assert other.list()[0]["fingerprint"] == made
    # A header that names somebody else's key brings in nothing for the sender.
    stolen = letter.replace(b"ann@alpha.test", b"eve@alpha.test")
    other.run("import", "-", data=stolen)
    other.run("list", "--json", "eve@alpha.test", status=67)


def test_sq_and_autocrypt(keys, tmp_path):
    made = keys.new("ann@alpha.test")["fingerprint"]
    header = keys.run("export", "--autocrypt", "ann@alpha.test")
    letter = write(tmp_path / "letter", b"From: ann@alpha.test\r\n" + header + b"\r\nhello\r\n")
    decoded = subprocess.run(["sq", "autocrypt", "decode", letter], capture_output=True, timeout=60,
                             check=True).stdout
    assert made in subprocess.run(["sq", "inspect"], input=decoded, capture_output=True, timeout=60,
                                  check=True).stdout.decode().lower()
    theirs = subprocess.run(["sq", "autocrypt", "encode-sender", "--email", "ann@alpha.test",
                             "--prefer-encrypt", "mutual"], input=keys.run("export", made),
                            capture_output=True, timeout=60, check=True).stdout
    other = Keys(tmp_path / "other")
    other.run("import", "-", data=b"From: ann@alpha.test\n" + theirs.rstrip(b"\n") + b"\n\nhello\n")
    assert other.list()[0]["fingerprint"] == made
    peers = sqlite3.connect(other.store).execute("SELECT address, fingerprint, mutual FROM peers")
    assert peers.fetchall() == [("ann@alpha.test", made, 1)]


def at_a_terminal(argv, env, answer, until=b"(yes/no)"):
    """Runs the command with a terminal of its own, and types the answer. (status, what was shown)"""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, env)
    shown, end = b"", time.monotonic() + 30
    while until not in shown and time.monotonic() < end:
        shown += os.read(fd, 4096)
    os.write(fd, answer)
    while True:
        try:
            more = os.read(fd, 4096)
        except OSError:  # the terminal is gone with its last user
            break
        if not more:
            break
        shown += more
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), shown.decode()


@pytest.mark.parametrize("answer, status, trust", [(b"yes\n", 0, "verified"),
                                                   (b"y\n", 77, "undecided"),
                                                   (b"\n", 77, "undecided")])
def test_comparing_at_a_terminal(keys, gnupg, answer, status, trust):  # noqa: F811
    made = gnupg.make("Bob <bob@beta.test>")
    keys.run("import", "-", data=gnupg.run("--export", made))
    got, shown = at_a_terminal([LETTERLOCK, "keys", "trust", "--store", keys.store, "bob@beta.test"],
                               keys.env, answer)
    assert got == status, shown
    assert re.sub("(....)", r"\1 ", made.upper()).strip() in shown and "by voice" in shown
    assert keys.list(made)[0]["trust"] == trust


def test_autocrypt_suite_states(keys):
    """What KDE's store has of each peer: the key is one of the address, and Alice's state is what her
    letter makes of ours."""
    root = testdata("autocrypt-kde")
    keys.run("import", os.path.join(root, "messages", "header.mbox"))
    seen = 0
    for name in sorted(os.listdir(os.path.join(root, "store"))):
        with open(os.path.join(root, "store", name), encoding="utf-8") as f:
            state = json.load(f)
        for field in ("keydata", "gossip_key"):
            if state.get(field):
                padded = state[field] + "=" * (-len(state[field]) % 4)
                out = json.loads(keys.run("import", "--json", "-", data=base64.b64decode(padded)))
                assert len(out[0]["fingerprint"]) == 40
                seen += 1
        if name == "alice.json":
            row = sqlite3.connect(keys.store).execute(
                "SELECT timestamp, last_seen, fingerprint, mutual FROM peers").fetchall()
            date = datetime.datetime.fromisoformat(state["autocrypt_timestamp"]).timestamp()
            assert row == [(date, date, out[0]["fingerprint"], int(state["prefer_encrypt"]))]
    assert seen >= 5
