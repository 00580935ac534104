"""What the presets of methods and the vocabularies are, in a line each, for people."""

from __future__ import annotations

METHODS = {
    "local_only": "a model for each hospital, from its own exams alone: what joining must beat",
    "classic_softmax": "FedAvg on the most prominent finding of each exam only: not multi-label",
    "fedavg": "plain FedAvg on binary cross-entropy, hospitals weighted by their images",
    "fedbn": "FedAvg whose hospitals keep their normalisation layers to themselves",
    "concilium": "FedAvg weighted by what hospitals know of a label, then an exact head from sums",
    "pooled": "all exams in one place, plain binary cross-entropy: what no federation may do",
    "pooled_exact": "all exams in one place, then the exact head: what concilium should equal",
}
VOCABULARIES = {
    "nih": ("NIH ChestX-ray14", 'X. Wang et al., "ChestX-ray8", CVPR 2017, arXiv 1705.02315'),
    "chestmnist": (
        "ChestMNIST, the labels of NIH in its own spelling",
        'J. Yang et al., "MedMNIST v2", Scientific Data 2023, arXiv 2110.14795',
    ),
    "chexpert": (
        "CheXpert, and MIMIC-CXR-JPG",
        'J. Irvin et al., "CheXpert", AAAI 2019, arXiv 1901.07031',
    ),
    "padchest": (
        "PadChest, the selection in wide use",
        'A. Bustos et al., "PadChest", Medical Image Analysis 2020, arXiv 1901.07441',
    ),
    "vindr": (
        "VinDr-CXR, local and global labels",
        'H. Q. Nguyen et al., "VinDr-CXR", Scientific Data 2022, arXiv 2012.15029',
    ),
}
