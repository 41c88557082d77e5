"""Public suites for DKIM and ARC, through letterlock(1) and a name server of the test's own."""
import glob
import json
import os
import re
import subprocess

import pytest
import yaml
from harness.auth import Mails, suite, txt, verify, wire
from harness.dnsserver import DnsServer
from harness.server import LETTERLOCK

# ---- arc-valimail -------------------------------------------------------------------------------

def scenarios(name):
    with open(os.path.join(suite("arc-valimail"), name), encoding="utf-8") as f:
        return list(yaml.safe_load_all(f))


def arc_zone(scenario):
    records = scenario.get("txt-records") or {}
    return [txt(name, "".join(value.split("\n"))) for name, value in records.items() if value]


def test_arc_validation():
    wrong, count = [], 0
    for scenario in scenarios("arc-draft-validation-tests.yml"):
        names = list(scenario["tests"])
        with DnsServer(arc_zone(scenario)) as d, Mails() as mails:
            letters = [wire(scenario["tests"][n]["message"]) for n in names]
            results = mails.verify_all(letters, "--resolver", d.address, "--at", "12400")
        for name, result in zip(names, results):
            count += 1
            # An empty cv: the suite asserts nothing but that the chain does not pass.
            expected = (scenario["tests"][name]["cv"] or "").strip().lower() or "fail"
            got = result["arc"]["result"]
            if got != expected:
                wrong.append((name, expected, result["arc"]))
    assert count == 171
    assert not wrong, wrong


def tags(text):
    """Tag list as a dict; blanks in values are folds."""
    return {k.strip(): re.sub(r"\s+", "", v) for k, _, v in
            (t.partition("=") for t in text.split(";") if t.strip())}


def results_for(message, authserv_id):
    """The results of our own Authentication-Results fields, as the suite's signer gathers them."""
    header = message.partition("\n\n")[0]
    parts = []
    for field in re.split(r"\n(?![ \t])", header):
        name, _, body = field.partition(":")
        if name.lower() == "authentication-results":
            body = " ".join(body.split())
            if body.partition(";")[0].strip() == authserv_id:
                parts.append(body.partition(";")[2].strip())
    return "; ".join(parts)


def test_arc_signing():
    wrong, count = [], 0
    for scenario in scenarios("arc-draft-sign-tests.yml"):
        with DnsServer(arc_zone(scenario)) as d, Mails() as mails:
            key = mails.write(scenario["privatekey"].encode(), "key.pem")
            for name, case in scenario["tests"].items():
                count += 1
                letter = mails.write(wire(case["message"]))
                p = subprocess.run(
                    [LETTERLOCK, "sign", "--domain", scenario["domain"], "--selector", scenario["sel"],
                     "--key", key, "--arc", case["srv-id"], "--fields", case["sig-headers"],
                     "--results", results_for(case["message"], case["srv-id"]), "--sorted", "--json",
                     "--at", str(case["t"]), "--resolver", d.address, letter],
                    capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
                assert p.returncode == 0, (name, p.stderr)
                got = {}
                for field in re.split(r"\r\n(?![ \t])", json.loads(p.stdout)["fields"]):
                    if field:
                        got[field.partition(":")[0]] = field.partition(":")[2]
                if not case["AS"].strip():
                    if got:
                        wrong.append((name, "a set was added", got))
                    continue
                for field, expected in (("ARC-Seal", case["AS"]),
                                        ("ARC-Message-Signature", case["AMS"])):
                    if tags(got.get(field, "")) != tags(expected):
                        wrong.append((name, field, tags(got.get(field, "")), tags(expected)))
                if got.get("ARC-Authentication-Results", "").split() != case["AAR"].split():
                    wrong.append((name, "AAR", got.get("ARC-Authentication-Results"), case["AAR"]))
    assert count == 17
    assert not wrong, wrong


# ---- dkim-mailauth-rs -----------------------------------------------------------------------------

def test_mailauth_rs():
    signatures = 0
    for path in sorted(glob.glob(os.path.join(suite("dkim-mailauth-rs"), "00*.txt"))):
        with open(path, "rb") as f:
            zone, _, letter = f.read().replace(b"\r\n", b"\n").partition(b"\n\n")
        records = [txt(*line.split(" ", 1)) for line in zone.decode().split("\n") if line]
        # Each letter was sent when its newest signature says.
        at = max([int(t) for t in re.findall(rb"\bt=(\d+)", letter)] or [1700000000]) + 1
        with DnsServer(records) as d:
            result = verify(letter.replace(b"\n", b"\r\n"), "--resolver", d.address, "--at", str(at))
        assert result["dkim"], path
        for s in result["dkim"]:
            signatures += 1
            assert s["result"] == "pass", (path, s)
    assert signatures == 8


# ---- dkim-dkimpy ----------------------------------------------------------------------------------

def dkimpy(name):
    with open(os.path.join(suite("dkim-dkimpy"), name), "rb") as f:
        return f.read()


def record(name):
    return dkimpy(name).decode().strip()


FOOTBALL = [("brisbane._domainkey.football.example.com",
             "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")]


@pytest.mark.parametrize("letter, signatures", [("rfc6376.signed.msg", 2), ("rfc6376.signed.no_t.msg", 0),
                                                ("rfc6376.signed.rsa.msg", 1)])
def test_dkimpy_signed(letter, signatures):
    zone = [txt(*r) for r in FOOTBALL + [("test._domainkey.football.example.com", record("test.txt")),
                                         ("newengland._domainkey.example.com", record("test.txt"))]]
    with DnsServer(zone) as d:
        result = verify(wire(dkimpy(letter).decode()), "--resolver", d.address, "--at", "1528637909")
    # no_t has the b= of another field: it can not verify.
    assert [s["result"] for s in result["dkim"]] == (["pass"] * signatures or ["fail"]), result


# Sign a letter with a key, and verify with what the suite publishes for it.
@pytest.mark.parametrize("letter, key, published, expected", [
    ("test.message", "test.private", "test.txt", "pass"),
    ("test2.message", "test2.private", "test2.txt", "pass"),
    ("rfc6376.msg", "test.private", "test.txt", "pass"),
    ("rfc6376.w1258.msg", "test.private", "test.txt", "pass"),
    ("test_extra.message", "test.private", "test.txt", "pass"),
    ("ed25519test.msg", "ed25519test.key", "ed25519test.dns", "pass"),
    ("ed25519test2.msg", "ed25519test.key", "ed25519test.dns", "pass"),
    ("message.mbox", "test.private", "test.txt", "pass"),
    ("test.message", "1024_testkey.key", "1024_testkey_wo_markers.pub.txt", "pass"),
    ("test.message", "1024_testkey.key", "1024_testkey_wo_markers.pub.rsa.txt", "pass"),
    ("test.message", "2048_testkey.key", "2048_testkey_wo_markers.pub.txt", "pass"),
    ("test.message", "2048_testkey.key", "2048_testkey_wo_markers.pub.rsa.txt", "pass"),
    ("test.message", "2048_testkey_PKCS8.key", "2048_testkey_PKCS8.key.pub.txt", "pass"),
    ("test.message", "test.private", "test2.txt", "pass"),
    ("test.message", "test.private", "badk.txt", "permerror"),
    ("test.message", "test.private", "badversion.txt", "permerror"),
    ("test.message", "test.private", "test_bad.txt", "permerror"),
    ("test.message", "test.private", "test_tlsrpt.txt", "permerror"),
    ("test.message", "test.private", "eximtest.dns", "permerror"),
    ("test.message", "2048_testkey.key", "test.txt", "fail"),
])
def test_dkimpy_keys(letter, key, published, expected):
    text = dkimpy(letter)
    if text.startswith(b"From "):
        text = text.partition(b"\n")[2]
    pub = record(published)
    if pub.startswith("-----"):  # PEM: what is to be published is between the marks
        pub = "v=DKIM1; k=rsa; p=" + "".join(pub.split("\n")[1:-1])
    pem = dkimpy(key)
    with Mails() as mails:
        if b"PRIVATE KEY" not in pem:  # base64 of the 32 octets of Ed25519: PKCS#8 around it
            import base64
            raw = base64.b64decode(pem)
            der = bytes.fromhex("302e020100300506032b657004220420") + raw[:32]
            pem = (b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(der)
                   + b"\n-----END PRIVATE KEY-----\n")
        signed = mails.sign(wire(text.decode("latin-1"), "latin-1"), "--domain", "example.com", "--selector",
                            "test", "--key", mails.write(pem, "k.pem"))
        with DnsServer([txt("test._domainkey.example.com", pub)]) as d:
            result = verify(signed, "--resolver", d.address)
    assert [s["result"] for s in result["dkim"]][:1] == [expected], result


def test_dkimpy_no_from():
    with Mails() as mails:
        p = mails.run("sign", "--domain", "example.com", "--selector", "test", "--key",
                      mails.write(dkimpy("test.private"), "k.pem"), "-",
                      input=dkimpy("test_nofrom.message"))
    assert p.returncode == 65 and b"From" in p.stderr
