"""Letters for the ledger: clients that send without end, and a next hop that takes them."""
import contextlib
import os
import random
import re
import socket
import threading
import time

from .ledger import read_letter

DOMAIN = "ledger.test"
FAR = "far.test"
BOXES = ["ann", "bob", "cyd"]
LONG = (300_000, 700_000)  # octets of a letter whose content has a file of its own


def address(place):
    """Mailbox of a place: "ann" here, "far" elsewhere."""
    return f"{place}@{FAR if place == 'far' else DOMAIN}"


class NextHop:
    """SMTP that writes every letter into the ledger, place "far". busy: it refuses for now."""

    def __init__(self, ledger, port):
        self.ledger = ledger
        self.busy = False
        self.stopping = False
        self.clients = set()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.stopping:
            with contextlib.suppress(OSError):
                client, _ = self.listener.accept()
                self.clients.add(client)
                threading.Thread(target=self._run, args=(client,), daemon=True).start()

    def _run(self, client):
        client.settimeout(60)
        with contextlib.suppress(OSError), client, client.makefile("rb") as lines:
            client.sendall(b"220 far.test\r\n")
            for line in lines:
                verb = line[:4].upper()
                if verb == b"DATA":
                    client.sendall(b"354 go\r\n")
                    self._content(client, lines)
                elif verb == b"EHLO":
                    client.sendall(b"250-far.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
                elif verb == b"RCPT" and self.busy:
                    client.sendall(b"451 4.3.2 not now\r\n")
                else:
                    client.sendall(b"250 2.0.0 ok\r\n")
                if verb == b"QUIT":
                    break
        self.clients.discard(client)

    def _content(self, client, lines):
        text = []
        for line in lines:
            if line == b".\r\n":
                self.ledger.arrive("far", b"".join(text))
                client.sendall(b"250 2.0.0 taken\r\n")
                return
            text.append(line[1:] if line.startswith(b".") else line)
        raise OSError("closed")

    def close(self):
        self.stopping = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for client in list(self.clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


class Clients:
    """Some SMTP clients, each with one letter after the other. Whatever is refused or cut off is
    just not acknowledged. far, long: parts of the letters that go to the next hop, that are long.
    codes: how often each reply to a content was read."""

    def __init__(self, ledger, port, clients=4, far=0.4, long=0.03, seed=4711):
        self.ledger, self.port, self.far, self.long = ledger, port, far, long
        self.codes = {}
        self.stopping = False
        self.threads = [threading.Thread(target=self._run, args=(random.Random(seed + i),),
                                         daemon=True) for i in range(clients)]
        for t in self.threads:
            t.start()

    def stop(self):
        self.stopping = True
        for t in self.threads:
            t.join(30)

    def _run(self, rng):
        while not self.stopping:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=20) as s:
                    self._session(s, rng)
            except OSError:
                time.sleep(0.02)

    def _places(self, rng):
        places = [] if rng.random() < self.far else rng.sample(BOXES, 1 + (rng.random() < 0.1))
        return places if places and rng.random() > 0.1 else [*places, "far"]

    def _session(self, s, rng):
        lines = s.makefile("rb")
        expect(lines, b"220")
        s.sendall(b"EHLO client.test\r\n")
        expect(lines, b"250")
        for _ in range(20):
            if self.stopping:
                return
            places = self._places(rng)
            octets = rng.randrange(*LONG) if rng.random() < self.long else rng.randrange(10, 6000)
            n, text = self.ledger.letter(places, octets)
            for command in ("MAIL FROM:<s@outside.test>",
                            *(f"RCPT TO:<{address(p)}>" for p in places)):
                s.sendall(command.encode() + b"\r\n")
                expect(lines, b"250")
            s.sendall(b"DATA\r\n")
            expect(lines, b"354")
            s.sendall(text + b".\r\n")
            line = reply(lines)
            self.codes[line[:3].decode()] = self.codes.get(line[:3].decode(), 0) + 1
            if line[:3] == b"250":
                self.ledger.ack(n, line.split()[-1].decode())


def reply(lines):
    while True:
        line = lines.readline()
        if not line.endswith(b"\n"):
            raise OSError("closed")
        if line[3:4] != b"-":
            return line


def expect(lines, code):
    line = reply(lines)
    if line[:3] != code:
        raise OSError(line)


class Boxes:
    """Copies in the mailboxes, as the ledger wants them; what was read once is not read again
    before forget()."""

    def __init__(self, mail_dir):
        self.mail_dir = mail_dir
        self.known = {}

    def forget(self):
        self.known = {}

    def copies(self):
        found = []
        for box in BOXES:
            folder = os.path.join(self.mail_dir, DOMAIN, box, "new")
            for name in os.listdir(folder) if os.path.isdir(folder) else []:
                if (box, name) not in self.known:
                    self.known[box, name] = self._read(box, os.path.join(folder, name))
                if self.known[box, name]:
                    found.append(self.known[box, name])
        return found

    @staticmethod
    def _read(box, path):
        with open(path, "rb") as f:
            raw = f.read()
        age = time.time() - os.stat(path).st_ctime
        letter = read_letter(raw)
        # A file without our head line is a letter torn at its beginning: ghosts are what it looks.
        return (letter or (-1, ""))[0], box, (letter or (-1, ""))[1], time.monotonic() - age


def in_queue(server):
    """{(ident, place)} of what the queue's list shows as not done. What it found damaged is not
    there: it was acknowledged, and is no more."""
    return {(x["id"], re.sub("@.*", "", r["address"])) for x in server.json("queue", "list")
            for r in x["rcpts"] if r["state"] in ("waiting", "trying", "deferred") or
            (r["state"] == "held" and "damaged" not in r["text"])}
