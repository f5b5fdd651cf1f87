"""A budget is the time of the whole command; refused runs leave nothing; an interruption is one line from the first import."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.errors import UserError
from nnatomy.runs.progress import Progress
from nnatomy.training.loop import Callback, Loop

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


class Clock:
    """A clock that stands still, except while something slow is done."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr(time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Slow(nn.Module):
    """A model whose steps and evaluations take so many seconds."""

    def __init__(self, clock: Clock, step: float, judging: float) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self._clock, self._step, self._judging = clock, step, judging

    def forward(self, x: Any) -> Any:
        self._clock.now += self._step if self.training else self._judging
        return self.layer(x)


# Budgets of one run: seconds of a step, of judging, of building, of baselines; the least that is used of 60 s

SLOW: dict[str, tuple[float, float, float, float, float]] = {
    "steps": (1, 0, 0, 0, 50), "judging": (0.5, 6, 0, 0, 40), "building": (1, 1, 30, 0, 50), "baselines": (1, 1, 0, 25, 50),
    "all": (0.5, 3, 15, 15, 45), "one step of a fifth": (12, 1, 0, 0, 36),
}  # fmt: skip


@pytest.mark.parametrize("report", [False, True])
@pytest.mark.parametrize("case", SLOW)
def test_a_budget_is_that_of_the_whole_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, case: str, report: bool
) -> None:
    step, judging, building, before, least = SLOW[case]

    def built() -> nn.Module:
        clock.now += building
        return Slow(clock, step, judging)

    def measured(*args: Any) -> None:
        clock.now += before

    def written(result: Any) -> None:
        clock.now += 3.0

    monkeypatch.setattr("nnatomy.runs.baselines.measure", measured)
    monkeypatch.setattr("nnatomy.runs.report.write_report", written)
    result = nn.train(built, (X, Y), epochs=1000, batch_size=8, budget=60, report=report, out=tmp_path / "run")
    assert least - 5 * report <= clock.now - 1000 <= 60
    assert result.stopped == "the time budget was spent (the recipe has 1000 epochs)"
    assert result.metrics["accuracy"] >= 0


def test_a_budget_that_was_spent_before_training_leaves_one_step(tmp_path: Path, clock: Clock) -> None:
    def built() -> nn.Module:
        clock.now += 100
        return Slow(clock, 1, 1)

    result = nn.train(built, (X, Y), epochs=9, batch_size=8, budget=60, report=False, out=tmp_path / "run", baselines=False)
    assert result.run.history()[-1]["step"] == 1


@pytest.mark.parametrize(("first", "rest", "told"), [(20.0, 0.01, ""), (20.0, 1.0, "about 20 s left"), (0.0, 0.1, "")])
def test_the_time_left_is_told_once_the_pace_is_known(first: float, rest: float, told: str) -> None:
    """A first step that compiles for 20 s does not count; neither do the first steps and seconds."""
    progress, loop = Progress(), SimpleNamespace(position=SimpleNamespace(step=1, total=31), budget=None)
    loop.elapsed = lambda: first + rest * (loop.position.step - 1)
    progress._first = (1, first)
    assert "left" not in progress._left(cast(Any, loop))
    loop.position.step = 11
    assert told in progress._left(cast(Any, loop))
    assert ("left" in progress._left(cast(Any, loop))) == bool(told)


def test_the_first_work_of_the_command_began_with_its_process() -> None:
    code = "import sys, time; sys.argv[0] = 'nnatomy'; t = time.perf_counter(); from nnatomy.command import began; "
    code += "u = time.perf_counter(); print(t < began() < u < began())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"


# Budgets of a tuning


def test_a_tuning_keeps_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Each epoch of any fit takes 2 s; the request would take 1,000 s."""
    pytest.importorskip("optuna", reason="the tune extra is not installed")
    finish = Loop._finish_epoch

    def slow(loop: Loop) -> None:
        clock.now += 2.0
        finish(loop)

    monkeypatch.setattr(Loop, "_finish_epoch", slow)
    request: dict[str, Any] = {"trials": 20, "cv": 2, "seeds": 1, "epochs": 8, "jobs": 1, "report": False}
    found = nn.tune("mlp", "iris", budget=100.0, out=tmp_path / "t", **request)
    assert 60 <= clock.now - 1000 <= 104  # a fit of the last of two parts may end an epoch late
    assert min(found.scores("tuned")[0], found.scores("own")[0]) > 0.4  # all of which had some epochs
    assert found.trials["not tried in the time"] > 0
    assert found.trials["finished"] + found.trials["given up"] + found.trials["not tried in the time"] == 60


# Refused runs

REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a spread of zero": ("som", {"settings": {"sigma": "0"}}, {"settings": {"sigma": "1"}}),
    "a spread below zero": ("som", {"settings": {"sigma": "-1"}}, {}),
    "steps that break the weights": ("mlp", {"lr": 1e30}, {"lr": 0.01}),
    "a group's steps that break the weights": ("mlp", {"rates": {"*": 1e20}, "lr": 1e15}, {}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_corrected_call_takes_the_folder_of_the_refused_one(tmp_path: Path, case: str) -> None:
    model, wrong, right = REFUSED[case]
    request: dict[str, Any] = {"epochs": 2, "out": tmp_path / "run", "report": False, "baselines": False}
    with pytest.raises(UserError, match="Received"):
        nn.train(model, "iris", **request, **wrong)
    assert not (tmp_path / "run").exists()
    assert nn.train(model, "iris", **request, **right).run.last.exists()


def test_an_error_of_a_callback_before_the_first_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    class Faulty(Callback):
        def after_step(self, loop: Any) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        nn.train("mlp", (X, Y), epochs=1, callbacks=[Faulty()], out=tmp_path / "run", report=False, baselines=False)
    assert not (tmp_path / "run").exists()


# Interruptions

IMPORTING = """
import os, sys
class Interrupting:
    def find_spec(name, *rest):
        if name == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))
sys.meta_path.insert(0, Interrupting)
sys.argv[0] = "nnatomy"
import nnatomy
"""


@pytest.mark.parametrize("number", ["2", "15"])
@pytest.mark.parametrize("name", ["typing", "threading", "contextlib", "numpy"])
def test_an_interruption_while_a_module_is_imported_is_one_line(name: str, number: str) -> None:
    """Without Python's `site`, which imports some of them itself."""
    source = str(Path(nn.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-S", "-c", IMPORTING, name, number],
        env=os.environ | {"PYTHONPATH": source}, capture_output=True, text=True,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (130, "nnatomy: interrupted.\n")
