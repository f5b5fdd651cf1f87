"""`nnatomy compare` on the command line: one JSON object, plain lines when piped, one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnatomy.cli.main import main

pytestmark = pytest.mark.any_kernels


def test_a_comparison_prints_one_json_object_and_plain_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["mlp", "lstm", "--data", "iris", "--cv", "2", "--seeds", "1", "--epochs", "1", "--no-curve", "--jobs", "2"]
    assert main(["compare", *words, "--out", "here", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert printed.out.count("\n") == 1
    assert [c["name"] for c in found["candidates"]].count("mlp") == 1
    assert list(found["refused"]) == ["lstm"]
    assert found["candidates"][0]["mean"] == max(c["mean"] for c in found["candidates"])
    assert "2 of 2: mlp, fold" in printed.err
    assert "left out: lstm" in printed.err
    assert (tmp_path / "here" / "report.html").is_file()
    assert main(["compare", "--resume", "here"]) == 0
    printed = capsys.readouterr()
    assert "logistic regression *" in printed.out
    assert "Report: here" in printed.out
    assert main(["compare", "mlp", "--resume", "here"]) == 2
    assert "Received mlp too" in capsys.readouterr().err
    assert main(["compare", "mlp", "--data", "iris", "--out", "here"]) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["mpl", "--data", "iris"],
        ["mlp", "--data", "no_such_set"],
        ["mlp", "--data", "iris", "--cv", "1"],
        ["mlp", "--data", "iris", "--budget", "soon"],
        ["mlp", "--data", "iris", "--types", "x"],
        ["lstm", "perceptron", "--data", "diabetes"],
        ["--resume", "nowhere"],
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("nnatomy: ")
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
