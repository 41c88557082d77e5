"""Letters from a client through letterlockd to a mailbox, and to another server."""
import email
import time

import pytest
from harness.server import PASSWORD, Server, wait_for

ALIASES = """\
# comment
team@alpha.test: ann@alpha.test, carl@alpha.test
out@alpha.test: bob@beta.test
chain@alpha.test: team@alpha.test,
    bob@beta.test
loop1@alpha.test: loop2@alpha.test
loop2@alpha.test: loop1@alpha.test
"""


@pytest.fixture(scope="module")
def pair():
    """alpha.test and beta.test, each the other's only neighbour."""
    with Server("beta.test", users=["bob@beta.test"]) as beta:
        with Server("alpha.test", users=["ann@alpha.test", "carl@alpha.test"], start=False,
                    settings={"resolver": "127.0.0.1:1", "smtp_port": beta.mx,
                              "retry_first": "1s",
                              "local_data": ["beta.test. MX 10 mx.beta.test.",
                                             "mx.beta.test. A 127.0.0.1",
                                             "null.test. MX 0 ."]}) as alpha:
            with open(alpha.home + "/aliases", "w", encoding="utf-8") as f:
                f.write(ALIASES)
            alpha.set("aliases", alpha.home + "/aliases")
            alpha.start()
            yield alpha, beta


def count(server, mailbox):
    return len(server.mail(mailbox))


def arrives(server, mailbox, action, n=1):
    """The letters that action brings into the mailbox."""
    before = count(server, mailbox)
    action()
    return server.wait_mail(mailbox, before + n)[-n:]


@pytest.mark.parametrize("kind", ["submission", "submissions"])
def test_to_own_mailbox(pair, kind):
    alpha, _ = pair
    letter, = arrives(alpha, "ann@alpha.test",
                      lambda: alpha.submit("ann@alpha.test", "body\r\n", kind=kind))
    m = email.message_from_bytes(letter)
    assert m["Return-Path"] == "<ann@alpha.test>"
    assert m["Delivered-To"] == "ann@alpha.test"
    assert "with ESMTPSA" in m["Received"] and "TLSv1.3" in m["Received"]
    assert "for <ann@alpha.test>" in m["Received"]
    assert m["Date"] and m["Message-ID"]
    assert m.get_payload() == "body\n"


def test_from_outside_without_login(pair):
    alpha, _ = pair

    def send():
        with alpha.smtp("mx") as s:
            s.sendmail("x@elsewhere.test", ["ann@alpha.test"], "Subject: plain\r\n\r\nhi\r\n")
    letter, = arrives(alpha, "ann@alpha.test", send)
    assert b"with ESMTP id" in letter.replace(b"\n\t", b" ") and b"Return-Path: <x@elsewhere.test>" in letter


def test_to_another_server(pair):
    alpha, beta = pair
    letter, = arrives(beta, "bob@beta.test", lambda: alpha.submit("bob@beta.test", "over\r\n"))
    m = email.message_from_bytes(letter)
    received = m.get_all("Received")
    assert len(received) == 2, letter
    assert "by mx.beta.test with ESMTPS" in " ".join(received[0].split()), received[0]
    assert m.get_payload() == "over\n"


def test_many_recipients_in_one_letter(pair):
    alpha, beta = pair
    n, c, b = (count(s, m) for s, m in ((alpha, "ann@alpha.test"), (alpha, "carl@alpha.test"),
                                        (beta, "bob@beta.test")))
    alpha.submit(["ann@alpha.test", "carl@alpha.test", "bob@beta.test"])
    alpha.wait_mail("ann@alpha.test", n + 1)
    letter = alpha.wait_mail("carl@alpha.test", c + 1)[-1]
    beta.wait_mail("bob@beta.test", b + 1)
    assert b" for <" not in letter.split(b"Subject")[0].replace(b"\n\t", b" ")


def test_plus_detail_and_case(pair):
    alpha, _ = pair
    letter, = arrives(alpha, "ann@alpha.test", lambda: alpha.submit("ANN+lists@ALPHA.test"))
    assert b"Delivered-To: " in letter


@pytest.mark.parametrize("name", ["postmaster", "abuse", "Postmaster"])
def test_postmaster_and_abuse_are_always_there(pair, name):
    alpha, _ = pair
    arrives(alpha, "ann@alpha.test", lambda: alpha.submit(f"{name}@alpha.test"))


def test_alias_to_several(pair):
    alpha, _ = pair
    c = count(alpha, "carl@alpha.test")
    letter, = arrives(alpha, "ann@alpha.test", lambda: alpha.submit("team@alpha.test"))
    alpha.wait_mail("carl@alpha.test", c + 1)
    assert b"Delivered-To: team@alpha.test" in letter


def test_alias_to_outside_and_chain(pair):
    alpha, beta = pair
    arrives(beta, "bob@beta.test", lambda: alpha.submit("out@alpha.test"))
    n = count(alpha, "ann@alpha.test")
    arrives(beta, "bob@beta.test", lambda: alpha.submit("chain@alpha.test"))
    alpha.wait_mail("ann@alpha.test", n + 1)


def test_unknown_user_is_refused_at_rcpt(pair):
    alpha, _ = pair
    with alpha.smtp("mx") as s:
        s.ehlo()
        s.mail("x@elsewhere.test")
        code, text = s.rcpt("nobody@alpha.test")
    assert code == 550 and text.startswith(b"5.1.1")


def test_catch_all():
    with Server("alpha.test", start=False) as alpha:
        with open(alpha.home + "/aliases", "w", encoding="utf-8") as f:
            f.write("@alpha.test: ann@alpha.test\n")
        alpha.set("aliases", alpha.home + "/aliases")
        alpha.start()
        alpha.submit("anything.at.all@alpha.test")
        alpha.wait_mail("ann@alpha.test", 1)


def test_failure_is_reported_to_the_sender(pair):
    alpha, _ = pair
    letter, = arrives(alpha, "ann@alpha.test", lambda: alpha.submit("nobody@beta.test"))
    m = email.message_from_bytes(letter)
    assert m["Return-Path"] == "<>"
    assert m.get_content_type() == "multipart/report"
    text, status, _ = m.get_payload()
    assert "nobody@beta.test" in text.get_payload()
    fields = str(status)
    assert "Action: failed" in fields and "Status: 5.1.1" in fields and "Diagnostic-Code: smtp;" in fields


def test_null_mx_fails_at_once(pair):
    alpha, _ = pair
    letter, = arrives(alpha, "ann@alpha.test", lambda: alpha.submit("a@null.test"))
    assert b"5.1.10" in letter


def test_loop_of_aliases_ends(pair):
    alpha, _ = pair
    with alpha.smtp("submissions") as s:
        s.login("ann@alpha.test", PASSWORD)
        s.ehlo_or_helo_if_needed()
        s.mail("ann@alpha.test")
        code, _ = s.rcpt("loop1@alpha.test")
        if code == 250:  # accepted: then it must come back, once
            before = count(alpha, "ann@alpha.test")
            s.data(b"From: <ann@alpha.test>\r\nSubject: loop\r\n\r\nround\r\n")
            alpha.wait_mail("ann@alpha.test", before + 1)
            time.sleep(1)
            assert count(alpha, "ann@alpha.test") == before + 1
        else:
            assert 500 <= code < 600


def test_two_servers_in_a_loop_end():
    """alpha and beta each think that the other has loop.test. The one that meets the refusal took
    the letter from outside and cannot know its sender: it keeps it, and sends no backscatter."""
    with Server("alpha.test", start=False) as alpha, Server("beta.test", users=["bob@beta.test"],
                                                            start=False) as beta:
        for one, other in ((alpha, beta), (beta, alpha)):
            one.set("received_max", 12)
            one.set("retry_first", "1s")
            with open(one.conf, "a", encoding="utf-8") as f:
                f.write(f'\nroute "loop.test" {{ via = "smarthost" host = "127.0.0.1" '
                        f'port = {other.mx} }}\n'
                        'domain "loop.test" { relay = true recipients = {"x@loop.test"} }\n')
            one.start()
        alpha.submit("x@loop.test")
        held, = wait_for(lambda: [letter for s in (alpha, beta)
                                  for letter in s.json("queue", "list", "--held")],
                         20, what="the letter held")
        assert "5.4.6" in str(held)
        assert count(alpha, "ann@alpha.test") == 0


def test_large_letter_goes_through_a_file(pair):
    alpha, beta = pair
    text = "".join(f"line {i:06d} of a long letter, with a dot next\r\n.\r\n" for i in range(60000))
    letter, = arrives(beta, "bob@beta.test", lambda: alpha.submit("bob@beta.test", text))
    assert letter.endswith(text.replace("\r\n", "\n").encode())


def test_eight_bit_and_dots_survive(pair):
    alpha, beta = pair
    text = "..two\r\n.one\r\n\r\nGr\u00fc\u00dfe\r\n".encode()
    before = count(beta, "bob@beta.test")
    with alpha.smtp("submissions") as s:
        s.login("ann@alpha.test", PASSWORD)
        s.sendmail("ann@alpha.test", ["bob@beta.test"],
                   b"From: <ann@alpha.test>\r\nSubject: x\r\n\r\n" + text, ["BODY=8BITMIME"])
    assert beta.wait_mail("bob@beta.test", before + 1)[-1].endswith(text.replace(b"\r\n", b"\n"))


def test_trace_and_empty_queue(pair):
    alpha, beta = pair
    with alpha.smtp("submissions") as s:
        s.login("ann@alpha.test", PASSWORD)
        s.mail("ann@alpha.test")
        s.rcpt("bob@beta.test")
        code, text = s.data(b"From: <ann@alpha.test>\r\nSubject: t\r\n\r\nx\r\n")
    assert code == 250
    ident = text.split()[-1].decode()
    wait_for(lambda: "delivered" in alpha.tool("trace", ident), what="receipt of " + ident)
    receipt = alpha.tool("trace", ident)
    assert "TLSv1.3" in receipt and "bob@beta.test" in receipt
    wait_for(lambda: not alpha.json("queue", "list"), what="empty queue")


def test_restart_keeps_what_waits():
    with Server("alpha.test", settings={"resolver": "127.0.0.1:1", "retry_first": "2s"},
                extra='route "*" { via = "smarthost" host = "127.0.0.1" port = 9 }') as alpha:
        for i in range(5):
            alpha.submit("x@elsewhere.test", subject=str(i))
        wait_for(lambda: len(alpha.json("queue", "list")) == 5)
        assert alpha.stop(), "it did not end by itself"
        alpha.start()
        wait_for(lambda: len(alpha.json("queue", "list")) == 5, what="the same five letters")
        alpha.crash()
        alpha.start()
        wait_for(lambda: len(alpha.json("queue", "list")) == 5, what="the same five letters")
