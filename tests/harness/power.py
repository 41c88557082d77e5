"""Disks whose power can be cut. Both kinds hold a spool and a mail store on ext4 file systems of
their own, so that a flush of one does not hide a missing one of the other.

LoopDisks    loop devices; the power goes by ext4's shutdown, which drops all that is not flushed.
LoggedDisks  below them a program writes down every write and flush (tests/faults/blocklog.c). From
             that, the disk of any moment is put together: unflushed writes kept, dropped or torn.
Notes        no disk at all: by the notes of tests/faults/inject.c everything is taken away that
             POSIX does not promise."""
import bisect
import contextlib
import fcntl
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
import time

import pytest

from .server import BUILD, wait_for

TOOLS = os.path.join(BUILD, "tests", "faults")
EXT4_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
NO_LOG_FLUSH = struct.pack("I", 2)
SECTOR = 512
PARTS = {"spool": 64 << 20, "mail": 96 << 20}  # octets of each disk


def run(*args, check=True):
    r = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    if check and r.returncode:
        raise OSError(f"{' '.join(args)}: {r.stdout}")
    return r.stdout.strip()


class LoopDisks:
    """with LoopDisks(DIR) as d: d.path["spool"] and d.path["mail"] are mounted below DIR."""

    def __init__(self, top, sizes=None, inodes=None):
        self.sizes = sizes or PARTS
        self.work = tempfile.mkdtemp(prefix="letterlock-disk-",
                                     dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.path = {part: os.path.join(top, "disk-" + part) for part in self.sizes}
        self.device = {}
        try:
            for part, size in self.sizes.items():
                os.makedirs(self.path[part])
                with open(self.image(part), "wb") as f:
                    f.truncate(size)
                extra = ["-N", str(inodes[part])] if inodes else []
                run("mkfs.ext4", "-q", "-F", "-J", "size=4", "-m", "0", *extra, "-E",
                    "lazy_itable_init=0,lazy_journal_init=0", self.image(part))
            self.prepare()
            for part in self.sizes:
                self.mount(part)
        except OSError as e:
            self.close()
            pytest.skip(f"no loop mounts here: {e}")

    def image(self, part):
        return os.path.join(self.work, part)

    def source(self, part):
        return self.image(part)

    def prepare(self):
        pass

    def mount(self, part, image=None):
        self.device[part] = self._loop(image or self.source(part))
        run("mount", "-t", "ext4", "-o", "errors=remount-ro", self.device[part], self.path[part])

    @staticmethod
    def _loop(file, tries=20):
        """The device; another program may take the one that was just found free."""
        while True:
            try:
                return run("losetup", "--find", "--show", file)
            except OSError:
                tries -= 1
                if not tries:
                    raise
                time.sleep(0.1)

    def unmount(self):
        for part in self.path:
            if os.path.ismount(self.path[part]):
                wait_for(lambda p=part: not run("umount", self.path[p], check=False), 10, 0.05,
                         "unmounted")
            if part in self.device:
                run("losetup", "-d", self.device.pop(part), check=False)

    def cut(self):
        """The power goes. The mail store first: what the spool says of it is then true or older."""
        for part in ("mail", "spool"):
            fd = os.open(self.path[part], os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.ioctl(fd, EXT4_SHUTDOWN, NO_LOG_FLUSH)
            finally:
                os.close(fd)

    def back(self):
        """And is there again; all processes that used the disks have ended."""
        self.unmount()
        for part in self.sizes:
            self.mount(part)

    def close(self):
        with contextlib.suppress(OSError, AssertionError):
            self.unmount()
        shutil.rmtree(self.work, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class LoggedDisks(LoopDisks):
    def prepare(self):
        self.processes, self.control = {}, {}
        if not os.path.exists(os.path.join(TOOLS, "blocklog")):
            raise OSError("built without libfuse3")
        for part in self.sizes:
            shutil.copyfile(self.image(part), self.image(part) + ".base")
            where = self.image(part) + ".fuse"
            os.mkdir(where)
            self.processes[part] = subprocess.Popen(
                [os.path.join(TOOLS, "blocklog"), self.image(part), self.image(part) + ".log",
                 self.image(part) + ".control", where], stdin=subprocess.DEVNULL)

            def up(p=part, w=where):
                if self.processes[p].poll() is not None:
                    raise OSError("blocklog ended: FUSE is not permitted")
                return os.path.exists(w + "/disk")
            wait_for(up, 10, 0.02, "blocklog")
            with open(self.image(part) + ".control", "r+b") as f:
                self.control[part] = mmap.mmap(f.fileno(), 12)

    def source(self, part):
        return self.image(part) + ".fuse/disk"

    def fail(self, part, write_error=0, flush_error=0, flush_ms=0):
        self.control[part][:] = struct.pack("III", write_error, flush_error, flush_ms)

    def end_log(self):
        """Unmounts all, and ends the programs: the logs are whole."""
        self.unmount()
        for part, process in self.processes.items():
            run("umount", self.image(part) + ".fuse", check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()
        self.processes = {}

    def close(self):
        with contextlib.suppress(OSError, AssertionError):
            self.end_log()
        super().close()


class History:
    """What a LoggedDisks' disk looked like at any moment."""

    HEAD = struct.Struct("=QQII")

    def __init__(self, image):
        with open(image + ".base", "rb") as f:
            self.stable = bytearray(f.read())
        with open(image + ".log", "rb") as f:
            self.log = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self.records = []  # (ns, offset, length, place in the log); length 0: a flush
        at = 0
        while at < len(self.log):
            ns, offset, length, error = self.HEAD.unpack_from(self.log, at)
            at += self.HEAD.size
            if not error:
                self.records.append((ns, offset, length, at))
            at += length
        self.times = [r[0] for r in self.records]
        self.applied = 0
        self.flushes = sum(1 for r in self.records if not r[2])

    def at(self, seconds, rng, path):
        """Writes the disk as a loss of power at that time (rising from call to call) may leave it.
        Returns how many unflushed writes were kept, dropped and torn."""
        end = bisect.bisect_left(self.times, int(seconds * 1e9))
        last = max((i for i in range(self.applied, end) if not self.records[i][2]),
                   default=self.applied)
        for i in range(self.applied, last):
            self._write(self.stable, i)
        self.applied = last
        disk = bytearray(self.stable)
        mood = rng.choice(["drop", "keep", "any", "any"])
        counts = [0, 0, 0]
        for i in range(last, end):
            if self.records[i][2]:
                fate = {"keep": 0, "drop": 1}.get(mood, rng.randrange(3))
                counts[fate] += 1
                if fate != 1:
                    self._write(disk, i, rng if fate == 2 else None)
        with open(path, "wb") as f:
            f.write(disk)
        return counts

    def _write(self, disk, i, torn=None):
        _, offset, length, at = self.records[i]
        for k in range(0, length, SECTOR if torn else max(length, 1)):
            n = min(SECTOR, length - k) if torn else length
            if not torn or torn.random() < 0.5:
                disk[offset + k:offset + k + n] = self.log[at + k:at + k + n]


class Notes:
    """The shared memory of inject.c (struct notes there)."""

    HEAD = struct.Struct("=16sqqqQQ")
    FILES = NAMES = 1 << 15
    FILE, NAME = struct.Struct("=QQQQQ"), struct.Struct("=QQ104s")
    PENDING = 1

    def __init__(self, path):
        self.path = path
        size = self.HEAD.size + self.FILES * self.FILE.size + self.NAMES * self.NAME.size
        with open(path, "wb") as f:
            f.truncate(size)
        os.chmod(path, 0o666)  # every role has a user of its own
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), size)
        self.before = {}

    @staticmethod
    def key(st):
        return ((st.st_dev << 44) ^ st.st_ino) & (1 << 64) - 1

    def begin(self, *folders):
        """What is in these folders now is durable; nothing else is noted yet."""
        self.map[:] = bytes(len(self.map))
        self.before = {}
        for folder in folders:
            for top, _, names in os.walk(folder):
                for name in names:
                    st = os.stat(os.path.join(top, name))
                    self.before[self.key(st)] = st.st_size

    def fail_allocation(self, role, after, run=1):
        """The allocation of a role after so many more fails, and those behind it up to `run`."""
        self._set(b"", 0, 0)  # first nothing: the fields are read one by one
        self._set(role.encode(), after + run, run)

    def fail_read(self, after):
        """The read of a segment after so many more fails with EIO."""
        self._set(b"", 0, 0, after)

    def _set(self, role, alloc, run, read=0):
        self.map[:self.HEAD.size] = self.HEAD.pack(role, alloc, run, read, 0, self._head()[-1])

    def read_failed(self):
        """True when the read that was to fail has come."""
        return self._head()[3] <= 0

    def _head(self):
        return self.HEAD.unpack_from(self.map, 0)

    def failed_allocations(self):
        return self._head()[4]

    def cut(self, rng, *folders):
        """Takes away what was not durable; all processes have ended. Returns (names taken away,
        files cut)."""
        flushed, written, pending = {}, {}, set()
        at = self.HEAD.size
        for key, _, fresh, size, put in self.FILE.iter_unpack(self.map[at:at + self.FILES * self.FILE.size]):
            if key:
                flushed[key] = size if fresh else max(size, self.before.get(key, 0))
                written[key] = put
        at += self.FILES * self.FILE.size
        count = min(self._head()[-1], self.NAMES)
        for key, state, name in self.NAME.iter_unpack(self.map[at:at + count * self.NAME.size]):
            if state == self.PENDING:
                pending.add((key, name.partition(b"\0")[0].decode()))
        gone = cut = 0
        for folder in folders:
            for top, folders_in, names in os.walk(folder):
                key = self.key(os.stat(top))
                for name in [*names, *folders_in]:
                    path = os.path.join(top, name)
                    if (key, name) in pending:
                        gone += 1
                        shutil.rmtree(path) if name in folders_in else os.unlink(path)
                    elif name in names:
                        cut += self._cut_file(path, flushed, written, rng)
                folders_in[:] = [f for f in folders_in if (key, f) not in pending]
        return gone, cut

    def _cut_file(self, path, flushed, written, rng):
        """Some of what was not flushed may be there all the same, with holes in it; so may the
        zeros ahead of a segment's writer."""
        st = os.stat(path)
        keep = flushed.get(self.key(st), self.before.get(self.key(st), 0))
        end = written.get(self.key(st)) or st.st_size
        if end <= keep:
            return 0
        rest = rng.choice([end - keep, rng.randrange(end - keep + 1)])
        os.truncate(path, keep + rest)
        with open(path, "r+b") as f:
            for _ in range(rest // 4096 + (rest > SECTOR)):
                f.seek(keep + rng.randrange(rest - SECTOR + 1) if rest > SECTOR else keep)
                f.write(bytes(min(SECTOR, rest)))
        if end < st.st_size and rng.random() < 0.5:
            os.truncate(path, st.st_size)
        return 1

