"""Every hospital accounted for: who answered each exchange, who did not and why.

RUN/exchanges.jsonl   one line an exchange: number, kind, who answered, who was left out with the
                      reason, letters that nobody waited for, bytes, seconds
RUN/federation.json   the run's id, its study, its terms, and a sum of the lines for each hospital
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from concilium.foundation.errors import Problem, StudyError
from concilium.foundation.files import write_json
from concilium.orchestration.accounts import Account
from concilium.orchestration.carriers import Terms
from concilium.studies.run import FEDERATION

EXCHANGES = "exchanges.jsonl"


@dataclass(frozen=True)
class Ledger:
    """The ledger of a run folder, of one run with this id and this digest of the study."""

    run: Path
    id: str
    study: str

    @staticmethod
    def of(run: Path, study: str) -> Ledger:
        """The ledger of a run folder, a new one where it has none.

        Only for who holds the folder, else two would give it an id each. Raises StudyError where
        it is another study's.
        """
        path = run / FEDERATION
        if not path.exists():
            return Ledger(run, secrets.token_hex(16), study)
        found = _read(path)
        if found["study"] != study:
            what = "holds a federation's run of another study"
            raise StudyError(Problem(str(run), what, "use another --out, or the study as it was"))
        _end_line(run / EXCHANGES)
        return Ledger(run, found["run"], study)

    def note(self, account: Account) -> None:
        """Write down what became of an exchange."""
        with (self.run / EXCHANGES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(account)) + "\n")

    def close(
        self,
        terms: Terms,
        hospitals: Sequence[str],
        input_shape: Sequence[int] = (),
        methods_left_out: Mapping[str, str] | None = None,
    ) -> None:
        """Write ``federation.json``: what is known by now.

        Raises StudyError where the folder has become another run's, which is not touched.
        """
        path = self.run / FEDERATION
        if path.exists() and _read(path)["run"] != self.id:
            what = "holds another run of this study by now"
            raise StudyError(Problem(str(self.run), what, "use another --out"))
        accounts = self.accounts()
        write_json(
            path,
            {
                "run": self.id,
                "study": self.study,
                "input_shape": list(input_shape),
                "terms": asdict(terms),
                "methods_left_out": dict(methods_left_out or {}),
                "exchanges": len(accounts),
                "hospitals": {name: _sum(name, accounts) for name in hospitals},
            },
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of an input that was agreed on; empty before that."""
        path = self.run / FEDERATION
        if not path.exists():
            return ()
        return tuple(_read(path)["input_shape"])

    def accounts(self) -> list[dict[str, Any]]:
        """The lines so far; one that a crash cut short is left out."""
        path = self.run / EXCHANGES
        if not path.exists():
            return []
        found = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _end_line(path: Path) -> None:
    """End the line that a crash cut short, so that the next one stands by itself."""
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")


def _sum(name: str, accounts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How often a hospital answered, and how often it was left out for which reason."""
    reasons = [own["left_out"][name] for own in accounts if name in own["left_out"]]
    codes = Counter(reason.partition(":")[0] for reason in reasons)
    return {
        "answered": sum(name in own["answered"] for own in accounts),
        "left_out": dict(codes),
        "last_reason": reasons[-1] if reasons else "",
    }
