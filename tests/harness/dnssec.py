"""A name server with a signed zone, and one that loses the signatures on the way."""
import contextlib
import socket
import struct
import threading

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest

from .dnsserver import DnsServer


class SignedServer(DnsServer):
    """As DnsServer; what lies in `zone` is signed. .anchor is the DS record to trust, a zone-file
    line. strip: signatures and keys are left out, as some forwarders do. forged: names whose data
    is not what was signed. short: over UDP every answer is cut, and TCP gives the whole."""

    def __init__(self, records, zone="signed.test.", strip=False, forged=(), short=False):
        ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
        self.zone = dns.name.from_text(zone)
        self.strip, self.forged, self.short = strip, forged, short
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.key = dns.dnssec.make_dnskey(self.private.public_key(), "ECDSAP256SHA256",
                                          flags=257)
        self.anchor = (f"{zone} 3600 IN DS " +
                       dns.dnssec.make_ds(self.zone, self.key, "SHA256").to_text())
        key = f"{zone} DNSKEY {self.key.to_text()}"
        soa = f"{zone} SOA ns.{zone} root.{zone} 1 3600 600 86400 60"
        super().__init__([*records, soa] + ([] if strip else [key]))
        host, _, port = self.address.rpartition(":")
        self.tcp = socket.create_server((host, int(port)))
        threading.Thread(target=self._run_tcp, daemon=True).start()

    def _whole(self, query):
        answer = super()._answer(query)
        if answer is None or self.strip:
            return answer
        for rrset in list(answer.answer):
            if not rrset.name.is_subdomain(self.zone):
                continue
            rrsig = dns.dnssec.sign(rrset, self.private, self.zone, self.key, lifetime=3600)
            if rrset.name.to_text() in self.forged:
                rrsig = rrsig.replace(signature=bytes(64))
            answer.answer.append(dns.rrset.from_rdata(rrset.name, 5, rrsig))
        return answer

    def _answer(self, query):
        answer = self._whole(query)
        if answer is not None and self.short:
            answer = dns.message.make_response(query, recursion_available=True)
            answer.flags |= dns.flags.TC
        return answer

    def _run_tcp(self):
        while True:
            try:
                client, _ = self.tcp.accept()
            except OSError:
                return
            with contextlib.suppress(OSError, dns.exception.DNSException, struct.error), client:
                client.settimeout(5)
                while True:
                    n, = struct.unpack("!H", client.recv(2, socket.MSG_WAITALL))
                    answer = self._whole(dns.message.from_wire(
                        client.recv(n, socket.MSG_WAITALL)))
                    wire = answer.to_wire(max_size=65535)
                    client.sendall(struct.pack("!H", len(wire)) + wire)

    def close(self):
        with contextlib.suppress(OSError):
            self.tcp.shutdown(socket.SHUT_RDWR)
        self.tcp.close()
        super().close()
