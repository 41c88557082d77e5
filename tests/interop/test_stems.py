"""Without user namespaces: root is left all the same, by one stem process a role."""
import ctypes
import os
import signal
import time

import pytest
from harness.server import Server, wait_for

ROLES = ["keeper", "auth", "dns", "queue", "post", "local", "relay", "front-mx", "front-sub",
         "control"]
SCMP_ACT_ALLOW = 0x7FFF0000
SCMP_ACT_ERRNO_EPERM = 0x00050001


def no_user_namespaces():
    """In the child before exec: unshare fails, as in many containers."""
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_init.argtypes = [ctypes.c_uint32]
    lib.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int,
                                           ctypes.c_uint, ctypes.c_void_p]
    lib.seccomp_load.argtypes = [ctypes.c_void_p]
    lib.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    f = lib.seccomp_init(SCMP_ACT_ALLOW)
    number = lib.seccomp_syscall_resolve_name(b"unshare")
    if lib.seccomp_rule_add_array(f, SCMP_ACT_ERRNO_EPERM, number, 0, None) or lib.seccomp_load(f):
        os._exit(1)


def field(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith(name + ":"):
                return line.split()[1:]
    return None


def test_roles_run_and_come_back_by_stems():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Server("alpha.test", preexec=no_user_namespaces) as s:
        wait_for(lambda: all(s.role_pids(r) for r in ROLES), 10, 0.05, "all roles")
        uids = set()
        for pid in s.pids():
            assert "0" not in field(pid, "Uid"), f"{pid} has uid 0"
            assert field(pid, "CapEff") == ["0" * 16]
            assert field(pid, "CapPrm") == ["0" * 16]
            uids.add(field(pid, "Uid")[0])
        assert len(uids) == len(ROLES) + 3  # super, and the stems of tally and report, which wait
        for role in ("keeper", "front-mx"):
            old = s.role_pids(role)
            os.kill(old[0], signal.SIGKILL)
            start = time.monotonic()
            wait_for(lambda: set(s.role_pids(role)) - set(old), 5, 0.01, f"a new {role}")
            assert time.monotonic() - start < 1.0
        wait_for(lambda: s.tool("status", check=False).returncode == 0, 5, 0.1, "status")
        s.tool("stop")
        assert s.process.wait(15) == 0
