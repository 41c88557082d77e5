"""sendmail, mailq, newaliases: letters of local users, known by what the kernel says of them; as
programs call it (git send-email, mutt, mail, msmtp's way, scripts), and when the server is away."""
import email
import os
import shutil
import socket
import subprocess

import pytest
from harness.peers import package
from harness.rawserver import RawServer
from harness.server import LETTERLOCK, Server, wait_for

ROOT = os.geteuid() == 0
USER = 33  # www-data: its name is the same on every Debian
needs_root = pytest.mark.skipif(not ROOT, reason="other users need root")


class Local:
    """A server, and programs that find its sendmail by name and by a settings file in $HOME."""

    def __init__(self, server):
        self.server = server
        self.bin, self.home = (os.path.join(server.dir, name) for name in ("bin", "user"))
        self.socket = os.path.join(server.home, "run", "sendmail.sock")
        os.mkdir(self.bin, 0o755)
        shutil.copy(LETTERLOCK, os.path.join(self.bin, "letterlock"))  # where every user can run it
        for name in ("sendmail", "mailq", "newaliases"):
            os.symlink("letterlock", os.path.join(self.bin, name))
        self.settings(f'socket = "{self.socket}"\n')
        self.env = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": self.home, "LC_ALL": "C.UTF-8"}

    def settings(self, text):
        folder = os.path.join(self.home, ".config", "letterlock")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "sendmail.conf"), "w", encoding="utf-8") as f:
            f.write("# where letters go\n\n" + text)

    def run(self, *args, text="", uid=None, env=None):
        """The finished process; text: str, or bytes as they are."""
        def become():
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
        text = text.encode() if isinstance(text, str) else text
        p = subprocess.run(args, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env={**self.env, **(env or {})}, preexec_fn=become, timeout=60,
                           cwd=self.server.dir, check=False)
        p.out, p.err = p.stdout.decode(), p.stderr.decode()
        return p

    def send(self, *args, text="hello\n", uid=None, status=0):
        p = self.run("sendmail", *args, text=text, uid=uid)
        assert p.returncode == status, (args, p.returncode, p.out, p.err)
        assert status != 0 or p.out + p.err == "", "success is silent"
        return p

    def next(self, mailbox="ann@alpha.test"):
        """The letter that came to a mailbox that was empty before, parsed; the mailbox is emptied."""
        raw = self.server.wait_mail(mailbox)
        assert len(raw) == 1
        shutil.rmtree(self.server.maildir(mailbox))
        return email.message_from_bytes(raw[0]), raw[0]


@pytest.fixture(scope="module")
def local():
    with Server("alpha.test", users=["ann@alpha.test", "bob@alpha.test"],
                settings={"trusted_users": ["@mail"], "local_rate": 1000}) as s:
        yield Local(s)


# ---- the letter --------------------------------------------------------------------------------

def test_a_plain_letter(local):
    local.send("-i", "ann", text="Subject: one\n\n.\nhi\n")
    m, raw = local.next()
    assert m["Subject"] == "one" and m["From"].endswith("<root@alpha.test>")
    assert m["Return-Path"] == "<root@alpha.test>" and m["Date"] and m["Message-ID"]
    assert f"by mx.alpha.test (local uid {os.geteuid()}) id " in m["Received"]
    assert "with" not in m["Received"] and "from" not in m["Received"]
    assert raw.endswith(b"\r\n\r\n.\r\nhi\r\n") or raw.endswith(b"\n\n.\nhi\n")


BODIES = [  # what follows the header, options, what arrives
    ("a\n.\nlost\n", [], "a\n"),
    ("a\n.\r\nlost\n", [], "a\n"),
    ("a\n.\n.\n..\n", ["-oi"], "a\n.\n.\n..\n"),
    ("a\n.b\n..\n", [], "a\n.b\n..\n"),
    (".\nlost", [], ""),
    ("no end of line", ["-i"], "no end of line\n"),
    ("50%\r100%\rdone\r\nx\0y\n", ["-i"], "50%\n100%\ndone\nx?y\n"),
    ("\xe9\u20ac\n" + "x" * 5000 + "\n", ["-i"], "\xe9\u20ac\n" + "x" * 5000 + "\n"),
]


@pytest.mark.parametrize("body,options,arrives", BODIES)
def test_dots_and_line_ends(local, body, options, arrives):
    local.send(*options, "ann@alpha.test", text="Subject: x\n\n" + body)
    _, raw = local.next()
    assert raw.replace(b"\r\n", b"\n").partition(b"\n\n")[2] == arrives.encode()


def test_without_a_header(local):
    local.send("ann", text="From root Sat Jan  1 00:00:00 2022\nno field here\n")
    m, _ = local.next()
    assert m.get_payload() == "no field here\n" and m["From"]


def test_recipients_of_the_header(local):
    local.send("-t", text="To: Ann <ann@alpha.test>\nCc: \"B, ob\" <bob>\nBcc: bob@alpha.test\n\nx\n")
    ann, _ = local.next()
    bob, _ = local.next("bob@alpha.test")
    assert "Bcc" not in ann and "Bcc" not in bob and ann["Cc"] == '"B, ob" <bob@alpha.test>'


def test_words_are_lists(local):
    local.send("ann, Bob <bob@alpha.test>", "--", "ann@alpha.test")
    local.next()
    local.next("bob@alpha.test")


@pytest.mark.parametrize("options,sender,shown", [
    ([], "<root@alpha.test>", "<root@alpha.test>"),
    (["-fbob"], "<bob@alpha.test>", "<bob@alpha.test>"),
    (["-r", "x@elsewhere.test", "-F", 'A "B" C'], "<x@elsewhere.test>",
     '"A \\"B\\" C" <x@elsewhere.test>'),
    (["-f", "<>"], "<>", "<root@alpha.test>"),
    (["-F", "J\xfcrgen"], "<root@alpha.test>", "=?UTF-8?B?SsO8cmdlbg==?= <root@alpha.test>"),
])
@needs_root
def test_senders_of_root(local, options, sender, shown):
    local.send(*options, "ann")
    m, _ = local.next()
    assert m["Return-Path"] == sender and m["From"].endswith(shown) and "Sender" not in m


# ---- who it is ---------------------------------------------------------------------------------

@needs_root
def test_other_users_send_from_their_own_address(local):
    local.send("ann", uid=USER)
    m, _ = local.next()
    assert m["Return-Path"] == "<www-data@alpha.test>" and f"(local uid {USER})" in m["Received"]
    local.send("-fwww-data+shop", "ann", uid=USER)
    assert local.next()[0]["Return-Path"] == "<www-data+shop@alpha.test>"
    for sender in ("root", "ann@alpha.test", "x@elsewhere.test"):
        p = local.send("-f", sender, "ann", uid=USER, status=77)
        assert "may not send from that address" in p.err


@needs_root
def test_a_foreign_author_gets_a_sender(local):
    local.send("-t", uid=USER, text="From: boss@alpha.test\nSender: x@y.test\nTo: ann\n\nx\n")
    m, _ = local.next()
    assert m.get_all("Sender") == ["www-data@alpha.test"] and m["From"] == "boss@alpha.test"
    local.send("-t", uid=USER, text="From: W <www-data@alpha.test>\nTo: ann\n\nx\n")
    assert "Sender" not in local.next()[0]


@needs_root
def test_trusted_groups_and_users_without_a_name(local):
    local.send("-f", "list@elsewhere.test", "ann", uid=8)  # mail, of the group mail
    assert local.next()[0]["Return-Path"] == "<list@elsewhere.test>"
    local.send("ann", uid=54321)
    assert local.next()[0]["Return-Path"] == "<uid54321@alpha.test>"


@needs_root
def test_any_sender_is_recorded():
    with Server("alpha.test", settings={"local_any_sender": True}) as s:
        local = Local(s)
        local.send("-f", "x@elsewhere.test", "ann", uid=USER)
        m, _ = local.next()
        assert m["Return-Path"] == "<x@elsewhere.test>" and m["Sender"] == "www-data@alpha.test"


@needs_root
def test_rate_and_sessions_are_counted():
    with Server("alpha.test", settings={"local_rate": 3, "local_sessions": 2}) as s:
        local = Local(s)
        for _ in range(3):
            local.send("ann", uid=USER)
        assert "Too many letters" in local.send("ann", uid=USER, status=75).err
        local.send("ann")  # root is not held to it

        def session():
            c = socket.socket(socket.AF_UNIX)
            c.settimeout(10)
            c.connect(local.socket)
            return c, c.recv(100)
        held = [session() for _ in range(2)]
        assert [text[:4] for _, text in held] == [b"220 "] * 2
        assert session()[1].startswith(b"421 4.7.0 ")
        assert "Too many sessions" in local.send("ann", status=75).err
        for c, _ in held:
            c.close()
        wait_for(lambda: local.run("sendmail", "ann", text="x\n").returncode == 0, what="a place")


def test_other_users_cannot_use_the_control_socket(local):
    if not ROOT:
        pytest.skip("needs root")
    p = local.run("mailq", "-C", local.server.conf, uid=USER)
    assert p.returncode in (77, 78) and "ermi" in p.err


# ---- faults ------------------------------------------------------------------------------------

@pytest.mark.parametrize("args,text,status,says", [
    (["nobody-here@alpha.test"], "x\n", 67, "No such recipient"),
    ([], "x\n", 64, "no recipient"),
    (["-t"], "Subject: x\n\nx\n", 64, "no recipient"),
    (["a b c"], "x\n", 65, "no address"),
    (["-Z", "ann"], "x\n", 64, "not known"),
    (["-oZ", "ann"], "x\n", 64, "not known"),
    (["-bd"], "", 64, "-bs speaks SMTP"),
    (["-N", "always", "ann"], "x\n", 64, "never, or a list"),
    (["-R", "some", "ann"], "x\n", 64, "full or hdrs"),
    (["-f"], "x\n", 64, "needs a value"),
    (["--nonsense", "ann"], "x\n", 64, "nonsense"),
    (["ann"], "From: a@b.test\nFrom: c@d.test\n\nx\n", 65, "From"),
])
def test_faults_have_their_status(local, args, text, status, says):
    p = local.send(*args, text=text, status=status)
    assert says in p.err


@pytest.mark.parametrize("options", [["-oem", "-odb"], ["-oee"], ["-odi", "-oo", "-om"], ["-v"],
                                     ["-B8BITMIME"], ["-O", "DeliveryMode=b"], ["-G", "-U"],
                                     ["-N", "never"], ["-N", "failure,delay"], ["-Rhdrs"],
                                     ["-V", "an id+x"], ["-ti"], ["-Am"], ["-em"]])
def test_options_of_old_are_taken(local, options):
    p = local.run("sendmail", *options, "ann", text="To: ann\n\nx\n")
    assert p.returncode == 0, p.err
    local.next()


def test_reports_as_wanted(local):
    local.send("-f", "bob", "-N", "success", "-R", "hdrs", "-V", "an id+x", "ann",
               text="Subject: x\n\nsecret\n")
    local.next()
    report, raw = local.next("bob@alpha.test")
    assert report.get_content_type() == "multipart/report" and b"Action: delivered" in raw
    assert b"Original-Envelope-Id: an id+x" in raw and b"secret" not in raw
    local.send("-f", "bob", "-N", "never", "-V", "y", "ann")
    local.next()
    assert not local.server.mail("bob@alpha.test")


def test_quiet_and_a_queue_run(local):
    assert local.send("-oeq", "nobody-here@alpha.test", status=67).err == ""
    local.send("-q", text="")
    local.send("-q30m", text="")


def test_a_server_that_is_away_is_told():
    with Server("alpha.test", start=False) as s:
        local = Local(s)
        p = local.send("ann", status=75)
        assert "does not run here" in p.err and "try again later" in p.err
        p = local.run("sendmail", "-bs")
        assert p.returncode == 75 and p.out.startswith("421 4.3.2 ")


def test_a_server_that_starts_is_waited_for(local):
    """control is there before the others: a caller waits for them."""
    import signal
    for role in ("front-sub", "auth"):
        for pid in local.server.role_pids(role):
            os.kill(pid, signal.SIGKILL)
        local.send("ann")
        local.next()


# ---- -bs, mailq, newaliases --------------------------------------------------------------------

def test_smtp_on_stdin(local):
    p = subprocess.Popen([os.path.join(local.bin, "sendmail"), "-bs"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, env=local.env)

    def say(line):
        if line:
            p.stdin.write(line + b"\r\n")
            p.stdin.flush()
        while True:
            reply = p.stdout.readline()
            if reply[3:4] != b"-":
                return reply[:3]
    talk = [b"", b"EHLO x", b"MAIL FROM:<root@alpha.test>", b"RCPT TO:<ann@alpha.test>", b"DATA",
            b"From: root@alpha.test\r\n\r\n..dot\r\n.", b"QUIT"]
    assert [say(line) for line in talk] == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]
    p.stdin.close()
    assert p.wait(10) == 0
    assert local.next()[0].get_payload().strip() == ".dot"


def test_mailq(local):
    p = local.run("mailq", "-C", local.server.conf)
    assert p.returncode == 0 and "empty" in p.out
    assert local.run("sendmail", "-bp", "-C", local.server.conf).returncode == 0


def aliases(server, text):
    path = os.path.join(server.home, "lib", "auth", "aliases")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def test_newaliases_is_all_or_nothing(local):
    s = local.server
    path = aliases(s, "# classic\npostmaster: root\nroot: ann,\n  bob\n\"a b\": ann\n")
    p = local.run("newaliases", "-C", s.conf)
    assert p.returncode == 0 and "3 aliases" in p.out
    local.send("root")
    local.next()
    local.next("bob@alpha.test")
    for line, why in (("x: |/bin/sh", "pipe"), ('x: "|/bin/sh -c true"', "pipe"),
                      ("x: /etc/passwd", "file"), ("x: :include:/etc/passwd", ":include:"),
                      ("x y z", "expected"), ("root: ann", "twice")):
        aliases(s, f"new: ann\nroot: ann\n{line}\n")
        for command in (["newaliases", "-C", s.conf], ["sendmail", "-bi", "-C", s.conf],
                        ["letterlock", "reload", "-c", s.conf]):
            p = local.run(*command)
            assert p.returncode == 65 and f"{path}:3: " in p.err and why in p.err, (line, p.err)
        assert "No such recipient" in local.send("new", status=67).err
    local.send("root")  # the old ones stay in force
    local.next("bob@alpha.test")
    local.next()
    aliases(s, "")
    assert local.run("newaliases", "-C", s.conf).returncode == 0


# ---- another server ----------------------------------------------------------------------------

def test_as_the_client_of_another_server(local):
    """No server on this machine: a settings file names one, as msmtp's does."""
    s = local.server
    with Server("beta.test", start=False) as b:
        away = Local(b)
        away.settings(f'server = 127.0.0.1:{s.submission}\nuser = "ann@alpha.test"\n'
                      f"password_file = {s.password_file}\ntls = forced\ninsecure = yes\n")
        away.send("-i", "-f", "ann@alpha.test", "--", "bob@alpha.test", text="Subject: x\n\nhi\n")
        assert local.next("bob@alpha.test")[0]["Return-Path"] == "<ann@alpha.test>"
        away.send("-t", text="From: ann@alpha.test\nTo: bob@alpha.test\nBcc: ann@alpha.test\n\nx\n")
        assert "Bcc" not in local.next("bob@alpha.test")[0]
        local.next()
        p = away.run("sendmail", "-bs")
        assert p.returncode == 69 and p.out.startswith("421")
        away.settings("server = 127.0.0.1:1\nuser = x\npassword_command = echo x\n")
        assert "no connection" in away.send("-f", "a@b.test", "c@d.test", status=75).err
        away.settings("server\n")
        assert "sendmail.conf:3: " in away.send("c@d.test", status=78).err
        away.settings("nonsense = 1\n")
        assert "sendmail.conf:3: " in away.send("c@d.test", status=78).err


def test_a_connection_that_breaks_is_told(local):
    with RawServer({"cut": 1000}) as raw, Server("beta.test", start=False) as b:
        away = Local(b)
        away.settings(f"server = 127.0.0.1:{raw.port}\ntls = opportunistic\n")
        p = away.send("-f", "a@b.test", "c@d.test", text="x" * 20000000 + "\n", status=75)
        assert "(at: body)" in p.err and "before the letter was begun" not in p.err


# ---- programs ----------------------------------------------------------------------------------

def test_git_send_email(local):
    git = shutil.which("git")
    exe = "/usr/lib/git-core/git-send-email"
    if not git or not os.path.exists(exe):
        pytest.skip("git-email is not installed")
    repository = os.path.join(local.server.dir, "repository")
    os.mkdir(repository)
    who = {"GIT_AUTHOR_NAME": "J\xfcrgen", "GIT_AUTHOR_EMAIL": "bob@alpha.test",
           "GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "root@alpha.test"}

    def run(*args):
        p = local.run("git", "-C", repository, *args, env=who)
        assert p.returncode == 0, p.out + p.err
        return p
    run("init", "-q")
    for n in range(2):
        with open(os.path.join(repository, "file"), "a", encoding="utf-8") as f:
            f.write(f"gr\xfc\xdfe {n}\n.\n")
        run("add", "file")
        run("commit", "-q", "-m", f"file: gr\xfc\xdfe {n}")
    run("send-email", "--quiet", "--from=root@alpha.test", "--to=ann@alpha.test", "--no-chain-reply-to",
        "--confirm=never", "--8bit-encoding=UTF-8", f"--smtp-server={local.bin}/sendmail", "--root",
        "HEAD")
    letters = local.server.wait_mail("ann@alpha.test", 2)
    shutil.rmtree(local.server.maildir("ann@alpha.test"))
    patches = os.path.join(local.server.dir, "patches")
    with open(patches, "wb") as f:
        for raw in sorted(letters, key=lambda r: r.index(b"[PATCH 2/2]") if b"[PATCH 2/2]" in r
                          else -1):
            f.write(b"From x Sat Jan  1 00:00:00 2022\n" + raw.replace(b"\r\n", b"\n") + b"\n")
    run("checkout", "-q", "--orphan", "again")
    run("rm", "-q", "-rf", ".")
    run("am", "-q", patches)  # what arrived makes the same commits
    with open(os.path.join(repository, "file"), encoding="utf-8") as f:
        assert f.read() == "gr\xfc\xdfe 0\n.\ngr\xfc\xdfe 1\n.\n"


def test_mutt(local):
    if not shutil.which("mutt"):
        pytest.skip("mutt is not installed")
    p = local.run("mutt", "-n", "-F", "/dev/null", "-e", f'set sendmail="{local.bin}/sendmail -oem -oi"',
                  "-e", "set from=bob@alpha.test use_envelope_from=yes copy=no", "-s", "s\xfcbject",
                  "ann@alpha.test", text="b\xf6dy\n.\nend\n")
    assert p.returncode == 0, p.out + p.err
    m, _ = local.next()
    assert m["Return-Path"] == "<bob@alpha.test>"
    assert m.get_payload(decode=True).decode(m.get_content_charset()) == "b\xf6dy\n.\nend\n"


def test_mail(local):
    """bsd-mailx, as cron's jobs use it."""
    root = package("bsd-mailx")
    exe = os.path.join(root, "usr/bin/bsd-mailx")
    libraries = os.path.join(package("liblockfile1"), "usr/lib/x86_64-linux-gnu")
    rc = os.path.join(local.server.dir, "mailrc")
    with open(rc, "w", encoding="utf-8") as f:
        f.write(f"set sendmail={local.bin}/sendmail\n")
    p = local.run(exe, "-s", "nightly", "ann@alpha.test", text="all is well\n",
                  env={"MAILRC": rc, "LD_LIBRARY_PATH": libraries})
    assert p.returncode == 0, p.out + p.err
    m, _ = local.next()
    assert m["Subject"] == "nightly" and m.get_payload() == "all is well\n"


def test_cron_and_php(local):
    """The command lines of cron's mailer and of PHP's mail()."""
    text = ("From: root (Cron Daemon)\nTo: ann\nSubject: Cron <root@host> job\n"
            "Content-Type: text/plain; charset=UTF-8\nAuto-Submitted: auto-generated\n\nout\r50%\n")
    local.send("-i", "-FCronDaemon", "-B8BITMIME", "-oem", "ann", text=text)
    m, _ = local.next()
    assert m["Auto-Submitted"] == "auto-generated" and m["To"] == "ann@alpha.test"
    assert m["From"] == "root@alpha.test (Cron Daemon)"
    local.send("-t", "-i", text="To: ann@alpha.test\r\nSubject: x\r\nFrom: root@alpha.test\r\n\r\n"
                                "a\nb\n")
    assert local.next()[0].get_payload().split() == ["a", "b"]
