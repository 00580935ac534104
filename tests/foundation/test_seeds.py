"""Seeds: the path alone decides, no two paths share one, and they never change."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from concilium.foundation.seeds import derive_seed, numpy_generator, torch_generator

PART = st.one_of(st.integers(-5, 5), st.text("abc012-", max_size=3))
PATH = st.lists(PART, max_size=4).map(tuple)


def test_the_seed_of_a_path_never_changes() -> None:
    # A result is reproduced from its seed, so the rule is part of every result. By hand:
    # printf 'int:7\037str:round\037int:3' | sha256sum, its first 16 hexadecimal digits, halved.
    assert derive_seed(7, "round", 3) == 0x4F198C5DA0105771 >> 1


@given(PATH, PATH)
def test_different_paths_have_different_seeds(
    one: tuple[str | int, ...], two: tuple[str | int, ...]
) -> None:
    assert (derive_seed(0, *one) == derive_seed(0, *two)) == (one == two)


def test_the_number_3_and_the_name_3_are_different_places() -> None:
    assert derive_seed(0, 3) != derive_seed(0, "3")


@given(st.integers(0, 2**40), PATH)
def test_a_seed_fits_every_generator(root: int, path: tuple[str | int, ...]) -> None:
    assert 0 <= derive_seed(root, *path) < 2**63


def test_generators_of_one_path_agree_and_of_neighbours_do_not() -> None:
    def draw(*path: str | int) -> tuple[list[float], list[float]]:
        return (
            numpy_generator(0, *path).random(4).tolist(),
            torch.rand(4, generator=torch_generator(0, *path)).tolist(),
        )

    assert draw("client", "a") == draw("client", "a")
    for mine, neighbours in zip(draw("client", "a"), draw("client", "b"), strict=True):
        assert not set(mine) & set(neighbours)


def test_neighbouring_rounds_are_uncorrelated() -> None:
    # 200 independent streams of 200 numbers: the largest of 19,900 correlations, each with
    # standard deviation 1/√200 = 0.07, stays below 5 standard deviations.
    streams = np.stack([numpy_generator(0, "round", i).normal(size=200) for i in range(200)])
    correlation = np.corrcoef(streams) - np.eye(200)
    assert np.abs(correlation).max() < 5 / np.sqrt(200)


def test_global_random_state_is_neither_read_nor_written() -> None:
    legacy = np.random.get_state(legacy=False)["state"]["pos"]
    state = torch.get_rng_state()
    torch_generator(0, "a")
    numpy_generator(0, "a")
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state(legacy=False)["state"]["pos"] == legacy
