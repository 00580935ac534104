"""Policies for uncertain labels: what each state becomes, and what stays unknown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from concilium.foundation.errors import InputError
from concilium.labels.states import State
from concilium.labels.uncertainty import UncertaintyPolicy, resolve

EVERY_STATE = np.array([[State.UNKNOWN, State.UNCERTAIN, State.ABSENT, State.PRESENT]], np.int8)
POLICIES = [
    UncertaintyPolicy(uncertain, 0.7, unknown_as_negative)
    for uncertain in ("ignore", "positive", "negative", "soft")
    for unknown_as_negative in (False, True)
]


@pytest.mark.parametrize(
    ("policy", "target", "known"),
    [
        (UncertaintyPolicy(), [0, 0, 0, 1], [False, False, True, True]),
        (UncertaintyPolicy("positive"), [0, 1, 0, 1], [False, True, True, True]),
        (UncertaintyPolicy("negative"), [0, 0, 0, 1], [False, True, True, True]),
        (UncertaintyPolicy("soft", 0.25), [0, 0.25, 0, 1], [False, True, True, True]),
        (
            UncertaintyPolicy(unknown_as_negative=True),
            [0, 0, 0, 1],
            [True, False, True, True],
        ),
    ],
)
def test_each_policy_by_hand(
    policy: UncertaintyPolicy, target: list[float], known: list[bool]
) -> None:
    resolved = resolve(EVERY_STATE, policy)
    assert resolved[0].tolist() == [target]
    assert resolved[1].tolist() == [known]
    assert resolved[0].dtype == np.float32


@pytest.mark.parametrize("policy", POLICIES, ids=UncertaintyPolicy.describe)
@given(arrays(np.int8, (5, 3), elements=st.integers(-2, 1)))
def test_laws_of_every_policy(policy: UncertaintyPolicy, states: np.ndarray) -> None:
    target, known = resolve(states, policy)
    assert (target[~known] == 0).all()  # a mistake with the mask then trains on nothing positive
    assert (target[states == State.PRESENT] == 1).all()
    assert known[states >= State.ABSENT].all()
    assert (known[states == State.UNKNOWN] == policy.unknown_as_negative).all()


def test_soft_at_the_ends_is_positive_and_negative() -> None:
    for soft, hard in ((1.0, "positive"), (0.0, "negative")):
        one = resolve(EVERY_STATE, UncertaintyPolicy("soft", soft))
        two = resolve(EVERY_STATE, UncertaintyPolicy(hard))
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


def test_every_policy_describes_itself_differently() -> None:
    assert len({policy.describe() for policy in POLICIES}) == len(POLICIES)
    assert "probability 0.7" in UncertaintyPolicy("soft", 0.7).describe()
    assert "unknown labels COUNT AS ABSENT" in POLICIES[1].describe()


def test_a_policy_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'positive'"):
        UncertaintyPolicy("positiv")
    with pytest.raises(InputError, match=r"soft_target=1\.5 must lie between 0 and 1"):
        UncertaintyPolicy("soft", 1.5)
