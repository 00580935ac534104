"""``concilium federation``: its commands in the order in which they are needed."""

from __future__ import annotations

import typer

from concilium.cli.federation import allow, membership, sides, start, status, trial

group = typer.Typer(
    name="federation",
    help="The same study between hospitals: each on its own machine, exams stay there.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
for command in (
    *(membership.init, membership.join, membership.admit, allow.allow),
    *(sides.coordinator, sides.hospital, start.start, start.resume, start.stop),
    *(status.status, trial.trial),
):
    group.command(command.__name__)(command)
