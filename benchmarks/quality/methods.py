"""The methods of the benchmark: what is trained, and the parameter that is tuned with the rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Plain = Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """``settings``: a table ``[methods.NAME]`` of a study, without a head.

    ``parameter`` is the dotted place of its main parameter in them ("algorithm.mu"), ``values`` the
    two that are tried; "" and () where it has none. ``heads``: what stands on the body afterwards;
    each head chooses its own body among the trials. ``one_label_at_a_time`` trains a body for each
    label, which knows no other; its head is "none" only.
    """

    name: str
    title: str
    settings: Plain
    parameter: str = ""
    values: tuple[Any, ...] = ()
    heads: tuple[str, ...] = ("none", "newton", "balanced_ridge")
    one_label_at_a_time: bool = False
