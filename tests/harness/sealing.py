"""People with keys of GnuPG and OpenSSL, who seal and sign letters as their programs do; and the
store of the one who reads them."""
import os
import pty
import select
import subprocess
import tempfile

from harness.server import BUILD, LETTERLOCK

PUT_KEY = os.path.join(BUILD, "tests/tool/put-key")


def run(*args, **kw):
    kw.setdefault("timeout", 60)
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
    assert p.returncode == 0, (args, p.stderr.decode(errors="replace"))
    return p.stdout


def crlf(text):
    if isinstance(text, str):
        text = text.encode()
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class Gpg:
    """A GnuPG home with some people's keys."""

    def __init__(self, home):
        self.home = home
        os.makedirs(home, mode=0o700)
        self.put("gpg.conf", "batch\nno-tty\nquiet\ntrust-model always\npinentry-mode loopback\n")
        self.put("gpg-agent.conf", "allow-loopback-pinentry\n")

    def put(self, name, text):
        with open(os.path.join(self.home, name), "w", encoding="utf-8") as f:
            f.write(text)

    def __call__(self, *args, **kw):
        return run("gpg", "--homedir", self.home, *args, **kw)

    def close(self):
        run("gpgconf", "--homedir", self.home, "--kill", "all")

    def make(self, user_id, expire="0", password="", at=None):
        clock = ["--faked-system-time", at] if at else []
        self(*clock, "--passphrase", password, "--quick-gen-key", user_id, "ed25519", "sign",
             expire)
        fpr = self.fingerprint(user_id)
        self(*clock, "--passphrase", password, "--quick-add-key", fpr, "cv25519", "encr", expire)
        return fpr

    def fingerprint(self, user):
        for line in self("--with-colons", "--list-keys", user).decode().splitlines():
            if line.startswith("fpr:"):
                return line.split(":")[9]
        raise AssertionError(user)

    def public(self, user):
        return self("--armor", "--export", user)

    def secret(self, user, password=""):
        return self("--passphrase", password, "--armor", "--export-secret-keys", user)

    def sign(self, text, *users, clock=None):
        args = [a for u in users for a in ("-u", u)]
        return self(*(["--faked-system-time", clock] if clock else []), "--armor", "--detach-sign",
                    *args, input=crlf(text))

    def encrypt(self, text, to, *signers, options=()):
        args = [a for u in signers for a in ("-u", u)] + (["--sign"] if signers else [])
        return self(*options, "--armor", "--encrypt", *[a for t in to for a in ("-r", t)], *args,
                    input=crlf(text))


class Ca:
    """A certificate authority, and certificates of people, by openssl(1)."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        self.cert, self.key = self.path("ca.crt"), self.path("ca.key")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out",
            self.cert, "-subj", "/CN=Test CA", "-days", "30",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, name, address, days="20", issued=True, subject=""):
        """Returns (certificate, key)."""
        cert, key, csr, ext = (self.path(f"{name}.{e}") for e in ("crt", "key", "csr", "ext"))
        with open(ext, "w", encoding="utf-8") as f:
            f.write("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=emailProtection\n"
                    "keyUsage=critical,digitalSignature,keyEncipherment\n"
                    "subjectKeyIdentifier=hash\n" + ("authorityKeyIdentifier=keyid\n" if issued else "") +
                    f"subjectAltName=email:{address}\n")
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", csr, "-subj",
            f"/CN={name}{subject}")
        by = ["-CA", self.cert, "-CAkey", self.key] if issued else ["-signkey", key]
        run("openssl", "x509", "-req", "-in", csr, *by, "-set_serial", "0x" + os.urandom(8).hex(),
            "-days", days, "-extfile", ext, "-out", cert)
        return cert, key

    def sign(self, text, who, detached=True):
        """Detached or opaque SignedData, DER."""
        cert, key = who
        return run("openssl", "cms", "-sign", "-binary", "-outform", "DER", "-signer", cert,
                   "-inkey", key, *([] if detached else ["-nodetach"]), input=crlf(text))

    def encrypt(self, text, cert, cipher="-aes-256-cbc"):
        return run("openssl", "cms", "-encrypt", "-binary", "-outform", "DER", cipher, cert,
                   input=crlf(text))


class Reader:
    """The one who reads, with a store of keys."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, mode=0o700)
        self.store = os.path.join(folder, "keys.db")

    def know(self, octets, trust="undecided", key=None):
        with tempfile.NamedTemporaryFile(dir=self.folder) as f:
            f.write(octets)
            f.flush()
            return run(PUT_KEY, self.store, trust, f.name, *([key] if key else [])).decode().split()

    def read(self, letter, *args, keep=False, where="-", **kw):
        env = dict(os.environ, HOME=self.folder, XDG_DATA_HOME=self.folder,
                   XDG_CONFIG_HOME=self.folder)
        return subprocess.run(
            [LETTERLOCK, "read", "--store", self.store, *([] if keep else ["--no-keep"]), *args, where],
            input=letter, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=60, **kw)


# ---- letters -----------------------------------------------------------------------------------

def header(**fields):
    fields = {"From": "Alice <alice@example.org>", "To": "Bob <bob@example.net>",
              "Date": "Thu, 26 Nov 2026 01:02:03 +0000", "Subject": "Lunch",
              "Message-ID": "<1@example.org>", **fields}
    return "".join(f"{k.replace('_', '-')}: {v}\n" for k, v in fields.items() if v is not None) + \
        "MIME-Version: 1.0\n"


def text(t="Lunch at noon?", **params):
    more = "".join(f"; {k.replace('_', '-')}={v}" for k, v in params.items())
    return f"Content-Type: text/plain; charset=utf-8{more}\n\n{t}\n"


def html(t):
    return f"Content-Type: text/html; charset=utf-8\n\n{t}\n"


def multi(subtype, *parts, boundary="b1", params=""):
    return (f'Content-Type: multipart/{subtype}; boundary="{boundary}"{params}\n\n' +
            "".join(f"--{boundary}\n{p}\n" for p in parts) + f"--{boundary}--\n")


def base64(octets):
    import base64 as b
    return b.encodebytes(octets).decode()


def signed(part, signature, boundary="sig", kind="pgp"):
    """multipart/signed: the part is what was signed, without a line end at its end."""
    protocol = {"pgp": "pgp-signature", "smime": "pkcs7-signature"}[kind]
    sig = signature.decode() if kind == "pgp" else \
        f"Content-Transfer-Encoding: base64\n\n{base64(signature)}"
    return multi("signed", part, f"Content-Type: application/{protocol}\n" +
                 ("\n" if kind == "pgp" else "") + sig, boundary=boundary,
                 params=f'; protocol="application/{protocol}"; micalg=pgp-sha256')


def encrypted(armor, boundary="enc"):
    return multi("encrypted", "Content-Type: application/pgp-encrypted\n\nVersion: 1\n",
                 f"Content-Type: application/octet-stream\n\n{armor.decode()}", boundary=boundary,
                 params='; protocol="application/pgp-encrypted"')


def cms(der, kind="enveloped-data"):
    return (f"Content-Type: application/pkcs7-mime; smime-type={kind}; name=smime.p7m\n"
            f"Content-Transfer-Encoding: base64\n\n{base64(der)}")


class Mutt:
    """mutt(1) with GnuPG (through GPGME), that writes what it would send into a file."""

    def __init__(self, folder, gnupg, address):
        self.folder, self.gnupg, self.address = folder, gnupg, address
        os.makedirs(folder)
        os.mkdir(os.path.join(folder, "Mail"))
        self.sent = os.path.join(folder, "sent")
        self.put("sendmail", f"#!/bin/sh\ncat > {self.sent}\n", 0o755)

    def put(self, name, text, mode=0o600):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def letter(self, to, body, **settings):
        rc = self.put("muttrc", "".join(f"set {k}={v}\n" for k, v in {
            "from": f'"{self.address}"', "use_from": "yes", "realname": '"Alice"', "copy": "no",
            "sendmail": f'"{self.folder}/sendmail"', "sendmail_wait": "0", "crypt_use_gpgme": "yes",
            "hostname": "example.org", "use_envelope_from": "no", "editor": "true",
            "abort_unmodified": "no", "fast_reply": "yes", "edit_headers": "no", **settings}.items()))
        text = self.put("body", body)
        env = dict(os.environ, HOME=self.folder, GNUPGHOME=self.gnupg.home, TERM="xterm")
        # Without a terminal mutt neither signs nor encrypts: it gets one, and answers.
        pid, tty = pty.fork()
        if pid == 0:
            os.execvpe("mutt", ["mutt", "-n", "-F", rc, "-s", "Lunch", "-i", text, "--", to], env)
        try:
            self.answer(tty)
        finally:
            os.close(tty)
            _, status = os.waitpid(pid, 0)
        assert status == 0
        with open(self.sent, "rb") as f:
            return f.read()

    @staticmethod
    def answer(tty):
        seen, asked = b"", [(b"To: ", b"\n"), (b"y:Send", b"y"), (b"keys matching <", b"\n"),
                            (b"really want to use the key", b"y")]
        while select.select([tty], [], [], 20)[0]:
            try:
                more = os.read(tty, 4096)
            except OSError:
                return
            if not more:
                return
            seen += more
            for one in [a for a in asked if a[0] in seen]:
                asked.remove(one)
                os.write(tty, one[1])
        raise AssertionError(seen[-500:])


class Gpgsm:
    """GnuPG's S/MIME, with a CA that it trusts and one person's certificate."""

    def __init__(self, home, ca, who, password="x"):
        self.home = home
        os.makedirs(home, mode=0o700)
        cert, key = who
        p12 = os.path.join(home, "who.p12")
        self.put("gpgsm.conf", "disable-crl-checks\ndisable-dirmngr\nbatch\npinentry-mode loopback\n")
        self.put("gpg-agent.conf", "allow-loopback-pinentry\n")
        sha1 = run("openssl", "x509", "-in", ca.cert, "-noout", "-fingerprint", "-sha1").decode()
        self.put("trustlist.txt", sha1.split("=")[1].strip() + " S relax\n")
        run("openssl", "pkcs12", "-export", "-legacy", "-inkey", key, "-in", cert, "-out", p12,
            "-passout", f"pass:{password}")
        self("--import", ca.cert)
        self("--passphrase-fd", "0", "--import", p12, input=password.encode() + b"\n")

    def put(self, name, text):
        with open(os.path.join(self.home, name), "w", encoding="utf-8") as f:
            f.write(text)

    def __call__(self, *args, **kw):
        return run("gpgsm", "--homedir", self.home, *args, **kw)

    def close(self):
        run("gpgconf", "--homedir", self.home, "--kill", "all")
