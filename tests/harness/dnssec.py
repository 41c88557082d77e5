"""A name server with a signed zone, and one that loses the signatures on the way."""
import dns.dnssec
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
        self.strip, self.forged = strip, forged
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.key = dns.dnssec.make_dnskey(self.private.public_key(), "ECDSAP256SHA256",
                                          flags=257)
        self.anchor = (f"{zone} 3600 IN DS " +
                       dns.dnssec.make_ds(self.zone, self.key, "SHA256").to_text())
        key = f"{zone} DNSKEY {self.key.to_text()}"
        soa = f"{zone} SOA ns.{zone} root.{zone} 1 3600 600 86400 60"
        super().__init__([*records, soa] + ([] if strip else [key]),
                         truncated=["."] if short else [])

    def _whole(self, query):
        answer = super()._whole(query)
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
