"""The report: complete, self-contained, honest about what is undefined, small or synthetic."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from concilium.foundation.errors import StudyError
from concilium.foundation.files import write_json
from concilium.reports.evidence import read_evidence
from concilium.reports.page import DISCLAIMER, PARTS, page, write_report
from tests.reports.conftest import HOSTILE

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(HTMLParser):
    """Collects what a page is made of; fails on an element that is never closed."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    return reader


@pytest.fixture(scope="session")
def text(run: Path) -> str:
    """The page of the small run."""
    return page(read_evidence(run))


@pytest.fixture(scope="session")
def reader(text: str) -> Reader:
    """The same page, taken apart."""
    return read(text)


@pytest.fixture
def changed(run: Path, tmp_path: Path) -> Callable[[str, Callable[[Any], Any]], Path]:
    """A copy of the run with one of its JSON files changed."""

    def change(name: str, edit: Callable[[Any], Any]) -> Path:
        folder = tmp_path / "run"
        shutil.copytree(run, folder)
        write_json(folder / name, edit(json.loads((run / name).read_text())))
        return folder

    return change


def part(folder: Path, title: str) -> str:
    """One part of a report alone: drawing all of them takes a second."""
    return str(dict(PARTS)[title](read_evidence(folder)))


def test_nothing_is_loaded_from_anywhere(text: str, reader: Reader) -> None:
    for tag, attributes in reader.elements:
        assert tag not in ("script", "link", "iframe", "object", "img", "base")
        for name in ("src", "href", "xlink:href", "action", "poster"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert not re.findall(r"url\((?!#)", text)
    assert "@import" not in text


def test_a_hostile_label_name_stays_text(text: str, reader: Reader) -> None:
    assert HOSTILE not in text
    assert HOSTILE in reader.cells  # as a reader sees it
    assert not [a for _, a in reader.elements if any(name.startswith("on") for name in a)]


def test_every_identifier_stands_once_and_every_link_has_an_end(reader: Reader) -> None:
    names = [a["id"] for _, a in reader.elements if "id" in a]
    assert not [name for name, times in Counter(names).items() if times > 1]
    links = [a["href"] for tag, a in reader.elements if tag == "a"]
    assert {(link or "")[1:] for link in links} <= set(names)
    assert len(links) == len(PARTS)  # this run has something to say in every part


def test_it_says_synthetic_and_what_it_is_not(text: str) -> None:
    assert "SYNTHETIC: synthetic images, nothing here is about patients." in text
    assert text.count(DISCLAIMER) == 2


def test_real_images_are_not_called_synthetic(changed: Any) -> None:
    folder = changed("data.json", lambda own: {**own, "synthetic": False})
    assert "synthetic" not in part(folder, "Limits").casefold()


@pytest.mark.parametrize(
    "heading",
    [
        "What came out",
        "What got worse",
        "What was studied",
        "The hospitals and how they differ",
        "Every finding, with its interval",
        "Label by label at each hospital",
        "Rare combinations",
        "Findings that go together",
        "Thresholds, and what they give",
        "Learning curves",
        "Consolidation: the exact head",
        "What it cost",
        "Where every number comes from",
        "What this report does not say",
    ],
)
def test_every_part_is_there(text: str, heading: str) -> None:
    assert f"<h2>{heading}</h2>" in text


def test_every_picture_says_what_it_shows(reader: Reader) -> None:
    pictures = [a for tag, a in reader.elements if tag == "svg"]
    assert len(pictures) == 6
    assert all(a["role"] == "img" and a["aria-label"] for a in pictures)


def test_the_file_is_small(text: str) -> None:
    assert len(text.encode()) < 500_000  # about 250 kB; a demo report has more labels


def test_the_same_run_gives_the_same_bytes(run: Path, text: str) -> None:
    assert part(run, "Provenance") in text  # pictures: see test_charts, and the slow test below
    assert part(run, "Hospitals") in text


@pytest.mark.slow
def test_the_whole_report_made_twice_is_the_same_file(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert sorted(p.name for p in run.glob("*report*")) == ["report.html"]  # nothing half-written


def test_null_is_a_dash_and_never_zero(changed: Any) -> None:
    def without_hernia(results: Any) -> Any:
        for result in results:
            for name in ("auroc", "average_precision", "sensitivity"):
                result["test"]["metrics"][name][3] = None
            result["test"]["operation"]["thresholds"][3] = None
            result["test"]["label_sets"][0]["recall"] = None
        return results

    folder = changed("results.json", without_hernia)
    cells = read(part(folder, "Thresholds")).cells
    row = cells.index("Hernia")
    assert cells[row + 2 : row + 4] == ["–", "–"]  # threshold, sensitivity
    cells = read(part(folder, "Rare combinations")).cells
    assert cells[cells.index("Mass + Hernia") + 2 :] == ["–"] * 4


def test_cells_with_few_positives_are_not_shown(run: Path, results: list[dict[str, Any]]) -> None:
    # Hernia has an AUROC everywhere, but in some seed fewer than 10 exams at a hospital.
    own = [r["test"]["by_hospital"] for r in results if r["method"] == "concilium"]
    least = [min(by[name]["positives"][3] for by in own) for name in ("a", "b", "c")]
    assert any(count < 10 for count in least)
    assert all(by[name]["metrics"]["auroc"][3] is not None for by in own for name in by)
    cells = read(part(run, "By hospital")).cells
    row = cells.index("Hernia")
    assert [cell == "–" for cell in cells[row + 1 : row + 4]] == [count < 10 for count in least]
    row = cells.index("Effusion")
    assert all(0.5 < float(cell) < 1 for cell in cells[row + 1 : row + 4])


def test_a_small_count_cannot_be_had_from_the_total(run: Path) -> None:
    cells = read(part(run, "Hospitals")).cells
    row = cells.index("Hernia", cells.index("prevalence"))
    # Four exams, all at hospital c: hidden there and in the total; the zeros of a and b are true.
    assert cells[row + 1 : row + 5] == ["0", "0", "–", "–"]
    row = cells.index("Mass", cells.index("prevalence"))
    assert cells[row + 2] == "·"  # hospital b does not annotate it


def test_what_got_worse_is_said(run: Path, results: list[dict[str, Any]]) -> None:
    def mean(method: str, label: int) -> float:
        own = [r for r in results if r["method"] == method]
        return sum(r["test"]["metrics"]["average_precision"][label] for r in own) / len(own)

    below = sum(mean("concilium", label) < mean("pooled", label) for label in range(5))
    assert below > 0
    assert f"AP is lower than pooled&#x27;s on {below} of 5 labels" in part(run, "What got worse")


def test_numbers_are_those_of_the_results(text: str, results: list[dict[str, Any]]) -> None:
    auroc = [r["test"]["macro"]["auroc"]["mean"] for r in results if r["method"] == "concilium"]
    mean = sum(auroc) / 2
    spread = abs(auroc[0] - auroc[1]) / 2**0.5
    assert f"{mean:.3f} ± {spread:.3f}" in text


def test_the_model_of_every_training_is_named(run: Path) -> None:
    cells = read(part(run, "Provenance")).cells
    for seed in (0, 1):
        assert f"{seed}concilium".ljust(16, "0") in cells
    # local_only has one model for each of three hospitals.
    assert sum(cell.endswith("local_only00000") for cell in cells) == 6


@pytest.mark.parametrize("title", ["What got worse", "Consolidation"])
def test_a_part_without_anything_to_say_is_left_out(changed: Any, title: str) -> None:
    folder = changed("results.json", lambda own: [r for r in own if r["method"] == "fedavg"][:1])
    assert dict(PARTS)[title](read_evidence(folder)) is None


@pytest.mark.slow
def test_a_study_of_one_method_and_one_run_has_a_report(changed: Any) -> None:
    folder = changed("results.json", lambda own: [r for r in own if r["method"] == "fedavg"][:1])
    evidence = read_evidence(folder)
    assert evidence.main == "fedavg"
    assert not evidence.references
    assert len(re.findall("<h2>", page(evidence))) == len(PARTS) - 2


def test_a_head_that_pooled_training_lacks_is_not_passed_over(text: str) -> None:
    # concilium has an exact head and pooled has none: what it wins by that is not federation.
    assert "Mind: concilium ends with an exact head" in text


def test_an_unfinished_run_is_refused_by_name(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "results.json").unlink()
    with pytest.raises(StudyError, match=r"has no results\.json.*--resume"):
        write_report(folder)
    with pytest.raises(StudyError, match="is not a run folder"):
        write_report(tmp_path)
