"""TLS on the way out: each level against peers that have it, lack it, break it or forge it; and
client certificates in both directions. RawServer records every octet that came."""
import smtplib
import ssl
import time

import pytest
from harness.certs import Authority, pin, server_context
from harness.outbound import Outbound
from harness.rawserver import RawServer
from harness.server import Server, wait_for

NAME = "mx.right.test"
GARBAGE = b"\x15\x03\x03\x00\x02\x02\x28 no TLS here\r\n"
INJECTED = b"220 2.0.0 go\r\n250-raw.test\r\n250 PIPELINING\r\n"

# How a peer fails to make TLS.
BROKEN = {
    "absent": {},
    "refused": {"handshake": b"", "replies": {"STARTTLS": b"454 4.7.0 not now\r\n"}},
    "refused-for-good": {"handshake": b"", "replies": {"STARTTLS": b"554 5.7.0 no\r\n"}},
    "garbage": {"handshake": GARBAGE},
    "closed": {"handshake": b""},
}
# Certificates that verify must not take: (file, what `queue why` says).
WRONG = {"wrong-name": "the certificate is for mx.other.test, not for mx.right.test",
         "expired": "the certificate expired on",
         "untrusted": "not trusted",
         "wrong-pin": "matches none of the pins"}


class Certs:
    def __init__(self, folder):
        self.ca, self.other = Authority(folder), Authority(folder, "another CA")
        self.right = self.ca.issue(NAME)
        self.file = {"wrong-name": self.ca.issue("mx.other.test"),
                     "expired": self.ca.issue(NAME, days=-1),
                     "untrusted": self.other.issue(NAME),
                     "wrong-pin": self.right}
        self.client = self.ca.issue("client.alpha.test")


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return Certs(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def alpha(certs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("readable")
    for up in (folder, *folder.parents[:2]):
        up.chmod(0o755)
    ca = folder / "ca.crt"
    with open(certs.ca.file, encoding="ascii") as f:
        ca.write_text(f.read())
    verify = f'tls = "verify" ca_file = "{ca}"'
    named = verify + f' host = "{NAME}"'
    routes = {
        **{f"clear-{n}.test": 'tls = "opportunistic"' for n in BROKEN},
        **{f"forced-{n}.test": 'tls = "forced"' for n in BROKEN},
        **{f"verify-{n}.test": named for n in BROKEN},
        **{f"{n}.test": named for n in WRONG if n != "wrong-pin"},
        "wrong-pin.test": named + f' pins = {{"{pin(certs.client)}"}}',
        "right-pin.test": f'tls = "verify" host = "{NAME}" '
                          f'pins = {{"{pin(certs.client)}", "{pin(certs.right)}"}}'
                          f' ca_file = "{ca}"',
        "right.test": named,
        "names.test": verify + ' names = {"elsewhere.test", "mx.other.test"}',
        "implicit.test": f'tls = "implicit" ca_file = "{ca}" host = "{NAME}"',
        "implicit-wrong.test": f'tls = "implicit" ca_file = "{ca}" host = "{NAME}"',
        "implicit-clear.test": f'tls = "implicit" ca_file = "{ca}" host = "{NAME}"',
        **{f"{n}.test": f'tls = "{n}"' for n in ("opportunistic", "forced")},
        "inject-clear.test": 'tls = "opportunistic"',
        "inject-forced.test": 'tls = "forced"',
        "resume.test": 'tls = "forced"',
        "cut.test": 'tls = "forced"',
        "showing.test": f'{named} certificate = "client"',
        "not-showing.test": named,
        "login.test": 'tls = "opportunistic" user = "me" password_file = "{secret}"',
    }
    password = folder / "password"
    password.write_text("not for everybody\n")
    routes["login.test"] = routes["login.test"].format(secret=password)
    routes["login-wrong.test"] = routes["login.test"]
    routes["login-none.test"] = routes["login.test"]
    extra = ('certificate "client" {\n    cert = "lib/keys/client.pem"\n'
             '    key = "lib/keys/client.pem"\n    client_only = true\n}\n')
    with Outbound(routes, {"local_data": [f"{NAME}. A 127.0.0.1"], "connection_reuse": "1s"},
                  extra, prepare=lambda s: s.key_file("client.pem", certs.client)) as s:
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


def peer(alpha, name, **kw):
    return RawServer(port=alpha.port[name + ".test"], **kw)


def nothing_of_a_letter(octets):
    return not any(word in octets.upper() for word in (b"MAIL", b"RCPT", b"DATA", b"BDAT", b"AUTH",
                                                       b"SUBJECT"))


# ---- opportunistic -------------------------------------------------------------------------------

@pytest.mark.parametrize("how", BROKEN)
def test_opportunistic_goes_in_clear_where_there_is_no_tls(alpha, how):
    with peer(alpha, "clear-" + how, **BROKEN[how]) as s:
        alpha.gone(alpha.post(f"x@clear-{how}.test"))
        assert len(s.letters) == 1
        if how in ("garbage", "closed"):
            assert s.connections == 2, "a broken session is not gone on with"


@pytest.mark.parametrize("level", ["opportunistic", "forced"])
@pytest.mark.parametrize("which", WRONG)
def test_without_verify_any_certificate_will_do(alpha, certs, level, which):
    with peer(alpha, level, tls=server_context(certs.file[which])) as s:
        ident = alpha.post(f"x@{level}.test")
        alpha.gone(ident)
        assert len(s.letters) == 1 and s.facts[0]["version"] == "TLSv1.3"
        assert nothing_of_a_letter(s.clear)
        assert "TLSv1.3" in alpha.trace(ident)


def test_tls_1_2(alpha, certs):
    context = server_context(certs.right)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with peer(alpha, "forced", tls=context) as s:
        alpha.gone(alpha.post("x@forced.test"))
        assert s.facts[0]["version"] == "TLSv1.2"


# ---- forced and verify: TLS or nothing -----------------------------------------------------------

@pytest.mark.parametrize("level", ["forced", "verify"])
@pytest.mark.parametrize("how", BROKEN)
def test_no_octet_of_a_letter_goes_in_clear(alpha, level, how):
    """It stays, says why in plain words, and comes back with that sentence."""
    domain = f"{level}-{how}.test"
    with peer(alpha, f"{level}-{how}", **BROKEN[how]) as s:
        ident = alpha.post("x@" + domain)
        why = alpha.why(ident)
        assert "TLS" in why, why
        assert alpha.queued(ident)
        report = alpha.report("x@" + domain)
        assert s.connections >= 1 and not s.letters
        assert nothing_of_a_letter(s.octets), s.octets
    assert "TLS" in report.text
    assert report.recipients["x@" + domain]["action"] == "failed"


@pytest.mark.parametrize("level", ["clear", "forced"])
def test_clear_text_behind_the_220_of_starttls(alpha, level):
    with peer(alpha, "inject-" + level, handshake=b"", replies={"STARTTLS": INJECTED}) as s:
        ident = alpha.post(f"x@inject-{level}.test")
        why = alpha.why(ident)
        assert "STARTTLS" in why, why
        assert not s.letters and nothing_of_a_letter(s.octets), s.octets
        alpha.tool("queue", "drop", ident)


# ---- verify --------------------------------------------------------------------------------------

@pytest.mark.parametrize("which", WRONG)
def test_verify_refuses(alpha, certs, which):
    with peer(alpha, which, tls=server_context(certs.file[which])) as s:
        ident = alpha.post(f"x@{which}.test")
        why = alpha.why(ident)
        assert WRONG[which] in why, why
        assert not s.letters and nothing_of_a_letter(s.octets), s.octets
        alpha.tool("queue", "drop", ident)


@pytest.mark.parametrize("name, which", [("right", "right"), ("right-pin", "right"),
                                         ("names", "wrong-name")])
def test_verify_takes(alpha, certs, name, which):
    with peer(alpha, name, tls=server_context(certs.file.get(which, certs.right))) as s:
        ident = alpha.post(f"x@{name}.test")
        alpha.gone(ident)
        assert len(s.letters) == 1 and nothing_of_a_letter(s.clear)


def test_verify_recovers_with_a_new_certificate(alpha, certs):
    """Nothing was lost while the certificate was wrong."""
    with peer(alpha, "right", tls=server_context(certs.file["expired"])):
        ident = alpha.post("x@right.test")
        alpha.why(ident)
    with peer(alpha, "right", tls=server_context(certs.right)) as s:
        alpha.gone(ident)
        assert len(s.letters) == 1


# ---- implicit TLS --------------------------------------------------------------------------------

def test_implicit(alpha, certs):
    with peer(alpha, "implicit", tls=server_context(certs.right), implicit=True) as s:
        alpha.gone(alpha.post("x@implicit.test"))
        assert len(s.letters) == 1 and not s.clear


def test_implicit_verifies(alpha, certs):
    with peer(alpha, "implicit-wrong", tls=server_context(certs.file["untrusted"]),
              implicit=True) as s:
        ident = alpha.post("x@implicit-wrong.test")
        assert "not trusted" in alpha.why(ident)
        assert not s.octets
        alpha.tool("queue", "drop", ident)


def test_implicit_to_a_peer_in_clear(alpha):
    with peer(alpha, "implicit-clear") as s:
        ident = alpha.post("x@implicit-clear.test")
        assert "TLS" in alpha.why(ident)
        assert nothing_of_a_letter(s.octets)
        alpha.tool("queue", "drop", ident)


# ---- sessions ------------------------------------------------------------------------------------

def test_session_is_resumed_in_a_second_connection(alpha, certs):
    with peer(alpha, "resume", tls=server_context(certs.right)) as s:
        alpha.gone(alpha.post("x@resume.test"))
        wait_for(lambda: b"QUIT" in s.octets, 5, what="the end of the first connection")
        alpha.gone(alpha.post("x@resume.test"))
        assert [f["reused"] for f in s.facts] == [False, True]


def test_tls_cut_within_a_letter(alpha, certs):
    """No close_notify, no letter: it is sent again, whole, and under TLS."""
    text = "0123456789\r\n" * 30000
    with peer(alpha, "cut", replies=[{"cut": 1000}, {}], tls=server_context(certs.right)) as s:
        alpha.gone(alpha.post("x@cut.test", text))
        assert len(s.letters) == 1 and s.letters[0].endswith(text.encode())
        assert nothing_of_a_letter(s.clear)


# ---- logins --------------------------------------------------------------------------------------

LOGIN = ["PIPELINING", "AUTH PLAIN LOGIN"]


def test_no_password_in_clear(alpha):
    """Even where the route's level is opportunistic."""
    with peer(alpha, "login-none", ehlo=LOGIN) as s:
        ident = alpha.post("x@login-none.test")
        assert "passwords are not sent without TLS" in alpha.why(ident)
        assert nothing_of_a_letter(s.octets)
        alpha.tool("queue", "drop", ident)


def test_login_under_tls(alpha, certs):
    with peer(alpha, "login", ehlo=LOGIN, tls=server_context(certs.right),
              replies={"AUTH": b"235 2.7.0 welcome\r\n"}) as s:
        alpha.gone(alpha.post("x@login.test"))
        assert b"AUTH PLAIN AG1lAG5vdCBmb3IgZXZlcnlib2R5\r\n" in s.octets
        assert nothing_of_a_letter(s.clear) and len(s.letters) == 1


def test_wrong_password_defers(alpha, certs):
    with peer(alpha, "login-wrong", ehlo=LOGIN, tls=server_context(certs.right),
              replies={"AUTH": b"535 5.7.8 who are you\r\n"}) as s:
        ident = alpha.post("x@login-wrong.test")
        assert "who are you" in alpha.why(ident)
        assert b"MAIL" not in s.octets
        report = alpha.report("x@login-wrong.test")
    assert "who are you" in report.text
    assert "everybody" not in alpha.log() + report.text


# ---- client certificates -------------------------------------------------------------------------

def test_route_shows_its_client_certificate(alpha, certs):
    with peer(alpha, "showing", tls=server_context(certs.right, certs.ca.file)) as s:
        alpha.gone(alpha.post("x@showing.test"))
        shown = s.facts[0]["client"]
        assert ("DNS", "client.alpha.test") in shown["subjectAltName"] and len(s.letters) == 1


def test_other_routes_show_none(alpha, certs):
    with peer(alpha, "not-showing", tls=server_context(certs.right, certs.ca.file)) as s:
        ident = alpha.post("x@not-showing.test")
        assert "certificate" in alpha.why(ident)
        assert not s.letters and nothing_of_a_letter(s.octets)
        alpha.tool("queue", "drop", ident)


@pytest.fixture(scope="module")
def gate(certs):
    """A server whose listener lets a peer with the name client.alpha.test relay."""
    with Server("gate.test", start=False, settings={"resolver": "127.0.0.1:1"},
                extra='route "*" { via = "discard" }') as s:
        ca = s.home + "/client-ca.crt"
        with open(certs.ca.file, encoding="ascii") as f, open(ca, "w", encoding="ascii") as out:
            out.write(f.read())
        with open(s.conf, encoding="utf-8") as f:
            text = f.read()
        at = text.index('listener "mx" {') + len('listener "mx" {')
        with open(s.conf, "w", encoding="utf-8") as f:
            f.write(text[:at] + f'\n    client_ca = "{ca}"\n'
                    '    client_names = {"client.alpha.test"}' + text[at:])
        s.start()
        yield s


def relays(gate, cert=None, version=None, starttls=True):
    """The reply to a recipient elsewhere."""
    context = ssl._create_unverified_context()
    if version:
        context.maximum_version = version
    if cert:
        context.load_cert_chain(cert)
    with smtplib.SMTP("127.0.0.1", gate.mx, timeout=10, local_hostname="client.test") as s:
        if starttls:
            s.starttls(context=context)
        s.ehlo()
        s.mail("x@outside.test")
        return s.rcpt("y@elsewhere.test")[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_named_peer_may_relay(gate, certs, version):
    assert relays(gate, certs.client, version) == 250


def test_nobody_else_may_relay(gate, certs):
    assert relays(gate) == 550
    assert relays(gate, starttls=False) == 550
    for cert in (certs.right, certs.other.issue("client.alpha.test"),
                 certs.ca.issue("client.alpha.test", days=-1)):
        try:
            assert relays(gate, cert) == 550, cert
        except (OSError, smtplib.SMTPException):
            pass  # refusing the handshake is right too


def test_named_peers_letter_is_carried(gate, certs):
    context = ssl._create_unverified_context()
    context.load_cert_chain(certs.client)
    with smtplib.SMTP("127.0.0.1", gate.mx, timeout=10, local_hostname="client.test") as s:
        s.starttls(context=context)
        s.sendmail("x@outside.test", ["y@elsewhere.test"], "Subject: x\r\n\r\nhi\r\n")
    wait_for(lambda: not gate.json("queue", "list"), what="the letter is gone")
    time.sleep(0.1)
    assert not gate.mail("ann@gate.test")
