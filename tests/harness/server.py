"""A letterlock server of its own: made by `letterlock init` in a temporary directory, started on
random loopback ports, ended by pid."""
import contextlib
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time

from . import ports
from .maildir import read_maildir

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build"))
LETTERLOCK = os.path.join(BUILD, "letterlock")
LETTERLOCKD = os.path.join(BUILD, "letterlockd")
PASSWORD = "correct horse battery staple"


def testdata(name):
    """Path of a public test suite, or None where it is absent."""
    for root in (os.environ.get("LETTERLOCK_TESTDATA"),
                 os.path.join(os.path.dirname(TOP), "shared", "testdata")):
        if root and os.path.exists(os.path.join(root, name)):
            return os.path.join(root, name)
    return None


testdata.__test__ = False  # pytest: its name is not that of a test


def wait_for(check, seconds=10, every=0.05, what=""):
    """Calls check until it returns something true; returns that, or fails after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or check}")
        time.sleep(every)


class Server:
    """with Server("alpha.test", users=["ann@alpha.test"], settings={"queue_lifetime": "10s"},
    extra='route "beta.test" { via = "smarthost" ... }') as s: ...

    settings: global settings, replaced or added (dmarc is off unless one says otherwise). extra: text put behind the configuration.
    A `route "*"` in extra replaces the one that init wrote. preexec: called in the child before it
    becomes letterlockd. program, env: what is started instead of letterlockd, and in which
    environment; they count from the next start."""

    def __init__(self, domain, users=(), settings=None, extra="", start=True, keep=None,
                 preexec=None):
        self.preexec = preexec
        self.program = LETTERLOCKD
        self.env = None
        self.domain = domain
        self.dir = keep or tempfile.mkdtemp(prefix="letterlock-test-")
        os.chmod(self.dir, 0o711)  # the roles' users must pass
        self.home = os.path.join(self.dir, "home")
        self.conf = os.path.join(self.home, "letterlock.conf")
        self.logfile = os.path.join(self.dir, "log")
        self.base = ports.base()
        self.mx, self.submissions, self.submission = (self.base + p for p in (25, 465, 587))
        self.process = None
        self.users = list(users) or [f"ann@{domain}"]
        try:
            self._init(settings or {}, extra)
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    def _init(self, settings, extra):
        self.password_file = os.path.join(self.dir, "password")
        with open(self.password_file, "w", encoding="ascii") as f:
            f.write(PASSWORD + "\n")
        os.chmod(self.password_file, 0o600)
        self.dns_records = self._run([LETTERLOCK, "init", self.domain, "--dir", self.home,
                                      "--port-base", str(self.base), "--user", self.users[0],
                                      "--password-file", self.password_file])
        for user in self.users[1:]:
            self.tool("user", "add", user, "--password-file", self.password_file)
        with open(self.conf, encoding="utf-8") as f:
            text = f.read()
        # Tests without a name server of their own ask nobody who sent a letter.
        for name, value in {"dmarc": "off", **settings}.items():
            text = self.set_text(text, name, value)
        for title in re.findall(r'^route\s+"([^"]+)"', extra, re.M):
            text = re.sub(r'^route\s+"?%s"?\s*\{[^}]*\}\n?' % re.escape(title), "", text,
                          flags=re.M)
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(text + "\n" + extra + "\n")

    @staticmethod
    def set_text(text, name, value):
        """The configuration text with one global setting set."""
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, (list, tuple)):
            value = "{" + ", ".join('"%s"' % v.replace('"', '\\"') for v in value) + "}"
        elif isinstance(value, str):
            value = '"%s"' % value.replace('"', '\\"')
        text = re.sub(r"^%s\s*=\s*(\{[^}]*\}|.*)\n" % name, "", text, flags=re.M)
        return f"{name} = {value}\n" + text

    def set(self, name, value):
        """Sets a global setting in the file; `reload` or a restart makes it count."""
        with open(self.conf, encoding="utf-8") as f:
            text = f.read()
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(self.set_text(text, name, value))

    @staticmethod
    def _run(args, check=True, **kw):
        kw.setdefault("timeout", 60)
        if "input" not in kw:
            kw["stdin"] = subprocess.DEVNULL
        p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
        if check and p.returncode != 0:
            raise AssertionError(f"{args} exited with {p.returncode}: {p.stdout}{p.stderr}")
        return p.stdout if check else p

    def tool(self, *args, check=True, **kw):
        """letterlock ARGS with this server's configuration; its output, or (check=False) the
        finished process."""
        try:
            return self._run([LETTERLOCK, *args[:1], *self._sub(args), "-c", self.conf,
                              *args[1 + len(self._sub(args)):]], check=check, **kw)
        except AssertionError as e:
            raise AssertionError(f"{e}\nthe server's log ends:\n{self.log()[-3000:]}") from None

    @staticmethod
    def _sub(args):
        return args[1:2] if args[0] in ("queue", "user", "alias", "cert", "dkim", "report") else ()

    def json(self, *args):
        """The JSON that a command with --json prints: one value, or a list of its lines."""
        text = self.tool(*args, "--json")
        try:
            return json.loads(text)
        except ValueError:
            return [json.loads(line) for line in text.splitlines() if line.strip()]

    # ---- life -------------------------------------------------------------------------------

    def start(self, ready=True):
        with open(self.logfile, "ab") as log:
            self.process = subprocess.Popen([self.program, "-c", self.conf, "-f"], env=self.env,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=self.preexec)
        if ready:
            self.wait_ready()

    def wait_ready(self, seconds=15):
        def up():
            if self.process.poll() is not None:
                raise AssertionError(f"letterlockd ended: {self.process.returncode}\n{self.log()}")
            # The pid file appears when every role has started.
            return os.path.exists(os.path.join(self.home, "run", "letterlockd.pid")) and \
                self._greets(self.mx) and self._greets(self.submission) and \
                self._greets(self.submissions, True)
        wait_for(up, seconds, what="greeting of " + self.domain + "\n" + self.log()[-2000:])

    @staticmethod
    def _greets(port, tls=False):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
                if tls:
                    with Server.context().wrap_socket(s) as t:
                        return t.recv(4).startswith(b"220")
                return s.recv(4).startswith(b"220")
        except OSError:
            return False

    def stop(self, seconds=20):
        """SIGTERM, and what is left after so many seconds is killed. True when it ended itself."""
        if not self.process:
            return True
        pids = self.pids()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
            clean = True
        except subprocess.TimeoutExpired:
            clean = False
        self._kill(pids)
        self.process = None
        return clean

    def crash(self):
        """kill -9 of every process at once."""
        pids = self.pids()
        self._kill(pids)
        self.process.wait(10)
        self.process = None
        # Orphans take a moment to die, and hold the ports until then.
        wait_for(lambda: not any(self._lives(p) for p in pids), 5, 0.01)

    @staticmethod
    def _lives(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                return f.read().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    @staticmethod
    def _kill(pids):
        """SIGKILL to all, and until all have ended: a killed process closes its sockets last."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: all(Server._ended(pid) for pid in pids), 10, 0.01, "killed processes")

    @staticmethod
    def _ended(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                return f.read().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            return True

    def pids(self):
        """letterlockd's pid and those of all its children."""
        if not self.process:
            return []
        found = [self.process.pid]
        for pid in found:
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                        found += [int(p) for p in f.read().split()]
            except OSError:
                pass
        return found

    def role_pids(self, role):
        """Pids of the processes of a role, from their command lines."""
        out = []
        for pid in self.pids()[1:]:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
                if len(words) > 1 and words[1] == role.encode():
                    out.append(pid)
        return out

    def log(self):
        with contextlib.suppress(OSError), open(self.logfile, encoding="utf-8",
                                                errors="replace") as f:
            return f.read()
        return ""

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and issubclass(kind, (AssertionError, smtplib.SMTPException, OSError)):
            print(f"---- log of {self.domain}\n" + self.log()[-6000:])
        self.close()

    # ---- mail -------------------------------------------------------------------------------

    @staticmethod
    def context(cafile=None):
        """A TLS context; without a CA file it takes any certificate."""
        c = ssl.create_default_context(cafile=cafile)
        if not cafile:
            c.check_hostname = False
            c.verify_mode = ssl.CERT_NONE
        return c

    def smtp(self, kind="mx", timeout=15):
        """A connection: kind mx (plain), submission (after STARTTLS), submissions (implicit)."""
        if kind == "submissions":
            return smtplib.SMTP_SSL("127.0.0.1", self.submissions, timeout=timeout,
                                    local_hostname="client.test", context=self.context())
        port = self.mx if kind == "mx" else self.submission
        s = smtplib.SMTP("127.0.0.1", port, timeout=timeout, local_hostname="client.test")
        if kind == "submission":
            s.starttls(context=self.context())
        return s

    def submit(self, to, text="hello\r\n", user=None, subject="test", kind="submissions"):
        """Logs in and sends one letter; returns the refused recipients."""
        user = user or self.users[0]
        to = [to] if isinstance(to, str) else to
        with self.smtp(kind) as s:
            s.login(user, PASSWORD)
            return s.sendmail(user, to, f"From: <{user}>\r\nTo: <{to[0]}>\r\nSubject: {subject}"
                                        f"\r\n\r\n{text}")

    def maildir(self, mailbox):
        user, _, domain = mailbox.rpartition("@")
        return os.path.join(self.home, "mail", domain, user)

    def mail(self, mailbox):
        """The letters in a mailbox, as bytes, oldest first."""
        return read_maildir(self.maildir(mailbox))

    def wait_mail(self, mailbox, n=1, seconds=15):
        """Waits until the mailbox holds at least n letters, and returns them."""
        return wait_for(lambda: len(self.mail(mailbox)) >= n and self.mail(mailbox), seconds,
                        what=f"{n} letters for {mailbox} at {self.domain}")
