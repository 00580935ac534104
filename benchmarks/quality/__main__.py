"""The benchmark that tells the truth: worlds × methods × heads × seeds, all tuned alike.

    python benchmarks/quality [--quick] [--worlds PATTERN …] [--methods PATTERN …] [--seeds N]
                              [--out DIR] [--workers 2] [--list] [--repeat ID] [--tables]

Every method tries as many settings (learning rate and its one parameter) on the world's first
seeds; for each head the setting with the best mean AP on VALIDATION exams, averaged over these
seeds, is trained for every seed and assessed on test exams: one line a row in DIR/WORLD.jsonl, and
one a trial in DIR/WORLD.trials.jsonl. What is there is not done again. ``--repeat ID`` trains the
row of that id once more and exits with 1 where the model's hash or any measure differs.
``--tables`` makes tables and page from the rows, and writes what docs/results.md quotes of them.

A model for each hospital (local_only) is tuned like the others: one setting for all hospitals, by
the mean of their validation scores.
"""

from __future__ import annotations

import sys
from pathlib import Path

from command import main
from definitions import HERE
from grid import CATALOGUE, FULL, QUICK
from rows import Row
from store import Store


def write(rows: list[Row], out: Path) -> None:
    """Tables, figures and page, from rows alone; and what the documents quote of all results."""
    import figures
    import page
    import quoted
    import tables

    tables.write(rows, out)
    figures.write(rows, out)
    page.write(rows, out)
    if out.resolve() == HERE / "results":
        store = Store(out, CATALOGUE, lambda _: None)
        quoted.write(quoted.DOCUMENT, lambda world: store.rows(world).values())
        quoted.write_figures(quoted.DOCUMENT, out)


if __name__ == "__main__":
    sys.exit(main(__doc__, sys.argv[1:], CATALOGUE, QUICK, FULL, write))
