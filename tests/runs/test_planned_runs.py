"""Runs whose steps are planned: the scores of eager ones, and exact continuation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnatomy.runs.folder import load_arrays
from nnatomy.runs.train import resume, train
from nnatomy.training import compilation
from nnatomy.training.loop import Callback, Loop

OPTIONS: dict[str, Any] = {"epochs": 4, "batch_size": 32, "seed": 1, "report": False}


class StopAfter(Callback):
    """An interruption at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, loop: Loop) -> None:
        loop.interrupted = loop.position.step == self.step


class Planned(Callback):
    """Remembers whether steps ran as plans."""

    def end(self, loop: Loop) -> None:
        self.parts = getattr(loop.step.function, "parts", list)()


@pytest.mark.parametrize("architecture", ["mlp", "lenet5", "autoencoder"])
def test_continued_planned_runs_are_exact(architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNATOMY_KERNELS", "auto")
    monkeypatch.setattr(compilation, "WORTH_PLANNING", 0.0)
    seen = Planned()
    train(architecture, out=tmp_path / "calm", callbacks=[seen], **OPTIONS)
    assert seen.parts
    train(architecture, out=tmp_path / "cut", callbacks=[StopAfter(7)], **OPTIONS)
    resume(tmp_path / "cut", report=False)
    calm, cut = (load_arrays(tmp_path / name / "last.safetensors")[0] for name in ("calm", "cut"))
    assert calm.keys() == cut.keys()
    for name, value in calm.items():
        np.testing.assert_array_equal(cut[name], value, err_msg=name)


def test_small_runs_are_not_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNATOMY_KERNELS", raising=False)
    seen = Planned()
    train("mlp", out=tmp_path / "run", callbacks=[seen], **OPTIONS)
    assert seen.parts == []


def test_planned_runs_reach_the_loss_of_eager_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNATOMY_KERNELS", "reference")
    eager = train("mlp", out=tmp_path / "eager", **OPTIONS)
    monkeypatch.delenv("NNATOMY_KERNELS")
    monkeypatch.setattr(compilation, "WORTH_PLANNING", 0.0)
    planned = train("mlp", out=tmp_path / "planned", **OPTIONS)
    assert planned.metrics["loss"] == pytest.approx(eager.metrics["loss"], rel=1e-2)
