"""The benchmark's protocol: alike for all, blind to test exams, resumable, repeatable."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import bodies
import numpy as np
import plan
import pytest
import schedule
import torch
import work
from bodies import Body, Training, Workplace
from command import main
from definitions import HERE, Catalogue, Setting, lacks_data, settings_of, with_value
from methods import Method
from rows import Row
from selection import Entry, resolved
from store import Store, append, whole_lines
from tuning import Trial, choose, together

from concilium.data.dataset import Dataset
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.orchestration.checkpoints import environment
from concilium.orchestration.observers import silent
from concilium.studies import assembly
from concilium.studies.bench import Bench, Job
from concilium.studies.columns import NAN
from concilium.studies.configuration import Study
from concilium.studies.job import run_job
from tests.benchmarks import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_data(tmp_path_factory.mktemp("data") / "tiny.npz")


@pytest.fixture(scope="module")
def known(data: Path) -> Catalogue:
    return tiny.catalogue(tiny.world(data), "fedavg", "fedprox")


@pytest.fixture(scope="module")
def out(known: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of FedAvg and FedProx at one seed, never interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    assert tiny.run(known, folder) == 0
    return folder


def trial(rate: float, *scores: float) -> Trial:
    validation = dict(zip(("none", "newton"), scores, strict=False))
    return Trial("w", "m", 0, rate, None, validation, False, 1.0, "")


def read_trials(out: Path, name: str = "tiny") -> list[Trial]:
    return [Trial.of_json(line) for line in whole_lines(out / f"{name}.trials.jsonl")]


# ---- tuning


def test_every_method_tries_as_many_settings(data: Path, out: Path) -> None:
    world = replace(tiny.world(data), rates=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    assert {len(settings_of(world, method)) for method in tiny.METHODS.values()} == {6}
    assert [own.key for own in settings_of(world, tiny.METHODS["fedprox"])] == [
        json.dumps([rate, value]) for rate in (0.1, 0.3, 0.5) for value in (0.01, 10.0)
    ]
    tried = [own.method for own in read_trials(out)]
    assert tried.count("fedavg") == tried.count("fedprox") == 2
    assert {(row.num_trials, len(row.trials)) for row in tiny.rows(out)} == {(2, 2)}


def test_a_method_that_would_try_more_is_refused(data: Path) -> None:
    greedy = replace(tiny.METHODS["fedprox"], values=(0.01, 0.1, 1.0))
    with pytest.raises(ValueError, match="fedprox would try 3 settings in tiny, others 2"):
        settings_of(tiny.world(data), greedy)


def test_the_best_validation_score_is_chosen_for_each_head() -> None:
    trials = [trial(0.1, 0.5, 0.9), trial(0.3, NAN, 0.8), trial(1.0, 0.7, NAN)]
    assert choose(trials, "none").rate == 1.0
    assert choose(trials, "newton").rate == 0.1


def test_equal_and_undefined_scores_leave_the_first_setting() -> None:
    assert choose([trial(0.1, 0.5), trial(0.3, 0.5)], "none").rate == 0.1
    assert choose([trial(0.1, NAN), trial(0.3, NAN)], "none").rate == 0.1
    assert choose([trial(0.1, NAN), trial(0.3, 0.1)], "none").rate == 0.3


def test_a_setting_is_worth_its_mean_score_over_the_tuning_seeds() -> None:
    both = together([trial(0.1, 0.5, 0.2), trial(0.1, 0.9, NAN)])
    assert both.validation["none"] == pytest.approx(0.7)
    assert math.isnan(both.validation["newton"])  # it diverged at one of them
    assert (both.setting, both.seconds) == (Setting(0.1), 2.0)


def test_settings_are_tried_at_every_tuning_seed_and_chosen_by_the_mean(
    data: Path, tmp_path: Path
) -> None:
    known = tiny.catalogue(tiny.world(data, tuning_seeds=2), "fedavg")
    assert tiny.run(known, tmp_path) == 0
    tried = read_trials(tmp_path)
    assert sorted((own.rate, own.seed) for own in tried) == [(0.1, 0), (0.1, 1), (3.0, 0), (3.0, 1)]
    means = {
        rate: np.mean([own.validation["none"] for own in tried if own.rate == rate])
        for rate in tiny.RATES
    }
    (row,) = tiny.rows(tmp_path)
    assert row.rate == max(means, key=means.__getitem__)
    assert row.num_trials == 2
    assert [own["validation"] for own in row.trials] == pytest.approx(list(means.values()))


def test_test_labels_have_no_say_in_a_choice(tmp_path: Path, out: Path) -> None:
    """With every test label reversed, tuning is the same number for number; AUROC is 1 − AUROC."""
    reversed_ = tiny.write_data(tmp_path / "reversed.npz", test_labels="reversed")
    assert tiny.run(tiny.catalogue(tiny.world(reversed_), "fedavg"), tmp_path) == 0
    (then,) = [row for row in tiny.rows(out) if row.method == "fedavg"]
    (now,) = tiny.rows(tmp_path)
    assert (now.rate, now.trials, now.model) == (then.rate, then.trials, then.model)
    assert now.validation == then.validation
    assert now.measures["auroc"] == pytest.approx(1 - then.measures["auroc"])


def test_a_line_of_a_trial_holds_nothing_of_the_test(out: Path) -> None:
    for line in tiny.lines(out / "tiny.trials.jsonl"):
        assert set(line) == {
            *("world", "method", "seed", "rate", "value", "validation", "diverged", "definition")
        }
        assert set(line["validation"]) == {"none"}


def test_the_setting_of_the_world_that_is_tuned_in_is_taken_over(
    data: Path, tmp_path: Path
) -> None:
    """The swept world trains one round less; left to itself it would try other rates."""
    world = tiny.world(data)
    swept = replace(tiny.world(data, "swept"), tuned_in="tiny", rates=(1.0, 2.0))
    swept = tiny.with_tables(swept, training={"rounds": 1})
    found = Catalogue({"swept": swept, "tiny": world}, {"fedavg": tiny.METHODS["fedavg"]})
    assert tiny.run(found, tmp_path, "--worlds", "swept") == 0
    (row,) = tiny.rows(tmp_path, "swept")
    assert row.tuned_in == "tiny" and row.rate in tiny.RATES
    assert [own["rate"] for own in row.trials] == list(tiny.RATES)
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == [
        "swept.jsonl",
        "tiny.trials.jsonl",
    ]


# ---- rows


def test_bodies_are_trained_once_and_shared_between_heads(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trials; the first seed's rows stand on them, however its heads have chosen.

    Data are read once for all of it.
    """
    trained: list[Training] = []
    read: list[object] = []
    train, load_data = bodies.train, assembly.load_data

    def reading(study: Study, cache: Path) -> Dataset:
        read.append(study)
        return load_data(study, cache)

    def counted(training: Training, workplace: Workplace) -> Any:
        trained.append(training)
        return train(training, workplace)

    monkeypatch.setattr(bodies, "train", counted)
    monkeypatch.setattr(assembly, "load_data", reading)
    world = tiny.with_tables(tiny.world(data), training={"rounds": 1})
    assert tiny.run(tiny.catalogue(world, "exact"), tmp_path) == 0
    assert [own.rate for own in trained] == list(tiny.RATES)
    assert {row.head for row in tiny.rows(tmp_path)} == {"none", "balanced_ridge"}
    assert not (tmp_path / ".bodies").exists()
    assert len(read) == 1


def test_what_is_scored_is_not_tested_and_what_is_assessed_is_the_model_with_its_head(
    data: Path, tmp_path: Path
) -> None:
    training = Training(tiny.world(data).study, {"loss": "bce"}, 0.1, 0)
    assert training.as_study().training.learning_rates == (0.1,)
    heads, workplace = ("none", "balanced_ridge"), Workplace(tmp_path)
    scored = work.do(work.Work(training, heads, (), tmp_path), workplace)
    assert set(scored.scores) == set(heads) and not scored.found
    found = work.do(work.Work(training, (), heads, tmp_path), workplace).found
    none, ridge = (found[head] for head in heads)
    assert none["validation"] == scored.scores["none"] < ridge["validation"]
    assert none["measures"]["map"] < ridge["measures"]["map"] - 0.1
    assert not none["head_report"] and ridge["head_report"]["bytes_up"] > 0
    assert ridge["settings"]["head"] == {"name": "balanced_ridge"}


def test_every_seed_has_its_own_division(data: Path) -> None:
    dealt = {"hospitals": 3, "fractions": [0.5, 0.2, 0.3]}
    study, workplace = {**tiny.world(data).study, "split": dealt}, Workplace(data.parent)

    def patients(seed: int) -> list[int]:
        bench = workplace.benches(Training(study, {"loss": "bce"}, 0.1, seed))[""]
        return bench.parts["hospital-1"]["train"].patient.tolist()

    first = patients(0)
    assert patients(1) != first and patients(0) == first


def test_kept_bodies_are_those_that_were_trained(tmp_path: Path) -> None:
    tensors = NamedTensors({"head.weight": torch.randn(2, 3)})
    body = Body(tensors, {"h": tensors * 2}, 3, 10, 20, ({"round": 1.0, "validation_score": 0.5},))
    path = tmp_path / "kept.pt"
    bodies.save(bodies.Bodies({("", "model"): body}, 1.5), path)
    read = bodies.load(path)
    assert read is not None and read.seconds == 1.5
    own = read.by_place["", "model"]
    assert own.model.digest() == tensors.digest()
    assert own.private["h"].digest() == (tensors * 2).digest()
    assert (own.kept_round, own.bytes_up, own.bytes_down, own.curve) == (3, 10, 20, body.curve)
    assert bodies.load(tmp_path / "missing.pt") is None


def test_a_row_says_what_stands_in_its_contract(out: Path) -> None:
    row = next(row for row in tiny.rows(out) if row.method == "fedprox")
    assert row.settings["algorithm"] == {"name": "fedprox", "strength": row.value}
    assert row.settings["head"] is None and row.parameter == "algorithm.strength"
    assert row.command == f"python benchmarks/quality --repeat {row.id}"
    assert set(row.by_label) == set(tiny.LABELS)
    own = [row.by_label[label]["average_precision"] for label in tiny.LABELS]
    assert row.measures["map"] == pytest.approx(np.mean(own))
    assert row.measures["rare_ap"] == row.by_label["Hernia"]["average_precision"]
    assert set(row.by_hospital) == {"hospital-0", "hospital-1", "hospital-2"}
    worst = min(hospital["auroc"] for hospital in row.by_hospital.values())
    assert row.measures["worst_hospital"] == worst
    assert [point["round"] for point in row.curve] == [1, 2]
    assert max(point["validation_score"] for point in row.curve) == row.validation
    assert 0 <= row.curve[-1]["set_recall"] <= 1
    model = (5 + 1) * 4 * 4  # features and bias, labels, bytes
    assert row.bytes_down >= 2 * 3 * model and row.bytes_up >= 2 * 3 * model


def test_nan_is_null_in_a_line_and_nan_again_when_read(out: Path) -> None:
    row = tiny.rows(out)[0]
    assert math.isnan(row.measures["tail_ap"]) and '"tail_ap": null' in row.to_json()
    holes = {
        "validation": NAN,
        "by_label": {"Mass": {"auroc": NAN}},
        "curve": ({"round": 1.0, "validation_score": NAN},),
        "trials": ({"rate": 0.1, "value": None, "validation": NAN},),
    }
    read = Row.of_json(replace(row, **holes).to_json())
    assert math.isnan(read.validation) and math.isnan(read.by_label["Mass"]["auroc"])
    assert math.isnan(read.curve[0]["validation_score"])
    assert read.trials[0]["value"] is None and math.isnan(read.trials[0]["validation"])
    assert read.settings["head"] is None and read.severity is None
    assert read.to_json() == replace(row, **holes).to_json()


def test_a_rate_that_diverges_is_a_trial_and_is_not_chosen(data: Path, tmp_path: Path) -> None:
    """At 3e38, next to float32's largest number, the loss is soon infinite."""
    world = replace(tiny.world(data), rates=(3e38, 0.1))
    assert tiny.run(tiny.catalogue(world, "fedavg"), tmp_path) == 0
    first, second = read_trials(tmp_path)
    assert first.diverged and math.isnan(first.validation["none"])
    assert not second.diverged and second.validation["none"] > 0
    assert tiny.rows(tmp_path)[0].rate == 0.1


def test_where_every_rate_diverges_the_row_is_there_and_undefined(
    data: Path, tmp_path: Path
) -> None:
    world = replace(tiny.world(data), rates=(2e38, 3e38))
    known = tiny.catalogue(world, "fedavg")
    assert tiny.run(known, tmp_path) == 0
    (row,) = tiny.rows(tmp_path)
    assert row.diverged and row.measures.keys() > {"auroc", "map", "missed"}
    assert all(math.isnan(value) for value in row.measures.values())
    assert tiny.run(known, tmp_path, "--repeat", row.id) == 0


# ---- stopping and going on


@pytest.mark.parametrize("after", [1, 2])
def test_stopped_and_resumed_is_as_if_it_had_never_stopped(
    after: int, known: Catalogue, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped by Ctrl-C after so many of two trials and a row; the last line is torn as well."""
    only = ("--methods", "fedavg")
    begun = 0

    def stops(own: work.Work, workplace: Workplace) -> work.Done:
        nonlocal begun
        begun += 1
        if begun > after:
            raise KeyboardInterrupt
        return work.do(own, workplace)

    monkeypatch.setattr(schedule, "do", stops)
    assert tiny.run(known, tmp_path, *only) == 130
    monkeypatch.undo()
    torn = tmp_path / ("tiny.trials.jsonl" if after == 1 else "tiny.jsonl")
    with torn.open("a") as file:
        file.write('{"world": "ti')
    assert tiny.run(known, tmp_path, *only) == 0
    for name in ("tiny.jsonl", "tiny.trials.jsonl"):
        expected = [line for line in tiny.lines(out / name) if line["method"] == "fedavg"]
        assert tiny.lines(tmp_path / name) == expected


def test_what_is_there_is_not_done_again(
    known: Catalogue,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (out / "tiny.jsonl").read_bytes()
    monkeypatch.setattr(schedule, "do", None)  # whoever calls it fails
    assert tiny.run(known, out) == 0
    assert (out / "tiny.jsonl").read_bytes() == before
    assert "not run" not in capsys.readouterr().err


def test_lines_of_another_definition_do_not_count_and_are_done_anew(
    known: Catalogue, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("tiny.jsonl", "tiny.trials.jsonl"):
        (tmp_path / name).write_bytes((out / name).read_bytes())
    changed = replace(tiny.METHODS["fedavg"], settings={"loss": "balanced_bce"})
    later = replace(known, methods={**known.methods, "fedavg": changed})
    assert tiny.run(later, tmp_path) == 0
    said = capsys.readouterr().err
    assert "tiny.jsonl: 1 line does not count" in said and "fedavg" in said
    found = tiny.rows(tmp_path)
    assert [row.method for row in found] == ["fedavg", "fedprox", "fedavg"]
    assert found[0].model != found[2].model and found[0].id == found[2].id
    store = Store(tmp_path, later, lambda _: None)
    assert store.rows("tiny")[found[0].id].model == found[2].model
    assert len(read_trials(tmp_path)) == 6


def test_titles_change_nothing_and_rates_do(data: Path, known: Catalogue) -> None:
    world, method = known.worlds["tiny"], known.methods["fedavg"]
    own = known.row_definition(world, method)
    assert known.row_definition(replace(world, title="x"), replace(method, title="y")) == own
    other = replace(world, rates=(0.1, 1.0))
    assert known.row_definition(other, method) != own
    assert known.trial_definition(other, method) == known.trial_definition(world, method)
    longer = tiny.with_tables(world, training={"rounds": 3})
    assert known.trial_definition(longer, method) != known.trial_definition(world, method)


def test_a_torn_line_is_cut_off_before_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    append(path, trial(0.1, 0.5))
    with path.open("a") as file:
        file.write("half a li")
    assert len(whole_lines(path)) == 1
    append(path, trial(0.3, 0.6))
    assert [Trial.of_json(line).rate for line in whole_lines(path)] == [0.1, 0.3]


def test_an_error_is_told_and_the_other_methods_go_on(
    known: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(training: Training, workplace: Workplace) -> Any:
        if "algorithm" in training.settings:
            raise RuntimeError("no such thing")
        return train(training, workplace)

    train = bodies.train
    monkeypatch.setattr(bodies, "train", fails)
    assert tiny.run(known, tmp_path) == 1
    assert [row.method for row in tiny.rows(tmp_path)] == ["fedavg"]


# ---- repeating


def test_a_row_is_repeated_from_its_line_bit_for_bit(
    known: Catalogue, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = next(row for row in tiny.rows(out) if row.method == "fedprox")
    assert tiny.run(known, out, "--repeat", row.id) == 0
    said = capsys.readouterr().out
    assert said.count(row.model) == 2 and "the same, bit for bit" in said


@pytest.mark.parametrize(
    "what", ["model", "measure", "rate", "seed", "label", "bytes", "round", "curve"]
)
def test_a_line_that_was_tampered_with_is_not_repeated(
    what: str, known: Catalogue, out: Path, tmp_path: Path
) -> None:
    row = tiny.rows(out)[0]
    changes: dict[str, Any] = {
        "model": {"model": "0" * 64},
        "measure": {"measures": {**row.measures, "map": row.measures["map"] + 1e-12}},
        "bytes": {"bytes_up": row.bytes_up + 1},
        "round": {"kept_round": row.kept_round + 1},
        "curve": {"curve": ({**row.curve[0], "validation_score": 0.5}, *row.curve[1:])},
        "rate": {"rate": 0.2},
        "seed": {"seed": 7},
        "label": {"by_label": {**row.by_label, "Mass": {**row.by_label["Mass"], "auroc": 0.9}}},
    }
    append(tmp_path / "tiny.jsonl", replace(row, **changes[what]))
    assert tiny.run(known, tmp_path, "--repeat", row.id) == 1


def test_what_cannot_be_repeated_is_a_mistake_of_the_caller(known: Catalogue, out: Path) -> None:
    assert tiny.run(known, out, "--repeat", "no-such-row") == 2
    other = replace(known, worlds={"tiny": replace(known.worlds["tiny"], rates=(1.0, 2.0))})
    assert tiny.run(other, out, "--repeat", tiny.rows(out)[0].id) == 2


# ---- one label at a time


def test_each_label_is_learnt_from_the_patients_of_the_full_division(data: Path) -> None:
    """Dealt by Dirichlet over labels: the division of one label alone would be another one."""
    dealt = {"column": "", "hospitals": 3, "fractions": [0.5, 0.2, 0.3]}
    dealt["partitioner"] = {"name": "dirichlet", "alpha": 1.0}
    study = {**tiny.world(data).study, "split": dealt}
    workplace = Workplace(data.parent)
    full = workplace.benches(Training(study, {"loss": "bce"}, 0.1, 0))[""]
    alone = workplace.benches(Training(study, {"loss": "bce"}, 0.1, 0, one_label_at_a_time=True))
    assert tuple(alone) == tiny.LABELS
    for column, bench in enumerate(alone.values()):
        assert bench.form.schema.names == (tiny.LABELS[column],)
        for hospital, parts in full.parts.items():
            for part, exams in parts.items():
                own = bench.parts[hospital][part]
                assert np.array_equal(own.patient, exams.patient)
                assert np.array_equal(own.target[:, 0], exams.target[:, column])


def test_single_labels_are_put_together_and_what_needs_several_is_undefined(
    data: Path, tmp_path: Path
) -> None:
    labels = tiny.LABELS[1:3]
    world = replace(tiny.world(data), rates=(3.0,))
    world = tiny.with_tables(world, data={"labels": labels}, training={"rounds": 1})
    assert tiny.run(tiny.catalogue(world, "by_label"), tmp_path) == 0
    (row,) = tiny.rows(tmp_path)
    own = [row.by_label[label]["auroc"] for label in labels]
    assert row.measures["auroc"] == pytest.approx(np.mean(own))
    assert row.measures["num_labels"] == 2
    assert row.measures["ece_before"] > 0
    several = ("missed", "macro.missed_findings", "missed_second", "false_coupling", "phi_gap")
    for key in (*several, "set_recall", "decoupled_auroc"):
        assert math.isnan(row.measures[key])
    assert row.bytes_down >= 3 * 2 * 6 * 4  # hospitals, labels, numbers, bytes
    assert row.curve == ()


# ---- the grid and the command


def test_patterns_choose_from_a_grid(known: Catalogue) -> None:
    grid = [Entry("tiny", ("fed*",), 3)]
    assert resolved(grid, known) == [Entry("tiny", ("fedavg", "fedprox"), 3)]
    assert resolved(grid, known, methods=["*prox"], seeds=1) == [Entry("tiny", ("fedprox",), 1)]
    assert resolved([Entry("tiny", ("fedavg",), 3)], known, methods=["*prox"]) == []


@pytest.mark.parametrize("asked", [{"worlds": ["tiny", "tinny"]}, {"methods": ["fedprx"]}])
def test_a_pattern_that_nothing_matches_is_a_mistake(
    known: Catalogue, asked: dict[str, list[str]]
) -> None:
    with pytest.raises(InputError, match=r"nothing matches '(tinny|fedprx)'.*(tiny|fedprox)"):
        resolved([Entry("tiny", ("*",), 3)], known, **asked)  # type: ignore[arg-type]


def test_listing_says_what_would_run_and_runs_nothing(
    known: Catalogue, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny.run(known, tmp_path / "new", "--list", seeds=2) == 0
    said = capsys.readouterr().out
    assert "0 of   2 rows" in said and "8 trials to do in all" in said  # 2 × (2 trials + 2 seeds)
    assert not (tmp_path / "new").exists()
    tiny.run(known, out, "--list")
    assert "0 trials to do in all" in capsys.readouterr().out


def test_worlds_without_their_data_are_left_out_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONCILIUM_DATA", str(tmp_path / "nowhere"))
    world = tiny.world(Path("${CONCILIUM_DATA}/features.npz"))
    assert tiny.run(tiny.catalogue(world, "fedavg"), tmp_path) == 0
    assert "tiny is left out: its data are not in" in capsys.readouterr().err


def test_what_cannot_be_run_is_told_before_anything_is(
    known: Catalogue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = Method("wrong", "", {"loss": "softmax"}, heads=("newton",))
    misspelt = Method("misspelt", "", {"loss": "focl"}, heads=("none",))
    found = replace(known, methods={**known.methods, "wrong": wrong, "misspelt": misspelt})
    assert tiny.run(found, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "wrong: " in said and "misspelt: " in said
    assert not (tmp_path / "out").exists()


def test_tables_are_made_of_the_rows_that_are_there(known: Catalogue, out: Path) -> None:
    assert tiny.run(known, out, "--tables", "--methods", "fedavg") == 0
    assert (out / "tables.txt").read_text() == "1"


def test_a_parameter_finds_its_place_in_the_settings() -> None:
    fedprox = tiny.METHODS["fedprox"]
    assert with_value(fedprox, 0.5)["algorithm"] == {"name": "fedprox", "strength": 0.5}
    assert fedprox.settings["algorithm"] == "fedprox"
    table = replace(fedprox, settings={"algorithm": {"name": "fedprox", "strength": 3}})
    assert with_value(table, 0.5)["algorithm"] == {"name": "fedprox", "strength": 0.5}
    whole = replace(fedprox, parameter="loss")
    assert with_value(whole, "focal")["loss"] == "focal"


def test_a_row_waits_for_its_own_tuning_and_for_nothing_else(
    known: Catalogue, tmp_path: Path
) -> None:
    """FedAvg's two trials are done while FedProx's are not: its row is next."""
    store = Store(tmp_path, known)
    todo = plan.Plan([Entry("tiny", ("fedavg", "fedprox"), 1)], known, store)
    units = [todo.next() for _ in range(4)]
    assert todo.next() is None and todo.num_trials == 2
    for unit in units:
        assert unit is not None and not unit.heads
        if unit.method.name == "fedavg":
            todo.took(unit, work.Done({"none": unit.setting.rate}))
    row = todo.next()
    assert row is not None and row.method.name == "fedavg" and row.heads == ("none",)
    assert row.setting == Setting(3.0)
    assert todo.next() is None


# ---- slow: beside the library's own run, and in two processes


def result_of(training: Training, head: str, folder: Path) -> dict[str, Any]:
    """What `concilium run` finds for the same study."""
    study, bench = training.as_study(head), Workplace(folder).benches(training)[""]
    study = study.model_copy(
        update={"evaluation": study.evaluation.model_copy(update={"bootstrap": 0})}
    )
    job = Job(bodies.METHOD, training.seed)
    return run_job(Bench.of(study, job, bench.form, bench.parts, folder / head, silent))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["exact", "local_only", "pooled"])
def test_a_row_means_what_a_run_of_the_same_study_means(
    method: str, data: Path, tmp_path: Path
) -> None:
    known = tiny.catalogue(tiny.world(data), method)
    assert tiny.run(known, tmp_path) == 0
    for row in tiny.rows(tmp_path):
        training = plan.Unit(
            known.worlds["tiny"], known.methods[method], Setting(row.rate), 0
        ).training
        own = result_of(training, row.head, tmp_path)
        assert row.model == own["model"]
        assert row.validation == own["validation_score"]
        assert row.measures["map"] == own["test"]["macro"]["average_precision"]["mean"]
        assert row.measures["set_recall"] == own["test"]["label_sets"][0]["recall"]
        assert (row.bytes_up, row.bytes_down) == (own["bytes_up"], own["bytes_down"])
        hospitals = own["test"]["by_hospital"].items()
        assert {name: own["auroc"] for name, own in row.by_hospital.items()} == {
            name: found["macro"]["auroc"]["mean"] for name, found in hospitals
        }


@pytest.mark.slow
def test_what_stayed_at_home_is_used_with_a_body_that_was_kept(tmp_path: Path) -> None:
    """FedBN keeps normalisation at hospitals: on phantoms, whose network has some."""
    study = {
        "data": {"source": {"name": "phantom", "num_exams": 150, "image_size": 32}},
        "split": {"hospitals": 2},
        "network": {"architecture": "small_cnn"},
        "training": {"rounds": 1, "optimizer": "adam"},
        "evaluation": {"min_positives": 1},
    }
    settings = {"loss": "bce", "sharing": "all_but_normalisation"}
    training = Training(study, settings, 0.01, 0)
    own = work.Work(training, ("none",), (), tmp_path, keep=True)
    workplace = Workplace(tmp_path)
    first = work.do(own, workplace)
    assert not first.error and own.file.exists()
    kept = bodies.load(own.file)
    assert kept is not None and len(kept.by_place["", "model"].private) == 2
    then = work.do(replace(own, scored=(), assessed=("newton",)), workplace)
    found = result_of(training, "newton", tmp_path)
    assert then.found["newton"]["model"] == found["model"]
    assert then.found["newton"]["validation"] == found["validation_score"]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(known: Catalogue, out: Path, tmp_path: Path) -> None:
    assert tiny.run(known, tmp_path, "--workers", "2") == 0
    for name in ("tiny.jsonl", "tiny.trials.jsonl"):
        ours, theirs = (_sorted(tiny.lines(folder / name)) for folder in (tmp_path, out))
        assert ours == theirs


def _sorted(lines: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(line, sort_keys=True) for line in lines)


@pytest.mark.slow
def test_a_row_of_the_quick_grid_is_repeated_from_its_line() -> None:
    """The cheapest one of the results that stand in the repository, where there are any."""
    import grid  # it reads the catalogues, which no other test needs

    store = Store(HERE / "results", grid.CATALOGUE, lambda _: None)
    here = environment()
    found = [
        row
        for entry in resolved(grid.QUICK, grid.CATALOGUE)
        if not lacks_data(grid.CATALOGUE.worlds[entry.world])
        for row in store.rows(entry.world).values()
        if here.items() <= row.environment.items()
    ]
    if not found:
        pytest.skip("no row of the quick grid was made on such a machine, of data that are here")
    row = min(found, key=lambda row: row.seconds if row.seconds > 0 else math.inf)
    argv = ["--repeat", row.id]
    assert main("", argv, grid.CATALOGUE, grid.QUICK, grid.FULL, lambda *_: None) == 0
