"""What commands of a federation need besides the package itself."""

from __future__ import annotations

from importlib.util import find_spec

from concilium.foundation.errors import InputError, Problem

EXTRA = "flower"
MODULES = ("flwr", "cryptography", "httpx")


def needs_flower() -> None:
    """Raise InputError, which says how to install it, where Flower is not there."""
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        what = f"a federation between machines runs on Flower, and {', '.join(missing)} is missing"
        raise InputError(Problem("", what, f'pip install "concilium[{EXTRA}]"'))
