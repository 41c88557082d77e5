"""The crash proof, short: `make crash` runs the same campaigns long. Judge is harness/ledger.py."""
import os

import pytest

import campaigns
from harness.crash import Rig, acked
from harness.power import run


def mounts_allowed():
    return os.geteuid() == 0 and os.path.exists("/dev/loop-control") and \
        "ext4" in run("cat", "/proc/filesystems")


needs_mounts = pytest.mark.skipif(not mounts_allowed(), reason="no loop mounts of ext4 here")


def test_one_process_is_killed_after_the_other():
    assert campaigns.kill_roles(12).acked > 100


def test_all_processes_are_killed_at_once():
    assert campaigns.kill_all(3).acked > 50


def test_power_goes_and_nothing_is_left_that_posix_does_not_promise():
    assert campaigns.strict(8).acked > 50


@needs_mounts
def test_power_of_ext4_goes():
    assert campaigns.shutdowns(8).acked > 50


@needs_mounts
def test_any_moment_of_a_disk():
    figures = campaigns.images(8)
    assert figures.acked > 50 and figures.flushes > 50
    assert figures.dropped + figures.torn_writes > 0


@needs_mounts
def test_disk_fails_or_is_slow():
    assert campaigns.failing_disk(2).refused > 0


@needs_mounts
def test_disks_are_full():
    assert campaigns.full_disk(2).acked > 50


@needs_mounts
def test_no_inodes_left():
    assert campaigns.full_disk(2, inodes=True).acked > 50


def test_journal_cannot_be_read_for_now():
    assert campaigns.failing_reads(2).failed == 2


def test_memory_is_refused():
    assert campaigns.failing_allocations(12).failed > 4


@needs_mounts
def test_broken_servers_are_caught():
    said = campaigns.caught_all()
    print(f"caught {sum(v is not None for v in said.values())} of {len(said)}")
    assert None not in said.values(), said


def test_torn_tail_and_damage_never_block_the_start():
    """A segment whose end was torn, and one with octets that nobody wrote: the rest is delivered,
    and what was delivered stays so."""
    with Rig() as r:
        r.load()
        acked(r, 20)
        r.end_load()
        campaigns.judge(r, campaigns.Figures(""))
        r.server.stop()
        folder = os.path.join(r.spool, "segments")
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "ab") as f:
                f.write(b"LLJ1" + os.urandom(200))
        with open(os.path.join(folder, "00ffffff"), "wb") as f:
            f.write(os.urandom(5000))
        r.start()
        r.load()
        acked(r, 20)
        r.end_load()
        verdict = campaigns.judge(r, campaigns.Figures(""))
        assert verdict.extra == 0, "what was delivered came back to life"
