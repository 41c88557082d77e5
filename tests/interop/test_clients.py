"""Other people's clients against letterlockd: swaks, msmtp, OpenSSL, smtplib, Postfix."""
import os
import shutil
import subprocess

import pytest
from harness.peers import Postfix
from harness.server import PASSWORD, Server


@pytest.fixture(scope="module")
def alpha():
    with Server("alpha.test", settings={"trusted_networks": []}) as s:
        yield s


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def run(args, status=0, **kw):
    p = subprocess.run(args, capture_output=True, text=True, timeout=60, **kw)
    assert p.returncode == status, f"{args}: {p.returncode}\n{p.stdout}{p.stderr}"
    return p.stdout + p.stderr


SWAKS = ["swaks", "--ehlo", "client.test", "--from", "ann@alpha.test", "--to", "ann@alpha.test"]


@pytest.mark.parametrize("how", [
    ["--port", "mx"],
    ["--port", "mx", "--tls"],
    ["--port", "submission", "--tls", "--auth", "PLAIN"],
    ["--port", "submission", "--tls", "--auth", "LOGIN"],
    ["--port", "submissions", "--tls-on-connect", "--auth", "PLAIN"],
    ["--port", "submissions", "--tls-on-connect", "--auth", "LOGIN", "--pipeline"],
])
def test_swaks(alpha, how):
    need("swaks")
    n = len(alpha.mail("ann@alpha.test"))
    args = [str(getattr(alpha, w)) if w in ("mx", "submission", "submissions") else w for w in how]
    if "--auth" in args:
        args += ["--auth-user", "ann@alpha.test", "--auth-password", PASSWORD]
    run(SWAKS + ["--server", "127.0.0.1"] + args)
    alpha.wait_mail("ann@alpha.test", n + 1)


def test_swaks_is_refused_without_tls_or_password(alpha):
    need("swaks")
    login = ["--auth", "PLAIN", "--auth-user", "ann@alpha.test", "--auth-password"]
    at = SWAKS + ["--server", "127.0.0.1", "--port"]
    out = run(at + [str(alpha.submission)] + login + [PASSWORD], status=28)
    assert "235" not in out
    out = run(at + [str(alpha.submission), "--tls"] + login + ["wrong"], status=28)
    assert "535 5.7.8" in out
    out = run(at + [str(alpha.mx), "--tls"] + login + [PASSWORD], status=28)
    assert "AUTH" not in out.split("EHLO")[-1].split("MAIL")[0]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_msmtp(alpha, tls, tmp_path):
    need("msmtp")
    n = len(alpha.mail("ann@alpha.test"))
    conf = tmp_path / "msmtprc"
    conf.write_text(f"""account default
host 127.0.0.1
port {alpha.submission if tls == "starttls" else alpha.submissions}
tls on
tls_starttls {"on" if tls == "starttls" else "off"}
tls_certcheck off
auth on
user ann@alpha.test
passwordeval cat {alpha.password_file}
from ann@alpha.test
""")
    os.chmod(conf, 0o600)
    run(["msmtp", "-C", str(conf), "ann@alpha.test"],
        input="From: ann@alpha.test\nSubject: msmtp\n\nhello\n.\n")
    assert alpha.wait_mail("ann@alpha.test", n + 1)[-1].endswith(b"\nhello\n.\n")


@pytest.mark.parametrize("version, works", [("tls1_2", True), ("tls1_3", True), ("tls1_1", False),
                                            ("tls1", False)])
def test_openssl_protocols(alpha, version, works):
    p = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{alpha.submissions}",
                        "-" + version, "-cipher", "ALL:@SECLEVEL=0", "-brief"],
                       input="QUIT\r\n", capture_output=True, text=True, timeout=20)
    assert ("CONNECTION ESTABLISHED" in p.stderr) == works, p.stderr


@pytest.mark.parametrize("kind", ["RSA", "ECDSA"])
def test_openssl_certificate_kinds(alpha, kind):
    """Both certificates are there; the client's signature algorithms choose."""
    p = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{alpha.mx}", "-starttls",
                        "smtp", "-sigalgs", "ECDSA+SHA256" if kind == "ECDSA" else "RSA-PSS+SHA256"],
                       input="QUIT\r\n", capture_output=True, text=True, timeout=20)
    assert f"Peer signature type: {'ECDSA' if kind == 'ECDSA' else 'RSA-PSS'}" in p.stdout, p.stdout


def test_openssl_renegotiation_and_alpn(alpha):
    p = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{alpha.submissions}",
                        "-alpn", "http/1.1", "-brief"], input="", capture_output=True, text=True,
                       timeout=20)
    assert "no application protocol" in p.stderr, p.stderr
    p = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{alpha.submissions}",
                        "-tls1_2"], input="R\n", capture_output=True, text=True, timeout=20)
    assert "RENEGOTIATING" not in p.stdout or "error" in p.stderr, p.stdout + p.stderr


def test_openssl_resumption_across_workers_not_listeners(alpha, tmp_path):
    session = str(tmp_path / "session")
    one = ["openssl", "s_client", "-connect", f"127.0.0.1:{alpha.submissions}", "-tls1_2"]
    run(one + ["-sess_out", session], input="QUIT\r\n")
    for _ in range(4):
        assert "Reused, TLSv1.2" in run(one + ["-sess_in", session], input="QUIT\r\n")
    other = ["openssl", "s_client", "-connect", f"127.0.0.1:{alpha.mx}", "-starttls", "smtp",
             "-tls1_2", "-sess_in", session]
    assert "New, TLSv1.2" in run(other, input="QUIT\r\n")


def test_postfix_as_client_delivers_in_order(alpha):
    """Postfix relays to us, by STARTTLS and by BDAT where it likes."""
    main = (f"transport_maps = inline:{{ alpha.test=smtp:[127.0.0.1]:{alpha.mx} }}\n"
            "smtp_tls_security_level = encrypt\nsmtp_tls_loglevel = 1\n")
    n = len(alpha.mail("ann@alpha.test"))
    with Postfix(main=main) as p:
        for i in range(20):
            p.sendmail("u@local.test", ["ann@alpha.test"],
                       f"From: u@local.test\r\nSubject: {i}\r\n\r\n.dot\r\n..two\r\n")
        letters = alpha.wait_mail("ann@alpha.test", n + 20, 30)[n:]
        assert "TLSv1.3" in p.log()
    for letter in letters:
        assert letter.endswith(b"\n\n.dot\n..two\n") and b"with ESMTPS" in letter


def test_postfix_takes_our_refusals(alpha):
    main = f"transport_maps = inline:{{ alpha.test=smtp:[127.0.0.1]:{alpha.mx} }}\n"
    with Postfix(main=main) as p:
        p.sendmail("u@local.test", ["nobody@alpha.test"], "Subject: x\r\n\r\nhi\r\n")
        from harness.server import wait_for
        report = wait_for(lambda: p.mail("u@local.test"), 20, what="Postfix's report")[0]
        assert b"550 5.1.1" in report
