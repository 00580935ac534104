"""What a hospital says instead of an answer: a code for whatever went wrong."""

from __future__ import annotations

import errno

import torch

from concilium.deployment.diary import place_of
from concilium.deployment.holdings import TooFewPatientsError
from concilium.deployment.memory import DataChangedError, MemoryLostError
from concilium.foundation.errors import ConciliumError, DivergenceError

_CODES: dict[type[Exception], str] = {
    TooFewPatientsError: "too_few_patients",
    MemoryLostError: "memory_lost",
    DataChangedError: "data_changed",
    DivergenceError: "diverged",
    MemoryError: "out_of_memory",
    torch.OutOfMemoryError: "out_of_memory",
}


class RefusedError(ConciliumError):
    """The hospital does not answer; ``code`` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def code_of(error: Exception) -> str:
    """The code that stands for an error, never anything of its text: "failed" for what is new."""
    if isinstance(error, RefusedError):
        return error.code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk_full"
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):  # torch, CPU
        return "out_of_memory"
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), "failed")


def because(error: Exception) -> str:
    """Where in our code an error arose, for the hospital's own log; nothing for a mere refusal."""
    if isinstance(error, RefusedError) and error.__cause__ is None:
        return ""
    return f" ({place_of(error)})"
