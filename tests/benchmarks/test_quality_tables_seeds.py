"""Seeds that diverged, are undefined or missing: counted wherever a mean leaves them out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from answers import erased, erases, gained, kept, multi_label, part_said, restored, swept
from comparisons import BASELINE, at_a_glance, compared, compared_labels
from comparisons import tables as comparison_tables
from coupling_tables import cheapest, decoupled
from evidence import Evidence, Model
from paired import paired
from rank_tables import ranked, ranks_table, wins
from ranking import Score, ranks, score
from rows import Row
from shown import SHOWN
from sweeps import sweeps_of
from table_forms import Table
from tables import document

from tests.benchmarks.made_rows import ALONE, NAN, POOLED, row, series

A, B, C = Model("a", "none"), Model("b", "none"), Model("c", "none")


def diverged(method: str, *seeds: int, **given) -> list[Row]:  # type: ignore[no-untyped-def]
    return [row(method, seed, {}, model="", validation=NAN, **given) for seed in seeds]


def cells(table: Table) -> dict[str, list[str]]:
    """Texts of each line by its first one."""
    texts = [[getattr(cell, "text", cell) for cell in line] for line in table.rows]
    return {line[0]: line[1:] for line in texts}  # type: ignore[misc]


def pooled(key: str, values: Sequence[float], **given) -> list[Row]:  # type: ignore[no-untyped-def]
    return series("p", key, values, settings=POOLED, **given)


# ---- numbers


def test_a_mean_counts_all_seeds_of_its_world_and_not_those_of_its_model() -> None:
    rows = [*series("a", "map", [0.2, NAN]), *series("b", "map", [0.1] * 4)]
    measured = SHOWN["map"].measured(Evidence.of(rows), "w", A)
    assert (measured.num_defined, measured.num_undefined) == (1, 3)


def test_a_paired_difference_says_how_many_seeds_it_has_of_those_that_were_run() -> None:
    gap = paired({0: 1.0, 1: 1.0, 2: NAN}, {0: 0.5, 1: 0.5, 2: 0.5, 3: 0.5})
    assert gap.text(".1f", 4) == "+0.5 [too few pairs] (2 of 4)"
    assert gap.text(".1f", 2) == "+0.5 [too few pairs]"


def test_a_pooled_model_that_diverged_less_is_the_reference() -> None:
    """Seed 2 is hard for both: who diverged there has the better mean of the rest."""
    often = series("often", "map", [0.4, 0.4], settings=POOLED, validation=0.9)
    often += diverged("often", 2, settings=POOLED)
    never = series("never", "map", [0.4] * 3, settings=POOLED, validation=0.5)
    assert Evidence.of([*often, *never]).pooled("w") == Model("never", "none")


# ---- what is kept of pooled training


def test_parts_of_pooled_training_say_over_how_many_seeds_they_go() -> None:
    rows = [*series("fedavg_bce", "map", [0.2, 0.2, NAN]), *pooled("map", [0.4] * 3)]
    (line,) = erased(Evidence.of(rows), (BASELINE,)).rows
    assert line[-1] == "50 [too few pairs] (2 of 3)"


def test_a_seed_that_the_pooled_model_lacks_is_counted_as_well() -> None:
    rows = [*series("fedavg_bce", "map", [0.2] * 4), *pooled("map", [0.4] * 3)]
    evidence = Evidence.of(rows)
    assert erased(evidence, (BASELINE,)).rows[0][-1] == "50 [50, 50] (3 of 4)"
    assert SHOWN["map_of_pooled"].text(evidence, "w", BASELINE) == "50.0 ± 0.0 (3 of 4)"


def test_who_diverged_is_named_beside_what_is_left() -> None:
    rows = [*series("fedavg_bce", "map", [0.4, 0.4]), *pooled("map", [0.4] * 3)]
    made = cells(erased(Evidence.of([*rows, *diverged("fedavg_bce", 2)]), (BASELINE,)))
    assert made["w: fedavg_bce; diverged 2"][-1] == "100 [too few pairs] (2 of 3)"
    everywhere = Evidence.of([*diverged("fedavg_bce", 0, 1, 2), *pooled("map", [0.4] * 3)])
    assert cells(erased(everywhere, (BASELINE,))) == {
        "w: fedavg_bce; diverged 0 1 2": ["–", "–", "–", "–"]
    }


def test_a_diverged_world_is_the_least_of_all_and_moves_the_median() -> None:
    rows = []
    for world in "xyz":
        rows += pooled("map", [1.0, 1.0], world=world)
        rows += series("a", "map", [0.9, 0.9] if world != "z" else [0.9], world=world)
    evidence = Evidence.of([*rows, *diverged("a", 1, world="z")])
    assert part_said(kept(evidence, A, "map")["z"]) == "diverged"
    made = restored(evidence)
    line = dict(zip(made.columns[1:], cells(made)["a"], strict=True))
    assert (line["mAP, median world"], line["fewer seeds"], line["worlds"]) == ("90", "1", "3")
    assert made.rows[0][made.columns.index("mAP, median world") + 1] == "diverged"
    worse = Evidence.of([*rows, *diverged("a", 1, world="z"), *diverged("a", 2, world="x")])
    assert part_said(kept(worse, A, "map")["x"]) == "90"  # pooled has no seed 2 to lose to
    rows += [*diverged("a", 2, world="x"), *diverged("a", 1, world="z")]
    rows += [row("p", 2, {"map": 1.0}, settings=POOLED, world="x")]
    made = restored(Evidence.of(rows))
    assert cells(made)["a"][made.columns.index("mAP, median world") - 1] == "diverged"


def test_where_pooled_training_diverged_nobody_loses_to_it() -> None:
    rows = [*series("a", "map", [0.9]), *pooled("map", [1.0]), *diverged("a", 1)]
    evidence = Evidence.of([*rows, *diverged("p", 1, settings=POOLED)])
    assert kept(evidence, A, "map") == {"w": pytest.approx(90)}


def test_where_the_baseline_diverged_it_is_not_said_to_keep_what_the_rest_keeps() -> None:
    rows = [*series("fedavg_bce", "set_recall", [1.0] * 3), *pooled("set_recall", [1.0] * 4)]
    (said,) = erases(Evidence.of([*rows, *diverged("fedavg_bce", 3)]), BASELINE)
    assert said.startswith("fedavg_bce diverged at some seed") and "w (rare-set recall)" in said
    (said,) = erases(Evidence.of(rows), BASELINE)
    assert "w (rare-set recall: 100 % (3 of 4))" in said


# ---- beside another model


def measured(method: str, seed: int, quality: float, **given) -> Row:  # type: ignore[no-untyped-def]
    keys = ("auroc", "map", "false_coupling", "missed", "missed_second")
    return row(method, seed, dict.fromkeys(keys, quality), **given)


def test_every_table_of_a_question_counts_the_seeds_that_it_leaves_out() -> None:
    """Four seeds were run; "a" diverged at the last."""
    hospitals = {"h": {"auroc": 0.7}}
    rows = [measured("a", seed, 0.30, by_hospital=hospitals) for seed in range(3)]
    rows += diverged("a", 3)
    for method, given in (("softmax", {}), ("p", POOLED), ("local", ALONE)):
        rows += [
            measured(method, seed, 0.25, settings=given, by_hospital=hospitals) for seed in range(4)
        ]
    evidence = Evidence.of(rows)
    for table in (multi_label(evidence, (A,)), gained(evidence, (A,))):
        line = cells(table)["w: a; diverged 3"]
        with_numbers = [text for text in line if "±" in text or "[" in text]
        assert len(with_numbers) >= 3
        own = [text for text in with_numbers if not text.startswith("0.250")]
        assert [text for text in own if "(3 of 4)" not in text and text != "0 ± 0"] == []
    line = cells(decoupled(evidence, "w"))["a"]
    assert [text.endswith("(3 of 4)") for text in line[:4]] == [True] * 4


def test_a_model_that_diverged_at_every_seed_stands_in_the_tables_as_diverged() -> None:
    hospitals = {"h": {"auroc": 0.7}}
    rows = [*diverged("a", 0, 1), *diverged("b", 0, world="v", severity=("λ", 1.0))]
    rows += [measured("softmax", seed, 0.25, by_hospital=hospitals) for seed in range(2)]
    rows += [
        measured("local", seed, 0.2, settings=ALONE, by_hospital=hospitals) for seed in range(2)
    ]
    rows += [row("b", 0, {"map": 0.5}, world="u", severity=("λ", 0.0), tuned_in="v")]
    evidence = Evidence.of(rows)
    assert cells(multi_label(evidence, (A,)))["w: a; diverged 0 1"][0] == "diverged"
    assert cells(gained(evidence, (A,)))["w: a; diverged 0 1"][0] == "diverged"
    (sweep,) = sweeps_of(evidence)
    assert cells(swept(evidence, sweep, "map"))["b"] == ["0.500", "diverged"]


def test_a_model_without_some_seed_of_pooled_training_is_neither_cheapest_nor_bold() -> None:
    rows = [row("p", s, {"false_coupling": 0.4, "auroc": 0.8}, settings=POOLED) for s in range(3)]
    rows += [row("whole", s, {"false_coupling": 0.30, "auroc": 0.8}) for s in range(3)]
    rows += [row("part", s, {"false_coupling": 0.20, "auroc": 0.8}) for s in range(2)]
    evidence = Evidence.of([*rows, *diverged("part", 2), *diverged("never", 0, 1, 2)])
    ((world, model, *_, left_out),) = cheapest(evidence).rows
    assert (world, model, left_out) == ("w", "whole", "2")
    made = decoupled(evidence, "w")
    assert [line[0].text for line in made.rows if line[0].bold] == ["whole"]  # type: ignore[union-attr]
    assert made.caption.endswith("Without a number: never.")


# ---- who wins


def test_who_diverged_loses_the_world_whatever_the_other_seeds_say() -> None:
    """The first is better at three seeds, and diverged at a fourth."""
    rows = series("a", "map", [0.9, 0.91, 0.92]) + series("b", "map", [0.1, 0.1, 0.1, 0.1])
    evidence = Evidence.of([*rows, *diverged("a", 3)])
    assert score(evidence, A, B, "map", "higher") == Score(0, 0, 1, diverged=1, left_out=1)
    assert score(evidence, B, A, "map", "higher") == Score(1, 0, 0, diverged=1, left_out=1)
    both = Evidence.of([*rows[:-1], *diverged("a", 3), *diverged("b", 3)])
    assert score(both, A, B, "map", "higher") == Score(1, 0, 0, left_out=1)
    without = Evidence.of(rows)  # a seed without a row is missing, and not lost
    assert score(without, A, B, "map", "higher") == Score(1, 0, 0, left_out=1)


def test_an_undefined_measure_is_left_out_of_a_score_and_counted() -> None:
    rows = series("a", "map", [0.9, 0.91, 0.92, NAN]) + series("b", "map", [0.1] * 4)
    assert score(Evidence.of(rows), A, B, "map", "higher") == Score(1, left_out=1)
    caption = wins(Evidence.of(rows), A).caption
    # mAP lacks one pair; AUROC, rare-label AP and worst hospital all four of theirs.
    assert "13 pairs are left out" in caption and ": 0 wins and losses" in caption


def test_a_diverged_row_ranks_last_and_takes_nobody_out() -> None:
    rows = [
        *(series("a", "map", [0.9, 0.9]) + diverged("a", 2, 3)),
        *(series("b", "map", [0.5, 0.5, 0.5]) + diverged("b", 3)),
        *series("c", "map", [0.1, 0.1, 0.1, 0.1]),
    ]
    for better, average in (("higher", (1.875, 1.875, 2.25)), ("lower", (2.875, 2.125, 1.0))):
        found = ranks(Evidence.of(rows), (A, B, C), "map", better)  # type: ignore[arg-type]
        assert found is not None
        assert found.average == average
        assert (found.num_blocks, found.num_left_out, found.num_diverged) == (4, 0, 3)
        assert 0 < found.p <= 1


def test_what_ranks_leave_out_is_said_below_them() -> None:
    rows = []
    for world in "vwxy":
        rows += series("a", "map", [0.3, NAN], world=world)
        rows += series("b", "map", [0.2, 0.2], world=world) if world != "v" else []
    rows += [*series("rare", "map", [0.9], world="x"), *diverged("b", 2, world="y")]
    rows += [row("a", 2, {"map": 0.1}, world="y")]
    found = ranked(Evidence.of(rows), "none")
    assert found is not None
    caption = ranks_table(found, "map", "none").caption
    assert "4 blocks (world and seed) in 3 worlds; left out: 3 blocks and 1 worlds" in caption
    assert "1 models that less than half" in caption
    assert "1 trainings diverged and stand last" in caption


def test_a_comparison_is_lost_by_the_one_that_diverged() -> None:
    mass = {"by_label": {"Mass": {"average_precision": 0.5}}}
    rows = series("b", "map", [0.1] * 4, **mass) + diverged("a", 3)
    rows += series("a", "map", [0.9, 0.91, 0.92], **mass)
    evidence = Evidence.of(rows)
    (found,) = compared(evidence, A, B)
    assert (found.what, found.verdict) == ("mAP", "worse")
    assert [own.verdict for own in compared_labels(evidence, A, B)] == ["worse"]
    (line,) = at_a_glance((found,), A, B).rows
    assert line[1] == "▼ +0.810 (3 of 4)"
    _, worse = comparison_tables((found,), A, B)
    assert str(worse.rows[0][4]).endswith("(3 of 4)")
    assert worse.rows[0][5] == "3; undefined 3"
    never = Evidence.of([*diverged("a", 0, 1), *series("b", "map", [0.1] * 2, **mass)])
    (found,) = compared(never, A, B)
    assert (found.first, found.verdict, found.gap.text(".3f")) == ("diverged", "worse", "–")
    assert [own.what for own in compared_labels(never, A, B)] == ["Mass"]


def test_a_document_of_diverged_rows_alone_can_be_written() -> None:
    rows = [*diverged("concilium", 0, 1, head="newton"), *diverged("fedavg_bce", 0, 1)]
    text = document(Evidence.of([*rows, *diverged("p", 0, settings=POOLED)]))
    assert "Training diverged at seed 0 1." in text and "inf" not in text
