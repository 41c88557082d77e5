"""A server under load whose processes, disks and memory fail, and the ledger that judges it."""
import glob
import os
import random
import shutil
import time

from . import ports
from .ledger import Ledger
from .power import TOOLS, Notes
from .server import BUILD, Server, wait_for
from .traffic import BOXES, DOMAIN, FAR, Boxes, Clients, NextHop, address, in_queue

ROLES = ["queue", "front-mx", "front-sub", "local", "post", "relay", "auth", "dns", "keeper",
         "control"]


class Rig:
    """with Rig() as r: r.server is up, r.ledger judges.

    disks: makes LoopDisks or LoggedDisks from a folder; spool and mail lie there.
    inject: words for tests/faults/inject.c, which is put before all processes; "notes" stands for
    the shared memory, found as r.notes. broken: the ll-mail that checks no torn contents."""

    def __init__(self, disks=None, inject=None, broken=False, settings=None, seed=4711):
        self.rng = random.Random(seed)
        self.ledger = Ledger()
        self.hop = NextHop(self.ledger, ports.pick())
        self.clients = None
        self.notes = self.disks = None
        self.server = Server(DOMAIN, users=[address(b) for b in BOXES], start=False,
                             settings={"retry_first": "1s", "trusted_networks": ["127.0.0.0/8"],
                                       **(settings or {})},
                             extra=f'route "{FAR}" {{\n    via = "smarthost"\n'
                                   f'    host = "127.0.0.1"\n    port = {self.hop.port}\n'
                                   '    tls = "opportunistic"\n}\n')
        try:
            self.spool, self.mail = (os.path.join(self.server.home, d) for d in ("spool", "mail"))
            if disks:
                self.disks = disks(self.server.dir)
                self.spool, self.mail = (os.path.join(self.disks.path[d], d)
                                         for d in ("spool", "mail"))
                self.server.set("spool_dir", self.spool)
                self.server.set("mail_dir", self.mail)
            self.boxes = Boxes(self.mail)
            if inject is not None:
                self._inject(inject)
            if broken:
                self._use_broken()
            self.start()
        except BaseException:
            self.close()
            raise

    def _inject(self, words):
        library = shutil.copy(os.path.join(TOOLS, "inject.so"), self.server.dir)
        os.chmod(library, 0o755)
        if "notes" in words.split(","):
            self.notes = Notes(os.path.join(self.server.dir, "notes"))
            words = words.replace("notes", "notes=" + self.notes.path, 1)
        self.server.env = {**os.environ, "LD_PRELOAD": library, "LL_INJECT": words}

    def _use_broken(self):
        folder = os.path.join(self.server.dir, "bin")
        os.makedirs(folder + "/libexec")
        self.server.program = shutil.copy(os.path.join(BUILD, "letterlockd"), folder)
        for program in glob.glob(os.path.join(BUILD, "libexec", "ll-*")):
            if os.access(program, os.X_OK) and os.path.isfile(program):
                shutil.copy(program, folder + "/libexec")
        shutil.copy(os.path.join(TOOLS, "libexec", "ll-mail"), folder + "/libexec")

    # ---- life -------------------------------------------------------------------------------

    def start(self, ready=True, unreadable=0):
        """unreadable: the read of the journal that fails, counted from 1."""
        self.boxes.forget()
        if self.notes:
            self.notes.begin(self.spool, self.mail)
            self.notes.fail_read(unreadable)
        self.server.start(ready)

    def load(self, **how):
        self.clients = Clients(self.ledger, self.server.mx, seed=self.rng.randrange(1 << 30), **how)

    def end_load(self):
        if self.clients:
            self.clients.stop()
            self.clients = None

    def kill_all(self):
        """A crash of everything, with the power on."""
        self.ledger.crash()
        self.server.crash()

    def power_loss(self):
        """All processes, and what was not flushed, are gone. Needs disks or notes."""
        self.ledger.crash(dark=True)
        if self.disks:
            self.disks.cut()
        self.server.crash()
        self.ledger.light()
        self.boxes.forget()
        if self.disks:
            self.disks.back()
        else:
            self.notes.cut(self.rng, self.spool, self.mail)

    # ---- judgement --------------------------------------------------------------------------

    def look(self, until=None, since=None):
        try:
            queued = in_queue(self.server)
        except AssertionError:  # the queue is not there, or has not read its journal yet
            queued = set()
        return self.ledger.verdict(self.boxes.copies(), queued, until, since)

    def settle(self, seconds=20, patience=6, empty=True, **world):
        """The verdict once everything is at its place (empty: and the queue is), or when nothing
        has changed for `patience` seconds, or the time is over."""
        end = time.monotonic() + seconds
        seen, changed = None, 0
        while True:
            v = self.look(**world)
            now = time.monotonic()
            state = (len(v.lost), v.kept, v.extra)
            if state != seen:
                seen, changed = state, now
            if (not v.lost and (not v.kept or not empty)) or now > end or \
                    now - changed > patience:
                return v
            time.sleep(0.1)

    def explain(self, verdict):
        """What can be known of the letters that the verdict complains of."""
        some = (verdict.lost + verdict.torn + verdict.ghost + verdict.dup)[:5]
        lines = [str(verdict), str(some)]
        for n, *_ in some:
            letter = self.ledger.letters.get(n)
            if letter and letter.ident:
                lines.append(self.server.tool("trace", letter.ident, check=False).stdout)
        lines += [line for line in self.server.log().splitlines() if " letter id=" not in line][-80:]
        return "\n".join(lines)

    def close(self):
        try:
            self.end_load()
        finally:
            self.server.stop(5)
            self.hop.close()
            if self.disks:
                self.disks.close()
            self.server.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def acked(rig, n, seconds=20):
    """Waits until so many more letters were acknowledged."""
    goal = rig.ledger.acked() + n
    wait_for(lambda: rig.ledger.acked() >= goal, seconds, 0.01, f"{n} letters acknowledged")
