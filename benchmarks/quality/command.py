"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import mulan
from bodies import METHOD, NO_HEAD, explicit
from definitions import (
    DATA,
    DEFAULT_DATA,
    FIRST_SEED,
    HERE,
    Catalogue,
    data_folder,
    lacks_data,
    settings_of,
    with_value,
)
from methods import Method
from plan import Plan, Unit
from repeat import find, repeat
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rows import Row, row_id
from schedule import Told, run
from selection import Entry, everything, resolved
from store import Store
from worlds import World

from concilium.cli.places import cache_folder
from concilium.foundation.errors import ConciliumError, InputError, Problem
from concilium.foundation.files import locked
from concilium.studies import assembly
from concilium.studies.configuration import MethodSettings

STOPPED = 130  # as shells call a command that Ctrl-C ended
Write = Callable[[list[Row], Path], object]


def parser(about: str) -> argparse.ArgumentParser:
    """The options; their meaning is said in ``__main__``."""
    found = argparse.ArgumentParser(
        prog="python benchmarks/quality",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--quick", action="store_true", help="the grid of at most 20 minutes")
    found.add_argument("--worlds", nargs="+", default=["*"], metavar="PATTERN")
    found.add_argument("--methods", nargs="+", default=["*"], metavar="PATTERN")
    found.add_argument("--seeds", type=int, help="so many seeds, whatever the grid says")
    found.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    found.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    found.add_argument("--list", action="store_true", help="say what would run, and run nothing")
    found.add_argument("--repeat", metavar="ID", help="train one row again and compare")
    found.add_argument("--tables", action="store_true", help="tables and page from what is there")
    return found


def main(
    about: str,
    argv: Sequence[str],
    catalogue: Catalogue,
    quick: Sequence[Entry],
    full: Sequence[Entry],
    write: Write,
) -> int:
    """What the command exits with: 1 where anything failed or differs, 2 for a mistake."""
    options = parser(about).parse_args(argv)
    os.environ.setdefault(DATA, str(DEFAULT_DATA))
    mulan.find_tables(cache_folder())
    try:
        if options.repeat:
            same, text = repeat(find(options.out, options.repeat), catalogue, cache_folder())
            print(text)
            return 0 if same else 1
        if options.tables:
            grid = quick if options.quick else everything(catalogue)
            entries = resolved(grid, catalogue, options.worlds, options.methods)
            write(rows_of(entries, Store(options.out, catalogue, tell)), options.out)
            return 0
        return _list_or_run(options, catalogue, quick if options.quick else full)
    except ConciliumError as error:
        tell(str(error))
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        tell("stopped; the same command goes on where this one was")
        return STOPPED


def _list_or_run(options: argparse.Namespace, catalogue: Catalogue, grid: Sequence[Entry]) -> int:
    asked = resolved(grid, catalogue, options.worlds, options.methods, options.seeds)
    entries = list(with_data(asked, catalogue, tell))
    check(entries, catalogue)
    store = Store(options.out, catalogue, tell)
    if options.list:
        print("\n".join(listed(entries, catalogue, store)))
        return 0
    return _run(entries, catalogue, store, options.out, options.workers)


def tell(sentence: str) -> None:
    """Say something beside the results."""
    print(sentence, file=sys.stderr)


def with_data(
    entries: Sequence[Entry], catalogue: Catalogue, told: Callable[[str], None]
) -> Iterator[Entry]:
    """Entries whose data are there; of the others a sentence is told."""
    for entry in entries:
        world = catalogue.worlds[entry.world]
        if lacks_data(world) or lacks_data(catalogue.tuned_in(world)):
            told(f"{entry.world} is left out: its data are not in {data_folder()} (set {DATA})")
        else:
            yield entry


def check(entries: Sequence[Entry], catalogue: Catalogue) -> None:
    """Raise InputError with everything that cannot be run, before anything is run."""
    problems: list[Problem] = []

    def noting(where: str, checked: Callable[[], object]) -> None:
        try:
            checked()
        except (ValueError, KeyError, ConciliumError) as error:
            problems.append(Problem(where, str(error)))

    for name in dict.fromkeys(name for entry in entries for name in entry.methods):
        noting(name, partial(_check_method, catalogue.methods[name]))
    for entry in entries if not problems else ():
        world = catalogue.worlds[entry.world]
        for method in (catalogue.methods[name] for name in entry.methods):
            where = f"{world.name}, {method.name}"
            noting(where, partial(_check_pair, catalogue.tuned_in(world), world, method))
    if problems:
        raise InputError(problems)


def _check_method(method: Method) -> None:
    """Whether its objects can be made, with each value of its parameter and each head."""
    if method.one_label_at_a_time and method.heads != (NO_HEAD,):
        raise ValueError("one label at a time has no head but none")
    for value in method.values or (None,):
        settings = with_value(method, value)
        for head in method.heads:
            own = settings if head == NO_HEAD else {**settings, "head": head}
            assembly.method_of(method.name, MethodSettings.model_validate(explicit(own)))


def _check_pair(tuned_in: World, world: World, method: Method) -> None:
    """Whether it tries as many settings as others, and can be trained with the world's optimiser.

    Raises ValueError or InputError.
    """
    setting = settings_of(tuned_in, method)[0]
    study = Unit(world, method, setting, FIRST_SEED).training.as_study()
    settings = study.methods[METHOD]
    algorithm = assembly.make("algorithms", settings.algorithm)
    algorithm.check(assembly.optimizer_of(study))


def rows_of(entries: Sequence[Entry], store: Store) -> list[Row]:
    """The rows of a grid that are there, in its order."""
    return [
        row
        for world in dict.fromkeys(entry.world for entry in entries)
        for row in store.rows(world).values()
        if any(_holds(entry, row) for entry in entries)
    ]


def _holds(entry: Entry, row: Row) -> bool:
    return row.world == entry.world and row.method in entry.methods and row.seed < entry.seeds


def listed(entries: Sequence[Entry], catalogue: Catalogue, store: Store) -> Iterator[str]:
    """What would run: for each world its methods, and the rows that are there."""
    for entry in entries:
        yield f"{entry.world}: {catalogue.worlds[entry.world].title}"
        there, wanted = store.rows(entry.world), 0
        for method in (catalogue.methods[name] for name in entry.methods):
            ids = [
                row_id(entry.world, method.name, head, seed)
                for head in method.heads
                for seed in range(entry.seeds)
            ]
            wanted += len(ids)
            found = sum(name in there for name in ids)
            heads = ", ".join(method.heads)
            yield f"  {method.name:32} {found:3} of {len(ids):3} rows  ({heads})"
        yield f"  {wanted} rows, {Plan([entry], catalogue, store).num_trials} trials to do"
    yield f"{Plan(entries, catalogue, store).num_trials} trials to do in all"


def _run(
    entries: Sequence[Entry], catalogue: Catalogue, store: Store, out: Path, workers: int
) -> int:
    another = InputError(f"{out}: another process is writing results there")
    with locked(out, another):
        # What a run left that ended early may be of older code.
        shutil.rmtree(store.bodies, ignore_errors=True)
        plan = Plan(entries, catalogue, store)
        with progress(plan) as told:
            run(plan, cache_folder(), workers, told)
        for failure in (*plan.failed, *(f"not run: {name}" for name in plan.unfinished())):
            tell(failure)
        shutil.rmtree(store.bodies, ignore_errors=True)
    tell(f"{len(rows_of(entries, store))} rows in {out}; python benchmarks/quality --tables")
    return 1 if plan.failed else 0


@contextmanager
def progress(plan: Plan) -> Iterator[Told]:
    """A bar on standard error: trials that are done, those to do, and what is being done."""
    columns = (
        TextColumn("trials"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    running: dict[tuple[str, str, str, int], str] = {}
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=3600) as shown:
        bar = shown.add_task("", total=plan.num_trials)
        done = 0

        def told(unit: Unit, finished: bool) -> None:
            nonlocal done
            if finished:
                done += 1
                del running[unit.name]
            else:
                running[unit.name] = unit.title
            total = done + len(running) + plan.num_trials
            shown.update(bar, completed=done, total=total, description="; ".join(running.values()))

        yield told
