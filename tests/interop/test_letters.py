"""What we compose others read the same way, and the reverse: GMime and Python's email, over a corpus
made by chance (a fixed one) of odd names, long words, emoji, right-to-left text and binaries."""
import base64
import email
import email.header
import email.message
import email.policy
import email.utils
import json
import os
import random
import subprocess

import pytest

from harness.server import BUILD

OURS = os.path.join(BUILD, "tests", "interop", "letters")
GMIME = os.path.join(BUILD, "tests", "interop", "letters-gmime")
N = 120

WORDS = ["hello", "Grüße", "日本語", "שלום", "مرحبا", "😀", "👩‍👩‍👧", "naïve", "=?utf-8?q?no?=", "a" * 90, "é" * 60,
         "x,y", "\"quoted\"", "\\", "(comment)", "<angle>", "semi;colon", "dot.", "=", "?", "_", "%41", "it's",
         "\u202eevil", "ﷺ", "ß", "—", "1/2", "&amp;", "@", "İ"]


def words(r, most):
    return " ".join(r.choice(WORDS) for _ in range(r.randrange(1, most)))


def text(r):
    lines = []
    for _ in range(r.randrange(0, 8)):
        lines.append(r.choice(["", words(r, 30), "From the start", "trailing  ", ".", "..", "> quoted", "-- ",
                               "  indented", "=20", "x" * 998, "x" * 2000, "\tTab\t"]))
    return "".join(line + "\n" for line in lines)


def spec(r):
    def people():
        return [[r.choice(["", words(r, 5)]), r.choice(["a@example.org", "o'x+y@sub.example.org",
                                                         "\"a b\"@example.org"])]
                for _ in range(r.randrange(1, 6))]

    def file():
        octets = r.choice([b"", bytes(range(1, 256)), r.randbytes(3000).replace(b"\0", b"1"), b"one\ntwo\r\n",
                           "Grüße\r\n".encode(), b"From x\r\n.\r\n"])
        return {"octets": base64.b64encode(octets).decode(), "type": r.choice(["application/pdf", "image/png",
                "application/octet-stream"]), "name": r.choice(["", words(r, 4).replace("/", "_")[:80] + ".pdf"]),
                "description": r.choice(["", words(r, 6)])}

    return {"subject": words(r, 20), "from": people()[:1], "to": people(), "text": text(r),
            "html": r.choice(["", "<p>" + words(r, 20)]), "flowed": False,
            "parts": [file() for _ in range(r.randrange(0, 4))]}


@pytest.fixture(scope="module")
def specs():
    r = random.Random(7)
    return [spec(r) for _ in range(N)]


def run(program, what, items):
    if not os.path.exists(program):
        pytest.skip(f"{os.path.basename(program)} was not built (libgmime-3.0-dev)")
    out = subprocess.run([program, what], input="".join(json.dumps(i) + "\n" for i in items).encode(),
                         stdout=subprocess.PIPE, timeout=120, check=True).stdout
    answers = [json.loads(line) for line in out.splitlines()]
    assert len(answers) == len(items)
    return answers


def lines(s):
    return s.replace("\r\n", "\n")


def wanted(s):
    """What a reader must find in the letter of a spec, in the order of its leaves."""
    parts = []
    if s["text"] or not s["html"]:
        parts.append(["text/plain", "", s["text"]])
    if s["html"]:
        parts.append(["text/html", "", s["html"] + "\n"])
    parts += [[p["type"], p["name"], p["octets"]] for p in s["parts"]]
    return {"subject": s["subject"], "from": s["from"], "to": s["to"], "parts": parts}


def found(answer):
    """The same of what a reader answered: text as text, other parts as octets."""
    parts = []
    for kind, name, octets, content in answer["parts"]:
        parts.append([kind, name, lines(content) if kind.startswith("text/") else octets])
    return {"subject": answer["subject"], "from": answer["from"], "to": answer["to"], "parts": parts}


def python_reads(octets):
    m = email.message_from_bytes(octets, policy=email.policy.compat32)

    def decoded(value):
        return str(email.header.make_header(email.header.decode_header(" ".join(value.split("\r\n ")))))

    def people(field):
        # names are decoded behind the parsing, as a comma in one is no comma of the list
        return [[decoded(name) if name else "", address]
                for name, address in email.utils.getaddresses([m[field].replace("\r\n", "")])]

    parts = []
    for p in m.walk():
        if p.is_multipart():
            continue
        content = p.get_payload(decode=True)
        name = p.get_filename() or ""
        parts.append([p.get_content_type(), name, base64.b64encode(content).decode(),
                      content.decode(p.get_content_charset("us-ascii"))
                      if p.get_content_maintype() == "text" else ""])
    return {"subject": decoded(m["Subject"].replace("\r\n", "")), "from": people("From"), "to": people("To"),
            "parts": parts}


def python_writes(s):
    m = email.message.EmailMessage(policy=email.policy.SMTP)
    m["Subject"] = s["subject"]
    for field in ("From", "To"):
        m[field] = [email.headerregistry.Address(name, addr_spec=address) for name, address in s[field.lower()]]
    m.set_content(s["text"], cte="quoted-printable")
    if s["html"]:
        m.add_alternative(s["html"] + "\n", subtype="html", cte="base64")
    for p in s["parts"]:
        main, sub = p["type"].split("/")
        m.add_attachment(base64.b64decode(p["octets"]), main, sub, filename=p["name"] or None)
    return bytes(m)


def letters_of(answers):
    return [base64.b64decode(a["letter"]) for a in answers]


def test_what_we_write_is_safe(specs):
    for s in specs:
        s["flowed"] = True
    flowed = letters_of(run(OURS, "write", specs))
    for s in specs:
        s["flowed"] = False
    for letter in letters_of(run(OURS, "write", specs)) + flowed:
        assert letter.isascii() and b"\0" not in letter
        for line in letter.split(b"\r\n"):
            assert len(line) <= 78 and not line.endswith((b" ", b"\t")) and not line.startswith(b"From ")
            assert b"\n" not in line and b"\r" not in line


@pytest.mark.parametrize("reader", ["ours", "gmime", "python"])
def test_ours_read(specs, reader):
    written = run(OURS, "write", specs)
    if reader == "python":
        answers = [python_reads(letter) for letter in letters_of(written)]
    else:
        answers = run(OURS if reader == "ours" else GMIME, "read", written)
    for s, answer in zip(specs, answers):
        assert found(answer) == wanted(s)


def loosened(s, answer):
    """What others write, but for their ways with line ends at the end of a text, with blanks between
    words, and with the empty text part that they write where we write none."""
    have, want = found(answer), wanted(s)
    if not s["text"] and s["html"]:
        have["parts"].pop(0)
    for x in have, want:
        x["parts"] = [[k, n, c.rstrip("\n") if k.startswith("text/") else c] for k, n, c in x["parts"]]
        x["subject"] = x["subject"].replace(" ", "")
        for field in "from", "to":
            x[field] = [[name.replace(" ", ""), address] for name, address in x[field]]
    return have, want


@pytest.fixture(scope="module")
def plain(specs):
    """Without what others write wrongly: what looks like an encoded word goes out as it is, and is
    read as one; a long word in a name with specials makes Python forget the quotes."""
    return json.loads(json.dumps(specs).replace("=?utf-8?q?no?=", "no").replace("a" * 90, "aaa"))


def test_we_read_gmime(plain):
    for s, answer in zip(plain, run(OURS, "read", run(GMIME, "write", plain))):
        have, want = loosened(s, answer)
        assert have == want


def test_we_read_python(plain):
    written = [{"letter": base64.b64encode(python_writes(s)).decode()} for s in plain]
    for s, answer in zip(plain, run(OURS, "read", written)):
        have, want = loosened(s, answer)
        assert have == want
