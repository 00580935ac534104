"""From the image cache to the step: how fast batches are, and what a step waits for.

    python benchmarks/data_path.py

(a) Batches alone: images a second at 28, 64 and 224 pixels, plain and augmented (turned, moved,
scaled, contrast, brightness), from a memory-mapped cache that is in memory.
(b) A step of `small_cnn`, batch 32, one operator thread: the share of it that making the batch
takes; then the ratio of its time with a thread that makes the next batch to that without one
(`spare_core`), alone and with two trainings in two threads at once. In alternation, medians.
(c) A cache that is not in memory: batches of 224 pixels with the rows of the next batch asked from
the disk ahead, over the same without, each on files dropped from the system's memory.
(d) Opening a cache: verified in full, and after that.
(e) Memory kept between steps: a step's time with `keep_freed_memory` over that without, and the
page faults of a step, each in a process of its own, in alternation.

Exits with 1 where a target is missed: (b) plain batches at most 8 % of a step, (c) at most 0.5,
(d) at most 0.05 of the first opening.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from concilium.data.augmentation import Augmentation
from concilium.data.dataset import Exams
from concilium.data.image_cache import Images, cached_images, open_images
from concilium.data.loader import batches
from concilium.data.rows import Rows
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.contract import Network
from concilium.networks.small_cnn import SmallCNN
from concilium.training.local import LocalTraining, train
from concilium.training.memory import keep_freed_memory
from concilium.training.optimizers import OptimizerSettings

NUM_LABELS, BATCH, ALTERNATIONS = 14, 32, 5
STEPS = {28: 20, 64: 12, 224: 6}
PLAIN, AUGMENTED = Augmentation(), Augmentation(10, 0.05, 0.1, 0.2, 0.2)
COLD, COLD_SIDE, COLD_BATCHES, COLD_REPEATS = "cold", 224, 10, 5
SHARE_TARGET, COLD_TARGET, OPENING_TARGET = 0.08, 0.5, 0.05


def cache_of(folder: Path, name: str, side: int, count: int) -> Images:
    """A cache of noise."""

    def chunks() -> list[Images]:
        generator = np.random.default_rng(0)
        return [generator.integers(0, 256, (count, side, side), dtype=np.uint8)]

    return cached_images(folder, name, "key", (count, side, side), chunks)


def exams_of(images: Images, rows: np.ndarray) -> Exams:
    """These rows of a cache as a hospital holds them, with labels of noise."""
    generator = np.random.default_rng(1)
    shape = (len(rows), NUM_LABELS)
    target = (generator.random(shape) < 0.1).astype(np.float32)
    return Exams(Rows(images, rows), target, np.ones(shape, np.bool_), rows)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def alternated(one: Callable[[], object], other: Callable[[], object]) -> list[tuple[float, float]]:
    """Times of both, in turn, after a warm-up of each."""
    one()
    other()
    times = []
    for turn in range(ALTERNATIONS):
        if turn % 2:
            times.append((seconds(one), seconds(other)))
        else:
            later = seconds(other)
            times.append((seconds(one), later))
    return times


def spread(ratios: list[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})"


def draw(exams: Exams, augmentation: Augmentation) -> None:
    """One pass over the batches, nothing done with them."""
    for _ in batches(exams, BATCH, torch.Generator().manual_seed(0), augmentation):
        pass


def trained(
    network: Network, exams: Exams, augmentation: Augmentation, spare_core: bool = False
) -> None:
    """One pass with a step for each batch."""
    optimizer = OptimizerSettings("sgd", 0.01)
    settings = LocalTraining(1, BATCH, optimizer, augmentation, spare_core=spare_core)
    train(network, exams, BinaryCrossEntropy(), settings, torch.Generator().manual_seed(0))


def at_once(networks: list[Network], exams: Exams, augmentation: Augmentation, spare: bool) -> None:
    """The same training in as many threads as there are networks."""
    with ThreadPoolExecutor(len(networks)) as pool:
        for done in [pool.submit(trained, n, exams, augmentation, spare) for n in networks]:
            done.result()


def network(side: int) -> Network:
    """The network of all measurements."""
    return SmallCNN().build((1, side, side), NUM_LABELS, 0)


def batches_and_steps(folder: Path) -> bool:
    """Print (a) and (b); whether a target is missed."""
    missed = False
    for side, steps in STEPS.items():
        images = cache_of(folder, f"steps-{side}", side, steps * BATCH)
        exams = exams_of(images, np.random.default_rng(2).permutation(len(images)))
        networks = [network(side) for _ in range(2)]
        share = print_share(f"{side:3d} px plain    ", networks[0], exams, PLAIN)
        missed |= share > SHARE_TARGET
        print_share(f"{side:3d} px augmented", networks[0], exams, AUGMENTED)
        print_threads(networks, exams)
    return missed


def print_share(name: str, worker: Network, exams: Exams, augmentation: Augmentation) -> float:
    """The share of a step that its batch takes, printed with the speed of batches."""
    times = alternated(
        lambda: draw(exams, augmentation), lambda: trained(worker, exams, augmentation)
    )
    share = statistics.median(made / whole for made, whole in times)
    speed = len(exams) / statistics.median(made for made, _ in times)
    step = statistics.median(whole for _, whole in times) / len(exams) * BATCH * 1e3
    print(f"{name} {speed:9,.0f} images/s in batches; {share:6.1%} of a step of {step:.1f} ms")
    return share


def print_threads(networks: list[Network], exams: Exams) -> None:
    """What a thread for the next batch does to the time of augmented steps."""
    for own, name in ((networks[:1], "one training"), (networks, "two at once")):
        with_thread = partial(at_once, own, exams, AUGMENTED, True)
        without = partial(at_once, own, exams, AUGMENTED, False)
        ratios = [ahead / plain for ahead, plain in alternated(with_thread, without)]
        print(f"       with a thread for the next batch over without, {name}: {spread(ratios)}")


def cold_reading(folder: Path) -> bool:
    """Print (c); whether the target is missed."""
    count = COLD_BATCHES * BATCH
    total = count * 2 * COLD_REPEATS
    cache_of(folder, COLD, COLD_SIDE, total)
    path = next(folder.glob(f"{COLD}-*.npy"))
    parts = np.random.default_rng(3).permutation(total).reshape(COLD_REPEATS, 2, count)
    times = [(cold(path, one, True), cold(path, other, False)) for one, other in parts]
    ratios = [ahead / alone for ahead, alone in times]
    ahead, alone = (statistics.median(pair[i] for pair in times) * 1e3 for i in (0, 1))
    print(
        f"not in memory, {COLD_SIDE} px: {ahead:.1f} ms a batch read ahead, {alone:.1f} ms not; "
        f"ratio {spread(ratios)}, target at most {COLD_TARGET}"
    )
    return statistics.median(ratios) > COLD_TARGET


def cold(path: Path, rows: np.ndarray, ahead: bool) -> float:
    """Seconds for a batch of rows that are not in memory."""
    drop_from_memory(path)
    exams = exams_of(np.load(path, mmap_mode="r"), rows)
    if ahead:
        return seconds(lambda: draw(exams, PLAIN)) / COLD_BATCHES
    with mock.patch("concilium.data.readahead._announce", lambda images, rows: None):
        return seconds(lambda: draw(exams, PLAIN)) / COLD_BATCHES


def drop_from_memory(path: Path) -> None:
    """Ask the system to forget what it has read of a file (it may keep some of it)."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def opening(folder: Path) -> bool:
    """Print (d); whether the target is missed."""
    size = next(folder.glob(f"{COLD}-*.npy")).stat().st_size
    ratios, firsts = [], []
    for _ in range(3):
        (folder / f"{COLD}.verified.json").unlink()
        firsts.append(seconds(lambda: open_images(folder, COLD, "key")))
        time.sleep(0.05)  # a note of the same tick as the file is not trusted
        ratios.append(seconds(lambda: open_images(folder, COLD, "key")) / firsts[-1])
    first = statistics.median(firsts)
    print(
        f"opening {size / 2**20:,.0f} MB: {first * 1e3:,.0f} ms verified in full "
        f"({first / size * 45e9:,.0f} s for 45 GB), then {statistics.median(ratios):.4f} of it "
        f"at any size, target at most {OPENING_TARGET}"
    )
    return statistics.median(ratios) > OPENING_TARGET


def one_process(side: int, keep: bool) -> tuple[float, float]:
    """Milliseconds and page faults of a step, in a process of its own."""
    command = [sys.executable, __file__, "--steps", str(side), str(int(keep))]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(said[0]), float(said[1])


def steps_of_this_process(side: int, keep: bool) -> None:
    """Print milliseconds and page faults of a step."""
    if keep:
        keep_freed_memory()
    count = 40 * BATCH
    images = np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8)
    exams, worker = exams_of(images, np.arange(count)), network(side)
    trained(worker, exams, PLAIN)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    took = min(seconds(lambda: trained(worker, exams, PLAIN)) for _ in range(3))
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    print(took / 40 * 1e3, faults / 120)


def kept_memory() -> None:
    """Print (e)."""
    for side in (28, 64):
        pairs = [(one_process(side, True), one_process(side, False)) for _ in range(5)]
        ratios = [kept[0] / freed[0] for kept, freed in pairs]
        kept, freed = (statistics.median(pair[i][1] for pair in pairs) for i in (0, 1))
        print(
            f"memory kept between steps, {side} px: {spread(ratios)} of the time of a step; "
            f"{kept:,.0f} page faults a step instead of {freed:,.0f}"
        )


def main() -> int:
    """Measure all, or (in a process of its own) the steps of one."""
    torch.set_num_threads(1)
    if "--steps" in sys.argv:
        steps_of_this_process(int(sys.argv[-2]), bool(int(sys.argv[-1])))
        return 0
    missed = []
    # Not in /tmp, which may be memory: what is read must come from a disk.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        missed.append(batches_and_steps(folder))
        missed.append(cold_reading(folder))
        missed.append(opening(folder))
    kept_memory()
    return int(any(missed))


if __name__ == "__main__":
    sys.exit(main())
