"""Where letters go: MX records and their exceptions, and names that cannot be looked up."""
import socket
import time

import pytest
from harness import ports
from harness.certs import Authority, server_context
from harness.dnsserver import DnsServer
from harness.outbound import Outbound
from harness.rawserver import RawServer
from harness.server import wait_for

# Addresses of loopback stand for hosts.
ZONE = [
    "equal.test. MX 10 a.equal.test.", "equal.test. MX 10 b.equal.test.",
    "a.equal.test. A 127.0.1.1", "b.equal.test. A 127.0.1.2",
    "order.test. MX 20 b.order.test.", "order.test. MX 10 a.order.test.",
    "a.order.test. A 127.0.1.3", "b.order.test. A 127.0.1.4",
    "dead.test. MX 10 a.dead.test.", "dead.test. MX 20 b.dead.test.",
    "a.dead.test. A 127.0.1.5", "b.dead.test. A 127.0.1.6",
    "lost.test. MX 10 nowhere.lost.test.", "lost.test. MX 20 b.lost.test.",
    "b.lost.test. A 127.0.1.7",
    "busy.test. MX 10 a.busy.test.", "busy.test. MX 20 b.busy.test.",
    "a.busy.test. A 127.0.1.8", "b.busy.test. A 127.0.1.9",
    "no.test. MX 10 a.no.test.", "no.test. MX 20 b.no.test.",
    "a.no.test. A 127.0.1.10", "b.no.test. A 127.0.1.11",
    "null.test. MX 0 .",
    "implicit.test. A 127.0.1.12",
    "www.alias.test. CNAME implicit.test.",
    "self.test. MX 10 mx.alpha.test.", "self.test. MX 20 b.self.test.",
    "b.self.test. A 127.0.1.13",
    "backup.test. MX 10 a.backup.test.", "backup.test. MX 20 mx.alpha.test.",
    "backup.test. MX 30 c.backup.test.",
    "a.backup.test. A 127.0.1.14", "c.backup.test. A 127.0.1.15",
    "mx.alpha.test. A 127.0.1.16",
    "text.test. TXT only",
    "two.test. MX 10 a.two.test.", "a.two.test. A 127.0.1.17", "a.two.test. A 127.0.1.18",
    "tls.test. MX 10 a.tls.test.", "tls.test. MX 20 b.tls.test.",
    "a.tls.test. A 127.0.1.19", "b.tls.test. A 127.0.1.20",
]


@pytest.fixture(scope="module")
def alpha():
    with DnsServer(ZONE, broken=["broken.test."]) as d:
        with Outbound({"tls.test": 'via = "mx" tls = "forced"'},
                      {"resolver": d.address, "smtp_port": ports.pick(), "local_data": [],
                       "connection_reuse": "1s"}) as s:
            s.dns = d
            with open(s.conf, encoding="utf-8") as f:
                line = next(x for x in f if x.startswith("smtp_port"))
            s.out = int(line.split("=")[1])
            yield s


def host(alpha, n, *args, **kw):
    return RawServer(*args, host=f"127.0.1.{n}", port=alpha.out, **kw)


def test_equal_preference_uses_both(alpha):
    with host(alpha, 1) as a, host(alpha, 2) as b:
        idents = []
        for i in range(24):  # each is drawn anew: one in 8 million runs draws the same host all the time
            idents.append(alpha.post(f"x{i}@equal.test"))
            alpha.gone(idents[-1])
            if a.letters and b.letters:
                break
            time.sleep(1.1)  # connections are reused for 1 s
        assert a.letters and b.letters
        assert len(a.letters) + len(b.letters) == len(idents)


def test_lower_preference_first(alpha):
    with host(alpha, 3) as a, host(alpha, 4) as b:
        for i in range(3):
            alpha.gone(alpha.post(f"x{i}@order.test"))
        assert len(a.letters) == 3 and not b.connections


def test_next_host_when_the_first_is_dead(alpha):
    with host(alpha, 6) as b:
        ident = alpha.post("x@dead.test")
        alpha.gone(ident, 3)
        assert len(b.letters) == 1
        assert "b.dead.test" in alpha.trace(ident)


def test_next_host_when_the_first_has_no_address(alpha):
    with host(alpha, 7) as b:
        alpha.gone(alpha.post("x@lost.test"), 3)
        assert len(b.letters) == 1


@pytest.mark.parametrize("table", [{"": b"421 4.3.2 busy\r\n"}, {"": b"554 5.3.2 no\r\n"},
                                   {"": None}], ids=["421", "554", "closed"])
def test_next_host_when_the_first_is_busy(alpha, table):
    with host(alpha, 8, table) as a, host(alpha, 9) as b:
        alpha.gone(alpha.post("x@busy.test"), 4)
        assert a.connections >= 1 and len(b.letters) == 1


def test_refusal_of_the_first_host_is_final(alpha):
    with host(alpha, 10, {"RCPT": b"550 5.1.1 nobody\r\n"}), host(alpha, 11) as b:
        alpha.post("x@no.test")
        fields = alpha.report("x@no.test", 4).recipients["x@no.test"]
        assert fields["status"] == "5.1.1" and "a.no.test" in fields["remote-mta"]
        assert not b.connections


def test_second_address_of_a_host(alpha):
    with host(alpha, 18) as b:
        for i in range(2):
            alpha.gone(alpha.post(f"x{i}@two.test"), 4)
        assert len(b.letters) == 2


def test_null_mx(alpha):
    alpha.post("x@null.test")
    assert alpha.report("x@null.test", 4).recipients["x@null.test"]["status"] == "5.1.10"


@pytest.mark.parametrize("domain", ["implicit.test", "www.alias.test"])
def test_address_alone(alpha, domain):
    with host(alpha, 12) as s:
        alpha.gone(alpha.post("x@" + domain), 4)
        assert len(s.letters) == 1


def test_no_mail_to_oneself(alpha):
    """The best host is this one, and the domain is not ours: it would come back."""
    with host(alpha, 13) as b, host(alpha, 16) as own:
        alpha.post("x@self.test")
        fields = alpha.report("x@self.test", 4).recipients["x@self.test"]
        assert fields["status"] == "5.4.6", fields
        assert not b.connections and not own.connections


def test_backup_mx_goes_upwards_only(alpha):
    """Hosts that are not preferred to us are not tried: they would send it back."""
    with host(alpha, 15) as c, host(alpha, 16) as own:
        ident = alpha.post("x@backup.test")
        alpha.deferred(ident)
        with host(alpha, 14) as a:
            alpha.gone(ident)
            assert len(a.letters) == 1
        assert not c.connections and not own.connections


@pytest.mark.parametrize("domain, status", [("missing.test", "5.1.2"), ("text.test", "5.1.2")])
def test_domain_that_takes_no_mail_fails_at_once(alpha, domain, status):
    alpha.post("x@" + domain)
    fields = alpha.report("x@" + domain, 4).recipients["x@" + domain]
    assert fields["action"] == "failed"
    assert fields["status"] in (status, "5.4.4"), fields


def test_broken_zone_defers(alpha):
    ident = alpha.post("x@broken.test")
    entry = alpha.deferred(ident)
    assert entry["status"].startswith("4.4."), entry
    alpha.tool("queue", "drop", ident)


def test_forced_tls_looks_for_a_host_that_has_it(alpha, tmp_path):
    with host(alpha, 19) as a:
        cert = Authority(tmp_path).issue("b.tls.test")
        with host(alpha, 20, tls=server_context(cert)) as b:
            alpha.gone(alpha.post("x@tls.test"), 5)
            assert len(b.letters) == 1 and not a.letters and b"MAIL" not in a.octets


def test_address_literal(alpha):
    with host(alpha, 30) as s:
        alpha.gone(alpha.post("x@[127.0.1.30]"), 4)
        assert s.recipients() == ["x@[127.0.1.30]"]


# ---- servers of their own ------------------------------------------------------------------------

@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.1.1",
                                     "0.0.0.0"])
def test_loopback_and_private_targets_are_refused(strict, address):
    server, peer = strict
    domain = "to-" + address.replace(".", "-") + ".test"
    server.post("x@" + domain)
    fields = server.report("x@" + domain, 8).recipients["x@" + domain]
    assert fields["action"] == "failed" and "address" in fields.get("diagnostic-code", "") + \
        server.report("x@" + domain).text
    assert not peer.connections


@pytest.fixture(scope="module")
def strict():
    with RawServer() as peer:
        data = []
        for a in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.1.1", "0.0.0.0"):
            domain = "to-" + a.replace(".", "-") + ".test."
            data += [f"{domain} MX 10 mx.{domain}", f"mx.{domain} A {a}"]
        with Outbound({}, {"private_targets": False, "smtp_port": peer.port, "local_data": data,
                           "queue_lifetime": "3s"}) as s:
            yield s, peer


def test_silent_name_server_defers():
    """The time-out is the resolver's (25 s); meanwhile other letters go their way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with Outbound({"a.test": ""}, {"resolver": "127.0.0.1:%d" % silent.getsockname()[1],
                                       "queue_lifetime": "1h"}) as s:
            ident = s.post("x@unknown.test")
            with RawServer(port=s.port["a.test"]) as a:
                s.gone(s.post("x@a.test"))
                assert len(a.letters) == 1
            assert s.queued(ident)
            entry = wait_for(lambda: next((r for r in s.queued(ident)["rcpts"]
                                           if r["state"] == "deferred" and r["attempts"]), None),
                             40, what="deferral")
            assert entry["status"].startswith("4.4."), entry
