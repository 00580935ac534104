"""What the benchmark runs: QUICK in at most 20 minutes on two cores, FULL over some nights.

A grid is a list of entries: a world, names of methods (shell patterns: "fedavg*", "*"), and how
many seeds. Worlds stand in an order in which data are read once; what matters most comes first.
"""

from __future__ import annotations

from catalogue_methods import DECOUPLED, METHODS, ONE_LABEL, PARTIAL
from catalogue_worlds import WORLDS
from definitions import Catalogue
from selection import Entry

CATALOGUE = Catalogue(WORLDS, METHODS)

POOLED = ("pooled_bce", "pooled_balanced", "pooled_positive_weighted")
"""The upper lines: the same in every world, so that "of pooled" means the same in a sweep."""
LINES = ("local_only", *POOLED, "softmax", "fedavg_bce", "concilium")
"""What every world is measured with."""
THREE = (*POOLED, "fedavg_bce", "concilium")
EVERYTHING = tuple(
    name
    for name in METHODS
    if name not in (*PARTIAL, *ONE_LABEL, "local_softmax", "pooled_softmax")
)
COUPLING = (*LINES, "fedharmony", "logit_adjusted", "cooccurrence_adjusted", *DECOUPLED)
WEIGHTED = ("by_known_entries", "by_label_evidence", "by_positives", "surgical", *PARTIAL)
BODIES = (*LINES, "fedavg_positive_weighted", "fedavgm", "fedadam", "scaffold", "feddyn", "fedcm")
"""What may bring the body of a network back."""
CURVES = ("local_only", "local_softmax", "softmax", "pooled_bce", "pooled_softmax", "fedavg_bce")

QUICK: list[Entry] = [
    Entry("features-20", LINES, 2),
    Entry("features-coupling-1", ("pooled_bce", "fedavg_bce", "cooccurrence_adjusted"), 2),
    Entry("radiographs", THREE, 1),
    Entry("phantom-5-quick", ("pooled_bce", "fedavg_bce", "concilium"), 1),
]


def _family(start: str, methods: tuple[str, ...], seeds: int) -> list[Entry]:
    """The worlds whose names begin like this."""
    return [Entry(name, methods, seeds) for name in WORLDS if name.startswith(start)]


FULL: list[Entry] = [
    Entry("features-20", EVERYTHING, 5),
    Entry("phantom-20", EVERYTHING, 3),
    Entry("features-5", EVERYTHING, 5),
    Entry("features-8", EVERYTHING, 5),
    Entry("radiographs", EVERYTHING, 5),
    Entry("phantom-5", EVERYTHING, 3),
    *_family("features-coupling", COUPLING, 5),
    *_family("features-partial", (*LINES, *WEIGHTED), 5),
    *_family("features-20-", (*THREE, "local_only"), 5),
    *_family("phantom-20-", (*THREE, "fedcm"), 3),
    Entry("features-100", LINES, 5),
    Entry("features-iid", LINES, 5),
    Entry("features-quantity", LINES, 5),
    Entry("phantom-coupling", COUPLING, 3),
    Entry("phantom-partial", (*LINES, *WEIGHTED), 3),
    Entry("phantom-partial-14", THREE, 3),
    Entry("phantom-acquisition", BODIES, 3),
    Entry("phantom-held-out", LINES, 3),
    Entry("yeast", EVERYTHING, 5),
    Entry("scene", EVERYTHING, 5),
    *_family("features-labelled", (*CURVES, *ONE_LABEL, "concilium"), 5),
    *_family("phantom-labelled", (*CURVES, *ONE_LABEL, "concilium"), 3),
]
