"""A thousand hospitals in one process, each with its own folder, a tenth of them failing.

    python benchmarks/many_sites.py [HOSPITALS]

Every hospital is a ``Site`` over a folder with a tiny table of features; letters to it are bytes,
as over any network, and its answers pass the door. Three rounds of SCAFFOLD, whose memories stand
on each hospital's disk, then evaluation. A tenth of the hospitals fail in one of four ways, from
the first round on: their app ends, they are not there, they send garbage, or they say nothing.

It prints seconds, peak memory, and who was left out of what; each exchange must name everybody who
was asked, once. Exits with 1 where that is not so, or a target is missed: 10 minutes, 4 GB.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from concilium.deployment.allowed import allow, read_federated
from concilium.deployment.coordinator import run_federation
from concilium.deployment.loopback import Fault, Loopback
from concilium.deployment.site import Site
from concilium.orchestration.carriers import Terms
from concilium.orchestration.observers import Event, PhaseStarted, RoundFinished
from concilium.studies.bench import Job

HOSPITALS, ROUNDS, PATIENTS, FEATURES = 1000, 3, 48, 8
LABELS = ("Effusion", "Mass", "Hernia")
FAULTS: tuple[Fault, ...] = ("failed", "unreachable", "garbage", "silent")
HEALTHY = 5
"""Letters before the first round: an introduction, three counts, statistics."""
MOST_SECONDS, MOST_GIGABYTES = 600, 4.0

STUDY = f"""
title = "Many hospitals"
seeds = [0]

[data]
source = "phantom"
labels = {json.dumps(LABELS)}

[split]
fractions = [0.5, 0.25, 0.25]

[network]
architecture = {{name = "mlp", hidden = [16]}}

[training]
rounds = {ROUNDS}
learning_rates = [0.1]
batch_size = 8

[evaluation]
min_positives = 1
bootstrap = 0

[methods.own]
algorithm = "scaffold"
"""


def write_hospitals(base: Path, number: int) -> tuple[Path, dict[str, Path]]:
    """The study file, and the folders of so many hospitals by name."""
    study = base / "study.toml"
    study.write_text(STUDY, encoding="utf-8")
    rule = np.random.default_rng(0).normal(size=(FEATURES, len(LABELS)))
    folders = {f"hospital-{k:04d}": base / f"{k:04d}" for k in range(number)}
    for seed, (name, folder) in enumerate(folders.items()):
        generator = np.random.default_rng(seed)
        features = generator.normal(size=(PATIENTS, FEATURES)).astype(np.float32)
        noise = generator.logistic(size=(PATIENTS, len(LABELS)))
        folder.mkdir()
        np.savez(
            folder / "features.npz",
            features=features,
            labels=(features @ rule + noise > [0.5, 1, 2]).astype(np.int8),
            label_names=np.array(LABELS),
            patient=np.arange(PATIENTS),
        )
        source = 'source = {name = "feature_table", file = "features.npz"}'
        text = f'name = "{name}"\n[data]\n{source}\n'
        (folder / "hospital.toml").write_text(text, encoding="utf-8")
        allow(study, folder)
    return study, folders


def fault_of(name: str, letter: int) -> Fault:
    """Every tenth hospital fails from the first round on, each kind in turn."""
    number = int(name.rpartition("-")[2])
    if letter < HEALTHY or number % 10:
        return ""
    return FAULTS[number // 10 % len(FAULTS)]


def run(base: Path, number: int) -> Path:
    """The run folder of a study over so many hospitals."""
    study, folders = write_hospitals(base, number)
    started = time.perf_counter()

    def tell(job: Job, event: Event) -> None:
        seconds = time.perf_counter() - started
        match event:
            case PhaseStarted():
                print(f"{seconds:6.1f} s  {event.phase}", flush=True)
            case RoundFinished():
                out = len(event.record["left_out"])
                print(
                    f"{seconds:6.1f} s  round {event.record['round']}, {out} left out", flush=True
                )

    sites = {name: Site(folder) for name, folder in folders.items()}
    terms = Terms(deadline=20, quorum=number // 2, retries=1, pause=0.1, grace=1)
    with Loopback(sites, fault_of) as carrier:
        text = study.read_text(encoding="utf-8")
        run_federation(read_federated(study), text, base / "run", carrier, terms, False, tell)
    return base / "run"


def unaccounted(run: Path, number: int) -> list[int]:
    """Exchanges that do not name every hospital once, and those that left a healthy one out."""
    names = {f"hospital-{k:04d}" for k in range(number)}
    failing = {name for name in names if fault_of(name, HEALTHY)}
    wrong = []
    lines = (run / "exchanges.jsonl").read_text(encoding="utf-8").splitlines()
    for place, line in enumerate(map(json.loads, lines)):
        asked = [*line["answered"], *line["left_out"]]
        expected: Any = set() if place < HEALTHY else failing
        if len(asked) != number or set(asked) != names or set(line["left_out"]) != expected:
            wrong.append(place)
    return wrong


def main() -> int:
    """Run it, and print what it cost and what became of whom."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else HOSPITALS
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done = run(Path(folder), number)
        wrong = unaccounted(done, number)
        ledger = json.loads((done / "federation.json").read_text(encoding="utf-8"))
        (result,) = json.loads((done / "results.json").read_text(encoding="utf-8"))
    reasons = Counter(next(iter(own["left_out"]), "never") for own in ledger["hospitals"].values())
    seconds = time.perf_counter() - started
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{number} hospitals, {ROUNDS} rounds, {ledger['exchanges']} exchanges")
    print("left out:", ", ".join(f"{code} {count}" for code, count in sorted(reasons.items())))
    print(f"bytes up and down: {result['bytes_up']:,}, {result['bytes_down']:,}")
    print(f"{seconds:.0f} s (target at most {MOST_SECONDS})")
    print(f"peak memory {gigabytes:.2f} GB (target at most {MOST_GIGABYTES:g})")
    print(f"exchanges that do not account for everybody: {wrong or 'none'}")
    return int(bool(wrong) or seconds > MOST_SECONDS or gigabytes > MOST_GIGABYTES)


if __name__ == "__main__":
    sys.exit(main())
