"""``concilium``: the command line. A user's mistake ends with exit code 2 and no traceback."""

from __future__ import annotations

import sys

import typer

from concilium import __version__
from concilium.cli import (
    compare,
    demo,
    evaluate,
    extract,
    inspect,
    list_choices,
    report,
    run,
    split,
)
from concilium.foundation.errors import ConciliumError, InputError

EXIT_INPUT_ERROR = 2
EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="concilium",
    help="Federated multi-label classification of medical images, chest radiographs first.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, inspect, split, run, extract, evaluate, compare, report):
    app.command(command.__name__.rsplit(".", 1)[-1])(command.command)
app.command("list")(list_choices.command)


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and end."),
) -> None:
    """Federated multi-label classification of medical images, chest radiographs first."""
    if show:
        typer.echo(f"concilium {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; turn concilium's own errors into a message and an exit code."""
    try:
        app()
    except InputError as error:
        typer.echo(f"concilium: {error}", err=True)
        sys.exit(EXIT_INPUT_ERROR)
    except ConciliumError as error:
        typer.echo(f"concilium: {error}", err=True)
        sys.exit(EXIT_FAILURE)
    except KeyboardInterrupt:
        typer.echo("concilium: stopped; what is committed stays, go on with --resume", err=True)
        sys.exit(EXIT_INTERRUPTED)
