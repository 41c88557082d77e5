"""~/.config/letterlock/config: which account counts, what it adds, what is wrong with a file; the
keyring, with GNOME's."""
import json
import os
import re
import shutil
import subprocess

import pytest
from harness.server import LETTERLOCK, PASSWORD, TOP, Server, wait_for

LETTER = "From: Ann <ann@alpha.test>\nTo: bob@beta.test\nSubject: hello\n\nhello\n"
ACCOUNTS = """
default = home
account work { from = "ann@work.test" server = "smtp.work.test:2587" user = ann password-command = "echo secret" }
account home { from = "ann@alpha.test" server = "mx.alpha.test:465" }
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / ".config/letterlock").mkdir(parents=True)
    return tmp_path


def settle(home, text, mode=0o600):
    path = home / ".config/letterlock/config"
    path.write_text(text)
    path.chmod(mode)
    return path


def send(home, *args, letter=LETTER, env=None):
    clean = {"HOME": str(home), "PATH": os.environ["PATH"], **(env or {})}
    return subprocess.run([LETTERLOCK, "send", *args], input=letter, capture_output=True, text=True,
                          env=clean, timeout=60)


def plan(home, *args, **kw):
    p = send(home, "--dry-run", "bob@beta.test", *args, **kw)
    assert p.returncode == 0, p.stderr
    return p.stdout


@pytest.mark.parametrize("args, letter, server", [
    ([], LETTER, "mx.alpha.test:465"),                                     # by From
    (["--account", "work"], LETTER, "smtp.work.test:2587, login ann"),     # by name
    (["-a", "work"], LETTER, "smtp.work.test:2587, login ann"),
    # the envelope's sender, where bounces go, does not decide how the author's letters are sealed
    (["--from", "ANN@work.test"], LETTER, "mx.alpha.test:465"),
    (["--from", ""], LETTER.replace("ann@alpha", "ann@work"), "smtp.work.test:2587, login ann"),
    (["--from", "ANN@work.test"], LETTER.replace("ann@alpha", "who@else"), "smtp.work.test:2587, login ann"),
    (["--from", "Ann <ANN@work.test>", "--text"], "hello\n", "smtp.work.test:2587, login ann"),
    ([], LETTER.replace("ann@alpha", "who@else"), "mx.alpha.test:465"),    # the default one
    (["--server", "other.test"], LETTER, "other.test:587"),                # a server of its own
    (["--account", "work", "--server", "other.test"], LETTER, "other.test:587, login ann"),
    (["--account", "work", "--user", "zoe"], LETTER, "smtp.work.test:2587, login zoe"),
])
def test_which_account(home, args, letter, server):
    settle(home, ACCOUNTS)
    assert f"server: {server}\n" in plan(home, *args, letter=letter)


def test_where_the_file_is(home, tmp_path):
    other = tmp_path / "other"
    other.write_text('account x { from = "x@x.test" server = "one.test" }')
    other.chmod(0o600)
    assert "server: one.test:587" in plan(home, "--config", str(other))
    (tmp_path / "xdg/letterlock").mkdir(parents=True)
    shutil.copy(other, tmp_path / "xdg/letterlock/config")
    assert "server: one.test:587" in plan(home, env={"XDG_CONFIG_HOME": str(tmp_path / "xdg")})
    p = send(home, "--config", str(tmp_path / "none"), "bob@beta.test")
    assert p.returncode == 78 and "none: No such file" in p.stderr
    # None at all is no fault: direct to MX.
    p = send(home, "--dry-run", "--resolver", "127.0.0.1:1", "--dns-timeout", "1", "bob@beta.test")
    assert p.returncode == 0 and "beta.test:" in p.stdout


def test_direct(home):
    settle(home, ACCOUNTS)
    out = plan(home, "--direct", "--resolver", "127.0.0.1:1", "--dns-timeout", "1")
    assert "server:" not in out
    assert send(home, "--direct", "--server", "x.test", "bob@beta.test").returncode == 64


def test_a_letter_without_from_is_the_account_s(home):
    settle(home, 'account a { from = "ann@alpha.test" server = "mx.alpha.test" }')
    assert "from: <ann@alpha.test>" in plan(home, letter="Subject: x\n\nx\n")


@pytest.mark.parametrize("text, words", [
    ("\nnonsense = 1\n", "config:2: no such option 'nonsense'; letterlock-config(5) lists"),
    ("account a { server = s.test\n  nope = 1 }", "config:2: no such option 'nope'"),
    ("account a {\n\n tls = maybe }", "config:3: `tls` takes one of: opportunistic forced implicit"),
    ('account a {\n password = "geheim" }', "config:2: `password` takes one of: keyring; a password itself "
                                            "does not belong into this file"),
    ("account a {\n from = \"Ann <a@b.test>\" }", "config:2: `from = Ann <a@b.test>`: bad address syntax; write"),
    ("account a { user = x }", "config:1: account a has a login, but no server; add `server`"),
    ("account a { server = s\n password-file = f }", "config:2: account a has a password, but no user"),
    ("account a { server = s\n user = u\n password-file = f\n password = keyring }",
     "config:3: a password has one place only"),
    ("account a { server = s\n user = u\n user = v }", "config:3: `user` was set on line 2 already"),
    ("default = b\naccount a { server = s }", "config:1: `default = b`: there is no account of that name"),
    ("account a { server = s\n sign = perhaps }", "config:2: `sign = perhaps` is neither yes nor no"),
    ("account a { server = s\n pin = {\"x\"}\n insecure = yes }", "config:3: `insecure` goes with neither"),
    ("account a { server = s", "ends inside of a section; add the `}` that is missing"),
])
def test_faults_have_a_line(home, text, words):
    path = settle(home, text)
    p = send(home, "--dry-run", "bob@beta.test")
    assert p.returncode == 78 and words in p.stderr, p.stderr
    assert str(path) in p.stderr and "geheim" not in p.stderr


def test_permissions(home):
    settle(home, ACCOUNTS, 0o644)
    p = send(home, "--dry-run", "bob@beta.test")
    assert p.returncode == 0 and "warning" in p.stderr and "can be read by others (mode 644)" in p.stderr
    settle(home, ACCOUNTS, 0o620)
    p = send(home, "--dry-run", "bob@beta.test")
    assert p.returncode == 78 and "can be written by others (mode 620)" in p.stderr


def test_unknown_account(home):
    settle(home, ACCOUNTS)
    p = send(home, "--account", "nope", "bob@beta.test")
    assert p.returncode == 78 and "there is no account nope in " in p.stderr


def test_the_manual_page_names_every_setting():
    with open(os.path.join(TOP, "doc/man/letterlock-config.5"), encoding="ascii") as f:
        page = f.read().replace("\\-", "-")
    for name in ("account", "general"):
        with open(os.path.join(TOP, f"tool/client/settings/{name}.def"), encoding="ascii") as f:
            settings = re.findall(r'^[A-Z]+\(\w+, "([\w-]+)"', f.read(), re.M)
        assert settings
        for s in settings:
            assert re.search(r"^\.BR?I? .*\b%s\b" % s, page, re.M), s


def test_the_example_is_right(home):
    with open(os.path.join(TOP, "doc/examples/client.config"), encoding="ascii") as f:
        settle(home, f.read())
    assert "there is no account nope" in send(home, "-a", "nope", "bob@beta.test").stderr


# ---- with a server ----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def alpha():
    with Server("alpha.test") as s:
        yield s


def account(alpha, password):
    cert = os.path.join(alpha.home, "lib/keys/mx.alpha.test-ecdsa.crt")
    return (f'account a {{ from = "ann@alpha.test" server = "localhost:{alpha.submissions}"\n'
            f' tls = implicit ca = "{cert}" user = "ann@alpha.test" {password} }}')


@pytest.mark.parametrize("kind", ["file", "command"])
def test_a_letter_goes_by_the_account_alone(alpha, home, kind):
    (home / "pw").write_text(PASSWORD + "\n")
    (home / "pw").chmod(0o600)
    settle(home, account(alpha, 'password-file = "~/pw"' if kind == "file" else
                         'password-command = "cat ${HOME}/pw"'))
    n = len(alpha.mail("ann@alpha.test"))
    p = send(home, "--json", "ann@alpha.test")
    assert p.returncode == 0, p.stderr
    assert json.loads(p.stdout)[0]["tls"].endswith("verified")
    alpha.wait_mail("ann@alpha.test", n + 1)


def test_no_keyring_is_said(alpha, home):
    settle(home, account(alpha, "password = keyring"))
    p = send(home, "ann@alpha.test", env={"XDG_RUNTIME_DIR": str(home)})
    assert p.returncode == 69
    assert "no keyring answers" in p.stderr and "password-command need none" in p.stderr


def test_gnome_keyring(alpha, home):
    for program in ("dbus-run-session", "gnome-keyring-daemon", "secret-tool"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    settle(home, account(alpha, "password = keyring"))
    n = len(alpha.mail("ann@alpha.test"))
    attributes = "host localhost service smtp user ann@alpha.test"
    script = f"""printf login | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1
"$0" send ann@alpha.test < letter && exit 90
printf '%s' '{PASSWORD}' | secret-tool store --label=mail {attributes} || exit 91
exec "$0" send ann@alpha.test < letter"""
    (home / "letter").write_text(LETTER)
    p = subprocess.run(["dbus-run-session", "--", "sh", "-c", script, LETTERLOCK], cwd=home, timeout=60,
                       capture_output=True, text=True,
                       env={"HOME": str(home), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(home)})
    assert p.returncode == 0, p.stdout + p.stderr
    assert f"store it with\n  secret-tool store --label=letterlock 'host' 'localhost'" in p.stderr
    assert PASSWORD not in p.stdout + p.stderr
    alpha.wait_mail("ann@alpha.test", n + 1)
