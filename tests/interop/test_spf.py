"""letterlock spf, by real DNS: the public suite of RFC 7208, limits counted at the name server, and
what a name server may do wrong."""
import json
import os
import subprocess

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import pytest
import yaml
from harness.dnsserver import DnsServer
from harness.server import BUILD, testdata

LETTERLOCK = os.path.join(BUILD, "letterlock")


def spf(server, ip, mail_from="", helo="mail.example.test", *more):
    """An empty trust anchor: the test's server signs nothing, and need not be asked for keys."""
    p = subprocess.run([LETTERLOCK, "spf", "--json", "--resolver", server.address, "--ip", ip,
                        "--helo", helo, "--mail-from", mail_from, "--dns-timeout", "1",
                        "--trust-anchor", "/dev/null", *more],
                       capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert p.returncode == 0, p.stderr
    return json.loads(p.stdout)


# ---- the suite -----------------------------------------------------------------------------------

def txt(value):
    """A TXT record: a string of octets, cut into 255 each, or a list of strings."""
    strings = [value] if isinstance(value, str) else value
    raw = [s.encode("latin-1") for s in strings]
    if len(raw) == 1 and len(raw[0]) > 255:
        raw = [raw[0][i:i + 255] for i in range(0, len(raw[0]), 255)]
    return dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, raw or [b""])


def rdata(kind, value):
    if kind == "TXT":
        return txt(value)
    if kind == "MX":
        value = "%d %s" % (value[0], escaped(value[1]))
    elif kind in ("PTR", "CNAME"):
        value = escaped(value)
    return dns.rdata.from_text("IN", kind, value)


def escaped(name):
    return name.rstrip(".").replace(" ", "\\032") + "."


def serve(zone):
    """The suite's zone: SPF stands for TXT where the name has no TXT of its own, "TXT: NONE" says
    that there is none, TIMEOUT that other types get no answer."""
    mute = []
    server = DnsServer()
    for name, entries in zone.items():
        rows = [next(iter(e.items())) for e in entries if isinstance(e, dict)]
        own = any(kind == "TXT" for kind, _ in rows)
        if "TIMEOUT" in entries:
            mute.append(name.lower() + ".")
        for kind, value in rows:
            if kind == "SPF" and own or value == "NONE":
                continue
            server.add(name + ".", rdata("TXT" if kind == "SPF" else kind, value))
    server.mute = mute
    return server


def suite():
    path = testdata("spf-rfc7208/rfc7208-tests.yml")
    if not path:
        return []
    with open(path, encoding="utf-8") as f:
        return [s for s in yaml.safe_load_all(f) if s]


def scenarios():
    found = suite()
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason="the suite spf-rfc7208 is not there"))]
    return [pytest.param(s, id=s["description"].replace(" ", "-")) for s in found]


@pytest.mark.parametrize("scenario", scenarios())
def test_suite(scenario):
    wrong = []
    with serve(scenario["zonedata"]) as server:
        for name, case in scenario["tests"].items():
            got = spf(server, case["host"], case["mailfrom"] or "", case["helo"])
            wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
            text = case.get("explanation")
            if got["result"] not in wanted:
                wrong.append(f"{name}: {got['result']}, not {wanted} ({got['problem']})")
            elif text == "DEFAULT" and got["explanation_from_domain"]:
                wrong.append(f"{name}: explained by {got['explanation']!r}")
            elif text and text != "DEFAULT" and got["explanation"] != text:
                wrong.append(f"{name}: explained by {got['explanation']!r}, not {text!r}")
    assert not wrong, "\n".join(wrong)


def test_suite_is_whole():
    found = suite()
    if not found:
        pytest.skip("the suite spf-rfc7208 is not there")
    assert sum(len(s["tests"]) for s in found) == 203


# ---- what a name server may do -------------------------------------------------------------------

def test_server_that_fails_or_says_nothing():
    zone = ['ok.test. TXT "v=spf1 a:broken.test -all"', 'slow.test. TXT "v=spf1 a:silent.test -all"',
            'why.test. TXT "v=spf1 -all exp=silent.test"']
    with DnsServer(zone, broken=["broken.test."], silent=["silent.test."]) as d:
        for domain in ("broken.test", "silent.test", "ok.test", "slow.test"):
            assert spf(d, "192.0.2.1", f"ann@{domain}")["result"] == "temperror", domain
        got = spf(d, "192.0.2.1", "ann@why.test")  # decided: only the explanation did not come
        assert got["result"] == "fail" and not got["explanation_from_domain"]
        assert got["explanation"] == "192.0.2.1 is not allowed to send mail from why.test"


def test_truncated_answers_come_by_tcp():
    long = "v=spf1 " + " ".join(f"ip4:10.{i}.0.0/16" for i in range(250)) + " ip4:192.0.2.0/24 -all"
    with DnsServer(['cut.test. TXT "v=spf1 a -all"', "cut.test. A 192.0.2.1"],
                   truncated=["cut.test."]) as d:
        d.add("long.test.", txt(long))
        assert spf(d, "192.0.2.1", "ann@cut.test")["result"] == "pass"
        assert d.by_tcp == ["cut.test."] * 2
        got = spf(d, "192.0.2.1", "ann@long.test")  # 4 KiB: truncated because it is long
        assert got["result"] == "pass" and got["mechanism"] == "ip4:192.0.2.0/24"
        assert d.by_tcp == ["cut.test."] * 2 + ["long.test."]


def test_identities():
    zone = ['h.test. TXT "v=spf1 exists:%{l}.%{o}.is.test -all"', "postmaster.h.test.is.test. A 127.0.0.1",
            'x.test. TXT "v=spf1 -all exp=why.test"', 'why.test. TXT "%{s} %{h} %{r}"']
    with DnsServer(zone) as d:
        for null in ("", "<>"):  # the null reverse-path is postmaster@HELO
            got = spf(d, "192.0.2.1", null, "h.test")
            assert (got["result"], got["identity"], got["domain"]) == ("pass", "helo", "h.test")
        got = spf(d, "192.0.2.1", "<ann@x.test>", "h.test", "--receiver", "mx.test")
        assert (got["result"], got["identity"]) == ("fail", "mailfrom")
        assert got["explanation"] == "ann@x.test h.test mx.test"


def command(*words):
    return subprocess.run([LETTERLOCK, "spf", *words], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)


def test_text_and_field():
    with DnsServer(['x.test. TXT "v=spf1 ip4:192.0.2.1 -all"']) as d:
        ask = ["--resolver", d.address, "--ip", "192.0.2.1", "--helo", "h.test", "--mail-from", "ann@x.test"]
        p = command(*ask)
        assert p.returncode == 0 and "result: pass\n" in p.stdout
        p = command(*ask, "--field", "--receiver", "mx.test")
        assert p.stdout.startswith("Received-SPF: pass (mx.test: x.test:") and \
            'envelope-from="ann@x.test"' in p.stdout and 'client-ip="192.0.2.1"' in p.stdout


@pytest.mark.parametrize("words, says", [
    (["--ip", "192.0.2.1"], "--helo"),
    (["--helo", "h.test"], "--ip"),
    (["--ip", "192.0.2", "--helo", "h.test"], "write an address as"),
    (["--ip", "192.0.2.1", "--helo", "h.test", "--resolver", "nowhere"], "write a resolver as"),
])
def test_wrong_usage(words, says):
    p = command(*words)
    assert p.returncode in (64, 78) and says in p.stderr and p.stdout == ""


# ---- hostile records: questions are counted where they arrive ------------------------------------

def questions(server, domain, ip="192.0.2.1"):
    """The result, and how many questions the name server got (a truncated one comes again by TCP)."""
    server.asked.clear()
    got = spf(server, ip, f"ann@{domain}")
    asked = len(set(server.asked))
    assert asked <= got["dns"]["questions"]  # libunbound may know the answer
    return got["result"], asked


def test_hostile_records_ask_no_more_than_the_limits():
    zone = ['loop.test. TXT "v=spf1 include:loop.test include:loop.test redirect=loop.test"',
            'hosts.test. TXT "v=spf1 mx -all"', 'eleven.test. TXT "v=spf1 mx -all"',
            'ptr.test. TXT "v=spf1 ptr -all"']
    zone += [f"hosts.test. MX {i} h{i}.hosts.test." for i in range(10)]
    zone += [f"eleven.test. MX {i} h{i}.eleven.test." for i in range(11)]
    zone += [f"1.2.0.192.in-addr.arpa. PTR n{i}.ptr.test." for i in range(50)]
    zone += [f"h{i}.hosts.test. A 198.51.100.1" for i in range(10)]
    for m in range(40):
        zone += [f"m{m}.wide.test. MX {i} h{i}.m{m}.wide.test." for i in range(10)]
        zone += [f"h{i}.m{m}.wide.test. A 198.51.100.1" for i in range(10)]
    for i in range(30):  # the includes of includes double with each step
        zone.append(f'n{i}.test. TXT "v=spf1 include:n{i + 1}.test include:n{i + 2}.test ?all"')
    with DnsServer(zone) as d:
        d.add("voids.test.", txt("v=spf1 " + " ".join(f"exists:%{{i}}.{i}.voids.test" for i in range(60))))
        d.add("wide.test.", txt("v=spf1 " + " ".join(f"mx:m{i}.wide.test" for i in range(40))))
        assert questions(d, "loop.test") == ("permerror", 1)  # the rest is in the cache
        assert questions(d, "n0.test") == ("permerror", 1 + 10)
        assert questions(d, "voids.test") == ("permerror", 1 + 3)
        assert questions(d, "hosts.test") == ("fail", 2 + 10)
        assert questions(d, "eleven.test") == ("permerror", 2)
        assert questions(d, "ptr.test") == ("fail", 2 + 10)
        assert questions(d, "wide.test") == ("permerror", 1 + 10 * 11)


# ---- the library's example -----------------------------------------------------------------------

def example(name, *words):
    p = subprocess.run([os.path.join(BUILD, "doc", "examples", "example-" + name), *words],
                       capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    return p.returncode, p.stdout


def test_example_program():
    with DnsServer(['x.test. TXT "v=spf1 a -all"', "x.test. A 192.0.2.1"]) as d:
        assert example("spf", "192.0.2.1", "h.test", "ann@x.test", d.address) == (0, "pass \n")
        code, out = example("spf", "192.0.2.2", "h.test", "ann@x.test", d.address)
        assert code == 0 and out == "fail 192.0.2.2 is not allowed to send mail from x.test\n"
        assert example("spf", "192.0.2.1", "h.test", "ann@none.test", d.address)[1].startswith("none ")
        assert example("spf")[0] == 64
