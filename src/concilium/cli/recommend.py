"""``concilium recommend``: a recipe for a split, from summed statistics, with what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from concilium.studies.configuration import Study
    from concilium.studies.recommendation import Finding, Recommendation

_SAID_AS = {  # by the standing of a finding
    "taken": "recipe",
    "to try": "to try",
    "in the default": "the default has",
    "not taken": "recipe",
}


def command(
    study: Annotated[Path, typer.Argument(help="A study file (TOML), or a run folder.")],
    seed: Annotated[
        int | None, typer.Option(help="Of which split; default the first of the study.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Name a recipe for the data and the split of a study, and say what was measured with it.

    Asks the hospitals one question, whose answers are added up: how many images, who holds and
    annotates what, how far prevalences and couplings are apart beyond chance. Nothing is trained,
    and no single hospital's counts are looked at. Ends with a table for the study file.

    Example: `concilium recommend studies/frozen_features.toml`
    """
    from rich.console import Console

    from concilium.cli.places import cache_folder
    from concilium.studies import assembly
    from concilium.studies.label_checks import check_labels
    from concilium.studies.recommendation import recommend
    from concilium.studies.situation import data_of, situation_of

    own = _study(study)
    dataset = data_of(own, cache_folder())
    check_labels(dataset, own, assembly.policy_of(own))
    chosen = own.seeds[0] if seed is None else seed
    found = recommend(situation_of(own, dataset, chosen))
    if as_json:
        _print_json(found, dataset.title, chosen)
        return
    console = Console(highlight=False)
    console.print(f"{dataset.title}, seed {chosen}", style="bold", markup=False)
    for finding in found.findings:
        _print_finding(console, finding)
    console.print("\nFor the study file", style="bold")
    console.print(found.to_toml(), markup=False, soft_wrap=True)


def _study(path: Path) -> Study:
    """The study in a file, or that of a run folder."""
    from concilium.cli.studies import checked_study
    from concilium.studies.run import study_of

    if path.is_dir():
        return study_of(path)
    return checked_study(path, ("data", "split", "network", "training"))


def _print_json(found: Recommendation, title: str, seed: int) -> None:
    import json

    typer.echo(json.dumps({"data": title, "seed": seed, **found.to_json()}, indent=1))


def _print_finding(console: Console, finding: Finding) -> None:
    """What a rule has seen, what follows, what was measured, and where it loses."""
    from rich.markup import escape
    from rich.table import Table

    from concilium.studies.recipes import RECIPES
    from concilium.studies.recommendation import as_lines

    recipe = RECIPES[finding.recipe]
    sets = ", ".join(as_lines({**recipe.method, **recipe.training}))
    lines = {
        "seen": finding.seen,
        _SAID_AS[finding.standing]: f"{finding.recipe}: {recipe.title}"
        + (f" ({sets})" if sets else ""),
        "why": recipe.why,
        "measured": recipe.measured,
        "where": "; ".join(", ".join(source) for source in recipe.sources),
        "loses": recipe.loses,
        "instead": recipe.instead,
    }
    if finding.against:
        lines["not taken"] = f"it would change what is set by {', '.join(finding.against)}"
    style = "bold" if finding.standing == "taken" else "yellow"
    console.print(f"\n{finding.rule}", style=style, markup=False)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, text in lines.items():
        table.add_row(f"  {name}", escape(text))
    console.print(table)
