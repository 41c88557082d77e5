"""Letters that start here are signed by keys that only the keeper holds; others' are not."""
import os
import re
import time

import pytest
from harness.rawserver import RawServer, wire
from harness.server import Server, wait_for
from harness.signing import verify


@pytest.fixture(scope="module")
def server():
    with RawServer() as next_hop:
        with Server("alpha.test", users=["ann@alpha.test", "bob@alpha.test"], settings={
                "resolver": "127.0.0.1:1", "retry_first": "1s"}, extra=f"""
domain "unsigned.test" {{ }}
route "out.test" {{ via = "smarthost"
    host = "127.0.0.1"
    port = {next_hop.port} }}
""") as s:
            s.tool("user", "add", "joe@unsigned.test", "--password-file", s.password_file)
            s.next_hop = next_hop
            yield s


def sent(server, user, to, text="hello\r\n", **kw):
    before = len(server.next_hop.letters)
    server.submit(to, text, user=user, **kw)
    wait_for(lambda: len(server.next_hop.letters) > before, 10)
    return server.next_hop.letters[-1]


@pytest.mark.parametrize("text", [
    "hello\r\n", "\r\n", "a\r\n\r\n\r\n", ".\r\n..dots\r\n", "trailing  \r\n\tblanks \r\n",
    "x" * 900 + "\r\n", "".join(f"line {i}\r\n" for i in range(40000)),
], ids=["plain", "empty", "blank-end", "dots", "blanks", "long-line", "file"])
def test_both_algorithms(server, text):
    letter = wire(sent(server, "ann@alpha.test", "x@out.test", text))
    found = verify(server, letter)
    assert [(d["result"], d["algorithm"], d["domain"]) for d in found["dkim"]] == [
        ("pass", "rsa-sha256", "alpha.test"), ("pass", "ed25519-sha256", "alpha.test")]
    assert found["dmarc"]["result"] == "pass"
    head = letter.split(b"\r\n\r\n")[0]
    assert b" l=" not in head and re.search(rb"\bx=\d+", head)


def test_changed_on_the_way(server):
    letter = wire(sent(server, "ann@alpha.test", "x@out.test"))
    for change in ((b"hello", b"hullo"), (b"Subject: test", b"Subject: rest"),
                   (b"Subject: test", b"Subject: test\r\nTo: <more@x.test>")):
        found = verify(server, letter.replace(*change))
        assert {d["result"] for d in found["dkim"]} == {"fail"}


def test_expires(server):
    letter = wire(sent(server, "ann@alpha.test", "x@out.test"))
    found = verify(server, letter, at=int(time.time()) + 8 * 86400)
    assert not any(d["result"] == "pass" for d in found["dkim"])


def test_domain_without_key(server):
    assert b"DKIM-Signature" not in sent(server, "joe@unsigned.test", "x@out.test")


def test_delivered_here_is_signed_too(server):
    server.submit("bob@alpha.test", subject="local")
    m = server.wait_mail("bob@alpha.test")[-1]
    assert m.count(b"DKIM-Signature:") == 2


def test_report_is_signed(server):
    """A delivery report starts here, too."""
    with RawServer({"RCPT": b"550 5.1.1 no\r\n"}) as bad:
        with open(server.conf, "a", encoding="utf-8") as f:
            f.write(f'route "bad.test" {{ via = "smarthost"\n host = "127.0.0.1"\n'
                    f' port = {bad.port} }}\n')
        server.tool("reload")
        before = len(server.mail("ann@alpha.test"))
        wait_for(lambda: "reload" in server.log(), 5)
        server.submit("x@bad.test")
        m = server.wait_mail("ann@alpha.test", before + 1)[-1]
    head = m.split(b"\n\n")[0]
    assert b"report-type=delivery-status" in head and head.count(b"DKIM-Signature:") == 2
    found = verify(server, m.replace(b"\n", b"\r\n"))
    assert {d["result"] for d in found["dkim"]} == {"pass"}


def test_rotation(tmp_path):
    """New keys wait for their time, then sign; the old ones do no more. Nothing is done by hand."""
    with RawServer() as hop:
        with Server("alpha.test", settings={"resolver": "127.0.0.1:1"}, extra=f"""
route "out.test" {{ via = "smarthost"
    host = "127.0.0.1"
    port = {hop.port} }}""") as s:
            s.next_hop = hop
            old = s.json("dkim", "list")
            text = s.tool("dkim", "rotate", "alpha.test", "--selector", "next")
            assert "nexte._domainkey.alpha.test. IN TXT" in text
            s.tool("reload")
            states = {k["selector"]: k["state"] for k in s.json("dkim", "list")}
            assert states["nextr"] == states["nexte"] == "waits"
            letter = wire(sent(s, "ann@alpha.test", "x@out.test"))
            assert all(f"s={k['selector']};".encode() in letter for k in old)
            assert b"s=next" not in letter
            # The clock is moved in the table: its rows are what the keeper goes by.
            table = os.path.join(s.home, "lib/dkim/table")
            with open(table, encoding="ascii") as f:
                rows = [r.split() for r in f.read().splitlines() if not r.startswith("#")]
            now = int(time.time())
            for r in rows:
                if r[1].startswith("next"):
                    r[3] = str(now - 10)
                else:
                    r[4] = str(now - 10)
            with open(table, "w", encoding="ascii") as f:
                f.write("".join(" ".join(r) + "\n" for r in rows))
            s.tool("reload")
            wait_for(lambda: s.log().count("dkim-keys") >= 3, 10)
            letter = wire(sent(s, "ann@alpha.test", "x@out.test"))
            assert b"s=nextr;" in letter and b"s=nexte;" in letter
            assert not any(f"s={k['selector']};".encode() in letter for k in old)
            assert {d["result"] for d in verify(s, letter)["dkim"]} == {"pass"}


def test_bad_table_keeps_the_old_keys(server):
    table = os.path.join(server.home, "lib/dkim/table")
    with open(table, encoding="ascii") as f:
        good = f.read()
    try:
        with open(table, "a", encoding="ascii") as f:
            f.write("alpha.test broken\n")
        server.tool("reload", check=False)
        wait_for(lambda: "dkim-keys-kept" in server.log(), 5)
        assert sent(server, "ann@alpha.test", "x@out.test").count(b"DKIM-Signature:") == 2
    finally:
        with open(table, "w", encoding="ascii") as f:
            f.write(good)
        server.tool("reload")


def test_keeper_away(server):
    """No letter leaves unsigned because the keeper died: the client tries again."""
    pid = server.role_pids("keeper")[0]
    os.kill(pid, 9)
    codes = []

    def signed():
        try:
            letter = sent(server, "ann@alpha.test", "x@out.test", "again\r\n")
        except Exception as e:  # pylint: disable=broad-except
            codes.append(e)
            return False
        assert letter.count(b"DKIM-Signature:") == 2
        return True
    wait_for(signed, 15, 0.2)


def test_check_finds_faults():
    with Server("alpha.test", start=False, extra='domain "more.test" { }') as s:
        assert "letters of more.test are not signed" in s.tool("check", check=False).stdout
        keys = os.path.join(s.home, "lib/dkim")
        pem = [os.path.join(keys, n) for n in sorted(os.listdir(keys)) if n.endswith(".pem")]
        os.chmod(pem[0], 0o644)
        os.rename(pem[1], pem[1] + "x")
        out = s.tool("check", check=False)
        assert out.returncode == 78 and "everyone may read" in out.stdout
        assert "is no RSA or Ed25519 key" in out.stdout
        with open(os.path.join(keys, "table"), "a", encoding="ascii") as f:
            f.write("nonsense\n")
        assert "not DOMAIN SELECTOR" in s.tool("check", check=False).stdout
