"""What was studied: data, labels and what they mean, the proof that patients are apart."""

from __future__ import annotations

import numpy as np

from concilium.data.dataset import PATIENTS
from concilium.reports.evidence import Evidence
from concilium.reports.markup import (
    Html,
    element,
    joined,
    paragraph,
    percent,
    section,
    table,
)
from concilium.studies.division import said_of_split


def data(evidence: Evidence) -> Html:
    """Counts, the label policy, the labels in the test part, and the split."""
    return section(
        "data", "What was studied", _facts(evidence), _labels(evidence), _proof(evidence)
    )


def _facts(evidence: Evidence) -> Html:
    own = evidence.data
    facts = [
        ("data", own["title"]),
        ("images", f"{own['images']:,}"),
        ("patients", f"{own['patients']:,}"),
        ("labels", str(len(own["labels"]))),
        ("what a label means", own["label_policy"]),
        ("input of the network", " × ".join(map(str, own["input_shape"]))),
        *((f"note: {name}", str(note)) for name, note in own["notes"].items()),
    ]
    pairs = [element("dt", name) + element("dd", text) for name, text in facts]
    return element("dl", *map(Html, pairs))


def _labels(evidence: Evidence) -> Html:
    results = evidence.of(evidence.main)
    positives, known = (
        evidence.mean(evidence.main, "test", name) for name in ("positives", "known")
    )
    groups = results[0]["test"]["groups"]
    prevalence = positives / np.where(known == 0, np.nan, known)
    rows = [
        [name, group or "–", f"{k:,.0f}", f"{p:,.0f}", percent(share, 1)]
        for name, group, k, p, share in zip(
            evidence.labels, groups, known, positives, prevalence, strict=True
        )
    ]
    own = evidence.study.evaluation
    caption = (
        f"Labels in the test exams. Frequency group: head above {100 * own.head:g} % of the "
        f"training exams, tail at most {100 * own.tail:g} %. Means over labels take those with at "
        f"least {own.min_positives} positives: {evidence.coverage.text()}."
    )
    titles = ["label", "group", *map(evidence.counted, ("known", "positives")), "prevalence"]
    return table(titles, rows, caption)


def _proof(evidence: Evidence) -> Html:
    if not evidence.divisions:  # hospitals elsewhere
        said = "Every hospital divides its own patients, each wholly into one part. Nothing that "
        said += "leaves a hospital tells whether a patient was also examined at another."
        return paragraph(element("strong", said))
    rows, shared = [], 0
    for name, division in evidence.divisions.items():
        proof = division["disjointness"]
        shared += sum(proof["shared_patients"].values())
        counts = [f"{proof['patients'][p]:,} ({proof['images'][p]:,})" for p in proof["images"]]
        common = ", ".join(f"{pair}: {n}" for pair, n in proof["shared_patients"].items())
        rows.append([name, *counts, common])
    said = (
        "No patient stands in two parts."
        if shared == 0
        else f"WARNING: {shared} patients stand in two parts; results are too good."
    )
    if PATIENTS in evidence.data["notes"]:
        said = "No patient identifiers: images were taken as patients, so nothing shows that no "
        said += "patient stands in two parts."
    titles = ["split", "train", "validation", "test", "patients in both"]
    caption = (
        "Patients (images) of each part; hashes of the patient lists are saved with each split."
    )
    made = [
        paragraph(f"{name}. {line}")
        for name, division in evidence.divisions.items()
        for line in said_of_split(division["shifts"])
    ]
    return joined([paragraph(element("strong", said)), table(titles, rows, caption), *made])
