"""The TLS certificate: like Draw Things' own, a leaf for localhost signed by a root that the server does not send.

Needs the package cryptography, and only when a certificate has to be made.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import re
from pathlib import Path
from typing import Any, NamedTuple

_NAMES = ("localhost", "*")
_ADDRESSES = ("127.0.0.1", "0.0.0.0")


class CertificateProblem(Exception):
    """No certificate can be had; the text says what to do."""


class Certificate(NamedTuple):
    """PEM texts. root is None for a certificate that was given."""

    leaf: str
    key: str
    root: str | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf, as AA:BB:..."""
        found = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", self.leaf, re.DOTALL)
        if found is None:
            raise CertificateProblem("The certificate file holds no PEM certificate.")
        return ":".join(f"{byte:02X}" for byte in hashlib.sha256(base64.b64decode(found.group(1))).digest())


def read(certificate: Path, key: Path) -> Certificate:
    """A certificate and its key from PEM files."""
    try:
        return Certificate(certificate.read_text("ascii"), key.read_text("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no PEM file"
        raise CertificateProblem(f"The certificate or its key cannot be read ({reason}): name two PEM files.") from error


def kept(directory: Path, **options: Any) -> Certificate:
    """The certificate in `directory`, made there when it is not there yet."""
    files = [directory / name for name in ("server_crt.crt", "server_key.key", "root_ca.crt")]
    if all(file.is_file() for file in files):
        leaf, key, root = (file.read_text("ascii") for file in files)
        return Certificate(leaf, key, root)
    made = make(**options)
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in zip(files, made, strict=True):
        if file.suffix == ".key":
            file.touch(mode=0o600)
        file.write_text(text or "", "ascii")
    return made


def make(*, expired: bool = False, names: tuple[str, ...] = _NAMES) -> Certificate:
    """A new leaf and the root that signed it. expired: it ended yesterday. names: DNS names in place of the usual ones."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise CertificateProblem(
            "The simulator makes its TLS certificate with the package cryptography, which is not installed: install it, give "
            "--certificate and --key, or start with --no-tls."
        ) from error
    now = datetime.datetime.now(datetime.timezone.utc)
    begin, end = now - datetime.timedelta(days=30), now + datetime.timedelta(days=-1 if expired else 3650)

    def named(text: str) -> Any:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def builder(subject: str, issuer: str, public_key: Any) -> Any:
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(issuer))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
        )

    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = "Draw Things Simulator Root CA"
    root = builder(issuer, issuer, root_key.public_key()).not_valid_after(now + datetime.timedelta(days=3650))
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    addresses = _ADDRESSES if names == _NAMES else ()
    alternatives = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    leaf = builder(names[0], issuer, leaf_key.public_key()).not_valid_after(end)
    leaf = leaf.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)

    def text(signed: Any) -> str:
        return signed.public_bytes(serialization.Encoding.PEM).decode("ascii")

    key = leaf_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(
        "ascii"
    )
    return Certificate(text(leaf.sign(root_key, hashes.SHA256())), key, text(root.sign(root_key, hashes.SHA256())))
