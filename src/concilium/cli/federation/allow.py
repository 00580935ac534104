"""``concilium federation allow``: a hospital looks at a study, and answers it from then on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from concilium.data.dataset import Exams
    from concilium.deployment.policy import Hospital
    from concilium.studies.configuration import Study


def allow(
    study: Annotated[Path, typer.Argument(help="The study file (TOML).")],
    hospital: Annotated[Path, typer.Option(help="The hospital's folder.")],
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
) -> None:
    """Show what a study does at a hospital and what leaves it, and let it be answered.

    Reads the hospital's exams as the study will, so that what does not fit is found here. No study
    travels: a file in the hospital's folder is all that allows one, and removing it ends that.

    Example: `concilium federation allow my_study.toml --hospital trial/north`
    """
    from rich.console import Console

    from concilium.cli.federation.leaving import print_leaving
    from concilium.deployment import allowed
    from concilium.deployment.holdings import Holdings
    from concilium.deployment.policy import read_hospital
    from concilium.deployment.rehearsal import rehearse
    from concilium.studies.run import prepare_process

    own, console = allowed.read_federated(study), Console()
    place = read_hospital(hospital)
    prepare_process()
    digest = allowed.federation_digest(own)
    holdings = Holdings(hospital, place)
    dataset, _ = holdings.dataset(own, digest)
    parts = _parts(holdings.parts, place, own, digest)
    _print_study(console, own, place, parts)
    sent = rehearse(own, dataset.input_shape)
    print_leaving(console, own, sent, len(parts["test"]))
    console.print("No image, no patient's number, no path, no text of an error leaves.")
    if not (yes or typer.confirm(f"May {place.name} answer this study?")):
        console.print("Not allowed.")
        raise typer.Exit(1)
    allowed.allow(study, hospital)
    file = hospital / allowed.FOLDER / f"{digest}.toml"
    console.print(f"Allowed: {file}", markup=False, highlight=False, soft_wrap=True)


def _parts(make, place: Hospital, study: Study, digest: str) -> Mapping[str, Exams]:  # type: ignore[no-untyped-def]
    """The hospital's parts at the first seed. Raises DataError where one has too few patients."""
    from concilium.deployment.holdings import TooFewPatientsError
    from concilium.foundation.errors import DataError, Problem

    try:
        found: Mapping[str, Exams] = make(study, digest, study.seeds[0], 0)
    except TooFewPatientsError:
        what = (
            f"a part (train, validation, test) has fewer than {place.policy.least_patients} "
            "patients, and nothing would be answered"
        )
        remedy = "add exams, ask for other fractions in the study, or see [policy]"
        raise DataError(Problem(place.name, what, remedy)) from None
    return found


def _print_study(
    console: Console, study: Study, place: Hospital, parts: Mapping[str, Exams]
) -> None:
    """What the study is, and what of the hospital's exams it uses."""
    from concilium.cli.tables import print_table

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    say(f"{study.title}: at {place.name}")
    say(f"labels: {', '.join(study.data.labels)}")
    methods = [name for name, own in study.methods.items() if own.trains == "federation"]
    others = [name for name in study.methods if name not in methods]
    say(f"methods: {', '.join(methods)}" + (f"; not here: {', '.join(others)}" if others else ""))
    own = study.training
    trainings = len(study.seeds) * max(1, study.split.folds) * len(own.learning_rates)
    say(f"trainings of each: {trainings}; rounds: {own.rounds}; local epochs: {own.local_epochs}")
    rows = [
        [name, f"{len(exams):,}", f"{len(set(exams.patient.tolist())):,}"]
        for name, exams in parts.items()
    ]
    print_table(console, ("part", "exams", "patients"), rows, "\nOf this hospital, used here")
