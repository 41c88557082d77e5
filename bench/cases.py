"""The cases. Each is called once a repetition with a function that starts a server, and yields
(variant, unit, value)."""
import contextlib
import os
import re
import signal
import smtplib
import subprocess
import sys
import tempfile
import time

from dkim import dkim
from seal import seal
from servers import BIN, Sink, cpu, peers, pss
from size import size

KIB, MIB = 1 << 10, 1 << 20
DRAIN_S = 120  # until every accepted letter must have arrived


def load(seconds, mode, port, sessions, letters, size, domain, *more):
    """Runs the load generator; its figures by name."""
    out = subprocess.run([os.path.join(BIN, "load"), mode, "127.0.0.1", str(port), str(sessions),
                          str(letters), str(size), str(seconds), domain, *more],
                         stdout=subprocess.PIPE, text=True, timeout=seconds + 120).stdout.split()
    figures = {out[i]: float(out[i + 1]) for i in range(0, len(out) - 1, 2)}
    if figures.get("failed"):
        print(f"# {int(figures['failed'])} sessions failed", file=sys.stderr)
    return figures


def arrive(count, acked, begin):
    """Letters a second from the begin until all have arrived. Looking costs time that the servers
    need, so it is done when the end is near."""
    while True:
        n, now = count(), time.monotonic()
        if n >= acked:
            return acked / (now - begin)
        if now > begin + DRAIN_S:
            raise AssertionError(f"{acked - n:.0f} of {acked:.0f} letters have not arrived")
        time.sleep(min(0.5, max(0.005, (now - begin) * (acked - n) / max(n, 1) / 2)))


# ---- letters --------------------------------------------------------------------------------------

def accept(make, seconds):
    """Letters acknowledged; what happens to them later is throwing away."""
    for sessions, letters, size in ((1, 100, 4 * KIB), (20, 100, 4 * KIB), (100, 100, 4 * KIB),
                                    (20, 10, MIB)):
        with make() as s:
            load(0.2, "send", s.port, min(sessions, 20), letters, size, "discard.test")
            before = cpu(s.pid)
            r = load(seconds, "send", s.port, sessions, letters, size, "discard.test")
            used = cpu(s.pid) - before
        rate = r["acked"] / r["seconds"]
        if size >= MIB:
            yield f"c{sessions}/1MiB", "MB/s", rate * size / 1e6
        else:
            yield f"c{sessions}/4KiB", "letters/s", rate
            yield f"c{sessions}/4KiB/cpu", "us/letter", used * 1e6 / r["acked"]
    yield from sync(make)


def deliver(make, seconds):
    """From the first connection until all letters lie in ten Maildirs."""
    with make() as s:
        before, begin = cpu(s.pid), time.monotonic()
        r = load(seconds, "send", s.port, 20, 100, 4 * KIB, "local.test")
        yield "c20/4KiB", "letters/s", arrive(s.delivered, r["acked"], begin)
        yield "c20/4KiB/cpu", "us/letter", (cpu(s.pid) - before) * 1e6 / r["acked"]


def relay(make, seconds):
    """From the first connection until the sink has taken all letters."""
    for kind in ("plain", "tls"):
        with Sink(tls=kind == "tls") as sink, make(sink=sink.port) as s:
            before, begin = cpu(s.pid), time.monotonic()
            r = load(seconds, "send", s.port, 20, 100, 4 * KIB, "sink.test")
            yield f"{kind}/4KiB", "letters/s", arrive(sink.taken, r["acked"], begin)
            yield f"{kind}/4KiB/cpu", "us/letter", (cpu(s.pid) - before) * 1e6 / r["acked"]


# ---- sessions -------------------------------------------------------------------------------------

def tls(make, seconds):
    """Connections with STARTTLS, handshake, EHLO."""
    for variant, words in (("ecdsa/full", ["ecdsa"]), ("rsa/full", ["rsa"]),
                           ("ecdsa/resumed", ["ecdsa", "resume"])):
        with make(tls=True) as s:
            load(0.2, "tls", s.port, 4, 0, 0, "-", *words)
            r = load(seconds, "tls", s.port, 20, 0, 0, "-", *words)
            yield variant, "handshakes/s", r["handshakes"] / r["seconds"]
            if "resume" in words:
                yield variant + "/share", "%", 100 * r["resumed"] / max(r["handshakes"], 1)


def idle(make, seconds):
    """Memory of all processes with many idle TLS sessions, less that without. A server that takes
    a process for each is asked for fewer of them."""
    for n in (make.sessions,):
        with make(sessions=n) as s:
            load(0.2, "tls", s.port, 4, 0, 0, "-", "ecdsa")
            time.sleep(0.5)
            before = pss(s.pid)
            holder = subprocess.Popen([os.path.join(BIN, "load"), "idle", "127.0.0.1", str(s.port),
                                       str(n), "0", "0", "0", "-"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
            try:
                held = int(holder.stdout.readline().split()[1])
                if held < n:
                    print(f"# {held} of {n} sessions held", file=sys.stderr)
                yield "tls", "KiB/session", (pss(s.pid) - before) / max(held, 1)
                yield "tls/held", "sessions", held
            finally:
                holder.stdin.close()
                holder.wait(60)


def base(make, seconds):
    """Start with an empty queue until the first banner, and memory at rest."""
    with make() as s:
        yield "start", "ms", s.ready * 1000
        time.sleep(0.5)
        yield "memory", "KiB", pss(s.pid)


# ---- proof that 250 means durable -----------------------------------------------------------------

SYNC_LETTERS = 10
SYNC = re.compile(r"(?:fsync|fdatasync|syncfs|sync_file_range)\(\d+<([^>]*)>")
TAKEN = re.compile(r'"250 2\.0\.0 (?:Ok: )?queued as')
SPOOL = re.compile(r"/segments/|/bodies/|/incoming/")
RESUMED = re.compile(r"<\.\.\. (\w+) resumed>.*= 0$")


def sync_counts(text):
    """From `strace -f -y -ttt` of a server that took letters one after the other: for each letter
    the flushes of the spool that were completed, successfully, before its 250 went out."""
    counts, flushed, begun = [], 0, {}
    for line in text.splitlines():
        pid = line.split(None, 1)[0]
        found = SYNC.search(line)
        if found and SPOOL.search(found[1]):
            if "<unfinished" in line:
                begun[pid] = True
            elif line.rstrip().endswith("= 0"):
                flushed += 1
        elif RESUMED.search(line) and begun.pop(pid, False):
            flushed += 1
        elif TAKEN.search(line):
            counts.append(flushed)
            flushed = 0
    return counts


def sync(make):
    """Successful flushes of the spool between one letter's acknowledgement and the next one's: the
    least is the proof. One session, one letter at a time."""
    with make() as s, tempfile.NamedTemporaryFile("r", prefix="letterlock-strace-") as out:
        smtp = smtplib.SMTP("127.0.0.1", s.port, timeout=30, local_hostname="load.test")
        smtp.ehlo()
        with contextlib.closing(smtp), trace(s.pid, out.name):
            for _ in range(SYNC_LETTERS):
                smtp.sendmail("load@load.test", ["u0@discard.test"], "Subject: sync\r\n\r\nx\r\n")
        counts = sync_counts(out.read())
    if len(counts) != SYNC_LETTERS:
        raise AssertionError(f"strace saw {len(counts)} of {SYNC_LETTERS} acknowledgements")
    yield "sync", "flushes before 250", min(counts)


@contextlib.contextmanager
def trace(pid, path):
    """strace attached to all processes of a server."""
    pids = [a for p in peers.tree(pid) for a in ("-p", str(p))]
    strace = subprocess.Popen(["strace", "-f", "-y", "-ttt", "-s", "40", "-o", path, "-e",
                               "trace=fsync,fdatasync,syncfs,sync_file_range,sendto,sendmsg,write",
                               *pids], stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(len(pids) // 2):  # "strace: Process N attached"
            if not strace.stderr.readline():
                raise AssertionError("strace did not attach")
        yield
        time.sleep(0.2)
    finally:
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=30)


# In this order: what makes files comes before what deletes many (see servers.remove_later).
CASES = {"base": base, "deliver": deliver, "relay": relay, "accept": accept, "tls": tls,
         "idle": idle, "dkim": dkim, "seal": seal, "queue": size}
__all__ = ["CASES"]
