"""docs/deployment.md: its commands and its hospital file are those that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer

from concilium.cli.federation.group import group
from concilium.deployment.allowed import read_federated
from concilium.deployment.policy import parse_hospital
from concilium.federation.questions import CODES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"concilium federation ([^`\n#]+)", PAGE)))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_one_that_there_is(command: str) -> None:
    name, *words = command.split()
    own = typer.main.get_command(group)
    assert name in own.commands  # type: ignore[attr-defined]
    known = {option for p in own.commands[name].params for option in p.opts}  # type: ignore[attr-defined]
    assert {word for word in words if word.startswith("--")} <= known


def test_every_command_stands_on_the_page() -> None:
    names = {own.name for own in group.registered_commands}
    assert names - {command.split()[0] for command in COMMANDS} <= {"trial"}


def test_the_files_of_the_page_can_be_read(tmp_path: Path) -> None:
    study, text = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "my_study.toml").write_text(study)
    assert read_federated(tmp_path / "my_study.toml").data.labels == ("Effusion", "Mass")
    hospital = parse_hospital(tomllib.loads(text), tmp_path)
    assert hospital.policy.least_patients == 20


def test_the_number_of_codes_is_that_of_the_page() -> None:
    assert f"one of {len(CODES)} codes" in PAGE
