"""A name server for tests: answers from zone-file lines, knows nothing else."""
import contextlib
import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


class DnsServer:
    """with DnsServer(["a.test. MX 10 mx.a.test.", ...]) as d: a resolver at d.address (UDP).
    NXDOMAIN for names that are not there; SERVFAIL for names in `broken` and below; no answer at
    all for those in `silent`."""

    def __init__(self, records=(), broken=(), silent=()):
        self.sets = {}
        for line in records:
            name, kind, data = line.split(None, 2)
            key = (name.lower(), kind)
            if key in self.sets:
                more = dns.rrset.from_text(name, 5, "IN", kind, data)
                self.sets[key].add(more[0])
            else:
                self.sets[key] = dns.rrset.from_text(name, 5, "IN", kind, data)
        self.broken, self.silent = broken, silent
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            with contextlib.suppress(dns.exception.DNSException, OSError):
                answer = self._answer(dns.message.from_wire(data))
                if answer:
                    self.socket.sendto(answer.to_wire(), peer)
            if not data:
                return

    def _answer(self, query):
        question = query.question[0]
        name = question.name.to_text().lower()
        self.asked.append((name, dns.rdatatype.to_text(question.rdtype)))
        below = [name] + [name[i + 1:] for i, c in enumerate(name) if c == "."]
        if any(n in self.silent for n in below):
            return None
        answer = dns.message.make_response(query, recursion_available=True)
        if any(n in self.broken for n in below):
            answer.set_rcode(dns.rcode.SERVFAIL)
            return answer
        for _ in range(8):
            found = self.sets.get((name, dns.rdatatype.to_text(question.rdtype)))
            alias = self.sets.get((name, "CNAME"))
            if found or not alias:
                break
            answer.answer.append(alias)
            name = alias[0].target.to_text().lower()
        if found:
            answer.answer.append(found)
        elif not any(n == name or n.endswith("." + name) for n, _ in self.sets):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def close(self):
        with contextlib.suppress(OSError):  # wakes recvfrom
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(b"", self.socket.getsockname())
        self.thread.join(5)
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
