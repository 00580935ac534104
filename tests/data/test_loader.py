"""Batches: every exam once, in the right range, beside its own target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from concilium.data.augmentation import Augmentation
from concilium.data.dataset import Exams
from concilium.data.loader import batches, scaled
from concilium.data.rows import Rows
from concilium.foundation.errors import InputError
from concilium.foundation.seeds import torch_generator


def exams(count: int, features: bool = False) -> Exams:
    """Exams whose image, target and patient all tell their row number."""
    row = np.arange(count)
    images = np.repeat(row.astype(np.uint8), 4).reshape(count, 2, 2)
    vectors = row[:, None].astype(np.float32) * np.ones((1, 3), np.float32)
    target = np.stack([row % 2, row / max(count, 1)], axis=1).astype(np.float32)
    return Exams(vectors if features else images, target, target > 0.1, row.astype(np.int64))


def test_scaling_puts_black_at_minus_one_and_white_at_one() -> None:
    values = scaled(np.array([[[0, 255], [51, 204]]], np.uint8))
    assert values.shape == (1, 1, 2, 2)
    # 51 / 127.5 - 1 = -0.6
    assert values.flatten().tolist() == pytest.approx([-1, 1, -0.6, 0.6])


def test_without_a_generator_the_order_is_that_of_the_exams() -> None:
    data = exams(7)
    found = list(batches(data, 3))
    assert [len(batch.image) for batch in found] == [3, 3, 1]
    assert torch.equal(torch.cat([b.image for b in found]), scaled(data.images))
    assert torch.equal(torch.cat([b.target for b in found]), torch.from_numpy(data.target))
    assert torch.equal(torch.cat([b.known for b in found]), torch.from_numpy(data.known))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("count", "batch_size"), [(0, 3), (1, 3), (6, 3), (20, 8), (5, 9)])
def test_a_shuffled_pass_gives_every_exam_once_beside_its_own_target(
    count: int, batch_size: int, seed: int
) -> None:
    data = exams(count)
    rows = []
    for batch in batches(data, batch_size, torch_generator(seed)):
        row = ((batch.image[:, 0, 0, 0] + 1) * 127.5).round().long()
        assert torch.equal(batch.target, torch.from_numpy(data.target)[row])
        assert torch.equal(batch.known, torch.from_numpy(data.known)[row])
        rows += row.tolist()
    assert sorted(rows) == list(range(count))


def test_the_seed_decides_the_order() -> None:
    def order(seed: int) -> list[float]:
        return torch.cat(
            [b.target[:, 1] for b in batches(exams(30), 4, torch_generator(seed))]
        ).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_augmentation_does_not_change_the_order() -> None:
    plain = list(batches(exams(10), 4, torch_generator(0)))
    noisy = list(batches(exams(10), 4, torch_generator(0), Augmentation(noise=0.5)))
    for one, other in zip(plain, noisy, strict=True):
        assert torch.equal(one.target, other.target)
        assert not torch.equal(one.image, other.image)


def test_features_are_as_they_are() -> None:
    (batch,) = batches(exams(4, features=True), 8, torch_generator(0), Augmentation(noise=1.0))
    assert batch.image.shape == (4, 3)
    assert sorted(batch.image[:, 0].tolist()) == [0, 1, 2, 3]


def test_a_read_only_memory_map_is_read_and_batches_may_be_written(tmp_path: Path) -> None:
    data = exams(5)
    np.save(tmp_path / "a.npy", data.images)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    on_disk = Exams(mapped, data.target, data.known, data.patient)
    for batch in batches(on_disk, 2, torch_generator(0)):
        batch.image.zero_()
        batch.target.zero_()
    assert np.array_equal(mapped, data.images)
    assert data.target.any()


def test_images_in_a_file_that_are_read_ahead_are_those_of_the_memory(tmp_path: Path) -> None:
    """Of more than a page each, through a view, in a drawn order, changed by augmentation."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (30, 65, 65), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    mapped, order = np.load(tmp_path / "a.npy", mmap_mode="r"), generator.permutation(30)[:21]
    like = exams(21)
    in_file = replace(like, images=Rows(mapped, order))
    in_memory = replace(like, images=pixels[order])
    for augmentation in (None, Augmentation(10, 0.1, 0.1, 0.1, 0.1, 0.1)):
        pairs = zip(
            batches(in_file, 4, torch_generator(1), augmentation),
            batches(in_memory, 4, torch_generator(1), augmentation),
            strict=True,
        )
        for one, other in pairs:
            assert torch.equal(one.image, other.image)
            assert torch.equal(one.target, other.target)


def test_a_batch_goes_to_a_device_whole_and_waits_for_none_but_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (batch,) = batches(exams(4), 8)
    there = batch.to(torch.device("meta"))
    assert [t.device.type for t in (there.image, there.target, there.known)] == ["meta"] * 3
    assert [t.shape for t in (there.image, there.target)] == [(4, 1, 2, 2), (4, 2)]
    waits: list[bool] = []

    def noted(tensor: Tensor, device: torch.device, non_blocking: bool = False) -> Tensor:
        waits.append(not non_blocking)
        return tensor

    monkeypatch.setattr(Tensor, "to", noted)
    batch.to(torch.device("cpu"))
    batch.to(torch.device("cuda"))
    assert waits == [True] * 3 + [False] * 3


def test_a_pinned_batch_is_a_copy_of_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU there is no page-locked memory; a copy stands in for it."""
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor.clone())
    (batch,) = batches(exams(4), 8)
    pinned = batch.pinned()
    for name in ("image", "target", "known"):
        assert torch.equal(getattr(pinned, name), getattr(batch, name))
        assert getattr(pinned, name) is not getattr(batch, name)


def test_settings_are_checked_before_the_first_batch() -> None:
    with pytest.raises(InputError, match="batch_size=0"):
        batches(exams(3), 0)
    with pytest.raises(InputError, match="generator"):
        batches(exams(3), 2, None, Augmentation(noise=0.1))
