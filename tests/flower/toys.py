"""Toys for a federation of processes: who answers at a hospital, and who conducts a run."""

from __future__ import annotations

import json
import time
from pathlib import Path

from concilium.orchestration.carriers import Carrier, Terms

CANARY = "patient-4711"
"""What no message, log or database may hold."""

MISSING = "missing.txt"
"""A file of a hospital's folder that keeps its toy from being made."""


class Echo:
    """Answers with its folder's name before the letter; does as it is told by some letters."""

    def __init__(self, folder: Path) -> None:
        if (folder / MISSING).exists():
            raise ValueError(CANARY)
        self._name = folder.name

    def answer(self, question: bytes) -> bytes:
        """Echo; sleep first, or raise, where the letter says so."""
        if question.startswith(b"sleep "):
            time.sleep(float(question.split()[1]))
        if question == b"raise":
            raise ValueError(CANARY)
        return f"{self._name}:".encode() + question


def conduct(carrier: Carrier, study: Path, out: Path, terms: Terms) -> None:
    """Send the letters that the study lists, and write down what came of each, and when."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for letter in json.loads(study.read_text(encoding="utf-8")):
        if letter == "fail":
            raise ValueError(CANARY)
        content = bytes(letter) if isinstance(letter, int) else letter.encode()
        began = time.monotonic()
        (out / "sent").write_text(str(letter), encoding="utf-8")
        carrier.send(dict.fromkeys(carrier.hospitals, content))
        waiting = set(carrier.hospitals)
        while waiting and time.monotonic() - began < terms.deadline:
            for delivery in carrier.collect(1.0):
                seconds = time.monotonic() - began
                data = None if delivery.data is None else delivery.data[:40].decode()
                length = len(delivery.data or b"")
                rows.append([letter, delivery.hospital, data, length, delivery.failure, seconds])
                waiting.discard(delivery.hospital)
        rows += [[letter, name, None, 0, "late", terms.deadline] for name in sorted(waiting)]
        (out / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
