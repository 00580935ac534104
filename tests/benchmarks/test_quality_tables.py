"""Tables from rows: the same whatever the order, nothing filled in, worse as plain as better."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from answers import erased, erases, multi_label, restored
from comparisons import BASELINE, DEFAULT, at_a_glance, compared, compared_labels, said
from comparisons import tables as comparison_tables
from coupling_tables import cheapest, decoupled
from evidence import Evidence, Model
from shown import SHOWN
from table_forms import Entry, Table, as_html, as_markdown
from tables import coverage, document, lines, write
from world_tables import compact, full

from tests.benchmarks.made_rows import NAN, POOLED, row, series, small_grid

CELL = re.compile(r"(?<!\\)\|")


def read(markdown: str) -> list[list[str]]:
    """Cells of a Markdown table as its reader sees them."""
    found = []
    for line in markdown.splitlines():
        if line.startswith("|") and not line.startswith("| ---"):
            cells = [cell.strip() for cell in CELL.split(line)[1:-1]]
            found.append([shown(cell) for cell in cells])
    return found


def shown(cell: str) -> str:
    cell = re.sub(r"^\*\*(.*)\*\*$", r"\1", cell)
    cell = re.sub(r"^\[(.*)\]\([^)]*\)$", r"\1", cell)
    return re.sub(r"\\(.)", r"\1", cell).replace("&lt;", "<").replace("&amp;", "&")


def test_the_order_of_rows_changes_nothing() -> None:
    rows = small_grid()
    before = document(Evidence.of(rows), DEFAULT, BASELINE), lines(Evidence.of(rows))
    random.Random(0).shuffle(rows)
    assert (document(Evidence.of(rows), DEFAULT, BASELINE), lines(Evidence.of(rows))) == before


def test_a_table_comes_back_from_markdown_as_it_went() -> None:
    cells = ("a|b", Entry("*x* `y`", bold=True), Entry("[5](z) <b> & \\", link="lines.md#a"))
    table = Table.of("T", ["model", "one ↑", "two | three"], [cells, ("–", "−0.1", "0.2 ± 0.1")])
    assert read(as_markdown(table)) == [
        ["model", "one ↑", "two | three"],
        ["a|b", "*x* `y`", "[5](z) <b> & \\"],
        ["–", "−0.1", "0.2 ± 0.1"],
    ]


def test_a_row_with_a_missing_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table.of("T", ["a", "b"], [["x"]])


def test_html_escapes_what_markdown_shows() -> None:
    made = as_html(Table.of("T", ["<a>"], [["<script>"], [Entry("x", bold=True, link="#l")]]))
    assert "<script>" not in made
    assert '<strong><a href="#l">x</a></strong>' in made


def test_a_missing_seed_is_named_in_words_and_in_its_row() -> None:
    evidence = Evidence.of(small_grid())
    assert "b, fedavg_bce: no row for seed 2." in coverage(evidence)
    (own,) = [line for line in read(as_markdown(compact(evidence, "b"))) if line[0] == "fedavg_bce"]
    assert own[-1] == "2 of 3, not 2"


def test_a_diverged_seed_is_named() -> None:
    rows = [*series("a", "map", [0.1]), row("a", 1, {"map": NAN}, model="")]
    evidence = Evidence.of(rows)
    assert any("diverged at seed 1" in sentence for sentence in coverage(evidence))
    assert read(as_markdown(compact(evidence, "w")))[1][-1] == "2; diverged 1"


def test_undefined_is_a_dash_or_a_count_and_never_zero() -> None:
    rows = [
        *series("a", "map", [NAN, 0.2, 0.4]),
        *[row("b", seed, {"auroc": 0.7, "map": NAN}) for seed in range(3)],
    ]
    titles, *cells = read(as_markdown(full(Evidence.of(rows), "w", folded=False)))
    place = titles.index("mAP ↑")
    assert [line[place] for line in cells] == ["0.300 ± 0.141 (2 of 3)", "–"]
    # What no model defines has no column, rather than a column of zeros.
    assert not [title for title in titles if "phi gap" in title]


def test_bold_is_the_best_federated_model_that_has_every_seed() -> None:
    rows = [
        *series("middle", "map", [0.2, 0.2, 0.2]),
        *series("worse", "map", [0.1, 0.1, 0.1]),
        *series("lucky", "map", [0.9, 0.9]),
        *series("pooled", "map", [0.8, 0.8, 0.8], settings=POOLED),
    ]
    made = compact(Evidence.of(rows), "w")
    place = made.columns.index("mAP ↑")
    bold = [line[0] for line in made.rows if getattr(line[place], "bold", False)]
    assert bold == ["middle"]


def test_less_is_best_where_lower_is_better_and_costs_are_not_bold() -> None:
    rows = [row("a", 0, {"missed_second": 0.2}), row("b", 0, {"missed_second": 0.3}, seconds=0.1)]
    made = compact(Evidence.of(rows), "w")
    bold = {(c, line[0]) for line in made.rows for c, x in zip(made.columns, line, strict=True)
            if getattr(x, "bold", False)}  # fmt: skip
    assert bold == {("missed 2nd ↓", "a")}


def test_the_head_of_a_short_table_is_chosen_on_validation() -> None:
    rows = [
        *series("a", "map", [0.1], validation=0.1),
        *series("a", "map", [0.9], "newton", validation=0.2),
        *series("a", "map", [0.3], "balanced_ridge", validation=0.3),
    ]
    evidence = Evidence.of(rows)
    assert [line[0] for line in compact(evidence, "w").rows] == ["a", "a + balanced_ridge"]
    assert [line[0] for line in full(evidence, "w").rows] == [
        *("a", "a + newton", "a + balanced_ridge")
    ]


def test_megabytes_are_those_of_rounds_and_head_and_none_where_nothing_travels() -> None:
    rows = [
        row("a", 0, {"map": 0.1}, "newton", head_report={"bytes_up": 500_000.0}),
        row("p", 0, {"map": 0.1}, settings=POOLED),
    ]
    titles, *cells = read(as_markdown(full(Evidence.of(rows), "w", folded=False)))
    assert [line[titles.index("MB sent ↓")] for line in cells] == ["3.5", "–"]


def test_every_row_leads_to_its_line_and_its_command(tmp_path: Path) -> None:
    rows = small_grid()
    path = write(rows, tmp_path)
    text, beside = path.read_text(), (tmp_path / "lines.md").read_text()
    targets = set(re.findall(r"\(lines\.md#([^)]+)\)", text))
    assert targets == set(re.findall(r'<a id="([^"]+)">', beside)) != set()
    for own in rows:
        assert f"| {own.id} |" in beside
        assert own.command in beside


def test_what_got_worse_stands_in_the_form_of_what_got_better() -> None:
    evidence = Evidence.of(small_grid())
    found = compared(evidence, DEFAULT, BASELINE)
    verdicts = {(own.world, own.what): own.verdict for own in found}
    assert verdicts["a", "mAP"] == verdicts["a", "missed 2nd"] == "better"
    assert verdicts["a", "false coupling"] == "worse"
    # Two pairs only in b: no interval, whatever the difference is.
    assert verdicts["b", "mAP"] == "unknown"
    better, worse, *_ = comparison_tables(found, DEFAULT, BASELINE)
    assert better.title.startswith("What got better")
    assert worse.title == "What got worse (1)"
    assert (better.columns, better.folded) == (worse.columns, worse.folded)
    glance = dict(zip(*read(as_markdown(at_a_glance(found, DEFAULT, BASELINE)))[:2], strict=True))
    assert glance["mAP"].startswith("▲ +0.06")
    assert glance["false coupling"].startswith("▼ +0.06")
    assert "worse in 1" in said(found, DEFAULT, BASELINE)


def test_nothing_worse_is_said_too() -> None:
    rows = series("a", "map", [0.5, 0.5, 0.5]) + series("b", "map", [0.1, 0.1, 0.1])
    first, second = Model("a", "none"), Model("b", "none")
    found = compared(Evidence.of(rows), first, second)
    titles = [table.title for table in comparison_tables(found, first, second)]
    assert titles == ["What got better (1)", "What got worse (0)"]


def test_false_coupling_below_its_ideal_is_no_gain() -> None:
    # 0.02 is what a model has that hardly alerts; both count as 0.10.
    rows = series("a", "false_coupling", [0.02] * 3) + series("b", "false_coupling", [0.09] * 3)
    (found,) = compared(Evidence.of(rows), Model("a", "none"), Model("b", "none"))
    assert found.verdict == "tie"


def test_labels_are_compared_one_by_one() -> None:
    def of(method: str, mass: float, hernia: float) -> list:  # type: ignore[type-arg]
        labels = {"Mass": mass, "Hernia": hernia}
        own = {name: {"average_precision": v} for name, v in labels.items()}
        return [row(method, seed, {}, by_label=own) for seed in range(3)]

    evidence = Evidence.of([*of("a", 0.5, 0.1), *of("b", 0.4, 0.2)])
    found = compared_labels(evidence, Model("a", "none"), Model("b", "none"))
    assert {own.what: own.verdict for own in found} == {"Mass": "better", "Hernia": "worse"}


def test_erasure_is_said_only_where_the_interval_lies_below_pooled() -> None:
    rows = []
    for world, parts in (("erased", (0.5, 0.4, 0.6)), ("kept", (0.9, 1.1, 1.0)), ("few", (0.1,))):
        rows += series("fedavg_bce", "set_recall", parts, world=world)
        rows += series("p", "set_recall", [1.0] * len(parts), world=world, settings=POOLED)
    evidence = Evidence.of(rows)
    erasing, keeping, unknown = erases(evidence, BASELINE)
    assert "erases" in erasing
    assert "erased (rare-set recall: 50 %)" in erasing
    assert "not shown to erase" in keeping
    assert "kept (rare-set recall: 100 %)" in keeping
    assert "few" in unknown
    # 50 ± 4.303 · 10 / √3, with t(0.975) = 4.303 at two degrees of freedom.
    by_world = {str(line[0]): line[1] for line in erased(evidence, (BASELINE,)).rows}
    assert by_world["erased: fedavg_bce"] == "50 [25, 75]"
    assert by_world["few: fedavg_bce"] == "10 [too few pairs]"
    assert erases(evidence, BASELINE, most=0)[0].endswith("and 1 more.")


def test_the_price_of_decoupling_is_set_beside_what_it_buys() -> None:
    def of(method: str, coupling: float, auroc: float, **given) -> list:  # type: ignore[no-untyped-def, type-arg]
        measures = {"false_coupling": coupling, "auroc": auroc}
        return [row(method, seed, measures, **given) for seed in range(3)]

    rows = [
        *of("p", 0.40, 0.800, settings=POOLED),
        *of("good", 0.30, 0.797),
        *of("dear", 0.20, 0.700),
        *of("little", 0.39, 0.800),
    ]
    evidence = Evidence.of(rows)
    bold = [line[0].text for line in decoupled(evidence, "w").rows if line[0].bold]  # type: ignore[union-attr]
    assert bold == ["good"]
    ((world, model, change, cost, reached, left_out),) = cheapest(evidence).rows
    assert (world, model, reached, left_out) == ("w", "good", "yes", "0")
    assert (change, cost) == ("−25.0 [−25.0, −25.0]", "−0.003 [−0.003, −0.003]")


def test_multi_label_stands_beside_the_most_obvious_finding_with_intervals() -> None:
    made = multi_label(Evidence.of(small_grid()), (DEFAULT,))
    first = dict(zip(made.columns[1:4], made.rows[0][1:4], strict=True))
    assert first["missed / 1,000"].startswith("74")  # type: ignore[union-attr]
    assert first["softmax"].startswith("85")  # type: ignore[union-attr]
    assert re.fullmatch(r"−11 \[−\d+, −\d+\]", str(first["difference [95 %]"]))


def test_what_is_restored_counts_its_worlds() -> None:
    made = restored(Evidence.of(small_grid()))
    by_model = {str(line[0]): line for line in made.rows}
    assert by_model["pooled_bce"][-1] == "2"
    assert by_model["pooled_bce"][1] == "100"


def test_every_number_shown_says_what_it_is() -> None:
    assert all(shown.meaning and shown.title for shown in SHOWN.values())
    assert len({shown.title for shown in SHOWN.values()}) == len(SHOWN)
