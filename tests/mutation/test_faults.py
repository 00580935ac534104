"""The planted faults fit the code as it stands, so that ``make mutate`` plants all of them."""

from __future__ import annotations

import ast
from collections import Counter

from tests.mutation.faults import read_faults

FAULTS = read_faults()


def test_there_are_at_least_forty_and_no_two_are_the_same() -> None:
    assert len(FAULTS) >= 40
    twice = [fault for fault, count in Counter(FAULTS).items() if count > 1]
    assert not twice


def test_each_fault_fits_and_leaves_a_file_that_python_reads() -> None:
    for fault in FAULTS:
        assert fault.old != fault.new, fault
        ast.parse(fault.planted())
