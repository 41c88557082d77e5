"""Letters verified a second in the library (dkim.c), and what hostile ones cost."""
import functools
import os
import subprocess
import tempfile

from servers import BIN

PROGRAM = os.path.join(BIN, "bench-dkim")
VARIANTS = {"letterlock": ("4KiB", "1MiB", "all"), "libcrypto": ("4KiB", "1MiB", "all"),
            "libcrypto-key": ("4KiB", "1MiB", "all"), "opendkim": ("4KiB", "1MiB")}


@functools.lru_cache
def letters():
    """One key and its letters for the whole run; the directory goes with it."""
    d = tempfile.TemporaryDirectory(prefix="bench-dkim-")
    subprocess.run([PROGRAM, "make", d.name], check=True)
    return d


def words(*args):
    p = subprocess.run([PROGRAM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode:
        raise AssertionError(p.stderr.strip())
    return p.stdout.split()


def dkim(make, seconds):
    d = letters().name
    for variant in VARIANTS[make.name]:
        _, n, _, took = words(make.name, variant, d, str(seconds))
        yield variant, "letters/s", float(n) / float(took)
    if make.name == "letterlock":
        told = words("attack", d)
        for name, ms, ratio in zip(told[::3], told[1::3], told[2::3]):
            yield f"attack/{name}", "ms", float(ms)
            yield f"attack/{name}-doubled", "times", float(ratio)
