"""Seeds from a path of names: no global random state, no clock.

Two parts of a run that have different names never share random numbers, and adding a
part does not change the numbers of another.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive_seed(root: int, *path: str | int) -> int:
    """A 63-bit seed for the place that the path names.

    >>> derive_seed(0, "round", 3, "client", "a") == derive_seed(0, "round", 3, "client", "a")
    True
    >>> derive_seed(0, "ab", "c") == derive_seed(0, "a", "bc")
    False
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (root, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(root: int, *path: str | int) -> np.random.Generator:
    """A NumPy generator for the place that the path names."""
    return np.random.default_rng(derive_seed(root, *path))


def torch_generator(root: int, *path: str | int) -> torch.Generator:
    """A torch CPU generator for the place that the path names."""
    return torch.Generator().manual_seed(derive_seed(root, *path))
