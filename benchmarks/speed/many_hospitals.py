"""1,000 hospitals for 3 rounds, and the memory of 10 hospitals against 1,000 with the same images.

    python benchmarks/speed/many_hospitals.py

20,000 images of noise, 64×64, in one memory-mapped file that all hospitals look into; small_cnn,
batches of 16, ``parallel`` with two workers. Each federation is a process of its own, whose peak of
resident memory is printed. Exit code 1 above 10 minutes or 4 GB for 1,000 hospitals, or where its
memory differs by more than 10 % from that of 10.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from ours import hospital, rounds
from processes import Run, run
from workload import LABELS, SEED, WORKERS, Clock

from concilium.data.dataset import Exams
from concilium.data.rows import Rows
from concilium.networks.small_cnn import SmallCNN
from concilium.runtimes.parallel import Parallel

IMAGES, SIDE, BATCH, ROUNDS = 20_000, 64, 16, 3
FEW, MANY = 10, 1000
SECONDS_TARGET, MEGABYTES_TARGET, GROWTH_TARGET = 600, 4000, 0.10


def write_images(path: Path) -> None:
    """The cache, some images at a time."""
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (IMAGES, SIDE, SIDE))
    generator = np.random.default_rng(SEED)
    for rows in np.array_split(np.arange(IMAGES), 20):
        images[rows] = generator.integers(0, 256, (len(rows), SIDE, SIDE), dtype=np.uint8)
    images.flush()


def federation(path: Path, number: int) -> None:
    """Run so many hospitals and print the rounds and the peak."""
    torch.set_num_threads(1)
    images = np.load(path, mmap_mode="r")
    targets = (np.random.default_rng(SEED).random((IMAGES, LABELS)) < 0.1).astype(np.float32)
    network = SmallCNN().build((1, SIDE, SIDE), LABELS, SEED)
    members = [
        hospital(
            k, Exams(Rows(images, rows), targets[rows], targets[rows] >= 0, rows), network, BATCH
        )
        for k, rows in enumerate(np.array_split(np.arange(IMAGES), number))
    ]
    clock = Clock()
    rounds(Parallel(workers=WORKERS), members, ROUNDS, lambda event: clock())
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"rounds": clock.rounds, "megabytes": megabytes}))


def measured(path: Path, number: int) -> Run:
    one = run([sys.executable, __file__, str(path), str(number)], limit=2 * SECONDS_TARGET)
    seconds = ", ".join(f"{own:.1f}" for own in one.line["rounds"])
    print(
        f"{number:,} hospitals of {IMAGES // number:,} images: {one.wall:.0f} s for {ROUNDS} "
        f"rounds ({seconds} s), {one.line['megabytes']:.0f} MB"
    )
    return one


def main() -> int:
    if len(sys.argv) > 1:
        federation(Path(sys.argv[1]), int(sys.argv[2]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        write_images(path)
        few, many = measured(path, FEW), measured(path, MANY)
    growth = many.line["megabytes"] / few.line["megabytes"] - 1
    print(
        f"targets: {SECONDS_TARGET} s, {MEGABYTES_TARGET} MB, and memory for {MANY:,} as for "
        f"{FEW} to {GROWTH_TARGET:.0%}: {growth:+.1%}"
    )
    missed = many.wall > SECONDS_TARGET or many.line["megabytes"] > MEGABYTES_TARGET
    return int(missed or abs(growth) > GROWTH_TARGET)


if __name__ == "__main__":
    sys.exit(main())
