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


def tree(r, depth):
    """A part of any kind, up to `depth` multiparts deep, with all that signing does not bear."""
    if depth > 3 or depth and r.random() < 0.6:
        kind = r.choice(["mixed", "alternative", "related", "digest-of-letters"])
        m = email.message.Message(policy=email.policy.compat32)
        m["Content-Type"] = f'multipart/{kind.split("-")[0] if "-" not in kind else "mixed"}; boundary="b{depth}"'
        for _ in range(r.randrange(1, 4) if depth <= 3 else 1):
            part = tree(r, depth - 1)
            if "-" in kind:
                letter = email.message.Message(policy=email.policy.compat32)
                letter["Content-Type"] = "message/rfc822"
                part["Subject"] = "inner"
                part["MIME-Version"] = "1.0"
                letter.set_payload([part])
                part = letter
            m.attach(part)
        return m
    m = email.message.Message(policy=email.policy.compat32)
    charset, octets = r.choice([("utf-8", "Grüße \n".encode()), ("iso-8859-1", "Gr\u00fc\u00dfe\n".encode("latin1")),
                                ("utf-8", b"From here\n\nand trailing \t\n"), ("us-ascii", b"plain\n"),
                                ("utf-8", "x".encode() * 5000 + b"\n"), ("iso-2022-jp", "\u65e5\u672c\n".encode("iso-2022-jp"))])
    m["Content-Type"] = f"text/{r.choice(['plain', 'html', 'x-own'])}; charset={charset}"
    if r.random() < 0.3:
        m["Content-Disposition"] = "attachment; filename*=utf-8''%C3%A4%20b.txt"
    m["Content-Transfer-Encoding"] = "7bit" if octets.isascii() else "8bit"
    m.set_payload(octets.decode("ascii", "surrogateescape"))
    return m


@pytest.fixture(scope="module")
def trees():
    r = random.Random(11)
    letters = []
    for _ in range(80):
        m = tree(r, r.choice([0, 1, 3, 3, 12, 20]))
        m["From"] = "Ann <a@example.org>"
        m["To"] = "b@example.org"
        m["Subject"] = "=?utf-8?q?Gr=C3=BC=C3=9Fe?= from here"
        m["Bcc"] = "secret@example.org"
        m["MIME-Version"] = "1.0"
        letters.append(m.as_bytes(policy=email.policy.compat32.clone(linesep="\r\n", max_line_length=None)))
    # what others leave at the ends of lines in headers, and around delimiters
    return [letter.replace(b"multipart/mixed;", b"multipart/mixed; \r\n").replace(b"\r\n\r\n--b", b"\r\n\r\npre \r\nFrom "
            b"\r\n--b", 1) for letter in letters]


def asked(letters):
    return [{"letter": base64.b64encode(letter).decode()} for letter in letters]


def test_ready_letters_made_safe(trees):
    safe = letters_of(run(OURS, "safe", asked(trees)))
    for before, after in zip(trees, safe):
        assert after.isascii() and b"Bcc:" not in after
        for line in after.split(b"\r\n"):
            assert len(line) <= 998 and not line.endswith((b" ", b"\t")) and not line.startswith(b"From ")
        assert python_reads(after) == python_reads(before)
    for a, b in zip(run(GMIME, "read", asked(trees)), run(GMIME, "read", asked(safe))):
        assert a["parts"] == b["parts"]


def test_protected_letters(trees):
    """Others find all fields and parts in what we seal, and outside no secret."""
    for before, answer in zip(trees, run(OURS, "protect", asked(trees))):
        outer, inner = base64.b64decode(answer["outer"]), base64.b64decode(answer["letter"])
        assert b"Subject: [...]\r\n" in outer and b"here" not in outer and outer.isascii()
        m = email.message_from_bytes(inner, policy=email.policy.compat32)
        assert m.get_param("hp") == "cipher"
        assert [v.replace("\r\n", "").strip() for v in m.get_all("HP-Outer")] == \
            [line.decode() for line in outer.split(b"\r\n") if line and not line.startswith(b"MIME-Version")]
        have, want = python_reads(inner), python_reads(before)
        assert have["subject"] == want["subject"] and have["from"] == want["from"]
        display = [p for p in have["parts"] if lines(p[3]).startswith("Subject: Grüße from here\n\n")]
        assert len(have["parts"]) == len(want["parts"]) and len(display) <= len(want["parts"])
        for h, w in zip(have["parts"], want["parts"]):
            assert h[:2] == w[:2]
            assert lines(h[3]).endswith(lines(w[3]))
