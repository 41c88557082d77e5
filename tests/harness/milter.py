"""`letterlock milter` as a process, and a mail server's side of the protocol, octet by octet."""
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

from . import ports
from .server import LETTERLOCK


class Milter:
    """with Milter("--sign", ...) as m: it listens on 127.0.0.1:m.port (m.address for Postfix)."""

    def __init__(self, *options, port=None, listen=None, user="nobody", prefix=()):
        self.port = port or ports.pick()
        self.prefix = list(prefix)
        self.address = f"inet:127.0.0.1:{self.port}"
        self.options = ["--listen", listen or f"inet:{self.port}@127.0.0.1", *options]
        if os.geteuid() == 0 and user:
            self.options += ["--user", user]
        self.logfile = tempfile.NamedTemporaryFile(prefix="letterlock-milter-", suffix=".log")
        self.process = None
        self.start()

    def start(self):
        before = self.log().count("milter-ready")
        self.process = subprocess.Popen([*self.prefix, LETTERLOCK, "milter", *self.options],
                                        stdin=subprocess.DEVNULL, stdout=self.logfile,
                                        stderr=self.logfile)
        stop = time.monotonic() + 20
        while self.log().count("milter-ready") == before:
            if self.process.poll() is not None or time.monotonic() > stop:
                raise AssertionError("the milter did not start: " + self.log())
            time.sleep(0.02)

    def log(self):
        with open(self.logfile.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def connect(self, **kw):
        return Mta(("127.0.0.1", self.port), **kw)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop(signal.SIGKILL if kind else signal.SIGTERM)
        if kind:
            print("---- the milter's log\n" + self.log()[-4000:])
        self.logfile.close()


def frame(code, data=b""):
    return struct.pack(">I", len(data) + 1) + code + data


LEADING_SPACE = 0x100000
ALL_STEPS = 0x1fffff


class Mta:
    """A mail server that speaks to a milter. Steps: what it offers (ALL_STEPS: as Postfix)."""

    def __init__(self, address, steps=ALL_STEPS, actions=0x1ff, version=6, negotiate=True):
        self.socket = socket.create_connection(address, timeout=20)
        self.steps = 0
        if negotiate:
            self.send(frame(b"O", struct.pack(">III", version, actions, steps)))
            code, data = self.answer()
            assert code == b"O", code
            self.version, self.actions, self.steps = struct.unpack(">III", data[:12])

    def send(self, octets, piece=None):
        if not piece:
            self.socket.sendall(octets)
        else:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(0, len(octets), piece):
                self.socket.sendall(octets[i:i + piece])

    def _octets(self, n):
        data = b""
        while len(data) < n:
            got = self.socket.recv(n - len(data))
            if not got:
                raise EOFError
            data += got
        return data

    def answer(self):
        n, = struct.unpack(">I", self._octets(4))
        data = self._octets(n)
        return data[:1], data[1:]

    def closed(self):
        """True once the milter has hung up."""
        try:
            while True:
                self.answer()
        except (EOFError, ConnectionResetError):
            return True
        except socket.timeout:
            return False

    def letter(self, fields, body, ip="192.0.2.7", helo="client.test", sender="<>", macros=(),
               queue="Q1", chunk=65535, end=True):
        """The frames of one letter. fields: (name, value with the octet behind the colon)."""
        lead = self.steps & LEADING_SPACE
        out = [frame(b"D", b"Cj\0postfix.test\0"),
               frame(b"C", b"host.test\0004" + struct.pack(">H", 4711) + ip.encode() + b"\0"),
               frame(b"H", helo.encode() + b"\0"),
               frame(b"D", b"M" + b"".join(x.encode() + b"\0" for x in macros)),
               frame(b"M", sender.encode() + b"\0"), frame(b"T"),
               frame(b"D", b"Li\0" + queue.encode() + b"\0")]
        for name, value in fields:
            if not lead and value[:1] == b" ":
                value = value[1:]
            out.append(frame(b"L", name + b"\0" + value + b"\0"))
        out.append(frame(b"N"))
        out += [frame(b"B", body[i:i + chunk]) for i in range(0, len(body), chunk)]
        if end:
            out.append(frame(b"E"))
        return b"".join(out)

    def end(self):
        """All answers up to the one that ends the letter."""
        answers = []
        while True:
            code, data = self.answer()
            if code == b"c" and not answers and not self.steps:
                continue  # one for each command
            answers.append((code, data))
            if code in b"catryd":
                return answers

    def apply(self, fields, answers):
        """The header as this server would send it, the changes made."""
        fields = list(fields)
        for code, data in answers:
            if code == b"i":
                name, value, _ = data[4:].split(b"\0")
                value = value if self.steps & LEADING_SPACE else b" " + value
                fields.insert(struct.unpack(">I", data[:4])[0], (name, value))
            elif code == b"m":
                name, value, _ = data[4:].split(b"\0")
                assert value == b""
                at = [i for i, f in enumerate(fields) if f[0].strip().lower() == name.lower()]
                del fields[at[struct.unpack(">I", data[:4])[0] - 1]]
        return b"".join(n + b":" + re.sub(rb"\r?\n", b"\r\n", v) + b"\r\n" for n, v in fields)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
