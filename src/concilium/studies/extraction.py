"""A frozen encoder applied once to every image: afterwards a study works on its features.

So a hospital without a GPU, or without patience, joins a federation whose exact head needs sums
only.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from concilium.data.batch import Batch
from concilium.data.dataset import Dataset, Exams
from concilium.data.loader import batches
from concilium.data.rows import Rows
from concilium.foundation.files import sha256, write_atomically
from concilium.foundation.named_tensors import NamedTensors
from concilium.networks.contract import Network

EXTRACTION_BATCH = 32


def with_features(dataset: Dataset, network: Network, settings: str, cache: Path) -> Dataset:
    """The data set with encoder outputs (N, d) float32 in place of images; kept below ``cache``.

    The name of the cache file is a digest of the data, of the encoder's tensors and of the
    ``settings`` it was built with (what is no tensor, such as the size images are brought to). Its
    checksum stands beside it: a damaged file is made again.
    """
    key = f"{settings} {_encoder_digest(network)} {dataset.digest()}"
    path = cache / f"features-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if not _is_whole(path):
        _write_array(path, encode(network, dataset.images))
    features = np.load(path, allow_pickle=False)
    notes = {**dataset.notes, "features": f"frozen encoder, {features.shape[1]} numbers an image"}
    return replace(dataset, images=features, notes=notes)


@torch.no_grad()
def encode(
    network: Network, images: npt.NDArray[np.uint8] | npt.NDArray[np.float32] | Rows
) -> npt.NDArray[np.float32]:
    """Encoder outputs (N, d) float32 of images, in their order."""
    network.eval()
    device = next(network.parameters()).device
    nothing = np.zeros((len(images), 1), np.float32)
    exams = Exams(images, nothing, nothing > 0, np.arange(len(images)))
    rows = [_encoded(network, batch, device) for batch in batches(exams, EXTRACTION_BATCH, None)]
    return np.concatenate(rows)


def _encoded(network: Network, batch: Batch, device: torch.device) -> npt.NDArray[np.float32]:
    features: npt.NDArray[np.float32] = network.encoder(batch.image.to(device)).cpu().numpy()
    return features


def _encoder_digest(network: Network) -> str:
    return NamedTensors(dict(network.encoder.state_dict())).digest()


def _write_array(path: Path, array: npt.NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue())
    write_atomically(_checksum(path), hashlib.sha256(buffer.getvalue()).hexdigest().encode())


def _is_whole(path: Path) -> bool:
    if not (path.exists() and _checksum(path).exists()):
        return False
    return _checksum(path).read_text() == sha256(path)


def _checksum(path: Path) -> Path:
    return path.with_suffix(".sha256")
