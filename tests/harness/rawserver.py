"""A next hop that does just what a test wants: SMTP by a table, and every octet recorded."""
import socket
import threading


class RawServer:
    """with RawServer() as s: takes any letter at 127.0.0.1:s.port; s.octets is what all clients
    wrote, s.letters the contents (as on the wire, dots stuffed) that ended in CR LF . CR LF.

    replies: {verb: bytes} replaces the answer to a verb ("" is the greeting, "." the end of a
    letter); an answer of None closes the connection. ehlo: the extension lines offered."""

    def __init__(self, replies=None, ehlo=("PIPELINING", "8BITMIME", "SMTPUTF8")):
        self.replies = replies or {}
        self.ehlo = ehlo
        self.octets = b""
        self.letters = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.stopping = False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while not self.stopping:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _answer(self, client, verb, default):
        text = self.replies.get(verb, default)
        if text is None:
            raise ConnectionError("the test wants it")
        client.sendall(text)
        return text

    def _read(self, client, buf, end):
        while end not in buf:
            more = client.recv(65536)
            if not more:
                raise ConnectionError("closed")
            self.octets += more
            buf += more
        part, _, rest = buf.partition(end)
        return part, rest

    def _serve(self, client):
        client.settimeout(20)
        buf = b""
        try:
            self._answer(client, "", b"220 raw.test ESMTP\r\n")
            while True:
                line, buf = self._read(client, buf, b"\r\n")
                verb = line.split(b" ")[0].upper().decode("latin1")
                default = b"250 2.0.0 fine\r\n"
                if verb in ("EHLO", "LHLO"):
                    lines = ["raw.test", *self.ehlo]
                    default = "".join(f"250{'-' if i < len(lines) - 1 else ' '}{text}\r\n"
                                      for i, text in enumerate(lines)).encode()
                elif verb == "DATA":
                    default = b"354 go\r\n"
                elif verb == "QUIT":
                    default = b"221 2.0.0 bye\r\n"
                text = self._answer(client, verb, default)
                if verb == "DATA" and text.startswith(b"354"):
                    content, buf = self._read(client, b"\r\n" + buf, b"\r\n.\r\n")
                    self.letters.append(content[2:] + b"\r\n")
                    self._answer(client, ".", b"250 2.0.0 taken\r\n")
                if verb == "QUIT":
                    return
        except (OSError, ConnectionError):
            pass
        finally:
            client.close()

    def close(self):
        self.stopping = True
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
