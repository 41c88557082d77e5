"""S/MIME with other programs, both ways: openssl cms, GnuPG's gpgsm, NSS's cmsutil, mutt's smime
settings; a real OCSP responder; and the keys of RFC 9216."""
import base64
import os
import re
import shutil
import subprocess
import time
import urllib.request

import pytest

from harness import ports
from harness.sealing import Reader
from harness.server import BUILD, LETTERLOCK, testdata, wait_for

RUN = os.path.join(BUILD, "tests", "lib", "smime", "run-smime")
TEXT = b"Content-Type: text/plain\r\n\r\n" + b"A line of the letter.\r\n" * 400


def run(*args, stdin=b"", fails=False):
    p = subprocess.run([str(a) for a in args], input=stdin, capture_output=True, timeout=60)
    assert (p.returncode != 0) == fails, (args, p.stderr.decode(errors="replace"))
    return p


def ours(*args, stdin=b"", fails=False, now=None):
    """run-smime: its output and what it said. A second ahead, as certificates are made in this one."""
    p = run(RUN, "--now", now or int(time.time()) + 1, *args, stdin=stdin, fails=fails)
    return p.stdout, p.stderr.decode()


def openssl(*args, stdin=b"", fails=False):
    return run("openssl", *args, stdin=stdin, fails=fails).stdout


CONFIG = """
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[mail]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment,keyAgreement
extendedKeyUsage = emailProtection
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = email:{address}
[ocsp]
extendedKeyUsage = OCSPSigning
keyUsage = critical,digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""

KEYS = {
    "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "ec": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "pss": ["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"],
}


class Authority:
    """A CA made by openssl, as an operator would make it."""

    def __init__(self, path):
        self.path = str(path)
        self.key("ca", "rsa")
        self.config = self.write("ca.cnf", CONFIG.format(address="ca@a.test"))
        openssl("req", "-x509", "-new", "-key", self.at("ca.key"), "-subj", "/CN=Interop CA", "-days", "30",
                "-config", "/etc/ssl/openssl.cnf", "-extensions", "v3_ca", "-out", self.at("ca.pem"))

    def at(self, name):
        return os.path.join(self.path, name)

    def write(self, name, text):
        with open(self.at(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.at(name)

    def key(self, name, kind):
        openssl("genpkey", *KEYS[kind], "-out", self.at(name + ".key"))

    def issue(self, name, kind, section="mail"):
        self.key(name, kind)
        config = self.write(name + ".cnf", CONFIG.format(address=name + "@a.test"))
        request = openssl("req", "-new", "-key", self.at(name + ".key"), "-subj", "/CN=" + name)
        openssl("x509", "-req", "-CA", self.at("ca.pem"), "-CAkey", self.at("ca.key"), "-days", "20", "-extfile", config,
                "-extensions", section, "-out", self.at(name + ".pem"), stdin=request)
        self.write(name + ".id", open(self.at(name + ".key"), encoding="ascii").read() +
                   open(self.at(name + ".pem"), encoding="ascii").read())


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    a = Authority(tmp_path_factory.mktemp("smime-ca"))
    for kind in KEYS:
        a.issue(kind, kind)
    return a


def who(kind):
    return kind + "@a.test"


# ---- openssl cms --------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["rsa", "ec", "pss"])
@pytest.mark.parametrize("form", ["detached", "opaque"])
def test_openssl_verifies(ca, kind, form, tmp_path):
    der, _ = ours("--key", ca.at(kind + ".id"), "sign", who(kind), form, stdin=TEXT)
    (tmp_path / "text").write_bytes(TEXT)
    more = ["-content", tmp_path / "text"] if form == "detached" else []
    got = openssl("cms", "-verify", "-inform", "DER", "-binary", "-CAfile", ca.at("ca.pem"), "-purpose", "smimesign",
                  *more, stdin=der)
    assert got == TEXT


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("content", ["cbc", "gcm"])
def test_openssl_opens(ca, kind, content):
    der, _ = ours("--cert", ca.at(kind + ".pem"), "encrypt", content, who(kind), stdin=TEXT)
    got = openssl("cms", "-decrypt", "-inform", "DER", "-binary", "-recip", ca.at(kind + ".pem"),
                  "-inkey", ca.at(kind + ".key"), stdin=der)
    assert got == TEXT
    if kind == "ec":  # RFC 5753: the KDF with SHA-256
        assert b"1.3.132.1.11.1" in openssl("asn1parse", "-inform", "DER", stdin=der) or \
            b"dhSinglePass-stdDH-sha256kdf-scheme" in openssl("asn1parse", "-inform", "DER", stdin=der)


SIGNING = {
    "rsa": ("rsa", []), "rsa sha512": ("rsa", ["-md", "sha512"]),
    "rsa pss": ("rsa", ["-keyopt", "rsa_padding_mode:pss"]), "ec": ("ec", []), "ec sha384": ("ec", ["-md", "sha384"]),
    "pss": ("pss", ["-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:32"]), "key id": ("rsa", ["-keyid"]), "no attributes": ("rsa", ["-noattr"]),
    "streamed": ("rsa", ["-stream"]),
}


@pytest.mark.parametrize("case", SIGNING)
@pytest.mark.parametrize("form", ["detached", "opaque"])
def test_verifies_openssl(ca, case, form, tmp_path):
    kind, more = SIGNING[case]
    if case == "streamed" and form == "detached":
        pytest.skip("openssl streams opaque ones alone")
    opaque = ["-nodetach"] if form == "opaque" else []
    der = openssl("cms", "-sign", "-binary", "-outform", "DER", "-signer", ca.at(kind + ".pem"),
                  "-inkey", ca.at(kind + ".key"), *opaque, *more, stdin=TEXT)
    if form == "opaque":
        got, said = ours("--anchor", ca.at("ca.pem"), "open", stdin=der)
        assert got == TEXT
    else:
        (tmp_path / "sig").write_bytes(der)
        _, said = ours("--anchor", ca.at("ca.pem"), "verify", tmp_path / "sig", stdin=TEXT)
    assert said.startswith("signature good " + kind), said
    if form == "detached":
        _, said = ours("--anchor", ca.at("ca.pem"), "verify", tmp_path / "sig", stdin=TEXT + b"\r\n")
        assert said.startswith("signature bad"), said
        _, said = ours("verify", tmp_path / "sig", stdin=TEXT)
        assert said.startswith("signature untrusted"), said


SEALING = {
    "rsa": ("rsa", ["-aes256"], "aes256-cbc"), "rsa 128": ("rsa", ["-aes128"], "aes128-cbc"),
    "rsa gcm": ("rsa", ["-aes-256-gcm"], "aes256-gcm authenticated"),
    "rsa oaep": ("rsa", ["-aes256", "OAEP"], "aes256-cbc"), "3des": ("rsa", ["-des3"], "3des-cbc weak"),
    "key id": ("rsa", ["-aes256", "-keyid"], "aes256-cbc"), "ec": ("ec", ["-aes256"], "aes256-cbc"),
    "ec gcm": ("ec", ["-aes-128-gcm"], "aes128-gcm authenticated"), "streamed": ("rsa", ["-aes256", "-stream"], "aes256-cbc"),
}


@pytest.mark.parametrize("case", SEALING)
def test_opens_openssl(ca, case):
    kind, more, words = SEALING[case]
    recipient = [ca.at(kind + ".pem")]
    if "OAEP" in more:
        more = more[:-1]
        recipient = ["-recip", recipient[0], "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"]
    der = openssl("cms", "-encrypt", "-binary", "-outform", "DER", *more, *recipient, stdin=TEXT)
    got, said = ours("--key", ca.at(kind + ".id"), "open", stdin=der)
    assert got == TEXT
    assert said == f"opened {words}\n"
    other = "ec" if kind == "rsa" else "rsa"
    _, said = ours("--key", ca.at(other + ".id"), "open", stdin=der, fails=True)
    assert "none of the keys" in said


def test_opens_openssl_at_once_signed_and_sealed(ca):
    """openssl's own MIME: signed inside, sealed around it; two calls open it."""
    inner = openssl("cms", "-sign", "-binary", "-outform", "DER", "-nodetach", "-signer", ca.at("rsa.pem"),
                    "-inkey", ca.at("rsa.key"), stdin=TEXT)
    der = openssl("cms", "-encrypt", "-binary", "-outform", "DER", "-aes256", ca.at("ec.pem"), stdin=inner)
    got, said = ours("--key", ca.at("ec.id"), "open", stdin=der)
    assert got == inner and said == "opened aes256-cbc\n"
    got, said = ours("--anchor", ca.at("ca.pem"), "open", stdin=got)
    assert got == TEXT and said.startswith("signature good rsa")


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_mime_entities(ca, kind):
    """What openssl's MIME reader makes of the entities."""
    signed, _ = ours("--key", ca.at(kind + ".id"), "mime-sign", who(kind), "=_b1", stdin=TEXT)
    got = openssl("cms", "-verify", "-inform", "SMIME", "-CAfile", ca.at("ca.pem"),
                  stdin=b"MIME-Version: 1.0\r\n" + signed)
    assert got.replace(b"\r\n", b"\n").rstrip() == TEXT.replace(b"\r\n", b"\n").rstrip()
    sealed, _ = ours("--cert", ca.at(kind + ".pem"), "mime-encrypt", "auto", who(kind), stdin=signed)
    got = openssl("cms", "-decrypt", "-inform", "SMIME", "-binary", "-recip", ca.at(kind + ".pem"),
                  "-inkey", ca.at(kind + ".key"), stdin=b"MIME-Version: 1.0\r\n" + sealed)
    assert got == signed
    opaque, _ = ours("--key", ca.at(kind + ".id"), "mime-sign", who(kind), stdin=TEXT)
    got = openssl("cms", "-verify", "-inform", "SMIME", "-binary", "-CAfile", ca.at("ca.pem"),
                  stdin=b"MIME-Version: 1.0\r\n" + opaque)
    assert got == TEXT


# ---- keys and certificates -------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("style", [[], ["-legacy"], ["-legacy", "-descert"], ["-keypbe", "NONE", "-certpbe", "NONE"], ["-nomac"]])
def test_imports_pkcs12(ca, kind, style, tmp_path):
    p12 = tmp_path / "x.p12"
    openssl("pkcs12", "-export", "-inkey", ca.at(kind + ".key"), "-in", ca.at(kind + ".pem"), "-certfile", ca.at("ca.pem"),
            "-passout", "pass:pw", "-out", p12, *style)
    got, _ = ours("--password", "pw", "--p12", p12, "list")
    assert f"{kind}\t".encode() in got and b"secret signs seals" in got and b"Interop CA" in got
    if style != ["-keypbe", "NONE", "-certpbe", "NONE"]:
        _, said = ours("--password", "no", "--p12", p12, "list", fails=True)
        assert "the password is wrong" in said


@pytest.mark.parametrize("style", [["-aes256"], ["-des3"], ["-traditional"], ["-traditional", "-aes128"]])
def test_imports_keys(ca, style, tmp_path):
    key = tmp_path / "key"
    openssl("rsa", "-in", ca.at("rsa.key"), "-passout", "pass:pw", "-out", key, *style)
    got, _ = ours("--cert", ca.at("rsa.pem"), "--password", "pw", "--key", key, "list")
    assert b"secret" in got


@pytest.mark.parametrize("form", ["p12", "p12-legacy"])
def test_exports_pkcs12(ca, form, tmp_path):
    got, _ = ours("--anchor", ca.at("ca.pem"), "--key", ca.at("rsa.id"), "export", who("rsa"), form, "pw")
    pem = openssl("pkcs12", "-nodes", "-passin", "pass:pw", *(["-legacy"] if form == "p12-legacy" else []), stdin=got)
    assert pem.count(b"BEGIN CERTIFICATE") == 2 and b"BEGIN PRIVATE KEY" in pem


def test_request(ca, tmp_path):
    """Made by us, certified by openssl, used with the key that was there."""
    identity, _ = ours("--password", "pw", "generate", "new@a.test", "New", "rsa")
    (tmp_path / "id").write_bytes(identity)
    request, _ = ours("--password", "pw", "--key", tmp_path / "id", "request", "new@a.test")
    text = openssl("req", "-verify", "-noout", "-text", stdin=request)
    assert b"email:new@a.test" in text and b"E-mail Protection" in text
    cert = openssl("x509", "-req", "-CA", ca.at("ca.pem"), "-CAkey", ca.at("ca.key"), "-days", "20", "-copy_extensions", "copy",
                   stdin=request)
    (tmp_path / "cert").write_bytes(cert)
    der, _ = ours("--cert", tmp_path / "cert", "encrypt", "auto", "new@a.test", stdin=TEXT)
    got, _ = ours("--cert", tmp_path / "cert", "--password", "pw", "--key", tmp_path / "id", "open", stdin=der)
    assert got == TEXT


# ---- revocation by a real responder and openssl ca ----------------------------------------------------------

def test_ocsp_responder(ca, tmp_path):
    ca.issue("gone", "ec")
    ca.issue("ocsp", "ec", "ocsp")
    index = ""
    for name, state in (("ec", "V"), ("gone", "R")):
        serial = openssl("x509", "-in", ca.at(name + ".pem"), "-noout", "-serial").decode().split("=")[1].strip()
        index += f"{state}\t350101000000Z\t{'250101000000Z,keyCompromise' if state == 'R' else ''}\t{serial}\tunknown\t/CN={name}\n"
    (tmp_path / "index").write_text(index)
    port = ports.pick()
    said = open(tmp_path / "said", "w+", encoding="ascii")
    responder = subprocess.Popen(
        ["openssl", "ocsp", "-index", str(tmp_path / "index"), "-CA", ca.at("ca.pem"), "-rsigner", ca.at("ocsp.pem"),
         "-rkey", ca.at("ocsp.key"), "-port", str(port), "-nmin", "5", "-ignore_err"],
        stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        # A connection that brings no request would keep it for itself.
        wait_for(lambda: "waiting" in (tmp_path / "said").read_text(), 20, what="the responder")
        for name, hard in (("ec", ""), ("gone", "revoked")):
            request, _ = ours("--anchor", ca.at("ca.pem"), "--cert", ca.at(name + ".pem"), "ocsp-request", who(name))
            (tmp_path / "request").write_bytes(request)
            ask = urllib.request.Request(f"http://127.0.0.1:{port}/", data=request,
                                         headers={"Content-Type": "application/ocsp-request"})
            with urllib.request.urlopen(ask, timeout=20) as r:
                (tmp_path / "answer").write_bytes(r.read())
            args = ["--anchor", ca.at("ca.pem"), "--cert", ca.at(name + ".pem"), "--hard"]
            _, words = ours(*args, "check", who(name), "sign", fails=True)
            assert "nobody can say" in words
            _, words = ours(*args, "--ocsp", tmp_path / "answer", "check", who(name), "sign", fails=bool(hard))
            assert ("was revoked" if hard else "it is good") in words
    finally:
        responder.terminate()
        responder.wait(10)
        said.close()


def test_crl_of_openssl(ca, tmp_path):
    ca.issue("left", "ec")
    (tmp_path / "index").write_text("")
    (tmp_path / "number").write_text("01\n")
    (tmp_path / "conf").write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={tmp_path}/index\ncrlnumber={tmp_path}/number\n"
                                   "default_md=sha256\ndefault_crl_days=5\n")
    common = ["-config", tmp_path / "conf", "-cert", ca.at("ca.pem"), "-keyfile", ca.at("ca.key")]
    openssl("ca", *common, "-revoke", ca.at("left.pem"))
    openssl("ca", *common, "-gencrl", "-out", tmp_path / "crl")
    for name in ("left", "ec"):
        _, said = ours("--anchor", ca.at("ca.pem"), "--cert", ca.at(name + ".pem"), "--crl", tmp_path / "crl", "--hard",
                       "check", who(name), "sign", fails=name == "left")
        assert ("was revoked" if name == "left" else "it is good") in said


# ---- GnuPG -------------------------------------------------------------------------------------------------

def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="module")
def gpgsm(ca, tmp_path_factory):
    """A GnuPG home that trusts the CA and holds rsa's key, brought there in our legacy PKCS#12."""
    need("gpgsm")
    home = str(tmp_path_factory.mktemp("gnupg"))
    os.chmod(home, 0o700)
    digest = openssl("x509", "-in", ca.at("ca.pem"), "-noout", "-fingerprint", "-sha1").decode().split("=")[1].strip()
    for name, text in (("gpgsm.conf", "disable-crl-checks\n"), ("trustlist.txt", digest + " S relax\n"),
                       ("gpg-agent.conf", "allow-loopback-pinentry\n")):
        with open(os.path.join(home, name), "w", encoding="ascii") as f:
            f.write(text)

    def call(*args, stdin=b"", password="pw", fails=False):
        return run("gpgsm", "--homedir", home, "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase-fd", "0",
                   "--no-tty", *args, stdin=password.encode() + b"\n" + stdin, fails=fails).stdout

    p12, _ = ours("--anchor", ca.at("ca.pem"), "--key", ca.at("rsa.id"), "export", who("rsa"), "p12-legacy", "pw")
    path = os.path.join(home, "rsa.p12")
    with open(path, "wb") as f:
        f.write(p12)
    call("--import", ca.at("ca.pem"))
    call("--import", path)
    yield call
    run("gpgconf", "--homedir", home, "--kill", "all")


def test_gpgsm_opens(ca, gpgsm, tmp_path):
    der, _ = ours("--cert", ca.at("rsa.pem"), "encrypt", "auto", who("rsa"), stdin=TEXT)
    (tmp_path / "m").write_bytes(der)
    assert gpgsm("--decrypt", tmp_path / "m") == TEXT


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_gpgsm_verifies(ca, gpgsm, kind, tmp_path):
    (tmp_path / "t").write_bytes(TEXT)
    der, _ = ours("--key", ca.at(kind + ".id"), "sign", who(kind), stdin=TEXT)
    (tmp_path / "s").write_bytes(der)
    gpgsm("--verify", tmp_path / "s", tmp_path / "t")
    (tmp_path / "t").write_bytes(TEXT + b"x")
    gpgsm("--verify", tmp_path / "s", tmp_path / "t", fails=True)
    der, _ = ours("--key", ca.at(kind + ".id"), "sign", who(kind), "opaque", stdin=TEXT)
    (tmp_path / "s").write_bytes(der)
    gpgsm("--verify", tmp_path / "s")


def test_reads_gpgsm(ca, gpgsm, tmp_path):
    (tmp_path / "t").write_bytes(TEXT)
    der = gpgsm("--encrypt", "--recipient", who("rsa"), "--output", "-", tmp_path / "t")
    got, said = ours("--key", ca.at("rsa.id"), "open", stdin=der)
    assert got == TEXT and re.match("opened aes(128|256)-cbc", said)
    der = gpgsm("--detach-sign", "--local-user", who("rsa"), "--output", "-", tmp_path / "t")
    (tmp_path / "s").write_bytes(der)
    _, said = ours("--anchor", ca.at("ca.pem"), "verify", tmp_path / "s", stdin=TEXT)
    assert said.startswith("signature good rsa")
    der = gpgsm("--sign", "--local-user", who("rsa"), "--output", "-", tmp_path / "t")
    got, said = ours("--anchor", ca.at("ca.pem"), "open", stdin=der)
    assert got == TEXT and said.startswith("signature good rsa")


def test_imports_from_gpgsm(ca, gpgsm, tmp_path):
    p12 = gpgsm("--export-secret-key-p12", who("rsa"))
    (tmp_path / "p12").write_bytes(p12)
    got, _ = ours("--password", "pw", "--p12", tmp_path / "p12", "list")
    assert b"rsa\t" in got and b"secret" in got


# ---- NSS ---------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def nss(ca, tmp_path_factory):
    """An NSS database with rsa's and ec's keys, brought there in our modern PKCS#12."""
    need("cmsutil")
    home = str(tmp_path_factory.mktemp("nss"))
    run("certutil", "-N", "-d", home, "--empty-password")
    run("certutil", "-A", "-d", home, "-n", "ca", "-t", "CT,C,C", "-i", ca.at("ca.pem"))
    for kind in ("rsa", "ec"):
        p12, _ = ours("--anchor", ca.at("ca.pem"), "--key", ca.at(kind + ".id"), "export", who(kind), "p12", "pw")
        path = os.path.join(home, kind + ".p12")
        with open(path, "wb") as f:
            f.write(p12)
        run("pk12util", "-d", home, "-i", path, "-W", "pw", "-K", "")
    return home


def test_nss_reads(ca, nss, tmp_path):
    der, _ = ours("--cert", ca.at("rsa.pem"), "encrypt", "auto", who("rsa"), stdin=TEXT)
    (tmp_path / "m").write_bytes(der)
    run("cmsutil", "-D", "-d", nss, "-i", tmp_path / "m", "-o", tmp_path / "o")
    assert (tmp_path / "o").read_bytes() == TEXT
    (tmp_path / "t").write_bytes(TEXT)
    for kind in ("rsa", "ec"):
        der, _ = ours("--key", ca.at(kind + ".id"), "sign", who(kind), stdin=TEXT)
        (tmp_path / "s").write_bytes(der)
        run("cmsutil", "-D", "-d", nss, "-h", "0", "-i", tmp_path / "s", "-c", tmp_path / "t", "-o", tmp_path / "o")
        assert b"GoodSignature" in (tmp_path / "o").read_bytes()
        der, _ = ours("--key", ca.at(kind + ".id"), "sign", who(kind), "opaque", stdin=TEXT)
        (tmp_path / "s").write_bytes(der)
        run("cmsutil", "-D", "-d", nss, "-h", "0", "-i", tmp_path / "s", "-o", tmp_path / "o")
        assert b"GoodSignature" in (tmp_path / "o").read_bytes()


def test_reads_nss(ca, nss, tmp_path):
    (tmp_path / "t").write_bytes(TEXT)
    run("cmsutil", "-E", "-d", nss, "-r", who("rsa"), "-i", tmp_path / "t", "-o", tmp_path / "m")
    got, said = ours("--key", ca.at("rsa.id"), "open", stdin=(tmp_path / "m").read_bytes())
    assert got == TEXT and re.match("opened aes(128|256)-cbc", said)
    for kind in ("rsa", "ec"):
        run("cmsutil", "-S", "-d", nss, "-N", kind, "-T", "-G", "-H", "SHA256", "-i", tmp_path / "t", "-o", tmp_path / "s")
        _, said = ours("--anchor", ca.at("ca.pem"), "--cert", ca.at(kind + ".pem"), "verify", tmp_path / "s", stdin=TEXT)
        assert said.startswith("signature good " + kind), said


# ---- RFC 9216 ----------------------------------------------------------------------------------------------

SUITE = testdata("smime-rfc9216")
RFC_NOW = "1640995200"  # 2022-01-01: within the time of all certificates


def suite(start):
    if not SUITE:
        pytest.skip("the suite smime-rfc9216 is not there")
    return os.path.join(SUITE, next(f for f in os.listdir(SUITE) if f.startswith(start)))


def suite_der(start, tmp_path):
    lines = open(suite(start), encoding="ascii").read().splitlines()
    path = tmp_path / (start + ".der")
    path.write_bytes(base64.b64decode("".join(line for line in lines if not line.startswith("-"))))
    return path


PEOPLE = {"alice": "4", "bob": "5", "carlos": "7", "dana": "8"}


@pytest.mark.parametrize("name", PEOPLE)
def test_rfc9216_certificates(name):
    """Each signs or seals as its usage says, under its own root and under the other by the cross certificate."""
    n = PEOPLE[name]
    ed = name in ("carlos", "dana")
    address = name + "@smime.example"
    own, cross, other = ("6.1", "6.3", "3.1") if ed else ("3.1", "3.3", "6.1")
    for root, more in ((own, []), (other, ["--cert", suite(cross)])):
        _, said = ours("--anchor", suite(root), *more, "--cert", suite(n + ".1"), "check", address, "sign", now=RFC_NOW)
        assert said.startswith("it is good")
    _, said = ours("--anchor", suite(own), "--cert", suite(n + ".1"), "check", address, "sign", "mallory@smime.example",
                   fails=True, now=RFC_NOW)
    assert "does not speak for" in said
    got, _ = ours("--cert", suite(n + ".3"), "list", now=RFC_NOW)
    if ed:  # X25519 in CMS (RFC 8418) is what libcrypto 3.0 lacks
        assert b"x25519" in got and b"seals" not in got
    else:
        _, said = ours("--anchor", suite(own), "--cert", suite(n + ".3"), "check", address, "encrypt", now=RFC_NOW)
        assert said.startswith("it is good")


@pytest.mark.parametrize("name", PEOPLE)
def test_rfc9216_keys(name, tmp_path):
    n = PEOPLE[name]
    got, _ = ours("--cert", suite(n + ".1"), "--key", suite(n + ".2"), "list", now=RFC_NOW)
    assert b"secret signs" in got
    if name in ("carlos", "dana"):
        _, said = ours("--cert", suite(n + ".3"), "--key", suite(n + ".4"), "list", now=RFC_NOW, fails=True)
        assert "not supported" in said
        _, said = ours("--cert", suite(n + ".1"), "--key", suite(n + ".2"), "sign", name + "@smime.example", stdin=TEXT,
                       now=RFC_NOW, fails=True)
        assert "not meant for this" in said
        return
    address = name + "@smime.example"
    der, _ = ours("--cert", suite(n + ".3"), "encrypt", "cbc", address, stdin=TEXT, now=RFC_NOW)
    got, _ = ours("--cert", suite(n + ".3"), "--key", suite(n + ".4"), "open", stdin=der, now=RFC_NOW)
    assert got == TEXT
    der, _ = ours("--cert", suite(n + ".1"), "--key", suite(n + ".2"), "sign", address, "opaque", stdin=TEXT, now=RFC_NOW)
    got, said = ours("--anchor", suite("3.1"), "open", stdin=der, now=RFC_NOW)
    assert got == TEXT and said.startswith("signature good")


@pytest.mark.parametrize("name", PEOPLE)
def test_rfc9216_pkcs12(name, tmp_path):
    p12 = suite_der(PEOPLE[name] + ".5", tmp_path)
    got, _ = ours("--password", name, "--p12", p12, "list", now=RFC_NOW)
    lines = [line for line in got.decode().splitlines() if name + "@smime.example" in line]
    assert len(lines) == 2, got
    assert sum("secret" in line for line in lines) == (1 if name in ("carlos", "dana") else 2)
    _, said = ours("--password", "mallory", "--p12", p12, "list", now=RFC_NOW, fails=True)
    assert "the password is wrong" in said


@pytest.mark.parametrize("ca_key", ["3.2", "6.2"])
def test_rfc9216_authorities(ca_key):
    cert = {"3.2": "3.1", "6.2": "6.1"}[ca_key]
    got, _ = ours("--cert", suite(cert), "--key", suite(ca_key), "list", now=RFC_NOW)
    assert b"secret" in got and b"ca" in got


def test_rfc9216_two_certificates(tmp_path):
    """Alice signs with one certificate and is written to with another: a reader of her letter has both, and seals
    to the right one."""
    names = {n: suite(n) for n in ("3.1", "4.1", "4.2", "4.3", "4.4")}
    for key, cert in (("4.2", "4.1"), ("4.4", "4.3")):
        (tmp_path / key).write_text(open(names[key], encoding="ascii").read() + open(names[cert], encoding="ascii").read())
    entity, _ = ours("--key", tmp_path / "4.2", "--key", tmp_path / "4.4", "mime-sign", "alice@smime.example", "b",
                     stdin=TEXT)
    reader = Reader(str(tmp_path / "reader"))
    with open(names["3.1"], "rb") as f:
        reader.know(f.read(), "verified")
    letter = b"From: alice@smime.example\r\nTo: bob@smime.example\r\nMIME-Version: 1.0\r\n" + entity
    p = reader.read(letter, keep=True)
    assert b"Proven:      yes" in p.stdout, p.stdout + p.stderr
    listed = run(LETTERLOCK, "keys", "list", "--store", reader.store, "--json", "alice@smime.example").stdout.decode()
    for cert in ("4.1", "4.3"):
        print_ = openssl("x509", "-in", names[cert], "-noout", "-fingerprint", "-sha256").decode()
        assert print_.split("=")[1].strip().replace(":", "").lower() in listed, listed
