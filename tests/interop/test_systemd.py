"""The systemd unit that is installed: behind its walls the server does all its work.

systemd itself is not started. Its filter of system calls, its refusals by argument and its bounding
set are laid on the server as systemd.exec(5) says, from the words of the unit.
"""
import ctypes
import errno
import os
import shutil
import subprocess

import pytest
from harness.server import TOP, Server, wait_for

UNIT = os.path.join(TOP, "packaging", "systemd", "letterlock.service.in")
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
MASKED_EQ = 7
PROT_EXEC = 4
CLONE_NEW = 0x7E020080  # all namespaces
CLONE_NEWUSER = 0x10000000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CAPABILITIES = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_SETGID": 6, "CAP_SETUID": 7,
                "CAP_NET_BIND_SERVICE": 10}


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("mask", ctypes.c_uint64),
                ("value", ctypes.c_uint64)]


def unit():
    """{setting: [words of all its lines]}"""
    settings = {}
    with open(UNIT, encoding="utf-8") as f:
        for line in f:
            name, eq, value = line.strip().partition("=")
            if eq and not name.startswith("#"):
                settings.setdefault(name, []).extend(value.split())
    return settings


def sets():
    """{"@set": its members}, as this machine's systemd knows them."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    known, now = {}, None
    text = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True,
                          check=True).stdout
    for line in text.splitlines():
        if line.startswith("@"):
            now = known.setdefault(line.strip(), set())
        elif line.startswith("    ") and not line.strip().startswith("#"):
            now.add(line.strip())
    return known


def allowed():
    """The system calls that the unit lets through; a word that systemd does not know is an error
    here, where systemd only warns and goes on without it."""
    known = sets()
    calls, todo = set(), list(unit()["SystemCallFilter"])
    for word in todo:
        assert word in known or word in known["@known"], f"systemd knows no {word}"
    while todo:
        word = todo.pop()
        todo.extend(known.get(word, ()))
        if not word.startswith("@"):
            calls.add(word)
    return calls


def walls():
    """A function for the child before exec."""
    settings, calls = unit(), allowed()
    lib = ctypes.CDLL("libseccomp.so.2")
    libc = ctypes.CDLL(None)
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_init.argtypes = [ctypes.c_uint32]
    lib.seccomp_load.argtypes = [ctypes.c_void_p]
    lib.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int,
                                           ctypes.c_uint, ctypes.POINTER(Compare)]
    number = lib.seccomp_syscall_resolve_name
    number.argtypes = [ctypes.c_char_p]
    arguments = lib.seccomp_init(ALLOW)

    def refuse(call, code, *compare):
        row = (Compare * max(1, len(compare)))(*compare)
        if lib.seccomp_rule_add_array(arguments, ERRNO | code, number(call), len(compare), row):
            raise OSError("seccomp_rule_add")

    if settings.get("RestrictSUIDSGID") == ["yes"]:
        refuse(b"openat2", errno.ENOSYS)
    if settings.get("MemoryDenyWriteExecute") == ["yes"]:
        refuse(b"mprotect", errno.EPERM, Compare(2, MASKED_EQ, PROT_EXEC, PROT_EXEC))
        refuse(b"mmap", errno.EPERM, Compare(2, MASKED_EQ, PROT_EXEC | 2, PROT_EXEC | 2))
    assert settings["RestrictNamespaces"] == ["user"]
    for bit in range(32):
        if CLONE_NEW & ~CLONE_NEWUSER & 1 << bit:
            refuse(b"unshare", errno.EPERM, Compare(0, MASKED_EQ, 1 << bit, 1 << bit))
    code = getattr(errno, settings["SystemCallErrorNumber"][0])
    names = lib.seccomp_init(ERRNO | code)
    for call in calls:
        if number(call.encode()) >= 0:
            lib.seccomp_rule_add_array(names, ALLOW, number(call.encode()), 0, None)
    kept = {CAPABILITIES[name] for name in settings["CapabilityBoundingSet"]}

    def preexec():
        if os.geteuid() == 0:
            for capability in range(64):
                if capability not in kept:
                    libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or lib.seccomp_load(arguments) or \
                lib.seccomp_load(names):
            os._exit(1)
    return preexec


def test_the_server_works_behind_the_walls_of_its_unit():
    ann = "ann@alpha.test"
    with Server("alpha.test", [ann], preexec=walls()) as s:
        with s.smtp() as c:
            c.sendmail("bob@beta.test", [ann], "From: bob@beta.test\r\n\r\nby 25\r\n")
        s.wait_mail(ann, 1)
        status = s.json("status")
        assert not [p for p in status if p.get("missing")], status
        log = s.log()
        assert "memfd_secret is missing" not in log and "ENOSYS" not in log
        before = s.pids()
        s.tool("reload")
        wait_for(lambda: s.tool("status", check=False).returncode == 0, 5, 0.1, "status")
        assert s.pids() == before
        s.tool("stop")
        assert s.process.wait(15) == 0
