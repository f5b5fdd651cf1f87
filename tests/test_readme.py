"""README.md is true: its Python runs, its commands and its layers are there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from nnatomy.cli.main import COMMANDS

pytestmark = pytest.mark.any_kernels
ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("code", CODE, ids=["engine and training", "scikit-learn"])
def test_its_python_runs(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out


def test_its_table_has_every_command_and_no_other() -> None:
    named = set(re.findall(r"`nnatomy ([a-z]+)", TEXT))
    assert named == {command.__name__.rstrip("_") for command in COMMANDS}


def test_its_layers_are_those_of_the_linter() -> None:
    table = TEXT.partition("## How it is built\n")[2].partition("Imports point downward")[0]
    named = [name for line in table.strip().splitlines() for name in re.split(r" · ", re.sub(r"^ *[a-z ]+?  +", "", line))]
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [layer.replace("nnatomy.", "").split(" | ") for layer in contract["layers"]]
    order = {name: turn for turn, layer in enumerate(layers) for name in layer}
    small = {"catalog", "init", "checking", "random", "errors", "lazy"}
    assert {*named} == order.keys() - small
    assert [order[name] for name in named] == sorted(order[name] for name in named)
