"""ARC: what an alias sends outside is sealed where that is configured, and a seal of a trusted domain
tells the next server what DMARC said here."""
import contextlib
import json
import re
import subprocess

import pytest
from harness.dnsserver import DnsServer, records
from harness.rawserver import RawServer, wire
from harness.server import LETTERLOCK, Server, wait_for

ZONE = [
    'good.test. TXT "v=spf1 ip4:127.0.0.1 -all"',
    '_dmarc.good.test. TXT "v=DMARC1; p=reject"',
    # 127.0.0.2 is whence the forwarder's letters come, for the last hop
    '_dmarc.elsewhere.test. TXT "v=DMARC1; p=reject"',
]
EXTRA = """
route "out.test" {{ via = "smarthost"
    host = "127.0.0.1"
    port = {port} }}
"""


@contextlib.contextmanager
def forwarder(dns, hop, **settings):
    """A server whose alias list@ goes outside, and whose records are in the zone."""
    with Server("here.test", settings={"resolver": dns.address, "dmarc": "enforce", **settings},
                extra=EXTRA.format(port=hop.port), start=False) as s:
        for line in records(s.tool("dns")):
            dns.add_line(line)
        s.tool("alias", "add", "list@here.test", "far@out.test")
        s.start()
        yield s


def letter(author="joe@good.test", extra="", body="hello\r\n"):
    return (f"From: <{author}>\r\nTo: <list@here.test>\r\nSubject: sealed\r\n{extra}"
            f"Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@x.test>\r\n\r\n{body}")


def verify(octets, dns):
    return json.loads(subprocess.run(
        [LETTERLOCK, "verify", "--json", "--resolver", dns.address, "-"], input=octets,
        stdout=subprocess.PIPE, check=False).stdout)


@pytest.fixture(name="hop")
def next_hop():
    with RawServer() as s:
        yield s


def through(server, hop, text):
    """The letter through the alias; what the next hop got."""
    before = len(hop.letters)
    with server.smtp() as c:
        c.sendmail("joe@good.test", ["list@here.test"], text)
    wait_for(lambda: len(hop.letters) > before, 15)
    # Without the mark that would stop it when it comes here again.
    return re.sub(rb"Delivered-To: [^\r]*\r\n", b"", wire(hop.letters[-1]))


@pytest.mark.parametrize("body", ["hello\r\n", "".join(f"line {i}\r\n" for i in range(40000))],
                         ids=["small", "file"])
def test_sealed(hop, body):
    with DnsServer(ZONE) as dns, forwarder(dns, hop, arc_seal="here.test") as s:
        got = through(s, hop, letter(body=body))
        assert got.startswith(b"ARC-Seal: i=1;")
        found = verify(got, dns)
        assert found["arc"]["result"] == "pass" and found["arc"]["domain"] == "here.test"
        head = got.split(b"\r\n\r\n")[0]
        assert b"ARC-Authentication-Results: i=1; mx.here.test" in head.replace(b"\r\n\t", b" ")
        assert b"dmarc=pass" in head and b"cv=none" in head
        again = through(s, hop, got.decode())
        assert again.startswith(b"ARC-Seal: i=2;") and b"cv=pass" in again
        assert verify(again, dns)["arc"]["result"] == "pass"


def test_off_by_default(hop):
    with DnsServer(ZONE) as dns, forwarder(dns, hop) as s:
        assert b"ARC-" not in through(s, hop, letter())


def test_broken_chain_is_sealed_as_broken(hop):
    with DnsServer(ZONE) as dns, forwarder(dns, hop, arc_seal="here.test") as s:
        got = through(s, hop, letter())
        bad = got.replace(b"hello", b"hullo")
        again = through(s, hop, bad.decode())
        assert verify(again, dns)["arc"]["result"] == "fail"


def test_trusted_seal_overrides(hop):
    """The last server sees SPF and DKIM fail; a trusted sealer says that DMARC passed before."""
    with DnsServer(ZONE) as dns:
        with forwarder(dns, hop, arc_seal="here.test") as s:
            got = through(s, hop, letter())
        # The last hop: good.test lets 127.0.0.1 send, so the reverse-path is the forwarder's.
        dns.add_line('plain.test. TXT "v=spf1 -all"')
        for trusted, folder in ((["here.test"], "new"), ([], None)):
            with Server("last.test", settings={"resolver": dns.address, "dmarc": "enforce",
                                               "arc_trusted": trusted}) as last:
                with last.smtp() as c:
                    code = None
                    try:
                        c.sendmail("x@plain.test", ["ann@last.test"],
                                   got.replace(b"\r\n\r\n", b"\r\n\r\n", 1))
                    except Exception as e:  # pylint: disable=broad-except
                        code = e.smtp_code
                if folder:
                    assert code is None
                    m = last.wait_mail("ann@last.test")[-1]
                    assert b"arc=pass" in m and b"dmarc=fail" in m
                else:
                    assert code == 550
