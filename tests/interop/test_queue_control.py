"""What the operator does with the queue: hold, release, pause, resume."""
import pytest
from harness.rawserver import RawServer
from harness.server import Server, wait_for


@pytest.fixture
def hop():
    with RawServer() as s:
        yield s


@pytest.fixture
def alpha(hop):
    with Server("alpha.test", users=["ann@alpha.test", "carl@alpha.test"], settings={
            "resolver": "127.0.0.1:1", "smtp_port": hop.port, "retry_first": "1s",
            "local_data": ["beta.test. MX 10 mx.beta.test.", "mx.beta.test. A 127.0.0.1",
                           "gamma.test. MX 10 mx.beta.test."]},
            extra='route "inner.test" { via = "smarthost" host = "127.0.0.1" port = 9 }') as s:
        yield s


def queue(alpha):
    return alpha.json("queue", "list")


def states(alpha):
    return sorted((r["address"], r["state"]) for q in queue(alpha) for r in q["rcpts"])


def test_a_paused_destination_waits_through_a_restart(alpha, hop):
    assert alpha.json("queue", "pause", "Beta.test") == [{"paused": "Beta.test"}]
    alpha.submit(["bob@beta.test", "joe@gamma.test"])
    wait_for(lambda: set(hop.recipients()) == {"joe@gamma.test"}, 10, what="the other destination")
    for _ in range(2):  # by the log, and by the checkpoint that the first start made of it
        alpha.crash()
        alpha.start()
    letter, = wait_for(lambda: queue(alpha), 10)
    r = next(r for r in letter["rcpts"] if r["address"] == "bob@beta.test")
    assert r["paused"] is True and r["destination"] == "beta.test" and r["state"] == "waiting"
    why = " ".join(alpha.tool("queue", "why", letter["id"]).split())
    assert "It is paused by the operator: nothing goes to beta.test until `queue resume`." in why
    assert "beta.test is paused" in alpha.tool("queue", "list")
    assert "nothing goes to Beta.test until" in alpha.tool("status")
    assert alpha.tool("queue", "pause").strip() == "paused: Beta.test"
    alpha.tool("queue", "retry", "all")  # is no way around it
    alpha.submit("carl@alpha.test")
    alpha.wait_mail("carl@alpha.test")
    assert set(hop.recipients()) == {"joe@gamma.test"}  # twice where the crash came early
    assert alpha.tool("queue", "unpause", "beta.test").strip() == "Nothing is paused any more."
    wait_for(lambda: "bob@beta.test" in hop.recipients(), 10, what="the letter")
    wait_for(lambda: not queue(alpha), 10)
    alpha.crash()
    alpha.start()
    assert alpha.json("queue", "pause") == []


def test_pause_all_stops_mailboxes_too(alpha, hop):
    alpha.tool("queue", "pause", "all")
    alpha.submit(["bob@beta.test", "carl@alpha.test"])
    assert states(alpha) == [("bob@beta.test", "waiting"), ("carl@alpha.test", "waiting")]
    alpha.tool("queue", "resume", "all")
    alpha.wait_mail("carl@alpha.test")
    wait_for(lambda: hop.letters, 10)


@pytest.mark.parametrize("args, status, words", [
    (("pause", "alpha.test"), 65, "the name of all mailboxes is local"),
    (("pause", "bob@beta.test"), 65, "no destination"),
    (("pause", "x" * 300), 65, "which destination?"),
    (("pause", "b\u00fccher.test"), 65, "in ASCII"),
    (("resume", "beta.test"), 69, "not paused"),
    (("resume",), 64, ""),
    (("hold",), 64, "which letters?"),
    (("release", "zzz"), 65, "neither a letter's id"),
])
def test_wrong_words(alpha, args, status, words):
    p = alpha.tool("queue", *args, check=False)
    assert p.returncode == status and words in p.stderr, p


def test_a_route_with_one_server_is_paused_by_its_title(alpha):
    alpha.tool("queue", "pause", "inner.test")
    alpha.submit("x@inner.test")
    letter, = queue(alpha)
    assert letter["rcpts"][0]["paused"] and letter["rcpts"][0]["attempts"] == 0


def test_hold_and_release(alpha, hop):
    alpha.tool("queue", "pause", "all")
    alpha.submit(["bob@beta.test", "joe@gamma.test"])
    alpha.submit("carl@alpha.test")
    assert alpha.json("queue", "hold", "--domain", "beta.test") == [{"letters": 1}]
    assert alpha.json("queue", "hold", "--recipient", "carl@alpha.test") == [{"letters": 1}]
    assert alpha.json("queue", "hold", "--recipient", "carl@alpha.test") == [{"letters": 0}]
    held = [("bob@beta.test", "held"), ("carl@alpha.test", "held"), ("joe@gamma.test", "waiting")]
    assert states(alpha) == held
    alpha.crash()
    alpha.start()
    wait_for(lambda: states(alpha) == held, 10)
    alpha.tool("queue", "resume", "all")
    wait_for(lambda: states(alpha) == [("bob@beta.test", "held"), ("carl@alpha.test", "held"),
                                       ("joe@gamma.test", "delivered")], 10)
    first = next(q for q in queue(alpha) if len(q["rcpts"]) == 2)
    assert "held by the operator" in alpha.tool("queue", "why", first["id"])
    assert len(alpha.json("queue", "list", "--held")) == 2
    assert alpha.json("queue", "release", first["id"]) == [{"letters": 1}]
    wait_for(lambda: hop.recipients().count("bob@beta.test") == 1, 10)
    assert "released" in alpha.tool("trace", first["id"])
    assert not alpha.mail("carl@alpha.test")
    assert alpha.json("queue", "release", "--held") == [{"letters": 1}]
    alpha.wait_mail("carl@alpha.test")


def test_what_is_being_delivered_is_held_when_it_comes_back(alpha, hop):
    hop.replies = {"RCPT": 2, ".": b"451 4.3.0 later\r\n"}
    hop.replies["RCPT"] = b"451 4.3.0 later\r\n"
    hop.replies["MAIL"] = 2
    alpha.submit("bob@beta.test")
    wait_for(lambda: states(alpha) == [("bob@beta.test", "trying")], 10)
    assert alpha.json("queue", "hold", "all") == [{"letters": 1}]
    wait_for(lambda: states(alpha) == [("bob@beta.test", "held")], 10)
    assert "the last answer: later" in alpha.tool("queue", "list")
