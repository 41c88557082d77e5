"""From where letters leave: source address, IPv4 and IPv6, the name in EHLO; and a backup MX."""
import re
import smtplib

import pytest
from harness import ports
from harness.dnsserver import DnsServer
from harness.outbound import Outbound
from harness.rawserver import RawServer
from harness.server import wait_for

BOTH = ["both.test. MX 10 mx.both.test.", "mx.both.test. A 127.0.0.1", "mx.both.test. AAAA ::1",
        "four.test. MX 10 mx.four.test.", "mx.four.test. A 127.0.0.1"]


def outbound(port, routes=None, names=BOTH, extra="", **settings):
    return Outbound(routes or {}, {"smtp_port": port, "local_data": names, **settings},
                    extra=extra)


def test_source_address_and_helo():
    with RawServer() as hop, outbound(
            hop.port, {"four.test": 'via = "mx" source_ipv4 = "127.0.3.2" helo = "out.alpha.test"'},
            source_ipv4="127.0.3.1") as alpha:
        alpha.gone(alpha.post("x@four.test"))
        assert hop.peers == ["127.0.3.2"] and b"EHLO out.alpha.test\r\n" in hop.octets
        alpha.gone(alpha.post("x@both.test", "once more\r\n"), 15)
        assert hop.peers[-1] == "127.0.3.1" and b"EHLO mx.alpha.test\r\n" in hop.octets


def test_a_source_that_is_not_ours():
    with RawServer() as hop, outbound(hop.port, source_ipv4="192.0.2.77") as alpha:
        ident = alpha.post("x@four.test")
        assert "Cannot assign requested address" in alpha.why(ident)
        p = alpha.tool("check", check=False)
        assert p.returncode == 78 and "192.0.2.77 cannot be a source address here" in p.stdout, p
        assert not hop.connections


@pytest.mark.parametrize("prefer, family", [("ipv6", "::1"), ("ipv4", "127.0.0.1"),
                                            ("ipv6-only", "::1"), ("ipv4-only", "127.0.0.1")])
def test_preference(prefer, family):
    with RawServer() as four, RawServer(host="::1", port=four.port) as six, \
            outbound(four.port, prefer=prefer) as alpha:
        alpha.gone(alpha.post("x@both.test"))
        assert [family] == six.peers + four.peers


def test_the_other_family_where_the_first_is_away_but_not_with_only():
    with RawServer() as four, outbound(
            four.port, {"both.test": 'via = "mx" prefer = "ipv6-only"',
                        "four.test": 'via = "mx" prefer = "ipv6-only"'},
            names=[*BOTH, "more.test. MX 10 mx.both.test."]) as alpha:
        alpha.gone(alpha.post("x@more.test"))
        assert four.peers == ["127.0.0.1"]
        alpha.deferred(alpha.post("x@both.test"))
        alpha.post("x@four.test")
        report = alpha.report("x@four.test")
        assert "has no IPv6 address, and its route uses no other" in report.text
        assert four.connections == 1


def test_backup():
    """The real zone of a domain that has us between its own MX hosts."""
    zone = ["backup.test. MX 10 a.backup.test.", "backup.test. MX 20 mx.alpha.test.",
            "backup.test. MX 30 c.backup.test.", "a.backup.test. A 127.0.1.14",
            "c.backup.test. A 127.0.1.15", "mx.alpha.test. A 127.0.1.16",
            "best.test. MX 10 mx.alpha.test.", "best.test. MX 20 c.backup.test."]
    port = ports.pick()
    domains = """
domain "backup.test" { backup = yes recipients = {"bob@backup.test"} ask_recipients = yes }
domain "best.test" { backup = yes recipients = {"bob@best.test"} lifetime = 10d }
"""
    domains = domains.replace(" backup = ", "\n    backup = ").replace(
        " recipients", "\n    recipients").replace(" ask_", "\n    ask_").replace(
        " lifetime", "\n    lifetime").replace(" }", "\n}")
    with DnsServer(zone) as d, outbound(port, names=[], extra=domains, resolver=d.address) as alpha, \
            RawServer(host="127.0.1.15", port=port) as worse:

        def outside(to):
            with alpha.smtp("mx") as s:
                s.sendmail("x@elsewhere.test", [to], "Subject: test\r\n\r\nhello\r\n")

        outside("bob@backup.test")  # known: taken while the primary is away
        letter, = wait_for(lambda: [q for q in alpha.json("queue", "list")
                                    if q["rcpts"][0]["state"] == "deferred"], 10)
        assert re.search("given up (29|30) days from now", alpha.tool("queue", "why", letter["id"]))
        with pytest.raises(smtplib.SMTPRecipientsRefused) as e:  # who else exists, nobody can say
            outside("eve@backup.test")
        assert e.value.recipients["eve@backup.test"][0] == 450
        with RawServer({"RCPT TO:<NOBODY@BACKUP.TEST>": b"550 5.1.1 no\r\n"}, host="127.0.1.14",
                       port=port) as primary:
            alpha.tool("queue", "retry", "all")
            wait_for(lambda: primary.recipients() == ["bob@backup.test"], 10)
            outside("eve@backup.test")
            wait_for(lambda: "eve@backup.test" in primary.recipients(), 10)
            with pytest.raises(smtplib.SMTPRecipientsRefused) as e:
                outside("nobody@backup.test")
            assert e.value.recipients["nobody@backup.test"][0] == 550
        # We are its best host: a letter waits for the zone to be repaired, and never goes round.
        outside("bob@best.test")
        letter, = wait_for(lambda: [q for q in alpha.json("queue", "list")
                                    if q["rcpts"][0]["state"] == "deferred"], 10)
        r, = letter["rcpts"]
        assert (r["address"], r["status"]) == ("bob@best.test", "4.4.6")
        assert re.search("given up (9|10) days from now", alpha.tool("queue", "why", letter["id"]))
        assert not worse.connections
