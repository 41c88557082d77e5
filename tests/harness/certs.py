"""Certificates for peers, made with openssl(1)."""
import base64
import hashlib
import os
import ssl
import subprocess

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, check=True, timeout=20,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout


class Authority:
    """Authority(folder): a CA; .file is its certificate; .issue(names) makes one for a server (and
    a client): the path of a PEM file with certificate and key."""

    def __init__(self, folder, name="test CA"):
        self.folder = str(folder)
        self.count = 0
        self.tag = name.replace(" ", "-")
        self.file, self.key = self._path("ca.crt"), self._path("ca.key")
        openssl("req", "-x509", *EC, "-keyout", self.key, "-out", self.file, "-days", "30",
                "-subj", f"/CN={name}")

    def _path(self, name):
        return os.path.join(self.folder, f"{self.tag}-{name}")

    def issue(self, *names, days=30):
        """days: how long it is valid; less than 0: expired."""
        self.count += 1
        stem = self._path(str(self.count))
        alt = ",".join("DNS:" + n for n in names)
        openssl("req", "-new", *EC, "-keyout", stem + ".key", "-out", stem + ".csr",
                "-subj", f"/CN={names[0]}", "-addext", "subjectAltName=" + alt,
                "-addext", "basicConstraints=critical,CA:FALSE")
        openssl("x509", "-req", "-in", stem + ".csr", "-CA", self.file, "-CAkey", self.key,
                "-days", str(days), "-copy_extensions", "copy", "-out", stem + ".crt")
        with open(stem + ".pem", "wb") as out:
            for part in (".crt", ".key"):
                with open(stem + part, "rb") as f:
                    out.write(f.read())
        return stem + ".pem"


def pin(path):
    """SHA-256 of the certificate's public key (SPKI), base64."""
    public = openssl("x509", "-in", path, "-noout", "-pubkey")
    return base64.b64encode(hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER",
                                                   data=public)).digest()).decode()


def server_context(path, client_ca=None):
    """For RawServer: shows this certificate; with client_ca, demands one of its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
