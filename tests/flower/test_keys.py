"""Keys and certificates: whom they let in, whom they keep out, and who may read them."""

from __future__ import annotations

import datetime
import ssl
import stat
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from concilium.flower import keys
from concilium.foundation.errors import DataError, InputError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def shake_hands(server: Path, trusted: Path, name: str = "localhost") -> None:
    """A TLS handshake in memory, as a SuperNode begins it; raises where it is refused."""
    asks = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asks.load_verify_locations(cadata=trusted.read_text())
    answers = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    answers.load_cert_chain(server / keys.CERTIFICATE, server / keys.CERTIFICATE_KEY)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        asks.wrap_bio(back, there, server_hostname=name),
        answers.wrap_bio(there, back, server_side=True),
    ]
    while sides:
        for side in list(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                continue


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    keys.make_authority(tmp_path)
    keys.make_server_certificate(tmp_path, ["coordinator.example", "10.0.0.5"])
    return tmp_path


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "coordinator.example", "10.0.0.5"])
def test_the_server_is_believed_under_each_of_its_names(trial: Path, name: str) -> None:
    shake_hands(trial, trial / keys.AUTHORITY, name)


def test_it_is_not_believed_under_another_name(trial: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(trial, trial / keys.AUTHORITY, "elsewhere.example")


def test_another_authority_is_not_believed(trial: Path, tmp_path: Path) -> None:
    other = keys.make_authority(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(trial, other)


def test_a_certificate_that_has_expired_is_refused_and_one_that_is_renewed_is_not(
    trial: Path,
) -> None:
    keys.make_server_certificate(trial, lasting=datetime.timedelta(minutes=-1))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(trial, trial / keys.AUTHORITY)
    keys.make_server_certificate(trial)
    shake_hands(trial, trial / keys.AUTHORITY)


def test_the_authority_may_sign_and_the_server_may_not(trial: Path) -> None:
    for name, signs in ((keys.AUTHORITY, True), (keys.CERTIFICATE, False)):
        certificate = x509.load_pem_x509_certificate((trial / name).read_bytes())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert constraints.critical
        assert constraints.value.ca is signs
        assert usage.value.key_cert_sign is signs


def test_private_keys_are_their_owners_alone(trial: Path, tmp_path: Path) -> None:
    keys.make_node_key(tmp_path / "north", "north")
    for path in (keys.AUTHORITY_KEY, keys.CERTIFICATE_KEY, f"north/{keys.NODE_KEY}"):
        assert mode(trial / path) == 0o600, path


def test_nothing_that_others_rely_on_is_overwritten(trial: Path, tmp_path: Path) -> None:
    keys.make_node_key(tmp_path / "north")
    with pytest.raises(InputError, match="is there already"):
        keys.make_authority(trial)
    with pytest.raises(InputError, match="is there already"):
        keys.make_node_key(tmp_path / "north")


def test_a_member_is_known_to_flower_by_its_key(tmp_path: Path) -> None:
    public = keys.make_node_key(tmp_path / "north", "north")
    keys.add_member(tmp_path, "St. Mary / north", public)
    private = load_ssh_private_key((tmp_path / "north" / keys.NODE_KEY).read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert private.curve.name == "secp384r1"
    assert keys.members(tmp_path) == {"St. Mary / north": public_key_to_bytes(private.public_key())}


def test_one_key_has_one_name_and_one_name_has_one_key(tmp_path: Path) -> None:
    north = keys.make_node_key(tmp_path / "north")
    south = keys.make_node_key(tmp_path / "south")
    keys.add_member(tmp_path, "north", north)
    keys.add_member(tmp_path, "north", north)
    with pytest.raises(InputError, match="has another one"):
        keys.add_member(tmp_path, "north", south)
    with pytest.raises(InputError, match="'north' has this key"):
        keys.add_member(tmp_path, "south", north)
    (tmp_path / keys.MEMBERS / "south.pub").write_bytes(north.read_bytes())
    with pytest.raises(DataError, match="another hospital's"):
        keys.members(tmp_path)


@pytest.mark.parametrize("content", [b"", b"ssh-ed25519 AAAA north", b"-----BEGIN PUBLIC KEY-----"])
def test_what_is_no_key_of_ours_is_refused_by_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / keys.MEMBERS).mkdir()
    (tmp_path / keys.MEMBERS / "north.pub").write_bytes(content)
    with pytest.raises(DataError, match=r"north\.pub.*elliptic curve"):
        keys.members(tmp_path)
