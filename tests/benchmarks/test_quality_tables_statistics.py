"""Statistics over seeds: what is paired, what is missing, who wins, how ranks are told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from evidence import Evidence, Model
from model_charts import groups
from paired import hospital_gain, paired, ratios, relative_to_pooled
from rank_tables import ranked
from ranking import Score, nemenyi, ranks, score
from rows import Row
from scipy import stats
from sweeps import BASES, sweeps_of

from tests.benchmarks.made_rows import ALONE, NAN, POOLED, row, series, small_grid

A, B, C = Model("a", "none"), Model("b", "none"), Model("c", "none")


def test_a_paired_interval_is_that_of_a_paired_t_test() -> None:
    first, second = [0.71, 0.74, 0.69, 0.75, 0.70], [0.70, 0.70, 0.70, 0.71, 0.67]
    found = paired(dict(enumerate(first)), dict(enumerate(second)))
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(np.mean(first) - np.mean(second))
    # Unpaired, the interval would be that of two independent samples.
    assert found.high - found.low < np.diff(stats.ttest_ind(first, second).confidence_interval())


def test_only_seeds_that_both_have_are_paired_and_the_others_are_named() -> None:
    found = paired({0: 1.0, 1: 2.0, 2: NAN, 5: 9.0}, {0: 0.0, 1: 1.0, 2: 3.0, 7: 4.0})
    assert found.mean == 1.0
    assert (found.seeds, found.undefined, found.unpaired) == ((0, 1), (2,), (5, 7))
    assert math.isnan(found.low)
    assert found.verdict("higher") == "unknown"
    assert "too few" in found.text(".3f")


def test_nothing_paired_is_undefined_and_not_zero() -> None:
    found = paired({0: 1.0}, {1: 1.0})
    assert math.isnan(found.mean)
    assert found.text(".3f") == "–"


@pytest.mark.parametrize(
    ("gaps", "better", "verdict"),
    [
        ((0.1, 0.11, 0.12), "higher", "better"),
        ((0.1, 0.11, 0.12), "lower", "worse"),
        ((-0.1, -0.11, -0.12), "lower", "better"),
        ((0.1, -0.11, 0.02), "higher", "tie"),
        ((0.0, 0.0, 0.0), "higher", "tie"),
    ],
)
def test_a_win_is_an_interval_that_lies_on_the_good_side(gaps, better, verdict) -> None:  # type: ignore[no-untyped-def]
    assert paired(dict(enumerate(gaps)), dict.fromkeys(range(3), 0.0)).verdict(better) == verdict


def test_ratios_are_taken_seed_by_seed() -> None:
    # Of means it would be 3 / 6 = 0.5; by seed it is (0.5 + 1) / 2. Nothing over 0 is undefined.
    found = ratios({0: 5.0, 1: 1.0, 2: 1.0}, {0: 10.0, 1: 1.0, 2: 0.0})
    assert (found[0], found[1]) == (0.5, 1.0)
    assert math.isnan(found[2])


def test_the_pooled_model_is_chosen_on_validation_and_not_on_test() -> None:
    lucky = series("lucky", "map", [0.9, 0.9], settings=POOLED, validation=0.2)
    chosen = series("chosen", "map", [0.4, 0.8], settings=POOLED, validation=0.3)
    evidence = Evidence.of([*series("a", "map", [0.2, 0.2]), *lucky, *chosen])
    assert evidence.pooled("w") == Model("chosen", "none")
    assert relative_to_pooled(evidence, "w", A, "map") == {0: 0.5, 1: 0.25}


def test_a_model_with_fewer_seeds_is_no_reference_by_luck() -> None:
    few = series("few", "map", [0.9], settings=POOLED, validation=0.9)
    all_seeds = series("all", "map", [0.4, 0.8], settings=POOLED, validation=0.3)
    assert Evidence.of([*few, *all_seeds]).pooled("w") == Model("all", "none")


def test_wins_ties_and_losses_are_counted_over_worlds() -> None:
    rows = []
    for world, gap in (("x", 0.1), ("y", 0.1), ("z", -0.1), ("t", 0.0)):
        rows += series("b", "map", [0.5, 0.6, 0.7], world=world)
        # In "t" the differences are +.05, 0, −.05; elsewhere the gap and less than a tenth of it.
        own = [0.5 + gap, 0.6 + 1.05 * gap, 0.7 + 0.95 * gap] if gap else [0.55, 0.6, 0.65]
        rows += series("a", "map", own, world=world)
    rows += series("a", "map", [0.9, 0.9], world="u") + series("b", "map", [0.1, 0.1], world="u")
    rows += series("a", "map", [0.9, 0.9, 0.9], world="alone")
    evidence = Evidence.of(rows)
    assert score(evidence, A, B, "map", "higher") == Score(2, 1, 1, unknown=1)
    assert score(evidence, B, A, "map", "higher") == Score(1, 1, 2, unknown=1)
    assert score(evidence, A, B, "map", "lower") == Score(1, 1, 2, unknown=1)


@pytest.mark.parametrize(
    ("num_models", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_the_critical_difference_is_the_printed_one(num_models: int, q: float) -> None:
    # Demšar 2006, table 5 (a): critical values at 5 %. His example has k = 4 and N = 14: CD 1.25.
    expected = q * math.sqrt(num_models * (num_models + 1) / (6 * 14))
    assert nemenyi(num_models, 14) == pytest.approx(expected, abs=1e-3)
    if num_models == 4:
        assert nemenyi(4, 14) == pytest.approx(1.25, abs=5e-3)


def test_average_ranks_and_friedman_go_over_worlds_and_seeds_that_all_have() -> None:
    rows = []
    for world in ("x", "y"):
        rows += series("a", "map", [0.3, 0.3], world=world)
        rows += series("b", "map", [0.2, 0.2], world=world)
        rows += series("c", "map", [0.2, 0.1], world=world)
    rows += series("a", "map", [0.0, 0.0], world="only a")
    rows += [row("a", 2, {"map": 0.0}, world="y")]  # a seed that the others lack
    found = ranks(Evidence.of(rows), (A, B, C), "map", "higher")
    assert found is not None
    # a is first in 4 blocks; b is second in two and shares 2.5 in two; c is third or shares.
    assert found.average == (1.0, 2.25, 2.75)
    assert (found.num_blocks, found.worlds, found.num_left_out) == (4, ("x", "y"), 1)
    values = np.array([[0.3, 0.2, 0.2], [0.3, 0.2, 0.1]] * 2)
    assert found.p == pytest.approx(stats.friedmanchisquare(*values.T).pvalue)
    assert found.difference == pytest.approx(nemenyi(3, 4))
    assert found.by_world == pytest.approx(nemenyi(3, 2))


def test_an_undefined_value_takes_its_block_out_of_the_ranks() -> None:
    rows = series("a", "map", [0.3, NAN]) + series("b", "map", [0.2, 0.2])
    found = ranks(Evidence.of(rows), (A, B), "map", "higher")
    assert found is not None
    assert (found.num_blocks, found.num_left_out) == (1, 1)
    assert found.average == (1.0, 2.0)
    assert math.isnan(found.p)


def test_a_method_of_few_worlds_does_not_empty_the_ranks() -> None:
    rows = [*series("rare", "map", [0.9], world="x")]
    for world in "xyz":
        rows += series("a", "map", [0.3], world=world) + series("b", "map", [0.2], world=world)
    found = ranked(Evidence.of(rows), "none")
    assert found is not None
    assert found.models == (A, B)
    assert found.worlds == ("x", "y", "z")


def test_bars_join_the_longest_runs_within_the_difference() -> None:
    assert groups([1.0, 1.5, 3.0, 3.4], 1.0) == [(0, 1), (2, 3)]
    assert groups([1.0, 2.0, 3.0], 1.0) == [(0, 1), (1, 2)]
    assert groups([1.0, 3.0], 1.0) == []


def test_gains_are_those_of_each_hospital_over_itself_alone() -> None:
    def hospitals(*values: float) -> dict[str, dict[str, float]]:
        return {f"h{k}": {"auroc": v, "map": 0.0} for k, v in enumerate(values)}

    rows = [
        row("a", 0, {}, by_hospital=hospitals(0.7, 0.6, NAN)),
        row("a", 1, {}, by_hospital=hospitals(0.8, 0.8, 0.8)),
        row("a", 2, {}, by_hospital=hospitals(0.8, 0.8, 0.8)),  # nobody is alone at this seed
        row("local", 0, {}, settings=ALONE, by_hospital=hospitals(0.6, 0.65, 0.5)),
        row("local", 1, {}, settings=ALONE, by_hospital=hospitals(0.7, 0.7, 0.7)),
    ]
    gain = hospital_gain(Evidence.of(rows), "w", A)
    assert gain.by_seed("mean") == pytest.approx({0: 0.025, 1: 0.1})
    assert gain.by_seed("worst") == pytest.approx({0: -0.05, 1: 0.1})
    assert gain.by_seed("share") == {0: 0.5, 1: 1.0}
    assert gain.num_undefined == 1


def test_missing_and_diverged_seeds_are_named_and_never_filled() -> None:
    rows = series("a", "map", [0.3, 0.3, 0.3]) + series("b", "map", [0.2])
    rows += [row("b", 2, {"map": NAN}, model="")]
    gaps = Evidence.of(rows).gaps()
    assert [(gap.model, gap.missing, gap.diverged) for gap in gaps] == [(B, (1,), (2,))]


def test_two_rows_for_the_same_thing_are_refused() -> None:
    with pytest.raises(ValueError, match="two rows"):
        Evidence.of(series("a", "map", [0.1]) * 2)


def test_a_sweep_takes_in_the_world_whose_settings_it_uses() -> None:
    (sweep,) = sweeps_of(Evidence.of(reversed(small_grid())))
    assert (sweep.severity, sweep.worlds, sweep.values) == ("specialist", ("a", "b"), (0.0, 1.0))


def test_a_base_of_several_sweeps_stands_in_each() -> None:
    rows = series("a", "map", [0.1], world="features-20")
    for name, severity in (("l", ("specialist λ", 0.0)), ("e", ("local epochs", 5.0))):
        rows += series("a", "map", [0.1], world=name, severity=severity, tuned_in="features-20")
    found = {sweep.severity: sweep for sweep in sweeps_of(Evidence.of(rows))}
    assert found["specialist λ"].values == (0.0, 1.0)
    assert found["local epochs"].worlds == ("features-20", "e")


def test_what_a_base_is_said_to_be_is_what_the_catalogue_says() -> None:
    from grid import CATALOGUE

    from concilium.studies.configuration import TrainingSettings

    defaults = TrainingSettings()
    for (name, severity), value in BASES.items():
        study = CATALOGUE.worlds[name].study
        partitioner, training = study["split"]["partitioner"], study["training"]
        match severity:
            case "specialist λ":
                found = {own["concentration"] for own in partitioner["specialists"]}
            case "Dirichlet α":
                found = {partitioner["of"]["alpha"]}
            case "local epochs":
                found = {training.get("local_epochs", defaults.local_epochs)}
            case "participation":
                found = {training.get("participation", defaults.participation)}
            case "rounds":
                found = {training["rounds"]}
            case other:
                raise AssertionError(other)
        assert found == {value}, (name, severity)


def test_a_model_for_each_label_by_itself_is_no_reference() -> None:
    """Its labels each keep their own best round: its validation score is another kind of number."""
    rows = [
        *series("local_only", "auroc", [0.6, 0.6, 0.6], settings=ALONE, validation=0.2),
        *series("one_label_local", "auroc", [0.5, 0.5, 0.5], settings=ALONE, validation=0.4),
    ]
    assert Evidence.of(rows).alone("w") == Model("local_only", "none")


def test_a_row_that_diverged_is_undefined_in_all_that_it_says() -> None:
    nothing = {"model": "", "validation": NAN, "kept_round": NAN, "seconds": NAN}
    read = Row.of_json(row("a", 0, {"map": NAN}, **nothing).to_json())
    evidence = Evidence.of([read, row("a", 1, {"map": 0.3})])
    for key in ("seconds", "validation", "map"):
        values = evidence.values("w", Model("a", "none"), key)
        assert math.isnan(values[0]) and not math.isnan(values[1])
