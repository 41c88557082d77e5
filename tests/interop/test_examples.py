"""The example programs of doc/examples, on letters."""
import os
import subprocess

from harness.auth import Mails, wire
from harness.server import LETTERLOCK

EXAMPLES = os.path.join(os.path.dirname(LETTERLOCK), "doc", "examples")
LETTER = wire("From: a@example.org\nTo: b@example.net\n\nhello\n")


def example(name, *args, letter):
    p = subprocess.run([os.path.join(EXAMPLES, "example-" + name), *args], input=letter,
                       capture_output=True, timeout=30)
    assert p.returncode == 0
    return p.stdout.decode(), p.stderr.decode()


def keys(mails):
    pem = mails.write(b"", "ed.pem")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", pem], check=True, timeout=30)
    der = subprocess.run(["openssl", "pkey", "-in", pem, "-pubout", "-outform", "DER"], check=True,
                         capture_output=True, timeout=30).stdout
    import base64
    return pem, "v=DKIM1; k=ed25519; p=" + base64.b64encode(der[-32:]).decode()


def test_dkim():
    with Mails() as mails:
        pem, record = keys(mails)
        signed = mails.sign(LETTER, "-d", "example.org", "-s", "s1", "-k", pem)
        zone = mails.write(f"s1._domainkey.example.org {record}\n".encode(), "zone")
        assert example("dkim", zone, letter=signed)[0] == "pass example.org \n"
        assert example("dkim", zone, letter=signed + b"more\r\n")[0].startswith("fail example.org")
        assert example("dkim", "/dev/null", letter=signed)[0].startswith("permerror example.org")
        assert example("dkim", zone, letter=LETTER)[0] == ""


def test_arc():
    with Mails() as mails:
        pem, _ = keys(mails)
        sealed = mails.sign(LETTER, "-d", "example.org", "-s", "s1", "-k", pem, "--arc", "mx.example.org")
        out = example("arc", letter=sealed)[0]
        assert out.startswith("asks for s1._domainkey.example.org\nfail: 1 sets, the last by \"example.org\"")
        assert example("arc", letter=LETTER)[0].startswith("none: 0 sets")


def test_authres():
    theirs = b"Authentication-Results: MX.example.org; dkim=pass\r\nAuthentication-Results: x.example; spf=fail\r\n"
    out, err = example("authres", "mx.example.org", letter=theirs + LETTER)
    assert out.startswith("Authentication-Results: mx.example.org;\r\n\tauth=none\r\n"
                          "Authentication-Results: x.example; spf=fail\r\nFrom:")
    assert "x.example says spf=fail" in err and "dkim=pass" not in err
