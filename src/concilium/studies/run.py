"""Run a study: every method, seed and fold, side by side where asked, into one run folder.

RUN/study.toml, study.json     the study as written, and as run (paths absolute)
RUN/manifest.json              versions, threads, device, precision, digest of the study
RUN/data.json                  what the data are: counts, notes, label policy
RUN/splits/seed-S-fold-F/      who holds what, the proof of disjointness, what shifted
RUN/methods/M/seed-S-fold-F/   checkpoints, history.jsonl, model.safetensors, result.json
RUN/results.json               all results together
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from concilium.data.dataset import Dataset, Form
from concilium.foundation.errors import DataError, InputError, Problem, StudyError
from concilium.foundation.files import locked, plain, write_atomically, write_json
from concilium.orchestration.checkpoints import environment
from concilium.orchestration.observers import Event, Observer
from concilium.studies import assembly, hospitals
from concilium.studies.bench import Bench, Hands, Job, Parts
from concilium.studies.configuration import Study, changes
from concilium.studies.division import Division, divide, save_division
from concilium.studies.job import run_job
from concilium.studies.label_checks import check_labels
from concilium.studies.side_by_side import in_processes
from concilium.training.memory import keep_freed_memory

FEDERATION = "federation.json"
"""In a run folder: it is that of a federation whose hospitals are elsewhere (``deployment``)."""

JobObserver = Callable[[Job, Event], None]


def jobs_of(study: Study) -> list[Job]:
    """All jobs: seeds and folds outermost, so that early results compare methods."""
    folds = range(max(1, study.split.folds))
    return [
        Job(method, seed, fold)
        for seed in study.seeds
        for fold in folds
        for method in study.methods
    ]


def jobs_of_run(run: Path, study: Study) -> list[Job]:
    """The jobs of a run folder: in a federation without the methods that it cannot train."""
    path = run / FEDERATION
    account = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return [job for job in jobs_of(study) if job.method not in account.get("methods_left_out", {})]


def run_study(
    study: Study, text: str, run: Path, cache: Path, resume: bool, observer: JobObserver
) -> list[dict[str, Any]]:
    """Run every job that is not finished yet; the results of all of them, in order.

    Nothing is written before the data are read and divided, so what is wrong with them, or with a
    runtime that cannot run hospitals with such data, leaves no folder behind. Raises StudyError
    where the folder holds another study, or the same one without ``resume``, and DataError for data
    that cannot be used.
    """
    prepare_process()
    check_here(run)
    check_folder(study, run, resume)
    dataset = assembly.load_data(study, cache)
    check_labels(dataset, study, assembly.policy_of(study))
    hospitals.check_runtime(study, dataset)
    description = describe_data(study, dataset)
    check_data(run, description["digest"])
    jobs = jobs_of(study)
    workplace = Workplace(study, dataset, run)
    divided = [(job, workplace.division(job)) for job in one_each_division(study)]
    with locked(run, held_by_another(run)):
        open_folder(study, text, run, resume)
        write_json(run / "data.json", description)
        for job, division in divided:
            save_division(division_folder(run, job), dataset, division)
        waiting = unfinished(run, jobs)
        if study.workers > 1 and len(waiting) > 1:
            in_processes(partial(Workplace.of, run, cache), waiting, study.workers, observer)
        else:
            for job in waiting:
                workplace.do(job, partial(observer, job))
        results = read_results(run, jobs)
        write_json(run / "results.json", results)
        return results


class Workplace:
    """What the jobs of one process share: the data, who holds what, the exams of a seed. Final.

    Each is made once, however many methods work on it.
    """

    def __init__(self, study: Study, dataset: Dataset, run: Path) -> None:
        self._study, self._dataset, self._run = study, dataset, run
        self._divisions: dict[tuple[int, int], Division] = {}
        self._laid_out: tuple[Division, Parts] | None = None

    @staticmethod
    def of(run: Path, cache: Path) -> Workplace:
        """That of a run folder which another process has opened."""
        prepare_process()
        study = study_of(run)
        return Workplace(study, assembly.load_data(study, cache), run)

    def division(self, job: Job) -> Division:
        """Who holds what at the seed and fold of a job."""
        place = job.seed, job.fold
        if place not in self._divisions:
            self._divisions[place] = divide(self._dataset, self._study, *place)
        return self._divisions[place]

    def do(self, job: Job, observer: Observer) -> None:
        """Do one job of the study, and commit its result."""
        parts = self._parts(self.division(job))
        do_job(self._study, job, self._dataset.form, parts, self._run, observer)

    def _parts(self, division: Division) -> Parts:
        """The exams of every hospital; only those of one division are held at a time."""
        if self._laid_out is None or self._laid_out[0] is not division:
            self._laid_out = None  # before the next ones are made
            policy = assembly.policy_of(self._study)
            self._laid_out = division, hospitals.parts_of(self._dataset, division, policy)
        return self._laid_out[1]


def do_job(
    study: Study,
    job: Job,
    form: Form,
    parts: Parts,
    run: Path,
    observer: Observer,
    hands: Hands | None = None,
) -> None:
    """Do one job, and commit its result to the run folder; ``hands`` as in ``Bench.of``.

    Raises StudyError that names the method where something of it cannot be used.
    """
    try:
        result = plain(run_job(Bench.of(study, job, form, parts, run, observer, hands)))
    except InputError as error:
        where = f"methods.{job.method}"
        problems = (
            replace(p, where=f"{where}, {p.where}" if p.where else where) for p in error.problems
        )
        raise StudyError(list(problems)) from None
    lines = "".join(json.dumps(record) + "\n" for record in result["history"])
    write_atomically(job.folder(run) / "history.jsonl", lines.encode())
    write_json(job.folder(run) / "result.json", result)


def prepare_process() -> None:
    """One operator thread each: hospitals and jobs run side by side. Neither changes a result."""
    torch.set_num_threads(1)
    keep_freed_memory()


def study_of(run: Path) -> Study:
    """The study of a run folder. Raises StudyError where it is none."""
    path = run / "study.json"
    if not path.exists():
        remedy = "give a folder that `concilium run` has written"
        raise StudyError(Problem(str(run), "is not a run folder", remedy))
    return Study.model_validate_json(path.read_text())


def read_results(run: Path, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Results of the jobs that are finished."""
    found = (_result(job, run) for job in jobs)
    return [result for result in found if result is not None]


def unfinished(run: Path, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that have no result yet."""
    return [job for job in jobs if _result(job, run) is None]


def _result(job: Job, run: Path) -> dict[str, Any] | None:
    """A finished job's result; None where there is none yet, or a damaged one."""
    try:
        result: dict[str, Any] = json.loads((job.folder(run) / "result.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return result


def check_has_results(run: Path) -> None:
    """Raise StudyError unless a folder is that of a run with at least one finished job."""
    study = study_of(run)
    if not any((job.folder(run) / "result.json").exists() for job in jobs_of(study)):
        remedy = "let `concilium run` finish, with --resume"
        raise StudyError(Problem(str(run), "holds no finished job", remedy))


def division_folder(run: Path, job: Job) -> Path:
    """Where the division of a job's seed and fold is saved."""
    return run / "splits" / f"seed-{job.seed}-fold-{job.fold}"


def held_by_another(run: Path) -> StudyError:
    """What is raised where another process works in the folder."""
    what = "another process is running this study"
    return StudyError(Problem(str(run), what, "wait for it, or use another --out"))


def check_folder(study: Study, run: Path, resume: bool) -> None:
    """Raise StudyError unless the folder is free for this study, or holds it and is resumed."""
    manifest = run / "manifest.json"
    if run.exists() and not run.is_dir():
        raise StudyError(Problem(str(run), "is a file", "name a folder with --out"))
    if not manifest.exists():
        return
    if not resume:
        remedy = "go on with --resume, or use another --out"
        raise StudyError(Problem(str(run), "holds a run already", remedy))
    changed = changes(study_of(run), study)
    if changed:
        what = "holds a run of another study: it differs in " + ", ".join(changed)
        remedy = "use another --out, or the study file as it was (methods and seeds may be added)"
        raise StudyError(Problem(str(run), what, remedy))


def open_folder(study: Study, text: str, run: Path, resume: bool) -> None:
    """Write what is known of a run before its first job; as ``check_folder`` does, it may raise."""
    check_folder(study, run, resume)  # once more: now nobody else can come between
    write_atomically(run / "study.toml", text.encode())
    write_atomically(run / "study.json", study.model_dump_json(indent=1).encode())
    path, made_by = run / "manifest.json", {**environment(), **assembly.computing_of(study)}
    if path.exists():  # each result says by itself what it was made with; here stands the first
        made_by = json.loads(path.read_text(encoding="utf-8"))["environment"]
    write_json(path, {"study": study.digest(), "environment": made_by})


def describe_data(study: Study, dataset: Dataset) -> dict[str, Any]:
    """What the data of a study are, as ``data.json`` holds it."""
    return {
        "title": dataset.title,
        "synthetic": dataset.synthetic,
        "images": len(dataset.table),
        "patients": len(set(dataset.table.patient.tolist())),
        "input_shape": list(dataset.input_shape),
        "labels": list(dataset.table.schema.names),
        "label_policy": assembly.policy_of(study).describe(),
        "notes": dict(dataset.notes),
        "digest": dataset.digest(),
    }


def check_here(run: Path) -> None:
    """Raise DataError for a run over hospitals elsewhere, whose exams are not here."""
    if (run / FEDERATION).exists():
        what = "is a run over hospitals elsewhere, whose exams are not here"
        raise DataError(Problem(str(run), what, "its results and its report are all there is"))


def check_data(run: Path, digest: str) -> None:
    """Raise DataError where a run has begun on other data than those of this digest."""
    path = run / "data.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["digest"] != digest:
        what = "the data are no longer those on which this run was made"
        raise DataError(Problem(str(run), what, "use another --out, or the data as they were"))


def one_each_division(study: Study) -> list[Job]:
    """A job for every seed and fold: methods share their divisions."""
    return list({(job.seed, job.fold): job for job in jobs_of(study)}.values())
