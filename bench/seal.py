"""Letters sealed (signed and encrypted) and opened (decrypted and verified) a second: the library
(seal.c) with its keys at hand, and the programs that people call, a process for each letter."""
import atexit
import functools
import os
import subprocess
import tempfile
import time

from servers import BIN

PROGRAM = os.path.join(BIN, "bench-seal")
SIZES = {"10kB": 10_000, "10MB": 10_000_000}
USER = "bench@bench.test"


class Program:
    """One that people call, a process for each letter."""

    def rate(self, work, size, seconds):
        text = letter(SIZES[size])
        given, call = (text, self.seal) if work.endswith("-seal") else (self.seal(text), self.open)
        n, begin = 0, time.monotonic()
        while time.monotonic() < begin + seconds:
            if call(given) == b"":
                raise AssertionError(f"{work}: nothing came out")
            n += 1
        return n / (time.monotonic() - begin)

    def close(self):
        pass


class Gpg(Program):
    """A home of GnuPG with one key, which ours is a copy of; its agent runs as long as it."""

    works = ("pgp-seal", "pgp-open")

    def __init__(self, folder):
        self.home = os.path.join(folder, "gpg")
        os.mkdir(self.home, 0o700)
        self("--passphrase", "", "--quick-gen-key", USER, "future-default", "default", "never")
        with open(os.path.join(folder, "pgp.key"), "wb") as f:
            f.write(self("--export-secret-keys", USER))

    def __call__(self, *args, stdin=b""):
        return subprocess.run(["gpg", "--homedir", self.home, "--batch", "--yes", "--quiet", "--no-tty",
                               "--trust-model", "always", "--pinentry-mode", "loopback", *args],
                              input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=True).stdout

    def seal(self, letter):
        return self("--armor", "--compress-algo", "none", "-r", USER, "-u", USER, "--sign", "--encrypt",
                    stdin=letter)

    def open(self, sealed):
        return self("--decrypt", stdin=sealed)

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False)


class Openssl(Program):
    """openssl cms with an RSA key of 3072 bits, which ours is a copy of: it signs, and seals that."""

    works = ("smime-seal", "smime-open")

    def __init__(self, folder):
        self.pem = os.path.join(folder, "smime.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-keyout", self.pem, "-out",
                        self.pem + ".crt", "-days", "2", "-subj", "/CN=" + USER, "-addext",
                        "subjectAltName=email:" + USER], check=True, stderr=subprocess.DEVNULL)
        with open(self.pem, "ab") as out, open(self.pem + ".crt", "rb") as crt:
            out.write(crt.read())

    def __call__(self, *args, stdin=b""):
        return subprocess.run(["openssl", "cms", "-binary", *args], input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=True).stdout

    def seal(self, letter):
        signed = self("-sign", "-nodetach", "-signer", self.pem, "-outform", "DER", stdin=letter)
        return self("-encrypt", "-aes256", "-outform", "DER", self.pem + ".crt", stdin=signed)

    def open(self, sealed):
        signed = self("-decrypt", "-recip", self.pem, "-inform", "DER", stdin=sealed)
        return self("-verify", "-CAfile", self.pem + ".crt", "-inform", "DER", stdin=signed)


class Libcrypto:
    """The same operations in one process, without a check of the certificate (seal.c)."""

    works = Openssl.works

    def __init__(self, folder):
        self.folder = folder

    def rate(self, work, size, seconds):
        return by_program(self.folder, work.replace("smime", "bare"), size, seconds)

    def close(self):
        pass


PEERS = {"gpg": Gpg, "openssl": Openssl, "libcrypto": Libcrypto}
WORKS = list(dict.fromkeys(w for peer in PEERS.values() for w in peer.works))


class Folder:
    """The keys of the whole run; they go with it, and so do the agents."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="bench-seal-")
        self.peers = {name: peer(self.dir.name) for name, peer in PEERS.items()}
        for peer in self.peers.values():
            atexit.register(peer.close)


@functools.lru_cache
def folder():
    return Folder()


def letter(octets):
    line = b"The quick brown fox jumps over the lazy dog, as foxes do in letters.\r\n"
    head = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    return head + line * (-(-(octets - len(head)) // len(line)))


def by_program(folder, work, size, seconds):
    p = subprocess.run([PROGRAM, f"{work}/{size}", folder, str(seconds)], capture_output=True, text=True)
    if p.returncode:
        raise AssertionError(p.stderr.strip())
    _, n, _, took = p.stdout.split()
    return float(n) / float(took)


def seal(make, seconds):
    peer = folder().peers.get(make.name)
    for work in peer.works if peer else WORKS:
        for size in SIZES:
            rate = peer.rate(work, size, seconds) if peer else by_program(folder().dir.name, work, size, seconds)
            yield f"{work}/{size}", "letters/s", rate
