"""The report of a run: one HTML file that needs no other file, no script and no network."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from string import Template

from concilium.foundation.files import write_atomically
from concilium.reports.evidence import Evidence, read_evidence
from concilium.reports.markup import Html, element, escaped, joined
from concilium.reports.sections.consolidation import consolidation
from concilium.reports.sections.correlations import correlations
from concilium.reports.sections.data import data
from concilium.reports.sections.findings import findings
from concilium.reports.sections.hospitals import by_hospital, hospitals
from concilium.reports.sections.learning import combinations, learning
from concilium.reports.sections.limits import limits
from concilium.reports.sections.operation import operation
from concilium.reports.sections.provenance import cost, provenance
from concilium.reports.sections.regressions import regressions
from concilium.reports.sections.summary import summary

DISCLAIMER = "Research software, not a medical device, does not rule out disease."
SYNTHETIC = "SYNTHETIC: synthetic images, nothing here is about patients."

# What the contents call a part, and what writes it; a part without anything to say is left out.
PARTS: tuple[tuple[str, Callable[[Evidence], Html | None]], ...] = (
    ("Results", summary),
    ("What got worse", regressions),
    ("Data", data),
    ("Hospitals", hospitals),
    ("Findings", findings),
    ("By hospital", by_hospital),
    ("Rare combinations", combinations),
    ("Correlations", correlations),
    ("Thresholds", operation),
    ("Learning curves", learning),
    ("Consolidation", consolidation),
    ("Cost", cost),
    ("Provenance", provenance),
    ("Limits", limits),
)


def write_report(run: Path) -> Path:
    """Write RUN/report.html, whole or not at all; the same run gives the same bytes.

    Raises StudyError where the folder is not a finished run.
    """
    path = run / "report.html"
    write_atomically(path, page(read_evidence(run)).encode())
    return path


def page(evidence: Evidence) -> str:
    """The page as text."""
    written = [(title, part(evidence)) for title, part in PARTS]
    sections = [(title, own) for title, own in written if own is not None]
    here = files("concilium.reports")
    template = Template(here.joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escaped(evidence.study.title),
        style=here.joinpath("page.css").read_text(encoding="utf-8"),
        banner=_banner(evidence),
        disclaimer=DISCLAIMER,
        version=escaped(str(evidence.manifest["environment"]["concilium"])),
        contents=joined(_link(title, own) for title, own in sections),
        sections=joined(own for _, own in sections),
    )


def _banner(evidence: Evidence) -> Html:
    if not evidence.data["synthetic"]:
        return Html()
    return element("p", SYNTHETIC, class_="banner", role="note")


def _link(title: str, own: Html) -> Html:
    identifier = own.split('id="', 1)[1].split('"', 1)[0]
    return element("a", title, href=f"#{identifier}")
