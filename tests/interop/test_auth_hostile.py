"""Letters that were made to deceive or to cost: none passes DMARC for the victim, none asks for more
than it may. Questions are counted where they arrive, at the name server."""
import base64
import subprocess

import pytest
from harness.auth import Mails, run, txt, verify, wire
from harness.dnsserver import DnsServer

VICTIM = "victim.example"
EVIL = "evil.example"


@pytest.fixture(scope="module")
def mails():
    with Mails() as m:
        yield m


@pytest.fixture(scope="module")
def key(mails):
    """(path, public part) of a key that the attacker holds, for his own domain."""
    pem = mails.write(b"", "evil.pem")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", pem], check=True, timeout=30)
    der = subprocess.run(["openssl", "pkey", "-in", pem, "-pubout", "-outform", "DER"], check=True,
                         capture_output=True, timeout=30).stdout
    return pem, base64.b64encode(der[-32:]).decode()


def zone(public, *more):
    return [txt(f"_dmarc.{VICTIM}", "v=DMARC1; p=reject"), txt(VICTIM, "v=spf1 -all"),
            txt(f"s._domainkey.{EVIL}", f"v=DKIM1; k=ed25519; p={public}"),
            txt(EVIL, "v=spf1 ip4:192.0.2.1 -all"), *more]


def signed(mails, key, text, *args):
    """The letter with the attacker's own good signature."""
    return mails.sign(wire(text), "-d", EVIL, "-s", "s", "-k", key[0], *args)


def passes(result):
    return result["dmarc"]["result"] == "pass" and result["dmarc"].get("domain") == VICTIM


LETTER = f"From: Boss <boss@{VICTIM}>\nTo: you@example.net\nSubject: pay\n\nnow\n"


@pytest.mark.parametrize("name, head", [
    ("plain", f"From: boss@{VICTIM}"),
    ("two From fields", f"From: me@{EVIL}\nFrom: boss@{VICTIM}"),
    ("two From fields, turned", f"From: boss@{VICTIM}\nFrom: me@{EVIL}"),
    ("two mailboxes", f"From: me@{EVIL}, boss@{VICTIM}"),
    ("two mailboxes, turned", f"From: boss@{VICTIM}, me@{EVIL}"),
    ("a group", f"From: g:boss@{VICTIM};"),
    ("a group with us", f"From: me@{EVIL}, g:boss@{VICTIM};"),
    ("blank before the colon", f"From : boss@{VICTIM}\nFrom: me@{EVIL}"),
    ("folded name", f"From\n : boss@{VICTIM}\nFrom: me@{EVIL}"),
    ("folded address", f"From: boss@\n {VICTIM}"),
    ("display name", f"From: \"me@{EVIL}\" <boss@{VICTIM}>"),
    ("encoded word", f"From: =?utf-8?q?me=40{EVIL}?= <boss@{VICTIM}>"),
    ("comment", f"From: boss@{VICTIM} (me@{EVIL})"),
    ("quoted local part", f"From: \"me@{EVIL}\"@{VICTIM}"),
    ("route", f"From: <@{EVIL}:boss@{VICTIM}>"),
    ("sender", f"From: boss@{VICTIM}\nSender: me@{EVIL}"),
    ("capitals", f"FROM: boss@{VICTIM.upper()}"),
])
def test_from(mails, key, name, head):
    letter = signed(mails, key, f"From: me@{EVIL}\nSubject: x\n\nbody\n")
    letter = letter.replace(f"From: me@{EVIL}\r\n".encode(), wire(head + "\n"))
    with DnsServer(zone(key[1])) as d:
        for helo, sender in ((EVIL, f"me@{EVIL}"), (VICTIM, f"me@{EVIL}"), (EVIL, ""), (VICTIM, ""),
                             (f"{VICTIM}; dmarc=pass", f"\"x; spf=pass\"@{EVIL}")):
            r = verify(letter, "--resolver", d.address, "--ip", "192.0.2.1", "--helo", helo,
                       "--mail-from", sender)
            assert not passes(r), (name, helo, sender, r)
        if name.startswith("two") or name == "a group":
            assert r["dmarc"]["result"] == "permerror", r


@pytest.mark.parametrize("tag", [
    b"d=victim.example\0.evil.example", b"d=evil.example\0.victim.example", b"d=victim.example(.evil.example",
    b"d=victim.example (x).evil.example", b"d=victim.example,evil.example", b"d=victim.example;d=evil.example",
    b"d=evil.example; D=victim.example", b"d=victim.example/x", b"d=.victim.example", b"d=victim.example.",
    b"d=\"victim.example\"", b"d=victim.example\r\n .evil.example", b"d=*.victim.example", b"d=example",
    b"d=evil.example; i=@victim.example", b"d=evil.example; i=@victim.example@evil.example"])
@pytest.mark.parametrize("selector", [b"s=s", b"s=s\0x", b"s=s(x", b"s=s._domainkey.evil.example\0"])
def test_tags(mails, key, tag, selector):
    """The attacker's name server answers whatever is asked below evil.example."""
    letter = signed(mails, key, LETTER).replace(b"d=evil.example", tag, 1).replace(b"s=s;", selector + b";", 1)
    with DnsServer(zone(key[1])) as d:
        r = verify(letter, "--resolver", d.address)
        assert r["dkim"][0]["result"] != "pass" and not passes(r), r
        assert not [n for n, _ in d.asked if "\0" in n or "(" in n]


def test_length(mails, key):
    """l= signs a part of the body: never a pass, whatever is appended or not."""
    letter = signed(mails, key, f"From: me@{EVIL}\n\nbody\n")
    with DnsServer(zone(key[1])) as d:
        assert verify(letter, "--resolver", d.address)["dkim"][0]["result"] == "pass"
        assert verify(letter + b"more\r\n", "--resolver", d.address)["dkim"][0]["result"] == "fail"


def test_thousand_signatures(mails, key):
    head = "".join(f"DKIM-Signature: v=1; a=ed25519-sha256; d=d{i}.{EVIL}; s=s{i}; h=from; l={i};\n"
                   " bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\n" for i in range(1000))
    with DnsServer(zone(key[1])) as d:
        r = verify(wire(head + LETTER), "--resolver", d.address)
        asked = {n for n, _ in d.asked if "_domainkey" in n and n.startswith("s")}
    assert len(r["dkim"]) == 10 and r["dkim_skipped"] == 990
    assert all(s["result"] == "permerror" for s in r["dkim"])
    assert 0 < len(asked) <= 10


def test_many_fields(mails, key):
    """100,000 fields, all of them named in h=; twice as many cost no more than the limit allows."""
    head = (f"DKIM-Signature: v=1; a=ed25519-sha256; d={EVIL}; s=s; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;"
            " b=AAAA; h=from" + ":a" * 100000 + "\n") + "a:\n" * 100000
    with DnsServer(zone(key[1])) as d:
        r = verify(wire(head + LETTER), "--resolver", d.address)
        assert r["dkim"][0]["result"] == "fail" and not passes(r)
        r = verify(wire("a:\n" * 400000 + LETTER), "--resolver", d.address)
        assert r["dmarc"]["result"] == "permerror", r


def test_dns_trouble(mails, key):
    letter = signed(mails, key, f"From: me@{EVIL}\n\nbody\n")
    with DnsServer(zone(key[1]), broken=[f"s._domainkey.{EVIL}."]) as d:
        r = verify(letter, "--resolver", d.address)
        assert r["dkim"][0]["result"] == "temperror", r
    with DnsServer([txt(f"s._domainkey.{EVIL}", "v=DKIM1; k=ed25519; p=")]) as d:
        r = verify(letter, "--resolver", d.address)
        assert r["dkim"][0]["result"] == "permerror" and "revoked" in r["dkim"][0]["reason"], r
    with DnsServer([]) as d:
        assert verify(letter, "--resolver", d.address)["dkim"][0]["result"] == "permerror"


def test_expired(mails, key):
    letter = signed(mails, key, f"From: me@{EVIL}\n\nbody\n", "--at", "1600000000")
    with DnsServer(zone(key[1])) as d:
        args = ("--resolver", d.address)
        assert verify(letter, *args)["dkim"][0]["result"] == "permerror"
        assert verify(letter, *args, "--at", str(1600000000 + 7 * 86400))["dkim"][0]["result"] == "pass"
        assert verify(letter, *args, "--at", str(1600000001 + 7 * 86400))["dkim"][0]["result"] == "permerror"


def test_usage(mails, key):
    for args, status in ((["verify"], 64), (["verify", "--ip", "x", "-"], 64), (["verify", "--helo", "x", "-"], 64),
                         (["verify", "/nonexistent"], 66), (["sign", "-"], 64),
                         (["sign", "-d", "x.example", "-s", "s", "-k", "/nonexistent", "-"], 66),
                         (["sign", "-d", "x.example", "-s", "s", "-k", "/dev/null", "-"], 65),
                         (["sign", "-d", "x", "-s", "s", "-k", key[0], "-"], 65),
                         (["sign", "-d", "x.example", "-s", "s", "-k", key[0], "--canon", "x", "-"], 64),
                         (["sign", "-d", "x.example", "-s", "s", "-s", "t", "-k", key[0], "-"], 64)):
        p = run(*args, input=wire(LETTER))
        assert p.returncode == status and p.stderr, (args, p.returncode, p.stderr)
