"""The words in which a recipe is recommended, for those who read them for the first time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "label": (r"labels?", "a finding that an image shows or not; an image may show several"),
        "round": (r"rounds?", "hospitals train on their own exams; what they learnt is added up"),
        "local epoch": (r"local epochs?", "one pass of a hospital over its own exams in a round"),
        "update": (r"updates?", "what a hospital sends in a round: the change of the model"),
        "body": (r"body", "the network below its last layer"),
        "head": (r"heads?", "the last layer of the network, with a row of weights for each label"),
        "row": (r"rows?", "what the head has learnt for one label"),
        "exact head": (
            r'exact head|head is exact|head = "newton"',
            "a head solved after the rounds, from sums of all hospitals, as if all exams stood in "
            "one place",
        ),
        "positives": (r"positives", "exams that show the label"),
        "positive_weighted": (r"positive_weighted", "a loss in which rare findings say more"),
        "fedcm": (r"fedcm", "an algorithm whose momentum outlives a round: all hospitals share it"),
        "evidence": (
            r"evidence",
            "what exams can teach of a label: it takes some with and without",
        ),
        "specialist": (r"specialists?", "a hospital that holds most cases of a label"),
        "effective holders": (
            r"effective holders?",
            "how many hospitals of equal share would be as few: 1 where one holds every case",
        ),
        "partial_annotation": (
            r"partial_annotation|partial annotation|annotates?",
            "a hospital looks for some labels only; the others are unknown there, not absent",
        ),
        "coupling": (r"coupling|coupled", "two labels are on the same image more, or less, often"),
        "phi": (
            r"phi",
            "the correlation of two labels: 0 where neither says anything of the other",
        ),
        "co-occurrence": (r"co-?occurrence\w*", "which labels are on the same image"),
        "false coupling": (r"false coupling", "false alerts for a label beside another one"),
        "odds": (r"odds|log-odds", "exams that show the label for one that does not"),
        "prior": (r"prior", "how common labels are, alone and together, before an image is seen"),
        "features": (r"features", "numbers that a network made of an image before, once for all"),
        "bfloat16": (r"bfloat16", "numbers of 16 bits in place of 32"),
        "pooled": (r"pooled", "trained with all exams in one place, which nobody here can do"),
        "AP, mAP": (r"m?AP", "average precision of a label, its mean over labels; 1 is perfect"),
        "AUROC": (r"AUROC", "how often a positive scores above a negative; .5 is chance"),
    }
)
"""By word: the pattern by which it is found, and what it means."""


def explained(text: str) -> dict[str, str]:
    """The words that occur in a text, and what they mean.

    >>> explained("labels (phi +0.07)")["phi"]
    'the correlation of two labels: 0 where neither says anything of the other'
    >>> list(explained("a body"))
    ['body']
    """
    return {
        word: meaning
        for word, (pattern, meaning) in WORDS.items()
        if re.search(rf"(?<![\w-])(?:{pattern})(?![\w-])", text)
    }
