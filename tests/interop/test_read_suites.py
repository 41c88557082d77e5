"""Public suites of sealed letters, read with their own keys: e2e-kde-mimetreeparser (every letter has
a row) and autocrypt-kde. Old algorithms are in them on purpose: SHA-1 signatures count as weak, and
the RSA-1024 certificate is not used at all."""
import json
import os
import sqlite3
import tempfile

import pytest
from harness.sealing import Reader

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("LETTERLOCK_TESTDATA", os.path.join(TOP, "..", "shared", "testdata"))
KDE = os.path.join(DATA, "e2e-kde-mimetreeparser")
AUTOCRYPT = os.path.join(DATA, "autocrypt-kde")


def need(folder):
    if not os.path.isdir(folder):
        pytest.skip(f"{folder} is not there: set LETTERLOCK_TESTDATA")


def octets(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def know_kde(r):
    r.know(octets(KDE, "keys/openpgp-secret.asc"))
    r.know(octets(KDE, "keys/openpgp-public.asc"))
    for c in octets(KDE, "keys/smime-certs.pem").split(b"-----BEGIN CERT")[1:]:
        r.know(b"-----BEGIN CERT" + c, key=os.path.join(KDE, "keys/smime-secret.key.pem"))


@pytest.fixture(scope="module")
def kde():
    need(KDE)
    with tempfile.TemporaryDirectory(prefix="letterlock-suite-") as d:
        r = Reader(os.path.join(d, "reader"))
        know_kde(r)
        yield r


def summary(stdout):
    """"letter yes proven/good !warning: text, attachment; forwarded ..." """
    out = []
    for s in json.loads(stdout)["sections"]:
        words = [s["place"], s["sealed"]["state"]]
        words += [f"{g['verdict']}/{g['state']}" for g in s["signatures"]]
        words += ["!" + x["id"] for x in s["warnings"]]
        out.append(" ".join(words) + ": " + ", ".join(p["kind"] for p in s["parts"]))
        assert s["proven"] == ("proven" in [g["verdict"] for g in s["signatures"]] and
                               s["sealed"]["state"] != "closed")
    return "; ".join(out)


ROWS = {
    "8bitencoded.mbox": (0, "letter no: text, alternative"),
    "alternative-notext.mbox": (0, "letter no: html"),
    "alternative.mbox": (0, "letter no: text, alternative"),
    "applehtmlwithattachments.mbox": (0, "letter no: text, alternative, attachment"),
    "applehtmlwithattachmentsmixed.mbox": (0, "letter no: text, alternative, attachment"),
    "attachment.mbox": (0, "letter no: text, alternative, attachment"),
    "attachment2.mbox": (0, "letter no: text, alternative, attachment"),
    "cid-links-forwarded-inline.mbox": (0, "letter no: text, alternative, attachment"),
    "cid-links.mbox": (0, "letter no: text, alternative, attachment"),
    "crlf-encrypted-with-signature-multipart.mbox": (0, "letter yes: text"),
    "crlf-encrypted-with-signature.mbox": (0, "letter yes: text"),
    "encapsulated-with-attachment.mbox": (0,
        "letter no: text, section; forwarded no: text, attachment"),
    "forward-openpgp-signed-encrypted.mbox": (0,
        "letter no: text, section; forwarded no !sealed-forward: sealed"),
    "gmail-invitation.mbox": (0, "letter no: text, alternative, alternative, attachment"),
    "html.mbox": (0, "letter no: html"),
    "htmlonly.mbox": (0, "letter no: html"),
    "htmlonlyexternal.mbox": (0, "letter no: html"),
    "inlinepgpencrypted-appendix.mbox": (0, "letter no !armor: text"),
    "inlinepgpencrypted-error.mbox": (77, "letter closed !not-opened: "),
    "inlinepgpencrypted.mbox": (0, "letter yes: text"),
    "inlinepgpgencrypted-error.mbox": (77, "letter closed !not-opened: "),
    "invitation.mbox": (0, "letter no: text, alternative"),
    "listmessage.mbox": (0, "letter no: text"),
    "multirecipients.mbox": (0, "letter no: text"),
    "no-content-type.mbox": (0, "letter no: text"),
    "openpgp-encoded.mbox": (0, "letter no no-key/no-key !no-author: text"),
    "openpgp-encrypted+signed.mbox": (0, "letter yes proven/good: text"),
    "openpgp-encrypted-applemail.mbox": (0, "letter no: text, attachment, attachment"),
    "openpgp-encrypted-attachment-and-non-encrypted-attachment.mbox": (0,
        "letter no !wrapped: section, attachment; wrapped yes proven/good: text, attachment"),
    "openpgp-encrypted-attachment.mbox": (0, "letter yes proven/good: text, attachment"),
    "openpgp-encrypted-enigmail1.6.mbox": (0, "letter yes: text"),
    "openpgp-encrypted-memoryhole.mbox": (0, "letter yes: text"),
    "openpgp-encrypted-memoryhole2.mbox": (0, "letter yes !from-differs: text, alternative"),
    "openpgp-encrypted-noData.mbox": (0, "letter no !encrypted-form: sealed"),
    "openpgp-encrypted-non-encrypted-attachment.mbox": (0,
        "letter no !wrapped: section, attachment; wrapped yes proven/good: text"),
    "openpgp-encrypted-partially-signed-attachments.mbox": (0,
        "letter no !wrapped: section, section; wrapped yes invalid/weak: text, text; wrapped "
        "yes: text"),
    "openpgp-encrypted-signed-thunderbird.mbox": (0, "letter yes proven/good: text, attachment"),
    "openpgp-encrypted-two-attachments.mbox": (0, "letter yes: text, text, text"),
    "openpgp-encrypted.mbox": (0, "letter yes: text"),
    "openpgp-inline-charset-encrypted.mbox": (0, "letter yes other-address/good: text"),
    "openpgp-inline-encrypted+nonenc.mbox": (0, "letter no !armor: text"),
    "openpgp-inline-signed-broken.mbox": (77, "letter no broken/bad: text"),
    "openpgp-inline-signed.mbox": (0, "letter no proven/good: text"),
    "openpgp-inline-wrong-charset-encrypted.mbox": (0, "letter yes other-address/good: text"),
    "openpgp-multipart-embedded-signed.mbox": (0, "letter yes no-key/no-key: text"),
    "openpgp-multipart-embedded.mbox": (0, "letter yes: text"),
    "openpgp-signed-apple.mbox": (77, "letter no broken/bad: text, alternative, attachment"),
    "openpgp-signed-base64-mailman-footer.mbox": (0,
        "letter no !wrapped: section, text; wrapped no invalid/weak: text"),
    "openpgp-signed-encrypted-two-attachments.mbox": (0,
        "letter yes invalid/weak: text, text, text"),
    "openpgp-signed-encrypted.mbox": (0, "letter yes invalid/weak: text"),
    "openpgp-signed-mailinglist+additional-children.mbox": (0,
        "letter no !wrapped: section, text; wrapped no !signed-form: text, text"),
    "openpgp-signed-mailinglist+old.mbox": (0, "letter no: text"),
    "openpgp-signed-mailinglist.mbox": (0,
        "letter no !wrapped: section, text; wrapped no invalid/weak: text"),
    "openpgp-signed-no-protocol.mbox": (0, "letter no !no-author !signed-form: text, attachment"),
    "openpgp-signed-two-attachments.mbox": (0, "letter no invalid/weak: text, text, text"),
    "outlook.mbox": (0, "letter no: text, alternative"),
    "plaintext.mbox": (0, "letter no: text"),
    "plaintextattachment.mbox": (0, "letter no: text, alternative, attachment"),
    "signed-forward-openpgp-signed-encrypted.mbox": (0,
        "letter no invalid/weak: text, section; forwarded no !sealed-forward: sealed"),
    "smime-cert.mbox": (0, "letter no: attachment"),
    "smime-encrypted-octet-stream.mbox": (0, "letter unproven !unproven: text"),
    "smime-encrypted.mbox": (0, "letter unproven !unproven: text"),
    "smime-opaque-enc+sign.mbox": (0, "letter unproven invalid/weak !unproven: text"),
    "smime-opaque-sign.mbox": (0, "letter no invalid/weak: text"),
    "smime-opaque-signed-encrypted-attachment.mbox": (0, "letter unproven invalid/weak !unproven: text, attachment"),
    "smime-signed-apple.mbox": (77, "letter no broken/bad: text, alternative, attachment"),
    "smime-signed-encrypted.mbox": (0, "letter unproven invalid/weak !unproven: text"),
    "text+html-maillinglist.mbox": (0, "letter no: text, alternative, text"),
}
NO_LETTER = {"README", "msg.asc", "smime.p7m"}
SEVERAL = {"combined.mbox"}


def test_kde_is_complete(kde):
    names = set(os.listdir(os.path.join(KDE, "messages")))
    assert names == set(ROWS) | NO_LETTER | SEVERAL


@pytest.mark.parametrize("name", ROWS)
def test_kde(kde, name):
    p = kde.read(octets(KDE, "messages", name), "--json")
    status, want = ROWS[name]
    assert (p.returncode, summary(p.stdout)) == (status, want), p.stderr


@pytest.mark.parametrize("name", sorted(NO_LETTER))
def test_kde_no_letter(kde, name):
    assert kde.read(octets(KDE, "messages", name)).returncode == 65


def test_kde_texts(kde):
    """What the texts say: charsets, quoted-printable, HTML, and what was sealed."""
    for name, says in (("openpgp-encrypted+signed.mbox", "encrypted message text"),
                       ("openpgp-inline-signed.mbox", "ohno öäü"),
                       ("openpgp-inline-charset-encrypted.mbox", "asdasd asd asd asdf sadf sdaf sadf öäü"),
                       ("8bitencoded.mbox", "And: is it just pa"),
                       ("html.mbox", "HTML text"),
                       ("smime-opaque-sign.mbox", "A simple signed only test.")):
        out = kde.read(octets(KDE, "messages", name), "--width", "400").stdout.decode()
        assert says in out, (name, out)


# ---- Autocrypt ------------------------------------------------------------------------------------

def kept(reader):
    """Addresses with where their keys were found, and peers with whether they have a key."""
    if not os.path.exists(reader.store):
        return set(), {}
    with sqlite3.connect(reader.store) as db:
        keys = set(db.execute("SELECT a.address, f.source FROM addresses a JOIN found f ON f.key = a.key"))
        peers = {a: bool(k) for a, k in db.execute("SELECT address, fingerprint FROM peers")}
    return keys, peers


AUTOCRYPT_SOURCE = 7
ALICE = "alice@autocrypt.example"

AUTOCRYPT_ROWS = {  # letter: addresses that got a key, peers that were seen (with a key?)
    "alice_gossip.mbox": (77, {"bob@autocrypt.example"}, {"bob@autocrypt.example": True}),
    "composer-autocryptgossipheader.mbox": (0, set(), {}),
    "draft.mbox": (77, set(), {ALICE: False}),
    "gossipheader-nonencrypted.mbox": (0, set(), {ALICE: False}),
    "gossipheader.mbox": (77, {ALICE}, {ALICE: True}),
    "header.mbox": (0, {ALICE}, {ALICE: True}),
    "mdn.mbox": (0, set(), {}),
    "multiple_autocryptheaders.mbox": (0, set(), {ALICE: False}),
    "multiple_autocryptheaders_invalid.mbox": (0, set(), {ALICE: False}),
    "multiple_autocryptheaders_invalid_from.mbox": (0, set(), {ALICE: False}),
    "multiple_from.mbox": (0, set(), {}),
    "setupmessage.mbox": (0, set(), {ALICE: False}),
}


@pytest.mark.parametrize("name", AUTOCRYPT_ROWS)
def test_autocrypt(name):
    need(AUTOCRYPT)
    with tempfile.TemporaryDirectory(prefix="letterlock-suite-") as d:
        r = Reader(os.path.join(d, "reader"))
        p = r.read(octets(AUTOCRYPT, "messages", name), keep=True)
        assert p.returncode == AUTOCRYPT_ROWS[name][0], p.stderr
        keys, peers = kept(r)
        assert ({a for a, _ in keys}, peers) == AUTOCRYPT_ROWS[name][1:]
        assert {s for _, s in keys} <= {AUTOCRYPT_SOURCE}
        again = r.read(octets(AUTOCRYPT, "messages", name), keep=True)
        assert b"brings another" not in again.stdout and kept(r) == (keys, peers)
