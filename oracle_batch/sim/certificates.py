"""Certificates for the simulator: a private authority made anew each time, and what it or nobody vouches for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key

Kind = Literal["good", "self-signed", "expired", "wrong-host"]
LIFE: Final = timedelta(days=30)
_SLACK: Final = timedelta(days=1)
"""Valid from a day ago: clocks differ."""
_HOSTS: Final = (x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1")))
_ELSEWHERE: Final = (x509.DNSName("elsewhere.invalid"),)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files: the authority that clients shall trust, and the server's certificate and key (for its eyes only)."""

    cafile: Path
    certificate: Path
    key: Path


def write_certificates(folder: Path, kind: Kind = "good") -> CertificateFiles:
    """Make an authority and a server certificate in a folder.

    ``good`` is for 127.0.0.1 and localhost. The others must be refused by whoever trusts the authority: one that it has
    not signed, one that is over, one that is for another host.
    """
    now = datetime.now(UTC)
    authority, server = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    root = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "oracle-batch simulator authority")])
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "oracle-batch simulator")])
    until = now - _SLACK / 2 if kind == "expired" else now + LIFE
    hosts = _ELSEWHERE if kind == "wrong-host" else _HOSTS
    vouched = (
        _unsigned(root, root, authority, now - _SLACK, now + LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(authority, hashes.SHA256())
    )
    alone = kind == "self-signed"
    served = (
        _unsigned(own, own if alone else root, server, now - _SLACK, until)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .sign(server if alone else authority, hashes.SHA256())
    )
    files = CertificateFiles(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    files.cafile.write_bytes(vouched.public_bytes(serialization.Encoding.PEM))
    files.certificate.write_bytes(served.public_bytes(serialization.Encoding.PEM))
    files.key.touch(mode=0o600)
    files.key.write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
