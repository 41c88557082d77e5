"""A rspamd of its own, one worker, with its SPF, DKIM and DMARC modules at most; its package is unpacked where
it is not installed."""
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

import pytest

from . import ports
from .peers import end, package

START_S = 30  # until it must listen


class Rspamd:
    """with Rspamd(server.address) as r: r.symbols(letter) are the symbols of its DKIM module alone.
    key: it signs for `domain`, too, by the selector `rsa`; r.signed(letter) is the letter with that.
    every: SPF and DMARC as well. r.ask(letter, **headers) is its whole answer; a connection is kept."""

    def __init__(self, resolver, key=None, domain=None, every=False):
        root = package("rspamd")
        libraries = [os.path.join(root, "usr/lib/rspamd")] + [
            os.path.join(package(p), "usr/lib/x86_64-linux-gnu")
            for p in ("libhyperscan5", "libluajit-5.1-2", "libunwind8")]
        self.dir = tempfile.TemporaryDirectory(prefix="letterlock-rspamd-")
        self.connection = None
        self.port, work, share = ports.pick(), self.dir.name, os.path.join(root, "usr/share/rspamd")
        os.chmod(work, 0o755)
        with open(f"{work}/tld", "w", encoding="ascii") as f:
            f.write("com\norg\ntest\n")
        with open(f"{work}/conf", "w", encoding="ascii") as f:
            f.write(f"""\
options {{
  filters = ["dkim"]; url_tld = "{work}/tld"; tempdir = "{work}"; hs_cache_dir = "{work}";
  control_socket = "{work}/control mode=0600"; local_addrs = ["127.0.0.0/8"];
  dns {{ nameserver = ["127.0.0.1:{resolver.rpartition(':')[2]}:1"]; timeout = 10s; }}
}}
logging {{ type = "file"; filename = "{work}/log"; level = "info"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{self.port}"; count = 1; enabled = true; }}
worker "controller" {{ enabled = false; }}
dkim {{ skip_multi = false; trusted_only = false; }}
metric {{ name = "default"; actions {{ reject = 1000; }} }}
""")
            if every:
                f.write(f"""\
modules {{ path = "{share}/plugins/spf.lua"; path = "{share}/plugins/dmarc.lua"; }}
spf {{ }}
dmarc {{ }}
""")
            if key:
                f.write(f'lua = "{work}/sign.lua";\n')
        if key:
            shutil.copy(key, f"{work}/key")
            os.chmod(f"{work}/key", 0o644)
            with open(f"{work}/sign.lua", "w", encoding="ascii") as f:
                f.write(f"""\
rspamd_config:register_symbol({{ name = "SIGNED", type = "callback", callback = function(task)
  rspamd_plugins.dkim.sign(task, {{ domain = "{domain}", selector = "rsa", key = "{work}/key" }})
end }})
""")
        places = {"RULESDIR": f"{share}/rules", "LUALIBDIR": f"{share}/lualib",
                  "PLUGINSDIR": f"{share}/plugins", "SHAREDIR": share,
                  **{d: work for d in ("RUNDIR", "DBDIR", "LOGDIR", "CONFDIR", "LOCAL_CONFDIR")}}
        with open(f"{work}/out", "wb") as out:
            self.process = subprocess.Popen(
                [os.path.join(root, "usr/bin/rspamd"), "-f", "-i", "-c", f"{work}/conf",
                 *[f"--var={k}={v}" for k, v in places.items()]],
                env={**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT)
        stop = time.monotonic() + START_S
        while ports.free(self.port):
            if self.process.poll() is not None or time.monotonic() > stop:
                with open(f"{work}/out", encoding="utf-8", errors="replace") as f:
                    said = f.read()
                self.__exit__()
                pytest.skip("rspamd does not run here: " + said[-300:])
            time.sleep(0.05)

    def signed(self, letter):
        field = self.ask(letter)["dkim-signature"]
        field = field[0] if isinstance(field, list) else field
        return b"DKIM-Signature: " + re.sub(r"\r?\n", "\r\n", field).encode() + b"\r\n" + letter

    def symbols(self, letter, **headers):
        return {name: sorted(s.get("options", []))
                for name, s in self.ask(letter, **headers)["symbols"].items()}

    def ask(self, letter, **headers):
        if not self.connection:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            self.connection.request("POST", "/checkv2", body=letter, headers=headers)
            return json.loads(self.connection.getresponse().read())
        except (http.client.HTTPException, OSError):
            self.connection.close()
            self.connection = None
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.connection:
            self.connection.close()
        end(self.process)
        self.dir.cleanup()
