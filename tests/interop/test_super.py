"""letterlockd itself: the command line, the background, faults at start, the log, the sandbox."""
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from harness.server import LETTERLOCKD, Server, wait_for


@pytest.fixture
def idle():
    """A configuration that nothing runs."""
    with Server("alpha.test", start=False, settings={"drain": "2s"}) as s:
        yield s


def run(*args, **kw):
    return subprocess.run([LETTERLOCKD, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=30, check=False, **kw)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def test_usage(idle):
    assert run("--help").returncode == 0
    assert run("--version").stdout.startswith("letterlockd ")
    assert run("--nonsense").returncode == 64
    assert run("word").returncode == 64
    assert run("-t", "-c", idle.conf).returncode == 0


def test_faults_name_line_and_remedy(idle):
    with open(idle.conf, "a", encoding="utf-8") as f:
        f.write("mx_workers = many\nretry_max = 5w\n")
    for args in (["-c", idle.conf], ["-t", "-c", idle.conf], ["-f", "-c", idle.conf]):
        p = run(*args)
        assert p.returncode == 78
        assert re.search(r"letterlock\.conf:\d+: `mx_workers = many` is not a number", p.stderr)
        assert re.search(r"letterlock\.conf:\d+: `retry_max = 5w` is not a number", p.stderr)
    assert run("-c", idle.conf + ".not").returncode == 78


def in_background(server):
    """Starts without -f; returns the pid, and ends it when the test does."""
    p = run("-c", server.conf)
    assert p.returncode == 0, p.stderr
    return int(read(os.path.join(server.home, "run", "letterlockd.pid")))


def end(pid):
    os.kill(pid, signal.SIGTERM)

    def gone():
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True
    wait_for(gone, 15, 0.05, "the end of the server")


def test_background(idle):
    pid = in_background(idle)
    log = os.path.join(idle.home, "lib", "letterlock.log")
    try:
        # The command returned: everything listens.
        with socket.create_connection(("127.0.0.1", idle.mx), 5) as s:
            assert s.recv(3) == b"220"
        assert os.getsid(pid) == pid
        assert " started pid=%d " % pid in read(log)
        twice = run("-c", idle.conf)
        assert twice.returncode == 69 and "runs already" in twice.stderr
        os.rename(log, log + ".1")
        os.kill(pid, signal.SIGUSR1)
        wait_for(lambda: os.path.exists(log) and "log-reopened" in read(log), 5, 0.05, "a new log")
        os.kill(pid, signal.SIGHUP)
        wait_for(lambda: "reloaded" in read(log), 5, 0.05, "a reload")
        assert "reloaded" not in read(log + ".1")
    finally:
        end(pid)
    assert not os.path.exists(os.path.join(idle.home, "run", "letterlockd.pid"))
    assert not os.path.exists(os.path.join(idle.home, "run", "control.sock"))


def test_a_taken_port_is_told(idle):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(("127.0.0.1", idle.mx))
        s.listen()
        p = run("-c", idle.conf)
    assert p.returncode == 69
    assert f"127.0.0.1:{idle.mx}" in p.stderr and "another program has the port" in p.stderr
    assert not os.path.exists(os.path.join(idle.home, "run", "letterlockd.pid"))


def test_root_without_users_is_refused(idle):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    idle.set("uid_base", "0")
    idle.set("users", "nobody-knows-this")
    p = run("-c", idle.conf)
    assert p.returncode == 78 and "uid_base" in p.stderr


def test_empty_folders_of_root_are_taken_over(idle):
    """As systemd's RuntimeDirectory makes one."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = os.path.join(idle.home, "run")
    os.rmdir(folder)
    os.mkdir(folder, 0o755)
    end(in_background(idle))
    assert os.stat(folder).st_uid != 0


def test_a_role_that_cannot_start_is_named(idle):
    """A certificate without its key: keeper says so, and the command does not claim success."""
    for name in os.listdir(os.path.join(idle.home, "lib", "keys")):
        if name.endswith(".key"):
            os.unlink(os.path.join(idle.home, "lib", "keys", name))
    p = run("-c", idle.conf)
    assert p.returncode != 0 and "keeper" in p.stderr


def test_workers_follow_a_reload():
    with Server("alpha.test", settings={"mx_workers": 1}) as s:
        assert len(s.role_pids("front-mx")) == 1
        s.set("mx_workers", "3")
        s.tool("reload")
        wait_for(lambda: len(s.role_pids("front-mx")) == 3, 5, 0.05, "three workers")
        time.sleep(0.2)
        for _ in range(20):
            with s.smtp("mx") as c:
                assert c.noop()[0] == 250
        s.set("mx_workers", "1")
        s.tool("reload")
        wait_for(lambda: len(s.role_pids("front-mx")) == 1, 10, 0.05, "one worker")
        for _ in range(20):
            with s.smtp("mx") as c:
                assert c.noop()[0] == 250


def test_a_listener_comes_and_goes():
    with Server("alpha.test") as s:
        before = read(s.conf)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with open(s.conf, "a", encoding="utf-8") as f:
            f.write(f'listener extra {{ address = {{"127.0.0.1:{port}"}} tls = none }}\n')
        s.tool("reload")

        def greets():
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as c:
                    return c.recv(3) == b"220"
            except OSError:
                return False
        wait_for(greets, 5, 0.05, "a greeting of the new listener")
        with open(s.conf, "w", encoding="utf-8") as f:
            f.write(before)
        s.tool("reload")
        wait_for(lambda: not greets(), 5, 0.05, "the end of that listener")


def test_nothing_broke_its_sandbox():
    with Server("alpha.test") as s:
        assert not s.submit("ann@alpha.test")
        s.wait_mail("ann@alpha.test", 1)
        assert "sandbox-violation" not in s.log()
        assert "sandbox-incomplete" not in s.log()
