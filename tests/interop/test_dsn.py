"""Delivery status notifications (RFC 3461, 3464, 6533): what senders are told, through the whole
server, with next hops that make reports themselves and such that do not."""
import email
import quopri

from harness.peers import Dovecot, Postfix
from harness.rawserver import RawServer
from harness.server import LETTERLOCK, PASSWORD, Server, wait_for

DSN = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN")
ALIASES = """\
team@alpha.test: ann@alpha.test, carl@alpha.test
one@alpha.test: carl@alpha.test
far@alpha.test: bob@beta.test
"""


def alpha(port=1, extra="", records=(), **settings):
    s = Server("alpha.test", users=["ann@alpha.test", "carl@alpha.test"], start=False, extra=extra,
               settings={"resolver": "127.0.0.1:1", "smtp_port": port, "retry_first": "1s",
                         "local_data": ["beta.test. MX 10 mx.beta.test.",
                                        "mx.beta.test. A 127.0.0.1", *records], **settings})
    with open(s.home + "/aliases", "w", encoding="utf-8") as f:
        f.write(ALIASES)
    s.set("aliases", s.home + "/aliases")
    s.start()
    return s


def send(server, rcpts, mail="", login=True, sender="ann@alpha.test", text=b"body\r\n"):
    """rcpts: {address: parameters}; mail: the parameters of MAIL."""
    with server.smtp("submissions" if login else "mx") as s:
        s.ehlo()
        if login:
            s.login(sender, PASSWORD)
        code, answer = s.docmd(f"MAIL FROM:<{sender}> {mail}")
        assert code == 250, answer
        for address, args in rcpts.items():
            code, answer = s.docmd(f"RCPT TO:<{address}> {args}")
            assert code == 250, answer
        code, answer = s.data(b"From: <ann@alpha.test>\r\nSubject: original\r\n\r\n" + text)
        assert code == 250, answer


def reports(server, n=1, box="ann@alpha.test", seconds=20):
    """The reports in a mailbox, as (message, [fields of the letter, of each recipient ...])."""
    def look():
        found = []
        for octets in server.mail(box):
            m = email.message_from_bytes(octets)
            if m.get_content_type() == "multipart/report":
                assert m["Return-Path"] == "<>" and m["Auto-Submitted"] == "auto-replied"
                assert m.get_param("report-type") == "delivery-status"
                found.append((m, m.get_payload()[1].get_payload()))
        return found
    wait_for(lambda: len(look()) >= n, seconds, what=f"{n} reports")
    return look()


def quiet(server):
    wait_for(lambda: not server.json("queue", "list"), 15, what="an empty queue")


def test_it_is_offered_and_checked():
    with alpha() as a, a.smtp("mx") as s:
        s.ehlo()
        assert s.has_extn("dsn")
        for bad in ("RET=ALL", "ENVID=a+0Ab", "ENVID=" + 101 * "x"):
            assert s.docmd(f"MAIL FROM:<x@elsewhere.test> {bad}")[0] == 501
        assert s.docmd("MAIL FROM:<x@elsewhere.test> RET=HDRS ENVID=QQ+2B")[0] == 250
        for bad in ("NOTIFY=NEVER,SUCCESS", "NOTIFY=", "ORCPT=rfc822;a+0D", "ORCPT=a@b",
                    "ORCPT=utf-8;\\x{0A}", "ORCPT=rfc822;" + 500 * "x"):
            assert s.docmd(f"RCPT TO:<ann@alpha.test> {bad}")[0] == 501, bad
        assert s.docmd("RCPT TO:<ann@alpha.test> ORCPT=utf-8;j\\x{F6}@x NOTIFY=DELAY")[0] == 250


def test_success_into_a_mailbox_by_an_alias_and_to_a_server_without_dsn():
    with RawServer() as hop, alpha(hop.port) as a:
        send(a, {"carl@alpha.test": "NOTIFY=SUCCESS ORCPT=rfc822;c+2Bx@old.test",
                 "team@alpha.test": "NOTIFY=SUCCESS,FAILURE",
                 "one@alpha.test": "NOTIFY=SUCCESS",
                 "far@alpha.test": "NOTIFY=SUCCESS",
                 "bob@beta.test": "NOTIFY=SUCCESS",
                 "eve@beta.test": "NOTIFY=FAILURE"}, "RET=FULL ENVID=id+3D7")
        quiet(a)
        # carl got the letter itself and by the alias of one address; bob by another such alias.
        wait_for(lambda: sum(len(f) - 1 for _, f in reports(a)) == 5, 15, what="five recipients")
        got = reports(a)
        fields = {}
        for m, (letter, *rcpts) in got:
            assert letter["Original-Envelope-Id"] == "id=7"
            assert m.get_payload()[2].get_content_type() == "text/rfc822-headers"
            for r in rcpts:
                fields[r["Final-Recipient"].split()[1], r["Action"]] = r
        assert set(fields) == {("carl@alpha.test", "delivered"), ("team@alpha.test", "expanded"),
                               ("bob@beta.test", "relayed")}
        assert fields["bob@beta.test", "relayed"]["Remote-MTA"].startswith("dns; mx.beta.test")
        assert fields["team@alpha.test", "expanded"]["Status"].startswith("2.")
        originals = [r["Original-Recipient"] for _, (_, *rcpts) in got for r in rcpts]
        assert "rfc822; c+x@old.test" in originals
        assert b"NOTIFY" not in hop.octets and b"ENVID" not in hop.octets


def test_parameters_go_on_to_a_server_with_dsn():
    with RawServer(ehlo=DSN) as hop, alpha(hop.port) as a:
        send(a, {"bob@beta.test": "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@Old.test",
                 "eve@beta.test": "NOTIFY=NEVER", "joe@beta.test": ""}, "RET=HDRS ENVID=a+2Bb")
        quiet(a)
        sent = hop.octets.decode()
        assert " RET=HDRS ENVID=a+2Bb\r\n" in sent
        assert "RCPT TO:<bob@beta.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@Old.test" in sent
        assert "RCPT TO:<eve@beta.test> NOTIFY=NEVER\r\n" in sent
        assert "RCPT TO:<joe@beta.test>\r\n" in sent
        assert not a.mail("ann@alpha.test")


def test_an_address_in_utf_8_goes_on_in_ascii():
    """RFC 6533 3: every server can take utf-8-addr-xtext."""
    with RawServer(ehlo=DSN) as hop, alpha(hop.port) as a, a.smtp("submissions") as s:
        s.ehlo()
        s.login("ann@alpha.test", PASSWORD)
        s.command_encoding = "utf-8"
        assert s.docmd("MAIL FROM:<ann@alpha.test> SMTPUTF8")[0] == 250
        assert s.docmd("RCPT TO:<bob@beta.test> ORCPT=utf-8;j\u00f6rg@x.test")[0] == 250
        assert s.data(b"From: <ann@alpha.test>\r\n\r\nbody\r\n")[0] == 250
        quiet(a)
        assert b"RCPT TO:<bob@beta.test> ORCPT=utf-8;j\\x{F6}rg@x.test\r\n" in hop.octets


def test_addresses_in_utf_8_are_reported_as_they_are():
    """RFC 6533 4.1: a message/global-delivery-status, encoded, since the report goes to an ASCII address."""
    refuse = {"RCPT": b"550 5.1.1 no such user\r\n"}
    with RawServer(refuse, ehlo=DSN) as hop, alpha(hop.port) as a:
        with a.smtp("submissions") as s:
            s.ehlo()
            s.login("ann@alpha.test", PASSWORD)
            s.command_encoding = "utf-8"
            assert s.docmd("MAIL FROM:<ann@alpha.test> SMTPUTF8")[0] == 250
            assert s.docmd("RCPT TO:<j\u00f6rg@beta.test> ORCPT=utf-8;k\\x{E4}the@x.test")[0] == 250
            assert s.data(b"From: <ann@alpha.test>\r\n\r\nbody\r\n")[0] == 250
        [m] = [m for m, _ in reports(a)]
        part = m.get_payload()[1]
        assert part.get_content_type() == "message/global-delivery-status"
        raw = part.get_payload()[0].get_payload() if part.is_multipart() else part.get_payload()
        said = quopri.decodestring(raw).decode().splitlines()
        assert "Original-Recipient: utf-8; k\u00e4the@x.test" in said
        assert "Final-Recipient: utf-8; j\u00f6rg@beta.test" in said


def test_lmtp_with_dsn_reports_itself():
    with RawServer(ehlo=DSN) as hop, alpha(extra='route "beta.test" { via = "lmtp" host = '
                                                 f'"127.0.0.1" port = {hop.port} }}') as a:
        send(a, {"bob@beta.test": "NOTIFY=SUCCESS"})
        quiet(a)
        assert b"LHLO" in hop.octets and b"RCPT TO:<bob@beta.test> NOTIFY=SUCCESS" in hop.octets
        assert not a.mail("ann@alpha.test")


def test_failure_returns_the_letter_or_its_header():
    refuse = {"RCPT": b"550 5.1.1 no such user\r\n"}
    with RawServer(refuse, ehlo=DSN) as hop, alpha(hop.port, return_size="20K") as a:
        for mail, size, kind in (("RET=FULL", 10, "message/rfc822"),
                                 ("RET=HDRS", 10, "text/rfc822-headers"),
                                 ("", 10, "text/rfc822-headers"),
                                 ("RET=FULL", 30000, "text/rfc822-headers")):
            n = len(a.mail("ann@alpha.test"))
            send(a, {"bob@beta.test": ""}, mail, text=b"0123456\r\n" * (size // 9 + 1))
            m, (_, r) = reports(a, n + 1)[-1]
            assert r["Action"] == "failed" and r["Status"] == "5.1.1"
            assert r["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
            part = m.get_payload()[2]
            assert part.get_content_type() == kind, (mail, size)
            assert (b"0123456" in m.as_bytes()) == (kind == "message/rfc822")
        # Nobody is told where NOTIFY says so.
        n = len(a.mail("ann@alpha.test"))
        send(a, {"bob@beta.test": "NOTIFY=NEVER", "eve@beta.test": "NOTIFY=SUCCESS,DELAY"})
        quiet(a)
        assert len(a.mail("ann@alpha.test")) == n


def test_strangers_are_told_nothing():
    """A letter from outside whose sender nobody proved: no report, whatever NOTIFY asks for."""
    with alpha(delay_warning="1s") as a:
        send(a, {"carl@alpha.test": "NOTIFY=SUCCESS", "team@alpha.test": "NOTIFY=SUCCESS"},
             login=False, sender="ann@alpha.test")
        a.wait_mail("carl@alpha.test", 2)
        quiet(a)
        assert all(b"multipart/report" not in m for m in a.mail("ann@alpha.test"))


def test_delay_is_told_once():
    with RawServer({"RCPT": b"451 4.2.1 busy\r\n"}) as hop, \
            alpha(hop.port, delay_warning="3s", queue_lifetime="1h", retry_max="1s") as a:
        send(a, {"bob@beta.test": "", "eve@beta.test": "NOTIFY=SUCCESS,FAILURE",
                 "joe@beta.test": "NOTIFY=DELAY"})
        (m, (letter, *rcpts)), = reports(a, 1)
        assert m["Subject"] == "Your letter is delayed"
        assert {r["Final-Recipient"] for r in rcpts} == {"rfc822; bob@beta.test",
                                                         "rfc822; joe@beta.test"}
        assert all(r["Action"] == "delayed" and r["Status"] == "4.2.1" and
                   r["Will-Retry-Until"] for r in rcpts)
        letter, = a.json("queue", "list")
        tries = letter["rcpts"][0]["attempts"]
        a.crash()
        a.start()
        wait_for(lambda: a.json("queue", "list")[0]["rcpts"][0]["attempts"] >= tries + 3, 20,
                 what="more tries")
        assert len(reports(a, 1)) == 1
        hop.replies.clear()
        quiet(a)
        m, (_, r) = reports(a, 2)[-1]  # eve's success
        assert (r["Final-Recipient"], r["Action"]) == ("rfc822; eve@beta.test", "relayed")


def test_delay_behind_a_server_that_is_away():
    with RawServer() as closed:
        port = closed.port
    with alpha(port, delay_warning="3s", queue_lifetime="1h", retry_first="60s") as a:
        for _ in range(8):
            send(a, {"bob@beta.test": ""})
        reports(a, 8, seconds=30)
        assert len(a.json("queue", "list")) == 8


def test_postfix_as_next_hop_reports_itself():
    with Postfix(users=["u@local.test"]) as p, \
            alpha(p.port, records=["local.test. MX 10 mx.local.test.",
                                   "mx.local.test. A 127.0.0.1"]) as a:
        p.configure(f"relayhost = [127.0.0.1]:{a.mx}")  # its reports come back to us
        send(a, {"u@local.test": "NOTIFY=SUCCESS ORCPT=rfc822;u+2B1@local.test"}, "ENVID=e1")
        wait_for(lambda: p.mail("u@local.test"), 20)
        quiet(a)
        (m, (letter, r)), = reports(a, 1, seconds=30)
        assert letter["Reporting-MTA"] == "dns; postfix.test"
        assert letter["Original-Envelope-Id"] == "e1"
        assert r["Original-Recipient"] == "rfc822;u+1@local.test"
        assert r["Action"] == "delivered"


def test_lmtp_without_dsn_is_delivery():
    with Dovecot() as d, alpha(extra='route "local.test" { via = "lmtp" host = "127.0.0.1" '
                                     f'port = {d.port} }}') as a:
        send(a, {"u@local.test": "NOTIFY=SUCCESS"})
        wait_for(lambda: d.mail("u@local.test"), 20)
        (_, (_, r)), = reports(a, 1)
        assert (r["Final-Recipient"], r["Action"]) == ("rfc822; u@local.test", "delivered")


def letterlock_send(a, *args):
    return Server._run([LETTERLOCK, "send", "--server", f"127.0.0.1:{a.submissions}", "--tls",
                        "implicit", "--insecure", "--user", "ann@alpha.test", "--password-file",
                        a.password_file, *args, "carl@alpha.test"], check=False,
                       input="From: <ann@alpha.test>\nSubject: x\n\nbody\n")


def test_letterlock_send_asks():
    with alpha() as a:
        p = letterlock_send(a, "--notify", "success,failure", "--ret", "hdrs", "--envid", "my=id+1")
        assert p.returncode == 0, p
        (_, (letter, r)), = reports(a, 1)
        assert letter["Original-Envelope-Id"] == "my=id+1" and r["Action"] == "delivered"
        for bad in (("--notify", "never,delay"), ("-N", "delay,delay"), ("--ret", "all"),
                    ("-V", "x" * 101), ("-V", "\u00e4")):
            p = letterlock_send(a, *bad)
            assert p.returncode == 64 and p.stderr, p
