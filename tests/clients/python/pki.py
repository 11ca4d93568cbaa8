"""Certificates made by the openssl command, nothing of Linarite's own."""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[intermediate]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
"""
DAYS = "30"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files. `chain` holds what follows it, up to the root."""

    certificate: Path
    key: Path
    chain: tuple[Path, ...] = ()

    @property
    def pem(self) -> str:
        return self.certificate.read_text()


class Pki:
    """Makes certificates in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._configuration = self._write("openssl.cnf", CONFIGURATION)
        self._made = 0

    def root(self, name: str) -> Certificate:
        key, certificate = self._key(name), self._path(name, "pem")
        self._openssl(
            "req", "-new", "-x509", "-key", key, "-subj", f"/CN={name}", "-days", DAYS,
            "-extensions", "root", "-out", certificate,
        )  # fmt: skip
        return Certificate(certificate, key)

    def intermediate(self, name: str, issuer: Certificate) -> Certificate:
        return self._signed(name, issuer, "intermediate")

    def leaf(self, common_name: str, issuer: Certificate) -> Certificate:
        """A new key and certificate at every call, also for a name that has one already."""
        return self._signed(common_name, issuer, "leaf")

    def self_signed_leaf(self, common_name: str) -> Certificate:
        key, certificate = self._key(common_name), self._path(common_name, "pem")
        self._openssl(
            "req", "-new", "-x509", "-key", key, "-subj", f"/CN={common_name}", "-days", DAYS,
            "-extensions", "leaf", "-out", certificate,
        )  # fmt: skip
        return Certificate(certificate, key)

    def presented(self, leaf: Certificate, *chain: Certificate) -> Certificate:
        """The leaf in one file with what a device sends along."""
        parts = [leaf.pem, *(link.pem for link in chain)]
        name = f"{leaf.certificate.stem}-with-{len(chain)}.chain"
        return Certificate(self._write(name, "".join(parts)), leaf.key)

    def thumbprint(self, certificate: Certificate) -> str:
        """The SHA-256 digest a hub knows a certificate by."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.pem)).hexdigest().upper()

    def _signed(self, name: str, issuer: Certificate, kind: str) -> Certificate:
        key, certificate = self._key(name), self._path(name, "pem")
        request = certificate.with_suffix(".csr")
        self._openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        self._openssl(
            "x509", "-req", "-in", request, "-CA", issuer.certificate, "-CAkey", issuer.key,
            "-set_serial", f"0x{os.urandom(12).hex()}", "-days", DAYS, "-sha256",
            "-extfile", self._configuration, "-extensions", kind, "-out", certificate,
        )  # fmt: skip
        return Certificate(certificate, key, (issuer.certificate, *issuer.chain))

    def _key(self, name: str) -> Path:
        self._made += 1
        key = self._path(name, "key")
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        return key

    def _path(self, name: str, suffix: str) -> Path:
        return self._directory / f"{self._made:02}-{name[:40]}.{suffix}"

    def _write(self, name: str, text: str) -> Path:
        path = self._directory / name
        path.write_text(text)
        return path

    def _openssl(self, *arguments: object) -> None:
        command = ["openssl", *(str(argument) for argument in arguments)]
        # Only `req` reads it; set for all, so that no file of the system has a say.
        environment = {**os.environ, "OPENSSL_CONF": str(self._configuration)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{' '.join(command[:3])} failed:\n{done.stderr}"
