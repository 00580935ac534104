"""The laws of weightings, run on every file of ``concilium/weightings`` as it is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from concilium.foundation import components
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.weightings.contract import Weighting
from tests.weightings.counts import (
    HEAD,
    federation_of,
    hospital,
    mean_delta,
    random_delta,
    rows,
    weights,
)

# Label 2 is annotated by the first hospital alone, label 3 by nobody; the last is without labels.
HOSPITALS = [
    hospital(60, [60, 50, 40, 0], [10, 25, 4, 0]),
    hospital(30, [30, 20, 0, 0], [30, 1, 0, 0]),
    hospital(9, [0, 9, 0, 0], [0, 0, 0, 0]),
    hospital(5, [0, 0, 0, 0], [0, 0, 0, 0]),
]
LABELS = 4
DELTAS = [random_delta(LABELS, seed) for seed in range(len(HOSPITALS))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "weighting" in metafunc.fixturenames:
        names = components.names("weightings")
        metafunc.parametrize(
            "weighting", [components.build("weightings", name) for name in names], ids=names
        )


def close(left: NamedTensors, right: NamedTensors) -> bool:
    return all(torch.allclose(left[name], right[name], atol=1e-6) for name in left)


def permuted(tensors: NamedTensors, order: list[int]) -> NamedTensors:
    """Labels in another order: in the head's rows, in the graph's rows and columns."""
    changed = {n: t[order] if t.ndim and len(t) == LABELS else t for n, t in tensors.items()}
    if tensors["graph.coupling"].ndim:
        changed["graph.coupling"] = changed["graph.coupling"][:, order]
    return NamedTensors(changed)


def relabelled(own: LabelStatistics, order: list[int]) -> LabelStatistics:
    both = np.ix_(order, order)
    return LabelStatistics(
        own.num_images,
        own.num_patients,
        own.both_known[both],
        own.both_present[both],
        own.present_and_known[both],
    )


def test_weights_are_finite_not_negative_and_of_the_names_of_the_delta(
    weighting: Weighting,
) -> None:
    for weight in weights(weighting, HOSPITALS):
        assert weight.keys() == DELTAS[0].keys()
        for tensor in weight.values():
            assert tensor.isfinite().all()
            assert (tensor >= 0).all()


def test_weights_are_numbers_or_one_a_row_of_the_head(weighting: Weighting) -> None:
    weight = weights(weighting, HOSPITALS)[0]
    for name, tensor in weight.items():
        one_a_row = (LABELS, *[1] * (DELTAS[0][name].ndim - 1))
        assert tensor.shape == () or (name in HEAD and tensor.shape == one_a_row)
        assert (DELTAS[0][name] * tensor).shape == DELTAS[0][name].shape
    torch.testing.assert_close(weight["head.weight"].squeeze(), weight["head.bias"])


def test_the_type_of_the_delta_decides_that_of_row_weights(weighting: Weighting) -> None:
    delta = random_delta(LABELS).map(torch.Tensor.double)
    weight = weighting(delta, HOSPITALS[0], federation_of(HOSPITALS))
    assert all(t.ndim == 0 or t.dtype == torch.float64 for t in weight.values())


def test_somebody_has_a_say_and_the_body_is_moved(weighting: Weighting) -> None:
    for name in DELTAS[0]:
        assert sum(float(weight[name].sum()) for weight in weights(weighting, HOSPITALS)) > 0


def test_hospitals_with_the_same_data_count_as_one(weighting: Weighting) -> None:
    one = [HOSPITALS[0]]
    for twins in (2, 5):
        found = mean_delta(weighting, one * twins, DELTAS[:1] * twins)
        assert close(found, mean_delta(weighting, one, DELTAS[:1]))


def test_the_mean_of_equal_deltas_is_that_delta_or_nothing(weighting: Weighting) -> None:
    """A weighted mean, row by row: never a sum; 0 where nobody has a say."""
    found = mean_delta(weighting, HOSPITALS, DELTAS[:1] * 4)
    for name, tensor in found.items():
        stays = (tensor - DELTAS[0][name]).abs() < 1e-6
        nothing = tensor == 0
        assert (stays | nothing).all()
        assert stays[0].all()


def test_the_order_of_hospitals_does_not_matter(weighting: Weighting) -> None:
    turned = mean_delta(weighting, HOSPITALS[::-1], DELTAS[::-1])
    assert close(turned, mean_delta(weighting, HOSPITALS, DELTAS))


def test_permuting_labels_permutes_the_weights_of_rows(weighting: Weighting) -> None:
    order = [2, 0, 3, 1]
    before = weights(weighting, HOSPITALS)
    after = weights(weighting, [relabelled(own, order) for own in HOSPITALS])
    for old, new in zip(before, after, strict=True):
        assert close(new, permuted(old, order))


def test_who_knows_nothing_of_a_label_has_no_say_on_a_row_of_its_own(weighting: Weighting) -> None:
    found = weights(weighting, HOSPITALS)
    if found[0]["head.bias"].ndim == 0:
        return  # one weight for the whole head: its rows are moved by all
    for own, weight in zip(HOSPITALS, found, strict=True):
        assert (weight["head.bias"][torch.from_numpy(own.known == 0)] == 0).all()
    # So the row of label 2 is the first hospital's alone, and that of label 3 does not move.
    mean = mean_delta(weighting, HOSPITALS, DELTAS)
    torch.testing.assert_close(mean["head.weight"][2], DELTAS[0]["head.weight"][2])
    assert (mean["head.weight"][3] == 0).all()


def test_at_complete_hospitals_of_equal_prevalence_each_row_weighs_as_the_body(
    weighting: Weighting,
) -> None:
    """Sizes 20, 40 and 100, all known, with 10 %, 30 %, 50 % and 5 % positives."""
    share = np.array([0.1, 0.3, 0.5, 0.05])
    hospitals = [hospital(n, [n] * 4, (n * share).astype(int).tolist()) for n in (20, 40, 100)]
    found = weights(weighting, hospitals)
    body = torch.stack([weight["encoder.0.bias"].double() for weight in found])
    by_row = torch.stack([rows(weight, LABELS) for weight in found])
    torch.testing.assert_close(
        by_row / by_row.sum(0), (body / body.sum())[:, None].expand(3, LABELS), atol=1e-6, rtol=0
    )


def test_whatever_is_no_row_of_the_head_goes_with_the_body(weighting: Weighting) -> None:
    for weight in weights(weighting, HOSPITALS):
        one = {float(t) for name, t in weight.items() if name not in HEAD}
        assert len(one) == 1


def test_a_federation_without_any_known_entry_moves_nothing_and_breaks_nothing(
    weighting: Weighting,
) -> None:
    nothing = [hospital(4, [0] * 4, [0] * 4)] * 2
    found = mean_delta(weighting, nothing, [d * 0 for d in DELTAS[:2]])  # no step was taken
    assert all((tensor == 0).all() for tensor in found.values())
