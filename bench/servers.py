"""The servers that are measured: each has `port`, `pid`, `ready` (seconds from its start to the first
banner), `delivered()` (letters in the Maildirs) and `close()`, and is used with `with`."""
import atexit
import functools
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests"))
from harness import peers, ports  # noqa: E402
from harness.server import BUILD, LETTERLOCKD, Server, wait_for  # noqa: E402

BIN = os.path.join(BUILD, "bench")
USERS = [f"u{i}@local.test" for i in range(10)]
START_S = 30  # until a server must have shown its banner


def work_folder():
    """Where servers keep their data: $TMPDIR, else beside the build, for /tmp may be in memory. The
    servers' users must be able to pass."""
    if os.environ.get("TMPDIR"):
        return os.environ["TMPDIR"]
    folder = os.path.join(BIN, "tmp")
    os.makedirs(folder, exist_ok=True)
    parent = folder
    while os.stat(parent).st_mode & 0o001:
        if parent == "/":
            return folder
        parent = os.path.dirname(parent)
    return tempfile.gettempdir()


def build():
    os.makedirs(BIN, exist_ok=True)
    tempfile.tempdir = work_folder()
    for name in ("load", "sink"):
        source = os.path.join(TOP, "bench", name + ".c")
        program = os.path.join(BIN, name)
        if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
            subprocess.run([os.environ.get("CC", "cc"), "-std=gnu17", "-O2", "-o", program, source,
                            "-lssl", "-lcrypto", "-lpthread"], check=True)


@functools.lru_cache
def pem(kind):
    """A file with a key of that kind (ecdsa: P-256; rsa: 2048 bits, as `letterlock init` makes
    them) and its certificate, made once a run."""
    with tempfile.TemporaryDirectory() as d:
        how = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ecdsa" else ["rsa:2048"]
        subprocess.run(["openssl", "req", "-x509", "-newkey", *how, "-nodes", "-keyout",
                        d + "/key", "-out", d + "/crt", "-days", "30", "-subj",
                        "/CN=bench.test"], check=True, stderr=subprocess.DEVNULL)
        path = os.path.join(BIN, kind + ".pem")
        with open(path, "wb") as out:
            for part in ("key", "crt"):
                with open(os.path.join(d, part), "rb") as f:
                    out.write(f.read())
    return path


def await_banner(process, port):
    """Seconds until 127.0.0.1:port greets."""
    begin = time.monotonic()
    while time.monotonic() < begin + START_S:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode} before its banner")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=START_S) as s:
                if s.recv(4).startswith(b"220"):
                    return time.monotonic() - begin
        except OSError:
            time.sleep(0.0005)
    raise AssertionError(f"no banner within {START_S} s")


def remove_later(folder):
    """Removes a server's folder when the run is over. Not at once: for minutes, ext4 without a
    journal looks for inodes that were not deleted lately, and whoever makes files then is slow."""
    atexit.register(shutil.rmtree, folder, True)


class Letterlock(Server):
    name = "letterlock"

    def __init__(self, sink=0, sessions=0, settings=None):
        super().__init__("local.test", users=USERS, settings={
            "trusted_networks": ["127.0.0.0/8"], "sessions_max": max(2 * sessions, 2000),
            **(settings or {})},
            extra=f"""
route "discard.test" {{ via = "discard" }}
route "sink.test" {{ via = "smarthost" host = "127.0.0.1" port = {sink} tls = "opportunistic" }}
""", start=False)
        self.port = self.mx
        try:
            with open(self.logfile, "ab") as log:
                self.process = subprocess.Popen([LETTERLOCKD, "-c", self.conf, "-f"],
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.ready = await_banner(self.process, self.port)
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        self.pid = self.process.pid

    def close(self):
        self.stop(10)
        remove_later(self.dir)

    def delivered(self):
        return sum(len(os.listdir(d)) for d in (self.maildir(u) + "/new" for u in USERS)
                   if os.path.isdir(d))


class Postfix(peers.Postfix):
    """As it comes, but for what would slow it down against us: no wait when letters arrive faster
    than they leave (in_flow_delay), room for all sessions, no name service."""
    name = "postfix"

    def __init__(self, sink=0, sessions=0):
        super().__init__(users=USERS, main=f"""
transport_maps = inline:{{ discard.test=discard:, sink.test=smtp:[127.0.0.1]:{sink} }}
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = may
smtpd_tls_chain_files = {pem("ecdsa")}, {pem("rsa")}
smtp_tls_security_level = may
smtp_tls_session_cache_database = btree:$data_directory/scache
default_process_limit = {max(100, sessions + sessions // 4)}
message_size_limit = 50000000
""")
        self.pid = self.process.pid

    def _start(self, lib):
        self.process = subprocess.Popen([f"{lib}/sbin/master", "-d", "-c", f"{self.dir}/etc"],
                                        env=self.env, cwd=f"{self.dir}/spool",
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        self.ready = await_banner(self.process, self.port)

    def close(self):
        if self.process:
            peers.end(self.process)
        remove_later(self.dir)

    def delivered(self):
        return sum(len(os.listdir(d)) for d in self._folders() if os.path.isdir(d))

    def _folders(self):
        return [f"{self.dir}/mail/local.test/{u.split('@')[0]}/new" for u in USERS]


class Sink:
    """Takes letters and throws them away: the next hop of the relay cases. With TLS it is also the
    bare OpenSSL server to which handshakes are compared."""
    name = "openssl"

    def __init__(self, tls=False, **_):
        self.port = ports.pick()
        self.file = tempfile.NamedTemporaryFile(prefix="letterlock-sink-")
        keys = [pem("ecdsa"), pem("rsa")] if tls else []
        self.process = subprocess.Popen([os.path.join(BIN, "sink"), str(self.port),
                                         self.file.name, *keys])
        self.pid = self.process.pid
        try:
            self.ready = await_banner(self.process, self.port)
        except BaseException:
            self.close()
            raise

    def taken(self):
        with open(self.file.name, "rb") as f:
            data = f.read(8)
        return struct.unpack("<Q", data)[0] if len(data) == 8 else 0

    def close(self):
        self.process.kill()
        self.process.wait()
        self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def cpu(pid):
    """Seconds of processor time of a server: the processes that it has, and those that it had."""
    ticks = 0
    for p in peers.tree(pid):
        try:
            with open(f"/proc/{p}/stat", encoding="ascii", errors="replace") as f:
                words = f.read().rpartition(")")[2].split()
            ticks += sum(int(w) for w in words[11:15 if p == pid else 13])
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def pss(pid):
    """KiB of a process and its descendants, what they share counted once."""
    total = 0
    for p in peers.tree(pid):
        try:
            with open(f"/proc/{p}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total


__all__ = ["BIN", "Letterlock", "Postfix", "Server", "Sink", "TOP", "build", "cpu", "peers", "pss",
           "wait_for", "work_folder"]
