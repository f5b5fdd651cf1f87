"""A comparison whose time ended early shows what is finished, and says what is not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.cli import main
from nnatomy.data import Fold
from nnatomy.errors import UserError
from nnatomy.studies.comparison import compare as comparing
from nnatomy.studies.comparison.compare import resume_comparison

pytestmark = [pytest.mark.any_kernels, pytest.mark.usefixtures("inline")]

ROWS: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "baselines alone": ({}, {"majority class": 3, "logistic regression": 3, "gradient boosting": 3}),
    "one fold of one network": ({"mlp": 1}, {"majority class": 3, "mlp": 1}),
    "one network alone": ({"mlp": 3}, {"mlp": 3, "gradient boosting": 3}),
    "two folds of one": ({"mlp": 2, "perceptron": 1}, {"mlp": 2, "perceptron": 1}),
}
"""By name: the folds that each network may finish, and some of the folds that are shown."""


@pytest.mark.parametrize("name", ROWS)
def test_what_is_finished_is_shown(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    allowed, shown = ROWS[name]
    wanted = comparing._Work._wanted
    with monkeypatch.context() as patch:
        patch.setattr(
            comparing._Work, "_wanted",
            lambda self, unit: wanted(self, unit)
            and (unit.what != "fit" or unit.fold < allowed.get(unit.candidate, 0)),
        )  # fmt: skip
        words = ["--data", "iris", "--cv", "3", "--seeds", "1", "--epochs", "1", "--no-curve", "--out", "c", "--json"]
        assert main(["compare", "mlp", "perceptron", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    by_name = {c["name"]: c for c in found["candidates"]}
    assert {key: len(by_name[key]["scores"]) for key in shown} == shown
    assert {key for key, c in by_name.items() if c["type"] == "architecture"} == set(allowed)
    assert set(found["refused"]) == {"mlp", "perceptron"} - set(allowed)
    assert (found["pairs"], found["verdicts"]) == ([], [])
    assert by_name["majority class"]["mean"] == pytest.approx(_majority())
    (notice,) = [text for text in found["notices"] if "Nothing was tested" in text]
    for key in ("mlp", "perceptron"):
        assert f"{key} {allowed.get(key, 0)}" in notice
    for key, c in by_name.items():
        assert math.isnan(c["std_over_folds"] or math.nan) == (len(c["scores"]) < 2), key
    page = (tmp_path / "c" / "report.html").read_text(encoding="utf-8")
    assert "Nothing was tested" in page
    if name == "baselines alone":
        again = resume_comparison("c")
        assert {c.name for c in again.candidates} >= {"mlp", "perceptron", "majority class"}
        assert len(again.pairs) == 3
        assert not any("Nothing was tested" in notice for notice in again.notices)


def _majority() -> float:
    """The mean accuracy over the folds of always saying the most frequent class of the training part."""
    found = []
    for k in range(3):
        dataset = data.load("iris", fold=Fold(k, 3))
        found.append(np.mean(dataset.test.all()[1] == np.bincount(dataset.train.all()[1]).argmax()))
    return float(np.mean(found))


def test_nothing_finished_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing._Work, "_wanted", lambda self, unit: False)
    with pytest.raises(UserError, match=r"needs a fold with a finite accuracy\. Received none"):
        nn.compare("mlp", data="iris", cv=2, seeds=1, epochs=1, curve=False)


def test_the_table_has_a_dash_for_what_one_fold_does_not_show(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = comparing._Work._wanted

    def some(self: Any, unit: Any) -> bool:
        return wanted(self, unit) and (unit.what != "fit" or unit.fold == 0)

    monkeypatch.setattr(comparing._Work, "_wanted", some)
    assert main(["compare", "mlp", "--data", "iris", "--cv", "3", "--seeds", "1", "--epochs", "1", "--no-curve"]) == 0
    shown = capsys.readouterr()
    row = next(line.split() for line in shown.out.splitlines() if line.split()[:1] == ["mlp"])
    assert row[2:5] == ["-", "-", "-"]
    assert "nan" not in shown.out
    assert "Nothing was tested" in shown.err
