"""What a study says of labels, held against its data: do they exist, can they be learnt?"""

from __future__ import annotations

import json
from collections.abc import Sequence

from concilium.data.dataset import Dataset
from concilium.foundation.checks import suggestion
from concilium.foundation.errors import InputError, LabelError, Problem
from concilium.labels.schema import LabelSchema
from concilium.labels.uncertainty import UncertaintyPolicy, resolve
from concilium.studies.configuration import Study


def columns_of(
    schema: LabelSchema, names: Sequence[str], where: str, meaning: str = ""
) -> list[int]:
    """Columns of labels by their names or aliases. Raises LabelError with every unknown name.

    ``meaning`` ends each remedy: what the names are for.
    """
    known = (*schema.names, *schema.aliases)
    problems = [
        Problem(where, f"unknown label {name!r}", suggestion(name, known) + meaning)
        for name in names
        if schema.find(name) is None
    ]
    if problems:
        raise LabelError(problems)
    return list(schema.indices(names))


def check_labels(dataset: Dataset, study: Study, policy: UncertaintyPolicy) -> None:
    """Raise InputError with every label asked for that is not there, or that nobody can learn."""
    schema, watched = dataset.table.schema, study.evaluation
    problems: list[Problem] = []
    sets = [("evaluation.label_sets", names) for names in watched.label_sets]
    sets += [("split.held_out", names) for names in study.split.held_out]
    for where, names in sets:
        try:
            columns_of(schema, names, where)
        except LabelError as error:
            problems += error.problems
    problems += [
        Problem("evaluation.rare_labels", f"unknown label {name!r}", _own_name(schema, name))
        for name in watched.rare_labels
        if name not in schema.names
    ]
    problems += _without_positives(dataset, policy)
    if problems:
        raise InputError(problems)


def _own_name(schema: LabelSchema, name: str) -> str:
    found = schema.find(name)
    return suggestion(name if found is None else schema.names[found], schema.names)


def _without_positives(dataset: Dataset, policy: UncertaintyPolicy) -> list[Problem]:
    """The labels that are present on no image at all, in one problem with those to keep."""
    target, known = resolve(dataset.table.states, policy)
    positives, heard = ((target > 0.5) & known).sum(0).tolist(), known.sum(0).tolist()
    names = dataset.table.schema.names
    kept = [name for name, own in zip(names, positives, strict=True) if own]
    empty = [
        f"{name!r} (known on {number:,} images)"
        for name, own, number in zip(names, positives, heard, strict=True)
        if not own
    ]
    if not empty:
        return []
    what = f"no positives of {'the label' if len(empty) == 1 else 'the labels'} "
    remedy = f"leave out what nobody can learn: in [data], labels = {json.dumps(kept)}"
    return [Problem(dataset.title, what + ", ".join(empty), remedy)]
