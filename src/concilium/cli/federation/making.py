"""The folders of a new federation: keys, certificates, and the files that people will edit."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from concilium.cli.federation.folders import (
    ADDRESS,
    COORDINATOR,
    HOSPITAL,
    RUNS,
    Home,
    checked_address,
    checked_port,
    write_home,
)
from concilium.deployment import allowed
from concilium.deployment.policy import SMALLEST_PART, parse_hospital
from concilium.flower import keys
from concilium.foundation.errors import InputError, Problem
from concilium.foundation.files import file_name, write_atomically

SOURCE = '{name = "image_folder", folder = "images", table = "labels.csv", image_size = 64}'

HOSPITAL_FILE = """\
# Who this hospital is, where its exams are, what it allows. This file never leaves the hospital,
# and its word is last. Relative paths start at this folder.

# The name under which the coordinator holds this hospital's public key.
name = {name}

[data]
# Where the exams are: a source with its settings, as in a study file (`concilium list sources`).
# `concilium inspect FOLDER` shows what is read, and writes these lines for your own columns.
# All hospitals of a study need the same size of input.
source = {source}

# Labels of studies that nobody here looks for: they count as unknown on every exam, not as absent.
never_annotated = []

# Where names differ: the study's name = the name in our table.
[data.labels]
# Effusion = "Pleural effusion"

[policy]
# Every part (training, validation, test) must hold so many patients, or nothing is answered.
# {floor} is the floor of every federation: a hospital may ask for more, never for less.
least_patients = {floor}
"""


def make_coordinator(folder: Path, hosts: Sequence[str], port: int) -> Home:
    """A coordinator's folder with an authority and a server certificate of its own.

    Raises InputError where one is there.
    """
    if (folder / COORDINATOR).exists():
        remedy = "take another folder, or `concilium federation admit` for one more hospital"
        raise InputError(Problem(str(folder), "holds a coordinator already", remedy))
    checked_port(port)
    keys.make_authority(folder)
    keys.make_server_certificate(folder, tuple(hosts))
    for name in (keys.MEMBERS, allowed.FOLDER, RUNS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return write_home(folder, tuple(hosts), port)


def make_hospital(
    folder: Path, name: str, authority: Path, address: str, source: str = SOURCE
) -> Path:
    """A hospital's folder with a key of its own; gives the public half, which is to be sent.

    Raises InputError with all that is wrong with the name, the address or the authority's file.
    """
    text = HOSPITAL_FILE.format(
        name=json.dumps(name, ensure_ascii=False), source=source, floor=SMALLEST_PART
    )
    checked = checked_hospital(name, folder)
    place = checked_address(address)
    _check_authority(authority)
    keys.make_node_key(folder, checked)
    public = folder / f"{file_name(name)}.pub"
    shutil.copyfile(folder / keys.NODE_NAME, public)
    shutil.copyfile(authority, folder / keys.AUTHORITY)
    write_atomically(folder / ADDRESS, f"{place}\n".encode())
    if not (folder / HOSPITAL).exists():
        write_atomically(folder / HOSPITAL, text.encode())
    (folder / allowed.FOLDER).mkdir(parents=True, exist_ok=True)
    return public


def checked_hospital(name: str, folder: Path) -> str:
    """A hospital's name. Raises StudyError where it cannot be one."""
    source = {"name": "image_folder", "folder": "images"}
    return parse_hospital({"name": name, "data": {"source": source}}, folder).name


def fingerprint(public: Path) -> str:
    """A public key in few letters, to be compared by telephone, as ``ssh-keygen -l`` shows it."""
    blob = base64.b64decode(public.read_text(encoding="utf-8").split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _check_authority(path: Path) -> None:
    """Raise InputError unless a file is a certificate, and no private key with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = Problem(str(path), f"cannot be read ({error.strerror})", "give the ca.crt")
        raise InputError(problem) from None
    if b"-----BEGIN CERTIFICATE-----" not in content or b"PRIVATE KEY" in content:
        remedy = "give the ca.crt that the coordinator sent; its ca.key never leaves it"
        raise InputError(Problem(str(path), "is no certificate alone", remedy))
