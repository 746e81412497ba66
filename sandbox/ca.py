"""The certificate authority of the sandbox: made once per cache and trusted by every machine.

It signs the names that the internet machine answers for.
"""

import datetime
import inspect
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox import cache

_VALID = datetime.timedelta(days=3650)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(
    subject: str,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    """What both kinds of certificate have. Python 3.13 and later refuse one without the key identifiers."""
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _usage() -> x509.KeyUsage:
    """What an authority's key is for."""
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _made() -> tuple[bytes, bytes]:
    """A new authority: its certificate and its private key (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder("KoproGo sandbox CA", _name("KoproGo sandbox CA"), key, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.add_extension(_usage(), critical=True).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM), _pem(key)


def authority() -> tuple[Path, Path]:
    """Return the files of the authority's certificate and private key (PEM), made on first use.

    One that was made otherwise is not used any more: strict clients would refuse it.
    """
    recipe = inspect.getsource(_made), inspect.getsource(_builder), inspect.getsource(_usage)
    folder = cache.ROOT / f"ca-{cache.key_of(*recipe)}"
    certificate, private = folder / "ca.pem", folder / "ca.key"
    with cache.locked(cache.ROOT / "locks" / "ca"):
        if not certificate.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            signed, key = _made()
            private.touch(mode=0o600)
            private.write_bytes(key)
            # Last, since its presence says that the pair is complete.
            certificate.write_bytes(signed)
    return certificate, private


def issue(names: list[str]) -> tuple[bytes, bytes]:
    """Return a certificate for these DNS names (PEM, with the authority's behind it) and its private key (PEM)."""
    certificate, private = authority()
    issuer = x509.load_pem_x509_certificate(certificate.read_bytes())
    issuer_key = serialization.load_pem_private_key(private.read_bytes(), None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{private} is not an elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(names[0], issuer.subject, key, issuer_key)
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    signed = builder.add_extension(alternative, critical=False).sign(issuer_key, hashes.SHA256())
    chain = signed.public_bytes(serialization.Encoding.PEM) + certificate.read_bytes()
    return chain, _pem(key)
