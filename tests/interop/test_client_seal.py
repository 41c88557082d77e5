"""letterlock send seals: real programs open what arrives; nothing goes out that should not."""
import base64
import email
import email.policy
import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
from harness.certs import Authority
from harness.dnssec import SignedServer
from harness.dnsserver import DnsServer
from harness.server import LETTERLOCK, Server
from harness.webserver import WebServer

CANARY = "canary-4711-grün"
SUBJECT = "Hidden subject 0815"
USERS = [f"{n}@alpha.test" for n in ("ann", "bob", "carol", "dave")]
TEXT = f"{CANARY}\nFrom the start \nend\n"

pytestmark = pytest.mark.skipif(not all(shutil.which(p) for p in ("gpg", "gpgsm", "openssl")),
                                reason="gpg, gpgsm and openssl are the peers")


def run(args, status=0, **kw):
    p = subprocess.run(args, capture_output=True, timeout=60, **kw)
    assert status is None or p.returncode == status, f"{args}: {p.returncode}\n{p.stdout}\n{p.stderr}"
    return p


class People:
    """Keys of everybody, made by gpg and openssl; gpg has all secret keys, so it can read all."""

    def __init__(self, folder):
        self.dir = folder
        self.gnupg = os.path.join(folder, "gnupg")
        os.mkdir(self.gnupg, 0o700)
        self.env = {"GNUPGHOME": self.gnupg, "HOME": folder, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        for user in USERS:
            self.gpg("--passphrase", "", "--quick-gen-key", user, "future-default", "default", "never")
            for kind, flag in (("pub", "--export"), ("sec", "--export-secret-keys")):
                with open(self.path(user, kind), "wb") as f:
                    f.write(self.gpg(flag, user).stdout)
            self.certificate(user)

    def path(self, user, kind):
        return os.path.join(self.dir, f"{user}.{kind}")

    def another(self, user):
        """A second key of the same address, which gpg does not keep."""
        with tempfile.TemporaryDirectory(prefix="ll-") as d:
            env = {**self.env, "GNUPGHOME": d}
            gpg = ["gpg", "--batch", "--quiet", "--no-tty"]
            run([*gpg, "--passphrase", "", "--quick-gen-key", user, "future-default", "default", "never"], env=env)
            with open(self.path(user, "pub2"), "wb") as f:
                f.write(run([*gpg, "--export", user], env=env).stdout)
            subprocess.run(["gpgconf", "--kill", "all"], env=env, capture_output=True, timeout=20)
        return self.path(user, "pub2")

    def locked(self, user, password):
        """The secret key behind a password."""
        with tempfile.TemporaryDirectory(prefix="ll-") as d:
            env = {**self.env, "GNUPGHOME": d}
            gpg = ["gpg", "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", password]
            run([*gpg, "--quick-gen-key", user, "future-default", "default", "never"], env=env)
            with open(self.path(user, "sec2"), "wb") as f:
                f.write(run([*gpg, "--export-secret-keys", user], env=env).stdout)
            subprocess.run(["gpgconf", "--kill", "all"], env=env, capture_output=True, timeout=20)
        return self.path(user, "sec2")

    def certificate(self, user, kind="crt", address=None):
        key = self.path(user, "key")
        new = ["-newkey", "rsa:2048", "-nodes", "-keyout", key] if not os.path.exists(key) else ["-key", key]
        run(["openssl", "req", "-x509", *new, "-out", self.path(user, kind), "-subj", f"/CN={user}", "-days", "30",
             "-addext", f"subjectAltName=email:{address or user}", "-addext",
             "keyUsage=digitalSignature,keyEncipherment", "-addext", "extendedKeyUsage=emailProtection"])
        with open(self.path(user, "id"), "w", encoding="ascii") as f:
            for k in ("key", "crt"):
                with open(self.path(user, k), encoding="ascii") as part:
                    f.write(part.read())

    def gpg(self, *args, status=0, **kw):
        return run(["gpg", "--batch", "--quiet", "--no-tty", *args], status=status, env=self.env, **kw)

    def fingerprint(self, user):
        out = self.gpg("--with-colons", "--list-keys", user).stdout.decode()
        return re.search(r"^fpr:+([0-9A-F]{40}):", out, re.M).group(1).lower()

    def close(self):
        subprocess.run(["gpgconf", "--kill", "all"], env=self.env, capture_output=True, timeout=20)


@pytest.fixture(scope="module")
def people():
    with tempfile.TemporaryDirectory(prefix="ll-") as d:  # short: gpg-agent's socket lies in it
        p = People(d)
        yield p
        p.close()


@pytest.fixture(scope="module")
def alpha():
    with Server("alpha.test", users=USERS) as s:
        yield s


class Home:
    """Ann's home, with her settings and her store."""

    def __init__(self, path, alpha):
        self.path = path
        (path / ".config/letterlock").mkdir(parents=True)
        (path / "tmp").mkdir()
        cert = os.path.join(alpha.home, "lib/keys/mx.alpha.test-ecdsa.crt")
        self.config = path / ".config/letterlock/config"
        self.config.write_text(f"""account a {{
    from = "ann@alpha.test" name = "Ann" server = "localhost:{alpha.submissions}" tls = implicit
    ca = "{cert}" user = "ann@alpha.test" password-file = "{alpha.password_file}" }}""")
        self.config.chmod(0o600)
        self.env = {"HOME": str(path), "PATH": os.environ["PATH"], "TMPDIR": str(path / "tmp")}

    def letterlock(self, *args, status=0, **kw):
        return run([LETTERLOCK, *args], status=status, env=self.env, cwd=self.path, **kw)

    def know(self, *files):
        """Puts keys into the store."""
        for f in files:
            self.letterlock("keys", "import", f)

    def send(self, *args, text=TEXT, status=0):
        return self.letterlock("send", "--no-find", *args, input=text.encode(), status=status)


@pytest.fixture
def home(alpha, tmp_path):
    return Home(tmp_path, alpha)


def arrived(alpha, n, users):
    return {u: alpha.wait_mail(u, n[u] + 1)[-1] for u in users}


def counts(alpha):
    return {u: len(alpha.mail(u)) for u in USERS}


def parse(raw):
    return email.message_from_bytes(raw, policy=email.policy.default)


def no_canary(alpha, home, *more):
    """The plaintext is nowhere on the server's disk, in no log, in no temporary file."""
    for top in (alpha.dir, str(home.path / "tmp"), *more):
        for folder, _, files in os.walk(top):
            for name in files:
                try:
                    with open(os.path.join(folder, name), "rb") as f:
                        data = f.read()
                except OSError:
                    continue
                for word in (CANARY, SUBJECT, "Y2FuYXJ5", "canary-4711"):
                    assert word.encode() not in data, os.path.join(folder, name)


def check_outside(raw):
    m = parse(raw)
    assert m["Subject"] == "[...]" and m["Message-ID"] and m["Date"]
    return m


def check_inside(entity):
    """What was sealed: all fields, and the text."""
    m = parse(entity)
    assert m["Subject"] == SUBJECT and m["From"].addresses[0].addr_spec == "ann@alpha.test"
    assert m["Content-Type"].params["hp"] == "cipher"
    assert f"HP-Outer: Subject: [...]".encode() in entity.replace(b"\r\n ", b" ")
    assert CANARY in m.get_content() and "From the start" in m.get_content()
    return m


def pgp_open(people, raw):
    m = parse(raw)
    assert m.get_content_type() == "multipart/encrypted"
    assert m["Content-Type"].params["protocol"] == "application/pgp-encrypted"
    version, data = m.iter_parts()
    assert version.get_content_type() == "application/pgp-encrypted"
    assert version.get_payload().strip() == "Version: 1"
    p = people.gpg("--status-fd", "2", "--trust-model", "always", "--decrypt", input=data.get_payload(decode=True))
    return p.stdout, p.stderr.decode()


def test_pgp_is_opened_by_gpg(alpha, people, home):
    home.know(people.path("ann@alpha.test", "sec"), people.path("bob@alpha.test", "pub"))
    n = counts(alpha)
    home.send("--seal", "pgp", "--to", "Bob <bob@alpha.test>", "--subject", SUBJECT)
    raw = arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"]
    check_outside(raw)
    assert "addr=ann@alpha.test" in parse(raw)["Autocrypt"]
    text, said = pgp_open(people, raw)
    check_inside(text)
    assert f"VALIDSIG {people.fingerprint('ann@alpha.test').upper()}" in said and "GOODMDC" in said
    assert len(re.findall("ENC_TO", said)) == 2  # bob, and ann herself
    no_canary(alpha, home)


def smime_open(people, raw, user):
    """openssl decrypts with that user's key; gives the signed entity."""
    return run(["openssl", "cms", "-decrypt", "-recip", people.path(user, "crt"), "-inkey", people.path(user, "key")],
               input=raw).stdout


def test_smime_is_opened_by_openssl_and_gpgsm(alpha, people, home):
    home.know(people.path("ann@alpha.test", "id"), people.path("bob@alpha.test", "crt"))
    n = counts(alpha)
    home.send("--seal", "smime", "--to", "Bob <bob@alpha.test>", "--subject", SUBJECT)
    raw = arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"]
    m = check_outside(raw)
    assert m.get_content_type() == "application/pkcs7-mime"
    assert m["Content-Type"].params["smime-type"] == "enveloped-data"
    for user in ("bob@alpha.test", "ann@alpha.test"):
        signed = smime_open(people, raw, user)
        p = run(["openssl", "cms", "-verify", "-CAfile", people.path("ann@alpha.test", "crt"), "-purpose",
                 "smimesign"], input=signed)
        check_inside(p.stdout)
    gpgsm = ["gpgsm", "--batch", "--quiet", "--disable-crl-checks"]
    p12 = people.path("bob@alpha.test", "p12")
    run(["openssl", "pkcs12", "-export", "-legacy", "-passout", "pass:", "-in", people.path("bob@alpha.test", "crt"),
         "-inkey", people.path("bob@alpha.test", "key"), "-out", p12])
    run([*gpgsm, "--pinentry-mode", "loopback", "--passphrase-fd", "0", "--import", p12], env=people.env, input=b"\n")
    run([*gpgsm, "--import", people.path("ann@alpha.test", "crt")], env=people.env)
    der = m.get_payload(decode=True)
    # Ann's key is not here, which gpgsm counts as an error (2) when it comes first in the DER order.
    assert run([*gpgsm, "--decrypt"], env=people.env, input=der, status=None).stdout.replace(b"\r\n", b"\n") == \
        smime_open(people, raw, "bob@alpha.test").replace(b"\r\n", b"\n")
    no_canary(alpha, home)


@pytest.mark.parametrize("kind", ["pgp", "smime"])
def test_signed_in_clear(alpha, people, home, kind):
    home.know(people.path("ann@alpha.test", "sec" if kind == "pgp" else "id"))
    n = counts(alpha)
    home.send("--sign", "--to", "bob@alpha.test", "--subject", "open", text="From the start \nend\n")
    raw = arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"]
    m = parse(raw)
    assert m["Subject"] == "open" and m.get_content_type() == "multipart/signed"
    content = next(m.iter_parts())
    assert content["Content-Type"].params["hp"] == "clear" and "the start" in content.get_content()
    if kind == "smime":
        run(["openssl", "cms", "-verify", "-CAfile", people.path("ann@alpha.test", "crt"), "-purpose", "smimesign"],
            input=raw)
        run(["openssl", "cms", "-verify", "-CAfile", people.path("ann@alpha.test", "crt"), "-purpose", "smimesign"],
            input=raw.replace(b"the start", b"the stare"), status=4)
        return
    boundary = m.get_boundary().encode()
    signed = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").split(b"--" + boundary)[1][2:-2]
    for text, status in ((signed, 0), (signed.replace(b"the start", b"the stare"), 1)):
        (home.path / "signed").write_bytes(text)
        (home.path / "sig").write_bytes(list(m.iter_parts())[1].get_payload(decode=True))
        people.gpg("--verify", str(home.path / "sig"), str(home.path / "signed"), status=status)


def test_bcc_is_not_known_by_the_keys(alpha, people, home):
    home.know(*(people.path(u, "pub") for u in USERS[1:]), people.path(USERS[0], "sec"))
    n = counts(alpha)
    p = home.send("--seal", "pgp", "--to", "bob@alpha.test", "--cc", "carol@alpha.test", "--bcc", "dave@alpha.test",
                  "--subject", SUBJECT, "--json")
    assert sorted(r["address"] for r in json.loads(p.stdout)) == sorted(USERS[1:])
    assert {(r["seal"], r["sign"], r["outcome"]) for r in json.loads(p.stdout)} == {("pgp", "pgp", "accepted")}
    got = arrived(alpha, n, USERS[1:])
    ids = {}
    for user, raw in got.items():
        text, said = pgp_open(people, raw)
        check_inside(text)
        ids[user] = set(re.findall(r"ENC_TO (\w+)", said))
        # As words that base64 (keys, seals, signatures) cannot hold by chance.
        assert b"dave@" not in text and b"Bcc:" not in text and b"Bcc:" not in raw
        gossip = [f.split(";")[0] for f in parse(text).get_all("Autocrypt-Gossip")]
        assert gossip == ["addr=bob@alpha.test", "addr=carol@alpha.test"]
        assert parse(raw)["Autocrypt-Gossip"] is None
    assert ids["bob@alpha.test"] == ids["carol@alpha.test"] and len(ids["bob@alpha.test"]) == 3
    assert len(ids["dave@alpha.test"]) == 2  # dave and ann
    assert len(ids["dave@alpha.test"] & ids["bob@alpha.test"]) == 1
    hidden = ids["dave@alpha.test"] - ids["bob@alpha.test"]
    # No packet of what bob and carol got tells of dave's key.
    for user in ("bob@alpha.test", "carol@alpha.test"):
        data = list(parse(got[user]).iter_parts())[1].get_payload(decode=True)
        assert next(iter(hidden)) not in people.gpg("--list-packets", input=data).stdout.decode()


def test_auto_takes_what_all_have(alpha, people, home):
    home.know(people.path(USERS[0], "sec"), people.path(USERS[0], "id"), people.path("bob@alpha.test", "pub"),
              people.path("bob@alpha.test", "crt"), people.path("carol@alpha.test", "crt"))

    def plan(*args):
        return json.loads(home.send("--seal", "auto", "--dry-run", "--json", *args).stdout)

    assert plan("--to", "bob@alpha.test")["seal"] == "pgp"
    o = plan("--to", "bob@alpha.test", "--to", "carol@alpha.test")
    assert o["seal"] == "smime" and o["sign"] == "smime"
    assert [r["found"][0]["where"] for r in o["recipients"]] == ["import", "import"]
    home.config.write_text(home.config.read_text().replace("}", "prefer = smime seal = auto }"))
    assert plan("--to", "bob@alpha.test")["seal"] == "smime"
    n = counts(alpha)
    home.send("--to", "bob@alpha.test", "--subject", SUBJECT)  # the account says auto
    m = check_outside(arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"])
    assert m.get_content_type() == "application/pkcs7-mime"


def test_a_ready_letter_is_sealed(alpha, people, home):
    home.know(people.path(USERS[0], "sec"), people.path("bob@alpha.test", "pub"))
    letter = (f"Received: from x by y; Mon, 23 Nov 2026 10:00:00 +0000\nFrom: Ann <ann@alpha.test>\n"
              f"To: bob@alpha.test\nSubject: {SUBJECT}\nComments: {CANARY}\nBcc: carol@alpha.test\n"
              f"Thread-Topic: {SUBJECT}\nX-Original-Subject: {SUBJECT}\n"
              "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; "
              f"charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{TEXT}\n--b\nContent-Type: "
              "application/pdf; name=x.pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK\n--b--\n")
    n = counts(alpha)
    home.send("--seal", "pgp", "bob@alpha.test", text=letter)
    raw = arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"]
    raw.decode("ascii")
    outside = check_outside(raw)
    assert outside["Comments"] is None and outside["Thread-Topic"] is None and b"carol" not in raw
    assert outside["X-Original-Subject"] is None
    text, _ = pgp_open(people, raw)
    m = parse(text)
    body, pdf = m.iter_parts()
    assert m["Subject"] == SUBJECT and m["Comments"] == CANARY and b"carol" not in text
    assert m["Thread-Topic"] == m["X-Original-Subject"] == SUBJECT
    assert CANARY in body.get_content() and pdf.get_content() == b"%PDF-1.4\n"
    no_canary(alpha, home)


@pytest.mark.parametrize("seal, args, status, words", [
    ("pgp", ["carol@alpha.test"], 69, "carol@alpha.test: OpenPGP: no key is known, and none is published"),
    ("pgp", ["bob@alpha.test", "carol@alpha.test"], 69, "carol@alpha.test: OpenPGP: no key is known"),
    ("auto", ["carol@alpha.test"], 69, "carol@alpha.test: S/MIME: no key is known, and none is published"),
    ("smime", ["bob@alpha.test"], 69, "bob@alpha.test: S/MIME: no key is known"),
])
def test_without_a_key_nothing_goes(alpha, people, home, seal, args, status, words):
    home.know(people.path(USERS[0], "sec"), people.path("bob@alpha.test", "pub"))
    n = counts(alpha)
    p = home.send("--seal", seal, "--subject", SUBJECT, *args, status=status)
    said = p.stderr.decode()
    assert words in said and "nothing was sent" in said and "--seal none" in said
    assert ("bob@alpha.test:" in said) == (args == ["bob@alpha.test"])
    assert counts(alpha) == n


def test_a_changed_key_stops_the_letter(alpha, people, home):
    other = people.another("bob@alpha.test")
    home.know(people.path(USERS[0], "sec"), people.path("bob@alpha.test", "pub"), other)
    n = counts(alpha)
    p = home.send("--seal", "pgp", "-s", SUBJECT, "bob@alpha.test", status=65)
    said = p.stderr.decode()
    assert "bob@alpha.test: another OpenPGP key turned up, and you have not decided which one counts" in said
    assert f"  {people.fingerprint('bob@alpha.test')} imported by you" in said and "nothing was sent" in said
    assert len(re.findall("^letterlock:   [0-9a-f]{40} ", said, re.M)) == 2
    assert counts(alpha) == n
    # The user decides: then it goes, and only to the key that was verified.
    home.letterlock("keys", "trust", people.fingerprint("bob@alpha.test"))
    p = home.send("--seal", "pgp", "-s", SUBJECT, "bob@alpha.test")
    assert "warning: bob@alpha.test has another key beside the one that you verified" in p.stderr.decode()
    _, said = pgp_open(people, arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"])
    assert len(re.findall("ENC_TO", said)) == 2


def test_a_rejected_key_is_never_used(alpha, people, home):
    home.know(people.path(USERS[0], "sec"), people.path("bob@alpha.test", "pub"))
    home.letterlock("keys", "distrust", people.fingerprint("bob@alpha.test"))
    p = home.send("--seal", "auto", "-s", SUBJECT, "bob@alpha.test", status=65)
    assert "bob@alpha.test: you rejected every OpenPGP key that is known" in p.stderr.decode()


def test_a_key_revoked_between_two_letters(alpha, people, home):
    """By the revocation alone; an older copy of the key does not bring it back."""
    fpr = people.fingerprint("bob@alpha.test")
    with open(os.path.join(people.gnupg, "openpgp-revocs.d", fpr.upper() + ".rev"), encoding="utf-8") as f:
        (home.path / "rev").write_text(f.read().replace(":-----BEGIN", "-----BEGIN"))
    home.know(people.path(USERS[0], "sec"), people.path("bob@alpha.test", "pub"))
    args = ["--seal", "pgp", "-s", SUBJECT, "bob@alpha.test"]
    home.send(*args)
    for file in (str(home.path / "rev"), people.path("bob@alpha.test", "pub")):
        assert "its owner has revoked this key" in home.letterlock("keys", "import", file).stderr.decode()
        p = home.send(*args, status=69)
        assert "every known key is expired, revoked or cannot encrypt" in p.stderr.decode()
    assert json.loads(home.letterlock("keys", "import", "--json", file).stdout)[0]["revoked"] is True


def test_a_certificate_that_cannot_be_used(alpha, people, home):
    people.certificate("dave@alpha.test", "wrong", address="eve@alpha.test")
    home.know(people.path(USERS[0], "id"), people.path("dave@alpha.test", "wrong"))
    p = home.send("--seal", "smime", "-s", SUBJECT, "dave@alpha.test", status=69)
    assert "dave@alpha.test: S/MIME: no key is known" in p.stderr.decode()


def test_an_authority_decides(alpha, people, home):
    """Two certificates of one address stop the letter, unless a CA that the user trusts issued them."""
    ca, ca_key = people.path("ca", "crt"), people.path("ca", "key")
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", ca_key, "-out", ca, "-subj", "/CN=CA",
         "-days", "30", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"])
    with open(people.path("bob", "ext"), "w", encoding="ascii") as f:
        f.write("subjectAltName=email:bob@alpha.test\nkeyUsage=digitalSignature,keyEncipherment\n"
                "extendedKeyUsage=emailProtection\nbasicConstraints=critical,CA:FALSE\n")
    for i in "12":
        run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", people.path("bob" + i, "key"), "-out",
             people.path("bob" + i, "csr"), "-subj", "/CN=bob" + i])
        run(["openssl", "x509", "-req", "-in", people.path("bob" + i, "csr"), "-CA", ca, "-CAkey", ca_key, "-days", "20",
             "-CAcreateserial", "-extfile", people.path("bob", "ext"), "-out", people.path("bob" + i, "crt")])
    home.know(people.path(USERS[0], "id"), people.path("bob1", "crt"), people.path("bob2", "crt"), ca)
    p = home.send("--seal", "smime", "-s", SUBJECT, "bob@alpha.test", status=65)
    assert "bob@alpha.test: another S/MIME key turned up" in p.stderr.decode()
    (row,) = json.loads(home.letterlock("keys", "list", "--authorities", "--json").stdout)
    home.letterlock("keys", "trust", row["fingerprint"])
    o = json.loads(home.send("--seal", "smime", "-s", SUBJECT, "--dry-run", "--json", "bob@alpha.test").stdout)
    assert o["seal"] == "smime"
    home.send("--seal", "smime", "-s", SUBJECT, "bob@alpha.test")


def test_a_locked_key(alpha, people, home):
    sec = people.locked(USERS[0], "the pass phrase")
    home.know(sec, people.path("bob@alpha.test", "pub"))
    home.send("--seal", "pgp", "--dry-run", "-s", "x", "bob@alpha.test")  # the plan needs no password
    for word, status in (("the pass phrase", 0), ("wrong", 77)):
        (home.path / "kp").write_text(word + "\n")
        (home.path / "kp").chmod(0o600)
        p = home.send("--seal", "pgp", "-s", SUBJECT, "--key-password-file", "kp", "bob@alpha.test", status=status)
        assert status == 0 or "the password is wrong" in p.stderr.decode()
    # Without a password, and without a terminal to ask: not signed means not sent.
    p = subprocess.run(["setsid", LETTERLOCK, "send", "--no-find", "--seal", "pgp", "bob@alpha.test", "-s", "x"],
                       input=b"x", env=home.env, capture_output=True, timeout=30)
    assert p.returncode == 64 and b"locked with a password" in p.stderr
    home.send("--seal", "pgp", "--no-sign", "-s", SUBJECT, "bob@alpha.test")


def test_no_own_key(alpha, people, home):
    home.know(people.path("bob@alpha.test", "pub"))
    p = home.send("--seal", "pgp", "-s", SUBJECT, "bob@alpha.test")
    assert "warning: ann@alpha.test has no OpenPGP key of its own here" in p.stderr.decode()
    p = home.send("--seal", "pgp", "--sign", "-s", SUBJECT, "bob@alpha.test", status=69)
    assert "no OpenPGP key of its own here to sign with" in p.stderr.decode()


def test_sealed_letters_are_not_sealed_again(alpha, people, home):
    home.know(people.path(USERS[0], "sec"), people.path("bob@alpha.test", "pub"))
    n = counts(alpha)
    home.send("--seal", "pgp", "-s", SUBJECT, "bob@alpha.test")
    raw = arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"].decode()
    p = home.send("--seal", "auto", "bob@alpha.test", text=raw, status=65)
    assert "the letter is sealed already" in p.stderr.decode()


@pytest.mark.parametrize("seal", ["pgp", "smime"])
def test_no_file_is_written_but_the_store(alpha, people, home, seal):
    """What sees the text opens nothing for writing: no temporary file, no memfd, no helper program."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    home.know(people.path(USERS[0], "sec" if seal == "pgp" else "id"),
              people.path("bob@alpha.test", "pub" if seal == "pgp" else "crt"))
    trace = home.path / "trace"
    p = run(["strace", "-f", "-o", str(trace), "-e", "trace=openat,open,creat,memfd_create,mknod,mknodat,execve",
             LETTERLOCK, "send", "--no-find", "--seal", seal, "-s", SUBJECT, "bob@alpha.test"], env=home.env,
            cwd=home.path, input=TEXT.encode(), status=None)
    if b"ptrace" in p.stderr or not trace.exists():
        pytest.skip("strace may not trace here")
    assert p.returncode == 0, p.stderr
    lines = trace.read_text(errors="replace").splitlines()
    wrote = [line for line in lines if re.search(r"O_WRONLY|O_RDWR|O_CREAT|creat\(|memfd_create|mknod", line)]
    assert len(lines) > 10
    for line in wrote:
        assert re.search(r'"/dev/(urandom|null|tty)"|"[^"]*/keys\.db(-journal|-wal|-shm)?"', line), line
    assert sum("execve(" in line for line in lines) == 1, lines


# ---- keys that the domain publishes -------------------------------------------------------------

def ask(home, dns, *args, status=0, text=TEXT):
    anchor = home.path / "anchor"
    anchor.write_text(getattr(dns, "anchor", "") + "\n")
    return home.letterlock("send", "--resolver", dns.address, "--dns-timeout", "1", "--trust-anchor",
                           str(anchor) if anchor.stat().st_size > 1 else "/dev/null", *args, input=text.encode(),
                           status=status)


def test_a_web_key_directory_is_asked(alpha, people, home):
    home.know(people.path(USERS[0], "sec"))
    theirs = ["--store", str(home.path / "theirs.db")]
    home.letterlock("keys", "import", *theirs, people.path("bob@alpha.test", "pub"))
    (home.path / "root").mkdir()
    home.letterlock("keys", "export", *theirs, "--wkd", str(home.path / "root"), "bob@alpha.test")
    ca = Authority(home.path)
    n = counts(alpha)
    with DnsServer(["openpgpkey.alpha.test. A 127.0.0.1"]) as dns, \
            WebServer(home.path / "root", ca.issue("openpgpkey.alpha.test")) as web:
        args = ["--seal", "pgp", "--find-ca", ca.file, "--find-private", "--find-port", str(web.port), "-s", SUBJECT]
        o = json.loads(ask(home, dns, *args, "--dry-run", "--json", "bob@alpha.test").stdout)
        assert o["recipients"][0]["found"][0]["where"] == "wkd"
        assert o["recipients"][0]["fingerprint"] == people.fingerprint("bob@alpha.test")
        assert o["recipients"][0]["trust"] == "undecided"
        ask(home, dns, *args, "bob@alpha.test")
        assert len(web.asked) == 1  # the store has it since
        said = ask(home, dns, *args, "carol@alpha.test", status=69).stderr.decode()
        assert "carol@alpha.test: OpenPGP: no key is known, and none is published" in said
    pgp_open(people, arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"])
    with DnsServer(silent=["alpha.test."]) as dns:
        said = ask(home, dns, "--seal", "pgp", "-s", "x", "dave@alpha.test", status=75).stderr.decode()
        assert "the domain could not be asked for one now; try again later" in said


def test_smimea_is_asked_and_the_transport_is_told(alpha, people, home):
    home.know(people.path(USERS[0], "id"))
    der = run(["openssl", "x509", "-in", people.path("bob@alpha.test", "crt"), "-outform", "DER"]).stdout
    name = hashlib.sha256(b"bob").hexdigest()[:56]
    records = [f"{name}._smimecert.alpha.test. SMIMEA 3 0 0 {der.hex()}", "alpha.test. MX 10 mx.alpha.test.",
               "mx.alpha.test. A 127.0.0.1", "_25._tcp.mx.alpha.test. TLSA 3 1 1 " + "ab" * 32,
               '_mta-sts.alpha.test. TXT "v=STSv1; id=20261126;"']
    with SignedServer(records, zone="alpha.test.") as dns:
        args = ["--seal", "smime", "--dry-run", "-s", "x", "bob@alpha.test"]
        o = json.loads(ask(home, dns, *args, "--json").stdout)
        assert o["seal"] == "smime" and o["recipients"][0]["found"][0]["where"] == "smimea"
        assert o["domains"] == [{"domain": "alpha.test", "dnssec": True, "mx": [
            {"host": "mx.alpha.test", "preference": 10, "tlsa": 1}], "mta_sts": "20261126", "reason": None}]
        text = ask(home, dns, *args).stdout.decode()
        assert "MX 10 mx.alpha.test:25, TLS proven by DANE (1 TLSA)" in text
        assert "MTA-STS policy announced (id 20261126)" in text and "found: published in signed DNS (SMIMEA)" in text
        assert "no trusted authority vouches for the certificate" in text


# ---- Autocrypt ----------------------------------------------------------------------------------

def test_the_own_key_goes_along(alpha, people, home):
    def autocrypt(*args, **kw):
        n = counts(alpha)
        home.send(*args, **kw)
        return parse(arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"]).get_all("Autocrypt", [])

    compose = ["--to", "bob@alpha.test", "-s", "x"]
    assert autocrypt(*compose) == []
    home.know(people.path(USERS[0], "sec"))
    (field,) = autocrypt(*compose)
    assert field.startswith("addr=ann@alpha.test; keydata=") and "prefer-encrypt" not in field
    (home.path / "key").write_bytes(base64.b64decode(field.split("keydata=")[1]))
    out = people.gpg("--with-colons", "--show-keys", str(home.path / "key")).stdout.decode()
    assert people.fingerprint(USERS[0]).upper() in out
    # A ready letter of another author, or with a field of its own, stays as it is.
    ready = "From: {}\nTo: bob@alpha.test\nSubject: x\n{}\nx\n"
    assert autocrypt("bob@alpha.test", text=ready.format("ann@alpha.test", "Autocrypt: mine\n")) == ["mine"]
    home.config.write_text(home.config.read_text().replace("from =", "autocrypt = mutual from ="))
    assert "prefer-encrypt=mutual" in autocrypt(*compose)[0]
    home.config.write_text(home.config.read_text().replace("mutual", "no"))
    assert autocrypt(*compose) == []

# ---- our own reader -----------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["pgp", "smime"])
@pytest.mark.parametrize("sealed", [True, False])
def test_our_reader_proves_it(alpha, people, home, kind, sealed):
    """What send makes, read opens: every field and the text are under the seal and proven."""
    secret, public = ("sec", "pub") if kind == "pgp" else ("id", "crt")
    home.know(people.path(USERS[0], secret), people.path("bob@alpha.test", public))
    store = ["--store", str(home.path / "bob.db")]
    home.letterlock("keys", "import", *store, people.path("bob@alpha.test", secret), people.path(USERS[0], public))
    mine = json.loads(home.letterlock("keys", "list", *store, "--json", USERS[0]).stdout)[0]["fingerprint"]
    home.letterlock("keys", "trust", *store, mine)
    (home.path / "file.txt").write_text("attached\n")
    n = counts(alpha)
    subject, text = (SUBJECT, TEXT) if sealed else ("open", "From the start \nend\n")
    home.send(*(["--seal", kind] if sealed else ["--sign"]), "--to", "Bob <bob@alpha.test>", "-s", subject, "--attach",
              "file.txt", text=text)
    letter = home.path / "letter"
    letter.write_bytes(arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"])
    (section,) = json.loads(home.letterlock("read", *store, "--json", str(letter)).stdout)["sections"]
    assert section["proven"] and section["author"] == USERS[0] and section["warnings"] == []
    assert [s["verdict"] for s in section["signatures"]] == ["proven"]
    assert section["signatures"][0]["method"] == kind and section["signatures"][0]["trust"] == "verified"
    protection = {f["name"]: (f["value"], f["protection"]) for f in section["fields"]}
    assert protection["Subject"] == (subject, "signed-and-encrypted" if sealed else "signed-only")
    assert protection["To"][1] == "signed-only"  # it stands outside, too
    texts = [p.get("text", "") for p in section["parts"]]
    assert (CANARY if sealed else "From the start") in texts[0] and len(section["parts"]) == 2
    # One octet is changed on the way: nothing is proven, and what was sealed is not shown.
    raw = letter.read_bytes()
    at = raw.index(b"-----BEGIN PGP MESSAGE") + 900 if sealed and kind == "pgp" else \
        raw.index(b"smime.p7m\"\n\n") + 900 if sealed else raw.index(b"the start")
    at += raw[at:at + 80].index(b"\n") + 5 if sealed else 0
    letter.write_bytes(raw[:at] + (b"A" if raw[at:at + 1] != b"A" else b"B") + raw[at + 1:])
    p = home.letterlock("read", *store, "--json", str(letter), status=None)
    assert p.returncode != 0 and CANARY.encode() not in p.stdout
    assert not any(s["proven"] for s in json.loads(p.stdout)["sections"])


# ---- mutt, with gpg and openssl as it calls them ------------------------------------------------

def mutt(people, home, raw, program="mutt"):
    """Opens the letter in the program, on a terminal of its own, and gives what its user sees."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    box = home.path / "box"
    for d in ("cur", "new", "tmp"):
        (box / d).mkdir(parents=True)
    (box / "new/1.1.x").write_bytes(raw)
    key, crt = people.path("bob@alpha.test", "key"), people.path("bob@alpha.test", "crt")
    rc = home.path / "muttrc"
    gpg = "gpg --batch --no-tty --quiet --status-fd=2"
    rc.write_text(f"""set folder="{home.path}" record="" mbox_type=Maildir crypt_use_gpgme=no quit=yes wait_key=no
set weed=yes crypt_verify_sig=yes beep=no confirmappend=no move=no mark_old=no
set pgp_decode_command="{gpg} --output - %f" pgp_verify_command="{gpg} --output - --verify %s %f"
set pgp_decrypt_command="{gpg} --output - --decrypt %f" pgp_check_gpg_decrypt_status_fd=yes
set pgp_good_sign="^\\\\[GNUPG:\\\\] GOODSIG" smime_is_default=no smime_decrypt_use_default_key=yes
set smime_keys="{home.path}" smime_certificates="{home.path}" smime_default_key="bob"
set smime_decrypt_command="openssl cms -decrypt -inform DER -in %f -inkey {key} -recip {crt}"
set smime_verify_command="openssl cms -verify -inform DER -in %s -out /dev/null -content %f -CAfile {people.path('ann@alpha.test', 'crt')}"
set smime_verify_opaque_command="openssl cms -verify -inform DER -in %s -CAfile {people.path('ann@alpha.test', 'crt')}"
set pager="{home.path}/pager" prompt_after=no
ignore *
unignore from: subject:
push "<display-message><quit>"
""")
    (home.path / "pager").write_text(f'#!/bin/sh\ncat "$1" > {home.path}/seen\n')
    (home.path / "pager").chmod(0o755)
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(home.path)
        os.execvpe(program, [program, "-n", "-F", str(rc), "-f", str(box)],
                   {**people.env, "TERM": "xterm", "HOME": str(home.path), "LC_ALL": "C.UTF-8"})
    screen = b""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                chunk = os.read(fd, 65536)
            except OSError:
                break
            if not chunk:
                break
            screen += chunk
            if chunk.find(b"passphrase:") >= 0:  # of the S/MIME key, which has none
                os.write(fd, b"x\r")
    else:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(fd)
    seen = home.path / "seen"
    assert seen.exists(), screen[-3000:]
    return seen.read_text(encoding="utf-8", errors="replace"), screen.decode(errors="replace")


@pytest.mark.parametrize("program", ["mutt", "neomutt"])
@pytest.mark.parametrize("seal", ["pgp", "smime"])
def test_mutt_reads(alpha, people, home, seal, program):
    home.know(people.path(USERS[0], "sec" if seal == "pgp" else "id"),
              people.path("bob@alpha.test", "pub" if seal == "pgp" else "crt"))
    n = counts(alpha)
    home.send("--seal", seal, "--to", "Bob <bob@alpha.test>", "--subject", SUBJECT)
    text, screen = mutt(people, home, arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"], program)
    assert CANARY in text and "From the start" in text, screen[-2000:]
    assert SUBJECT in text  # at least in the copy for programs that know no protected fields
    assert ("Good signature" if seal == "pgp" else "CMS Verification successful") in text, text


@pytest.mark.parametrize("program", ["mutt", "neomutt"])
def test_mutt_sends_sealed(alpha, people, home, program):
    """As $sendmail of a mail program: what it writes is sealed, and it learns when it is not sent."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    home.know(people.path(USERS[0], "sec"), people.path("bob@alpha.test", "pub"))
    (home.path / "a.pdf").write_bytes(b"%PDF-1.4\n")
    rc = home.path / "rc"
    rc.write_text(f'set from="ann@alpha.test" realname="Ann" copy=no record="" sendmail_wait=0\n'
                  f'set sendmail="{LETTERLOCK} send --no-find --seal auto"\n')
    n = counts(alpha)
    words = [program, "-n", "-F", str(rc), "-s", SUBJECT, "-a", "a.pdf", "--"]
    run([*words, "bob@alpha.test"], input=TEXT.encode(), env={**home.env, "LC_ALL": "C.UTF-8"}, cwd=home.path)
    text, _ = pgp_open(people, arrived(alpha, n, ["bob@alpha.test"])["bob@alpha.test"])
    body, pdf = parse(text).iter_parts()
    assert parse(text)["Subject"] == SUBJECT and CANARY in body.get_content()
    assert pdf.get_content() == b"%PDF-1.4\n"
    p = run([*words, "carol@alpha.test"], input=TEXT.encode(), env={**home.env, "LC_ALL": "C.UTF-8"}, cwd=home.path,
            status=None)
    assert p.returncode != 0 and b"no key is known" in p.stdout + p.stderr
