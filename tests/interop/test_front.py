"""The front door: who may relay, what ends a letter, what a session may cost."""
import contextlib
import json
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import time

import pytest
from harness import server
from harness.server import PASSWORD, Server, wait_for

ANN = "ann@alpha.test"
OUT = "victim@outside.test"


@pytest.fixture(scope="module")
def alpha():
    # No route leads anywhere: what would be relayed by mistake stays in the queue and is seen.
    with Server("alpha.test", settings={"resolver": "127.0.0.1:1", "recipients_mx": 100,
                                        "message_size": "300K", "errors_max": 1000}) as s:
        yield s


class Raw:
    """A socket that speaks SMTP as badly as the test wants."""

    def __init__(self, port, greet=True, timeout=10):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.buf = b""
        if greet:
            assert self.reply()[0] == 220
            assert self.cmd("EHLO client.test")[0] == 250

    def send(self, octets):
        self.s.sendall(octets)

    def reply(self):
        """(code, text); (0, b"") when the server has closed."""
        text = b""
        while True:
            while b"\n" not in self.buf:
                try:
                    more = self.s.recv(65536)
                except ConnectionError:
                    more = b""
                if not more:
                    return 0, b""
                self.buf += more
            line, _, self.buf = self.buf.partition(b"\n")
            assert line.endswith(b"\r"), "a reply line ends in CR LF"
            text += line[:-1] + b"\n"
            if line[3:4] == b" ":
                return int(line[:3]), text

    def cmd(self, line):
        self.send((line if isinstance(line, bytes) else line.encode("utf-8")) + b"\r\n")
        return self.reply()

    def transaction(self, to=ANN, sender="x@outside.test"):
        assert self.cmd(f"MAIL FROM:<{sender}>")[0] == 250
        assert self.cmd(f"RCPT TO:<{to}>")[0] == 250

    def starttls(self):
        assert self.cmd("STARTTLS")[0] == 220
        self.s = Server.context().wrap_socket(self.s)
        assert self.cmd("EHLO client.test")[0] == 250

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()


# ---- relaying ------------------------------------------------------------------------------------

# (reverse-path, forward-path), as they stand behind the colon. The classic forms, and then some.
RELAY = [
    ("<x@elsewhere.test>", f"<{OUT}>"),
    ("<>", f"<{OUT}>"),
    (f"<{ANN}>", f"<{OUT}>"),
    ("<postmaster@alpha.test>", f"<{OUT}>"),
    ("<root@mx.alpha.test>", f"<{OUT}>"),
    ("<x@[127.0.0.1]>", f"<{OUT}>"),
    ("<x@localhost>", f"<{OUT}>"),
    ("<x@mx.alpha.test>", f"<{OUT}>"),
    ("<x@alpha.test>", f"<{OUT}>"),
    (f"<{OUT}>", f"<{OUT}>"),
    (f"<{ANN}>", "<victim%outside.test@alpha.test>"),
    (f"<{ANN}>", "<victim%outside.test@[127.0.0.1]>"),
    (f"<{ANN}>", "<victim%outside.test@mx.alpha.test>"),
    (f"<{ANN}>", "<victim%outside.test@localhost>"),
    (f"<{ANN}>", "<victim%outside.test%elsewhere.test@alpha.test>"),
    (f"<{ANN}>", "<victim%outside.test>"),
    (f"<{ANN}>", '<"victim%outside.test">'),
    (f"<{ANN}>", '<"victim%outside.test"@alpha.test>'),
    (f"<{ANN}>", '<"victim@outside.test">'),
    (f"<{ANN}>", '<"victim@outside.test"@alpha.test>'),
    (f"<{ANN}>", '<"victim@outside.test"@[127.0.0.1]>'),
    (f"<{ANN}>", '<"victim@outside.test"@mx.alpha.test>'),
    (f"<{ANN}>", f"<{OUT}@alpha.test>"),
    (f"<{ANN}>", f"<{OUT}@[127.0.0.1]>"),
    (f"<{ANN}>", f"<@alpha.test:{OUT}>"),
    (f"<{ANN}>", f"<@mx.alpha.test:{OUT}>"),
    (f"<{ANN}>", f"<@[127.0.0.1]:{OUT}>"),
    (f"<{ANN}>", f"<@localhost:{OUT}>"),
    (f"<{ANN}>", f"<@alpha.test,@elsewhere.test:{OUT}>"),
    (f"<{ANN}>", "<outside.test!victim>"),
    (f"<{ANN}>", "<outside.test!victim@alpha.test>"),
    (f"<{ANN}>", "<outside.test!victim@[127.0.0.1]>"),
    (f"<{ANN}>", "<outside.test!victim@mx.alpha.test>"),
    (f"<{ANN}>", "<elsewhere.test!outside.test!victim@alpha.test>"),
    (f"<{ANN}>", '<"outside.test!victim"@alpha.test>'),
    (f"<{ANN}>", "<alpha.test!victim%outside.test>"),
    (f"<{ANN}>", "<victim@[192.0.2.1]>"),
    (f"<{ANN}>", "<victim@[IPv6:2001:db8::1]>"),
    (f"<{ANN}>", "<victim@[127.0.0.1]>"),
    (f"<{ANN}>", "<victim@127.0.0.1>"),
    (f"<{ANN}>", "<victim@2130706433>"),
    (f"<{ANN}>", "<victim@outside.test.>"),
    (f"<{ANN}>", "<victim@alpha.test.outside.test>"),
    (f"<{ANN}>", "<victim@notalpha.test>"),
    (f"<{ANN}>", "<victim@sub.alpha.test>"),
    (f"<{ANN}>", "<victim@test>"),
    (f"<{ANN}>", f"{OUT}"),
    (f"<{ANN}>", f"<{OUT}"),
    (f"<{ANN}>", f"{OUT}>"),
    (f"<{ANN}>", f"<<{OUT}>>"),
    (f"<{ANN}>", f"<{ANN}> <{OUT}>"),
    (f"<{ANN}>", f"<{ANN},{OUT}>"),
    (f"<{ANN}>", f"<{OUT}> ORCPT=rfc822;{ANN}"),
    (f"<{ANN}>", "<victim>"),
    (f"<{ANN}>", "<>"),
    (f"<{ANN}>", "<(comment)victim@outside.test>"),
    (f"<{ANN}>", "<victim@outside.test(comment)>"),
    (f"<{ANN}>", "<victim @outside.test>"),
    (f"<{ANN}>", "<victim+ann=alpha.test@outside.test>"),
    (f"<{ANN}>", "<victim\\@outside.test@alpha.test>"),
    (f"<{ANN}>", "<xn--victim@xn--outside-.test>"),
    ("<x@alpha.test> AUTH=<ann@alpha.test>", f"<{OUT}>"),
]


@pytest.mark.parametrize("sender,to", RELAY, ids=[f"{i}" for i in range(len(RELAY))])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_no_open_relay(alpha, sender, to, tls):
    with Raw(alpha.mx) as c:
        if tls:
            c.starttls()
        c.cmd("MAIL FROM:" + sender)
        code, text = c.cmd("RCPT TO:" + to)
        assert 500 <= code < 600, text
        assert c.cmd("DATA")[0] >= 500


def test_there_are_at_least_40_forms():
    assert len(set(RELAY)) >= 40


def test_nothing_was_queued_by_those(alpha):
    assert alpha.json("queue", "list") == []


def test_relaying_is_refused_over_ipv6_loopback_too(alpha):
    with socket.create_connection(("::1", alpha.mx), timeout=10) as s:
        s.recv(100)
        s.sendall(b"EHLO c.test\r\n")
        time.sleep(0.2)
        s.recv(4096)
        s.sendall(f"MAIL FROM:<{ANN}>\r\nRCPT TO:<{OUT}>\r\n".encode())
        time.sleep(0.3)
        assert b"\r\n550 5.7.1" in s.recv(4096)


def test_submission_without_login_relays_nothing(alpha):
    for kind in ("submission", "submissions"):
        with alpha.smtp(kind) as c:
            c.ehlo()
            assert c.mail(ANN)[0] == 530
            assert c.rcpt(OUT)[0] in (503, 530)


def test_refused_login_changes_nothing(alpha):
    with alpha.smtp("submissions") as c:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            c.login(ANN, "wrong")
        c.ehlo_or_helo_if_needed()
        assert c.mail(ANN)[0] == 530


def test_trusted_network_may_relay_and_only_it():
    with Server("alpha.test", settings={"trusted_networks": ["127.0.0.1/32"],
                                        "resolver": "127.0.0.1:1"}) as s:
        with s.smtp("mx") as c:
            c.ehlo()
            c.mail("x@elsewhere.test")
            assert c.rcpt(OUT)[0] == 250
            # Not even trusted clients may make others route.
            assert c.rcpt("victim%outside.test@alpha.test")[0] == 550
        with socket.create_connection(("::1", s.mx), timeout=10) as c:
            c.recv(100)
            c.sendall(b"EHLO c.test\r\n")
            time.sleep(0.2)
            c.recv(4096)
            c.sendall(f"MAIL FROM:<{ANN}>\r\nRCPT TO:<{OUT}>\r\n".encode())
            time.sleep(0.3)
            assert b"\r\n550 5.7.1" in c.recv(4096)
        s.set("trusted_networks", [])
        s.tool("reload")

        def refused():
            with s.smtp("mx") as c:
                c.ehlo()
                c.mail("x@elsewhere.test")
                return c.rcpt(OUT)[0] == 550
        wait_for(refused, what="the reload takes the trust away")


# ---- logins --------------------------------------------------------------------------------------

def test_auth_is_never_offered_on_25(alpha):
    with alpha.smtp("mx") as c:
        c.ehlo()
        assert not c.has_extn("auth")
        assert c.docmd("AUTH", "PLAIN AGFubgB4")[0] in (500, 502, 503)
        c.starttls(context=Server.context())
        c.ehlo()
        assert not c.has_extn("auth")
        assert c.docmd("AUTH", "PLAIN AGFubgB4")[0] in (500, 502, 503)


def test_auth_needs_tls(alpha):
    with smtplib.SMTP("127.0.0.1", alpha.submission, timeout=10) as c:
        c.ehlo()
        assert not c.has_extn("auth")
        assert c.docmd("AUTH", "PLAIN AGFubgB4")[0] in (503, 530, 538)
        assert c.mail(ANN)[0] == 530


@pytest.mark.parametrize("user,password", [(ANN, "wrong"), ("nobody@alpha.test", PASSWORD),
                                           (ANN, PASSWORD + " "), ("ann", "x" * 1000)])
def test_wrong_logins_all_look_the_same(alpha, user, password):
    with alpha.smtp("submissions") as c:
        with pytest.raises(smtplib.SMTPAuthenticationError) as e:
            c.login(user, password)
        assert e.value.smtp_code == 535 and e.value.smtp_error.startswith(b"5.7.8")


def test_failed_login_leaves_one_stable_line(alpha):
    with alpha.smtp("submissions") as c, contextlib.suppress(smtplib.SMTPAuthenticationError):
        c.ehlo()
        c.user, c.password = "eve@alpha.test", "no"
        c.auth("PLAIN", c.auth_plain)
    lines = [line for line in alpha.log().splitlines() if "user=eve@alpha.test" in line]
    assert len(lines) == 1
    assert re.search(r" login-failed user=eve@alpha\.test client=127\.0\.0\.1( |$)", lines[0])
    path = os.path.join(os.path.dirname(__file__), "../../packaging/fail2ban/letterlock.conf")
    with open(path, encoding="ascii") as f:
        failregex = re.search(r"^failregex\s*=\s*(.*)$", f.read(), re.M).group(1)
    pattern = failregex.replace("<HOST>", r"(?P<host>\S+)").replace("%%", "%")
    assert re.search(pattern, lines[0]).group("host") == "127.0.0.1"
    assert "password" not in lines[0].replace("wrong password", "")


def test_a_login_sends_from_its_own_addresses_alone(alpha):
    with alpha.smtp("submissions") as c:
        c.login(ANN, PASSWORD)
        assert c.mail("bob@elsewhere.test")[0] == 553
        assert c.mail("postmaster2@alpha.test")[0] == 553
        assert c.mail("ann+detail@alpha.test")[0] == 250
        c.rset()
        assert c.mail("")[0] == 250


# ---- TLS -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("behind", [b"NOOP\r\n", b"EHLO x\r\nMAIL FROM:<a@b.test>\r\n", b"\r\n",
                                    b"x"])
def test_starttls_injection(alpha, behind):
    """Octets in clear behind STARTTLS end the session (CVE-2011-0411)."""
    with Raw(alpha.mx) as c:
        c.send(b"STARTTLS\r\n" + behind)
        c.s.settimeout(5)
        while True:
            code, _ = c.reply()
            if code == 0:
                break
            assert code >= 220 and code != 250, "the injected command was answered"


def test_starttls_forgets_what_was_said_before(alpha):
    with Raw(alpha.mx) as c:
        assert c.cmd("MAIL FROM:<x@outside.test>")[0] == 250
        c2 = c.cmd("STARTTLS")
        if c2[0] == 220:
            c.s = Server.context().wrap_socket(c.s)
            assert c.cmd(f"RCPT TO:<{ANN}>")[0] == 503
            assert c.cmd("EHLO again.test")[0] == 250
            assert b"STARTTLS" not in c.cmd("EHLO again.test")[1]
            assert c.cmd("STARTTLS")[0] >= 500
        else:
            assert c2[0] == 503


def test_close_notify_ends_the_session(alpha):
    """What comes in clear behind the end of TLS is never read as a command."""
    with Raw(alpha.mx) as c:
        c.starttls()
        c.transaction()
        assert c.cmd("DATA")[0] == 354
        c.s.setblocking(True)
        with contextlib.suppress(OSError, ssl.SSLError):
            plain = c.s.unwrap()
            plain.sendall(b"\r\nx\r\n.\r\nNOOP\r\n")
            assert b"250" not in plain.recv(4096)
    assert alpha.json("queue", "list") == []


def test_garbage_instead_of_a_handshake(alpha):
    with Raw(alpha.mx) as c:
        assert c.cmd("STARTTLS")[0] == 220
        c.send(b"EHLO in.clear.test\r\n" * 20)
        data = b""
        c.s.settimeout(5)
        with contextlib.suppress(OSError):
            while (more := c.s.recv(4096)):
                data += more
        assert b"250" not in data


# ---- smuggling -----------------------------------------------------------------------------------

SUITE = server.testdata("smtp-smuggling")


def sequences():
    if not SUITE:
        return [pytest.param(b"", id="absent", marks=pytest.mark.skip("no test data"))]
    with open(os.path.join(SUITE, "sequences.json"), encoding="utf-8") as f:
        return [pytest.param(bytes.fromhex(s["bytes"]), id=s["name"])
                for s in json.load(f)["never_end_of_data"]]


INNER = (b"MAIL FROM:<smuggled@attacker.test>\r\nRCPT TO:<" + ANN.encode() +
         b">\r\nDATA\r\nSubject: inner\r\n\r\nforged\r\n")


@pytest.mark.parametrize("sequence", sequences())
@pytest.mark.parametrize("way", ["data", "data-split", "bdat", "bdat-split", "tls"])
def test_smuggling(alpha, sequence, way):
    letter = b"Subject: outer\r\n\r\nbody" + sequence + INNER
    before = len(alpha.mail(ANN))
    with Raw(alpha.mx) as c:
        if way == "tls":
            c.starttls()
        c.transaction()
        if way.startswith("bdat"):
            cut = letter.index(sequence) + 1 if way == "bdat-split" else 0
            if cut:
                c.send(b"BDAT %d\r\n" % cut + letter[:cut])
                c.reply()
            c.send(b"BDAT %d LAST\r\n" % (len(letter) - cut) + letter[cut:])
        else:
            assert c.cmd("DATA")[0] == 354
            if way == "data-split":
                cut = letter.index(sequence) + 1
                c.send(letter[:cut])
                time.sleep(0.02)
                letter = letter[cut:]
            c.send(letter + b".\r\n")
        code, text = c.reply()
        assert 500 <= code < 600 or code == 0, text
        if code:  # the session may go on, with nothing of the inner letter in it
            again, _ = c.cmd("RSET")
            assert again in (250, 0)
    assert len(alpha.mail(ANN)) == before


@pytest.mark.parametrize("line", [b"NOOP\nNOOP\r\n", b"NOOP\rNOOP\r\n", b"NO\0OP\r\n", b"NOOP\n"])
def test_bare_line_ends_in_commands(alpha, line):
    with Raw(alpha.mx) as c:
        c.send(line)
        code, _ = c.reply()
        assert code == 500 and c.reply()[0] == 0


# ---- limits ---------------------------------------------------------------------------------------

def test_size_limit_declared_and_real(alpha):
    with Raw(alpha.mx) as c:
        assert c.cmd("MAIL FROM:<x@outside.test> SIZE=307201")[0] == 552
        for size in (307200, 307201):
            c.transaction()
            assert c.cmd("DATA")[0] == 354
            c.send(b"Subject: x\r\n\r\n")
            rest = size - 14
            line = b"y" * 62 + b"\r\n"
            c.send(line * (rest // 64))
            left = rest % 64
            c.send(line[64 - left:] if left >= 2 else b"")
            c.send(b".\r\n")
            code, text = c.reply()
            assert code == (250 if size == 307200 else 552), text


def test_recipients_limit(alpha):
    with Raw(alpha.mx) as c:
        assert c.cmd("MAIL FROM:<x@outside.test>")[0] == 250
        c.send(b"".join(b"RCPT TO:<ann+%d@alpha.test>\r\n" % i for i in range(101)))
        codes = [c.reply()[0] for _ in range(101)]
        assert codes == [250] * 100 + [452]


def test_many_errors_end_the_session():
    with Server("alpha.test", settings={"errors_max": 10}) as s, Raw(s.mx) as c:
        codes = []
        while True:
            code, _ = c.cmd("NONSENSE")
            if code == 0:
                break
            codes.append(code)
            if code == 421:
                assert c.reply()[0] == 0
                break
        assert len(codes) <= 11 and codes[-1] == 421


def test_header_limits(alpha):
    with Raw(alpha.mx) as c:
        c.transaction()
        assert c.cmd("DATA")[0] == 354
        c.send(b"X: y\r\n" * 1001 + b"\r\nbody\r\n.\r\n")
        assert c.reply()[0] in (552, 554)
        c.transaction()
        assert c.cmd("DATA")[0] == 354
        c.send((b"X: " + b"y" * 900 + b"\r\n") * 300 + b"\r\nbody\r\n.\r\n")
        assert c.reply()[0] == 552


def test_session_limit():
    with Server("alpha.test", settings={"sessions_max": 5, "mx_workers": 1}) as s:
        held = [Raw(s.mx) for _ in range(5)]
        with Raw(s.mx, greet=False) as c:
            code, text = c.reply()
            assert code == 421 and text.startswith(b"421 4.3.2")
        assert held[0].cmd("QUIT")[0] == 221

        def room():
            with Raw(s.mx, greet=False) as c:
                return c.reply()[0] == 220
        wait_for(room, what="a place that came free")
        for c in held:
            c.s.close()


def test_command_timeout():
    with Server("alpha.test", settings={"command_timeout": "10s"}) as s, Raw(s.mx, timeout=20) as c:
        start = time.monotonic()
        c.send(b"NOO")
        code, _ = c.reply()
        assert code == 421 and 8 < time.monotonic() - start < 14


def test_early_talker_is_refused(alpha):
    """Octets that are there before the banner: stop the fronts so that they surely are."""
    pids = alpha.role_pids("front-mx")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        s = socket.create_connection(("127.0.0.1", alpha.mx), timeout=10)
        s.sendall(b"EHLO eager.test\r\nMAIL FROM:<a@b.test>\r\n")
        time.sleep(0.1)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    data = b""
    with contextlib.suppress(ConnectionError):
        while (more := s.recv(4096)):
            data += more
    s.close()
    assert data.startswith(b"521 ") and data.count(b"\r\n") == 1


def test_half_closed_client_hears_its_replies(alpha):
    n = len(alpha.mail(ANN))
    with socket.create_connection(("127.0.0.1", alpha.mx), timeout=10) as s:
        s.recv(100)
        s.sendall(b"EHLO c.test\r\n")
        s.recv(4096)
        s.sendall(b"MAIL FROM:<x@outside.test>\r\nRCPT TO:<" + ANN.encode() +
                  b">\r\nBDAT 5 LAST\r\n\r\nx\r\nQUIT\r\n")
        s.shutdown(socket.SHUT_WR)
        data = b""
        while (more := s.recv(4096)):
            data += more
    assert b"queued as" in data and data.endswith(b"\r\n") and b"\r\n221 " in data
    alpha.wait_mail(ANN, n + 1)


def test_one_octet_at_a_time(alpha):
    n = len(alpha.mail(ANN))
    with Raw(alpha.mx) as c:
        c.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for text, code in (("MAIL FROM:<x@outside.test>", 250), (f"RCPT TO:<{ANN}>", 250),
                           ("DATA", 354), ("Subject: slow\r\n\r\n..a\r\n.", 250)):
            for octet in (text + "\r\n").encode():
                c.send(bytes([octet]))
            assert c.reply()[0] == code
    letters = alpha.wait_mail(ANN, n + 1)
    assert [m for m in letters if b"Subject: slow" in m][0].endswith(b"\n.a\n")


def test_many_letters_in_one_session(alpha):
    n = len(alpha.mail(ANN))
    with Raw(alpha.mx) as c:
        one = (f"MAIL FROM:<x@outside.test>\r\nRCPT TO:<{ANN}>\r\nBDAT 5 LAST\r\n\r\nx\r\n").encode()
        c.send(one * 200)
        codes = [c.reply()[0] for _ in range(600)]
        assert codes == [250] * 600
    alpha.wait_mail(ANN, n + 200, 30)


# ---- what a submitted letter becomes ---------------------------------------------------------------

def submitted(alpha, letter):
    with alpha.smtp("submissions") as c:
        c.login(ANN, PASSWORD)
        c.mail(ANN)
        c.rcpt(ANN)
        code, text = c.data(letter)
    if code != 250:
        return code, text
    ident = b"id " + text.split()[-1]
    found = wait_for(lambda: [m for m in alpha.mail(ANN) if ident in m.replace(b"\n\t", b" ")])
    return code, found[0]


def test_fix_ups_of_submission(alpha):
    code, letter = submitted(alpha, b"From: <ann@alpha.test>\r\nBcc: secret@x.test,\r\n other@x.test\r\n"
                                    b"Subject: s\r\n\r\nbody\r\n")
    assert code == 250
    head, _, body = letter.partition(b"\n\n")
    assert body == b"body\n"
    assert re.search(rb"^Date: ", head, re.M) and re.search(rb"^Message-ID: <[^<>@ ]+@[^<>@ ]+>$",
                                                            head, re.M)
    assert b"secret" not in letter and b"other@x" not in letter


def test_received_of_submission(alpha):
    _, letter = submitted(alpha, b"From: <ann@alpha.test>\r\n\r\nx\r\n")
    received = " ".join(re.search(rb"^Received: (.*(\n[ \t].*)*)", letter, re.M).group(1)
                        .decode().split())
    assert "with ESMTPSA" in received and "TLSv1.3" in received and f"for <{ANN}>" in received
    assert "127.0.0.1" in received


def test_hide_client():
    with Server("alpha.test", settings={"hide_client": True}) as s:
        _, letter = submitted(s, b"From: <ann@alpha.test>\r\n\r\nx\r\n")
        head = letter.split(b"\n\n")[0]
        assert b"127.0.0.1" not in head and b"client.test" not in head
        assert b"with ESMTPSA" in head.replace(b"\n\t", b" ")


@pytest.mark.parametrize("letter", [b"Subject: none\r\n\r\nx\r\n",
                                    b"From: <a@x.test>\r\nFrom: <b@x.test>\r\n\r\nx\r\n",
                                    b"From: a@x.test, b@x.test\r\n\r\nx\r\n"])
def test_letters_without_one_author_are_refused(alpha, letter):
    code, text = submitted(alpha, letter)
    assert code == 550 and text.startswith(b"5.6.0")


# ---- peers and processes ----------------------------------------------------------------------------

def test_auth_that_is_gone_costs_a_temporary_refusal():
    with Server("alpha.test") as s, s.smtp("submissions") as c, Raw(s.mx) as mx:
        c.ehlo()
        assert mx.cmd("MAIL FROM:<x@outside.test>")[0] == 250
        pid = s.role_pids("auth")[0]
        os.kill(pid, signal.SIGSTOP)  # it does not answer ...
        mx.send(f"RCPT TO:<{ANN}>\r\n".encode())
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)  # ... and then dies
        code, text = mx.reply()
        assert code == 451, text
        wait_for(lambda: mx.cmd(f"RCPT TO:<{ANN}>")[0] == 250, 5, 0.1, "auth is back")
        c.login(ANN, PASSWORD)


def test_swaks(alpha):
    try:
        subprocess.run(["swaks", "--version"], capture_output=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no swaks here")
    n = len(alpha.mail(ANN))
    for extra in (["--port", str(alpha.mx)], ["--port", str(alpha.mx), "--tls"],
                  ["--port", str(alpha.submission), "--tls", "--auth", "PLAIN", "--auth-user", ANN,
                   "--auth-password", PASSWORD],
                  ["--port", str(alpha.submissions), "--tls-on-connect", "--auth", "LOGIN",
                   "--auth-user", ANN, "--auth-password", PASSWORD]):
        p = subprocess.run(["swaks", "--server", "127.0.0.1", "--from", ANN, "--to", ANN, *extra],
                           capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert p.returncode == 0, p.stdout + p.stderr
    alpha.wait_mail(ANN, n + 4)
