"""Letters verified a second, what hostile ones cost, and what it all costs in the server.

letterlock, libcrypto, libcrypto-key, letterlock-first and opendkim are bench-dkim (dkim.c). mailauth is the
package of Node.js, got once by npm into the build folder. rspamd is one worker of Debian's rspamd that
is asked over HTTP, with no module but DKIM, or SPF, DKIM and DMARC; what it does besides, whatever its
configuration says (it takes a letter apart and looks at its words), is in its figures. All figures are
processor time, all on the same letters."""
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time

from servers import BIN, TOP, Letterlock, cpu, wait_for
from harness.dnsserver import DnsServer  # noqa: E402  (servers.py has set the path)
from harness.rspamd import Rspamd  # noqa: E402

PROGRAM = os.path.join(BIN, "bench-dkim")
MAILAUTH = "4.13.3"  # the last that Node.js 20 can run
DKIM = ("4KiB", "1MiB", "1MiB-base64")
VARIANTS = {"opendkim": DKIM}  # the others have "all" (SPF, DKIM, DMARC; ARC where they do that), too
DRAIN_S = 120  # until what was taken must be in Maildirs
CLIENT = {"IP": "192.0.2.1", "Helo": "mx.bench.test", "From": "ann@bench.test", "Rcpt": "bob@here.test"}


@functools.lru_cache
def letters():
    """One key and its letters for the whole run; the directory goes with it."""
    d = tempfile.TemporaryDirectory(prefix="bench-dkim-")
    subprocess.run([PROGRAM, "make", d.name], check=True)
    return d


def content(name):
    with open(os.path.join(letters().name, name), "rb") as f:
        return f.read()


def zone(client):
    """What dkim.c answers, as a name server has it."""
    record = content("record").decode()
    parts = " ".join(f'"{record[i:i + 250]}"' for i in range(0, len(record), 250))
    return [f"s1._domainkey.bench.test. TXT {parts}", '_dmarc.bench.test. TXT "v=DMARC1; p=reject"',
            f'bench.test. TXT "v=spf1 ip4:{client} -all"', f'load.test. TXT "v=spf1 ip4:{client} -all"']


def words(*args):
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if p.returncode:
        raise AssertionError(p.stderr.strip())
    return p.stdout.split()


# ---- engines --------------------------------------------------------------------------------------

def by_program(*command):
    """bench-dkim and mailauth.js say the same words."""
    def rate(variant, seconds):
        _, n, _, took = words(*command, variant, letters().name, str(seconds))
        return float(n) / float(took)
    return rate


@functools.lru_cache
def mailauth():
    """The folder where it is installed. Without Node.js, or without the package, its figures are
    left out."""
    folder = os.path.join(BIN, "mailauth-" + MAILAUTH)
    if not shutil.which("node") or not shutil.which("npm"):
        raise AssertionError("Node.js is not installed")
    if not os.path.isdir(os.path.join(folder, "node_modules", "mailauth")):
        os.makedirs(folder, exist_ok=True)
        words("npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts",
              f"mailauth@{MAILAUTH}")
    return folder


def by_mailauth(variant, seconds):
    return by_program("node", os.path.join(TOP, "bench", "mailauth.js"), mailauth())(variant, seconds)


def by_rspamd(variant, seconds):
    every = variant == "all"
    letter = content("4KiB" if every else variant)
    good = {"R_DKIM_ALLOW", *(("R_SPF_ALLOW", "DMARC_POLICY_ALLOW") if every else ())}
    with DnsServer(zone("192.0.2.0/24")) as dns, Rspamd(dns.address, every=every) as r:
        for _ in range(3):
            if not good <= set(r.symbols(letter, **CLIENT)):
                raise AssertionError(f"the letter does not verify: {r.symbols(letter, **CLIENT)}")
        before, n, used = cpu(r.process.pid), 0, 0
        end = time.monotonic() + 20 * seconds
        while used < seconds and time.monotonic() < end:
            r.ask(letter, **CLIENT)
            n += 1
            used = cpu(r.process.pid) - before
        return n / used


ENGINES = {**{name: by_program(PROGRAM, name) for name in
              ("letterlock", "letterlock-first", "libcrypto", "libcrypto-key", "opendkim")},
           "mailauth": by_mailauth, "rspamd": by_rspamd}


def dkim(make, seconds):
    for variant in VARIANTS.get(make.name, (*DKIM, "all")):
        yield variant, "letters/s", ENGINES[make.name](variant, seconds)
    if make.name != "letterlock":
        return
    told = words(PROGRAM, "attack", letters().name)
    for name, ms, ratio in zip(told[::3], told[1::3], told[2::3]):
        yield f"attack/{name}", "ms", float(ms)
        yield f"attack/{name}-doubled", "times", float(ratio)
    yield from server(seconds)


# ---- through the server -----------------------------------------------------------------------------

def server(seconds):
    """Letters of a stranger into Maildirs, by 20 sessions: nobody looks who sent them, or all is looked
    at (SPF, DKIM, ARC, DMARC and iprev; a name server beside it, its answers kept by ours). The rate is that of
    taking them; processor time goes on until all are there."""
    letter = "letter=" + os.path.join(letters().name, "4KiB")
    with DnsServer(zone("127.0.0.0/8")) as dns:
        for name, how in (("unchecked", {"dmarc": "off"}),
                          ("checked", {"dmarc": "enforce", "resolver": dns.address})):
            with Letterlock(settings={"trusted_networks": [], **how}) as s:
                sent = 0
                for warm in (True, False):
                    before = cpu(s.pid)
                    r = words(os.path.join(BIN, "load"), "send", "127.0.0.1", str(s.port), "20", "100", "0",
                              str(0.3 if warm else seconds), "local.test", letter)
                    acked, took = float(r[1]), float(r[3])
                    if float(r[5]):
                        print(f"# {r[5]} sessions failed", file=sys.stderr)
                    sent += acked
                    wait_for(lambda n=sent, s=s: s.delivered() >= n, DRAIN_S, 0.2, "all letters in Maildirs")
                used = cpu(s.pid) - before
            yield f"server/{name}", "letters/s", acked / took
            yield f"server/{name}/cpu", "us/letter", used * 1e6 / acked
