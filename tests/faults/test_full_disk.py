"""A full disk: 452, nothing that was acknowledged is lost, work goes on when there is space again;
and mostly dead segments are emptied."""
import contextlib
import os
import smtplib
import subprocess
import time

import pytest

from harness.server import Server, wait_for

DOMAIN = "full.test"


@pytest.fixture
def small_disk():
    s = Server(DOMAIN, users=[f"ann@{DOMAIN}"], start=False,
               settings={"trusted_networks": ["127.0.0.0/8"], "mx_workers": 1},
               extra='route "*" { via = "smarthost"\n host = "127.0.0.1"\n port = 1 }')
    spool = os.path.join(s.home, "spool")
    before = os.stat(spool) if os.path.isdir(spool) else os.stat(s.home)
    os.makedirs(spool, exist_ok=True)
    r = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,nr_inodes=2000", "tmpfs", spool],
                       capture_output=True, check=False)
    if r.returncode:
        s.close()
        pytest.skip("a tmpfs cannot be mounted here")
    os.chown(spool, before.st_uid, before.st_gid)
    os.chmod(spool, 0o700)
    try:
        s.start()
        yield s
    finally:
        s.stop()
        subprocess.run(["umount", "-l", spool], check=False)
        s.close()


def send(server, sender, rcpt, octets):
    """The reply's code; 250: acknowledged."""
    text = f"From: {sender}\r\nTo: {rcpt}\r\nSubject: full\r\n\r\n" + ("x" * 70 + "\r\n") * (
        octets // 72)
    with server.smtp() as c:
        try:
            c.sendmail(sender, [rcpt], text)
            return 250
        except smtplib.SMTPRecipientsRefused as e:
            return list(e.recipients.values())[0][0]
        except smtplib.SMTPResponseException as e:
            return e.smtp_code


def letters(server):
    out = server.json("queue", "list")
    return [x for x in out if any(r["state"] not in ("delivered", "dropped") for r in x["rcpts"])]


def test_full_and_free_again(small_disk):
    s = small_disk
    acked = 0
    code = 250
    for _ in range(200):
        code = send(s, "a@full.test", "x@far.test", 200_000)
        if code != 250:
            break
        acked += 1
    assert code == 452 and acked > 20
    # Long bodies have files of their own: full as well.
    assert send(s, "a@full.test", "x@far.test", 600_000) == 452
    assert len(letters(s)) == acked
    s.crash()
    # Another program takes the very last octet; we start all the same.
    filler = os.path.join(s.home, "spool", "filler")
    with open(filler, "wb", buffering=0) as f:
        try:
            while f.write(b"x" * 4096):
                pass
        except OSError:
            pass
    s.start()
    assert wait_for(lambda: len(letters(s)) == acked, 5)
    os.unlink(filler)
    time.sleep(1.5)
    s.tool("queue", "drop", "all")
    start = time.monotonic()
    wait_for(lambda: send(s, "a@full.test", f"ann@{DOMAIN}", 1000) == 250, 8, 0.2)
    assert time.monotonic() - start < 5
    s.wait_mail(f"ann@{DOMAIN}", 1)


def test_mostly_dead_segments_are_emptied(small_disk):
    s = small_disk
    kept = 0
    code = 250
    n = 0
    while n < 1500:
        keep = n % 20 == 0
        code = send(s, "keep@full.test" if keep else "drop@full.test", "x@far.test", 20_000)
        if code != 250:
            break
        kept += keep
        n += 1
    assert code == 452
    segments = os.path.join(s.home, "spool", "segments")
    before = len(os.listdir(segments))
    s.tool("queue", "drop", "--sender", "drop@full.test")
    # Until there is space enough again; the rest has time.
    wait_for(lambda: s.log().count("segment-emptied") >= 3 and
             len(os.listdir(segments)) < before, 30, 0.2)
    assert len(letters(s)) == kept
    s.crash()
    s.start()
    wait_for(lambda: len(letters(s)) == kept, 5)
    s.tool("queue", "drop", "all")
    wait_for(lambda: not letters(s), 5)
    s.crash()
    s.start()
    time.sleep(1)
    assert not letters(s), "a copied letter came back to life"


def test_no_room_to_empty(small_disk):
    """Others take the last octet while mostly dead segments are to be emptied: nothing is lost, no
    file is left behind by an attempt, and it goes on when there is space again."""
    s = small_disk
    kept, n, code = 0, 0, 250
    while code == 250 and n < 1500:
        keep = n % 20 == 0
        code = send(s, "keep@full.test" if keep else "drop@full.test", "x@far.test", 20_000)
        kept += keep and code == 250
        n += 1
    assert code == 452
    spool = os.path.join(s.home, "spool")
    segments = os.path.join(spool, "segments")
    with open(os.path.join(spool, "filler"), "wb", buffering=0) as f:
        with contextlib.suppress(OSError):
            while f.write(b"x" * 4096):
                pass
    # No outcome can be written now; what the operator drops is dropped when it can.
    s.tool("queue", "drop", "--sender", "drop@full.test", check=False)
    before = len(os.listdir(segments))
    time.sleep(3)
    assert len(os.listdir(segments)) <= before + 1
    assert len([x for x in letters(s) if x["sender"] == "keep@full.test"]) == kept
    s.crash()
    s.start()
    wait_for(lambda: len([x for x in letters(s) if x["sender"] == "keep@full.test"]) == kept, 5)
    os.unlink(os.path.join(spool, "filler"))
    wait_for(lambda: s.tool("queue", "drop", "--sender", "drop@full.test",
                            check=False).returncode == 0, 10, 0.2)
    wait_for(lambda: s.log().count("segment-emptied") >= 3, 30, 0.2)
    assert len(letters(s)) == kept
