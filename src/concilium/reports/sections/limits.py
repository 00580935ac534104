"""What no program can fill in."""

from __future__ import annotations

from concilium.reports.evidence import Evidence
from concilium.reports.markup import Html, items, paragraph, section

NEEDED = (
    "Intended use: which patients, which reader, which decision, what happens after an alert.",
    "How the labels were made and by whom; how often they are wrong.",
    "Who was included and left out, when and where; missing data.",
    "Sub-groups: results by sex, age and view are not part of this report yet.",
    "External validation: hospitals that took no part in training.",
    "Whether readers do better with it than without, and what false alarms cost them.",
    "Ethics approval, consent, data agreements; conflicts of interest and funding.",
)


def limits(evidence: Evidence) -> Html:
    """The items of reporting guidelines that need a person."""
    parts = [
        paragraph(
            "The reporting guidelines TRIPOD+AI, CLAIM and MI-CLAIM ask for more than a run can "
            "know:"
        ),
        items(f"Needs a person: {need}" for need in NEEDED),
    ]
    if evidence.data["synthetic"]:
        parts.append(
            paragraph(
                "The images are synthetic: they show whether the methods work as they should, and "
                "nothing about any disease, hospital or patient."
            )
        )
    return section("limits", "What this report does not say", *parts)
