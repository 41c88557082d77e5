"""The campaigns of the crash proof. Each takes how much of it is wanted, asserts the ledger's
verdict, and returns its figures; test_crash.py runs them short, scripts/crash long."""
import concurrent.futures
import os
import signal
import time

from harness.crash import ROLES, Rig, acked
from harness.power import History, LoggedDisks, LoopDisks
from harness.server import wait_for

STRICT = "notes,strict,slow=3"


class Figures:
    """Sums of verdicts, printable. details: further numbers, by name."""

    def __init__(self, what, *details):
        self.what = what
        self.details = details
        for name in details:
            setattr(self, name, 0)
        self.begun = time.monotonic()
        self.count = self.acked = self.lost = self.torn = self.ghost = self.dup = self.extra = 0

    def add(self, verdict, count=0):
        self.count += count
        self.acked += verdict.acked
        self.lost += len(verdict.lost)
        self.torn += len(verdict.torn)
        self.ghost += len(verdict.ghost)
        self.dup += len(verdict.dup)
        self.extra += verdict.extra

    def row(self):
        return [self.what, self.count, self.acked, self.lost, self.torn, self.ghost, self.dup,
                self.extra, round(time.monotonic() - self.begun)]


HEADS = ["campaign", "times", "letters acknowledged", "LOST", "TORN", "GHOST", "DUP",
         "extra copies", "seconds"]


def judge(rig, figures, count=0, **how):
    verdict = rig.settle(**how)
    assert verdict.good, rig.explain(verdict)
    figures.add(verdict, count)
    return verdict


# ---- processes ----------------------------------------------------------------------------------


def kill_roles(times, seed=1):
    """kill -9 of one process after the other, at random moments under load."""
    figures = Figures("kill -9 of one role")
    with Rig(seed=seed) as r:
        r.load()
        acked(r, 20)
        for i in range(times):
            time.sleep(r.rng.uniform(0.05, 0.4))
            victims = r.server.role_pids(ROLES[i % len(ROLES)])
            if victims:
                r.ledger.crash()
                os.kill(r.rng.choice(victims), signal.SIGKILL)
                figures.count += 1
        time.sleep(1)
        acked(r, 20)
        r.end_load()
        judge(r, figures, empty=False)
    return figures


def kill_all(times, seed=2):
    """kill -9 of all processes at once under load, and a start."""
    figures = Figures("kill -9 of all")
    with Rig(seed=seed) as r:
        r.load()
        for _ in range(times):
            acked(r, r.rng.randrange(1, 200))
            r.kill_all()
            r.start()
        r.end_load()
        judge(r, figures, times, empty=False)
    return figures


# ---- power --------------------------------------------------------------------------------------


def power_cycles(what, times, seed, **rig):
    """Load, loss of power, start; the next hop is busy now and then, so that letters wait."""
    figures = Figures(what)
    with Rig(seed=seed, **rig) as r:
        r.load()
        for i in range(times):
            r.hop.busy = i % 3 == 1
            acked(r, r.rng.randrange(1, 150))
            time.sleep(r.rng.uniform(0, 0.02))
            r.power_loss()
            r.start()
            if i % 20 == 19:  # what is wrong is known soon after
                r.hop.busy = False
                r.end_load()
                judge(r, Figures(""), empty=False)
                r.load()
        r.hop.busy = False
        r.end_load()
        judge(r, figures, times, empty=False)
    return figures


def shutdowns(times, seed=3):
    return power_cycles("ext4 shutdown", times, seed, disks=LoopDisks)


def strict(times, seed=4):
    return power_cycles("all that POSIX does not promise is gone", times, seed, inject=STRICT)


def images(times, seed=5, seconds=2.0):
    """The server runs on disks that write down what reaches them; then it is started on what they
    may have held at random moments."""
    figures = Figures("images of logged disks", "flushes", "kept", "dropped", "torn_writes")
    with Rig(disks=LoggedDisks, seed=seed) as r:
        for part in r.disks.sizes:
            r.disks.fail(part, flush_ms=2)  # so that there is something unflushed most of the time
        r.load(long=0.02)
        acked(r, 20)
        begun = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
        r.end_load()
        r.server.crash()
        r.disks.end_log()
        parts = list(r.disks.sizes)
        histories = {p: History(r.disks.image(p)) for p in parts}
        figures.flushes = sum(h.flushes for h in histories.values())
        moments = [t / 1e9 for h in histories.values() for t in h.times if begun < t / 1e9 < ended]
        for cut in sorted(r.rng.choice(moments) for _ in range(times)):
            for part in parts:
                image = r.disks.image(part) + ".cut"
                kept, dropped, torn = histories[part].at(cut, r.rng, image)
                figures.kept += kept
                figures.dropped += dropped
                figures.torn_writes += torn
                r.disks.mount(part, image)
            since = time.monotonic()
            r.start()
            judge(r, figures, 1, until=cut, since=since, empty=False)
            r.server.crash()
            r.disks.unmount()
    return figures


# ---- disks that fail ----------------------------------------------------------------------------


def failing_disk(times, seed=6):
    """Flushes that take long, then writes or flushes that fail with EIO: nothing is acknowledged
    that is not there when the disk is good again."""
    figures = Figures("EIO and slow flushes", "refused")
    with Rig(disks=LoggedDisks, seed=seed) as r:
        for i in range(times):
            r.load()
            acked(r, 20)
            r.disks.fail("spool", flush_ms=r.rng.randrange(20, 120))
            acked(r, 20)
            kind = ["flush_error", "write_error"][i % 2]
            part = ["spool", "spool", "mail"][i % 3]
            r.disks.fail(part, **{kind: 5})
            wait_for(lambda: part == "mail" or not advances(r), 20, 0.1, "an end of 250")
            time.sleep(0.5)
            figures.refused += sum(n for code, n in r.clients.codes.items() if code != "250")
            r.ledger.crash()  # what was refused may come, and what came may come again
            r.server.crash()
            r.end_load()
            for p in r.disks.sizes:
                r.disks.fail(p)
            r.disks.back()
            r.start()
            judge(r, figures, 1, empty=False)
    return figures


def failing_reads(times, seed=10):
    """The disk does not give a part of the journal while the queue reads it at start: what it holds
    is neither dropped nor called damaged, and is there when the disk is good again."""
    figures = Figures("EIO on reading", "failed")
    with Rig(inject="notes", seed=seed) as r:
        for i in range(times):
            r.hop.busy = True
            r.load(far=0.8, long=0)
            acked(r, 100)
            r.end_load()
            r.kill_all()
            r.start(ready=False, unreadable=1 + i % 4)
            r.server.wait_ready()
            r.load(far=0.8, long=0)
            acked(r, 20)
            r.end_load()
            time.sleep(1.5)  # needless segments go, and the others are emptied
            figures.failed += r.notes.read_failed()
            r.kill_all()
            r.start()
            r.hop.busy = False
            judge(r, figures, 1, empty=False)
    return figures


def advances(r):
    """True when letters are acknowledged now."""
    before = r.ledger.acked()
    time.sleep(0.3)
    return r.ledger.acked() > before


def full_disk(times, seed=7, inodes=False):
    """The disk of the spool or of the mail store fills up, or has no inodes left: temporary
    replies, and nothing lost; with room again, it all goes on by itself."""
    figures = Figures("no inodes left" if inodes else "full disk")
    sizes = {"spool": 24 << 20, "mail": 64 << 20}

    def disks(top):
        return LoopDisks(top, sizes, {"spool": 1024, "mail": 6000} if inodes else None)
    with Rig(disks=disks, seed=seed) as r:
        for i in range(times):
            part = ["spool", "mail"][i % 2]
            r.load(long=0.003)
            acked(r, 20)
            filler = os.path.join(r.disks.path[part], "filler")
            fill(filler, inodes)
            time.sleep(1.0)
            if i % 4 >= 2:
                r.end_load()
                r.kill_all()
                r.start()
                r.load(long=0.003)
            if part == "spool":
                wait_for(lambda: not advances(r), 20, 0.1, "an end of 250 on a full disk")
            r.end_load()
            empty(filler)
            r.load(long=0.003)
            acked(r, 20)
            r.end_load()
            judge(r, figures, 1, empty=True, seconds=40, patience=20)
    return figures


def fill(filler, inodes):
    os.makedirs(filler, exist_ok=True)
    n = 0
    try:
        while True:
            with open(os.path.join(filler, str(n)), "wb", buffering=0) as f:
                while not inodes and f.write(b"x" * 65536) == 65536:
                    pass
            n += 1
    except OSError:
        pass


def empty(filler):
    for name in os.listdir(filler):
        os.unlink(os.path.join(filler, name))


# ---- memory -------------------------------------------------------------------------------------

MEMORY_ROLES = ["queue", "front-mx", "local", "relay", "auth", "post"]


def failing_allocations(times, seed=8):
    """The n-th allocation of a role fails, or some in a row: it refuses one letter for now, or ends
    and is started again."""
    figures = Figures("failing allocation", "failed")
    with Rig(inject="notes", seed=seed) as r:
        r.load()
        acked(r, 20)
        for i in range(times):
            role = MEMORY_ROLES[i % len(MEMORY_ROLES)]
            r.ledger.crash()
            r.notes.fail_allocation(role, r.rng.randrange(1, 300), r.rng.choice([1, 1, 1, 3, 20]))
            end = time.monotonic() + 0.5
            while time.monotonic() < end and not r.notes.failed_allocations():
                time.sleep(0.01)
            figures.failed += r.notes.failed_allocations()
            r.ledger.crash()
        r.notes.fail_allocation("", 0, 0)
        time.sleep(1)
        acked(r, 50)
        r.end_load()
        judge(r, figures, times, empty=False, seconds=40, patience=20)
        wrong = [line for line in r.server.log().splitlines()
                 if "sandbox-violation" in line or '"signal 11"' in line]
        assert not wrong, wrong
    return figures


# ---- servers that are broken on purpose ---------------------------------------------------------


def lost_power(r, cycles, busy=False, rest=0.0, pause=0.0, long=0.15, **load):
    """Cycles of load and loss of power, until the ledger complains."""
    for _ in range(cycles):
        r.hop.busy = busy
        r.load(long=long, **load)
        acked(r, 60)
        if rest:
            r.end_load()
            time.sleep(rest)
        time.sleep(pause)  # 250 has just been said: let the next batch be on its way
        r.power_loss()
        r.end_load()
        r.hop.busy = False
        r.start()
        v = r.settle(seconds=10, patience=3)
        if not v.good:
            return str(v)
    return None


def lied_to(r, cycles):
    """The disk fails, and the server does not mind."""
    for _ in range(cycles):
        r.hop.busy = True
        r.load(far=1.0, long=0)
        acked(r, 20)
        r.disks.fail("spool", write_error=5, flush_error=5)
        time.sleep(1.5)
        r.end_load()
        r.ledger.crash()
        r.server.crash()
        r.disks.fail("spool")
        r.disks.back()
        r.hop.busy = False
        r.start()
        v = r.settle(seconds=10, patience=3)
        if not v.good:
            return str(v)
    return None


# name: (the rig, how it is tried)
BROKEN = {
    "no flush of segments": ({"disks": LoopDisks, "inject": "notes,skip=segment"},
                             {"busy": True, "far": 1.0}),
    "no flush of bodies": ({"disks": LoopDisks, "inject": "notes,skip=body"},
                           {"busy": True, "far": 1.0}),
    "no flush of letters in Maildirs": ({"disks": LoopDisks, "inject": "notes,skip=mail"},
                                        {"far": 0.0, "rest": 0.5}),
    "no flush of the folder new": ({"disks": LoopDisks, "inject": "notes,skip=mailbox/"},
                                   {"far": 0.0, "rest": 0.5}),
    "250 before the flush": ({"disks": LoopDisks, "inject": "notes,late=300"},
                             {"busy": True, "far": 1.0}),
    "no flush of the folder segments": ({"inject": STRICT + ",skip=segments/"},
                                        {"busy": True, "far": 1.0}),
    "no flush of the folder bodies": ({"inject": STRICT + ",skip=bodies/"},
                                      {"busy": True, "far": 1.0}),
    "no flush of the outcome log": ({"inject": STRICT + ",skip=log"}, {"far": 1.0, "rest": 2.5}),
    "no flush of the folder log": ({"inject": STRICT + ",skip=log/"}, {"far": 1.0, "rest": 2.5}),
    "torn contents are not noticed": ({"inject": "notes,strict,slow=60", "broken": True,
                                       "settings": {"mx_workers": 1}},
                                      {"far": 0.5, "clients": 16, "long": 0.0, "pause": 0.08}),
    "a failed flush is called a success": ({"disks": LoggedDisks, "inject": "lie"}, None),
}


def caught_all(workers=3):
    """{name: what the ledger says}, of all the broken servers."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return dict(zip(BROKEN, pool.map(caught, BROKEN)))


def caught(name, cycles=8, seed=9):
    """What the ledger says of a broken server, or None when it noticed nothing."""
    rig, how = BROKEN[name]
    with Rig(seed=seed, **rig) as r:
        r.ledger.settled = 2.0
        return lied_to(r, cycles) if how is None else lost_power(r, cycles, **how)
