"""The queue at size: a spool as a server would have left it, with a million letters (QUICK: a
hundred thousand), then a server on it. What is measured is the queue's process."""
import os
import shutil
import smtplib
import subprocess
import threading
import time

from servers import BIN, Server, wait_for

ROUTES = """
route "*" { via = "mx" }
route "wait.test" { via = "smarthost" host = "127.0.0.1" port = 1 }
"""
LETTER = "From: <a@local.test>\r\nSubject: x\r\n\r\n" + ("x" * 70 + "\r\n") * 20
SCAN_S = 300  # until a scan must be over


class Filled(Server):
    """A server with a spool of `letters`, each for `rcpts` of `dests` domains, `octets` long."""

    def __init__(self, letters, dests=1, rcpts=1, octets=300, state="deferred"):
        super().__init__("local.test", start=False, extra=ROUTES, settings={
            "trusted_networks": ["127.0.0.0/8"], "mx_workers": 1, "sessions_max": 2000})
        try:
            self.start()
            self.empty = self.resident()
            self.stop()
            spool = os.path.join(self.home, "spool")
            owner = os.stat(spool)
            for name in ("segments", "log"):
                shutil.rmtree(os.path.join(spool, name))
            self.pairs = int(subprocess.run(
                [os.path.join(BIN, "bench-spool"), spool, str(letters), str(dests), str(rcpts),
                 str(octets), state], check=True, stdout=subprocess.PIPE, text=True).stdout)
            for folder, _, files in os.walk(spool):
                for name in [folder] + [os.path.join(folder, f) for f in files]:
                    os.chown(name, owner.st_uid, owner.st_gid)
            self.scans = self.log().count("journal-read")
            self.began = time.monotonic()
            self.start()
        except BaseException:
            self.close()
            raise

    def scanned(self):
        return self.log().count("journal-read") > self.scans

    def wait_scanned(self):
        """Seconds from the start."""
        wait_for(self.scanned, SCAN_S, 0.01, "the scan's end")
        return time.monotonic() - self.began

    def queue_pid(self):
        return self.role_pids("queue")[0]

    def resident(self):
        """Octets in memory of the queue's process."""
        with open(f"/proc/{self.queue_pid()}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self):
        """Seconds of processor time that the queue's threads have had."""
        folder = f"/proc/{self.queue_pid()}/task"
        total = 0
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        return total / 1e9

    def send(self, client, letters=1):
        """Milliseconds that the slowest of so many letters took until its 250."""
        worst = 0
        for _ in range(letters):
            begin = time.monotonic()
            client.sendmail("a@local.test", ["b@wait.test"], LETTER)
            worst = max(worst, time.monotonic() - begin)
        return worst * 1000


class Stream(threading.Thread):
    """Letters one after the other, for as long as `on` is set; `worst` is the slowest, in ms."""

    def __init__(self, server):
        super().__init__()
        self.server, self.on, self.worst, self.sent = server, True, 0, 0
        self.start()

    def run(self):
        with smtplib.SMTP("127.0.0.1", self.server.mx, timeout=60,
                          local_hostname="client.test") as client:
            while self.on:
                try:
                    self.worst = max(self.worst, self.server.send(client))
                except smtplib.SMTPException:  # no segment yet: the client would come back
                    time.sleep(0.01)
                    continue
                self.sent += 1

    def end(self):
        self.on = False
        self.join()
        if not self.sent:
            raise AssertionError("no letter was accepted meanwhile")


def memory(n):
    """Growth by a pair of letter and destination, after a start."""
    for name, letters, dests, rcpts in (("1-destination", n, 1, 1),
                                        ("100000-destinations", n, n // 10, 1),
                                        ("10-recipients", n // 10, n // 10, 10)):
        with Filled(letters, dests, rcpts) as s:
            s.wait_scanned()
            time.sleep(1)
            yield f"memory/{name}", "octets/pair", (s.resident() - s.empty) / s.pairs


def scan(n):
    """Until all letters are known, while one client goes on sending."""
    for name, octets, state in (("waiting-4KiB", 4096, "waiting"), ("deferred-300B", 300, "deferred")):
        with Filled(n, octets=octets, state=state) as s:
            stream = Stream(s)
            seconds = s.wait_scanned()
            stream.end()
            yield f"scan/{name}", "s", seconds
            yield f"scan-accept-slowest/{name}", "ms", stream.worst


def enqueue(n):
    """Processor time of the queue for a letter that comes and stays, by what is there already."""
    for there in (n // 100, n // 10, n):
        with Filled(there) as s:
            s.wait_scanned()
            time.sleep(0.5 + 12 * there / 1000000)  # the checkpoint behind a scan
            load = [os.path.join(BIN, "load"), "send", "127.0.0.1", str(s.mx), "20", "100", "1000"]
            subprocess.run(load + ["1", "wait.test"], stdout=subprocess.DEVNULL, check=True)
            time.sleep(1)
            before = s.cpu()
            out = subprocess.run(load + ["3", "wait.test"], stdout=subprocess.PIPE, text=True,
                                 check=True).stdout.split()
            time.sleep(0.3)
            acked = float(out[out.index("acked") + 1])
            yield f"enqueue/{there}", "us/letter", (s.cpu() - before) / acked * 1e6


def answers(n):
    """`queue list` of all, read as fast as it comes, while one client goes on sending."""
    with Filled(n) as s:
        s.wait_scanned()
        time.sleep(1)
        before = s.resident()
        stream = Stream(s)
        begin = time.monotonic()
        first, lines, one = 0, 0, ""
        with subprocess.Popen([os.path.join(os.path.dirname(BIN), "letterlock"), "queue", "list",
                               "--json", "-c", s.conf], stdout=subprocess.PIPE, text=True) as p:
            for line in p.stdout:
                first = first or time.monotonic() - begin
                one = one or line
                lines += 1
                if lines == n // 2:
                    grown = s.resident() - before
                    asked = time.monotonic()
                    s.tool("queue", "why", one.split('"id": "')[1].split('"')[0])
                    asked = time.monotonic() - asked
        stream.end()
        if lines < n:
            raise AssertionError(f"{lines} of {n} letters were listed")
        yield "list/first-line", "ms", first * 1000
        yield "list/whole", "s", time.monotonic() - begin
        yield "list/memory", "KiB", grown / 1024
        yield "list-why-meanwhile", "ms", asked * 1000
        yield "list-accept-slowest", "ms", stream.worst


def size(make, seconds):
    n = 1000000 if seconds > 1 else 100000
    for part in (memory, scan, enqueue, answers):
        yield from part(n)


__all__ = ["size"]
