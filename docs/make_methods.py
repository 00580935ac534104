"""Write docs/methods: a page a method, made from its docstring, and an index of all of them.

python -m docs.make_methods

What a method sends, costs and allows is what its docstring says; the bytes of an algorithm's round
and of an exact head are measured on a small federation as the page is written.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from concilium.foundation.components import FACTS, Description, describe, find, names
from docs.measured import algorithm_bytes, head_bytes

HERE = Path(__file__).resolve().parent / "methods"
KINDS = {
    "losses": ("What a hospital minimises", "methods.mine", "loss"),
    "algorithms": ("How hospitals learn one model", "methods.mine", "algorithm"),
    "weightings": ("How much say an update has", "methods.mine", "weighting"),
    "heads": ("Exact heads from sums", "methods.mine", "head"),
    "compressions": ("What makes an update smaller", "methods.mine", "compression"),
    "samplings": ("Who takes part in a round", "training", "sampling"),
}
MEASURED: dict[str, Callable[[str], str]] = {"algorithms": algorithm_bytes, "heads": head_bytes}


def pages() -> dict[str, str]:
    """The text of every page by its path below docs/methods."""
    found = {f"{kind}/{name}.md": page(kind, name) for kind in KINDS for name in names(kind)}
    return {"README.md": index(), **found}


def page(kind: str, name: str) -> str:
    """One method's page."""
    description = describe(kind, name)
    _, table, key = KINDS[kind]
    evidence = kind == "heads" and find(kind, name).gives_evidence  # type: ignore[attr-defined]
    more = 'prior = "federation"  # makes log-odds of evidence: or "site", "independent"\n'
    more = more if evidence else ""
    parts = [
        f"# {name}",
        description.summary,
        _rest(kind, name),
        f"## In a study\n\n```toml\n[{table}]\n{key} = {_setting(description)}\n{more}```",
        _settings(kind, name, description),
        _facts(kind, description),
        f"Source: [`{kind}/{name}.py`](../../../src/concilium/{kind}/{name}.py). "
        "This page is made from its docstring by `make docs`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def index() -> str:
    """The page that lists all methods."""
    lines = [
        "# Methods",
        "",
        "Every method that a study can name, made from the docstrings by `make docs`; "
        "`concilium list` prints the same.",
    ]
    for kind, (title, _, _) in KINDS.items():
        lines += ["", f"## {title}: `{kind}`", ""]
        lines += [
            "| method | what it does | secure sum | differential privacy |",
            "|---|---|---|---|",
        ]
        for name in names(kind):
            own = describe(kind, name)
            answers = [_answer(own.facts.get(fact, "")) for fact in FACTS[2:]]
            summary = own.summary.replace("|", "\\|")
            lines.append(f"| [{name}]({kind}/{name}.md) | {summary} | {' | '.join(answers)} |")
    return "\n".join(lines) + "\n"


def write() -> None:
    """Write all pages; what is no page any more goes."""
    found = pages()  # before anything is removed: it may be stopped
    shutil.rmtree(HERE, ignore_errors=True)
    for place, text in found.items():
        path = HERE / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _rest(kind: str, name: str) -> str:
    """The module's docstring after its first line, without the facts."""
    text = inspect.getdoc(inspect.getmodule(find(kind, name))) or ""
    rest = text.strip().partition("\n")[2].strip()
    starts = "|".join(FACTS)
    without = re.sub(
        rf"^(?:{starts}): .+?(?=\n(?:{starts}): |\n\s*\n|\Z)", "", rest, flags=re.M | re.S
    )
    return _as_markdown(without.strip())


def _settings(kind: str, name: str, description: Description) -> str:
    """The class's docstring and its settings with their defaults."""
    text = _as_markdown(inspect.getdoc(find(kind, name)) or "")
    rows = [
        f"| `{key}` | `{_toml(default) or default}` |"
        for key, default in description.settings.items()
    ]
    table = "\n".join(["| setting | default |", "|---|---|", *rows]) if rows else ""
    return "## Settings\n\n" + "\n\n".join(part for part in (text, table or "It has none.") if part)


def _facts(kind: str, description: Description) -> str:
    """What leaves a hospital, what it costs, what can protect it."""
    rows = [
        f"- **{fact}**: {description.facts[fact]}" for fact in FACTS if fact in description.facts
    ]
    if kind in MEASURED:
        rows.append(f"- **Measured**: {MEASURED[kind](description.name)}")
    return "## What leaves a hospital\n\n" + "\n".join(rows)


def _setting(description: Description) -> str:
    """The method as a study names it, with its settings where they are plain."""
    plain = [
        f"{key} = {_toml(default)}"
        for key, default in description.settings.items()
        if _toml(default)
    ]
    if not plain:
        return f'"{description.name}"'
    return "{" + ", ".join([f'name = "{description.name}"', *plain]) + "}"


def _toml(default: str) -> str:
    """A default as TOML writes it, or nothing where it has no plain form."""
    if default in {"True", "False"}:
        return default.lower()
    if re.fullmatch(r"-?[\d.]+(e-?\d+)?", default):
        return default
    if re.fullmatch(r"'[\w ]*'", default):
        return default.replace("'", '"')
    return ""


def _as_markdown(text: str) -> str:
    """Docstring text as Markdown: single back-quotes, and no line that would begin a quotation."""
    return re.sub(r"^>", r"\\>", text.replace("``", "`"), flags=re.MULTILINE)


def _answer(fact: str) -> str:
    """The yes or no that a fact begins with."""
    found = re.match(r"yes|no", fact, re.IGNORECASE)
    if found is None:
        raise ValueError(f"{fact!r} must begin with yes or no")
    return found[0].lower()


if __name__ == "__main__":
    write()
