"""``concilium``: the command line. A user's mistake ends with exit code 2 and no traceback."""

from __future__ import annotations

import errno
import sys
from typing import NoReturn

import typer

from concilium import __version__
from concilium.cli import (
    compare,
    demo,
    evaluate,
    extract,
    inspect,
    list_choices,
    recommend,
    report,
    run,
    split,
)
from concilium.cli.federation.group import group
from concilium.cli.stopping import StoppedError
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
for command in (demo, inspect, split, recommend, run, extract, evaluate, compare, report):
    app.command(command.__name__.rsplit(".", 1)[-1])(command.command)
app.command("list")(list_choices.command)
app.add_typer(group)


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and end."),
) -> None:
    """Federated multi-label classification of medical images, chest radiographs first."""
    if show:
        typer.echo(f"concilium {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; turn what is expected to go wrong into a message and an exit code.

    2: something that the user can mend, also a wrong option; 1: a failure; 130: interrupted.
    """
    try:
        app(prog_name="concilium")
    except InputError as error:
        _end(str(error), EXIT_INPUT_ERROR)
    except ConciliumError as error:
        _end(str(error), EXIT_FAILURE)
    except OSError as error:
        _end(explain(error), EXIT_FAILURE)
    except StoppedError as stop:
        _end(str(stop), EXIT_INTERRUPTED)
    except MemoryError:
        _end("the memory does not suffice: use smaller images, or fewer workers", EXIT_FAILURE)
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:
            _say("stopped")
        raise


def explain(error: OSError) -> str:
    """What the operating system refused, where, and what to do, in one line."""
    remedies = {
        errno.ENOSPC: "free some space, then go on with --resume",
        errno.EDQUOT: "free some space, then go on with --resume",
        errno.EACCES: "choose another folder, or ask for the right to use it",
        errno.EPERM: "choose another folder, or ask for the right to use it",
        errno.EROFS: "choose a folder that can be written, with --out or CONCILIUM_CACHE",
        errno.ENOTDIR: "choose a folder; a file has this name",
        errno.EISDIR: "give a file; this is a folder",
        errno.ENOENT: "check the path",
    }
    where = f"{error.filename}: " if error.filename else ""
    remedy = remedies.get(error.errno or 0, "")
    return f"{where}{error.strerror or error}" + (f"; {remedy}" if remedy else "")


def _say(text: str) -> None:
    typer.echo(f"concilium: {text}", err=True)


def _end(text: str, code: int) -> NoReturn:
    _say(text)
    sys.exit(code)


if __name__ == "__main__":
    main()
