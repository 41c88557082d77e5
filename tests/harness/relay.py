"""The role relay alone: the real process in its sandbox with dns and keeper beside it, and
tests/daemon/run_relay.c in the place of the queue."""
import json
import os
import shutil
import subprocess
import tempfile

from . import ports
from .server import BUILD

RUN_RELAY = os.path.join(BUILD, "tests", "daemon", "run-relay")
LETTER = b"From: <ann@alpha.test>\r\nSubject: test\r\n\r\nbody\r\n.dot\r\n"


class Relay:
    """with Relay({"smtp_port": 1234}, 'route "x.test" {...}') as r: r.send(["b@beta.test"]) gives
    a result for each recipient. Names: beta.test and its host mx.beta.test at 127.0.0.1."""

    def __init__(self, settings=None, routes="", records=()):
        self.dir = tempfile.mkdtemp(prefix="letterlock-relay-")
        os.chmod(self.dir, 0o755)
        self.listen = ports.pick()
        values = {"hostname": "mx.alpha.test", "resolver": "127.0.0.1:1", "private_targets": True,
                  "local_data": ["beta.test. MX 10 mx.beta.test.", "mx.beta.test. A 127.0.0.1",
                                 "direct.test. A 127.0.0.1", *records],
                  "state_dir": "lib", "spool_dir": "spool", "run_dir": "run", "mail_dir": "mail",
                  **(settings or {})}
        with open(self.path("conf"), "w", encoding="utf-8") as f:
            for name, value in values.items():
                f.write(f"{name} = {self._text(value)}\n")
            f.write(f'listener "mx" {{ address = {{"127.0.0.1:{self.listen}"}} kind = "mx" '
                    'tls = "none" }\n' + routes.replace("DIR", self.dir))

    @staticmethod
    def _text(value):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (list, tuple)):
            return "{" + ", ".join(Relay._text(v) for v in value) + "}"
        return str(value) if isinstance(value, int) else '"%s"' % value.replace('"', '\\"')

    def path(self, name):
        return os.path.join(self.dir, name)

    def file(self, name, content, mode=0o644):
        with open(self.path(name), "wb") as f:
            f.write(content)
        os.chmod(self.path(name), mode)

    def send(self, to, letter=LETTER, sender="ann@alpha.test", options=(), timeout=60):
        p = subprocess.run([RUN_RELAY, *options, self.path("conf"), sender, *to], input=letter,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
        assert p.returncode == 0, p.stderr.decode()
        print(p.stdout.decode(), p.stderr.decode())
        return [json.loads(line) for line in p.stdout.splitlines()]

    def one(self, to="bob@beta.test", **kw):
        return self.send([to], **kw)[0]

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
