"""What it cost, and where every number comes from."""

from __future__ import annotations

import numpy as np

from concilium.reports.evidence import Evidence, Plain
from concilium.reports.markup import Html, element, folded, number, paragraph, section, table
from concilium.studies.columns import megabytes
from concilium.studies.comparison import Measured


def cost(evidence: Evidence) -> Html:
    """Bytes, rounds, parameters and seconds of every method."""
    rows = [[method, *_cost(evidence.of(method))] for method in evidence.methods]
    titles = [
        *("method", "parameters", "rounds", "learning rates tried", "MB sent by all hospitals"),
        *("MB received", "MB a round", "seconds"),
    ]
    caption = (
        "Bytes as tensors travel, float32, over all rounds at the learning rate that was kept. – : "
        "nothing travels (hospitals alone) or images would have to (pooled). The exchanges of sums "
        "for exact heads, calibration and evaluation are not counted. Seconds: training, at every "
        "learning rate, and evaluation."
    )
    return section("cost", "What it cost", table(titles, rows, caption))


def _cost(results: tuple[Plain, ...]) -> list[str]:
    first = results[0]
    federated = first["trains"] == "federation"
    rounds = len(first["history"])
    up, down = (
        Measured.of(r[key] / 1e6 if federated else np.nan for r in results).text(".1f")
        for key in ("bytes_up", "bytes_down")
    )
    each = Measured.of(megabytes(r) / max(1, rounds) for r in results).text(".2f")
    seconds = Measured.of(float(r["seconds"]) for r in results).text(".0f")
    return [
        f"{first['parameters']:,}",
        str(rounds) if rounds else "–",
        str(len(first["learning_rates"])),
        *(up, down, each, seconds),
    ]


def provenance(evidence: Evidence) -> Html:
    """Settings, seeds, versions, digests."""
    manifest = evidence.manifest
    environment = [[name, str(value)] for name, value in manifest["environment"].items()]
    files = [[name, _code(digest)] for name, digest in evidence.digests.items()]
    own = evidence.study
    seeds = ", ".join(map(str, own.seeds))
    folds = f", {own.split.folds} folds" if own.split.folds > 1 else ""
    return section(
        "provenance",
        "Where every number comes from",
        paragraph(
            "Every number of this report stands in, or follows from, results.json in the run "
            f"folder; hospitals and splits from splits/. Seeds: {seeds}{folds}. SHA-256 of all "
            "settings that change a result: ",
            _code(str(manifest["study"])),
        ),
        table(["file of the run", "SHA-256"], files),
        table(["made with", "version"], environment),
        folded("Every training: kept round, learning rates, digest of the model", _jobs(evidence)),
        folded("The study file as run", element("pre", evidence.study_text)),
    )


def _jobs(evidence: Evidence) -> Html:
    rows = []
    for method in evidence.methods:
        for result in evidence.of(method):
            for name, account in _accounts(result):
                rates = account["learning_rates"].items()
                rows.append(
                    [
                        method,
                        f"{result['seed']} / {result['fold']}",
                        name,
                        str(account["kept_round"]),
                        ", ".join(f"{rate}: {number(score)}" for rate, score in rates),
                        _code(str(account["model"])[:16]),
                    ]
                )
    titles = ["method", "seed / fold", "of", "kept round", "rate: validation mAP", "model"]
    return table(titles, rows, "Models by the first 16 digits of the SHA-256 of their tensors.")


def _accounts(result: Plain) -> list[tuple[str, Plain]]:
    """One model, or one of each hospital where each trains alone."""
    if "models" not in result:
        return [("all" if result["trains"] == "federation" else result["trains"], result)]
    return list(zip(result["test"]["by_hospital"], result["models"], strict=True))


def _code(text: str) -> Html:
    return element("code", text)
