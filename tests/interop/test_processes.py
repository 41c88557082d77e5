"""The processes: killed ones come back, none is root, reload and stop do what they say."""
import os
import signal
import time

import pytest
from harness.server import PASSWORD, Server, wait_for

ROLES = ["keeper", "auth", "dns", "queue", "post", "local", "relay", "front-mx", "front-sub",
         "control"]


@pytest.fixture(scope="module")
def alpha():
    with Server("alpha.test") as s:
        yield s


def status_field(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith(name + ":"):
                return line.split()[1:]
    return None


def comm(pid):
    with open(f"/proc/{pid}/comm", encoding="ascii") as f:
        return f.read().strip()


def test_every_role_runs(alpha):
    for role in ROLES:
        assert alpha.role_pids(role), role


def test_no_process_is_root_or_has_capabilities(alpha):
    """Promise 6: super alone keeps two capabilities, in a user namespace of its own."""
    own = os.readlink("/proc/self/ns/user")
    for pid in alpha.pids():
        if os.geteuid() == 0:
            assert "0" not in status_field(pid, "Uid"), f"{pid} has uid 0"
        caps = int(status_field(pid, "CapEff")[0], 16)
        if pid == alpha.process.pid:
            assert not caps or os.readlink(f"/proc/{pid}/ns/user") != own
            assert caps & ~0b11000000 == 0, "more than CAP_SETGID and CAP_SETUID"
        elif comm(pid) == "ll-stem":  # starts control outside of that namespace, and does no more
            assert caps == 0 and status_field(pid, "NoNewPrivs") == ["1"]
        else:
            assert caps == 0 and status_field(pid, "NoNewPrivs") == ["1"]
            assert status_field(pid, "Seccomp") == ["2"], f"{pid} has no filter"


def test_a_role_has_its_own_user(alpha):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    uids = {role: status_field(alpha.role_pids(role)[0], "Uid")[0] for role in ROLES}
    assert len(set(uids.values())) == len(ROLES), uids


@pytest.mark.parametrize("role", ROLES)
def test_a_killed_role_is_back_within_a_second(alpha, role):
    old = alpha.role_pids(role)
    os.kill(old[0], signal.SIGKILL)
    start = time.monotonic()
    wait_for(lambda: set(alpha.role_pids(role)) - set(old), 5, 0.01, f"a new {role}")
    assert time.monotonic() - start < 1.0
    # Mail goes on. A front that has just begun may refuse once.
    n = len(alpha.mail("ann@alpha.test"))

    def sent():
        try:
            return not alpha.submit("ann@alpha.test")
        except OSError:
            return False
    wait_for(sent, 10, 0.2, "a letter accepted after the kill")
    alpha.wait_mail("ann@alpha.test", n + 1)


def test_a_killed_front_ends_its_own_sessions_only():
    with Server("alpha.test", settings={"mx_workers": 2}) as s:
        sessions = [s.smtp("mx") for _ in range(12)]
        sub = s.smtp("submissions")
        sub.login("ann@alpha.test", PASSWORD)
        os.kill(s.role_pids("front-mx")[0], signal.SIGKILL)
        time.sleep(0.3)
        alive = 0
        for c in sessions:
            try:
                alive += c.noop()[0] == 250
            except OSError:
                pass
        assert 0 < alive < 12, "with two workers, some sessions live on, some do not"
        assert sub.noop()[0] == 250
        for c in sessions + [sub]:
            c.close()


def test_reload_takes_all_or_nothing():
    with Server("alpha.test") as s:
        s.set("message_size", "100K")
        s.tool("reload")

        def size():
            with s.smtp("mx") as c:
                c.ehlo()
                return c.esmtp_features["size"]
        wait_for(lambda: size() == "102400", what="the new size")
        with open(s.conf, "a", encoding="utf-8") as f:
            f.write("nonsense = yes\n")
        bad = s.tool("reload", check=False)
        assert bad.returncode == 78 and "nonsense" in bad.stdout + bad.stderr
        assert size() == "102400"


def test_sessions_survive_a_reload(alpha):
    with alpha.smtp("submissions") as c:
        c.login("ann@alpha.test", PASSWORD)
        alpha.tool("reload")
        time.sleep(0.3)
        assert c.noop()[0] == 250


def test_stop_says_421_and_ends():
    with Server("alpha.test", settings={"drain": "5s"}) as s:
        idle = s.smtp("mx")
        s.process.send_signal(signal.SIGTERM)
        code, _ = idle.getreply()
        assert code == 421
        assert s.process.wait(10) == 0
        idle.close()


def test_stop_lets_a_letter_finish():
    with Server("alpha.test", settings={"drain": "10s"}) as s:
        c = s.smtp("mx")
        c.ehlo()
        c.mail("x@elsewhere.test")
        c.rcpt("ann@alpha.test")
        assert c.docmd("DATA")[0] == 354
        s.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        c.send(b"Subject: last\r\n\r\none\r\n.\r\n")
        assert c.getreply()[0] == 250
        s.process.wait(15)
        c.close()
        s.start()
        s.wait_mail("ann@alpha.test", 1)


def test_status_and_stop_commands():
    with Server("alpha.test") as s:
        text = s.tool("status")
        for role in ROLES:
            assert role in text
        s.tool("stop")
        assert s.process.wait(15) == 0
        gone = s.tool("status", check=False)
        assert gone.returncode == 69
