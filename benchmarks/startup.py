"""What a user waits for: help, the first gradient step of a run, and a study beside its training.

    python benchmarks/startup.py

(a) ``concilium --help`` and the help of each command: wall time, median of 5.
(b) ``concilium run STUDY`` until the first round is committed, over ``python -c "import torch"``
    run just before it: median of 5 differences, with 1 worker and with 2. The study is small
    (4,000 exams of 128 features, 5 hospitals), so this is a little more than the time to the first
    gradient step: after it come the other steps of the round, a look at validation, a checkpoint.
(c) Where a whole study (2 methods, 2 seeds, 10 rounds) spends its time, by a profiler that makes
    all of it slower: shares, no target.

Wall times are those of a quiet machine; the time on a core says what a busy one adds.

Exits with 1 where a target is missed: (a) 0.3 s, and 0.5 s a command; (b) 2 s.
"""

from __future__ import annotations

import os
import pstats
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

COMMANDS = ("demo", "inspect", "split", "run", "extract", "evaluate", "compare", "report", "list")
REPEATS = 5
HELP_TARGET, COMMAND_TARGET, STEP_TARGET = 0.3, 0.5, 2.0
CONCILIUM = (sys.executable, "-m", "concilium")
NUM_EXAMS, NUM_FEATURES, NUM_LABELS = 4000, 128, 14
STUDY = """
title = "Start-up"
seeds = [0, 1]
workers = {workers}
[data]
source = {{name = "feature_table", file = "features.npz"}}
[split]
hospitals = 5
[network]
architecture = "mlp"
[training]
rounds = 10
runtime = {runtime}
[methods.fedavg]
[methods.concilium]
[evaluation]
bootstrap = 200
"""
# What (c) prints: a part of a run, and the function that it is the time of.
PARTS = (
    ("read the data", "assembly.py", "load_data"),
    ("describe the data, digest", "run.py", "describe_data"),
    ("divide them", "division.py", "divide"),
    ("save the division", "division.py", "save_division"),
    ("lay exams out", "hospitals.py", "parts_of"),
    ("local training", "local.py", "train"),
    ("look after each round", "phases.py", "inspect"),
    ("checkpoints", "checkpoints.py", "save"),
    ("exact heads", "newton.py", "solution"),
    ("evaluation", "job.py", "_assessed"),
    ("table", "tables.py", "print_summary"),
    ("report", "page.py", "write_report"),
)


def seconds(command: tuple[str, ...], folder: Path) -> float:
    """Wall time of a command that ends by itself."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def until_committed(study: Path) -> float:
    """Wall time of ``concilium run`` until a first round is committed; then it is stopped."""
    out = Path(tempfile.mkdtemp(dir=study.parent)) / "run"
    start = time.perf_counter()
    process = subprocess.Popen(
        [*CONCILIUM, "run", str(study), "--out", str(out)],
        cwd=study.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not any(out.glob("methods/*/*/*/*/checkpoints/*.json")):
        if process.poll() is not None:
            raise RuntimeError("the run ended before its first round")
        time.sleep(0.005)
    taken = time.perf_counter() - start
    process.send_signal(signal.SIGINT)
    process.wait()
    return taken


def cpu(measured: Callable[[], float]) -> tuple[float, float]:
    """Wall time of what is measured, and the time of its process on a core."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = measured()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def helps(folder: Path) -> bool:
    """Print (a); whether its targets are met."""
    met = True
    for command in ("", *COMMANDS):
        target = COMMAND_TARGET if command else HELP_TARGET
        words = (*CONCILIUM, *([command] if command else []), "--help")
        measured = [cpu(partial(seconds, words, folder)) for _ in range(REPEATS)]
        walls, on_core = sorted(own[0] for own in measured), min(own[1] for own in measured)
        middle = statistics.median(walls)
        met &= middle <= target
        name = f"concilium {command} --help".replace("  ", " ")
        spread = f"{walls[0]:.2f} to {walls[-1]:.2f}"
        print(
            f"{name:28} {middle:.2f} s ({spread}; target: at most {target:.1f}); "
            f"time on a core: {on_core:.2f} s"
        )
    return met


def first_step(study: Path, workers: int) -> bool:
    """Print (b); whether its target is met."""
    torch = (sys.executable, "-c", "import torch")
    until_committed(study)  # the caches of files are warm from here on
    pairs = [
        (cpu(lambda: seconds(torch, study.parent)), cpu(lambda: until_committed(study)))
        for _ in range(REPEATS)
    ]
    beyond = sorted(run[0] - bare[0] for bare, run in pairs)
    middle = statistics.median(beyond)
    on_core = statistics.median(run[1] - bare[1] for bare, run in pairs)
    bare = statistics.median(bare[0] for bare, _ in pairs)
    print(
        f"run to its first round, {workers} worker{'s' * (workers > 1)}: {middle:.2f} s beyond "
        f"importing torch ({beyond[0]:.2f} to {beyond[-1]:.2f}; target: at most {STEP_TARGET:.1f});"
        f" importing torch: {bare:.2f} s"
        + (f"; time on a core: {on_core:.2f} s beyond" if workers == 1 else "")
    )
    return middle <= STEP_TARGET


def shares(study: Path) -> None:
    """Print (c)."""
    profile = study.parent / "profile"
    profiled = (sys.executable, "-m", "cProfile", "-o", str(profile), "-m", "concilium")
    seconds((*profiled, "run", str(study), "--out", str(study.parent / "whole")), study.parent)
    report = pstats.Stats(str(profile))
    whole, stats = report.get_stats_profile().total_tt, report.stats  # type: ignore[attr-defined]

    def of(file: str, function: str) -> float:
        return max(
            (
                own[3]
                for (path, _, name), own in stats.items()
                if name == function and Path(path).name == file and "concilium" in path
            ),
            default=0.0,
        )

    imports = max(own[3] for (_, _, name), own in stats.items() if name == "_find_and_load")
    print(f"a whole study, under a profiler: {whole:.1f} s, of which")
    for title, taken in (("imports", imports), *((t, of(f, n)) for t, f, n in PARTS)):
        print(f"  {title:28} {taken:5.2f} s  {100 * taken / whole:4.1f} %")


def write_study(folder: Path, name: str, workers: int, runtime: str) -> Path:
    """A study file beside its features."""
    path = folder / f"{name}.toml"
    path.write_text(STUDY.format(workers=workers, runtime=runtime), encoding="utf-8")
    return path


def write_features(path: Path) -> None:
    """An archive of noise with labels that follow a linear rule of it."""
    generator = np.random.default_rng(0)
    features = generator.standard_normal((NUM_EXAMS, NUM_FEATURES)).astype(np.float32)
    rule = generator.standard_normal((NUM_FEATURES, NUM_LABELS)) / np.sqrt(NUM_FEATURES)
    noise = generator.standard_normal((NUM_EXAMS, NUM_LABELS))
    np.savez(
        path,
        features=features,
        labels=(features @ rule + noise > 1.5).astype(np.uint8),
        label_names=np.array([f"label {place}" for place in range(NUM_LABELS)]),
        patient=np.arange(NUM_EXAMS) // 2,
    )


def main() -> int:
    """Print the numbers; the exit code says whether the targets are met."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.environ["CONCILIUM_CACHE"] = str(folder / "cache")
        write_features(folder / "features.npz")
        met = helps(folder)
        for workers in (1, 2):
            study = write_study(folder, f"workers-{workers}", workers, '"parallel"')
            met &= first_step(study, workers)
        shares(write_study(folder, "whole", 1, '"in_process"'))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
