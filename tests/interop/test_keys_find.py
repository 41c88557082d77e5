"""Keys at the domain of an address: Web Key Directories of ours and of GnuPG, served by a real web
server; OPENPGPKEY and SMIMEA records in signed, unsigned and forged zones."""
import base64
import json
import os
import re
import shutil
import stat
import subprocess
import sys

import pytest
from harness.certs import Authority, openssl
from harness.dnssec import SignedServer
from harness.dnsserver import DnsServer
from harness.gnupg import WKS, gnupg  # noqa: F401 (a fixture)
from harness.server import BUILD
from harness.webserver import WebServer
from test_keys import Keys

ADVANCED = ["openpgpkey.signed.test. A 127.0.0.1"]
DIRECT = ["signed.test. A 127.0.0.1"]
HASH = "qtgmukx58ikag7nqwxsqupgad8cozzzn"  # of "ann"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


class World:
    """A CA, a folder for the web server, and a store for whoever looks for keys."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = Authority(folder)
        self.pem = self.ca.issue("openpgpkey.signed.test", "signed.test")
        self.root = folder / "root"
        self.root.mkdir()
        (folder / "finder").mkdir()
        (folder / "owner").mkdir()
        self.finder, self.owner = Keys(folder / "finder"), Keys(folder / "owner")

    def hu(self, domain="signed.test"):
        """Where the files of a directory lie: the advanced layout, or the direct one."""
        path = self.root / ".well-known" / "openpgpkey" / domain / "hu"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def serve(self, special=(), pem=""):
        return WebServer(self.root, self.pem if pem == "" else pem, special)

    def find(self, address, dns, web=None, *words, status=0, trust_anchor=None):
        anchor = self.folder / "anchor"
        anchor.write_text((trust_anchor or getattr(dns, "anchor", "")) + "\n")
        out = self.finder.run("find", "--json", "--resolver", dns.address, "--trust-anchor",
                              str(anchor) if anchor.stat().st_size > 1 else "/dev/null",
                              "--dns-timeout", "2", "--ca", self.ca.file, "--private",
                              *(["--https-port", str(web.port)] if web else []), *words, address,
                              status=status)
        return json.loads(out)


# ---- Web Key Directory -------------------------------------------------------------------------------

def test_our_directory_both_ways(world):
    made = world.owner.new("ann@signed.test")["fingerprint"]
    old = os.umask(0o077)
    out = world.owner.run("export", "--wkd", str(world.root), "ann@signed.test").decode()
    os.umask(old)
    assert out.count(HASH) == 2
    assert stat.S_IMODE(world.hu().stat().st_mode) == 0o755
    assert stat.S_IMODE((world.hu() / HASH).stat().st_mode) == 0o644
    for folder in ("signed.test", "."):
        assert (world.root / ".well-known" / "openpgpkey" / folder / "policy").exists()
    for records, method in ((ADVANCED, "/openpgpkey/signed.test/hu/"), (DIRECT, "/openpgpkey/hu/")):
        with DnsServer(records) as dns, world.serve() as web:
            got = world.find("Ann@signed.test", dns, web, "--wkd")
            assert got["wkd"]["result"] == "found" and got["keys"][0]["fingerprint"] == made
            assert len(web.asked) == 1 and method + HASH + "?l=Ann " in web.asked[0]
    row = world.finder.list("ann@signed.test")[0]
    assert row["found"][0]["where"] == "wkd"
    assert "published by the domain (WKD)" in world.finder.run("list").decode()


def test_the_direct_method_only_without_the_host(world):
    world.owner.new("ann@signed.test")
    world.owner.run("export", "--wkd", str(world.root), "ann@signed.test")
    shutil.rmtree(world.root / ".well-known" / "openpgpkey" / "signed.test")
    with DnsServer(ADVANCED + DIRECT) as dns, world.serve() as web:
        assert world.find("ann@signed.test", dns, web, "--wkd", status=67)["wkd"]["result"] == "none"
        assert len(web.asked) == 1
    with DnsServer(DIRECT, broken=["openpgpkey.signed.test."]) as dns, world.serve() as web:
        got = world.find("ann@signed.test", dns, web, "--wkd", status=75)
        assert got["wkd"]["result"] == "later" and web.asked == []


def test_a_directory_of_gnupg(world, gnupg):  # noqa: F811
    if not os.path.exists(WKS):
        pytest.skip("gpg-wks-client is not there")
    made = gnupg.make("Ann <ann@signed.test>")
    gnupg.run("--quick-add-uid", made, "Other <other@elsewhere.test>")
    export = world.folder / "key"
    export.write_bytes(gnupg.run("--export", made))
    (world.root / ".well-known" / "openpgpkey" / "signed.test").mkdir(parents=True)
    gnupg.run("--directory", str(world.root / ".well-known" / "openpgpkey"), "--install-key",
              str(export), "ann@signed.test", program=WKS)
    with DnsServer(ADVANCED) as dns, world.serve() as web:
        got = world.find("ann@signed.test", dns, web, "--wkd")
    assert got["keys"][0]["fingerprint"] == made
    assert world.finder.list(made)[0]["addresses"] == ["ann@signed.test"]


def test_a_directory_of_sq(world):
    made = world.owner.new("Ann.X@signed.test")["fingerprint"]
    ring = world.folder / "ring"
    ring.write_bytes(world.owner.run("export", "--binary", made))
    for words, records in (([], ADVANCED), (["--direct-method"], DIRECT)):
        subprocess.run(["sq", "wkd", "generate", *words, str(world.root), "signed.test", str(ring)],
                       capture_output=True, timeout=60, check=True)
        with DnsServer(records) as dns, world.serve() as web:
            got = world.find("Ann.X@signed.test", dns, web, "--wkd")
        assert got["keys"][0]["fingerprint"] == made
        url = subprocess.run(["sq", "wkd", "direct-url" if words else "url", "Ann.X@signed.test"],
                             capture_output=True, text=True, timeout=60, check=True).stdout.strip()
        assert got["wkd"]["place"] == url


def test_user_ids_of_other_addresses_are_taken_away(world, gnupg):  # noqa: F811
    made = gnupg.make("Ann <ann@signed.test>")
    gnupg.run("--quick-add-uid", made, "The Bank <service@bank.test>")
    (world.hu() / HASH).write_bytes(gnupg.run("--export", made))
    with DnsServer(ADVANCED) as dns, world.serve() as web:
        world.find("ann@signed.test", dns, web, "--wkd")
    assert world.finder.list(made)[0]["addresses"] == ["ann@signed.test"]
    gnupg.run("--delete-secret-and-public-key", made)
    gnupg.run("--import", data=world.finder.run("export", made))
    assert gnupg.user_ids(made) == ["Ann <ann@signed.test>"]


def key_of(world, address):
    return world.owner.run("export", "--binary", address)


def test_what_is_no_key_of_the_address(world):
    world.owner.new("eve@signed.test")
    for octets, why in ((key_of(world, "eve@signed.test"), "another address"), (b"junk", "no key"),
                        (b"", "no key")):
        (world.hu() / HASH).write_bytes(octets)
        with DnsServer(ADVANCED) as dns, world.serve() as web:
            got = world.find("ann@signed.test", dns, web, "--wkd", status=67)
        assert got["wkd"]["result"] == "unusable" and why in got["wkd"]["reason"], got
    assert world.finder.list() == []


PATH = "/.well-known/openpgpkey/signed.test/hu/" + HASH


@pytest.mark.parametrize("special, result, why", [
    ((302, {"Location": "https://evil.test/key"}, b""), "unusable", "another host"),
    ((302, {"Location": "http://openpgpkey.signed.test/key"}, b""), "unusable", "only https"),
    ((302, {"Location": "/loop"}, b""), "unusable", "from place to place"),
    ((200, {}, b"\x98" + b"x" * 70000), "unusable", "limit of 65536"),
    ((200, {"Content-Length": "70000"}, b""), "unusable", "limit of 65536"),
    ((503, {}, b""), "later", "503"),
    ((403, {}, b""), "unusable", "403"),
    ((404, {}, b""), "none", "404"),
    ((200, {}, 30), "later", "time"),
])
def test_hostile_web_servers(world, special, result, why):
    loop = {"/loop": (302, {"Location": "/loop"}, b"")}
    with DnsServer(ADVANCED) as dns, world.serve({PATH: special, **loop}) as web:
        got = world.find("ann@signed.test", dns, web, "--wkd", "--timeout", "2",
                         status=75 if result == "later" else 67)
    assert got["wkd"]["result"] == result and why in got["wkd"]["reason"], got
    assert len(web.asked) <= 5


def test_redirects_within_the_host_are_followed(world):
    made = world.owner.new("ann@signed.test")["fingerprint"]
    key = key_of(world, "ann@signed.test")
    moved = {PATH: (301, {"Location": "/moved"}, b""), "/moved": (200, {}, key)}
    with DnsServer(ADVANCED) as dns, world.serve(moved) as web:
        got = world.find("ann@signed.test", dns, web, "--wkd")
        assert got["keys"][0]["fingerprint"] == made


def test_certificates_must_prove_the_name(world):
    world.owner.new("ann@signed.test")
    world.owner.run("export", "--wkd", str(world.root), "ann@signed.test")
    (world.folder / "other").mkdir()
    other = Authority(world.folder / "other", "other CA").issue("openpgpkey.signed.test")
    for pem in (world.ca.issue("other.test"), world.ca.issue("openpgpkey.signed.test", days=-1),
                other):
        with DnsServer(ADVANCED) as dns, world.serve(pem=pem) as web:
            got = world.find("ann@signed.test", dns, web, "--wkd", status=67)
            assert got["wkd"]["result"] == "insecure" and web.asked == [], got


def test_private_addresses_are_not_asked(world):
    with DnsServer(ADVANCED) as dns, world.serve() as web:
        world.finder.run("find", "--wkd", "--resolver", dns.address, "--trust-anchor", "/dev/null",
                         "--ca", world.ca.file, "--https-port", str(web.port), "ann@signed.test",
                         status=67)
        assert web.asked == []
    out = world.finder.run("find", "--help").decode()
    assert "--private" in out


def test_a_proxy_of_the_environment_is_not_asked(world):
    world.owner.new("ann@signed.test")
    world.owner.run("export", "--wkd", str(world.root), "ann@signed.test")
    with DnsServer(ADVANCED) as dns, world.serve() as web, world.serve(pem=None) as proxy:
        for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
            world.finder.env[name] = f"http://127.0.0.1:{proxy.port}"
        assert world.find("ann@signed.test", dns, web, "--wkd")["wkd"]["result"] == "found"
        assert proxy.asked == []


def test_a_changed_key_warns(world):
    for _ in range(2):
        (world.folder / "owner" / "store").mkdir(exist_ok=True)
        world.owner.new("ann@signed.test")
        world.owner.run("export", "--wkd", str(world.root), "ann@signed.test")
        with DnsServer(ADVANCED) as dns, world.serve() as web:
            got = world.find("ann@signed.test", dns, web, "--wkd")
        world.owner.run("delete", "--own", "ann@signed.test")
    assert got["keys"][0]["seen"] == "changed" and len(got["keys"][0]["other"]) == 40


# ---- GnuPG reads our directory -------------------------------------------------------------------------
#
# dirmngr asks port 443 and the system's resolver: so it gets a network and a view of /etc of its own.

INSIDE = r"""
set -e
ip link set lo up
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/nsswitch" /etc/nsswitch.conf
mount --bind "$2" /etc/ssl/certs/ca-certificates.crt
"$5" -c 'import sys; sys.path.insert(0, sys.argv[1]); import harness.webserver as w, time
class At443(w.WebServer): pass
import http.server, ssl
from harness.certs import server_context
import functools
h = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[2])
s = http.server.ThreadingHTTPServer(("127.0.0.1", 443), h)
s.socket = server_context(sys.argv[3]).wrap_socket(s.socket, server_side=True)
print("ready", flush=True)
s.serve_forever()' "$6" "$3" "$4" > "$1/ready" 2> "$1/log" &
web=$!
for i in $(seq 100); do grep -q ready "$1/ready" && break; sleep 0.1; done
gpg --batch --no-auto-check-trustdb --auto-key-locate clear,nodefault,wkd --locate-keys ann@signed.test || status=$?
gpgconf --kill all
kill $web
exit ${status:-0}
"""


def test_gnupg_locates_our_keys(world, gnupg):  # noqa: F811
    if subprocess.run(["unshare", "-Urmn", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    made = world.owner.new("ann@signed.test")["fingerprint"]
    world.owner.run("export", "--wkd", str(world.root), "ann@signed.test")
    (world.folder / "hosts").write_text("127.0.0.1 localhost openpgpkey.signed.test\n")
    (world.folder / "nsswitch").write_text("hosts: files\n")
    with open(os.path.join(gnupg.home, "dirmngr.conf"), "w", encoding="ascii") as f:
        f.write("standard-resolver\ndisable-ipv6\n")
    script = world.folder / "inside"
    script.write_text(INSIDE)
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    p = subprocess.run(["unshare", "-Urmn", "bash", str(script), str(world.folder), world.ca.file,
                        str(world.root), world.pem, sys.executable, here], env=gnupg.env,
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                       check=False)
    log = (world.folder / "log").read_text() if (world.folder / "log").exists() else ""
    assert p.returncode == 0, (p.stdout, p.stderr, log)
    assert gnupg.fingerprints() == [made]


# ---- DNS ------------------------------------------------------------------------------------------------

def zone(world, *addresses):
    """The records that `keys export --dns` prints, as DnsServer takes them."""
    text = world.owner.run("export", "--dns", *addresses).decode()
    assert all(line.startswith(";") or " IN " in line for line in text.splitlines())
    return [re.sub(" IN ", " ", line) for line in text.splitlines() if not line.startswith(";")]


def test_records_of_a_signed_zone(world):
    pgp = world.owner.new("ann@signed.test")["fingerprint"]
    smime = world.owner.new("ann@signed.test", "--smime", "--algorithm", "p256")["fingerprint"]
    records = zone(world, pgp, smime)
    assert {r.split()[1] for r in records} == {"OPENPGPKEY", "SMIMEA"}
    with SignedServer(records) as dns:
        got = world.find("ann@signed.test", dns, None, "--dns")
        assert got["openpgpkey"]["result"] == got["smimea"]["result"] == "found"
        assert {k["fingerprint"] for k in got["keys"]} == {pgp, smime}
    assert {r["found"][0]["where"] for r in world.finder.list()} == {"openpgpkey", "smimea"}


def test_unproven_records_are_said_and_not_used(world):
    world.owner.new("ann@signed.test")
    (record,) = zone(world, "ann@signed.test")
    with DnsServer([record]) as dns:
        got = world.find("ann@signed.test", dns, None, "--dns", status=67)
        assert got["openpgpkey"]["result"] == "insecure"
        assert "DNSSEC does not prove it" in got["openpgpkey"]["reason"]
    with SignedServer([record], forged=[record.split()[0]]) as dns:
        got = world.find("ann@signed.test", dns, None, "--dns", status=67)
        assert got["openpgpkey"]["result"] == "insecure"
        assert "do not hold" in got["openpgpkey"]["reason"]
    with SignedServer([record], strip=True) as dns:
        got = world.find("ann@signed.test", dns, None, "--dns", status=67)
        assert got["openpgpkey"]["result"] == "insecure"
    assert world.finder.list() == []


def test_a_record_for_another_address(world):
    world.owner.new("eve@signed.test")
    world.owner.new("eve@signed.test", "--smime", "--algorithm", "p256")
    names = {}
    for kind in ("OPENPGPKEY", "SMIMEA"):
        label = "_openpgpkey" if kind == "OPENPGPKEY" else "_smimecert"
        digest = openssl("dgst", "-sha256", "-binary", data=b"ann")[:28].hex()
        names[kind] = f"{digest}.{label}.signed.test."
    records = [names[r.split()[1]] + " " + r.split(None, 1)[1]
               for r in zone(world, "eve@signed.test", "--pgp")
               + zone(world, "eve@signed.test", "--smime")]
    with SignedServer(records) as dns:
        got = world.find("ann@signed.test", dns, None, "--dns", status=67)
    assert got["openpgpkey"]["result"] == got["smimea"]["result"] == "unusable", got
    assert world.finder.list() == []


def test_a_hash_confirms_a_certificate_that_is_here(world):
    made = world.owner.new("ann@signed.test", "--smime", "--algorithm", "p256")["fingerprint"]
    (record,) = zone(world, "ann@signed.test")
    short = record.split()[0] + " SMIMEA 3 0 1 " + made
    with SignedServer([short]) as dns:
        got = world.find("ann@signed.test", dns, None, "--dns", status=67)
        assert "not here" in got["smimea"]["reason"]
        world.finder.run("import", "-", data=world.owner.run("export", "ann@signed.test"))
        assert world.find("ann@signed.test", dns, None, "--dns")["smimea"]["result"] == "found"
    row = world.finder.list()[0]
    assert {f["where"] for f in row["found"]} == {"import", "smimea"}


def test_rdata_is_what_gnupg_and_openssl_say(world):
    made = world.owner.new("ann@signed.test", "--smime", "--algorithm", "p256")["fingerprint"]
    (record,) = zone(world, made)
    der = bytes.fromhex(record.split("3 0 0 ")[1])
    assert der == openssl("x509", "-outform", "DER", data=world.owner.run("export", made))
    world.owner.new("ann@signed.test")
    (record,) = zone(world, "ann@signed.test", "--pgp")
    assert base64.b64decode(record.split("OPENPGPKEY ")[1]) == world.owner.run(
        "export", "--pgp", "--minimal", "--binary", "ann@signed.test")


# ---- revocation -----------------------------------------------------------------------------------------

CA_CONF = """
[ca]
default_ca = c
[c]
database = index
new_certs_dir = .
serial = serial
default_md = sha256
default_days = 30
default_crl_days = 10
policy = p
copy_extensions = copy
unique_subject = no
[p]
commonName = supplied
"""


def test_revoked_by_its_authority(world, tmp_path):
    folder = tmp_path / "authority"
    folder.mkdir()

    def run(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)

    with world.serve(pem=None) as web, DnsServer(["crl.alpha.test. A 127.0.0.1"]) as dns:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        (folder / "conf").write_text(CA_CONF)
        (folder / "index").write_text("")
        (folder / "serial").write_text("01\n")
        run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj",
            "/CN=Authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        run("req", "-new", *key, "-keyout", "ann.key", "-out", "ann.csr", "-subj", "/CN=Ann",
            "-addext", "subjectAltName=email:ann@alpha.test",
            "-addext", "keyUsage=critical,digitalSignature,keyAgreement",
            "-addext", "extendedKeyUsage=emailProtection",
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", f"crlDistributionPoints=URI:http://crl.alpha.test:{web.port}/ca.crl")
        run("ca", "-batch", "-config", "conf", "-cert", "ca.crt", "-keyfile", "ca.key", "-in",
            "ann.csr", "-out", "ann.crt", "-notext")
        for name in ("ca.crt", "ann.crt"):
            world.finder.run("import", str(folder / name))
        check = ["check", "--json", "--resolver", dns.address, "--trust-anchor", "/dev/null"]
        got = json.loads(world.finder.run(*check, "ann@alpha.test", status=65))
        assert not got["good"] and "no chain leads" in got["reason"]
        authority = world.finder.list("--authorities")[0]["fingerprint"]
        world.finder.run("trust", authority)
        assert json.loads(world.finder.run(*check, "ann@alpha.test"))["good"]

        asked = [*check, "--revocation", "--private", "ann@alpha.test"]
        run("ca", "-config", "conf", "-cert", "ca.crt", "-keyfile", "ca.key", "-gencrl", "-out",
            str(world.root / "ca.crl"))
        assert json.loads(world.finder.run(*asked))["good"]
        assert web.asked == [f"GET /ca.crl crl.alpha.test:{web.port}"]
        run("ca", "-config", "conf", "-cert", "ca.crt", "-keyfile", "ca.key", "-revoke", "ann.crt")
        run("ca", "-config", "conf", "-cert", "ca.crt", "-keyfile", "ca.key", "-gencrl", "-out",
            str(world.root / "ca.crl"))
        got = json.loads(world.finder.run(*asked, status=65))
        assert not got["good"] and "was revoked" in got["reason"]
        # Without asking, and where nobody answers, nothing is known.
        assert json.loads(world.finder.run(*check, "ann@alpha.test"))["good"]
        (world.root / "ca.crl").unlink()
        assert json.loads(world.finder.run(*asked))["good"]
        assert "404" in world.finder.said


def test_letters_and_directories_bring_one_address_each(world, gnupg):  # noqa: F811
    """The key of a letter, then of the directory, then of the letter again: what else its owner wrote
    into it never comes to speak for anybody."""
    made = gnupg.make("Ann <ann@signed.test>")
    gnupg.run("--quick-add-uid", made, "The Bank <service@bank.test>")
    whole = gnupg.run("--export", made)
    field = base64.encodebytes(whole).decode().replace("\n", "\n ").rstrip()
    letter = world.folder / "letter"
    letter.write_text("From: Ann <ann@signed.test>\nDate: Tue, 22 Jan 2019 12:56:25 +0100\n"
                      "Autocrypt: addr=ann@signed.test; keydata=\n " + field + "\n\nhello\n")
    (world.hu() / HASH).write_bytes(whole)
    read = [os.path.join(BUILD, "letterlock"), "read", "--store", world.finder.store, str(letter)]
    subprocess.run(read, env=world.finder.env, check=True, capture_output=True, timeout=60)
    assert world.finder.list(made)[0]["found"][0]["where"] == "autocrypt"
    with DnsServer(ADVANCED) as dns, world.serve() as web:
        world.find("ann@signed.test", dns, web, "--wkd")
    subprocess.run(read, env=world.finder.env, check=True, capture_output=True, timeout=60)
    (row,) = world.finder.list()
    assert row["addresses"] == ["ann@signed.test"]
    gnupg.run("--delete-secret-and-public-key", made)
    gnupg.run("--import", data=world.finder.run("export", made))
    assert gnupg.user_ids(made) == ["Ann <ann@signed.test>"]
