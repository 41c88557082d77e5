"""Real servers as next hop: Postfix in all its ways of TLS and login, Dovecot's LMTP."""
import email
import os
import time

import pytest
from harness import ports
from harness.certs import Authority
from harness.outbound import Outbound
from harness.peers import Dovecot, Postfix
from harness.server import wait_for

LONG = "".join(f"line {i:06d} of a longer letter\r\n.\r\n..\r\n" for i in range(20000))
USERS = [f"{user}@{name}.test" for user in "uvw" for name in
         "plain starttls implicit ccert no-ccert login wrong-login no-login seven".split()]
SERVICES = ["plain", "ccert", "login", "seven"]


class Peers:
    """Postfix with a port for each way of coming in, Dovecot beside it."""

    def __init__(self, folder):
        self.dovecot = Dovecot()
        self.port = {}
        while len(set(self.port.values())) < len(SERVICES):
            self.port = {name: ports.pick() for name in SERVICES}
        os.chmod(folder, 0o755)
        self.ca = Authority(folder)
        cert = self.ca.issue("postfix.test")
        self.client = self.ca.issue("client.alpha.test")
        at = {name: f"127.0.0.1:{port} inet n - n - - smtpd\n" for name, port in self.port.items()}
        master = (
            at["plain"] + "  -o smtpd_tls_security_level=none\n" +
            "127.0.0.1:{tls_port} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n" +
            at["ccert"] + "  -o smtpd_tls_req_ccert=yes\n  -o smtpd_tls_security_level=encrypt\n" +
            at["login"] + "  -o smtpd_sasl_auth_enable=yes\n  -o smtpd_tls_auth_only=yes\n"
            "  -o smtpd_client_restrictions=permit_sasl_authenticated,reject\n" +
            at["seven"] + "  -o smtpd_tls_security_level=none\n"
            "  -o smtpd_discard_ehlo_keywords=8bitmime,smtputf8,chunking\n")
        main = (f"smtpd_tls_cert_file = {cert}\nsmtpd_tls_key_file = {cert}\n"
                "smtpd_tls_security_level = may\n"
                f"smtpd_tls_loglevel = 2\nsmtpd_tls_CAfile = {self.ca.file}\n"
                "smtpd_tls_received_header = yes\nsmtputf8_enable = yes\n"
                f"smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {self.dovecot.auth}\n"
                "smtpd_client_connection_rate_limit = 0\n")
        try:
            self.postfix = Postfix(main=main, master=master, users=USERS)
        except BaseException:
            self.dovecot.close()
            raise
        self.port["starttls"] = self.postfix.port
        self.port["implicit"] = self.postfix.tls_port

    def close(self):
        self.postfix.close()
        self.dovecot.close()


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    for up in folder.parents[:2]:
        up.chmod(0o755)
    p = Peers(folder)
    yield p
    p.close()


@pytest.fixture(scope="module")
def alpha(peers):
    def password(name, text):
        path = os.path.join(peers.ca.folder, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text + "\n")
        return path

    port = peers.port
    named = f'tls = "verify" host = "postfix.test" ca_file = "{peers.ca.file}" port = '
    login = named + f'{port["login"]} user = "me" password_file = '
    routes = {
        "plain.test": f'port = {port["plain"]}',
        "starttls.test": f'{named}{port["starttls"]}',
        "implicit.test": f'{named}{port["implicit"]}'.replace("verify", "implicit"),
        "ccert.test": f'{named}{port["ccert"]} certificate = "client"',
        "no-ccert.test": f'{named}{port["ccert"]}',
        "login.test": login + f'"{password("right", Dovecot.PASSWORD)}"',
        "wrong-login.test": login + f'"{password("wrong", "guessed")}"',
        "no-login.test": f'{named}{port["login"]}',
        "seven.test": f'port = {port["seven"]}',
        "local.test": f'port = {port["starttls"]}',
        "dovecot.test": f'via = "lmtp" port = {peers.dovecot.port}',
    }
    extra = ('certificate "client" {\n    cert = "lib/keys/client.pem"\n'
             '    key = "lib/keys/client.pem"\n    client_only = true\n}\n')
    with Outbound(routes, {"local_data": ["postfix.test. A 127.0.0.1"], "connection_reuse": "1s"},
                  extra, prepare=lambda s: s.key_file("client.pem", peers.client)) as s:
        yield s


def arrives(peer, alpha, to, n=1, **kw):
    """A letter to `to`; the newest in its mailbox at the peer, once there are n more."""
    first = to if isinstance(to, str) else to[0]
    before = len(peer.mail(first))
    ident = alpha.post(to, **kw)
    letters = wait_for(lambda: len(peer.mail(first)) >= before + n and peer.mail(first), 8,
                       what=f"a letter for {first}")
    alpha.gone(ident)
    return ident, letters[-1]


@pytest.mark.parametrize("how, protocol", [("plain", "ESMTP"), ("starttls", "ESMTPS"),
                                           ("implicit", "ESMTPS"), ("login", "ESMTPSA"),
                                           ("ccert", "ESMTPS")])
@pytest.mark.parametrize("text", ["short\r\n.\r\n..\r\n", LONG], ids=["short", "long"])
def test_postfix(peers, alpha, how, protocol, text):
    ident, letter = arrives(peers.postfix, alpha, f"u@{how}.test", text=text)
    assert letter.endswith(b"\n\n" + text.replace("\r\n", "\n").encode())
    received = " ".join(email.message_from_bytes(letter).get_all("Received")[0].split())
    assert f"with {protocol} id" in received, received
    assert ("TLSv1.3" in received) == (how != "plain")


def test_postfix_client_certificate(peers, alpha):
    arrives(peers.postfix, alpha, "u@ccert.test")
    assert "Trusted TLS connection established from" in peers.postfix.log()
    ident = alpha.post("u@no-ccert.test")
    assert alpha.why(ident)
    alpha.tool("queue", "drop", ident)
    time.sleep(0.2)
    assert not peers.postfix.mail("u@no-ccert.test")


def test_postfix_wrong_password(peers, alpha):
    ident = alpha.post("u@wrong-login.test")
    why = alpha.why(ident)
    assert "535" in why and "authentication failed" in why, why
    alpha.tool("queue", "drop", ident)
    assert "guessed" not in alpha.log()


def test_postfix_refuses_without_login(peers, alpha):
    alpha.post("u@no-login.test")
    assert "denied" in alpha.report("u@no-login.test", 5).text


@pytest.mark.parametrize("how", ["plain", "starttls"])
def test_postfix_eight_bit_and_smtputf8(peers, alpha, how):
    body = "Gr\u00fc\u00dfe\r\n".encode()
    _, letter = arrives(peers.postfix, alpha, f"v@{how}.test", options=["BODY=8BITMIME"],
                        raw=b"From: <ann@alpha.test>\r\nSubject: x\r\n\r\n" + body)
    assert letter.endswith(body.replace(b"\r\n", b"\n"))
    subject = "Subject: Gr\u00fc\u00dfe\r\n".encode()
    _, letter = arrives(peers.postfix, alpha, f"w@{how}.test",
                        options=["SMTPUTF8", "BODY=8BITMIME"],
                        raw=b"From: <ann@alpha.test>\r\n" + subject + b"\r\nhi\r\n")
    assert subject.rstrip() in letter and b"with UTF8SMTP" in letter


def test_postfix_without_8bitmime(peers, alpha):
    """What starts here is converted (RFC 6152 3); SMTPUTF8 cannot be."""
    body = "Gr\u00fc\u00dfe\r\n".encode()
    _, letter = arrives(peers.postfix, alpha, "u@seven.test", options=["BODY=8BITMIME"],
                        raw=b"From: <ann@alpha.test>\r\nSubject: x\r\n\r\n" + body)
    assert letter.isascii()
    assert email.message_from_bytes(letter).get_payload(decode=True) == body.replace(b"\r\n", b"\n")
    alpha.post("v@seven.test", options=["SMTPUTF8", "BODY=8BITMIME"],
               raw="From: <ann@alpha.test>\r\nSubject: Gr\u00fc\u00dfe\r\n\r\nhi\r\n".encode())
    assert alpha.report("v@seven.test", 5).recipients["v@seven.test"]["status"] == "5.6.7"
    assert not peers.postfix.mail("v@seven.test")


def test_postfix_refuses_one_of_many(peers, alpha):
    def counts():
        return [len(peers.postfix.mail(f"{u}@plain.test")) for u in "uvw"]
    before = counts()
    arrives(peers.postfix, alpha, [f"{u}@plain.test" for u in ("u", "v", "nobody", "w")])
    report = alpha.report("nobody@plain.test", 5)
    assert list(report.recipients) == ["nobody@plain.test"]
    assert report.recipients["nobody@plain.test"]["status"] == "5.1.1"
    wait_for(lambda: counts() == [n + 1 for n in before], what="each of the others once")


def test_postfix_sees_one_connection_for_several_letters(peers, alpha):
    time.sleep(1.5)  # what the tests before left open closes
    log = len(peers.postfix.log())
    n = len(peers.postfix.mail("w@starttls.test"))
    for i in range(6):
        alpha.post("w@starttls.test", f"{i}\r\n")
    wait_for(lambda: len(peers.postfix.mail("w@starttls.test")) == n + 6, what="six letters")
    assert 1 <= peers.postfix.log()[log:].count(": connect from") < 6


def test_postfix_sees_a_session_resumed(peers, alpha):
    arrives(peers.postfix, alpha, "v@starttls.test")
    time.sleep(1.5)
    log = len(peers.postfix.log())
    arrives(peers.postfix, alpha, "v@starttls.test")
    wait_for(lambda: "disconnect from" in peers.postfix.log()[log:], what="the connection's end")
    assert "Reusing old session" in peers.postfix.log()[log:], peers.postfix.log()[log:]


def test_dovecot(peers, alpha):
    to = [f"{u}@dovecot.test" for u in "abc"]
    _, letter = arrives(peers.dovecot, alpha, to, text=LONG)
    assert letter.endswith(LONG.replace("\r\n", "\n").encode())
    for address in to:
        wait_for(lambda: len(peers.dovecot.mail(address)) == 1, what=address)


def test_dovecot_refuses_one(peers, alpha):
    arrives(peers.dovecot, alpha, ["d@dovecot.test", "a=b@dovecot.test"])
    report = alpha.report("a=b@dovecot.test", 8)
    assert list(report.recipients) == ["a=b@dovecot.test"]
