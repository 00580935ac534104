"""The small form of ``make federation``: processes, encryption, keys; and the embedded run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from rich.console import Console

from concilium.cli.federation.phantoms import three_hospitals
from concilium.cli.federation.rehearsed import run_trial
from tests.flower.federations import plan


def run(out: Path, small: bool) -> str:
    """What the trial prints; it must have found both runs equal."""
    text = io.StringIO()
    chosen = plan(2, '{name = "ridge", penalties = [10.0]}') if small else three_hospitals()
    equal = run_trial(Console(file=text, width=200), out, chosen)
    assert equal, text.getvalue()
    return text.getvalue()


def test_two_hospitals_as_processes_give_the_embedded_result(tmp_path: Path) -> None:
    said = run(tmp_path, small=True)
    assert "4 comparisons: equal, bit for bit" in said
    assert "north" in said
    assert (tmp_path / "coordinator" / "runs" / "study" / "report.html").exists()


@pytest.mark.slow
def test_three_hospitals_with_radiographs_give_the_embedded_result(tmp_path: Path) -> None:
    said = run(tmp_path, small=False)
    assert "6 comparisons: equal, bit for bit" in said
    assert "consolidation" in said
