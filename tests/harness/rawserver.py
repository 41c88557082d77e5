"""A next hop that does just what a test wants: SMTP by a table, and every octet recorded."""
import contextlib
import re
import socket
import ssl
import struct
import threading
import time


def wire(octets):
    """A letter of RawServer.letters with its dots unstuffed."""
    return re.sub(rb"(^|\r\n)\.", rb"\1", octets)


class RawServer:
    """with RawServer() as s: takes any letter at 127.0.0.1:s.port; s.octets is what all clients
    wrote, s.clear the part of it that came without TLS, s.letters the contents (as on the wire,
    dots stuffed) that ended in CR LF . CR LF or BDAT LAST, s.envelopes their (sender, recipients),
    s.accepted how many of them got a 2xx reply, s.facts of each TLS session, s.connections how
    many there were, s.peak how many at a time.

    replies: {verb: bytes} replaces the answer to a verb ("" is the greeting, "." the end of a
    letter), {"VERB WHOLE LINE": bytes} that to one command; an answer of None closes the
    connection, a number waits so many seconds before the usual answer. "cut": n closes it after n
    octets of content, "reset": True does so with RST. A list of such tables: one for each
    connection, the last for all that follow.
    ehlo: the extension lines offered.
    tls: an SSLContext: STARTTLS is offered, or (implicit) TLS is there from the first octet.
    handshake: what follows the 220 of STARTTLS instead of TLS: octets, or b"" to close."""

    def __init__(self, replies=None, ehlo=("PIPELINING", "8BITMIME", "SMTPUTF8"), port=0,
                 host="127.0.0.1", tls=None, implicit=False, handshake=None, name="raw.test"):
        self.replies = replies or {}
        self.ehlo = list(ehlo)
        self.tls, self.implicit, self.handshake, self.name = tls, implicit, handshake, name
        self.octets = b""
        self.clear = b""
        self.letters = []
        self.envelopes = []
        self.facts = []
        self.accepted = 0
        self.peers = []  # the address of each client
        self.times = []  # when each letter ended (time.monotonic)
        self.connections = self.open = self.peak = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host
                                             else socket.AF_INET)
        self.port = self.listener.getsockname()[1]
        self.stopping = False
        self.sessions = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def recipients(self):
        """Those of all letters, in order."""
        return [r for _, rcpts in self.envelopes for r in rcpts]

    def _accept(self):
        while not self.stopping:
            try:
                client, peer = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer[0])
            table = self.replies
            if isinstance(table, list):
                table = table[min(self.connections, len(table) - 1)]
            self.connections += 1
            session = _Session(self, client, table)
            self.sessions.append(session)
            threading.Thread(target=session.run, daemon=True).start()

    def close(self):
        self.stopping = True
        with contextlib.suppress(OSError):  # wakes accept
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
        for session in self.sessions:  # nobody is served behind the test's back
            with contextlib.suppress(OSError):
                session.client.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Session:
    def __init__(self, server, client, table):
        self.server, self.client, self.table = server, client, table
        self.buf = b""
        self.secure = self.lmtp = self.mail = False
        self.sender, self.rcpts, self.chunks = b"", [], b""

    def run(self):
        self.client.settimeout(20)
        with self.server.lock:
            self.server.open += 1
            self.server.peak = max(self.server.peak, self.server.open)
        try:
            if self.server.implicit:
                self._handshake()
            if self._answer("", f"220 {self.server.name} ESMTP\r\n".encode()):
                while self._command():
                    pass
        except (OSError, ConnectionError):
            pass
        finally:
            if self.table.get("reset"):
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
            self.client.close()
            with self.server.lock:
                self.server.open -= 1

    def _handshake(self):
        raw = self.client.dup()
        raw.settimeout(1)
        self.client = self.server.tls.wrap_socket(self.client, server_side=True,
                                                  do_handshake_on_connect=False)
        try:
            self.client.do_handshake()
        except ssl.SSLError:  # closing with octets unread would be RST, and swallow the alert
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65536):
                pass
            raise
        finally:
            raw.close()
        self.secure = True
        self.server.facts.append({"version": self.client.version(),
                                  "reused": self.client.session_reused,
                                  "client": self.client.getpeercert()})

    def _answer(self, key, default, line=""):
        text = self.table.get(line.upper(), self.table.get(key, default))
        if isinstance(text, (int, float)):
            time.sleep(text)
            text = default
        if text is None:
            raise ConnectionError("the test wants it")
        self.client.sendall(text)
        return text

    def _more(self):
        more = self.client.recv(65536)
        if not more:
            raise ConnectionError("closed")
        self.server.octets += more
        if not self.secure:
            self.server.clear += more
        self.buf += more

    def _until(self, end):
        cut = self.table.get("cut") if end != b"\r\n" else None
        start = 0
        while (at := self.buf.find(end, start)) < 0:
            if cut and len(self.buf) > cut:
                raise ConnectionError("the test wants it")
            start = max(0, len(self.buf) - len(end))
            self._more()
        part, self.buf = self.buf[:at], self.buf[at + len(end):]
        return part

    def _ehlo(self):
        lines = [self.server.name, *self.server.ehlo]
        if self.server.tls and not self.secure:
            lines.append("STARTTLS")
        elif self.server.handshake is not None and not self.secure:
            lines.append("STARTTLS")
        return "".join(f"250{'-' if i < len(lines) - 1 else ' '}{text}\r\n"
                       for i, text in enumerate(lines)).encode()

    def _taken(self, content):
        self.server.times.append(time.monotonic())
        self.server.letters.append(content)
        self.server.envelopes.append((self.sender, self.rcpts))
        replies = len(self.rcpts) if self.lmtp else 1
        self.rcpts = []
        if self._answer(".", b"250 2.0.0 taken\r\n" * replies).startswith(b"2"):
            self.server.accepted += 1

    def _command(self):
        line = self._until(b"\r\n").decode("utf-8", "replace")
        verb = line.split(" ")[0].upper()
        default = b"250 2.0.0 fine\r\n"
        if verb in ("EHLO", "LHLO"):
            self.lmtp = verb == "LHLO"
            default = self._ehlo()
        elif verb == "DATA":
            default = b"354 go\r\n" if self.rcpts else b"503 5.5.1 no recipients\r\n"
        elif verb == "RCPT" and not self.mail:
            default = b"503 5.5.1 no sender\r\n"
        elif verb == "STARTTLS":
            default = b"220 2.0.0 go\r\n"
        elif verb == "QUIT":
            default = b"221 2.0.0 bye\r\n"
        elif verb == "BDAT":
            return self._bdat(line)
        text = self._answer(verb, default, line)
        if verb == "MAIL":
            self.sender, self.rcpts, self.chunks = self._path(line), [], b""
            self.mail = text.startswith(b"2")
        elif verb == "RCPT" and text.startswith(b"2"):
            self.rcpts.append(self._path(line))
        elif verb == "RSET":
            self.rcpts, self.chunks = [], b""
        elif verb == "DATA" and text.startswith(b"354"):
            self.buf = b"\r\n" + self.buf
            self._taken(self._until(b"\r\n.\r\n")[2:] + b"\r\n")
        elif verb == "STARTTLS" and text.startswith(b"220"):
            if self.server.handshake is not None:
                self.client.recv(65536)  # ClientHello
                self.client.sendall(self.server.handshake)
                return False
            self._handshake()
        return verb != "QUIT"

    def _bdat(self, line):
        words = line.upper().split()
        n = int(words[1])
        while len(self.buf) < n:
            self._more()
        self.chunks += self.buf[:n]
        self.buf = self.buf[n:]
        if not self.rcpts:
            self._answer("BDAT", b"503 5.5.1 no recipients\r\n")
        elif words[-1] == "LAST":
            self._taken(self.chunks)
            self.chunks = b""
        else:
            self._answer("BDAT", b"250 2.0.0 more\r\n")
        return True

    @staticmethod
    def _path(line):
        return line.partition("<")[2].partition(">")[0]
