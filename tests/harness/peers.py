"""Real peers: Debian packages that need not be installed (the mail servers exclude each other), so
they are downloaded, unpacked beside each other into a cache, and run with generated configuration
on loopback ports in a temporary directory."""
import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from . import ports
from .maildir import read_maildir

CACHE = os.environ.get("LETTERLOCK_PEERS") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "letterlock-peers")


def package(name):
    """The folder of an unpacked Debian package; skips the test where it cannot be had."""
    root = os.path.join(CACHE, name)
    if os.path.isdir(root):
        return root
    work = f"{root}.{os.getpid()}"
    os.makedirs(work, exist_ok=True)
    try:
        subprocess.run(["apt-get", "-qq", "download", name], cwd=work, check=True, timeout=120,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        deb = glob.glob(os.path.join(work, "*.deb"))[0]
        subprocess.run(["dpkg-deb", "-x", deb, os.path.join(work, "root")], check=True, timeout=60)
        with contextlib.suppress(OSError):  # another run may have been faster
            os.rename(os.path.join(work, "root"), root)
    except (subprocess.SubprocessError, IndexError, FileNotFoundError):
        pytest.skip(f"the Debian package {name} cannot be downloaded")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return root


def tree(pid):
    """A process and its descendants."""
    found = [pid]
    for p in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{task}/children", encoding="ascii") as f:
                    found += [int(c) for c in f.read().split()]
    return found


def end(process, seconds=5):
    """SIGTERM to a process that we started, then SIGKILL to what is left of its descendants."""
    pids = tree(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(10)


class Postfix:
    """with Postfix(main="smtpd_tls_security_level = may\\n...", users=["u@local.test"]) as p:
    p.port takes mail; letters for p.users land in p.mail(user); p.sendmail sends one.

    main: lines added to main.cf. master: lines added to master.cf ({port} is p.port, {tls_port} a
    second free port, p.tls_port)."""

    MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
showq unix n - n - - showq
"""

    def __init__(self, main="", master="", users=("u@local.test",), name="postfix.test"):
        if os.geteuid() != 0:
            pytest.skip("Postfix needs root")
        self.root = package("postfix")
        self.dir = tempfile.mkdtemp(prefix="letterlock-postfix-")
        os.chmod(self.dir, 0o755)
        self.port, self.tls_port = ports.pick(), ports.pick()
        self.users = list(users)
        self.process = None
        lib = os.path.join(self.root, "usr/lib/postfix")
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": lib,
                    "MAIL_CONFIG": os.path.join(self.dir, "etc")}
        for folder, owner in (("etc", 0), ("spool", 0), ("data", 8), ("mail", 8)):
            path = os.path.join(self.dir, folder)
            os.mkdir(path)
            os.chown(path, owner, owner)
        domains = sorted({u.partition("@")[2] for u in self.users})
        boxes = ", ".join(f"{{{u} = {u.partition('@')[2]}/{u.partition('@')[0]}/}}"
                          for u in self.users)
        self._write("etc/main.cf", f"""\
compatibility_level = 3.6
command_directory = {self.root}/usr/sbin
daemon_directory = {lib}/sbin
shlib_directory = {lib}
meta_directory = {self.dir}/etc
queue_directory = {self.dir}/spool
data_directory = {self.dir}/data
import_environment = LD_LIBRARY_PATH={lib} MAIL_CONFIG={self.dir}/etc
mail_owner = mail
setgid_group = news
default_privs = nobody
maillog_file = {self.dir}/maillog
maillog_file_prefixes = /
myhostname = {name}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject
in_flow_delay = 0
virtual_mailbox_domains = {' '.join(domains)}
virtual_mailbox_base = {self.dir}/mail
virtual_mailbox_maps = inline:{{ {boxes} }}
virtual_minimum_uid = 1
virtual_uid_maps = static:8
virtual_gid_maps = static:8
{main}
""")
        self._write("etc/master.cf",
                    (self.MASTER + master).format(port=self.port, tls_port=self.tls_port))
        for folder in ("active bounce corrupt defer deferred flush hold incoming private saved "
                       "trace maildrop public pid").split():
            path = os.path.join(self.dir, "spool", folder)
            os.mkdir(path, 0o700)
            if folder != "pid":
                os.chown(path, 8, 9 if folder in ("maildrop", "public") else 0)
                os.chmod(path, {"maildrop": 0o1730, "public": 0o710}.get(folder, 0o700))
        try:
            self._start(lib)
        except BaseException:
            self.close()
            raise

    def _write(self, name, text):
        with open(os.path.join(self.dir, name), "w", encoding="utf-8") as f:
            f.write(text)

    def _start(self, lib):
        self.process = subprocess.Popen([f"{lib}/sbin/master", "-d", "-c", f"{self.dir}/etc"],
                                        env=self.env, cwd=f"{self.dir}/spool",
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        stop = time.monotonic() + 15
        while ports.free(self.port):
            if self.process.poll() is not None or time.monotonic() > stop:
                raise AssertionError("Postfix did not start: " + self.log())
            time.sleep(0.05)

    def configure(self, lines):
        """Adds lines to main.cf and has them read."""
        with open(os.path.join(self.dir, "etc/main.cf"), "a", encoding="utf-8") as f:
            f.write(lines + "\n")
        self.process.send_signal(signal.SIGHUP)
        time.sleep(1)

    def sendmail(self, sender, to, text):
        """One letter through Postfix's own sendmail's way in: SMTP to itself, so that it relays."""
        import smtplib
        with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as s:
            s.sendmail(sender, to, text)

    def mail(self, user):
        local, _, domain = user.partition("@")
        return read_maildir(os.path.join(self.dir, "mail", domain, local))

    def log(self):
        with contextlib.suppress(OSError), open(f"{self.dir}/maillog", encoding="utf-8",
                                                errors="replace") as f:
            return f.read()
        return ""

    def close(self):
        if self.process:
            end(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and not issubclass(kind, KeyboardInterrupt):
            print("---- maillog\n" + self.log()[-4000:])
        self.close()


class Dovecot:
    """with Dovecot() as d: LMTP at 127.0.0.1:d.port (and d.socket) for any user@domain, letters in
    d.mail(user@domain); d.auth is a SASL service for Postfix (smtpd_sasl_type = dovecot) in which
    every user has the password d.PASSWORD."""

    PASSWORD = "dovecots-own"

    def __init__(self):
        if os.geteuid() != 0 or not os.path.exists("/usr/sbin/dovecot"):
            pytest.skip("Dovecot (dovecot-core, dovecot-lmtpd) and root are needed")
        self.dir = tempfile.mkdtemp(prefix="letterlock-dovecot-")
        os.chmod(self.dir, 0o755)
        self.port = ports.pick()
        self.socket = f"{self.dir}/run/lmtp"
        self.auth = f"{self.dir}/run/auth-client"
        self.process = None
        os.makedirs(f"{self.dir}/mail")
        os.chown(f"{self.dir}/mail", 8, 8)
        with open(f"{self.dir}/conf", "w", encoding="utf-8") as f:
            f.write(f"""\
protocols = lmtp
base_dir = {self.dir}/run
state_dir = {self.dir}/state
log_path = {self.dir}/log
ssl = no
auth_mechanisms = plain login
disable_plaintext_auth = no
mail_location = maildir:{self.dir}/mail/%d/%n
first_valid_uid = 1
hostname = dovecot.test
passdb {{
  driver = static
  args = password={self.PASSWORD}
}}
userdb {{
  driver = static
  args = uid=8 gid=8 home={self.dir}/mail/%d/%n allow_all_users=yes
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.port}
  }}
  unix_listener lmtp {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener auth-client {{
    mode = 0666
  }}
}}
""")
        try:
            self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", f"{self.dir}/conf"],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL)
            stop = time.monotonic() + 15
            while ports.free(self.port):
                if self.process.poll() is not None or time.monotonic() > stop:
                    raise AssertionError("Dovecot did not start: " + self.log())
                time.sleep(0.05)
        except BaseException:
            self.close()
            raise

    def mail(self, user):
        local, _, domain = user.partition("@")
        return read_maildir(os.path.join(self.dir, "mail", domain, local))

    def log(self):
        with contextlib.suppress(OSError), open(f"{self.dir}/log", encoding="utf-8",
                                                errors="replace") as f:
            return f.read()
        return ""

    def close(self):
        if self.process:
            end(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and not issubclass(kind, KeyboardInterrupt):
            print("---- Dovecot's log\n" + self.log()[-4000:])
        self.close()
