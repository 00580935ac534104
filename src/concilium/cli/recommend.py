"""``concilium recommend``: a recipe for a split, from summed statistics, with what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from concilium.studies.configuration import Study
    from concilium.studies.recipes import Recipe
    from concilium.studies.recommendation import Finding, Recommendation

_SAID_AS = {  # by the standing of a finding
    "taken": "recipe",
    "to try": "to try",
    "in the default": "the default has",
    "not taken": "not taken",
}


def command(
    study: Annotated[Path, typer.Argument(help="A study file (TOML), or a run folder.")],
    seed: Annotated[
        int | None, typer.Option(help="Of which split; default the first of the study.")
    ] = None,
    why: Annotated[
        bool, typer.Option("--why", help="With what was measured, and where it loses.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Name a recipe for the data and the split of a study, and say what was measured with it.

    Begins with a table for the study file; then what to know before it is used, why, and what the
    words mean. Asks the hospitals for sums: how many images, who holds and annotates what, how far
    prevalences and couplings are apart beyond chance. Nothing is trained, and no single hospital's
    counts are looked at.

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
    _print_answer(console, found)
    tables = [(finding, _lines(finding, why)) for finding in found.findings]
    _print_reasons(console, tables, why)
    said = [found.to_toml(), *(finding.rule for finding, _ in tables)]
    said += [text for _, lines in tables for text in lines.values()]
    _print_words(console, "\n".join(said))


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


def _print_answer(console: Console, found: Recommendation) -> None:
    """The table to paste, and what to know before it is used."""
    console.print("\nFor the study file", style="bold")
    console.print(found.to_toml(), markup=False, soft_wrap=True)
    if found.cautions:
        console.print("\nBefore you use it", style="bold yellow")
    for text in found.cautions:
        _print_rows(console, {"-": text})


def _print_reasons(
    console: Console, tables: list[tuple[Finding, dict[str, str]]], why: bool
) -> None:
    """What each rule has seen, and what follows."""
    console.print("\nWhy", style="bold")
    for finding, lines in tables:
        style = "bold" if finding.standing == "taken" else "yellow"
        console.print(finding.rule, style=style, markup=False)
        _print_rows(console, lines)
    if not why:
        console.print("What was measured, where it loses, what to take instead: add --why")


def _lines(finding: Finding, why: bool) -> dict[str, str]:
    """What a rule has seen and what follows; ``why`` adds what was measured and where it loses."""
    from concilium.studies.recipes import RECIPES

    recipe = RECIPES[finding.recipe]
    lines = {
        "seen": finding.seen,
        _SAID_AS[finding.standing]: f"{finding.recipe}: {recipe.title}",
    }
    if finding.against:
        lines["because"] = f"it would change what is set by {', '.join(finding.against)}"
    return lines | (_measured(recipe) if why else {})


def _measured(recipe: Recipe) -> dict[str, str]:
    """What a recipe sets, how it works, what was measured, and where it loses."""
    from concilium.studies.recommendation import FOR_ALL, as_lines

    lines = {
        "sets": ", ".join(as_lines(recipe.method)),
        "sets too": ", ".join([FOR_ALL, *as_lines(recipe.training)]) if recipe.training else "",
        "why": recipe.why,
        "measured": recipe.measured,
        "where": "; ".join(", ".join(source) for source in recipe.sources),
        "loses": recipe.loses,
        "instead": recipe.instead,
    }
    return {name: text for name, text in lines.items() if text}


def _print_words(console: Console, text: str) -> None:
    """What the words of a text mean."""
    from concilium.studies.glossary import explained

    console.print("\nWords", style="bold")
    _print_rows(console, explained(text))


def _print_rows(console: Console, rows: dict[str, str]) -> None:
    """Texts side by side with their names."""
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, text in rows.items():
        table.add_row(f"  {name}", escape(text))
    console.print(table)
