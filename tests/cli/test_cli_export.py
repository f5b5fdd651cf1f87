"""`nnatomy export` and `nnatomy predict` with what it wrote: files, JSON, and one sentence with exit code 2 for bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nnatomy.cli import main

pytestmark = pytest.mark.any_kernels
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    rows = "".join(f"{i * 0.37 % 5:.3f},{'ab'[i % 2]},{'yes' if (i * 0.37) % 5 > 2.5 else 'no'}\n" for i in range(80))
    (folder / "rows.csv").write_text("x,kind,y\n" + rows)
    assert main(["train", "mlp", "--data", str(folder / "rows.csv"), "--target", "y", "--epochs", "2",
                 "--out", str(folder / "run")]) == 0  # fmt: skip
    return folder / "run"


def test_export_then_predict(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["export", str(run)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("ONNX Runtime agrees on batches of 1 and 7 (test data): largest difference ")
    assert shown[1:] == [str(run / "onnx" / name) for name in ("model.onnx", "model.json", "MODEL.md")]
    answers = []
    for model in (run, run / "onnx" / "model.onnx"):
        assert main(["predict", str(model), "--data", str(run.parent / "rows.csv")]) == 0
        answers.append(list(csv.DictReader(capsys.readouterr().out.splitlines())))
    assert len(answers[0]) == len(answers[1]) == 80
    for mine, theirs in zip(*answers, strict=True):
        assert mine["prediction"] == theirs["prediction"]
        assert float(mine["p(yes)"]) == pytest.approx(float(theirs["p(yes)"]), abs=1e-4)


def test_json(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["export", str(run), "--to", "safetensors", "--out", str(tmp_path / "w.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "model": str(tmp_path / "w.safetensors"), "files": [str(tmp_path / "w.safetensors"), str(tmp_path / "MODEL.md")],
        "difference": 0.0, "checked_on": "every weight",
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["export", "nowhere"], "Received nowhere, which does not"),
        (["export", "{run}", "--to", "pickle"], "No format has this name. Received 'pickle'"),
        (["export", "{run}", "--out", "model.bin"], "ends in .onnx"),
        (["predict", "no.onnx", "--data", "rows.csv"], "Received no.onnx, which does not"),
    ],
)
def test_bad_input(arguments: list[str], said: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                   monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main([a.format(run=run) for a in arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert not shown.out
    assert not list(tmp_path.iterdir())
