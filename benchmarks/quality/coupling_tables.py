"""What decouples findings, and at what price: tables beside pooled training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evidence import Evidence, Model
from paired import Paired, paired, relative_to_pooled
from shown import SHOWN
from table_forms import Entry, Table

COUPLING_BELOW, AUROC_COST = 20.0, 0.005
"""What decoupling is asked for: percent below pooled training, at that cost of macro AUROC."""
POOR_COVER = 0.5
"""Below that share of the decoupled weights, label sets that no test exam has are most of them."""


def decoupled(evidence: Evidence, world: str) -> Table:
    """False coupling of every model relative to pooled training, and what it costs in AUROC."""
    pooled = evidence.pooled(world)
    rows: list[list[Entry | str]] = []
    num_seeds, left_out = len(evidence.seeds(world)), []
    for model in evidence.models(world):
        lower, cost = coupling_and_cost(evidence, world, model)
        if not lower.num_pairs or not cost.num_pairs:
            left_out.append(model.title)
            continue
        reached = -lower.mean >= COUPLING_BELOW and -cost.mean <= AUROC_COST
        rows.append(
            [
                Entry(model.title, bold=reached and whole(evidence, world, lower, cost)),
                SHOWN["false_coupling"].text(evidence, world, model),
                lower.text(".1f", num_seeds),
                SHOWN["auroc"].text(evidence, world, model),
                cost.text(".3f", num_seeds),
                SHOWN["decoupled_coupling"].text(evidence, world, model),
            ]
        )
    titles = ["model", "false coupling", "% against pooled", "macro AUROC", "against pooled"]
    caption = (
        f"Against {pooled.title if pooled else 'no pooled model'}, paired over seeds, [95 % "
        f"interval], (2 of 3) seeds where the others are undefined or missing. Bold: at least "
        f"{COUPLING_BELOW:.0f} % less false coupling at a mean cost of at most {AUROC_COST} macro "
        "AUROC, in every seed of the pooled model. Alone 0.10 is ideal: a model that alerts less "
        f"everywhere is not decoupled. {covered(evidence, world)}{_named(left_out)}"
    )
    severity = evidence.first(world).severity
    folded = severity is None or "coupl" not in severity[0]
    columns = [*titles, SHOWN["decoupled_coupling"].title]
    return Table.of(f"{world}: false coupling and its price", columns, rows, caption, folded)


def covered(evidence: Evidence, world: str) -> str:
    """How much the decoupled weights are worth on the test exams of a world, in a sentence.

    It depends on labels alone, so that all models of a seed say the same.
    """
    seeds = [
        [evidence.values(world, model, key) for model in evidence.models(world)]
        for key in ("decoupled_covered", "decoupled_capped", "decoupled_effective_exams")
    ]
    cover, capped, effective = (evidence.over_seeds(world, _of_any(own)) for own in seeds)
    if not cover.num_defined:
        return "How many exams the decoupled test covers these rows do not say."
    said = (
        f"The decoupled test covers {cover.mean:.2f} of what independent labels would show (label "
        f"sets that no exam has are the rest), is worth {effective.mean:.0f} equal exams, and caps "
        f"the weight of {capped.mean:.0f}."
    )
    poor = " So little cannot be decoupled: its numbers here say nothing."
    return said + poor if cover.mean < POOR_COVER else said


def _of_any(models: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """By seed, the number of a model that has one."""
    found: dict[int, float] = {}
    for own in models:
        found |= {seed: value for seed, value in own.items() if not math.isnan(value)}
    return found


def _named(left_out: Sequence[str]) -> str:
    return f" Without a number: {', '.join(left_out)}." if left_out else ""


def cheapest(evidence: Evidence) -> Table:
    """In each world the federated model that couples least at a price that may be paid."""
    rows = []
    for world in evidence.worlds:
        federated = [m for m in evidence.models(world) if evidence.trains(m) == "federation"]
        every = {model: coupling_and_cost(evidence, world, model) for model in federated}
        compete = {model: own for model, own in every.items() if whole(evidence, world, *own)}
        found = {model: own for model, own in compete.items() if -own[1].mean <= AUROC_COST}
        if found:
            model = min(found, key=lambda own: found[own][0].mean)
            lower, cost = found[model]
            reached = "yes" if -lower.mean >= COUPLING_BELOW else "no"
            num_seeds, left_out = len(evidence.seeds(world)), len(every) - len(compete)
            texts = [lower.text(".1f", num_seeds), cost.text(".3f", num_seeds)]
            rows.append([world, model.title, *texts, reached, str(left_out)])
    titles = ["world", "model", "false coupling, % against pooled", "AUROC against pooled"]
    caption = (
        f"Of the federated models that cost at most {AUROC_COST} macro AUROC against pooled "
        "training, the one with the least false coupling. It is picked on the test exams, so it is "
        "the best trade-off reached, not what somebody who chooses beforehand may expect. Left "
        "out: models that are not defined in every seed of the pooled model."
    )
    return Table.of("Least false coupling", [*titles, "20 % less?", "left out"], rows, caption)


def whole(evidence: Evidence, world: str, *gaps: Paired) -> bool:
    """Whether gaps to pooled training go over every seed in which that has the number.

    Those that are left out may be the hard ones.
    """
    pooled = evidence.pooled(world)
    own = evidence.values(world, pooled, "false_coupling") if pooled else {}
    seeds = {seed for seed, value in own.items() if not math.isnan(value)}
    return bool(seeds) and all(seeds <= set(gap.seeds) for gap in gaps)


def coupling_and_cost(evidence: Evidence, world: str, model: Model) -> tuple[Paired, Paired]:
    """Change of false coupling in percent of pooled training, and of macro AUROC."""
    part = relative_to_pooled(evidence, world, model, "false_coupling")
    lower = paired({s: 100 * v for s, v in part.items()}, dict.fromkeys(part, 100.0))
    pooled = evidence.pooled(world)
    other = evidence.values(world, pooled, "auroc") if pooled else {}
    return lower, paired(evidence.values(world, model, "auroc"), other)
