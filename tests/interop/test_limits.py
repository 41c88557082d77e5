"""How much goes to one destination: connections, letters a minute, recipients; and what a server
that wants less gets."""
import time

from harness.outbound import Outbound
from harness.rawserver import RawServer
from harness.server import wait_for

NAMES = ["a.test. MX 10 mx.a.test.", "mx.a.test. A 127.0.0.1", "b.test. MX 10 mx.a.test."]


def outbound(port, routes=None, **settings):
    return Outbound(routes or {}, {"smtp_port": port, "local_data": NAMES,
                                   "queue_lifetime": "1h", **settings})


def send(alpha, n, to="x{}@a.test"):
    return [alpha.post(to.format(i)) for i in range(n)]


def test_connections():
    with RawServer({".": 0.3}) as hop, outbound(
            hop.port, {"a.test": 'via = "mx" concurrency = 2'}) as alpha:
        send(alpha, 10)
        wait_for(lambda: len(hop.letters) == 10, 20)
        assert hop.peak == 2
    with RawServer({".": 0.3}) as hop, outbound(hop.port, destination_concurrency=1) as alpha:
        send(alpha, 4)
        wait_for(lambda: len(hop.letters) == 4, 20)
        assert hop.peak == 1


def test_letters_a_minute():
    """60 a minute: the first at once, then one a second; other destinations do not wait."""
    with RawServer() as hop, outbound(hop.port, {"a.test": 'via = "mx" rate = 60'}) as alpha:
        ids = send(alpha, 5)
        send(alpha, 5, "y{}@b.test")
        assert "at most 60 letters a minute" in alpha.tool("queue", "why", ids[-1])
        wait_for(lambda: len(hop.letters) == 10, 20)
        times = [t for t, (_, rcpts) in zip(hop.times, hop.envelopes) if "@a.test" in rcpts[0]]
        assert times[-1] - times[0] >= 3, times
        # A destination that is empty for a moment does not begin anew.
        began = time.monotonic()
        for i in range(3):
            alpha.gone(alpha.post(f"z{i}@a.test"))
        assert time.monotonic() - began >= 1.5


def test_recipients():
    with RawServer() as hop, outbound(hop.port, destination_recipients=2) as alpha:
        alpha.post([f"x{i}@a.test" for i in range(5)])
        wait_for(lambda: len(hop.recipients()) == 5, 10)
        assert all(len(rcpts) <= 2 for _, rcpts in hop.envelopes)
        assert len(set(hop.recipients())) == 5


def test_limits_that_the_server_tells():
    """RFC 9422; by a smarthost, so that letters for two domains travel together."""
    with RawServer(ehlo=("PIPELINING", "LIMITS RCPTMAX=2 MAILMAX=2 RCPTDOMAINMAX=1")) as hop, \
            outbound(9, {"*": f'via = "smarthost" host = "127.0.0.1" port = {hop.port}'}) as alpha:
        ident = alpha.post([f"x{i}@a.test" for i in range(5)] + [f"y{i}@b.test" for i in range(3)])
        wait_for(lambda: len(hop.recipients()) == 8, 15)
        assert len(set(hop.recipients())) == 8
        for _, rcpts in hop.envelopes:
            assert len(rcpts) <= 2 and len({r.partition("@")[2] for r in rcpts}) == 1
        assert hop.connections >= (len(hop.envelopes) + 1) // 2
        # Nothing of that is a failure: no try is counted twice, and nobody rests.
        assert all(e["event"] != "deferred" for e in alpha.json("trace", ident))


def test_a_server_that_wants_less_is_left_alone():
    """421 at the greeting: the destination rests, in spite of the connections it may have."""
    with RawServer({"": b"421 4.7.0 too many connections\r\n"}) as hop, outbound(
            hop.port, retry_first="20s") as alpha:  # rests 2 s, 4 s ...
        ids = send(alpha, 1)
        alpha.deferred(ids[0])
        more = send(alpha, 6)
        why = " ".join(alpha.tool("queue", "why", more[-1]).split())
        assert "a.test has trouble and rests for" in why and "too many connections" in why, why
        assert "it asked for less" in why, why
        assert hop.connections <= 2
        hop.replies.clear()
        wait_for(lambda: len(hop.letters) >= 6, 30, what="letters after the rest")


def test_a_refusal_by_rule_makes_it_rest():
    with RawServer({"MAIL": b"450 4.7.1 slow down\r\n"}) as hop, outbound(
            hop.port, retry_first="50s") as alpha:
        ident = send(alpha, 1)[0]
        alpha.deferred(ident)
        later = alpha.post("other@a.test")
        why = " ".join(alpha.tool("queue", "why", later).split())
        assert "rests for" in why and "slow down" in why, why
        assert alpha.queued(later)["rcpts"][0]["attempts"] == 0


def test_a_plain_deferral_makes_nobody_rest():
    with RawServer({"RCPT": b"450 4.2.1 mailbox busy\r\n"}) as hop, outbound(
            hop.port, retry_first="50s") as alpha:
        alpha.deferred(send(alpha, 1)[0])
        hop.replies.clear()
        alpha.gone(alpha.post("other@a.test"))
