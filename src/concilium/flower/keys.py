"""Keys and certificates of a federation: who may be believed to be whom.

For a trial: an authority of one's own, and a certificate for the coordinator's server that it has
signed. Where an institution has an authority, its files take these places. Each hospital has a key
pair; the private half never leaves it, the public half is its name at the coordinator.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from concilium.foundation.errors import DataError, InputError, Problem
from concilium.foundation.files import file_name, write_atomically

AUTHORITY, AUTHORITY_KEY = "ca.crt", "ca.key"
CERTIFICATE, CERTIFICATE_KEY = "server.crt", "server.key"
NODE_KEY, NODE_NAME = "node.key", "node.pub"
MEMBERS = "members"
"""The coordinator's folder of public keys: a file ``NAME.pub`` is the hospital of that name."""

ALWAYS_NAMED = ("localhost", "127.0.0.1")
YEAR = datetime.timedelta(days=365)


def make_authority(folder: Path, lasting: datetime.timedelta = YEAR) -> Path:
    """An authority for a trial: ``ca.crt``, which every side may read, and ``ca.key``.

    Returns the certificate's path. Raises InputError where one is there: what it signed would no
    longer be believed.
    """
    _refuse_to_overwrite(folder / AUTHORITY_KEY)
    key = _new_key()
    name = _name("concilium trial authority")
    certificate = (
        _begun(name, name, key.public_key(), lasting)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_identifier(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    write_secret(folder / AUTHORITY_KEY, _pem(key))
    write_atomically(folder / AUTHORITY, certificate.public_bytes(serialization.Encoding.PEM))
    return folder / AUTHORITY


def make_server_certificate(
    folder: Path,
    names: Sequence[str] = (),
    lasting: datetime.timedelta = YEAR,
    authority: Path | None = None,
) -> Path:
    """``server.crt`` and ``server.key`` of the coordinator, signed by the authority in a folder.

    ``names`` are the hosts and addresses under which hospitals reach it, besides this machine's
    own; ``authority`` is the folder of ``ca.crt`` and ``ca.key`` (default: the same folder). An
    existing certificate is renewed. A negative ``lasting`` gives one that has expired, for tests.
    """
    authority = folder if authority is None else authority
    signer = _private_key(authority / AUTHORITY_KEY)
    issuer = x509.load_pem_x509_certificate((authority / AUTHORITY).read_bytes())
    key = _new_key()
    certificate = (
        _begun(_name("concilium coordinator"), issuer.subject, key.public_key(), lasting)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_hosts([*ALWAYS_NAMED, *names]), critical=False)
        .add_extension(_identifier(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA384())
    )
    write_secret(folder / CERTIFICATE_KEY, _pem(key))
    write_atomically(folder / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM))
    return folder / CERTIFICATE


def make_node_key(folder: Path, name: str = "") -> Path:
    """A hospital's key pair: ``node.key``, and ``node.pub`` to give to the coordinator.

    Returns the public half's path; ``name`` is a comment in it. Raises InputError where a key is
    there: a hospital with another key is a stranger.
    """
    _refuse_to_overwrite(folder / NODE_KEY)
    key = _new_key()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    write_secret(folder / NODE_KEY, private)
    comment = " ".join(name.split()).encode()
    write_atomically(folder / NODE_NAME, public + b" " + comment + b"\n")
    return folder / NODE_NAME


def add_member(folder: Path, name: str, public_key: Path) -> Path:
    """Take a hospital's public key into the coordinator's folder under a name.

    Raises InputError where the name or the key is taken by another.
    """
    key = read_public_key(public_key)
    path = folder / MEMBERS / f"{file_name(name)}.pub"
    for other, known in members(folder).items():
        if (other == name) != (known == key):
            raise InputError(
                Problem(str(public_key), f"{other!r} has this key, or {name!r} has another one")
            )
    write_atomically(path, public_key.read_bytes())
    return path


def members(folder: Path) -> dict[str, bytes]:
    """Hospitals of the coordinator in ``folder``: name → public key, ascending by name.

    Raises DataError for each file that holds no such key, and for a key that has two names.
    """
    found: dict[str, bytes] = {}
    problems: list[Problem] = []
    for path in sorted((folder / MEMBERS).glob("*.pub")):
        name = unquote(path.stem)
        try:
            key = read_public_key(path)
        except DataError as error:
            problems += error.problems
            continue
        if key in found.values():
            problems.append(Problem(str(path), "the key is another hospital's", "remove one"))
        found[name] = key
    if problems:
        raise DataError(problems)
    return dict(sorted(found.items()))


def read_public_key(path: Path) -> bytes:
    """The public key of a file in OpenSSH's form, as Flower knows it.

    Raises DataError for what is no public key of an elliptic curve.
    """
    try:
        key = serialization.load_ssh_public_key(path.read_bytes())
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError
    except (OSError, ValueError, UnsupportedAlgorithm):
        what = "holds no public key of an elliptic curve"
        raise DataError(Problem(str(path), what, "take the hospital's node.pub")) from None
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        write_atomically(path, content)
    finally:
        os.umask(before)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DataError(Problem(str(path), "is no key of an elliptic curve"))
    return key


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    lasting: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    # An hour back, for clocks that differ; two for one that is to have expired already.
    begin = now - datetime.timedelta(hours=1) + min(lasting, datetime.timedelta(0))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(now + lasting)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _hosts(names: Sequence[str]) -> x509.SubjectAlternativeName:
    hosts: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            hosts.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            hosts.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(hosts)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _identifier(key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _refuse_to_overwrite(path: Path) -> None:
    if path.exists():
        raise InputError(Problem(str(path), "is there already", "take another folder"))
