"""Runs of whole studies: workers change nothing, and a run goes on with its own data only."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from concilium.foundation.errors import DataError
from concilium.studies import assembly, hospitals
from concilium.studies import run as studies_run
from concilium.studies.bench import Bench, Parts
from concilium.studies.results import Plain
from tests.studies.test_same_numbers import essence, run, write_study


@pytest.mark.slow
def test_two_workers_give_the_results_of_one(tmp_path: Path) -> None:
    path = write_study(tmp_path, rounds=2)
    path.write_text(path.read_text().replace("seeds = [0]", "seeds = [0, 1]"))
    one = run(path, tmp_path / "one")
    path.write_text("workers = 2\n" + path.read_text())
    two = run(path, tmp_path / "two")
    assert len(one) == 4
    np.testing.assert_equal(essence(two), essence(one))  # where NaN is NaN


def calls(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[str]:
    """A list that grows by one whenever the function is called."""
    made: list[str] = []
    called = getattr(module, name)

    def counted(*arguments: object) -> object:
        made.append(name)
        return called(*arguments)

    monkeypatch.setattr(module, name, counted)
    return made


def test_methods_share_the_data_and_what_a_seed_divides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two methods at two seeds: data are read once, divided and laid out once a seed."""
    path = write_study(tmp_path, rounds=0)
    path.write_text(path.read_text().replace("seeds = [0]", "seeds = [0, 1]"))
    seen: list[Parts] = []

    def run_job(bench: Bench) -> Plain:
        seen.append(bench.parts)
        return {"history": []}

    monkeypatch.setattr(studies_run, "run_job", run_job)
    loaded = calls(monkeypatch, assembly, "load_data")
    divided = calls(monkeypatch, studies_run, "divide")
    laid_out = calls(monkeypatch, hospitals, "parts_of")
    assert len(run(path, tmp_path / "out")) == 4
    assert (len(loaded), len(divided), len(laid_out)) == (1, 2, 2)
    assert seen[0] is seen[1]
    first, other = (own["hospital-1"]["train"].patient for own in (seen[0], seen[2]))
    assert not np.array_equal(first, other)


def test_a_run_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    """One label of one exam has changed; ``Dataset.digest`` says what else counts."""
    path, out = write_study(tmp_path, rounds=0), tmp_path / "out"
    text = path.read_text().replace("bootstrap = 20", "bootstrap = 0").replace('"mlp"', '"linear"')
    path.write_text(text.replace("concilium]", "fedavg]").replace("[methods.local_only]", ""))
    run(path, out)
    before = (out / "results.json").read_bytes()
    (out / "methods/fedavg/seed-0-fold-0/result.json").unlink()
    with np.load(tmp_path / "features.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["labels"][-1, -1] = 1 - arrays["labels"][-1, -1]
    np.savez(tmp_path / "features.npz", **arrays)
    with pytest.raises(DataError, match="no longer those on which this run was made"):
        run(path, out, resume=True)
    assert (out / "results.json").read_bytes() == before
