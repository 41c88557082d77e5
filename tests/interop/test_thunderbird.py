"""Thunderbird reads what `letterlock send` seals and signs, and `letterlock read` what Thunderbird does.
It is large, so it is not among the packages that tests need: where it is not installed, nothing is
tested here."""
import os
import re
import shutil
import tempfile

import pytest
from harness.sealing import Ca, Gpg, Reader, crlf
from harness.sealing import run as program
from harness.server import LETTERLOCK, Server
from harness.thunderbird import Thunderbird

TEXT = "canary-4711-grün From the start"
ANN, BOB = "ann@alpha.test", "bob@alpha.test"
KINDS = ("pgp", "smime")
SIGNED = {"pgp": ("OpenPGP", "verified"), "smime": ("S/MIME", "ok")}  # its words for a good signature

pytestmark = pytest.mark.skipif(not all(shutil.which(p) for p in ("thunderbird", "gpg", "openssl")),
                                reason="thunderbird, gpg and openssl are the peers")


def subject(kind, how):
    return f"Real subject, {kind} {how}"


def octets(*paths):
    read = b""
    for path in paths:
        with open(path, "rb") as f:
            read += f.read()
    return read


@pytest.fixture(scope="module")
def people():
    """Keys of ann and bob: GnuPG's home, a CA, {address: (certificate, key)}."""
    with tempfile.TemporaryDirectory(prefix="ll-", dir="/tmp") as d:
        gpg, ca = Gpg(os.path.join(d, "gnupg")), Ca(os.path.join(d, "ca"))
        try:
            for user in (ANN, BOB):
                gpg.make(user)
            yield gpg, ca, {u: ca.make(u, u) for u in (ANN, BOB)}
        finally:
            gpg.close()


@pytest.fixture(scope="module")
def letters(people):
    """{(kind, how): a letter from ann to bob, as it came to his Maildir}."""
    gpg, _, certificates = people
    with Server("alpha.test", users=[ANN, BOB]) as server, tempfile.TemporaryDirectory(prefix="ll-") as home:
        def letterlock(*args, text=""):
            return program(LETTERLOCK, *args, input=text.encode(), cwd=home,
                           env={"HOME": home, "PATH": os.environ["PATH"]})

        keys = {"pgp": (gpg.secret(ANN), gpg.public(BOB)),
                "smime": (octets(*certificates[ANN]), octets(certificates[BOB][0]))}
        options = ["--no-find", "--server", f"localhost:{server.submissions}", "--tls", "implicit", "--ca",
                   os.path.join(server.home, "lib/keys/mx.alpha.test-ecdsa.crt"), "--user", ANN,
                   "--password-file", server.password_file, "--from", ANN, "--to", BOB]
        made = {}
        for kind in KINDS:
            store = ["--store", os.path.join(home, kind + ".db")]
            for n, key in enumerate(keys[kind]):
                path = os.path.join(home, f"{kind}{n}")
                with open(path, "wb") as f:
                    f.write(key)
                letterlock("keys", "import", *store, path)
            for how, what in (("sealed", ["--seal", kind]), ("signed", ["--sign"])):
                letterlock("send", *options, *store, *what, "--subject", subject(kind, how), text=TEXT + "\n")
                made[kind, how] = server.wait_mail(BOB, len(made) + 1)[-1]
        yield made


@pytest.fixture(scope="module")
def bob(people):
    gpg, ca, certificates = people
    with Thunderbird() as t:
        certificate, key = certificates[BOB]
        p12 = program("openssl", "pkcs12", "-export", "-passout", "pass:sesame", "-in", certificate, "-inkey", key)
        t.know_keys(gpg.secret(BOB), gpg.public(ANN))
        t.know_certificates(p12, "sesame", octets(ca.cert), octets(certificates[ANN][0]))
        yield t


@pytest.mark.parametrize("kind", KINDS)
def test_sealed(bob, letters, kind):
    """The hidden Subject is seen: in its place with OpenPGP, where Thunderbird 153 reads protected-headers="v1",
    and in the text (RFC 9788 5.2.4) with S/MIME, or in its place where a later one reads hp=."""
    letter = letters[kind, "sealed"]
    assert b"Real subject" not in letter and b"canary" not in letter
    seen = bob.show(letter, ["signed", "encrypted"])
    assert (seen["tech"], seen["signed"], seen["encrypted"]) == (*SIGNED[kind], "ok"), seen
    hidden = subject(kind, "sealed")
    copy = f"Subject: {hidden} {TEXT}"
    assert seen["text"] in (copy, TEXT), seen
    assert seen["subject"] == hidden or (kind == "smime" and (seen["subject"], seen["text"]) == ("[...]", copy)), seen


@pytest.mark.parametrize("kind", KINDS)
def test_signed(bob, letters, kind):
    letter = letters[kind, "signed"]
    seen = bob.show(letter, ["signed"])
    assert (seen["tech"], seen["signed"], seen["encrypted"]) == (*SIGNED[kind], None), seen
    assert seen["subject"] == subject(kind, "signed") and seen["text"] == TEXT, seen


@pytest.mark.parametrize("kind", KINDS)
def test_changed(bob, letters, kind):
    letter = letters[kind, "signed"]
    changed = letter.replace(b"the start", b"the stare")
    assert changed != letter
    seen = bob.show(changed, ["tech"])
    assert (seen["tech"], seen["signed"]) == (SIGNED[kind][0], None) and "the stare" in seen["text"], seen


@pytest.fixture(scope="module")
def ann(people):
    gpg, ca, certificates = people
    with tempfile.TemporaryDirectory(prefix="ll-") as d:
        reader = Reader(os.path.join(d, "ann"))
        reader.know(gpg.secret(ANN))
        reader.know(gpg.public(BOB), "verified")
        reader.know(octets(ca.cert), "verified")
        reader.know(octets(certificates[ANN][0]), key=certificates[ANN][1])
        yield reader


@pytest.mark.parametrize("seal", [True, False], ids=["sealed", "signed"])
@pytest.mark.parametrize("kind", KINDS)
def test_read(bob, ann, kind, seal):
    """Thunderbird hides the Subject with OpenPGP alone."""
    letter = bob.write_letter(kind, seal, BOB, ANN, f"An answer, {kind}", TEXT + "\n")
    p = ann.read(crlf(letter))
    said = " ".join(p.stdout.decode().split())
    assert p.returncode == 0 and "Proven: yes: the letter is from the address in From, and unchanged" in said, said
    assert f"Subject: An answer, {kind} " in said and f"| {TEXT}" in said, said
    assert f"Sealed: {'yes, with ' + SIGNED[kind][0] if seal else 'no'}" in said, said
    hidden = re.search("Hidden: (.*), with the text", said)
    # it writes no HP-Outer; what stood outside as well is not called hidden
    assert (hidden and hidden.group(1)) == ("Subject" if b"Subject: ...\r\n" in letter else None), said
    assert (b"Subject: ...\r\n" in letter) == (seal and kind == "pgp")
