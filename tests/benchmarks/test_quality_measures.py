"""What a row says beside its measures: how much its tests are worth."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coupling_tables import covered, decoupled
from evidence import Evidence
from measures import PAIRS_LEFT_OUT, pairs_left_out, undefined
from rows import Row
from store import append

from concilium.evaluation.decoupling import LabelSetCounts
from tests.benchmarks import tiny
from tests.benchmarks.made_rows import NAN, POOLED, row


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Row]:
    """The data of the tiny world, and a row of FedAvg in it."""
    folder = tmp_path_factory.mktemp("measures")
    data = tiny.write_data(folder / "tiny.npz")
    world = replace(tiny.world(data), rates=(0.1,))
    world = tiny.with_tables(world, training={"rounds": 1})
    assert tiny.run(tiny.catalogue(world, "fedavg"), folder) == 0
    (own,) = tiny.rows(folder)
    return folder, own


def test_a_row_says_what_its_decoupled_test_covers(made: tuple[Path, Row]) -> None:
    """Counted here from the file: Σ over label sets that occur of Π of their labels' shares."""
    folder, own = made
    stored = np.load(folder / "tiny.npz")
    labels = stored["labels"][stored["part"] == "test"] == 1
    sets, counts = np.unique(labels, axis=0, return_counts=True)
    share = labels.mean(0)
    expected = np.where(sets, share, 1 - share).prod(1)
    assert own.measures["decoupled_covered"] == pytest.approx(expected.sum(), abs=1e-4)
    capped = counts[len(labels) * expected / counts > 10].sum()
    assert own.measures["decoupled_capped"] == capped
    assert own.measures["decoupled_left_out"] == 0  # no entry is unknown
    before, left = (own.measures[f"decoupled_phi_{when}"] for when in ("before", "left"))
    pairs = np.corrcoef(labels.T)[np.triu_indices(4, k=1)]
    assert before == pytest.approx(np.sqrt(np.mean(pairs**2)))
    assert left < before


def test_a_row_counts_the_pairs_that_its_phi_gap_leaves_out(made: tuple[Path, Row]) -> None:
    assert made[1].measures[PAIRS_LEFT_OUT] == 0
    true = np.array([[1.0, 0.2, NAN], [0.2, 1.0, 0.1], [NAN, 0.1, 1.0]])
    predicted = np.array([[NAN, NAN, 0.1], [NAN, NAN, 0.1], [0.1, 0.1, NAN]])
    assert pairs_left_out({"phi": {"true": true, "predicted": predicted}}) == 2
    assert math.isnan(pairs_left_out({"phi": {"gap": NAN}}))
    assert math.isnan(undefined()[PAIRS_LEFT_OUT])


def test_a_row_without_the_newer_measures_is_repeated_without_them(
    made: tuple[Path, Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, own = made
    world = replace(tiny.world(folder / "tiny.npz"), rates=(0.1,))
    known = tiny.catalogue(tiny.with_tables(world, training={"rounds": 1}), "fedavg")
    old = {key: value for key, value in own.measures.items() if key != "decoupled_covered"}
    append(tmp_path / "tiny.jsonl", replace(own, measures=old))
    assert tiny.run(known, tmp_path, "--repeat", own.id) == 0
    assert "not in the line, so not compared: decoupled_covered" in capsys.readouterr().out
    append(tmp_path / "tiny.jsonl", replace(own, measures={**old, "map": old["map"] + 1e-12}))
    assert tiny.run(known, tmp_path, "--repeat", own.id) == 1


def measured(seed: int, cover: float) -> list[Row]:
    own = {
        **{"false_coupling": 0.2, "auroc": 0.7, "decoupled_coupling": 0.15},
        **{"decoupled_covered": cover, "decoupled_capped": 40.0},
        "decoupled_effective_exams": 123.0,
    }
    return [row("a", seed, own), row("p", seed, own, settings=POOLED)]


def test_the_decoupled_table_says_what_the_test_covers_and_where_that_is_nothing() -> None:
    """Yeast: 14 labels, most label sets of independent labels have no exam (.12 are covered)."""
    good = Evidence.of([*measured(0, 0.98), *measured(1, 1.0)])
    said = "covers 0.99 of what independent labels would show"
    assert said in decoupled(good, "w").caption
    assert "worth 123 equal exams" in covered(good, "w") and "weight of 40" in covered(good, "w")
    assert "say nothing" not in covered(good, "w")
    poor = Evidence.of([*measured(0, 0.13), *measured(1, 0.11)])
    assert "covers 0.12" in covered(poor, "w") and "say nothing" in covered(poor, "w")


def test_old_rows_do_not_say_what_their_decoupled_test_covers() -> None:
    rows = [row("a", 0, {"false_coupling": 0.2, "auroc": 0.7})]
    assert covered(Evidence.of(rows), "w").endswith("these rows do not say.")


def test_a_world_whose_first_model_knows_single_labels_says_its_cover_too() -> None:
    """One label at a time has no decoupled test; another model of the world tells."""
    rows = [*measured(0, 0.9), row("0-by-label", 0, {"auroc": 0.7, "decoupled_covered": NAN})]
    assert "covers 0.90" in covered(Evidence.of(rows), "w")


def test_label_sets_that_nobody_has_are_what_is_not_covered() -> None:
    """Two labels that exclude each other, half the exams each: (1,1) and (0,0) are missing."""
    target = np.array([[1, 0], [0, 1]] * 5)
    counts = LabelSetCounts.of(target, np.ones_like(target, bool))
    own = counts.weights(np.inf).weight
    assert (counts.counts @ own) / counts.num_exams == pytest.approx(0.5)
