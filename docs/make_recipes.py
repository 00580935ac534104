"""Write what was measured into docs/recipes.md: one line a recipe, from `studies/recipes.py`.

python -m docs.make_recipes

The rest of the page is written by hand. A line that begins with "Measured: " belongs to the heading
above it, which is the name of a recipe.
"""

from __future__ import annotations

import re
from pathlib import Path

from concilium.studies.recipes import RECIPES

PAGE = Path(__file__).resolve().parent / "recipes.md"
BEGINS = "Measured: "


def filled(page: str) -> str:
    """The page with all its measured lines made anew."""
    name, lines = "", []
    for line in page.splitlines():
        name = line.removeprefix("## ") if line.startswith("## ") else name
        lines.append(measured(name) if line.startswith(BEGINS) else line)
    return "\n".join(lines) + "\n"


def measured(name: str) -> str:
    """The line of one recipe, with links to where its numbers stand."""
    own = RECIPES[name]
    links = (f"[{heading}]({_target(file, heading)})" for file, heading in own.sources)
    return f"{BEGINS}{own.measured} ({'; '.join(links)})"


def _target(file: str, heading: str) -> str:
    """A heading from docs/recipes.md, as pages on the web name it."""
    whole = next(line for line in _lines(file) if line.lstrip("# ").startswith(heading))
    anchor = re.sub(r"[^\w\- ]", "", whole.lstrip("# ").lower()).replace(" ", "-")
    place = Path(file).name
    return f"#{anchor}" if place == PAGE.name else f"{place}#{anchor}"


def _lines(file: str) -> list[str]:
    text = (PAGE.parent.parent / file).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("#")]


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
