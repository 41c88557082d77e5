"""SPF against pyspf, an implementation of its own: the same records, the same name server, many of
them made up."""
import random

import dns.rdata
import dns.resolver
import pytest
from harness.dnsserver import DnsServer
from test_spf import spf, txt

DOMAINS = ["a.test", "b.test", "c.test", "d.test", "e.test"]
SPECS = ["%{d}", "%{o}", "%{i}.x.test", "%{ir}.%{v}.x.test", "%{l}.x.test", "%{l1r-}.x.test", "%{d2}", "%{h}",
         "%{p}.x.test", "%{H}.x.test", "none.test", "%{d1r}.x.test", "%{s}.x.test", "%{dr-}.x.test", "x..test",
         "%{D2r}.x.test", "x.t%", "%{z}.t", "test", "%{d}.", "%%.x.test"]
ASKS = [(ip, f"{local}@{domain}", helo) for ip in ("192.0.2.1", "2001:db8::1") for domain in DOMAINS
        for local, helo in (("ann", "h.test"), ("bob-x", "a.test"))]
# Where pyspf reads RFC 7208 in another way; ours is in doc/design/spf.md.
OTHERWISE = ("trivial recursion",  # a record that includes itself is permerror before it is evaluated
             "Void lookup limit",  # counted once a question; 4.6.4 says once a term
             "c,r,t macros")       # in unknown modifiers, too


def spec(r):
    return r.choice(SPECS if r.random() < .4 else DOMAINS)


def cidr(r):
    return r.choice(["/24", "/0", "/32", "//64", "/24//64", "//0", "/33", "/08"]) if r.random() < .3 else ""


def term(r):
    sign = r.choice(["", "", "+", "-", "~", "?"])
    kinds = [(3, lambda: sign + "a" + r.choice(["", ":" + spec(r)]) + cidr(r)),
             (3, lambda: sign + "mx" + r.choice(["", ":" + spec(r)]) + cidr(r)),
             (3, lambda: sign + "include:" + spec(r)),
             (2, lambda: sign + "exists:" + spec(r)),
             (1, lambda: sign + "ptr" + r.choice(["", ":" + spec(r)])),
             (3, lambda: sign + "ip4:" + r.choice(["192.0.2.0/25", "10.0.0.0/8", "10.0.0.0/8", "192.0.2"])),
             (2, lambda: sign + "ip6:" + r.choice(["2001:db8::/33", "fe80::1", "fe80::1", "::1/129"])),
             (2, lambda: "redirect=" + spec(r)),
             (1, lambda: r.choice(["x=y", "x.y-z=%{d}", "foo=%z", "1x=y", "=", "moo"])),
             (1, lambda: sign + "all")]
    return r.choices([k for _, k in kinds], [w for w, _ in kinds])[0]()


def fill(server, r):
    for domain in DOMAINS:
        if r.random() < .9:
            words = ["v=spf1"] + [term(r) for _ in range(r.randint(0, 5))] + r.choice([[], ["-all"], ["~all"]])
            server.add(domain + ".", txt(" ".join(words)))
        if r.random() < .04:
            server.add(domain + ".", txt("v=spf1 -all"))
        for kind, data in [("A", r.choice(["192.0.2.1", "192.0.2.9", "198.51.100.200"])),
                           ("AAAA", r.choice(["2001:db8::1", "2001:db8::9"])),
                           ("MX", "1 " + r.choice(DOMAINS) + "."), ("MX", "2 " + r.choice(DOMAINS) + ".")]:
            if r.random() < .6:
                server.add(domain + ".", dns.rdata.from_text("IN", kind, data))
    for name in ("192.0.2.1.x.test.", "1.2.0.192.in-addr.x.test.", "ann.x.test.", "bob.x.test.", "test.x.test."):
        if r.random() < .5:
            server.add(name, dns.rdata.from_text("IN", "A", "127.0.0.1"))
    if r.random() < .7:
        server.add("1.2.0.192.in-addr.arpa.", dns.rdata.from_text("IN", "PTR", r.choice(DOMAINS) + "."))


@pytest.mark.filterwarnings("ignore:please use dns.resolver.resolve")
@pytest.mark.parametrize("seed", range(6))
def test_same_results_as_pyspf(seed, monkeypatch):
    peer = pytest.importorskip("spf", reason="python3-spf is not there")
    r = random.Random(seed)
    compared, wrong = 0, []
    with DnsServer() as server:
        fill(server, r)
        resolver = dns.resolver.Resolver(configure=False)  # pyspf asks by dnspython's default
        resolver.nameservers, resolver.port = ["127.0.0.1"], int(server.address.rpartition(":")[2])
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        for ip, sender, helo in ASKS:
            theirs, _, why = peer.query(i=ip, s=sender, h=helo, receiver="unknown", strict=True).check()
            if any(o in why for o in OTHERWISE):
                continue
            ours = spf(server, ip, sender, helo)
            compared += 1
            if ours["result"] != theirs:
                records = "; ".join(f"{n} {s[0].to_text()}" for (n, k), s in server.sets.items() if k == "TXT")
                wrong.append(f"{ip} {sender} {helo}: {ours['result']} ({ours['problem']}), pyspf says {theirs} "
                             f"({why}): {records}")
    assert not wrong, "\n".join(wrong)
    assert compared > len(ASKS) // 4
