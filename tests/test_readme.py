"""README.md is true: its Python runs; its commands, layers, links and tables are those of today."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from nnatomy.cli.main import COMMANDS
from results.readme import filled
from results.table import read

pytestmark = pytest.mark.any_kernels
ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
COMMAND_LINES = [line for line in BLOCKS[2].splitlines() if line.startswith("nnatomy ")]
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def single(command: Any) -> typer.Typer:
    app = typer.Typer()
    app.command()(command)
    return app


@pytest.mark.parametrize("code", CODE, ids=["engine and training", "scikit-learn"])
def test_its_python_runs(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out


def test_its_tables_are_of_today() -> None:
    """They are written by `python benchmarks/results.py --tables`."""
    assert filled(TEXT, read()) == TEXT


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_its_commands_have_these_flags(line: str) -> None:
    name, *words = shlex.split(line, comments=True)[1:]
    command = {c.__name__.rstrip("_"): c for c in COMMANDS}[name]
    flags = {flag for p in typer.main.get_command(single(command)).params for flag in (*p.opts, *p.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= flags


def test_its_first_two_blocks_are_one_line_each() -> None:
    """They are what a newcomer copies: one line installs and trains, the next one installs what tests need and runs them."""
    assert [len(block.splitlines()) for block in BLOCKS[:2]] == [1, 1]
    assert "nnatomy train" in BLOCKS[0]
    assert BLOCKS[1].strip().endswith("-m pytest -n 2")


def test_its_links_resolve() -> None:
    for target in re.findall(r"\]\(([^)#]+)|src=\"([^\"]+)", TEXT):
        assert (ROOT / "".join(target)).exists(), target


def test_its_layers_are_those_of_the_linter() -> None:
    table = TEXT.partition("## How it is built\n")[2].partition("Imports point downward")[0]
    named = [name for line in table.strip().splitlines() for name in re.split(r" · ", re.sub(r"^ *[a-z ]+?  +", "", line))]
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [layer.replace("nnatomy.", "").split(" | ") for layer in contract["layers"]]
    order = {name: turn for turn, layer in enumerate(layers) for name in layer}
    small = {
        "catalog", "init", "checking", "random", "saved", "files", "foreign", "errors", "printing", "interrupts", "command",
        "lazy", "showing",
    }  # fmt: skip
    assert {*named} == order.keys() - small
    assert [order[name] for name in named] == sorted(order[name] for name in named)
