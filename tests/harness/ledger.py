"""The ledger: what was sent and acknowledged, kept outside of the server and of its disks, and the
verdict on what is there in the end. It knows nothing of how the server works.

A letter has a number and goes to one or more places ("box ann", "far"): each is accounted for by
itself. Times are time.monotonic(), for all processes of the machine.

LOST   acknowledged (the client read the 250), neither at its place nor in the queue's list.
TORN   there, but not what was sent.
GHOST  there, but never sent, or not to this place.
DUP    more copies than one, and one for each crash that the letter was in flight for: that came
       after it was sent, and when no copy had arrived, or none earlier than SETTLED before."""
import hashlib
import re
import threading
import time
from dataclasses import dataclass, field

SETTLED = 5.0  # seconds: by then an outcome is on the disk, however slow that is


@dataclass
class Letter:
    digest: str
    places: frozenset
    sent: float
    acked: float = 0.0
    ident: str = ""


@dataclass
class Verdict:
    acked: int = 0
    places: int = 0
    kept: int = 0
    extra: int = 0
    lost: list = field(default_factory=list)
    torn: list = field(default_factory=list)
    ghost: list = field(default_factory=list)
    dup: list = field(default_factory=list)

    @property
    def good(self):
        return not (self.lost or self.torn or self.ghost or self.dup)

    def __str__(self):
        return (f"acknowledged {self.acked} places {self.places} in the queue {self.kept} "
                f"LOST {len(self.lost)} TORN {len(self.torn)} GHOST {len(self.ghost)} "
                f"DUP {len(self.dup)} extra copies {self.extra}")


def digest_of(body):
    """Of a content's body, whatever ends its lines, and the ends of the whole."""
    return hashlib.sha256(body.replace(b"\r\n", b"\n").rstrip(b"\n")).hexdigest()


def read_letter(raw):
    """(number, digest of the body) of a letter as it was found; None where it is none of ours."""
    head, _, body = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
    m = re.search(rb"^X-Ledger: (\d+)$", head, re.M)
    return (int(m[1]), digest_of(body)) if m else None


class Ledger:
    def __init__(self):
        self.lock = threading.Lock()
        self.letters = {}
        self.settled = SETTLED
        self.crashes = []
        self.arrived = []  # (number, place, digest, time): copies at places that do not look back
        self.next = 0
        self.dark = False

    def letter(self, places, octets):
        """A new letter: its number and its text, ready for DATA without the final dot."""
        with self.lock:
            n = self.next
            self.next += 1
        line = hashlib.sha256(str(n).encode()).hexdigest()
        body = "".join(f"{line} {i}\r\n" for i in range(octets // 72 + 1)).encode()
        with self.lock:
            self.letters[n] = Letter(digest_of(body), frozenset(places), time.monotonic())
        return n, (f"From: s@outside.test\r\nSubject: ledger {n}\r\nX-Ledger: {n}\r\n\r\n"
                   ).encode() + body

    def ack(self, n, ident):
        with self.lock:
            if not self.dark:
                self.letters[n].acked = time.monotonic()
                self.letters[n].ident = ident

    def arrive(self, place, raw):
        found = read_letter(raw)
        with self.lock:
            if found:
                self.arrived.append((found[0], place, found[1], time.monotonic()))

    def crash(self, dark=False):
        """dark: the power goes. What still answers until light() would have no power: a disk that
        is being shut down may call a flush a success that is none."""
        with self.lock:
            self.crashes.append(time.monotonic())
            self.dark = dark

    def light(self):
        with self.lock:
            self.dark = False

    def acked(self):
        with self.lock:
            return sum(1 for x in self.letters.values() if x.acked)

    def verdict(self, boxes, queued, until=None, since=None):
        """boxes: copies that lie in mailboxes, as (number, place, digest, time); queued: {(ident,
        address of the place)} still in the queue.
        until, since: the letter's world ended at `until` and goes on, from what was on the disk
        then, at `since`: what happened in between did not happen."""
        with self.lock:
            letters = dict(self.letters)
            copies = list(boxes) + [a for a in self.arrived
                                    if until is None or a[3] < until or a[3] > since]
            crashes = [c for c in self.crashes if until is None or c < until or c >= since]
        if until is not None:
            crashes.append(until)
        v = Verdict()
        there = {}
        for n, place, digest, at in copies:
            x = letters.get(n)
            if x is None or place not in x.places:
                v.ghost.append((n, place))
                continue
            if digest != x.digest:
                v.torn.append((n, place))
            there.setdefault((n, place), []).append(at)
        for (n, place), times in there.items():
            times.sort()
            v.extra += len(times) - 1
            if len(times) > 1 + self._in_flight(letters[n].sent, times, crashes):
                v.dup.append((n, place, times))
        for n, x in letters.items():
            if not x.acked or (until is not None and x.acked >= until):
                continue
            v.acked += 1
            for place in x.places:
                v.places += 1
                if (n, place) in there:
                    continue
                if (x.ident, place) in queued:
                    v.kept += 1
                else:
                    v.lost.append((n, place))
        return v

    def _in_flight(self, sent, times, crashes):
        count = 0
        for c in crashes:
            before = [t for t in times if t <= c]
            if sent <= c <= times[-1] and (not before or c - before[-1] <= self.settled):
                count += 1
        return count
