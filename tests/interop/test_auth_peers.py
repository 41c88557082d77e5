"""DKIM with peers: what we sign verifies at python3-dkim, Mail::DKIM, opendkim and rspamd, what they sign
verifies here, and what is changed on the way verifies nowhere. The letters are odd on purpose, and
the same ones in each run."""
import base64
import json
import os
import random
import re
import shutil
import subprocess

import pytest
from harness.auth import Mails, run, txt, verify, wire
from harness.dnsserver import DnsServer
from harness.peers import package
from harness.rspamd import Rspamd

dkim = pytest.importorskip("dkim", reason="python3-dkim is not installed")

LETTERS = 2000
DOMAIN = "example.org"


def letter(n):
    """Letter number n: odd folds, blanks, long lines, 8-bit text, bodies of every ending."""
    r = random.Random(n)

    def blanks():
        return "".join(r.choice(" \t") for _ in range(r.choice((0, 1, 1, 2, 5))))

    def words(k):
        return " ".join(r.choice(("hello", "Wörter", "x", "a=b;c", "(comment)", "\"quoted\"", "1" * 40))
                        + r.choice(("", "", " ", "\t", "\r\n ", "\r\n\t ")) for _ in range(k))

    head = [f"From: {words(1).split()[0]} <ann@{DOMAIN}>", f"To:{blanks()}bob@example.net"]
    head.append(r.choice(("Subject", "SUBJECT", "sUbJeCt")) + ":" + blanks() + words(r.randint(0, 6)))
    head.append("Date: Tue, 24 Nov 2026 03:07:34 +0000" + blanks())
    if n % 3 == 0:
        head.append(f"Message-ID:\r\n <{n}@{DOMAIN}>")
    if n % 4 == 0:
        head += ["Cc: c@example.net,\r\n\td@example.net", "X-Empty:", "X-Long: " + "y" * 980]
    if n % 5 == 0:
        head += ["Received: from a by b; now", "Received: from c by a;\r\n   then"]
    head += ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8"]
    r.shuffle(head)
    lines = []
    for _ in range(r.choice((0, 0, 1, 3, 20))):
        lines.append(r.choice(("", blanks(), "text" + blanks(), blanks() + "text", words(3).replace("\r\n", ""),
                               "." + blanks(), "z" * 998, "Ä" * 499, "a" + blanks() + "b",
                               "-- ", ">From here")))
    body = "\r\n".join(lines) + r.choice(("", "\r\n", "\r\n\r\n\r\n", " \r\n", "\r\n \r\n\t\r\n"))
    if body and not body.endswith("\r\n"):
        body += "\r\n"  # as every letter that comes by SMTP; some peers need it
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


class Keys:
    """One RSA-2048 and one Ed25519 key, and their records."""

    def __init__(self, mails):
        self.rsa, self.ed = mails.write(b"", "rsa.pem"), mails.write(b"", "ed.pem")
        openssl = ["openssl", "genpkey"]
        subprocess.run([*openssl, "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.rsa],
                       check=True, timeout=60, stderr=subprocess.DEVNULL)
        subprocess.run([*openssl, "-algorithm", "ed25519", "-out", self.ed], check=True, timeout=60)
        self.rsa_public = base64.b64encode(self._der(self.rsa, "-pubout")).decode()
        self.ed_public = base64.b64encode(self._der(self.ed, "-pubout")[-32:]).decode()
        self.ed_seed = base64.b64encode(self._der(self.ed)[-32:])
        self.records = {f"rsa._domainkey.{DOMAIN}": f"v=DKIM1; k=rsa; p={self.rsa_public}",
                        f"ed._domainkey.{DOMAIN}": f"v=DKIM1; k=ed25519; p={self.ed_public}"}
        self.zone = [txt(n, t) for n, t in self.records.items()]
        self.traditional = mails.write(subprocess.run(
            ["openssl", "rsa", "-in", self.rsa, "-traditional"], check=True, capture_output=True,
            timeout=60).stdout, "rsa-traditional.pem")

    @staticmethod
    def _der(path, *args):
        return subprocess.run(["openssl", "pkey", "-in", path, "-outform", "DER", *args], check=True,
                              capture_output=True, timeout=60).stdout


def change(signed, n):
    """A letter with one octet changed: of a signed field or of the body."""
    head, _, body = signed.partition(b"\r\n\r\n")
    at = next((i for i, c in enumerate(body) if chr(c).isalnum() or c > 127), None)
    if n % 2 and at is not None:
        return head + b"\r\n\r\n" + body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]
    return signed.replace(b"<ann@", b"<eve@", 1)


@pytest.fixture(scope="module")
def mails():
    with Mails() as m:
        yield m


@pytest.fixture(scope="module")
def keys(mails):
    return Keys(mails)


@pytest.fixture(scope="module")
def server(keys):
    with DnsServer(keys.zone) as d:
        yield d


CANONS = ("relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed")


FROM = b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"


def mbox(letters):
    """Letters as an mbox: LF, and ">From " for lines that begin with "From "."""
    return b"".join(FROM + re.sub(rb"(?m)^(>*From )", rb">\1", m.replace(b"\r\n", b"\n")) + b"\n"
                    for m in letters)


def unbox(box):
    letters = (b"\n" + box[:-1]).split(b"\n" + FROM)[1:]
    return [re.sub(rb"(?m)^>(>*From )", rb"\1", m).replace(b"\n", b"\r\n") for m in letters]


@pytest.fixture(scope="module")
def ours(mails, keys):
    """Every letter, signed by us with both keys; one run a canonicalisation."""
    signed = [None] * LETTERS
    for i, canon in enumerate(CANONS):
        box = mails.write(mbox(letter(n) for n in range(i, LETTERS, len(CANONS))))
        p = run("sign", "-d", DOMAIN, "-s", "rsa", "-k", keys.rsa, "-s", "ed", "-k", keys.ed, "--canon", canon,
                box, timeout=200)
        assert p.returncode == 0, p.stderr
        signed[i::len(CANONS)] = unbox(p.stdout)
    assert all(m.endswith(letter(n)) for n, m in enumerate(signed))
    return signed


def verify_mbox(mails, server, letters):
    """What we say of letters, all in one run: a list of lists of results."""
    p = run("verify", "--json", "--resolver", server.address, mails.write(mbox(letters)), timeout=200)
    assert p.returncode == 0, p.stderr
    results = [[s["result"] for s in json.loads(line)["dkim"]] for line in p.stdout.splitlines()]
    assert len(results) == len(letters)
    return results


# ---- python3-dkim -----------------------------------------------------------------------------------

def dkimpy_verify(keys, message, index):
    def lookup(name, timeout=5):
        return keys.records.get(name.decode().rstrip("."), "").encode() or None
    try:
        return dkim.DKIM(message).verify(idx=index, dnsfunc=lookup)
    except dkim.ValidationError:
        return False


def test_ours_at_dkimpy(ours, keys):
    wrong = [n for n, m in enumerate(ours) for i in (0, 1) if not dkimpy_verify(keys, m, i)]
    assert not wrong
    for n in range(0, LETTERS, 20):
        for i in (0, 1):
            assert not dkimpy_verify(keys, change(ours[n], n // 20), i), n


def test_dkimpy_here(mails, keys, server):
    signed = []
    with open(keys.traditional, "rb") as f:
        rsa = f.read()
    for n in range(0, LETTERS, 5):
        canon = tuple(c.encode() for c in CANONS[n % 4].split("/"))
        ed = n % 25 != 0  # its RSA is slow
        args = ((b"ed", keys.ed_seed, b"ed25519-sha256") if ed else (b"rsa", rsa, b"rsa-sha256"))
        m = letter(n)
        signed.append(dkim.sign(m, args[0], DOMAIN.encode(), args[1], canonicalize=canon,
                                signature_algorithm=args[2]) + m)
    assert verify_mbox(mails, server, signed) == [["pass"]] * len(signed)
    changed = [change(m, n) for n, m in enumerate(signed)]
    assert verify_mbox(mails, server, changed) == [["fail"]] * len(signed)


def test_ours_here(mails, server, ours):
    assert verify_mbox(mails, server, ours) == [["pass", "pass"]] * LETTERS
    changed = [change(m, n) for n, m in enumerate(ours)]
    assert verify_mbox(mails, server, changed) == [["fail", "fail"]] * LETTERS


# ---- Mail::DKIM ----------------------------------------------------------------------------------------

PERL_VERIFY = r"""
use Mail::DKIM::Verifier; use Net::DNS;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => $ARGV[1]));
for my $n (0 .. $ARGV[2] - 1) {
    my $m = do { open my $f, '<:raw', "$ARGV[0]/$n" or die; local $/; <$f> };
    my $v = Mail::DKIM::Verifier->new(); $v->PRINT($m); $v->CLOSE;
    print join(' ', map { $_->algorithm . '=' . $_->result } $v->signatures), "\n";
}
"""
PERL_SIGN = r"""
use Mail::DKIM::Signer;
for my $n (0 .. $ARGV[1] - 1) {
    my $m = do { open my $f, '<:raw', "$ARGV[0]/$n" or die; local $/; <$f> };
    my @c = ('relaxed/relaxed', 'simple/simple', 'relaxed/simple', 'simple/relaxed');
    my $s = Mail::DKIM::Signer->new(Algorithm => 'rsa-sha256', Method => $c[$n % 4], Domain => 'example.org',
                                    Selector => 'rsa', KeyFile => $ARGV[2]);
    $s->PRINT($m); $s->CLOSE;
    open my $o, '>:raw', "$ARGV[0]/$n.signed" or die; print $o $s->signature->as_string, "\r\n", $m;
}
"""


def perl(script, *args):
    p = subprocess.run(["perl", "-e", script, *args], capture_output=True, text=True, timeout=200)
    if "Can't locate Mail/DKIM" in p.stderr:
        pytest.skip("Mail::DKIM (libmail-dkim-perl) is not installed")
    assert p.returncode == 0, p.stderr[-2000:]
    return p.stdout.splitlines()


def folder(mails, name, letters):
    path = os.path.join(mails.dir.name, name)
    os.mkdir(path)
    for n, m in enumerate(letters):
        with open(os.path.join(path, str(n)), "wb") as f:
            f.write(m)
    return path


def test_ours_at_mail_dkim(mails, server, ours):
    port = server.address.rpartition(":")[2]
    some = ours[:LETTERS // 2]
    for name, letters, expected in (("whole", some, "pass"),
                                    ("changed", [change(m, n) for n, m in enumerate(some[:200])], "fail")):
        lines = perl(PERL_VERIFY, folder(mails, name, letters), port, str(len(letters)))
        assert len(lines) == len(letters)
        wrong = [(n, line) for n, line in enumerate(lines) if f"rsa-sha256={expected}" not in line]
        assert not wrong, wrong[:5]


def test_mail_dkim_here(mails, keys, server):
    path = folder(mails, "theirs", [letter(n) for n in range(0, LETTERS, 2)])
    perl(PERL_SIGN, path, str(LETTERS // 2), keys.traditional)
    signed = []
    for n in range(LETTERS // 2):
        with open(os.path.join(path, f"{n}.signed"), "rb") as f:
            signed.append(f.read())
    results = verify_mbox(mails, server, signed)
    assert not [n for n, r in enumerate(results) if r != ["pass"]]


# ---- opendkim --------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def opendkim(mails):
    """opendkim's test mode: the fields it would add to letters, by this configuration. It passes fields on
    as a milter gets them, without the blanks around them: only relaxed headers keep their meaning."""
    libraries = [os.path.join(package(p), "usr/lib/x86_64-linux-gnu") for p in
                 ("libopendkim11", "libmilter1.0.1", "libmemcached11", "libopendbx1", "librbl1", "libvbr2")]
    program = os.path.join(package("opendkim"), "usr/sbin/opendkim")
    env = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
    probe = subprocess.run([program, "-V"], env=env, capture_output=True, timeout=30)
    if probe.returncode != 0:
        pytest.skip("opendkim does not run here: " + probe.stderr.decode()[:200])

    def fields(conf, letters):
        paths = [mails.write(m.replace(b"\r\n", b"\n")) for m in letters]
        p = subprocess.run([program, "-x", mails.write(conf.encode()), "-vvv", "-t", ",".join(paths)], env=env,
                           capture_output=True, timeout=200)
        return p.stdout.decode(errors="replace").split("### INSHEADER")[1:]
    return fields


def test_ours_at_opendkim(mails, keys, ours, opendkim):
    published = mails.write("".join(f"{n} {t}\n" for n, t in keys.records.items()).encode())
    conf = f"Mode v\nTestPublicKeys {published}\nAlwaysAddARHeader yes\n"
    some = ours[0:400:2]  # relaxed headers
    said = opendkim(conf, some)
    assert len(said) == len(some)
    wrong = [(n, s) for n, s in enumerate(said) if s.count("dkim=pass") != 2]
    assert not wrong, wrong[:3]
    for s in opendkim(conf, [change(m, n) for n, m in enumerate(some[:50])]):
        assert "dkim=pass" not in s and s.count("dkim=fail") == 2, s


@pytest.mark.parametrize("selector, algorithm", [("rsa", "rsa-sha256"), ("ed", "ed25519-sha256")])
def test_opendkim_here(mails, keys, server, opendkim, selector, algorithm):
    signed = []
    for body in ("relaxed", "simple"):
        conf = (f"Mode s\nDomain {DOMAIN}\nSelector {selector}\nKeyFile {getattr(keys, selector)}\n"
                f"SignatureAlgorithm {algorithm}\nCanonicalization relaxed/{body}\nRequireSafeKeys no\n")
        letters = [letter(n) for n in range(100)]
        added = opendkim(conf, letters)
        assert len(added) == len(letters)
        for field, m in zip(added, letters):
            value = re.search(r"hname='DKIM-Signature' hvalue='(.*?)'", field, re.S).group(1)
            signed.append(wire(f"DKIM-Signature: {value}\n") + m)
    results = verify_mbox(mails, server, signed)
    assert not [n for n, r in enumerate(results) if r != ["pass"]]
    changed = verify_mbox(mails, server, [change(m, n) for n, m in enumerate(signed)])
    assert not [n for n, r in enumerate(changed) if r != ["fail"]]


def test_opendkim_testmsg(keys):
    """Debian's opendkim-testmsg signs with rsa-sha1 alone: RFC 8301 3.1 says that this proves nothing."""
    if not shutil.which("opendkim-testmsg"):
        pytest.skip("opendkim-tools is not installed")
    p = subprocess.run(["opendkim-testmsg", "-C", "-d", DOMAIN, "-s", "rsa", "-k", keys.rsa],
                       input=letter(3), capture_output=True, timeout=30)
    assert p.returncode == 0 and b"a=rsa-sha1" in p.stdout
    with DnsServer(keys.zone) as d:
        result = verify(p.stdout, "--resolver", d.address)
    assert result["dkim"][0]["result"] == "permerror" and "RFC 8301" in result["dkim"][0]["reason"]


# ---- rspamd ----------------------------------------------------------------------------------------------

def only_blanks(n):
    """Of a body of blanks alone rspamd 3.4 keeps an empty line; nobody else does (RFC 6376 3.4.4)."""
    body = letter(n).partition(b"\r\n\r\n")[2]
    return body.strip(b"\r\n") and not body.strip()


def test_ours_at_rspamd(ours, server):
    with Rspamd(server.address) as r:
        for n in range(0, 200):
            if only_blanks(n):
                continue
            assert r.symbols(ours[n]).get("R_DKIM_ALLOW") == [f"{DOMAIN}:s=ed", f"{DOMAIN}:s=rsa"], n
            if n % 5 == 0:
                assert "R_DKIM_ALLOW" not in r.symbols(change(ours[n], n // 5)), n


def test_rspamd_signs(keys, server, mails):
    """What it signs verifies here, and not when it was changed."""
    with Rspamd(server.address, keys.rsa, DOMAIN) as r:
        signed = [r.signed(letter(n)) for n in range(100) if not only_blanks(n)]
    good = mails.verify_all(signed, "--resolver", server.address)
    assert [[d["result"] for d in v["dkim"]] for v in good] == [["pass"]] * len(signed)
    bad = mails.verify_all([change(s, n) for n, s in enumerate(signed)],
                           "--resolver", server.address)
    assert not any(d["result"] == "pass" for v in bad for d in v["dkim"])
