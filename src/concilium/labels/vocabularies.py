"""The label lists of public chest radiograph collections, with the other names in use for them.

"No Finding" (PadChest: "normal") stands in none of them: it is a statement about all labels of an
image, not a label. ``apply_no_finding`` turns it into what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from concilium.foundation.checks import suggestion
from concilium.foundation.errors import LabelError, Problem
from concilium.labels.schema import LabelSchema, fold
from concilium.labels.states import State

NO_FINDING = ("No Finding", "normal")

# X. Wang et al., "ChestX-ray8", CVPR 2017, arXiv 1705.02315; the order of the paper's table, which
# MedMNIST keeps.
_NIH = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)

# J. Yang et al., "MedMNIST v2", Scientific Data 2023, arXiv 2110.14795.
_CHESTMNIST = (*(name.lower() for name in _NIH[:12]), "pleural", "hernia")

# J. Irvin et al., "CheXpert", AAAI 2019, arXiv 1901.07031; MIMIC-CXR-JPG uses the same.
_CHEXPERT = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)

# A. Bustos et al., "PadChest", Medical Image Analysis 2020, arXiv 1901.07441; the selection that
# torchxrayvision trains on (its name for the last is "Tube'").
_PADCHEST = (
    *_NIH,
    "Fracture",
    "Granuloma",
    "Flattened Diaphragm",
    "Bronchiectasis",
    "Aortic Elongation",
    "Scoliosis",
    "Hilar Enlargement",
    "Tuberculosis",
    "Air Trapping",
    "Costophrenic Angle Blunting",
    "Aortic Atheromatosis",
    "Hemidiaphragm Elevation",
    "Support Devices",
    "Tube",
)

# H. Q. Nguyen et al., "VinDr-CXR", Scientific Data 2022, arXiv 2012.15029: 22 local labels, then
# the 6 global ones without "No finding".
_VINDR = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Clavicle fracture",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Enlarged PA",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Lung cavity",
    "Lung cyst",
    "Mediastinal shift",
    "Nodule/Mass",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
    "Rib fracture",
    "Other lesion",
    "COPD",
    "Lung tumor",
    "Pneumonia",
    "Tuberculosis",
    "Other disease",
)

# Names of one finding in different collections; case, spaces, "_" and "-" do not count.
_SYNONYMS = (
    ("Effusion", "Pleural Effusion"),
    ("Pleural_Thickening", "Pleural"),
    ("Infiltration", "Infiltrate", "Infiltrates"),
    ("Edema", "Pulmonary Edema", "Oedema"),
    ("Fibrosis", "Pulmonary Fibrosis"),
    ("Mass", "Pulmonary Mass", "Lung Mass"),
    ("Nodule", "Pulmonary Nodule", "Lung Nodule"),
    ("Hernia", "Hiatal Hernia"),
    ("Lung Opacity", "Airspace Opacity"),
    ("ILD", "Interstitial lung disease"),
    ("Enlarged PA", "Enlarged pulmonary artery"),
    ("COPD", "Chronic obstructive pulmonary disease"),
    ("Lung tumor", "Lung tumour"),
    ("Other disease", "Other diseases"),
    ("Other lesion", "Lesion"),
    ("Tube", "Tube'"),
)

# PadChest's own terms below the common ones; torchxrayvision finds them by parts of words, which
# also takes subcutaneous emphysema for emphysema and a mediastinal mass for a lung mass: not here.
_PADCHEST_TERMS = {
    "Infiltration": (
        "interstitial pattern",
        "ground glass pattern",
        "reticular interstitial pattern",
        "reticulonodular interstitial pattern",
        "alveolar pattern",
    ),
    "Consolidation": ("air bronchogram",),
    "Atelectasis": (
        "laminar atelectasis",
        "lobar atelectasis",
        "segmental atelectasis",
        "round atelectasis",
        "total atelectasis",
        "atelectasis basal",
    ),
    "Pneumonia": ("atypical pneumonia",),
    "Nodule": ("multiple nodules",),
    "Effusion": ("loculated pleural effusion", "loculated fissural effusion"),
    "Pleural_Thickening": ("apical pleural thickening", "calcified pleural thickening"),
    "Granuloma": ("calcified granuloma",),
    "Fracture": (
        "rib fracture",
        "callus rib fracture",
        "clavicle fracture",
        "humeral fracture",
        "vertebral fracture",
    ),
    "Hilar Enlargement": (
        "vascular hilar enlargement",
        "adenopathy",
        "pulmonary artery enlargement",
    ),
    "Tuberculosis": ("tuberculosis sequelae",),
    "Aortic Elongation": ("ascendent aortic elongation", "descendent aortic elongation"),
    "Support Devices": (
        "electrical device",
        "dual chamber device",
        "single chamber device",
        "pacemaker",
    ),
    "Tube": (
        "endotracheal tube",
        "NSG tube",
        "chest drain tube",
        "tracheostomy tube",
        "gastrostomy tube",
    ),
}


def _schema(
    names: tuple[str, ...], terms: Mapping[str, tuple[str, ...]] | None = None
) -> LabelSchema:
    """The names with every synonym, and every narrower term given, as aliases."""
    taken = {fold(name) for name in names}
    aliases = {term: name for name, narrower in (terms or {}).items() for term in narrower}
    for synonyms in _SYNONYMS:
        folded = {fold(synonym) for synonym in synonyms}
        for name in names:
            if fold(name) in folded:
                aliases.update({other: name for other in synonyms if fold(other) not in taken})
    return LabelSchema(names, aliases)


VOCABULARIES: Mapping[str, LabelSchema] = MappingProxyType(
    {
        "nih": _schema(_NIH),
        "chestmnist": _schema(_CHESTMNIST),
        "chexpert": _schema(_CHEXPERT),
        "padchest": _schema(_PADCHEST, _PADCHEST_TERMS),
        "vindr": _schema(_VINDR),
    }
)


def vocabulary(name: str) -> LabelSchema:
    """Give the label list of a collection. Raises LabelError with a suggestion.

    >>> vocabulary("nih").index("Pleural Effusion")
    2
    """
    if name not in VOCABULARIES:
        what = f"there is no vocabulary {name!r}"
        raise LabelError(Problem("labels", what, suggestion(name, VOCABULARIES)))
    return VOCABULARIES[name]


def is_no_finding(name: str) -> bool:
    """Whether a column or a term says "No Finding" rather than naming a finding."""
    return fold(name) in {fold(other) for other in NO_FINDING}


def apply_no_finding(
    states: npt.NDArray[np.int8], said: npt.NDArray[np.bool_], schema: LabelSchema
) -> npt.NDArray[np.int8]:
    """Make unknown labels absent on the images of which "No Finding" was said.

    ``states`` (N, L), ``said`` (N,). What was said of a label stays as it is, and support devices,
    which are no finding, stay unknown. Returns new states (N, L).
    """
    devices = schema.find("Support Devices")
    finding = np.ones(len(schema), bool)
    if devices is not None:
        finding[devices] = False
    silent = (states == State.UNKNOWN) & said[:, None] & finding
    return np.where(silent, np.int8(State.ABSENT), states)
