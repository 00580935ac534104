"""``concilium federation start``, ``resume`` and ``stop``: a study over the hospitals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from concilium.cli.federation.submitting import Run
    from concilium.orchestration.carriers import Terms

Home = Annotated[Path, typer.Option("--coordinator", help="The coordinator's folder.")]
Deadline = Annotated[
    float | None, typer.Option(help="Seconds that an exchange waits for a hospital.")
]
Quorum = Annotated[
    int | None, typer.Option(help="Fewer answering hospitals than that end the run.")
]


def start(
    study: Annotated[Path, typer.Argument(help="The study file (TOML).")],
    coordinator: Home,
    out: Annotated[
        Path | None, typer.Option(help="Run folder in the coordinator's; default runs/NAME.")
    ] = None,
    deadline: Deadline = None,
    quorum: Quorum = None,
) -> None:
    """Run a study over the hospitals, follow it, and write its report.

    A hospital that is late, silent, dead or refuses is left out by name, and asked again in the
    next round. Ctrl-C stops following; the run goes on.

    Example: `concilium federation start my_study.toml --coordinator trial/coordinator`
    """
    from rich.console import Console

    from concilium.cli.federation.needs import needs_flower

    needs_flower()
    from concilium.cli.federation.folders import read_home
    from concilium.cli.federation.submitting import submit
    from concilium.orchestration.carriers import Terms

    run = submit(read_home(coordinator), study, out, _terms(Terms(), deadline, quorum))
    _follow(Console(), run, after=0)


def resume(
    run: Annotated[Path, typer.Argument(help="The run folder, or its name.")],
    coordinator: Home,
    deadline: Deadline = None,
    quorum: Quorum = None,
) -> None:
    """Go on with a run from its last committed round; one that still runs is followed.

    Example: `concilium federation resume my_study --coordinator trial/coordinator`
    """
    from rich.console import Console

    from concilium.cli.federation.needs import needs_flower

    needs_flower()
    from concilium.cli.federation.folders import read_home
    from concilium.cli.federation.submitting import check_runs, run_of
    from concilium.deployment.told import size_of

    own = run_of(read_home(coordinator), run)
    check_runs(own.home)
    after = size_of(own.folder)
    if not own.goes_on:
        own = own.again(_terms(own.terms, deadline, quorum))
    _follow(Console(), own, after)


def stop(
    run: Annotated[Path, typer.Argument(help="The run folder, or its name.")],
    coordinator: Home,
) -> None:
    """Stop a run; what is committed stays, and `resume` goes on from it.

    Example: `concilium federation stop my_study --coordinator trial/coordinator`
    """
    from rich.console import Console

    from concilium.cli.federation.needs import needs_flower

    needs_flower()
    from concilium.cli.federation.folders import read_home
    from concilium.cli.federation.submitting import check_runs, run_of

    own = run_of(read_home(coordinator), run)
    check_runs(own.home)
    if not own.goes_on:
        Console().print("It does not run.")
        return
    own.commands.stop(own.number)
    Console().print("Stopped.")


def _terms(terms: Terms, deadline: float | None, quorum: int | None) -> Terms:
    from dataclasses import replace

    return replace(
        terms,
        deadline=terms.deadline if deadline is None else deadline,
        quorum=terms.quorum if quorum is None else quorum,
    )


def _follow(console: Console, run: Run, after: int) -> None:
    """Follow a run to its end; its table, who stayed away, and its report."""
    from concilium.cli.federation.following import follow
    from concilium.cli.federation.outcome import print_outcome

    console.print(f"{run.folder}", markup=False, highlight=False, soft_wrap=True)
    follow(console, run, after)
    print_outcome(console, run.folder)
