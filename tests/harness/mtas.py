"""Exim and OpenSMTPD from their Debian packages, unpacked (harness.peers). Both have paths and users
built in: they run in a mount namespace of their own, in which these lie in a temporary directory."""
import contextlib
import os
import shutil
import subprocess
import tempfile
import time

import pytest

from . import ports
from .maildir import read_maildir
from .peers import end, package

RECIPIENTS = 200
UID = 61234  # of the users that they want; nobody else has it


class Mta:
    """with Exim(pem, hops) as m: m.port takes letters with STARTTLS offered, m.plain without. Letters
    for u0@local.test ... are in m.mail("u0"). hops: {domain: Hop} where letters for others go."""

    def __init__(self, pem, hops=None):
        if os.geteuid() != 0:
            pytest.skip("needs root")
        self.dir = tempfile.mkdtemp(prefix="letterlock-mta-")
        os.chmod(self.dir, 0o755)
        self.port, self.plain = ports.pick(), ports.pick()
        self.hops = hops or {}
        self.process = None
        self.users = [f"u{n}" for n in range(RECIPIENTS)]
        for name in ("spool", "mail", "lib", "libexec", "tls"):
            os.mkdir(os.path.join(self.dir, name), 0o711)
        shutil.copytree("/etc", os.path.join(self.dir, "etc"), symlinks=True,
                        ignore=lambda folder, names: [
                            n for n in names if n == "letterlock" or n.startswith("exim")
                            or not (os.path.islink(os.path.join(folder, n)) or
                                    os.path.isdir(os.path.join(folder, n)) or
                                    os.path.isfile(os.path.join(folder, n)))])
        self.pem = os.path.join(self.dir, "tls", "own.pem")
        shutil.copy(pem, self.pem)
        self._write("etc/resolv.conf", "nameserver 127.0.0.1\n")
        try:
            self._prepare()
            self._start()
        except BaseException:
            self.close()
            raise

    def _write(self, name, text, mode=0o644):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.islink(path):
            os.unlink(path)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def _add_user(self, name, uid, gid):
        for file, line in (("passwd", f"{name}:x:{uid}:{gid}::/nonexistent:/bin/false"),
                           ("group", f"{name}:x:{gid}:")):
            with open(os.path.join(self.dir, "etc", file), "a", encoding="utf-8") as f:
                f.write(line + "\n")

    def _run(self, mounts, program):
        script = " && ".join(["mount --make-rprivate /"] + mounts + ["exec " + program])
        with open(os.path.join(self.dir, "out"), "ab") as out:
            self.process = subprocess.Popen(["unshare", "-m", "sh", "-c", script],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        stop = time.monotonic() + 20
        while ports.free(self.port) or ports.free(self.plain):
            if self.process.poll() is not None or time.monotonic() > stop:
                raise AssertionError(f"{type(self).__name__} did not start: " + self.log())
            time.sleep(0.05)

    def mail(self, user):
        return read_maildir(os.path.join(self.dir, "mail", user))

    def empty(self):
        """Throws away the letters of all users."""
        for user in self.users:
            for name in ("new", "cur", "tmp"):
                folder = os.path.join(self.dir, "mail", user, name)
                with contextlib.suppress(OSError):
                    for letter in os.listdir(folder):
                        os.unlink(os.path.join(folder, letter))

    def log(self):
        text = ""
        for name in ("out", "spool/mainlog", "spool/paniclog"):
            with contextlib.suppress(OSError), open(os.path.join(self.dir, name),
                                                    encoding="utf-8", errors="replace") as f:
                text += f.read()
        return text

    def close(self):
        if self.process:
            end(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and not issubclass(kind, KeyboardInterrupt):
            print(f"---- log of {type(self).__name__}\n" + self.log()[-6000:])
        self.close()


class Hop:
    """Where letters for a domain go: to 127.0.0.1:port. tls: False: not even where offered; True: or
    not at all. login: (user, password)."""

    def __init__(self, port, tls, login=None):
        self.port, self.tls, self.login = port, tls, login


class Exim(Mta):
    NAME = "exim.test"
    TLS_IN = True

    def _prepare(self):
        root = package("exim4-daemon-light")
        shutil.copy(os.path.join(root, "usr/sbin/exim4"), os.path.join(self.dir, "exim4"))
        os.chmod(os.path.join(self.dir, "exim4"), 0o4755)
        self._add_user("Debian-exim", UID, UID)
        for name in ("spool", "mail", "tls/own.pem"):
            os.chown(os.path.join(self.dir, name), UID, UID)
        self._write("users", "".join(f"{u}: {u}\n" for u in self.users))
        routers = transports = authenticators = ""
        for n, (domain, hop) in enumerate(self.hops.items()):
            routers += (f"hop{n}:\n  driver = manualroute\n  domains = {domain}\n"
                        f"  route_list = * 127.0.0.1::{hop.port}\n  self = send\n"
                        f"  transport = out{n}\n")
            transports += (f"out{n}:\n  driver = smtp\n  hosts_try_fastopen =\n"
                           "  message_linelength_limit = 1G\n  tls_verify_hosts =\n"
                           "  tls_try_verify_hosts =\n" +
                           ("  hosts_require_tls = *\n" if hop.tls else "  hosts_avoid_tls = *\n") +
                           ("  hosts_require_auth = *\n" if hop.login else ""))
            if hop.login:
                authenticators = ("plain:\n  driver = plaintext\n  public_name = PLAIN\n"
                                  f"  client_send = ^{hop.login[0]}^{hop.login[1]}\n")
        self._write("etc/exim4/exim4.conf", f"""\
primary_hostname = {self.NAME}
exim_path = {self.dir}/exim4
spool_directory = {self.dir}/spool
log_file_path = {self.dir}/spool/%slog
local_interfaces = 127.0.0.1.{self.port} : 127.0.0.1.{self.plain}
keep_environment =
host_lookup =
rfc1413_hosts =
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
recipients_max = 1000
tls_advertise_hosts = ${{if eq{{$received_port}}{{{self.port}}}{{*}}{{}}}}
tls_certificate = {self.pem}
acl_smtp_rcpt = ok
queue_run_in_order
begin acl
ok:
  accept
begin routers
local:
  driver = accept
  domains = local.test
  local_parts = lsearch;{self.dir}/users
  transport = maildir
{routers}
begin transports
maildir:
  driver = appendfile
  directory = {self.dir}/mail/$local_part_data
  maildir_format
  user = Debian-exim
  group = Debian-exim
{transports}
begin retry
* * F,1h,1m
begin authenticators
{authenticators}
""")

    def _start(self):
        self._run([f"mount --bind {self.dir}/etc /etc"], f"{self.dir}/exim4 -bdf -q1m")


class OpenSmtpd(Mta):
    NAME = "opensmtpd.test"
    TLS_IN = False  # with OpenSSL 3 it loses its private key: STARTTLS is offered, and fails

    def _prepare(self):
        self.root = package("opensmtpd")
        self._add_user("opensmtpq", UID, UID)
        self._add_user("opensmtpd", UID + 1, UID + 1)
        os.makedirs(os.path.join(self.dir, "lib/opensmtpd/empty"), 0o711)
        os.makedirs(os.path.join(self.dir, "spool/smtpd"), 0o711)
        os.chmod(os.path.join(self.dir, "spool/smtpd"), 0o711)
        os.chmod(self.pem, 0o600)
        for user in self.users:
            folder = os.path.join(self.dir, "mail", user)
            os.mkdir(folder)
            os.chown(folder, UID + 1, UID + 1)
        self._write("users", "".join(f"{u} {UID + 1}:{UID + 1}:{self.dir}/mail/{u}\n"
                                     for u in self.users))
        self._write("virtual", "".join(f"{u}@local.test {u}\n" for u in self.users))
        actions = secrets = ""
        for n, (domain, hop) in enumerate(self.hops.items()):
            scheme = "smtp+tls" if hop.tls else "smtp+notls"
            label, auth = ("login@", " auth <secrets>") if hop.login else ("", "")
            if hop.login:
                secrets = f"login {hop.login[0]}:{hop.login[1]}\n"
            actions += (f'action "hop{n}" relay host "{scheme}://{label}127.0.0.1:{hop.port}"{auth}'
                        + (" tls no-verify" if hop.tls else "") + "\n"
                        f'match from any for domain "{domain}" action "hop{n}"\n')
        self._write("secrets", secrets, 0o640)
        os.chown(os.path.join(self.dir, "secrets"), 0, UID + 1)
        self._write("smtpd.conf", f"""\
pki own cert "{self.pem}"
pki own key "{self.pem}"
table users file:{self.dir}/users
table boxes file:{self.dir}/virtual
table secrets file:{self.dir}/secrets
mta limit max-conn-per-host 20
listen on 127.0.0.1 port {self.port} tls pki own hostname {self.NAME}
listen on 127.0.0.1 port {self.plain} hostname {self.NAME}
action "store" maildir "%{{user.directory}}" userbase <users> virtual <boxes>
{actions}match from any for domain "local.test" action "store"
""")
        self._write("etc/resolv.conf", "lookup file\nnameserver 127.0.0.1\n")

    def _start(self):
        self._run([f"mount --bind {self.dir}/etc /etc", f"mount --bind {self.dir}/spool /var/spool",
                   f"mount --bind {self.dir}/lib /var/lib",
                   f"mkdir -p {self.dir}/libexec/opensmtpd",
                   f"mount --bind {self.root}/usr/libexec/opensmtpd {self.dir}/libexec/opensmtpd",
                   f"mount --rbind {self.dir}/libexec /usr/libexec"],
                  f"{self.root}/usr/sbin/smtpd -F -f {self.dir}/smtpd.conf")
