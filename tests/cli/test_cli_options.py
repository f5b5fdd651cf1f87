"""Flags are declared once: they read alike in every command, and --resume refuses each that would change a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.cli import main
from nnatomy.runs.options import SIZE, Option, command_line, from_plain, options_of, parse_option, parse_options, to_plain
from nnatomy.runs.request import OF_THE_TEACHER, DataRequest, Request
from nnatomy.studies.comparison.protocol import Protocol
from nnatomy.studies.tuning.plan import Plan

REQUESTS: dict[str, type[Any]] = {"train": Request, "compare": Protocol, "tune": Plan}
VALUES: dict[str, Any] = {"int": 7, "float": 0.5, "str": "5m", "bool": True}


def value_of(known: Option) -> Any:
    """A value that an option takes, other than its default."""
    if known.flag in ("--curve", "--prune", "--baselines"):
        return False
    if known.type is SIZE:
        return "8x9"
    if known.flag == "--precision":
        return "float64"
    if known.type.pairs:
        return {"a": "1..2" if known.flag == "--space" else "0.5"}
    return ("a",) if known.type.empty() is not None else VALUES[known.type.annotation.__name__]


def words_of(known: Option, value: Any) -> list[str]:
    return known.words(parse_option(known.type, "option", value, "test"))


@pytest.mark.parametrize("request_class", REQUESTS.values())
def test_help_is_one_short_sentence(request_class: type[Any]) -> None:
    for name, known in options_of(request_class).items():
        assert len(known.help) <= 70, name
        assert known.help.endswith("."), name
        assert known.help[0].isupper(), name


def test_data_flags_are_the_same_in_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    pages = {}
    for command in REQUESTS:
        assert main([command, "--help"]) == 0
        pages[command] = " ".join(capsys.readouterr().out.split())
    for known in options_of(DataRequest).values():
        for command, page in pages.items():
            assert f"{known.flag} " in page, command
            assert known.help in page, command
    assert main(["distill", "--help"]) == 0
    student = capsys.readouterr().out
    assert not [name for name in OF_THE_TEACHER if f"--{name.replace('_', '-')} " in student]


CHANGES = [
    (command, name, known)
    for command, made in REQUESTS.items()
    for name, known in options_of(made).items()
    if not known.where and name not in ("teacher", "temperature", "soft")
    and (name != "budget" or command == "train")
]


@pytest.mark.parametrize(("command", "name", "known"), CHANGES, ids=[f"{c} {n}" for c, n, _ in CHANGES])
def test_resume_refuses_every_flag_that_changes_a_run(
    command: str, name: str, known: Option, capsys: pytest.CaptureFixture[str]
) -> None:
    value = value_of(known)
    assert main([command, "--resume", "run", *words_of(known, value)]) == 2
    assert f"Received {words_of(known, value)[0]} too" in capsys.readouterr().err


@pytest.mark.parametrize("request_class", REQUESTS.values())
def test_a_request_is_the_same_after_its_folder_and_its_command_line(request_class: type[Any]) -> None:
    names = ("mlp", "lstm") if request_class is Protocol else "mlp"
    for name, known in options_of(request_class).items():
        if name == "how":
            continue
        given = parse_options(request_class, {name: value_of(known)}, "test")
        request = request_class(names, **given)
        assert from_plain(request_class, to_plain(request)) == request
        assert words_of(known, value_of(known))[0] in command_line(request, "test"), name


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"epochs": 0}, "--epochs is at least 1"),
        ({"window": 0}, "--window is at least 1"),
        ({"seed": -1}, "--seed is at least 0"),
        ({"lr": float("nan")}, "--lr is a positive number"),
        ({"budget": 0.0}, "--budget is a positive time"),
    ],
)
def test_values_out_of_range_are_refused_where_they_are_declared(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(nn.UserError, match=sentence):
        Request("mlp", **options)


def test_groups_stay_together_in_a_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.3f},{i % 30},{'yes' if i % 2 else 'no'}" for i in range(180)]
    (tmp_path / "table.csv").write_text("x,patient,y\n" + "\n".join(rows) + "\n")
    result = nn.train("mlp", tmp_path / "table.csv", target="y", groups="patient", epochs=1, out=tmp_path / "run", report=False)
    assert any("patient" in notice and "not an input" in notice for notice in result.dataset.notices)
    assert [c.name for c in result.dataset.columns if c.role == "input"] == ["x"]
    assert "--groups patient" in result.prepared.request.command()
