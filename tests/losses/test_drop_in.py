"""Adding a loss is one new file: the laws find it, run on it, and catch it where it is wrong."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import concilium.losses
from concilium.foundation import components
from concilium.losses.contract import Loss

LAWS_FILE = Path(__file__).parent / "test_laws.py"

RIGHT = '''
"""BCE written as softplus."""

from dataclasses import dataclass

from torch.nn.functional import softplus

from concilium.losses.contract import Loss, mean_over_known, without_unknown


@dataclass(frozen=True)
class MyLoss(Loss):
    """−log p_t = softplus(∓z)."""

    def __call__(self, logits, target, known, label_weight=None):
        logits, target = without_unknown(logits, target, known)
        values = target * softplus(-logits) + (1 - target) * softplus(logits)
        return mean_over_known(values, known, label_weight)

    @classmethod
    def like_bce(cls):
        return cls()
'''
DIVIDED = RIGHT.replace(
    '"""BCE written as softplus."""',
    '"""BCE.\n\nSends: nothing.\nCosts: nothing.\nSecure sum: yes, of nothing.\n'
    'Differential privacy: yes, it says.\n"""',
).replace(
    "mean_over_known(values, known,", "mean_over_known(values * weight / weight.mean(), known,"
)
DIVIDED = DIVIDED.replace(
    "        return mean", "        weight = 1 + target.mean(1, keepdim=True)\n        return mean"
)
WRONG = RIGHT.replace("logits, target = without_unknown(logits, target, known)", "").replace(
    "mean_over_known(values, known, label_weight)", "values.mean()"
)


@pytest.fixture
def drop_in(tmp_path: Path) -> Iterator[Callable[[str], Loss]]:
    """Puts a file my_loss.py where losses are found, and builds the loss by its name."""

    def place(source: str) -> Loss:
        (tmp_path / "my_loss.py").write_text(source, encoding="utf-8")
        loss: Loss = components.build("losses", "my_loss")
        return loss

    concilium.losses.__path__.append(str(tmp_path))
    yield place
    concilium.losses.__path__.remove(str(tmp_path))
    sys.modules.pop("concilium.losses.my_loss", None)
    vars(concilium.losses).pop("my_loss", None)


def load_laws() -> ModuleType:
    spec = importlib.util.spec_from_file_location("laws_of_losses", LAWS_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def broken_laws(loss: Loss) -> set[str]:
    """Names of the laws that a loss breaks."""
    broken = set()
    laws = {k: law for k, law in vars(load_laws()).items() if k.startswith("test_")}
    assert len(laws) > 10
    for name, law in laws.items():
        try:
            law(loss)
        except (AssertionError, RuntimeError, pytest.fail.Exception):
            broken.add(name)
    return broken


def test_a_new_file_is_a_new_loss_that_keeps_the_laws(drop_in: Callable[[str], Loss]) -> None:
    loss = drop_in(RIGHT)
    assert "my_loss" in components.names("losses")
    assert broken_laws(loss) == set()


def test_a_new_loss_without_the_mask_breaks_the_laws(drop_in: Callable[[str], Loss]) -> None:
    assert broken_laws(drop_in(WRONG)) >= {
        "test_unknown_entries_have_exactly_zero_gradient",
        "test_value_does_not_depend_on_what_stands_at_unknown_entries",
        "test_zero_where_nothing_is_known",
        "test_special_case_is_bce",
        "test_label_weights_weigh",
    }


def test_a_mean_with_weights_of_the_batch_may_not_say_yes_to_differential_privacy(
    drop_in: Callable[[str], Loss],
) -> None:
    """It is a weighted mean of losses of images, but the weights of a batch depend on all of it."""
    assert "test_a_loss_that_allows_differential_privacy_is_a_mean_over_images" in broken_laws(
        drop_in(DIVIDED)
    )


def run_law_suite(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    """The law suite as ``pytest`` runs it, in a process of its own, with one file more."""
    (folder / "my_loss.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", str(LAWS_FILE), "-vv", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-k", "my_loss"],
        cwd=LAWS_FILE.parents[2],
        env={**os.environ, "CONCILIUM_EXTRA_LOSSES": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_suite_runs_on_the_new_file_without_an_edit(tmp_path: Path) -> None:
    done = run_law_suite(tmp_path, RIGHT)
    assert done.returncode == 0, done.stdout
    assert "test_unknown_entries_have_exactly_zero_gradient[my_loss] PASSED" in done.stdout
    assert done.stdout.count("[my_loss] PASSED") > 10


@pytest.mark.slow
def test_the_suite_fails_on_a_new_file_that_forgets_the_mask(tmp_path: Path) -> None:
    done = run_law_suite(tmp_path, WRONG)
    assert done.returncode == 1, done.stdout
    assert "test_unknown_entries_have_exactly_zero_gradient[my_loss] FAILED" in done.stdout
