"""A name server for tests: answers from zone-file lines, by UDP and TCP, knows nothing else."""
import contextlib
import re
import socket
import struct
import threading

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

UDP_MAX = 1232  # octets; longer answers go by TCP


def records(text):
    """The TXT records of `letterlock dns`, as DnsServer takes them."""
    return [f"{name} TXT {value}" for name, value in
            re.findall(r"^(\S+) IN TXT (.*)$", text, re.M)]


class DnsServer:
    """with DnsServer(["a.test. MX 10 mx.a.test.", ...]) as d: a resolver at d.address.
    NXDOMAIN for names that are not there; SERVFAIL for names in `broken` and below; no answer at
    all for those in `silent` and below; by UDP only "ask by TCP" for those in `truncated` and
    below. `mute` names get no answer for types without a record. add() takes records as objects,
    for what zone-file text cannot say."""

    def __init__(self, records=(), broken=(), silent=(), truncated=(), mute=()):
        self.sets = {}
        for line in records:
            self.add_line(line)
        self.broken, self.silent, self.truncated, self.mute = broken, silent, truncated, mute
        self.asked = []
        self.by_tcp = []
        self._listen()
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.ending = False
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self._run, self._run_tcp)]
        for t in self.threads:
            t.start()

    def add_line(self, line):
        """One record, as a zone file has it: name, type, data."""
        name, kind, data = line.split(None, 2)
        self.add(name, dns.rdata.from_text("IN", kind, data))

    def add(self, name, rdata):
        """One record. The name is text; whatever stands between its dots is a label."""
        key = (name.lower(), dns.rdatatype.to_text(rdata.rdtype))
        if key not in self.sets:
            labels = [x.encode() for x in name.rstrip(".").split(".")]
            self.sets[key] = dns.rrset.RRset(dns.name.Name([*labels, b""]), rdata.rdclass, rdata.rdtype)
            self.sets[key].update_ttl(5)
        self.sets[key].add(rdata)

    def _listen(self):
        """One port for both: the first that is free for UDP may be taken for TCP."""
        for _ in range(50):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.bind(("127.0.0.1", 0))
            self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self.tcp.bind(self.socket.getsockname())
                self.tcp.listen(8)
                return
            except OSError:
                self.socket.close()
                self.tcp.close()
        raise OSError("no port is free for UDP and TCP")

    def _run(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            with contextlib.suppress(dns.exception.DNSException, OSError):
                answer = self._answer(dns.message.from_wire(data), tcp=False)
                if answer:
                    self.socket.sendto(answer.to_wire(), peer)
            if not data:
                return

    def _run_tcp(self):
        while True:
            try:
                peer, _ = self.tcp.accept()
            except OSError:
                return
            if self.ending:
                peer.close()
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer):
        """Questions of one TCP connection, each behind its length (RFC 1035 4.2.2)."""
        peer.settimeout(10)
        with peer, contextlib.suppress(dns.exception.DNSException, OSError, struct.error):
            stream = peer.makefile("rb")
            while True:
                n = struct.unpack("!H", stream.read(2))[0]
                query = dns.message.from_wire(stream.read(n))
                self.by_tcp.append(query.question[0].name.to_text().lower())
                answer = self._answer(query, tcp=True)
                if not answer:
                    return
                wire = answer.to_wire(max_size=65535)
                peer.sendall(struct.pack("!H", len(wire)) + wire)

    def _answer(self, query, tcp):
        """What is sent: by UDP perhaps only the word that it is too long."""
        answer = self._whole(query)
        if answer is None or tcp or answer.rcode() == dns.rcode.SERVFAIL:
            return answer
        if any(n in self.truncated for n in upwards(plain(query.question[0].name))) or \
                len(answer.to_wire(max_size=65535)) > UDP_MAX:
            answer = dns.message.make_response(query, recursion_available=True)
            answer.flags |= dns.flags.TC
        return answer

    def _whole(self, query):
        question = query.question[0]
        name = plain(question.name)
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        below = upwards(name)
        if any(n in self.silent for n in below) or (name in self.mute and (name, kind) not in self.sets):
            return None
        answer = dns.message.make_response(query, recursion_available=True)
        if any(n in self.broken for n in below):
            answer.set_rcode(dns.rcode.SERVFAIL)
            return answer
        for _ in range(8):
            found = self.sets.get((name, kind))
            alias = self.sets.get((name, "CNAME"))
            if found or not alias:
                break
            answer.answer.append(alias)
            name = plain(alias[0].target)
        if found:
            answer.answer.append(found)
        elif not any(n == name or n.endswith("." + name) for n, _ in self.sets):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def close(self):
        self.ending = True
        with contextlib.suppress(OSError):  # wakes recvfrom and accept
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(b"", self.socket.getsockname())
            socket.create_connection(self.tcp.getsockname(), 5).close()
        for t in self.threads:
            t.join(5)
        self.socket.close()
        self.tcp.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def plain(name):
    """The labels with dots between, in lower case, nothing escaped."""
    return b".".join(name.labels).decode("latin-1").lower() or "."


def upwards(name):
    """The name and all that it lies below, the root last."""
    return [name] + [name[i + 1:] or "." for i, c in enumerate(name) if c == "."]
