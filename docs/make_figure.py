"""Draw docs/figure.svg, the picture of the README, from a finished run on the phantom.

concilium demo --out runs/demo
python docs/make_figure.py runs/demo
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from concilium.reports.overview import write_overview

HERE = Path(__file__).resolve().parent


def main(run: Path) -> None:
    """Write the picture beside this script."""
    with TemporaryDirectory() as cache:
        write_overview(run, HERE / "figure.svg", Path(cache))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
