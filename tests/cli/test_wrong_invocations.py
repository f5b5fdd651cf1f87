"""Command lines drawn at random: each is carried out, or refused in one sentence that has rule, received and remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer

from nnatomy.cli.main import app

sys.path.insert(0, str(Path(__file__).parent))
from wrong_invocations import BASES, Generator, run


@pytest.mark.slow
def test_three_hundred_command_lines_are_carried_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNATOMY_DATA", raising=False)
    faults, ends = run(300, seed=0, report=lambda line: None)
    assert not faults, [(found.words, fault) for found, fault in faults]
    assert ends["refused"] > 150
    assert ends["accepted"] > 30


def test_every_command_and_every_flag_is_drawn() -> None:
    generator = Generator(0)
    drawn = [generator.draw() for _ in range(6000)]
    flags = {word.partition("=")[0] for words in drawn for word in words if word.startswith("--")}
    group = typer.main.get_command(app)
    assert set(BASES) == set(group.commands)  # type: ignore[attr-defined]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert any(words[:1] == [name] for words in drawn)
        missing = {flag for option in command.params for flag in option.opts if flag.startswith("--")} - flags
        assert not missing, name
