"""Nothing acknowledged is lost: processes are killed at random moments under load, and a ledger
that no kill touches says what must be found.

For each letter: sent, acknowledged (the client read the 250), and what is in the Maildir at the
end. LOST: acknowledged, neither delivered nor in the queue's list (where a letter is held whose
carrier was killed three times). TORN: there, but not what was sent. GHOST: there, never sent.
Copies: one, and at most one more for each crash."""
import hashlib
import os
import random
import re
import signal
import socket
import threading
import time

import pytest

from harness.server import Server, wait_for

DOMAIN = "ledger.test"
ROLES = ["queue", "front-mx", "local", "post", "relay", "auth", "keeper", "control"]
SECONDS = float(os.environ.get("LEDGER_SECONDS", "8"))


class Ledger:
    def __init__(self, first=0):
        self.lock = threading.Lock()
        self.sent = {}
        self.acked = {}  # number: the id of the letter in its 250
        self.next = first
        self.stop = False

    def letter(self, rng):
        with self.lock:
            n = self.next
            self.next += 1
        big = rng.random() < 0.03
        size = rng.randrange(300_000, 700_000) if big else rng.randrange(10, 6000)
        body = hashlib.sha256(str(n).encode()).hexdigest() * (size // 64 + 1)
        lines = "\r\n".join(body[i:i + 76] for i in range(0, len(body), 76))
        with self.lock:
            self.sent[n] = hashlib.sha256(lines.encode()).hexdigest()
        return n, (f"From: s@outside.test\r\nTo: ann@{DOMAIN}\r\nSubject: ledger {n}\r\n"
                   f"X-Ledger: {n}\r\n\r\n{lines}\r\n.\r\n").encode()


def expect(f, code):
    while True:
        line = f.readline()
        if not line:
            raise OSError("closed")
        if line[3:4] != b"-":
            if line[:3] != code:
                raise OSError(line)
            return line


def client(port, ledger, seed):
    rng = random.Random(seed)
    while not ledger.stop:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
                f = s.makefile("rb")
                expect(f, b"220")
                s.sendall(b"EHLO client.test\r\n")
                expect(f, b"250")
                for _ in range(20):
                    if ledger.stop:
                        return
                    n, text = ledger.letter(rng)
                    for command, code in ((b"MAIL FROM:<s@outside.test>", b"250"),
                                          (f"RCPT TO:<ann@{DOMAIN}>".encode(), b"250"),
                                          (b"DATA", b"354")):
                        s.sendall(command + b"\r\n")
                        expect(f, code)
                    s.sendall(text)
                    line = expect(f, b"250")
                    with ledger.lock:
                        ledger.acked[n] = line.split()[-1].decode()
        except OSError:
            time.sleep(0.05)


def found(server):
    """Copies of each letter in the Maildir, and those whose text is not what was sent."""
    copies, texts = {}, {}
    for raw in server.mail(f"ann@{DOMAIN}"):
        head, _, body = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
        m = re.search(rb"^X-Ledger: (\d+)$", head, re.M)
        if not m:
            continue
        n = int(m[1])
        copies[n] = copies.get(n, 0) + 1
        body = body.rstrip(b"\n").replace(b"\n", b"\r\n")
        texts.setdefault(n, set()).add(hashlib.sha256(body).hexdigest())
    return copies, texts


def explain(server, numbers):
    """Prints what can be known of some letters: their files, and what the queue holds."""
    new = os.path.join(server.maildir(f"ann@{DOMAIN}"), "new")
    for name in sorted(os.listdir(new)):
        with open(os.path.join(new, name), "rb") as f:
            m = re.search(rb"^X-Ledger: (\d+)$", f.read(4096), re.M)
        if m and int(m[1]) in numbers:
            print(int(m[1]), name)
            print(server.tool("trace", name.split(".L")[1].split("R")[0], check=False).stdout)
    print(server.tool("queue", "list", check=False).stdout[-3000:])
    with open(server.logfile, encoding="utf-8", errors="replace") as f:
        print("".join(line for line in f if " letter id=" not in line)[-8000:])


def verdict(server, ledger, crashes):
    copies, texts = found(server)
    waiting = {letter["id"] for letter in server.json("queue", "list")} \
        if set(ledger.acked) - set(copies) else set()
    kept = [n for n in set(ledger.acked) - set(copies) if ledger.acked[n] in waiting]
    lost = sorted(set(ledger.acked) - set(copies) - set(kept))
    torn = sorted(n for n in copies if n in ledger.sent and texts[n] != {ledger.sent[n]})
    ghost = sorted(set(copies) - set(ledger.sent))
    extra = sum(c - 1 for c in copies.values())
    print(f"sent {len(ledger.sent)} acked {len(ledger.acked)} found {len(copies)} "
          f"kept in the queue {len(kept)} lost {len(lost)} torn {len(torn)} ghost {len(ghost)} extra {extra} crashes {crashes}")
    if lost or torn or ghost or extra > crashes:
        explain(server, lost + torn + ghost + [n for n, c in copies.items() if c > 1])
    assert not lost and not torn and not ghost, (lost[:5], torn[:5], ghost[:5])
    assert max(copies.values(), default=1) <= 1 + crashes
    return copies


def settle(server, ledger):
    def done():
        copies, _ = found(server)
        return set(ledger.acked) <= set(copies)

    try:
        wait_for(done, seconds=15, every=0.3)
    except AssertionError:
        print(server.tool("queue", "list", check=False).stdout[-3000:])
        print(server.log()[-6000:])


def load(server, clients=4, first=0):
    ledger = Ledger(first)
    threads = [threading.Thread(target=client, args=(server.mx, ledger, i), daemon=True)
               for i in range(clients)]
    for t in threads:
        t.start()
    return ledger, threads


def end(ledger, threads):
    ledger.stop = True
    for t in threads:
        t.join(30)


def test_kill_any_role():
    rng = random.Random(4711)
    with Server(DOMAIN, users=[f"ann@{DOMAIN}"], settings={"retry_first": "1s"}) as s:
        ledger, threads = load(s)
        crashes = 0
        stop_at = time.monotonic() + SECONDS
        while time.monotonic() < stop_at:
            time.sleep(rng.uniform(0.15, 0.6))
            victims = s.role_pids(rng.choice(ROLES))
            if victims:
                os.kill(rng.choice(victims), signal.SIGKILL)
                crashes += 1
        time.sleep(1)
        end(ledger, threads)
        settle(s, ledger)
        verdict(s, ledger, crashes)
        assert len(ledger.acked) > 50 and crashes > 5


def test_kill_all_at_once():
    with Server(DOMAIN, users=[f"ann@{DOMAIN}"], settings={"retry_first": "1s"}) as s:
        crashes = 0
        ledger, threads = load(s)
        for _ in range(3):
            time.sleep(1.2)
            s.crash()
            crashes += 1
            s.start()
        time.sleep(0.5)
        end(ledger, threads)
        settle(s, ledger)
        verdict(s, ledger, crashes)
        assert len(ledger.acked) > 50


def test_torn_tail_and_damage_never_block_start():
    """A segment whose end was torn, and one with octets flipped: the rest is delivered."""
    with Server(DOMAIN, users=[f"ann@{DOMAIN}"], settings={"retry_first": "1s"}) as s:
        ledger, threads = load(s, clients=2)
        wait_for(lambda: len(ledger.acked) > 20, seconds=10)
        end(ledger, threads)
        settle(s, ledger)
        s.stop()
        folder = os.path.join(s.home, "spool", "segments")
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "ab") as f:
                f.write(b"LLJ1" + os.urandom(200))
        with open(os.path.join(folder, "00ffffff"), "wb") as f:
            f.write(os.urandom(5000))
        s.start()
        ledger2, threads = load(s, clients=2, first=1_000_000)
        wait_for(lambda: len(ledger2.acked) > 20, seconds=10)
        end(ledger2, threads)
        ledger.sent.update(ledger2.sent)
        ledger.acked.update(ledger2.acked)
        settle(s, ledger)
        copies = verdict(s, ledger, 0)
        assert max(copies.values()) == 1, "what was delivered came back to life"


if __name__ == "__main__":
    pytest.main([__file__, "-q", "-s"])
