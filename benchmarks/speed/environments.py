"""An environment of its own for each peer, built by its first run and kept for the next.

They lie below the folder that CONCILIUM_BENCHMARKS names, else in the user's cache. Each has the
torch of ``constraints.txt``, installed as the Makefile installs it; TORCH_FLAGS are more options
for that, as there.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"

REQUIREMENTS = {
    "flower": ["flwr[simulation]>=1.38,<1.43"],
    "pfl": ["pfl[pytorch]==0.6.0"],
    # It declares Python 3.12 or newer; the code of 2.0.2 runs on 3.11, that of 3.0.0 does not.
    # pip then takes any version of the rest, too: NumPy 2.5 is the first that 3.11 cannot use.
    "blazefl": ["blazefl==2.0.2", "tqdm", "numpy<2.5", "--ignore-requires-python"],
    "nvflare": ["nvflare==2.9.0"],
}


class CannotBeInstalledError(Exception):
    """What pip said last."""


def python_of(peer: str) -> str:
    """The interpreter of a peer's environment. Raises CannotBeInstalledError where pip fails."""
    cache = Path.home() / ".cache" / "concilium-benchmarks"
    folder = Path(os.environ.get("CONCILIUM_BENCHMARKS", cache)) / peer
    python = folder / "bin" / "python"
    wanted = " ".join(REQUIREMENTS[peer])
    stamp = folder / "installed"  # written last: an installation that broke off is done again
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"installing {peer}: some minutes, once", file=sys.stderr, flush=True)
        _install(folder, python, REQUIREMENTS[peer])
        stamp.write_text(wanted)
    return str(python)


def _install(folder: Path, python: Path, requirements: list[str]) -> None:
    # Peers may need other versions of everything but torch, whose speed is compared.
    torch_alone = folder / "torch.txt"
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pins = CONSTRAINTS.read_text().splitlines()
    torch_alone.write_text(next(pin for pin in pins if pin.startswith("torch==")))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    flags = shlex.split(os.environ.get("TORCH_FLAGS", ""))
    for options in (
        ["--constraint", CONSTRAINTS, *flags, "torch"],
        ["--constraint", torch_alone, *requirements],
    ):
        done = subprocess.run([*pip, *options], check=False, capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
            raise CannotBeInstalledError(errors[-1] if errors else "pip gave no reason")
