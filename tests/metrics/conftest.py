"""Metrics in a folder named by CONCILIUM_EXTRA_METRICS undergo the laws like the package's."""

from __future__ import annotations

import os

import concilium.metrics

_folder = os.environ.get("CONCILIUM_EXTRA_METRICS")
if _folder and _folder not in concilium.metrics.__path__:
    concilium.metrics.__path__.append(_folder)
