"""relay and dns within the whole server: peers that die, and a reload."""
import os
import signal

import pytest
from harness.rawserver import RawServer
from harness.server import Server, wait_for


@pytest.fixture
def hop():
    with RawServer() as s:
        yield s


def alpha(hop, **settings):
    return Server("alpha.test", settings={
        "resolver": "127.0.0.1:1", "smtp_port": hop.port, "retry_first": "1s",
        "local_data": ["beta.test. MX 10 mx.beta.test.", "mx.beta.test. A 127.0.0.1"],
        **settings})


def arrives(hop, text, seconds=15):
    wait_for(lambda: any(text in letter for letter in hop.letters), seconds, what=text)


def kill(server, role):
    for pid in server.role_pids(role):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("role", ["dns", "keeper", "relay", "queue"])
def test_a_letter_behind_a_killed_role_goes_out_soon(hop, role):
    with alpha(hop, retry_first="60s") as a:
        a.submit("bob@beta.test", "before\r\n")
        arrives(hop, b"before")
        kill(a, role)
        wait_for(lambda: a.role_pids(role), 5, what=role + " is back")
        a.submit("bob@beta.test", "behind\r\n")
        arrives(hop, b"behind", 10)


def test_a_letter_on_its_way_when_relay_is_killed():
    with RawServer([{".": 3}, {}]) as hop, alpha(hop) as a:
        a.submit("bob@beta.test", "once\r\n")
        arrives(hop, b"once")  # the server has it, and has not said so yet
        kill(a, "relay")
        wait_for(lambda: len(hop.letters) == 2, 15, what="the second copy")
        wait_for(lambda: not a.json("queue", "list"), 10, what="an empty queue")
        assert len(hop.letters) == 2


def test_reload_changes_routes(hop):
    with alpha(hop) as a:
        a.submit("bob@beta.test", "by mx\r\n")
        arrives(hop, b"by mx")
        with RawServer() as other:
            with open(a.conf, "a", encoding="utf-8") as f:
                f.write('\nroute "beta.test" { via = "smarthost" host = "127.0.0.1" '
                        f'port = {other.port} }}\n')
            a.tool("reload")
            wait_for(lambda: a.submit("bob@beta.test", "by route\r\n") == {} and
                     (wait_for(lambda: other.letters or len(hop.letters) > 1, 10) or True) and
                     other.letters, 20, what="a letter by the new route")


def test_reload_changes_names(hop):
    with alpha(hop, retry_first="60s") as a:
        a.set("local_data", ["gamma.test. MX 10 mx.gamma.test.", "mx.gamma.test. A 127.0.0.1"])
        a.tool("reload")
        a.submit("bob@gamma.test", "new name\r\n")
        arrives(hop, b"new name")


def test_forced_tls_that_cannot_be_had_is_returned_with_a_reason(hop):
    with alpha(hop, tls="forced", queue_lifetime="3s") as a:
        a.submit("bob@beta.test", "secret\r\n")
        report, = a.wait_mail("ann@alpha.test", 1, 30)
        words = b" ".join(report.split())
        assert b"does not offer STARTTLS" in words and b"no letter was sent in clear" in words
        assert not hop.letters and b"MAIL" not in hop.octets


def test_the_queue_dies_while_a_server_thinks():
    """relay finishes what it began, without anybody to tell; the new queue sends a second copy."""
    with RawServer([{".": 2}, {}]) as hop, alpha(hop) as a:
        a.submit("bob@beta.test", "once\r\n")
        arrives(hop, b"once")
        relay = a.role_pids("relay")
        kill(a, "queue")
        wait_for(lambda: len(hop.letters) == 2, 15, what="the second copy")
        wait_for(lambda: not a.json("queue", "list"), 10, what="an empty queue")
        assert a.role_pids("relay") == relay
        a.submit("bob@beta.test", "more\r\n")
        arrives(hop, b"more")
