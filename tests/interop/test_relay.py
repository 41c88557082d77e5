"""The role relay and servers that behave, or do not."""
import pytest
from harness import certs, ports
from harness.rawserver import RawServer
from harness.relay import LETTER, Relay

RECEIVED = b"Received: by run-relay\r\n"
ON_WIRE = RECEIVED + LETTER.replace(b"\r\n.dot", b"\r\n..dot")


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    folder.chmod(0o755)
    return certs.Authority(folder)


@pytest.fixture(scope="module")
def good(ca):
    return certs.server_context(ca.issue("mx.beta.test"))


@pytest.fixture(scope="module")
def wrong(ca):
    return certs.server_context(ca.issue("other.test"))


def shared(relay, ca):
    """The CA's file where the relay's user may read it."""
    with open(ca.file, "rb") as f:
        relay.file("ca.pem", f.read())


# ---- by MX ---------------------------------------------------------------------------------------

def test_delivers_in_clear():
    with RawServer() as s, Relay({"smtp_port": s.port}) as r:
        result = r.one()
        assert result["outcome"] == "delivered" and result["code"] == 250
        assert result["remote"] == f"mx.beta.test [127.0.0.1]:{s.port}"
        assert result["facts"]["tls"] is False and not result["trouble"]
        assert s.letters == [ON_WIRE]
        assert s.envelopes == [("ann@alpha.test", ["bob@beta.test"])]


def test_chunking_and_a_file_of_its_own():
    letter = b"Subject: long\r\n\r\n" + b"x" * 70 + b"\r\n" + b"0123456789abcde\r\n" * 40000
    for ehlo in (("PIPELINING", "CHUNKING"), ("PIPELINING",), ()):
        with RawServer(ehlo=ehlo) as s, Relay({"smtp_port": s.port}) as r:
            assert r.one(letter=letter)["outcome"] == "delivered"
            assert s.letters == [RECEIVED + letter]
            assert r.one(letter=LETTER, options=["-f"])["outcome"] == "delivered"


def test_implicit_mx_and_literal():
    with RawServer() as s, Relay({"smtp_port": s.port}) as r:
        assert r.one("x@direct.test")["outcome"] == "delivered"
        assert r.one("x@[127.0.0.1]")["remote"] == f"[127.0.0.1]:{s.port}"
        assert len(s.letters) == 2


@pytest.mark.parametrize("domain, records, outcome, code, status, text", [
    ("null.test", ["null.test. MX 0 ."], "failed", 556, "5.1.10", "takes no mail"),
    ("gone.test.", ["x.gone.test. A 127.0.0.1"], "deferred", 451, "4.4.3", "could not be looked"),
    ("self.test", ["self.test. MX 10 mx.alpha.test."], "failed", 554, "5.4.6", "loops back"),
    ("bare.test", ["bare.test. TXT x"], "failed", 0, "5.4.4", "has no address"),
    ("zero.test", ["zero.test. A 0.0.0.0"], "failed", 0, "5.4.4", "an unspecified address"),
    ("many.test", ["many.test. AAAA ::ffff:127.0.0.1"], "failed", 0, "5.4.4", "in disguise"),
    ("refuses.test", ["refuses.test. A 127.0.0.9"], "deferred", 0, "4.4.1", "Connection refused"),
])
def test_where_nothing_goes(domain, records, outcome, code, status, text):
    with Relay({"smtp_port": ports.pick(), "resolver": "127.0.0.1:1"}, records=records) as r:
        result = r.one(f"x@{domain.rstrip('.')}")
        assert (result["outcome"], result["code"], result["status"]) == (outcome, code, status)
        assert text in result["text"]


def test_no_such_domain():
    with Relay({"resolver": "system"}) as r:  # test. is a zone without names but ours
        result = r.one("x@nowhere.test")
        assert (result["outcome"], result["code"], result["status"]) == ("failed", 550, "5.1.2")


def test_private_targets_are_refused():
    with RawServer() as s, Relay({"smtp_port": s.port, "private_targets": False}) as r:
        for to in ("x@beta.test", "x@direct.test", "x@[127.0.0.1]"):
            result = r.one(to)
            assert result["outcome"] == "failed" and "a loopback address" in result["text"]
        assert s.connections == 0


def test_own_listener_is_a_loop():
    with Relay() as r:
        with open(r.path("conf"), "a", encoding="utf-8") as f:
            f.write(f"smtp_port = {r.listen}\n")
        assert r.one()["status"] == "5.4.6"


def test_next_address_and_next_mx():
    with RawServer() as s:
        records = ["two.test. MX 10 first.test.", "two.test. MX 20 second.test.",
                   "first.test. A 127.0.0.2", "first.test. AAAA ::1",
                   "second.test. A 127.0.0.3", "second.test. A 127.0.0.1"]
        with Relay({"smtp_port": s.port}, records=records) as r:
            result = r.one("x@two.test")
            assert result["outcome"] == "delivered"
            assert result["remote"].startswith("second.test [127.0.0.1]")


@pytest.mark.parametrize("table, outcome, code", [
    ({"": b"421 4.3.2 later\r\n"}, "deferred", 421),
    ({"": b"554 5.7.1 go away\r\n"}, "failed", 554),
    ({"EHLO": b"554 no\r\n", "HELO": b"554 no\r\n"}, "failed", 554),
    ({"": None}, "deferred", 0),
    ({"MAIL": b"451 4.3.0 later\r\n"}, "deferred", 451),
    ({"MAIL": b"550 5.7.1 not you\r\n"}, "failed", 550),
    ({"RCPT": b"450 4.2.0 grey\r\n"}, "deferred", 450),
    ({"RCPT": b"550 5.1.1 unknown\r\n"}, "failed", 550),
    ({"DATA": b"451 4.3.0 later\r\n"}, "deferred", 451),
    ({"DATA": None}, "deferred", 0),
    ({".": b"554 5.6.0 spam\r\n"}, "failed", 554),
    ({".": b"452 4.3.1 full\r\n"}, "deferred", 452),
    ({".": None}, "deferred", 0),
    ({"RCPT": b"gibberish\r\n"}, "deferred", 0),
])
def test_what_servers_say(table, outcome, code):
    with RawServer(table) as s, Relay({"smtp_port": s.port}) as r:
        result = r.one()
        assert (result["outcome"], result["code"]) == (outcome, code), result
        assert result["status"][0] == ("4" if outcome == "deferred" else "5")
        assert result["text"] and result["remote"].startswith("mx.beta.test [")
        assert result["trouble"] == (outcome == "deferred" and code in (0, 421) or
                                     "" in table or "EHLO" in table)


def test_dropped_within_the_letter(good):
    letter = b"Subject: long\r\n\r\n" + b"0123456789abcde\r\n" * 20000
    for tls in (None, good):
        for reset in (False, True):
            with RawServer({"cut": 1000, "reset": reset}, tls=tls) as s, \
                    Relay({"smtp_port": s.port}) as r:
                result = r.one(letter=letter)
                assert result["outcome"] == "deferred" and result["trouble"] and not s.letters
                assert s.connections == 1 and (not tls or b"MAIL" not in s.clear)


def test_recipients_fare_apart():
    table = {"RCPT TO:<B@BETA.TEST>": b"550 5.1.1 no b\r\n", "RCPT TO:<C@BETA.TEST>": b"450 later\r\n"}
    with RawServer(table) as s, Relay({"smtp_port": s.port}) as r:
        results = r.send([f"{u}@beta.test" for u in "abcd"])
        assert [x["outcome"] for x in results] == ["delivered", "failed", "deferred", "delivered"]
        assert s.recipients() == ["a@beta.test", "d@beta.test"]


def test_more_recipients_than_one_transaction_takes():
    with RawServer(ehlo=("PIPELINING", "LIMITS RCPTMAX=2")) as s, \
            Relay({"smtp_port": s.port}) as r:
        results = r.send([f"u{i}@beta.test" for i in range(5)])
        assert [x["outcome"] for x in results] == ["delivered"] * 5
        assert [len(rcpts) for _, rcpts in s.envelopes] == [2, 2, 1] and s.connections == 1


def test_greylisted_here_taken_there():
    with RawServer({"RCPT": b"450 4.2.0 grey\r\n"}) as s:
        records = ["two.test. MX 10 mx.beta.test.", "two.test. MX 20 other.test.",
                   "other.test. A 127.0.0.1"]
        with Relay({"smtp_port": s.port}, records=records) as r:
            result = r.one("x@two.test")
            assert result["outcome"] == "deferred" and result["code"] == 450
            assert s.connections == 2


def test_connection_is_reused_and_a_stale_one_is_not_the_letters_fault():
    with RawServer() as s, Relay({"smtp_port": s.port, "connection_reuse": "5s"}) as r:
        results = r.send(["b@beta.test"], options=["-n", "4", "-w", "50"])
        assert [x["outcome"] for x in results] == ["delivered"] * 4
        assert s.connections == 1 and results[3]["facts"]["reused"]
    with RawServer([{"RSET": None}, {}]) as s, Relay({"smtp_port": s.port}) as r:
        assert len(r.send(["b@beta.test"], options=["-n", "3"])) == 3
    with RawServer() as s, Relay({"smtp_port": s.port, "connection_reuse": "0s"}) as r:
        r.send(["b@beta.test"], options=["-n", "3", "-w", "50"])
        assert s.connections == 3


def test_reused_connection_that_says_421():
    class Tired(RawServer):
        """Its connections take one letter; at the second MAIL they are gone."""
    with Tired([{"MAIL FROM:<TWO@ALPHA.TEST>": b"421 4.3.2 tired\r\n"}, {}]) as s, \
            Relay({"smtp_port": s.port}) as r:
        assert r.one()["outcome"] == "delivered"
        result = r.one(sender="two@alpha.test")
        assert result["outcome"] == "delivered" and s.connections >= 2


# ---- TLS -------------------------------------------------------------------------------------------

def nothing_in_clear(s):
    assert b"MAIL" not in s.clear and b"AUTH" not in s.clear and not s.letters


def test_opportunistic_takes_what_there_is(good, wrong):
    for context in (good, wrong):
        with RawServer(tls=context) as s, Relay({"smtp_port": s.port}) as r:
            result = r.one()
            assert result["outcome"] == "delivered"
            assert result["facts"]["tls"]["version"] == "TLSv1.3"
            assert not result["facts"]["tls"]["verified"]
            assert b"MAIL" not in s.clear and len(s.letters) == 1


@pytest.mark.parametrize("handshake", [b"", b"\x15\x03\x01\x00\x02\x02\x28", b"250 hello\r\n"])
def test_opportunistic_goes_on_in_clear_where_tls_is_broken(handshake):
    with RawServer(handshake=handshake) as s, Relay({"smtp_port": s.port}) as r:
        result = r.one()
        if handshake.startswith(b"250"):  # octets behind the 220: an attack, not a failure
            assert result["outcome"] in ("delivered", "deferred")
        else:
            assert result["outcome"] == "delivered" and s.connections == 2


@pytest.mark.parametrize("level", ["forced", "verify"])
@pytest.mark.parametrize("kind", ["none", "refused", "broken", "injected"])
def test_forced_tls_or_no_letter(level, kind):
    how = {"none": {}, "refused": {"replies": {"STARTTLS": b"454 4.7.0 no\r\n"}, "handshake": b""},
           "broken": {"handshake": b""}, "injected": {"handshake": b"250 x\r\n"}}[kind]
    with RawServer(**how) as s, Relay({"smtp_port": s.port, "tls": level}) as r:
        result = r.one()
        assert result["outcome"] == "deferred" and result["trouble"]
        nothing_in_clear(s)
        if kind == "none":
            assert result["text"] == (f"mx.beta.test [127.0.0.1]:{s.port} does not offer STARTTLS,"
                                      " and the route demands TLS: no letter was sent in clear")
            assert result["status"] == "4.7.10"
        elif kind != "injected":
            assert "no letter was sent in clear" in result["text"]


def test_forced_takes_the_next_mx(good):
    """The first offers no STARTTLS; the second does."""
    port = ports.pick()
    with RawServer(port=port) as plain, RawServer(port=port, host="127.0.0.2", tls=good) as s:
        records = ["two.test. MX 10 mx.beta.test.", "two.test. MX 20 tls.test.",
                   "tls.test. A 127.0.0.2"]
        with Relay({"smtp_port": port, "tls": "forced"}, records=records) as r:
            assert r.one("x@two.test")["outcome"] == "delivered"
            nothing_in_clear(plain)
            assert len(s.letters) == 1


def test_verified(ca, good, wrong):
    for context, names, ok in ((good, "", True), (wrong, "", False),
                               (wrong, 'names = {"other.test"}', True)):
        with RawServer(tls=context) as s, \
                Relay({"smtp_port": s.port, "tls": "verify", "ca_file": "ca.pem"},
                      'route "beta.test" { tls = "verify" %s }' % names) as r:
            shared(r, ca)
            result = r.one()
            assert result["outcome"] == ("delivered" if ok else "deferred"), result
            if ok:
                assert result["facts"]["tls"]["verified"]
            else:
                nothing_in_clear(s)
                assert "no letter was sent in clear" in result["text"]


def test_unknown_authority(good):
    with RawServer(tls=good) as s, Relay({"smtp_port": s.port, "tls": "verify"}) as r:
        assert r.one()["outcome"] == "deferred"
        nothing_in_clear(s)


def test_pins(ca):
    pem = ca.issue("whatever.test")
    pin = certs.pin(pem)
    for value, ok in ((pin, True), (pin[:-8] + "AAAAAAA=", False)):
        with RawServer(tls=certs.server_context(pem)) as s, \
                Relay({"smtp_port": s.port},
                      'route "beta.test" { tls = "verify" pins = {"%s"} }' % value) as r:
            assert (r.one()["outcome"] == "delivered") == ok
            assert len(s.letters) == ok


def test_sessions_are_resumed(good):
    with RawServer(tls=good) as s, \
            Relay({"smtp_port": s.port, "connection_reuse": "0s"}) as r:
        results = r.send(["b@beta.test"], options=["-n", "3", "-w", "100"])
        assert [x["facts"]["tls"]["resumed"] for x in results] == [False, True, True]
        assert [f["reused"] for f in s.facts] == [False, True, True]


def test_client_certificate_with_the_key_in_the_keeper(ca):
    mine = ca.issue("mx.alpha.test")
    context = certs.server_context(ca.issue("mx.beta.test"), client_ca=ca.file)
    routes = ('certificate "me" { cert = "me.pem" key = "me.pem" client_only = true }\n'
              'route "beta.test" { tls = "forced" certificate = "me" }')
    with RawServer(tls=context) as s, Relay({"smtp_port": s.port}, routes) as r:
        with open(mine, "rb") as f:
            r.file("me.pem", f.read(), 0o600)
        assert r.one()["outcome"] == "delivered"
        subject = dict(x[0] for x in s.facts[-1]["client"]["subject"])
        assert subject["commonName"] == "mx.alpha.test"


# ---- other routes -------------------------------------------------------------------------------------

def test_smarthost_with_login(ca, good):
    with RawServer(tls=good, ehlo=("PIPELINING", "AUTH PLAIN LOGIN"),
                   replies={"AUTH": b"235 2.7.0 in\r\n"}) as s, \
            Relay({"ca_file": "ca.pem"}, 'route "*" { via = "smarthost" host = "mx.beta.test" '
                  f'port = {s.port} tls = "verify" user = "ann" password_file = "pw" }}') as r:
        shared(r, ca)
        r.file("pw", b"secret\n")
        assert r.one("x@anywhere.test")["outcome"] == "delivered"
        assert b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n" in s.octets and b"AUTH" not in s.clear


def test_login_never_in_clear_and_its_refusal_returns_nothing(good):
    route = ('route "*" { via = "smarthost" host = "127.0.0.1" port = %d tls = "opportunistic" '
             'user = "ann" password_file = "pw" }')
    with RawServer(ehlo=("AUTH PLAIN",)) as s, Relay(routes=route % s.port) as r:
        r.file("pw", b"secret")
        assert r.one()["outcome"] == "deferred"
        nothing_in_clear(s)
    with RawServer({"AUTH": b"535 5.7.8 wrong\r\n"}, ehlo=("AUTH PLAIN",), tls=good) as s, \
            Relay(routes=route % s.port) as r:
        r.file("pw", b"secret")
        result = r.one()
        assert result["outcome"] == "deferred" and result["code"] == 535


def test_route_without_its_password():
    with Relay(routes='route "*" { via = "smarthost" host = "127.0.0.1" user = "a" '
               'password_file = "missing" }') as r:
        result = r.one()
        assert result["outcome"] == "deferred" and "cannot be read" in result["text"]


def test_implicit_tls(ca, good, wrong):
    for context, ok in ((good, True), (wrong, False)):
        with RawServer(tls=context, implicit=True) as s, \
                Relay({"ca_file": "ca.pem"}, 'route "beta.test" { via = "smarthost" '
                      f'host = "mx.beta.test" port = {s.port} tls = "implicit" }}') as r:
            shared(r, ca)
            result = r.one()
            assert (result["outcome"] == "delivered") == ok, result
            assert s.clear == b"" and len(s.letters) == ok


def test_lmtp_one_reply_each():
    with RawServer({".": b"250 2.0.0 yes\r\n552 5.2.2 full\r\n451 4.3.0 later\r\n"}) as s, \
            Relay(routes='route "beta.test" { via = "lmtp" host = "127.0.0.1" '
                  f'port = {s.port} }}') as r:
        results = r.send(["a@beta.test", "b@beta.test", "c@beta.test"])
        assert [x["outcome"] for x in results] == ["delivered", "failed", "deferred"]
        assert b"LHLO mx.alpha.test\r\n" in s.octets


def test_discard():
    with Relay(routes='route "*" { via = "discard" }') as r:
        assert r.one("x@anywhere.test")["outcome"] == "delivered"


# ---- probes ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("ehlo", [("PIPELINING",), (), ("PIPELINING", "CHUNKING")])
def test_probe(ehlo):
    table = {"RCPT TO:<B@BETA.TEST>": b"550 5.1.1 no b\r\n", "RCPT TO:<C@BETA.TEST>": b"450 later\r\n"}
    with RawServer(table, ehlo=ehlo) as s, Relay({"smtp_port": s.port}) as r:
        results = r.send(["a@beta.test", "b@beta.test", "c@beta.test"], options=["-p"])
        assert [x["code"] for x in results] == [250, 550, 450]
        assert b"DATA" not in s.octets and b"BDAT" not in s.octets and not s.letters
        before = s.octets.count(b"RCPT")
        results = r.send(["a@beta.test"], options=["-p", "-n", "5"])
        assert [x["code"] for x in results] == [250] * 5
        assert s.octets.count(b"RCPT") == before + 1  # the rest from memory


def test_probe_of_a_server_out_of_reach():
    with Relay({"smtp_port": ports.pick()}) as r:
        assert r.send(["a@beta.test"], options=["-p"])[0]["code"] == 0


def test_one_smarthost_is_one_pool():
    with RawServer() as s, Relay(routes='route "*" { via = "smarthost" host = "127.0.0.1" '
                                 f'port = {s.port} }}') as r:
        assert [x["outcome"] for x in r.send(["a@one.test"], options=["-n", "2"])] == \
            ["delivered"] * 2
        assert s.connections == 1
