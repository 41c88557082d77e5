"""Reports of others, read by the real command: the public suite, and what is made to do harm."""
import base64
import email.utils
import glob
import gzip
import io
import json
import os
import subprocess
import tempfile
import zipfile
import zlib

import pytest
from harness.server import LETTERLOCK

SUITE = os.path.join(os.environ.get("LETTERLOCK_TESTDATA", os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../../../shared/testdata")), "reports-mailauth-rs")


def command(*words, data=None):
    return subprocess.run([LETTERLOCK, "report", *words], capture_output=True, timeout=120,
                          input=data if data is not None else b"")


def read(data):
    p = command("read", "--json", "-", data=data)
    assert p.returncode == 0, p.stderr
    return json.loads(p.stdout)


def refused(data, says):
    p = command("read", "--json", "-", data=data)
    assert p.returncode == 65 and p.stdout == b"", (p.returncode, p.stderr)
    assert says in p.stderr.decode(), p.stderr


# ---- the suite -----------------------------------------------------------------------------------

def suite(folder, *patterns):
    files = sorted(f for p in patterns for f in glob.glob(os.path.join(SUITE, folder, p)))
    if not files:
        pytest.skip("the suite reports-mailauth-rs is not there")
    for path in files:
        with open(os.path.splitext(path)[0] + ".json", encoding="utf-8") as f:
            yield os.path.basename(path), path, json.load(f)


def word(w):
    """The suite's names for values, as the standards write them."""
    names = {"unspecified": None, "relaxed": "r", "strict": "s", "mailfrom": "mfrom",
             "authfailure": "auth-failure"}
    w = w.lower().replace("_", "")
    return names.get(w, w)


def same_value(want, got):
    """A value of a closed set: ours is as it was sent, the suite's is a name."""
    got = None if got is None else got.lower().replace("_", "")
    return got == word(want) or (want == "Other" and got == "sampledout")  # of RFC 7489


def dmarc_faults(want, got):
    checks = [(k, want["report_metadata"][k], got["report_metadata"][k])
              for k in ("org_name", "email", "extra_contact_info", "report_id", "date_range", "error")]
    checks.append(("version", want["version"], float(got["version"] or 0)))
    w, g = want["policy_published"], got["policy_published"]
    checks += [(k, w[k], g[k]) for k in ("domain", "version_published", "fo")]
    checks.append(("testing", w["testing"], g["testing"] == "y"))
    faults = [c for c in checks if c[1] != c[2]]
    faults += [(k, w[k], g[k]) for k in ("adkim", "aspf", "p", "sp", "np", "discovery_method")
               if k in w and not same_value(w[k], g[k])]
    if len(want["record"]) != len(got["record"]):
        faults.append(("records", len(want["record"]), len(got["record"])))
    for w, g in zip(want["record"], got["record"]):
        faults += record_faults(w, g)
    extensions = (got.get("extensions") or {"extension": []})["extension"]
    if extensions != want["extensions"]:
        faults.append(("extensions", want["extensions"], extensions))
    return faults


def record_faults(want, got):
    w, g = want["row"], got["row"]
    faults = [(k, w[k], g[k]) for k in ("source_ip", "count") if w[k] != g[k]]
    w, g = w["policy_evaluated"], g["policy_evaluated"]
    faults += [(k, w[k], g[k]) for k in ("disposition", "dkim", "spf") if not same_value(w[k], g[k])]
    reasons = [(a["type_"], b["type"]) for a, b in zip(w["reason"], g["reason"])
               if not same_value(a["type_"], b["type"]) or a["comment"] != b["comment"]]
    if reasons or len(w["reason"]) != len(g["reason"]):
        faults.append(("reason", w["reason"], g["reason"]))
    w, g = want["identifiers"], got["identifiers"]
    faults += [(k, w[k], g[k]) for k in w if (w[k] or None) != (g[k] or None)]
    for method in ("dkim", "spf"):
        w, g = want["auth_results"][method], got["auth_results"][method]
        if len(w) != len(g):
            faults.append((method, w, g))
        for a, b in zip(w, g):
            faults += [(method, k, a[k], b[k]) for k in a
                       if not (same_value(a[k], b[k]) if k in ("scope", "result")
                               else (a[k] or None) == (b[k] or None))]
    extensions = (got.get("extensions") or {"extension": []})["extension"]
    if extensions != want["extensions"]:
        faults.append(("extensions", want["extensions"], extensions))
    return faults


def test_suite_of_aggregate_reports():
    n = 0
    for name, path, want in suite("dmarc-feedback", "*.xml", "*.eml"):
        with open(path, "rb") as f:
            got = read(f.read())["feedback"]
        assert dmarc_faults(want, got) == [], name
        n += 1
    assert n == 10


def squeezed(text):
    return None if text is None else "".join(text.split())


def failure_faults(want, got):
    same = ["original_envelope_id", "original_mail_from", "reported_domain", "reported_uri",
            "reporting_mta", "source_ip", "user_agent", "dkim_adsp_dns", "dkim_domain",
            "dkim_identity", "dkim_selector", "dkim_selector_dns"]
    faults = [(k, want[k], got[k]) for k in same if want[k] != got[k]]
    faults += [(k, want[k], got[k]) for k in ("feedback_type", "auth_failure", "delivery_result",
                                              "identity_alignment") if not same_value(want[k], got[k])]
    faults += [(k, want[k], got[k]) for k in ("dkim_canonicalized_body", "dkim_canonicalized_header")
               if squeezed(want[k]) != squeezed(got[k])]
    if [squeezed(a) for a in want["authentication_results"]] != \
            [squeezed(a) for a in got["authentication_results"]]:
        faults.append(("authentication_results", want["authentication_results"]))
    if (want["version"], want["incidents"], want["source_port"]) != \
            (int(got["version"]), got["incidents"] or 1, got["source_port"] or 0):
        faults.append("numbers")
    if (want["original_rcpt_to"] or None) != (got["original_rcpt_to"] or [None])[0]:
        faults.append(("original_rcpt_to", want["original_rcpt_to"], got["original_rcpt_to"]))
    date = got["arrival_date"] or got["received_date"]
    if want["arrival_date"] != (date and email.utils.mktime_tz(email.utils.parsedate_tz(date))):
        faults.append(("date", want["arrival_date"], date))
    for part in ("message", "headers"):
        if want[part] and squeezed(want[part]) != squeezed(got[part]):
            faults.append(part)
    return faults


def test_suite_of_failure_reports():
    n = 0
    for name, path, want in suite("arf", "*.eml"):
        with open(path, "rb") as f:
            got = read(f.read())["feedback_report"]
        assert failure_faults(want, got) == [], name
        n += 1
    assert n == 5


# ---- how reports come ----------------------------------------------------------------------------

def record(ip="192.0.2.1", count=1):
    return (f"<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated>"
            "<disposition>none</disposition><dkim>fail</dkim><spf>pass</spf></policy_evaluated></row>"
            "<identifiers><header_from>example.org</header_from></identifiers><auth_results>"
            "<spf><domain>example.org</domain><result>pass</result></spf></auth_results></record>")


def report(*records, before="", name="feedback"):
    return (f"<?xml version='1.0'?>{before}<{name}><report_metadata><org_name>O</org_name>"
            "<email>o@example.net</email><report_id>1</report_id><date_range><begin>1700000000</begin>"
            "<end>1700086399</end></date_range></report_metadata><policy_published>"
            "<domain>example.org</domain><p>none</p></policy_published>" + "".join(records) +
            f"</{name}>").encode()


def zipped(*members, **names):
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w", zipfile.ZIP_DEFLATED) as z:
        for i, m in enumerate(members):
            z.writestr(f"{i}.xml", m)
        for n, m in names.items():
            z.writestr(n + "/", m)
    return b.getvalue()


def letter(content, media="application/gzip"):
    return (b"From: o@example.net\nSubject: r\nMIME-Version: 1.0\nContent-Type: multipart/mixed; "
            b"boundary=b\n\n--b\nContent-Type: text/plain\n\n<feedback>no</feedback>\n--b\nContent-Type: " +
            media.encode() + b"\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(content) +
            b"--b--\n")


def test_every_packing():
    xml = report(record(), record("2001:db8::1", 7))
    forms = [xml, b"\xef\xbb\xbf" + xml, b"\n\n" + xml, gzip.compress(xml), zipped(xml),
             letter(gzip.compress(xml)), letter(zipped(xml), "application/x-zip-compressed"),
             letter(xml, "text/xml"), letter(gzip.compress(xml), "application/octet-stream"),
             letter(gzip.compress(xml)).replace(b"\n", b"\r\n"),
             gzip.compress(xml.decode().replace("'1.0'", "'1.0' encoding='UTF-16'").encode("utf-16"))]
    for i, form in enumerate(forms):
        rows = read(form)["feedback"]["record"]
        assert [(r["row"]["source_ip"], r["row"]["count"]) for r in rows] == \
            [("192.0.2.1", 1), ("2001:db8::1", 7)], i
    with tempfile.NamedTemporaryFile() as f:
        f.write(xml)
        f.flush()
        p = command("read", f.name, f.name)
    assert p.returncode == 0 and p.stdout.count(b"2001:db8::1") == 2


def test_prefixes_unknown_elements_and_long_texts():
    xml = (b"<d:feedback xmlns:d='urn:ietf:params:xml:ns:dmarc-2.0'><d:x><d:record/></d:x>"
           b"<d:version>" + b"1" * 9000 + b"</d:version><d:report_metadata><d:org_name> a <d:b>no</d:b> b "
           b"</d:org_name></d:report_metadata></d:feedback>")
    got = read(xml)["feedback"]
    assert got["record"] == [] and len(got["version"]) == 4096
    assert "no" not in got["report_metadata"]["org_name"]


def test_terminal_sees_no_controls():
    p = command("read", "-", data=report(record("192.0.2.1&#x9b;2J")).replace(b"<org_name>O", b"<org_name>&#x9b;31mO"))
    assert p.returncode == 0 and b"\x9b" not in p.stdout and b"\xc2" not in p.stdout


# ---- harm ----------------------------------------------------------------------------------------

def gz_of(parts):
    z = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(z.compress(p) for p in parts) + z.flush()


def test_bombs_are_refused_soon_and_in_little_memory():
    """1 MiB that unpacks to 1 GiB: refused within half a second of work, in at most 64 MiB."""
    blanks = gz_of([b"<feedback>"] + [b" " * (1 << 20)] * 1024)
    rows = gz_of([b"<feedback>"] + [record().encode() * 2000] * 40)
    zip_bomb = io.BytesIO()
    with zipfile.ZipFile(zip_bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        with z.open("a.xml", "w") as member:
            member.write(b"<feedback>")
            for _ in range(64):
                member.write(b" " * (1 << 20))
    assert 1 << 19 < len(blanks) < 2 << 20
    for data, says in ((blanks, "16 MiB"), (rows, "500000 elements"), (zip_bomb.getvalue(), "200 times"),
                       (gz_of([b"<feedback>" + b" " * (8 << 20)]), "200 times"),
                       (letter(blanks), "16 MiB")):
        with tempfile.NamedTemporaryFile() as f:
            f.write(data)
            f.flush()
            p = subprocess.run(["/usr/bin/python3", "-c", PEAK, LETTERLOCK, f.name],
                               capture_output=True, text=True, timeout=120)
        status, peak_kib, cpu, said = json.loads(p.stdout)
        assert status == 65 and says in said, said
        assert peak_kib <= 64 << 10, (says, peak_kib)
        assert cpu <= 0.5, (says, cpu)


PEAK = """
import json, resource, subprocess, sys
p = subprocess.run([sys.argv[1], "report", "read", sys.argv[2]], capture_output=True, text=True)
u = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([p.returncode, u.ru_maxrss, u.ru_utime + u.ru_stime, p.stderr]))
"""


@pytest.mark.parametrize("data, says", [
    (b"", "no report"), (b"From: a@example.net\n\nhello\n", "no report"),
    (report(before="<!DOCTYPE feedback>"), "DOCTYPE"),
    (report(before="<!DOCTYPE l [<!ENTITY a 'haha'>" +
            "".join(f"<!ENTITY {b} '{('&' + a + ';') * 10}'>" for a, b in zip("abcdefghi", "bcdefghij")) +
            "]>", name="feedback").replace(b"<org_name>O", b"<org_name>&j;"), "DOCTYPE"),
    (report(before="<!DOCTYPE f [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>").replace(b">O<", b">&x;<"), "DOCTYPE"),
    (report(before="<!DOCTYPE f SYSTEM 'http://127.0.0.1:1/x.dtd'>"), "DOCTYPE"),
    (report().replace(b">O<", b">&x;<"), "not well formed"),
    (report()[:-5], "not well formed"), (report() + report(), "not well formed"),
    (b"<html></html>", "not feedback"), (b"<feedback>" + b"<a>" * 40, "32 deep"),
    (b"<feedback>" + b"<record/>" * 500001 + b"</feedback>", "500000"),
    (zipped(report(), report()), "exactly one file"), (zipped(report(), folder=b""), "exactly one file"),
    (zipped(zipped(report())), "another archive"), (gzip.compress(zipped(report())), "another archive"),
    (gzip.compress(gzip.compress(report())), "another archive"),
    (gzip.compress(report())[:-12], "damaged"), (zipped(report())[:-30], "damaged"),
    (b"\x1f\x8b" + bytes(range(256)), "damaged"), (gzip.compress(b'{"organization-name":"x"}'), "TLS report"),
    (b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 1100, "limits"),
], ids=range(22))
def test_refused(data, says):
    refused(data, says)


def test_reader_has_no_files_and_no_network():
    """Traced: the process that reads opens no file and no socket, whatever the report says."""
    if subprocess.run(["which", "strace"], capture_output=True).returncode:
        pytest.skip("strace is not there")
    with tempfile.TemporaryDirectory() as d:
        for i, data in enumerate((report(before="<!DOCTYPE f SYSTEM 'file:///etc/passwd'>"),
                                  zipped(report(record())), letter(gzip.compress(report(record()))))):
            path = os.path.join(d, "in")
            with open(path, "wb") as f:
                f.write(data)
            p = subprocess.run(["strace", "-ff", "-o", os.path.join(d, f"t{i}"), LETTERLOCK, "report", "read", path],
                               capture_output=True, timeout=120)
            if p.returncode not in (0, 65):
                pytest.skip("no process may be traced here")
            readers = [f for f in glob.glob(os.path.join(d, f"t{i}.*")) if "execve(" not in open(f).read()]
            assert len(readers) == 1
            calls = open(readers[0], encoding="utf-8", errors="replace").read().split("PR_SET_SECCOMP")[-1]
            calls = calls.split("seccomp(")[-1]
            assert "write(" in calls
            for name in ("open", "socket", "connect", "stat(", "execve"):
                assert not any(line.startswith(name) and "EACCES" not in line for line in calls.split("\n")), name


def test_usage():
    for words, says in ((["read"], b"FILE"), ([], b"read"), (["nope"], b"nope")):
        p = command(*words)
        assert p.returncode == 64 and says in p.stderr
    p = command("read", "/nonexistent")
    assert p.returncode == 66 and b"/nonexistent" in p.stderr


# ---- kept, and shown as a table ------------------------------------------------------------------

@pytest.fixture
def home():
    with tempfile.TemporaryDirectory(prefix="letterlock-test-") as d:
        os.chmod(d, 0o711)
        p = subprocess.run([LETTERLOCK, "init", "alpha.test", "--dir", d + "/s", "--port-base", "24000",
                            "--user", "ann@alpha.test", "--password-stdin"], input=b"a long password\n",
                           capture_output=True, timeout=120)
        assert p.returncode == 0, p.stderr
        yield d


def dmarc(home, *words, data=b""):
    return command("dmarc", "--dir", home + "/s", *words, data=data)


def keep(home, data):
    p = dmarc(home, "--import", "-", data=data)
    assert p.returncode == 0, p.stderr
    return p.stdout.decode()


def row(ip, count, dkim="fail", spf="fail", auth="", reason="", author="example.org"):
    return (f"<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated>"
            f"<disposition>none</disposition><dkim>{dkim}</dkim><spf>{spf}</spf>{reason}</policy_evaluated>"
            f"</row><identifiers><header_from>{author}</header_from></identifiers><auth_results>{auth}"
            "</auth_results></record>")


SIGNED = "<dkim><domain>mailer.test</domain><selector>s</selector><result>pass</result></dkim>"
LISTED = "<reason><type>mailing_list</type></reason>"


def test_table_says_who_fails_and_what_to_do(home):
    p = dmarc(home)
    assert p.returncode == 66 and b"--import" in p.stderr
    assert "1 reports taken in" in keep(home, letter(gzip.compress(report(
        row("192.0.2.1", 5, "pass", "pass"), row("192.0.2.2", 3, "fail", "pass"),
        row("192.0.2.3", 4, auth=SIGNED), row("192.0.2.4", 2, auth=SIGNED, reason=LISTED),
        row("192.0.2.5", 9), row("192.0.2.1", 1, "pass"), row("192.0.2.6", 1, "pass"), row("192.0.2.6", 1)))))
    assert "0 reports taken in, 1 were there already" in keep(home, report(row("192.0.2.1", 5)))
    got = json.loads(dmarc(home, "--since", "0", "--json").stdout)
    rows = {s["source"]: s for s in got["sources"]}
    assert [s["source"] for s in got["sources"]][0] == "192.0.2.5"  # most failures first
    numbers = {ip[-1]: (s["letters"], s["fail"], s["dkim_pass"], s["spf_pass"]) for ip, s in rows.items()}
    assert numbers == {"1": (6, 0, 6, 5), "2": (3, 0, 0, 3), "3": (4, 4, 0, 0), "4": (2, 2, 0, 0),
                       "5": (9, 9, 0, 0), "6": (2, 1, 1, 0)}
    for ip, says in (("1", "nothing"), ("2", "sign with DKIM"), ("3", "let mailer.test sign"),
                     ("4", "mailing list"), ("5", "p=none lets pass"), ("6", "some letters fail")):
        assert says in rows["192.0.2." + ip]["advice"], ip
    text = dmarc(home, "--since", "0").stdout.decode()
    assert "example.org" in text and "mailer.test" in text and len(text.splitlines()) == 11
    assert b"no aggregate report" in dmarc(home).stdout  # that one is of 2023
    assert json.loads(dmarc(home, "--since", "0", "--domain", "other.test", "--json").stdout)["sources"] == []
    assert len(json.loads(dmarc(home, "--since", "0", "--domain", "Example.ORG", "--json").stdout)["sources"]) == 6


def test_a_maildir_is_taken_in_and_what_is_wrong_is_named(home):
    for i, (folder, content) in enumerate((("new", letter(gzip.compress(report(row("192.0.2.1", 1))))),
                                           ("cur", b"From: a@example.net\n\nhello\n"),
                                           ("tmp", b"half"), ("cur", letter(zipped(report(row("192.0.2.2", 1)).replace(
                                               b"<report_id>1", b"<report_id>2")))))):
        os.makedirs(f"{home}/m/{folder}", exist_ok=True)
        with open(f"{home}/m/{folder}/{i}", "wb") as f:
            f.write(content)
    p = dmarc(home, "--import", home + "/m")
    assert p.returncode == 65 and b"2 reports taken in" in p.stdout
    assert p.stderr.count(b"\n") == 1 and b"cur/1: there is no report" in p.stderr


def test_failure_reports_are_kept(home):
    for name, path, want in suite("arf", "*.eml"):
        with open(path, "rb") as f:
            keep(home, f.read())
    got = json.loads(dmarc(home, "--json").stdout)["failures"]
    assert len(got) == 5 and {"bodyhash", "dmarc"} <= {f["failure"] for f in got}
    assert b"148.163.85.135" in dmarc(home).stdout


def test_stored_texts_are_only_texts(home):
    evil = "x'); DROP TABLE reports; --&#x9b;2J"
    keep(home, report(row(evil, 1, author=evil)).replace(b"<domain>example.org", b"<domain>" + evil.encode()))
    out = dmarc(home, "--since", "0").stdout
    assert b"DROP" in out and b"\x9b" not in out and b"\xc2" not in out
    assert stat_mode(home + "/s/lib/reports/reports.db") == 0o600 and stat_mode(home + "/s/lib/reports") == 0o700
    with open(home + "/s/lib/reports/reports.db", "r+b") as f:
        f.write(b"no database at all")
    p = dmarc(home)
    assert p.returncode != 0 and p.stderr


def stat_mode(path):
    return os.stat(path).st_mode & 0o777
