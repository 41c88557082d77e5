"""letterlock(1) with a running server, and without one."""
import json
import os
import socket
import stat
import subprocess
import tempfile
import time

import pytest
from harness.dnsserver import DnsServer
from harness.server import LETTERLOCK, PASSWORD, Server, wait_for

LETTER = "From: Ann <ann@alpha.test>\nTo: Bob <bob@beta.test>\nBcc: secret@x.test\nSubject: t\n\nhi\n"


@pytest.fixture(scope="module")
def alpha():
    with Server("alpha.test", users=["ann@alpha.test"],
                settings={"resolver": "127.0.0.1:1", "smtp_port": 1, "retry_first": "1h",
                          "local_data": ["beta.test. MX 10 mx.beta.test.",
                                         "mx.beta.test. A 127.0.0.1"]}) as s:
        yield s


@pytest.fixture
def scratch():
    with tempfile.TemporaryDirectory(prefix="letterlock-test-") as d:
        os.chmod(d, 0o711)
        yield d


def tool(*args, **kw):
    kw.setdefault("timeout", 60)
    if "input" not in kw:
        kw["stdin"] = subprocess.DEVNULL
    return subprocess.run([LETTERLOCK, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, **kw)


def send(s, *args, letter=LETTER, port=None, password=None):
    with tempfile.NamedTemporaryFile("w", suffix=".pw") as f:
        f.write(password or PASSWORD)
        f.flush()
        login = ["--user", s.users[0], "--password-file", f.name] if password != "" else []
        return tool("send", "--server", f"localhost:{port or s.submissions}", *login, *args,
                    input=letter)


def ca(s):
    return os.path.join(s.home, "lib/keys/mx.alpha.test-ecdsa.crt")


# ---- without a server -------------------------------------------------------------------------

def test_help_and_usage():
    for args in ([], ["nope"], ["user"], ["user", "nope"], ["status", "--nope"], ["trace"],
                 ["queue", "drop"]):
        assert tool(*args).returncode == 64, args
    out = tool("--help").stdout
    commands = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert "init" in commands and "send" in commands and "queue" in commands
    for c in commands:
        p = tool(c, "--help")
        assert p.returncode == 0 and p.stdout.startswith("usage: letterlock " + c), c


def test_init_never_overwrites(scratch):
    home = scratch + "/home"
    assert tool("init", "a.test", "--dir", home).returncode == 0
    before = open(home + "/letterlock.conf", encoding="utf-8").read()
    p = tool("init", "b.test", "--dir", home)
    assert p.returncode != 0 and "is there already" in p.stderr
    assert open(home + "/letterlock.conf", encoding="utf-8").read() == before


def test_init_takes_away_what_it_made(scratch):
    """One file in the way: nothing of the new server stays, and that file does."""
    home = scratch + "/home"
    os.makedirs(home + "/lib/auth")
    with open(home + "/lib/auth/aliases", "w", encoding="utf-8") as f:
        f.write("mine")
    assert tool("init", "a.test", "--dir", home).returncode != 0
    left = sorted(os.path.relpath(os.path.join(d, n), home)
                  for d, _, names in os.walk(home) for n in names)
    assert left == ["lib/auth/aliases"]


def test_init_modes(scratch):
    home = scratch + "/home"
    assert tool("init", "a.test", "--dir", home).returncode == 0
    for name, mode in (("letterlock.conf", 0o640), ("lib/auth", 0o700), ("spool", 0o700),
                       ("mail", 0o700), ("lib/auth/accounts.db", 0o600),
                       ("lib/keys/mx.a.test-rsa.key", 0o600),
                       ("lib/keys/mx.a.test-rsa.crt", 0o644)):
        assert stat.S_IMODE(os.stat(os.path.join(home, name)).st_mode) == mode, name
    assert tool("check", "--dir", home).returncode == 0


def test_init_refuses(scratch):
    for args, status in ((["no_domain"], 65), (["a.test", "--user", "ann@b.test"], 65),
                         (["a.test", "--user", "ann"], 65), (["a.test", "--port-base", "x"], 64),
                         (["a.test", "--port-base", "65000"], 64), ([], 64),
                         (["a.test", "--user", "ann+x@a.test"], 65)):
        p = tool("init", *args, "--dir", scratch + "/x", "--password-stdin", input="long enough\n")
        assert p.returncode == status, (args, p.stderr)
        assert not os.path.exists(scratch + "/x")


def test_init_idn(scratch):
    p = tool("init", "bücher.test", "--dir", scratch + "/x")
    assert p.returncode == 0 and "mx.xn--bcher-kva.test" in p.stdout


def test_user(scratch):
    home = scratch + "/home"
    assert tool("init", "a.test", "--dir", home).returncode == 0

    def user(*args, password="a long password"):
        return tool("user", *args, "--dir", home, input=password + "\n").returncode

    assert user("add", "Ann@A.test", "--password-stdin") == 0
    assert user("add", "ann@a.test", "--password-stdin") == 65
    assert user("add", "bob@a.test", "--password-stdin", password="short") == 65
    assert user("add", "bob@b.test", "--password-stdin") == 65
    assert user("add", "bob+x@a.test", "--password-stdin") == 65
    assert user("add", "bob", "--password-stdin") == 65
    assert user("passwd", "nobody@a.test", "--password-stdin") == 67
    assert user("passwd", "ann@a.test", "--password-stdin") == 0
    assert user("lock", "ann@a.test") == 0
    listed = json.loads(tool("user", "list", "--dir", home, "--json").stdout)
    assert [(u["address"], u["locked"]) for u in listed] == [("ann@a.test", True)]
    assert user("unlock", "ann@a.test") == 0 and user("del", "ann@a.test") == 0
    assert user("del", "ann@a.test") == 67
    p = tool("user", "add", "ann@a.test", "--dir", home, start_new_session=True)
    assert p.returncode == 64 and "no terminal" in p.stderr


def test_check_finds_faults(scratch):
    home = scratch + "/home"
    assert tool("init", "a.test", "--dir", home).returncode == 0

    def faults():
        p = tool("check", "--dir", home, "--json")
        found = [f["text"] for f in json.loads(p.stdout) if f["finding"] == "fault"]
        assert p.returncode == (78 if found else 0)
        return found

    assert faults() == []
    key = home + "/lib/keys/mx.a.test-ecdsa.key"
    os.chmod(key, 0o644)
    assert any("can be read" in f for f in faults())
    os.chmod(key, 0o600)
    os.chmod(home + "/spool", 0o777)
    assert any("spool" in f for f in faults())
    os.chmod(home + "/spool", 0o700)
    with open(home + "/lib/auth/aliases", "r+", encoding="utf-8") as f:
        line = len(f.readlines()) + 1
        f.write("broken\n")
    assert any(f.startswith(home + f"/lib/auth/aliases:{line}: ") for f in faults()), faults()
    with open(home + "/letterlock.conf", "a", encoding="utf-8") as f:
        f.write("nonsense = 1\n")
    assert tool("check", "--dir", home).returncode == 78


def test_no_server():
    with tempfile.TemporaryDirectory(prefix="letterlock-test-") as d:
        os.chmod(d, 0o711)
        assert tool("init", "a.test", "--dir", d + "/h").returncode == 0
        for c in (["status"], ["reload"], ["stop"], ["queue", "list"], ["test", "x@a.test"]):
            p = tool(*c, "--dir", d + "/h")
            assert p.returncode == 69 and "does not run" in p.stderr, c
        assert tool("status", "--dir", d + "/none").returncode == 78


# ---- with one -----------------------------------------------------------------------------------

def test_status(alpha):
    roles = {r["role"]: r for r in alpha.json("status") if "role" in r}
    assert all(r["up"] for r in roles.values())
    assert {"auth", "control", "dns", "keeper", "queue"} <= set(roles)
    assert "listens at 127.0.0.1:%d" % alpha.mx in alpha.tool("status")


def test_control_refuses_strangers(alpha):
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    run = ["setpriv", "--reuid", "65533", "--clear-groups", LETTERLOCK, "status", "-c", alpha.conf]
    os.chmod(alpha.conf, 0o644)
    p = subprocess.run(run, capture_output=True, text=True, timeout=30)
    assert p.returncode == 77, p.stderr
    os.chmod(alpha.conf, 0o640)


def test_accounts_and_aliases_count_at_once(alpha):
    def kind(address):
        p = alpha.tool("test", address, "--json", check=False)
        return json.loads(p.stdout), p.returncode

    assert kind("new@alpha.test")[0]["kind"] == "unknown" and kind("new@alpha.test")[1] == 69
    alpha.tool("user", "add", "new@alpha.test", "--password-file", alpha.password_file)
    found, status = kind("New+detail@alpha.test")
    assert (found["kind"], found["mailbox"], status) == ("mailbox", "new@alpha.test", 0)
    alpha.tool("alias", "add", "both@alpha.test", "new@alpha.test", "bob@beta.test")
    found, status = kind("both@alpha.test")
    assert found["kind"] == "alias" and status == 0
    assert [t["address"] for t in found["targets"]] == ["new@alpha.test", "bob@beta.test"]
    assert found["targets"][1]["mx"] == ["mx.beta.test"]
    assert alpha.tool("alias", "add", "new@alpha.test", "x@y.test", check=False).returncode == 65
    assert alpha.tool("alias", "add", "both@alpha.test", "x@y.test", check=False).returncode == 65
    alpha.tool("alias", "del", "both@alpha.test")
    assert kind("both@alpha.test")[0]["kind"] == "unknown"
    assert alpha.tool("alias", "del", "both@alpha.test", check=False).returncode == 67


def test_locked_account(alpha):
    alpha.tool("user", "add", "lock@alpha.test", "--password-file", alpha.password_file)
    login = ["--user", "lock@alpha.test", "--password-file", alpha.password_file, "--insecure"]
    server = ["send", "--server", f"localhost:{alpha.submission}", "--from", "lock@alpha.test"]
    letter = LETTER.replace("ann@", "lock@")
    assert tool(*server, *login, "ann@alpha.test", input=letter).returncode == 0
    alpha.tool("user", "lock", "lock@alpha.test")
    p = tool(*server, *login, "ann@alpha.test", input=letter)
    assert p.returncode == 77, p.stdout
    assert "mailbox" in alpha.tool("test", "lock@alpha.test")


def test_send_arrives(alpha):
    before = len(alpha.mail("ann@alpha.test"))
    p = send(alpha, "--tls", "implicit", "--ca", ca(alpha), "ann@alpha.test")
    assert p.returncode == 0 and "accepted: 250" in p.stdout and "verified" in p.stdout, p
    letter = alpha.wait_mail("ann@alpha.test", before + 1)[-1]
    assert b"Message-ID: <" in letter and b"\nDate: " in letter and b"Bcc" not in letter


def test_send_recipients_from_header(alpha):
    p = send(alpha, "--tls", "implicit", "--insecure", "-t", "--dry-run")
    assert "to: <bob@beta.test>" in p.stdout and "to: <secret@x.test>" in p.stdout
    assert send(alpha, "--insecure", "--tls", "implicit").returncode == 64


def test_send_verifies(alpha):
    p = send(alpha, "--tls", "implicit", "ann@alpha.test")
    assert p.returncode == 69 and "not trusted" in p.stdout
    p = send(alpha, "--tls", "forced", "ann@alpha.test", port=alpha.submission)
    assert p.returncode == 69
    p = send(alpha, "--tls", "implicit", "--pin", "00" * 32, "ann@alpha.test")
    assert p.returncode == 69
    der = subprocess.run(f"openssl x509 -in {ca(alpha)} -noout -pubkey | openssl pkey -pubin "
                         "-outform DER | sha256sum", shell=True, capture_output=True, text=True)
    p = send(alpha, "--tls", "implicit", "--pin", der.stdout.split()[0], "ann@alpha.test")
    assert p.returncode == 0 and "verified by pin" in p.stdout, p


def test_send_exit_statuses(alpha):
    tls = ["--tls", "implicit", "--insecure"]
    assert send(alpha, *tls, "ann@alpha.test", password="not the one").returncode == 77
    assert send(alpha, *tls, "nobody@alpha.test").returncode == 69
    assert send(alpha, *tls, "not an address").returncode == 65
    assert send(alpha, *tls, "ann@alpha.test", letter="no header line\n\nx\n").returncode == 65
    assert send(alpha, *tls, "ann@alpha.test", letter="From: a@b.test\n\nx\rx\n").returncode == 65
    assert send(alpha, *tls, "ann@alpha.test", port=1).returncode == 75
    p = send(alpha, *tls, "--json", "ann@alpha.test", "nobody@alpha.test")
    assert [r["outcome"] for r in json.loads(p.stdout)] == ["accepted", "refused"]
    assert p.returncode == 69


def test_send_never_in_clear(alpha):
    """Under forced nothing but EHLO and QUIT is said to a server without STARTTLS."""
    import threading
    heard = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve():
            conn, _ = listener.accept()
            with conn, conn.makefile("rwb") as f:
                f.write(b"220 old\r\n")
                f.flush()
                for line in f:
                    heard.append(line.strip().upper())
                    f.write(b"221 bye\r\n" if heard[-1] == b"QUIT" else b"250 old\r\n")
                    f.flush()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        p = send(alpha, "--tls", "forced", "--insecure", "ann@alpha.test",
                 port=listener.getsockname()[1])
        thread.join(10)
    assert p.returncode == 69, p
    assert all(line.split()[0] in (b"EHLO", b"HELO", b"QUIT") for line in heard), heard


def test_cert_list(alpha):
    certs = {c["title"]: c for c in alpha.json("cert", "list")}
    assert set(certs) == {"ecdsa", "rsa"} and certs["rsa"]["key"] == "RSA"
    assert "mx.alpha.test" in certs["ecdsa"]["names"]
    p = send(alpha, "--tls", "implicit", "--pin", certs["ecdsa"]["pin"], "ann@alpha.test")
    assert p.returncode == 0, p


def direct(server, *args, to="ann@alpha.test", records=(), broken=()):
    """To the servers that DNS names; alpha's MX is mx.alpha.test."""
    with DnsServer([*records, "mx.alpha.test. A 127.0.0.1"], broken=broken) as d:
        p = tool("send", "--resolver", d.address, "--port", str(server.mx), "--json",
                 "--from", "x@sender.test", *args, to, input=LETTER)
    return json.loads(p.stdout)[0] if p.stdout.startswith("[") else p, p.returncode


def test_send_direct(alpha):
    mx = ["alpha.test. MX 20 mx.alpha.test."]
    result, status = direct(alpha, records=mx)
    assert (result["outcome"], status) == ("accepted", 0)
    assert result["tls"] and result["host"].startswith("mx.alpha.test [127.0.0.1]")
    result, status = direct(alpha, "--tls", "forced", "--ca", ca(alpha), records=mx)
    assert status == 0 and "verified" in result["tls"] and "not verified" not in result["tls"]
    result, status = direct(alpha, "--tls", "forced", records=mx)
    assert status == 0 and "not verified" in result["tls"]
    # The next host where the first one is dead, has no address, or does not answer in DNS.
    dead = ["alpha.test. MX 5 dead.test.", "dead.test. A 127.0.0.9", "alpha.test. MX 6 none.test."]
    assert direct(alpha, records=[*mx, *dead], broken=["none.test."])[1] == 0
    # Without MX the domain itself; a literal without DNS.
    assert direct(alpha, records=["alpha.test. A 127.0.0.1"])[1] == 0
    result, status = direct(alpha, to="ann@[127.0.0.1]")
    assert result["code"] == 550 and status == 69


def test_send_direct_fails(alpha):
    for records, broken, status in ((["alpha.test. MX 0 ."], (), "5.1.10"),
                                    (["alpha.test. TXT x"], (), "5.1.2"), ([], (), "5.1.2"),
                                    ([], ["alpha.test."], "4.4.3")):
        result, code = direct(alpha, records=records, broken=broken)
        assert result["status"] == status, (records, result)
        assert code == (75 if status[0] == "4" else 69)


def test_queue_commands(alpha):
    p = send(alpha, "--tls", "implicit", "--insecure", "bob@beta.test")
    ident = p.stdout.split("queued as ")[1].split()[0]
    wait_for(lambda: "deferred" in alpha.tool("queue", "list"), what="first try")
    listed = [q for q in alpha.json("queue", "list") if q["id"] == ident]
    assert listed and listed[0]["rcpts"][0]["state"] == "deferred"
    assert "bob@beta.test" in alpha.tool("queue", "why", ident)
    assert "bob@beta.test" in alpha.tool("queue", "why")
    shown = alpha.tool("queue", "show", ident)
    assert "Subject: t" in shown and "\nhi" not in shown
    assert "letters: 1" in alpha.tool("queue", "retry", ident)
    assert alpha.json("queue", "list", "--domain", "gamma.test") == []
    time.sleep(0.3)
    assert "letters: 1" in alpha.tool("queue", "drop", ident)
    assert not [q for q in alpha.json("queue", "list") if q["id"] == ident]
    assert alpha.tool("queue", "show", ident, check=False).returncode == 69
    assert alpha.tool("queue", "show", "nonsense", check=False).returncode == 65
    wait_for(lambda: "dropped" in alpha.tool("trace", ident), what="receipt")


def test_reload_says_what_is_wrong(alpha):
    with open(alpha.conf, encoding="utf-8") as f:
        good = f.read()
    try:
        with open(alpha.conf, "a", encoding="utf-8") as f:
            f.write("nonsense = 1\n")
        p = alpha.tool("reload", check=False)
        assert p.returncode == 78 and "nonsense" in p.stderr
    finally:
        with open(alpha.conf, "w", encoding="utf-8") as f:
            f.write(good)
    alpha.tool("reload")


# ---- the control socket ---------------------------------------------------------------------------

def control(server):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(5)
    s.connect(os.path.join(server.home, "run", "control.sock"))
    return s


def test_control_drops_bad_clients(alpha):
    """Whatever a client sends, only its own connection ends."""
    for garbage in (b"x", b"\0" * 16, b"\xff" * 64, os.urandom(4096)):
        with control(alpha) as s:
            s.send(garbage)
            assert s.recv(4096) == b""
    assert alpha.json("status")


def test_control_many_clients(alpha):
    """More than it serves at a time: the rest is turned away, and its places are free again."""
    clients = [control(alpha) for _ in range(60)]
    assert alpha.json("status")
    clients += [control(alpha) for _ in range(20)]
    wait_for(lambda: any(closed(c) for c in clients[60:]), what="the end of one too many")
    for c in clients:
        c.close()
    wait_for(lambda: alpha.tool("status", check=False).returncode == 0, what="an answer")


def closed(s):
    s.setblocking(False)
    try:
        return s.recv(1) == b""
    except BlockingIOError:
        return False


def test_control_slow_client(alpha):
    """One that asks and does not read (a pager, say) holds up nobody else's question, and gets all of
    it later."""
    to = [f"r{i}-{'x' * 40}@beta.test" for i in range(100)]
    with alpha.smtp("submissions") as s:
        s.login(alpha.users[0], PASSWORD)
        for _ in range(250):
            s.sendmail(alpha.users[0], to, f"From: <{alpha.users[0]}>\r\nSubject: x\r\n\r\nx\r\n")
    p = subprocess.Popen([LETTERLOCK, "queue", "list", "--json", "-c", alpha.conf],
                         stdout=subprocess.PIPE)
    time.sleep(1)
    assert alpha.json("status")
    # Over a MiB lies at each station of the way; the queue has time for others all the same.
    first = p.stdout.readline() + p.stdout.readline()
    one = first.split(b'"id": "')[1].split(b'"')[0].decode()
    begin = time.monotonic()
    assert alpha.json("queue", "why", one)
    assert time.monotonic() - begin < 10
    listed = json.loads(first + p.stdout.read())
    assert p.wait(10) == 0
    assert sum(len(q["rcpts"]) for q in listed) >= 250 * 100
    # 25,000 recipients, on a disk that others may use too
    assert "letters: " in alpha.tool("queue", "drop", "all", timeout=240)
