"""letterlock send composes: what arrives is what was written, as Python's email reads it."""
import email
import email.policy
import json
import os
import subprocess

import pytest
from harness.server import LETTERLOCK, PASSWORD, Server


@pytest.fixture(scope="module")
def alpha():
    with Server("alpha.test", users=["ann@alpha.test", "bob@alpha.test"]) as s:
        yield s


@pytest.fixture
def home(alpha, tmp_path):
    (tmp_path / ".config/letterlock").mkdir(parents=True)
    cert = os.path.join(alpha.home, "lib/keys/mx.alpha.test-ecdsa.crt")
    config = tmp_path / ".config/letterlock/config"
    config.write_text(f"""account a {{
    from = "ann@alpha.test" name = "Ännchen \\"A.\\" Example" server = "localhost:{alpha.submissions}"
    tls = implicit ca = "{cert}" user = "ann@alpha.test" password-file = "{alpha.password_file}" }}""")
    config.chmod(0o600)
    return tmp_path


def run(home, *args, text="hello\n"):
    return subprocess.run([LETTERLOCK, "send", *args], input=text.encode() if isinstance(text, str) else text,
                          capture_output=True, timeout=60, cwd=home,
                          env={"HOME": str(home), "PATH": os.environ["PATH"]})


def arrives(alpha, home, *args, to="bob@alpha.test", **kw):
    n = len(alpha.mail(to))
    p = run(home, *args, **kw)
    assert p.returncode == 0, p.stdout + p.stderr
    raw = alpha.wait_mail(to, n + 1)[-1]
    raw.decode("ascii")  # whatever was written, it needs neither 8BITMIME nor SMTPUTF8
    return email.message_from_bytes(raw, policy=email.policy.default)


def test_text(alpha, home):
    text = "Grüße\nFrom the start \n.\n" + "long words " * 30 + "\n> quoted\n"
    m = arrives(alpha, home, "--subject", "Grüße, =?x?= and " + "words " * 20, "bob@alpha.test", text=text)
    assert m["Subject"] == ("Grüße, =?x?= and " + "words " * 20).strip()
    assert m["From"].addresses[0].display_name == 'Ännchen "A." Example'
    assert m["From"].addresses[0].addr_spec == "ann@alpha.test"
    assert m["To"].addresses[0].addr_spec == "bob@alpha.test"
    assert m["Date"].datetime and m["Message-ID"] and m["MIME-Version"] == "1.0"
    assert m.get_content_type() == "text/plain" and m["Content-Type"].params["format"] == "flowed"
    lines = m.get_content().replace(" \n", " ").split("\n")  # RFC 3676: a blank at the end joins
    assert lines[0] == "Grüße" and ("long words " * 30).strip() in " ".join(lines)


def test_words_are_to(alpha, home):
    m = arrives(alpha, home, "-s", "x", "Bob Ö <bob@alpha.test>", "ann@alpha.test")
    assert [(a.display_name, a.addr_spec) for a in m["To"].addresses] == [
        ("Bob Ö", "bob@alpha.test"), ("", "ann@alpha.test")]


def test_markdown_and_files(alpha, home):
    (home / "sub").mkdir()
    (home / "sub/täbelle.csv").write_text("a;b\n1;ü\n")
    (home / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\10\6\0\0\0\x1f\x15\xc4\x89")
    (home / "fwd.eml").write_text("From: x@y.test\nSubject: in it\n\nä\n")
    m = arrives(alpha, home, "-s", "x", "--markdown", "--to", "Bob Ö <bob@alpha.test>, \"C, D\" <ann@alpha.test>",
                "--attach", "sub/täbelle.csv", "--attach", "dot.png", "--attach", "fwd.eml",
                text="# Title\n\n*so* <script>x</script> ![i](http://t.test/x.png)\n")
    assert [(a.display_name, a.addr_spec) for a in m["To"].addresses] == [
        ("Bob Ö", "bob@alpha.test"), ("C, D", "ann@alpha.test")]
    body, csv, png, fwd = m.iter_parts()
    assert m.get_content_type() == "multipart/mixed" and body.get_content_type() == "multipart/alternative"
    text, html = body.iter_parts()
    assert text.get_content().startswith("# Title")
    assert "<em>so</em>" in html.get_content() and "<script" not in html.get_content()
    assert "<img" not in html.get_content()
    assert csv.get_filename() == "täbelle.csv" and csv.get_content_type() in ("text/csv", "text/plain")
    assert csv.get_content().replace("\r\n", "\n") == "a;b\n1;ü\n"
    assert png.get_content_type() == "image/png" and png.get_content() == (home / "dot.png").read_bytes()
    assert fwd.get_content_type() == "message/rfc822" and fwd.get_content()["Subject"] == "in it"


def test_files_are_put_to_a_ready_letter(alpha, home):
    (home / "a.txt").write_text("attached\n")
    m = arrives(alpha, home, "--attach", "a.txt", "bob@alpha.test",
                text="From: ann@alpha.test\nTo: bob@alpha.test\nSubject: ready\nX-Own: kept\nMIME-Version: 1.0\n"
                     "Content-Type: text/html; charset=utf-8\n\n<p>ä</p>\n")
    first, second = m.iter_parts()
    assert m["Subject"] == "ready" and m["X-Own"] == "kept" and len(m.get_all("MIME-Version")) == 1
    assert first.get_content_type() == "text/html" and first.get_content() == "<p>ä</p>\n"
    assert second.get_content() == "attached\n" and second.get_filename() == "a.txt"


def test_fields(alpha, home):
    m = arrives(alpha, home, "--to", "bob@alpha.test", "--cc", "ann@alpha.test", "--header", "In-Reply-To: <1@x.test>",
                "--header", "X-Word: ä", "--header", "Reply-To: Zoë <zoe@x.test>")
    assert m["In-Reply-To"] == "<1@x.test>" and m["X-Word"] == "ä" and m["Subject"] is None
    assert m["Reply-To"].addresses[0].display_name == "Zoë" and m["Cc"].addresses[0].addr_spec == "ann@alpha.test"


def test_bcc_is_not_shown(alpha, home):
    m = arrives(alpha, home, "--to", "ann@alpha.test", "--bcc", "bob@alpha.test", "-s", "x")
    assert "bob" not in m.as_string().split("\n\n")[0].replace(m["Delivered-To"] or "", "") and m["Bcc"] is None
    m = arrives(alpha, home, "--bcc", "bob@alpha.test", "-s", "x")
    assert m["To"] is None and m["Bcc"] is None


@pytest.mark.parametrize("args, status, words", [
    (["--to", "nobody"], 65, "--to: nobody: "),
    (["--to", "Bob <b@x.test> extra"], 65, "--to: "),
    (["--to", "b@x.test", "--header", "Subject: y"], 64, "--header Subject: that field is not yours"),
    (["--to", "b@x.test", "--header", "Content-Type: a/b"], 64, "not yours to write"),
    (["--to", "b@x.test", "--header", "no colon"], 64, 'write "Name: value"'),
    (["--to", "b@x.test", "--header", "X: a\r\nBcc: evil@x.test"], 65, "cannot be written as a field"),
    (["--to", "b@x.test", "--subject", "a\nBcc: evil@x.test"], 65, "--subject: "),
    (["--to", "b@x.test", "--attach", "missing"], 66, "missing: No such file"),
    (["--to", "b@x.test", "--attach", "-"], 64, "standard input is the text"),
    (["--subject", "x"], 64, "no recipient"),
    (["--config", "/dev/null", "--to", "b@x.test"], 64, "who writes? --from ADDRESS"),
    (["--to", "b@x.test", "--seal", "bitmessage"], 69, "comes with the Bitmessage node"),
    (["--to", "b@x.test", "--seal", "wax"], 64, "--seal: auto, smime, pgp or none"),
])
def test_refused(home, args, status, words):
    p = run(home, *args)
    assert (p.returncode, words in p.stderr.decode()) == (status, True), (p.returncode, p.stderr)


def test_text_that_is_not_utf8(home):
    p = run(home, "--to", "b@x.test", text=b"gr\xfc\xdfe\n")
    assert p.returncode == 65 and b"not UTF-8; `iconv -t UTF-8`" in p.stderr


def test_a_program_as_attachment_is_warned_of(home):
    (home / "setup.exe").write_bytes(b"MZ\x90\0" + b"\0" * 100)
    p = run(home, "--dry-run", "--no-find", "--to", "b@alpha.test", "--attach", "setup.exe")
    assert p.returncode == 0 and b"warning: setup.exe could run as a program" in p.stderr


def test_plan_is_json(home):
    p = run(home, "--dry-run", "--json", "--to", "b@alpha.test", "-s", "x")
    o = json.loads(p.stdout)
    assert o["account"] == "a" and o["from"] == "ann@alpha.test" and o["seal"] == "none" and o["sign"] == "none"
    assert o["recipients"] == [{"address": "b@alpha.test", "alone": False}]
    assert o["letters"][0]["to"] == ["b@alpha.test"] and o["domains"][0]["domain"] == "alpha.test"
