"""What became of an exchange, for the ledger and in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """What became of one exchange: every hospital that was asked stands in it once.

    ``left_out`` has a code and a sentence by name; ``dropped`` are letters that nobody waited for.
    """

    number: int
    kind: str
    answered: tuple[str, ...]
    left_out: Mapping[str, str]
    dropped: tuple[str, ...]
    bytes_down: int
    bytes_up: int
    seconds: float


def unnoted(account: Account) -> None:
    """Note nothing."""


def last_question(account: Account) -> str:
    """Which question was the last, and where it stands who answered it."""
    return (
        f"the last question was {account.kind}, number {account.number}: exchanges.jsonl of the "
        "run says who answered it and those before; where one hospital's numbers led astray, leave "
        "it out and begin anew"
    )


def too_few(account: Account, least: int) -> str:
    """Who answered, who did not and why, and what can be done."""
    there = ", ".join(account.answered) or "nobody"
    lines = [
        f"too few hospitals for {account.kind}: {len(account.answered)} answered, {least} are "
        f"needed (answered: {there})"
    ]
    lines += [f"  - {name}: {why}" for name, why in sorted(account.left_out.items())]
    lines.append(
        "  mend what is said there and resume: the run goes on from its last committed round; or "
        "resume with a smaller quorum"
    )
    return "\n".join(lines)
