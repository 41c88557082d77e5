"""Letters on their way out: refusals, troubles of all kinds, the queue's patience, routes."""
import os
import signal
import time

import pytest
from harness.outbound import Outbound
from harness.rawserver import RawServer
from harness.server import wait_for

LONG = "".join(f"line {i:06d} of a longer letter\r\n" for i in range(12000))  # its body is a file
ENDLESS = b"250-more and more\r\n" * 100000

# What the first connection meets; the second is a good one.
TROUBLES = {
    "greeting-421": {"": b"421 4.3.2 busy\r\n"},
    "greeting-421-closed": [{"": b"421 4.3.2 busy\r\n", "EHLO": None}, {}],
    "greeting-dropped": {"": None},
    "greeting-garbage": {"": b"\x16\x03\x01\x02\x00\x01\x00 not SMTP\r\n"},
    "greeting-without-end": {"": b"220 " + b"x" * 300000},
    "ehlo-421": {"EHLO": b"421 4.3.2 busy\r\n"},
    "ehlo-garbage": {"EHLO": b"this is no reply\r\n"},
    "ehlo-endless": {"EHLO": ENDLESS},
    "ehlo-dropped": {"EHLO": None, "HELO": None},
    "mail-421": {"MAIL": b"421 4.3.2 busy\r\n"},
    "mail-451": {"MAIL": b"451 4.3.0 later\r\n"},
    "mail-unasked": {"MAIL": b"250 a\r\n" * 9},
    "mail-999": {"MAIL": b"999 what\r\n"},
    "mail-endless": {"MAIL": ENDLESS},
    "rcpt-421": {"RCPT": b"421 4.3.2 busy\r\n"},
    "rcpt-450": {"RCPT": b"450 4.2.1 greylisted\r\n"},
    "rcpt-dropped": {"RCPT": None},
    "data-421": {"DATA": b"421 4.3.2 busy\r\n"},
    "data-451": {"DATA": b"451 4.3.0 later\r\n"},
    "data-dropped": {"DATA": None},
    "data-250": {"DATA": b"250 2.0.0 taken already\r\n"},
    "content-cut": {"cut": 1000},
    "content-reset": {"cut": 1000, "reset": True},
    "dot-421": {".": b"421 4.3.2 busy\r\n"},
    "dot-451": {".": b"451 4.3.0 later\r\n"},
    "dot-dropped": {".": None},
    "dot-garbage": {".": b"thanks\r\n"},
}
REFUSALS = {
    "mail-550": ({"MAIL": b"550 5.7.1 not you\r\n"}, "5.7.1", "not you"),
    "rcpt-550": ({"RCPT": b"550 5.1.1 nobody\r\n"}, "5.1.1", "nobody"),
    "rcpt-553-plain": ({"RCPT": b"553 no code behind\r\n"}, "5.", "no code behind"),
    "data-554": ({"DATA": b"554 5.6.0 no letters\r\n"}, "5.6.0", "no letters"),
    "dot-552": ({".": b"552-5.3.4 it is\r\n552 5.3.4 too big\r\n"}, "5.3.4", "too big"),
}

ROUTES = {
    **{f"{name}.test": "" for name in (*TROUBLES, *REFUSALS)},
    **{f"{n}.test": "" for n in ("slow", "mixed", "many", "later", "never", "ascii", "seven",
                                 "reuse", "quit", "helo", "plain", "bdat", "thrown-out", "twice",
                                 "size", "trap")},
    "discard.test": 'via = "discard"',
    "lmtp.test": 'via = "lmtp"',
}


@pytest.fixture(scope="module")
def alpha():
    with Outbound(ROUTES, {"connection_reuse": "1s"}) as s:
        yield s


@pytest.fixture(autouse=True)
def nothing_crashes(request):
    if "alpha" not in request.fixturenames:
        yield
        return
    server = request.getfixturevalue("alpha")
    before = server.pids()
    yield
    assert server.pids() == before, "a role died\n" + server.log()[-2000:]


def peer(alpha, name, *args, **kw):
    return RawServer(*args, port=alpha.port[name + ".test"], **kw)


# ---- troubles ------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_defers_and_the_letter_comes_later(alpha, name):
    first = TROUBLES[name]
    text = LONG if "content" in name else "once\r\n"
    with peer(alpha, name, first if isinstance(first, list) else [first, {}]) as s:
        ident = alpha.post(f"x@{name}.test", text)
        alpha.gone(ident)
        letters = list(s.letters)
    good = [c for c in letters if c.endswith(text.encode())]
    assert len(good) == len(letters), "no part of a letter counts as one"
    assert s.accepted == 1
    assert len(letters) == 1 or name.startswith("dot-")  # recorded before the peer answers
    assert not alpha.find_report(f"x@{name}.test")


def test_slow_peer(alpha):
    with peer(alpha, "slow", {"": 0.5, "EHLO": 0.5, "MAIL": 0.5, ".": 1}) as s:
        alpha.gone(alpha.post("x@slow.test"))
        assert len(s.letters) == 1 and s.connections == 1


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_is_returned_at_once(alpha, name):
    table, status, words = REFUSALS[name]
    with peer(alpha, name, table) as s:
        alpha.post(f"x@{name}.test")
        report = alpha.report(f"x@{name}.test", 4)
        assert s.connections == 1
    fields = report.recipients[f"x@{name}.test"]
    assert fields["action"] == "failed" and fields["status"].startswith(status)
    assert fields["diagnostic-code"].startswith("smtp;") and words in fields["diagnostic-code"]
    assert words in report.text


def test_each_recipient_has_its_own_result(alpha):
    replies = [{"RCPT TO:<NO@MIXED.TEST>": b"550 5.1.1 nobody\r\n",
                "RCPT TO:<WAIT@MIXED.TEST>": b"450 4.2.1 later\r\n"}, {}]
    with peer(alpha, "mixed", replies) as s:
        ident = alpha.post([f"{n}@mixed.test" for n in ("a", "no", "wait", "b")])
        report = alpha.report("no@mixed.test")
        alpha.gone(ident)
        assert sorted(s.recipients()) == ["a@mixed.test", "b@mixed.test", "wait@mixed.test"]
    assert list(report.recipients) == ["no@mixed.test"]


def test_more_recipients_than_one_transaction_takes(alpha):
    everybody = sorted(f"r{i:03d}@many.test" for i in range(250))
    with peer(alpha, "many") as s:
        alpha.gone(alpha.post(everybody))
        assert sorted(s.recipients()) == everybody
        assert all(len(rcpts) <= 100 for _, rcpts in s.envelopes)


def test_peer_with_room_for_few_recipients(alpha):
    """452 at RCPT: the others go in the next transaction, none twice."""
    too_many = {f"RCPT TO:<R{i}@TWICE.TEST>": b"452 4.5.3 too many\r\n" for i in (3, 4)}
    with peer(alpha, "twice", [too_many, {}]) as s:
        alpha.gone(alpha.post([f"r{i}@twice.test" for i in range(5)]))
        assert sorted(s.recipients()) == [f"r{i}@twice.test" for i in range(5)]


def test_hangup_is_no_reason_to_return(alpha):
    """A peer that never gets beyond its greeting: returned when its time is over, not before."""
    with peer(alpha, "thrown-out", {"": None}) as s:
        began = time.monotonic()
        alpha.post("x@thrown-out.test")
        report = alpha.report("x@thrown-out.test")
        assert time.monotonic() - began > 5 and s.connections > 1
    fields = report.recipients["x@thrown-out.test"]
    assert fields["action"] == "failed" and fields["status"][1:] == ".4.7"


# ---- what the peer can do ------------------------------------------------------------------------

def test_smtputf8_to_a_peer_without(alpha):
    with peer(alpha, "ascii", ehlo=["8BITMIME"]) as s:
        alpha.post("x@ascii.test", options=["SMTPUTF8", "BODY=8BITMIME"],
                   raw="From: <ann@alpha.test>\r\nSubject: Gr\u00fc\u00dfe\r\n\r\nhi\r\n".encode())
        fields = alpha.report("x@ascii.test", 5).recipients["x@ascii.test"]
        assert fields["status"] == "5.6.7", fields
        assert b"DATA" not in s.octets and b"MAIL" not in s.octets


def test_letter_larger_than_the_peer_takes(alpha):
    with peer(alpha, "size", ehlo=["PIPELINING", "SIZE 1000"]) as s:
        alpha.post("x@size.test", "x" * 70 + "\r\n" + "y" * 900 + "\r\n" + "z" * 900 + "\r\n")
        fields = alpha.report("x@size.test", 5).recipients["x@size.test"]
        assert fields["status"] == "5.3.4", fields
        assert b"DATA" not in s.octets


def test_helo_only(alpha):
    with peer(alpha, "helo", {"EHLO": b"502 5.5.1 what\r\n"}) as s:
        alpha.gone(alpha.post("x@helo.test"))
        assert len(s.letters) == 1 and b"HELO mx.alpha.test\r\n" in s.octets


def test_peer_without_pipelining(alpha):
    with peer(alpha, "plain", ehlo=[]) as s:
        alpha.gone(alpha.post(["a@plain.test", "b@plain.test"], ".one\r\n..two\r\n.\r\n"))
        assert s.letters[0].endswith(b"\r\n\r\n..one\r\n...two\r\n..\r\n")


@pytest.mark.parametrize("text", ["short\r\n.\r\n", LONG], ids=["short", "long"])
def test_bdat(alpha, text):
    with peer(alpha, "bdat", ehlo=["PIPELINING", "CHUNKING", "8BITMIME"]) as s:
        alpha.gone(alpha.post("x@bdat.test", text))
        assert s.letters[0].endswith(b"\r\n\r\n" + text.encode())
        assert s.recipients() == ["x@bdat.test"]


def test_one_connection_for_several_letters(alpha):
    with peer(alpha, "reuse") as s:
        for ident in [alpha.post("x@reuse.test", f"letter {i}\r\n") for i in range(6)]:
            alpha.gone(ident)
        assert len(s.letters) == 6
        assert s.connections < 6, s.connections


def test_idle_connection_is_left_politely(alpha):
    with peer(alpha, "quit") as s:
        alpha.gone(alpha.post("x@quit.test"))
        wait_for(lambda: s.octets.endswith(b"QUIT\r\n"), 5, what="QUIT")


# ---- how many connections a destination gets -----------------------------------------------------

def test_concurrency_grows_to_its_ceiling_and_shrinks_to_one():
    settings = {"destination_concurrency": 4, "queue_lifetime": "60s"}
    with Outbound({"busy.test": "", "dead.test": ""}, settings) as s:
        with RawServer({".": 0.3}, port=s.port["busy.test"]) as busy:
            for ident in [s.post(f"x{i}@busy.test") for i in range(16)]:
                s.gone(ident, 20)
            assert busy.accepted == 16 and 2 <= busy.peak <= 4, busy.peak
        # In trouble one letter asks for all, and the others wait for what it hears.
        with RawServer({"": b"421 4.3.2 busy\r\n"}, port=s.port["dead.test"]) as dead:
            idents = [s.post(f"x{i}@dead.test") for i in range(16)]
            s.deferred(idents[0])
            wait_for(lambda: dead.connections >= 6, 20, what="more tries")
            assert dead.connections < 16
        with RawServer(port=s.port["dead.test"]) as alive:
            s.tool("queue", "retry", "all")
            for ident in idents:
                s.gone(ident, 20)
            assert alive.accepted == 16 and alive.peak <= 4


# ---- lmtp and discard ----------------------------------------------------------------------------

def test_lmtp_has_a_reply_for_each_recipient(alpha):
    replies = {".": b"250 2.0.0 a\r\n550 5.2.2 full\r\n452 4.2.2 later\r\n"}
    with RawServer([replies, {}], port=alpha.port["lmtp.test"]) as s:
        ident = alpha.post([f"{n}@lmtp.test" for n in ("a", "full", "later")])
        report = alpha.report("full@lmtp.test")
        alpha.gone(ident)
        assert s.octets.startswith(b"LHLO mx.alpha.test\r\n")
        assert s.envelopes[1][1] == ["later@lmtp.test"] and len(s.letters) == 2
    assert list(report.recipients) == ["full@lmtp.test"]
    assert report.recipients["full@lmtp.test"]["status"] == "5.2.2"


def test_discard(alpha):
    ident = alpha.post("x@discard.test")
    alpha.gone(ident)
    wait_for(lambda: "discard" in alpha.trace(ident), what="the receipt")
    assert not alpha.find_report("x@discard.test")


# ---- patience ------------------------------------------------------------------------------------

def test_delivered_when_the_peer_comes_up(alpha):
    ident = alpha.post("x@later.test")
    assert "refused" in alpha.why(ident).lower()
    with peer(alpha, "later") as s:
        alpha.gone(ident)
        assert len(s.letters) == 1


def test_returned_when_its_time_is_over(alpha):
    ident = alpha.post("x@never.test", head="X-Mark: here\r\n")
    report = alpha.report("x@never.test")
    fields = report.recipients["x@never.test"]
    assert fields["action"] == "failed" and fields["status"][1:] == ".4.7"
    assert "x@never.test" in report.text and "refused" in report.text
    alpha.gone(ident)


def test_retry_and_drop_by_the_operator():
    with Outbound({"a.test": "", "b.test": ""}, {"retry_first": "5m", "queue_lifetime": "1d"}) as s:
        one, two = s.post("x@a.test"), s.post("x@b.test")
        for ident in (one, two):
            s.deferred(ident)
        with RawServer(port=s.port["a.test"]) as a, RawServer(port=s.port["b.test"]) as b:
            time.sleep(1.5)
            assert not a.connections and not b.connections
            s.tool("queue", "retry", one)
            s.gone(one, 5)
            assert len(a.letters) == 1 and not b.connections
            s.tool("queue", "drop", two)
            s.gone(two, 5)
            assert "dropped" in s.trace(two) and not b.connections
        assert not s.find_report("x@b.test")


def test_restart_in_the_middle_of_a_try():
    """A relay that dies with a letter in its hands: the letter is tried again."""
    with Outbound({"a.test": ""}) as s:
        with RawServer([{"DATA": 15}, {}], port=s.port["a.test"]) as a:
            ident = s.post("x@a.test")
            wait_for(lambda: b"DATA" in a.octets, what="DATA")
            os.kill(s.role_pids("relay")[0], signal.SIGKILL)
            s.gone(ident, 15)
            assert len(a.letters) == 1


# ---- relayed domains -----------------------------------------------------------------------------

DOMAINS = """
domain "listed.test" { relay = true recipients = {"known@listed.test"} }
domain "asked.test" { relay = true ask_recipients = true }
"""


@pytest.fixture(scope="module")
def gate():
    with Outbound({"listed.test": "", "asked.test": "", "elsewhere.test": ""}, extra=DOMAINS,
                  settings={"queue_lifetime": "3s"}) as s:
        yield s


def rcpt(server, address, sender="out@elsewhere.test"):
    with server.smtp("mx") as s:
        s.ehlo()
        assert s.mail(sender)[0] == 250
        return s.rcpt(address)


def from_outside(server, address, sender="out@elsewhere.test"):
    with server.smtp("mx") as s:
        return s.sendmail(sender, [address], f"From: <{sender}>\r\nSubject: x\r\n\r\nhi\r\n")


def test_relayed_domain_with_a_list(gate):
    assert rcpt(gate, "unknown@listed.test")[0] == 550
    with RawServer(port=gate.port["listed.test"]) as s:
        from_outside(gate, "known@listed.test")
        wait_for(lambda: s.letters, what="the letter inside")
        assert s.envelopes == [("out@elsewhere.test", ["known@listed.test"])]


def test_relayed_domain_that_is_asked(gate):
    no = {"RCPT TO:<UNKNOWN@ASKED.TEST>": b"550 5.1.1 nobody\r\n",
          "RCPT TO:<LATER@ASKED.TEST>": b"450 4.2.0 later\r\n"}
    with RawServer(no, port=gate.port["asked.test"]) as s:
        code, text = rcpt(gate, "unknown@asked.test")
        assert code == 550 and text.startswith(b"5.1.1"), text
        assert rcpt(gate, "later@asked.test")[0] in (450, 451)
        assert not s.letters and b"DATA" not in s.octets
        from_outside(gate, "known@asked.test")
        wait_for(lambda: s.letters, what="the letter inside")


def test_relayed_domain_whose_server_is_down(gate):
    assert rcpt(gate, "anybody@asked.test")[0] in (450, 451)


def test_no_report_to_a_sender_that_nobody_proved(gate):
    """Promise 4: what the inner server refuses later makes no backscatter."""
    table = {".": b"550 5.7.0 refused after all\r\n"}
    with RawServer(port=gate.port["elsewhere.test"]) as victim:
        with RawServer(table, port=gate.port["listed.test"]) as s:
            for sender in ("out@elsewhere.test", ""):
                with gate.smtp("mx") as c:
                    c.sendmail(sender, ["known@listed.test"], "Subject: x\r\n\r\nhi\r\n")
            wait_for(lambda: len(s.letters) == 2, what="both refused")
        time.sleep(1.5)
        assert not victim.connections
