"""Thunderbird without a screen, driven by Marionette: scripts run in its own (chrome) context."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

from . import ports

# No account set-up, no start page, nothing fetched: what is asked of a host other than ourselves
# fails at once, for the proxy that all goes through is a port where nobody listens.
SETTINGS = {
    "app.update.enabled": False, "app.donation.eoy.version.viewed": 999,
    "browser.shell.checkDefaultClient": False, "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "mail.provider.suppress_dialog_on_startup": True, "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True, "mailnews.start_page.enabled": False, "mailnews.start_page.url": "",
    "mail.rights.version": 1, "network.proxy.type": 1, "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9, "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 9,
    "mail.openpgp.enable": True, "toolkit.telemetry.enabled": False, "extensions.update.enabled": False,
    "app.normandy.enabled": False, "services.settings.server": "http://127.0.0.1:9",
    "mail.inappnotifications.enabled": False,
}


class Thunderbird:
    """with Thunderbird() as t: t.know(...); t.show(letter, ["signed"]). seconds: how long a step may take,
    to start twice as long."""

    def __init__(self, seconds=20):
        self.seconds = seconds
        self.process = self.socket = None
        self.number = 0

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="ll-tb-")
        try:
            self._start(ports.pick())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.socket:
            self.socket.close()
        if self.process:
            with contextlib.suppress(ProcessLookupError):  # its own group: it has helpers
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
        self.dir.cleanup()

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def write(self, name, octets):
        with open(self.path(name), "wb") as f:
            f.write(octets)
        return self.path(name)

    def _start(self, port):
        profile, home = self.path("profile"), self.path("home")
        for folder in (profile, home):
            os.mkdir(folder, 0o700)
        settings = {**SETTINGS, "marionette.port": port}
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in settings.items()]
        self.write("profile/user.js", "".join(lines).encode())
        with open(self.path("log"), "wb") as log:
            self.process = subprocess.Popen(
                ["thunderbird", "--headless", "--no-remote", "--profile", profile, "--marionette",
                 "-remote-allow-system-access"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env={"HOME": home, "PATH": os.environ["PATH"], "TMPDIR": self.dir.name,
                                             "MOZ_CRASHREPORTER_DISABLE": "1", "LC_ALL": "C.UTF-8"})
        self._connect(port)
        self("WebDriver:NewSession", {"capabilities": {}})
        self("Marionette:SetContext", {"value": "chrome"})
        self("WebDriver:SetTimeouts", {"script": self.seconds * 1000})

    def _connect(self, port):
        end = time.monotonic() + 2 * self.seconds
        while True:
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), self.seconds + 10)
                break
            except OSError:
                time.sleep(0.2)
        self.reader = self.socket.makefile("rb")
        assert self._receive()["marionetteProtocol"] == 3

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return "thunderbird does not answer:\n" + f.read()[-3000:]

    def _receive(self):
        """A message: its length in decimal, a colon, JSON."""
        length = b""
        while not length.endswith(b":"):
            octet = self.reader.read(1)
            assert octet, self.log()
            length += octet
        return json.loads(self.reader.read(int(length[:-1])))

    def __call__(self, command, parameters):
        self.number += 1
        message = json.dumps([0, self.number, command, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(message), message))
        _, number, error, result = self._receive()
        assert number == self.number and error is None, (command, error)
        return result

    def run(self, script, *args):
        """The body of an async function, with its arguments in `arguments`; what it returns."""
        wrapped = ("const done = arguments[arguments.length - 1]; (async (...arguments_) => {" + script +
                   "})(...arguments).then(v => done({v}), e => done({e: String(e) + ' ' + (e.stack || '')}));")
        got = self("WebDriver:ExecuteAsyncScript", {"script": wrapped, "args": list(args), "newSandbox": True})
        value = got["value"]
        assert "e" not in value, value
        return value.get("v")

    def know_keys(self, own, others):
        """OpenPGP keys, armored: one's own secret ones; ones of others, verified."""
        assert self.run(KEYS, own.decode(), others.decode()) == [0, 0]

    def know_certificates(self, p12, password, ca, others):
        """One's own (PKCS #12), those of others, and the CA that vouches for all (PEM)."""
        der = ["".join(line for line in pem.decode().splitlines() if not line.startswith("-"))
               for pem in (ca, others)]
        assert self.run(CERTIFICATES, self.write("own.p12", p12), password, *der) == 0

    def show(self, letter, what):
        """What the user sees of a letter, in a window of its own: subject, text (its words), tech, signed,
        encrypted. what: those of these that are waited for; what never comes is None. Each letter has a
        file of its own, for Thunderbird keeps by name what it has read."""
        seen = self.run(SHOW, self.write(f"{self.number}.eml", letter), what, self.seconds)
        for key in ("signed", "encrypted"):  # .../message-signed-ok.svg
            seen[key] = seen[key] and seen[key].rsplit("-", 1)[1].removesuffix(".svg")
        seen["text"] = " ".join((seen["text"] or "").split())
        return seen

    def write_letter(self, kind, seal, sender, to, subject, text):
        """A signed letter (kind: pgp or smime; seal: encrypted too), as it would be sent."""
        path = self.run(WRITE, kind, seal, sender, to, subject, text)
        with open(path, "rb") as f:  # an mbox, of letters to be sent later
            last = re.split(rb"(?m)^From - .*\r?\n", f.read())[-1]
        header, body = last.split(b"\r\n\r\n", 1)  # its own notes go when it sends
        header = re.sub(rb"(?m)^(X-Mozilla|X-Identity)-.*\n([ \t].*\n)*", b"", header + b"\r\n")
        return header + b"\r\n" + body


KEYS = """
const [own, others] = arguments_;
const load = name => ChromeUtils.importESModule(`chrome://openpgp/content/modules/${name}.sys.mjs`);
const {RNP} = load("RNP"), {EnigmailKeyRing} = load("keyRing"), {PgpSqliteDb2} = load("sqliteDb");
await load("core").EnigmailCore.init();
const results = [
  [await RNP.importSecKeyBlockImpl(window, () => "", false, own, false, []), "personal"],
  [await RNP.importPubkeyBlockAutoAcceptImpl(window, others, "verified", false, []), "verified"]];
EnigmailKeyRing.clearCache();
for (const [{importedKeys}, acceptance] of results)
  for (const id of importedKeys) {
    const key = EnigmailKeyRing.getKeyById(id);
    const address = load("funcs").EnigmailFuncs.getEmailFromUserID(key.userId);
    await PgpSqliteDb2.updateAcceptance(key.fpr, [address], acceptance);
  }
EnigmailKeyRing.clearCache();
return results.map(([r]) => r.exitCode);
"""

CERTIFICATES = """
const [path, password, ca, other] = arguments_;
const store = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
file.initWithPath(path);
store.addCertFromBase64(ca, ",C,");  // trusted for mail alone
store.addCertFromBase64(other, ",,");
return store.importPKCS12File(file, password);
"""

SHOW = """
const [path, what, seconds] = arguments_;
const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
file.initWithPath(path);
const url = Services.io.newFileURI(file).mutate().setQuery("type=application/x-message-display").finalize();
const shown = window.openDialog("chrome://messenger/content/messageWindow.xhtml", "_blank",
                                "all,chrome,dialog=no", url);
const TEXTS = ".moz-text-plain, .moz-text-flowed, .moz-text-html";  // not the fields above, for printing
const look = () => {
  const message = shown.document?.getElementById("messageBrowser")?.contentWindow;
  const pane = message?.getMessagePaneBrowser?.()?.contentDocument;
  const at = id => message?.document?.getElementById(id);
  const icon = id => at(id)?.hidden === false ? at(id).getAttribute("src") : null;
  return {
    subject: at("expandedsubjectBox")?.textContent.replace("Subject:", "") ?? null,
    text: [...pane?.querySelectorAll(TEXTS) ?? []].map(part => part.innerText).join("\\n") || null,
    tech: at("cryptoBox")?.getAttribute("tech") ?? null,
    signed: icon("signedHdrIcon"), encrypted: icon("encryptedHdrIcon"),
  };
};
try {
  for (let end = Date.now() + seconds * 900;; ) {
    const seen = look();
    if ((seen.text && what.every(w => seen[w])) || Date.now() > end) return seen;
    await new Promise(resolve => window.setTimeout(resolve, 100));
  }
} finally {
  shown.close();
}
"""

WRITE = """
const [kind, seal, from, to, subject, text] = arguments_;
const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const {accounts} = MailServices, local = () => accounts.accounts.find(a => a.incomingServer?.type == "none");
if (!local()) accounts.createLocalMailAccount();
const identity = accounts.createIdentity();
Object.assign(identity, {email: from, fullName: "", composeHtml: false, doFcc: false});
if (kind == "pgp") {
  const {EnigmailKeyRing} = ChromeUtils.importESModule("chrome://openpgp/content/modules/keyRing.sys.mjs");
  const own = EnigmailKeyRing.getAllKeys().keyList.find(key => key.secretAvailable);
  identity.setUnicharAttribute("openpgp_key_id", own.keyId);
} else {
  const store = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
  const own = store.getCerts().find(certificate => certificate.emailAddress == from);
  for (const use of ["signing", "encryption"]) {
    identity.setUnicharAttribute(use + "_cert_name", own.displayName);
    identity.setCharAttribute(use + "_cert_dbkey", own.dbKey);
  }
}
identity.smtpServerKey = MailServices.outgoingServer.createServer("smtp").key;
local().addIdentity(identity);

const make = (name, type) => Cc[`@mozilla.org/messengercompose/${name};1`].createInstance(Ci[type]);
const fields = make("composefields", "nsIMsgCompFields"), letter = make("composeparams", "nsIMsgComposeParams");
Object.assign(fields, {from, to, subject, body: text, forcePlainText: true});
Object.assign(letter, {composeFields: fields, identity, format: Ci.nsIMsgCompFormat.PlainText,
                       type: Ci.nsIMsgCompType.New});
const opened = new Promise(resolve => {
  const listener = {
    onCloseWindow() {},
    onOpenWindow({docShell: {domWindow}}) {
      Services.wm.removeListener(listener);
      domWindow.addEventListener("compose-editor-ready", () => resolve(domWindow), {once: true});
    },
  };
  Services.wm.addListener(listener);
});
MailServices.compose.OpenComposeWindowWithParams(null, letter);
const writer = await opened;
await new Promise(resolve => window.setTimeout(resolve, 500));  // it looks for keys first, and then sets these
Object.assign(writer, {gSelectedTechnologyIsPGP: kind == "pgp", gSendSigned: true, gSendEncrypted: seal,
                       gUserTouchedSendSigned: true, gUserTouchedSendEncrypted: true,
                       gEncryptSubject: seal && kind == "pgp", gAttachMyPublicPGPKey: false});
await writer.GenericSendMessage(Ci.nsIMsgCompDeliverMode.Later);
const {rootFolder} = local().incomingServer;
return rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Queue).filePath.path;
"""
