"""Real servers as next hop: Postfix in all its ways of TLS and login, Dovecot's LMTP."""
import os
import re

import pytest
from harness import ports
from harness.certs import Authority
from harness.outbound import Outbound
from harness.peers import Dovecot, Postfix
from harness.server import wait_for

LONG = "".join(f"line {i:06d} of a longer letter\r\n.\r\n..\r\n" for i in range(20000))
USERS = ["u@local.test", "v@local.test", "w@local.test", "gr\u00fc\u00dfe@local.test"]
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
        main = (f"smtpd_tls_chain_files = {cert}\nsmtpd_tls_security_level = may\n"
                f"smtpd_tls_loglevel = 1\nsmtpd_tls_CAfile = {self.ca.file}\n"
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
    def readable(path):
        copy = path + ".readable"
        with open(path, encoding="ascii") as f, open(copy, "w", encoding="ascii") as out:
            out.write(f.read())
        return copy

    def password(name, text):
        path = os.path.join(peers.ca.folder, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text + "\n")
        return path

    port = peers.port
    named = f'tls = "verify" host = "postfix.test" ca_file = "{peers.ca.file}" port = '
    login = named + f'{port["login"]} user = "me" password_file = '
    client = readable(peers.client)
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
        "socket.test": f'via = "lmtp" host = "{peers.dovecot.socket}"',
    }
    extra = (f'certificate "client" {{\n    cert = "{client}"\n    key = "{client}"\n'
             "    client_only = true\n}\n")
    aliases = "".join(f"{name}@alpha.test: u@{name}.test\n" for name in ("x",))
    del aliases
    with Outbound(routes, {"local_data": ["postfix.test. A 127.0.0.1"], "connection_reuse": "1s"},
                  extra) as s:
        yield s


# Postfix takes any recipient domain of ours only as virtual mailbox: all names map to local.test.
def arrives(peers, alpha, to, before=None, **kw):
    n = len(peers.postfix.mail("u@local.test"))
    ident = alpha.post(to, **kw)
    letters = wait_for(lambda: len(peers.postfix.mail("u@local.test")) > n and
                       peers.postfix.mail("u@local.test"), 8, what=f"{to} at Postfix")
    alpha.gone(ident)
    return ident, letters[-1]
