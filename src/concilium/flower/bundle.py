"""The bundle that is submitted with a run: names of the installed apps, and no code to speak of.

Flower wants one with every run. Neither the coordinator nor a hospital executes it. It is the one
of ``apps/concilium``, in few lines, so that an installed package needs no folder beside it.
"""

from __future__ import annotations

from pathlib import Path

PROJECT = """\
# What `flwr run` submits: the names of the installed apps, and a run's settings.
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "concilium"
version = "0.1.0"
description = "Federated multi-label classification of medical images"
license = {file = "LICENSE"}
requires-python = ">=3.11"
dependencies = ["flwr>=1.41,<1.42"]

[tool.flwr.app]
publisher = "concilium"
fab-format-version = 1
flwr-version-target = "1.41.0"

[tool.flwr.app.components]
serverapp = "concilium_app.server_app:app"
clientapp = "concilium_app.client_app:app"

# study, out: paths relative to the coordinator's folder; deadline, grace and pause in seconds.
[tool.flwr.app.config]
study = ""
out = ""
deadline = 600.0
quorum = 2
retries = 1
grace = 10.0
pause = 5.0
"""

FILES = {
    "pyproject.toml": PROJECT,
    "LICENSE": "Apache-2.0: https://www.apache.org/licenses/LICENSE-2.0\n",
    "concilium_app/__init__.py": "",
    "concilium_app/client_app.py": "from concilium.flower.client_app import app  # noqa: F401\n",
    "concilium_app/server_app.py": "from concilium.flower.server_app import app  # noqa: F401\n",
}


def write_bundle(folder: Path) -> Path:
    """Write the bundle into a folder; the folder."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
