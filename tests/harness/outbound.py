"""A server whose letters leave for peers that a test starts, on ports known beforehand."""
import contextlib
import email
import os
import re
import smtplib

from . import ports
from .server import PASSWORD, Server, wait_for

ANN = "ann@alpha.test"


class Outbound(Server):
    """with Outbound({"a.test": 'tls = "forced"'}) as s: letters for a.test go to 127.0.0.1 at
    s.port["a.test"], where a test starts its peer. A route's text may say `via` or `host` itself.

    Letters are tried after 1 s, 2 s ... and returned after 6 s, unless settings say otherwise."""

    def __init__(self, routes, settings=None, extra="", prepare=None, **kw):
        self.port = {}
        self.client = None
        for name in routes:
            while name not in self.port:
                port = ports.pick()
                if port not in self.port.values():
                    self.port[name] = port
        text = "".join(self._route(name, rest) for name, rest in routes.items())
        super().__init__("alpha.test", start=False, extra=text + extra,
                         settings={"resolver": "127.0.0.1:1", "retry_first": "1s",
                                   "queue_lifetime": "6s", **(settings or {})}, **kw)
        try:
            if prepare:
                prepare(self)
            self.start()
        except BaseException:
            self.close()
            raise

    def _route(self, name, rest):
        if not re.search(r"\bvia\b", rest):
            rest += ' via = "smarthost"'
        if not re.search(r"\bhost\b|\bvia = \"(mx|discard)\"", rest):
            rest += ' host = "127.0.0.1"'
        if not re.search(r"\bport\b|\bvia = \"(mx|discard)\"", rest):
            rest += f" port = {self.port[name]}"
        return f'route "{name}" {{\n' + re.sub(r" (\w+ = )", r"\n    \1", " " + rest) + "\n}\n"

    def key_file(self, name, source):
        """Copies a PEM file to lib/keys/NAME, as keeper's own."""
        folder = os.path.join(self.home, "lib/keys")
        path = os.path.join(folder, name)
        with open(source, "rb") as f, open(path, "wb") as out:
            out.write(f.read())
        os.chmod(path, 0o600)
        owner = os.stat(folder)
        os.chown(path, owner.st_uid, owner.st_gid)

    def close(self):
        if self.client:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self.client.close()
        super().close()

    # ---- letters ------------------------------------------------------------------------------

    def _login(self):
        if self.client:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                if self.client.rset()[0] == 250:
                    return self.client
        self.client = self.smtp("submissions")
        self.client.login(self.users[0], PASSWORD)
        return self.client

    def post(self, to, text="hello\r\n", options=(), head="", raw=None):
        """Submits a letter; returns its id."""
        to = [to] if isinstance(to, str) else list(to)
        client = self._login()
        code, reply = client.mail(self.users[0], options)
        assert code == 250, reply
        for address in to:
            code, reply = client.rcpt(address)
            assert code == 250, (address, reply)
        if raw is None:
            raw = (f"From: <{self.users[0]}>\r\nSubject: test\r\n{head}\r\n{text}").encode()
        code, reply = client.data(raw)
        assert code == 250, reply
        return reply.split()[-1].decode()

    def queued(self, ident):
        """The letter as `queue list` shows it, or None."""
        return next((q for q in self.json("queue", "list") if q["id"] == ident), None)

    def gone(self, ident, seconds=10):
        wait_for(lambda: not self.queued(ident), seconds, what=f"{ident} out of the queue")

    def deferred(self, ident, seconds=5):
        """Waits for a try that failed; the recipient's entry in the list."""
        def tried():
            q = self.queued(ident)
            assert q, f"{ident} is gone: {self.trace(ident)}"
            return next((r for r in q["rcpts"] if r["attempts"] and r["state"] == "deferred"), None)
        return wait_for(tried, seconds, what=f"deferral of {ident}")

    def why(self, ident):
        """`queue why` in one line, once the letter was tried."""
        self.deferred(ident)
        return " ".join(self.tool("queue", "why", ident).split())

    def trace(self, ident):
        return self.tool("trace", ident, check=False).stdout

    # ---- reports ------------------------------------------------------------------------------

    def find_report(self, rcpt, sender=None):
        for raw in self.mail(sender or self.users[0]):
            m = email.message_from_bytes(raw)
            if m.get_content_type() == "multipart/report":
                report = Report(m)
                if rcpt in report.recipients:
                    return report
        return None

    def report(self, rcpt, seconds=12):
        """The delivery report about a recipient."""
        return wait_for(lambda: self.find_report(rcpt), seconds, what=f"a report about {rcpt}")


class Report:
    """recipients: {address: its fields, names in lower case}; text: the part for people."""

    def __init__(self, message):
        assert message["Return-Path"] == "<>"
        people, status = message.get_payload()[:2]
        self.text = " ".join(people.get_payload(decode=True).decode("utf-8").split())
        self.recipients = {}
        for block in status.get_payload():
            fields = {k.lower(): " ".join(v.split()) for k, v in block.items()}
            if "final-recipient" in fields:
                self.recipients[fields["final-recipient"].partition(";")[2].strip()] = fields
