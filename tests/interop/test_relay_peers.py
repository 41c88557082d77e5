"""The role relay and real servers: Postfix as next hop, Dovecot's LMTP."""
import time

import pytest
from harness import certs
from harness.peers import Dovecot, Postfix
from harness.relay import Relay
from harness.server import wait_for

LETTER = (b"From: <ann@alpha.test>\r\nSubject: test\r\n\r\nbody\r\n.dot\r\n..\r\n" +
          b"0123456789abcdef\r\n" * 10000)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    folder.chmod(0o755)
    return certs.Authority(folder)


def tls_main(pem, *more):
    return "\n".join([f"smtpd_tls_cert_file = {pem}", f"smtpd_tls_key_file = {pem}",
                      "smtpd_tls_security_level = may", *more])


def relay(port, authority, routes="", **settings):
    r = Relay({"smtp_port": port, "ca_file": "ca.pem", **settings}, routes)
    with open(authority.file, "rb") as f:
        r.file("ca.pem", f.read())
    return r


def arrived(peer, user="u@local.test"):
    letter, = wait_for(lambda: peer.mail(user), 20, what="the letter at the peer")
    assert LETTER.replace(b"\r\n", b"\n").split(b"\n\n", 1)[1] in letter
    return letter


RECORDS = ["local.test. MX 10 mx.local.test.", "mx.local.test. A 127.0.0.1"]


def test_plain():
    with Postfix() as p, Relay({"smtp_port": p.port}, records=RECORDS) as r:
        result = r.one("u@local.test", letter=LETTER)
        assert result["outcome"] == "delivered" and result["facts"]["tls"] is False
        arrived(p)
        result = r.one("nobody@local.test")
        assert (result["outcome"], result["code"], result["status"]) == ("failed", 550, "5.1.1")


def test_many_letters_over_one_connection():
    with Postfix() as p, Relay({"smtp_port": p.port}, records=RECORDS) as r:
        results = r.send(["u@local.test"], options=["-n", "10", "-c", "2"])
        assert [x["outcome"] for x in results] == ["delivered"] * 10
        wait_for(lambda: len(p.mail("u@local.test")) == 10, 20)
        assert p.log().count(": connect from") <= 2


def test_starttls_verified(authority):
    pem = authority.issue("mx.local.test")
    with Postfix(main=tls_main(pem)) as p, relay(p.port, authority, tls="verify",
                                                 local_data=RECORDS) as r:
        result = r.one("u@local.test", letter=LETTER)
        assert result["outcome"] == "delivered", result
        assert result["facts"]["tls"]["verified"]
        assert b"using TLSv1.3" in arrived(p) or "TLS" in result["facts"]["tls"]["version"]


def test_starttls_with_another_name(authority):
    pem = authority.issue("other.test")
    with Postfix(main=tls_main(pem)) as p, relay(p.port, authority, tls="verify",
                                                 local_data=RECORDS) as r:
        result = r.one("u@local.test")
        assert result["outcome"] == "deferred" and result["status"] == "4.7.5", result
        time.sleep(0.5)
        assert not p.mail("u@local.test")


def test_tls12_alone(authority):
    pem = authority.issue("mx.local.test")
    with Postfix(main=tls_main(pem, "smtpd_tls_protocols = TLSv1.2")) as p, \
            relay(p.port, authority, tls="forced", local_data=RECORDS) as r:
        result = r.one("u@local.test", letter=LETTER)
        assert result["facts"]["tls"]["version"] == "TLSv1.2"
        arrived(p)


def test_implicit_tls(authority):
    pem = authority.issue("mx.local.test")
    master = ("127.0.0.1:{tls_port} inet n - n - - smtpd\n"
              "  -o smtpd_tls_wrappermode=yes\n")
    with Postfix(main=tls_main(pem), master=master) as p, \
            relay(p.tls_port, authority, 'route "*" { via = "smarthost" host = "mx.local.test" '
                  f'port = {p.tls_port} tls = "implicit" }}', local_data=RECORDS) as r:
        result = r.one("u@local.test", letter=LETTER)
        assert result["outcome"] == "delivered", result
        arrived(p)


@pytest.mark.parametrize("password, ok", [(Dovecot.PASSWORD, True), ("wrong", False)])
def test_login(authority, password, ok):
    pem = authority.issue("mx.local.test")
    with Dovecot() as d:
        main = tls_main(pem, "smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = dovecot",
                        f"smtpd_sasl_path = {d.auth}", "smtpd_tls_auth_only = yes",
                        "smtpd_relay_restrictions = permit_sasl_authenticated, reject",
                        "smtpd_recipient_restrictions = permit_sasl_authenticated, reject")
        with Postfix(main=main) as p, relay(
                p.port, authority, 'route "*" { via = "smarthost" host = "mx.local.test" '
                f'port = {p.port} tls = "verify" user = "ann" password_file = "pw" }}',
                local_data=RECORDS) as r:
            r.file("pw", password.encode() + b"\n")
            result = r.one("u@local.test", letter=LETTER)
            assert result["outcome"] == ("delivered" if ok else "deferred"), result
            if ok:
                arrived(p)
            else:
                assert result["code"] == 535


def test_dovecot_lmtp(authority):
    with Dovecot() as d, relay(25, authority, 'route "*" { via = "lmtp" host = "127.0.0.1" '
                               f'port = {d.port} }}') as r:
        results = r.send(["u@local.test", "v@local.test"], letter=LETTER)
        assert [x["outcome"] for x in results] == ["delivered"] * 2, results
        arrived(d)
        arrived(d, "v@local.test")
        results = r.send(["u@local.test"], options=["-n", "5"])
        assert [x["outcome"] for x in results] == ["delivered"] * 5
