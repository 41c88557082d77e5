"""Signatures on letters that a server sent, looked at with the DNS records that it publishes."""
import json
import subprocess

from .dnsserver import DnsServer, records
from .server import LETTERLOCK


def verify(server, letter, at=None):
    """`letterlock verify` of the letter, with the server's own published records."""
    text = server.tool("dns")
    with DnsServer(records(text)) as dns:
        out = subprocess.run([LETTERLOCK, "verify", "--json", "--resolver", dns.address,
                              *(["--at", str(at)] if at else []), "-"], input=letter,
                             stdout=subprocess.PIPE, check=False).stdout
    return json.loads(out)
