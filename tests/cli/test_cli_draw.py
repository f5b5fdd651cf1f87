"""`nnatomy draw`: pictures of architectures and of runs, in both formats, never over a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nnatomy as nn
from nnatomy.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("draw") / "run"
    nn.train("perceptron", epochs=2, out=folder, report=False)
    return folder


@pytest.mark.parametrize("kind, start", [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_run_is_drawn(run: Path, tmp_path: Path, kind: str, start: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"picture.{kind}"
    assert main(["draw", str(run), "--out", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"picture": str(path), "run": str(run)}
    assert path.read_bytes().startswith(start)
    assert path.stat().st_size > 5000


def test_an_architecture_is_trained_for_its_picture_and_names_do_not_clash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "perceptron"]) == 0
    assert main(["draw", "perceptron"]) == 0
    capsys.readouterr()
    assert sorted(p.name for p in (tmp_path / "drawings").iterdir()) == ["perceptron-2.png", "perceptron.png"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("subject", ["architecture", "run"])
def test_the_architecture_is_drawn_without_training(
    subject: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "picture.svg"
    assert (
        main(["draw", "perceptron" if subject == "architecture" else str(run), "--what", "architecture", "--out", str(path)])
        == 0
    )
    assert "Training" not in capsys.readouterr().err
    text = path.read_text(encoding="utf-8")
    assert "flatten" in text
    assert text.startswith("<?xml")


def test_an_unknown_view_is_refused_before_anything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "perceptron", "--what", "arhcitecture"]) == 2
    assert capsys.readouterr().err == "nnatomy: No view has this name. Received 'arhcitecture'. Did you mean 'architecture'?\n"
