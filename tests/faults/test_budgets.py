"""A budget is the time of the whole command; refused runs leave nothing; an interruption is one line from the first import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.cli import main
from nnatomy.errors import UserError
from nnatomy.runs.progress import Progress
from nnatomy.studies.comparison import compare as comparing
from nnatomy.studies.comparison import workers
from nnatomy.studies.comparison.protocol import Unit
from nnatomy.studies.time import Spending
from nnatomy.training.loop import Callback, Loop

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))
from inline_workers import Inline

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


def test_a_budget_of_a_study_is_that_of_all_commands_that_continue_it(tmp_path: Path, clock: Clock) -> None:
    """Unless a command has its own."""
    first = Spending(tmp_path, clock.now)
    assert first.since(60.0, None) == first.since(60.0, 5.0) == first.since(None, None) == 1000.0
    clock.now += 40
    assert first.save() == 40.0
    clock.now += 500  # nothing ran
    second = Spending(tmp_path, clock.now)
    assert second.since(60.0, None) == clock.now - 40  # of 60 s 20 are left
    assert second.since(60.0, 5.0) == second.since(None, None) == clock.now
    clock.now += 30
    assert second.save() == 70.0
    third = Spending(tmp_path, clock.now)
    with pytest.raises(UserError, match=r"Received 70 s that were spent\. Give --resume a budget"):
        third.since(60.0, None)
    (tmp_path / "result.json").write_text("{}")
    assert third.since(60.0, None) == clock.now - 70  # the result can be shown again
    assert third.since(60.0, 5.0) == clock.now


def test_a_resumed_tuning_has_the_rest_of_its_budget_or_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    pytest.importorskip("optuna", reason="the tune extra is not installed")
    finish = Loop._finish_epoch

    def slow(loop: Loop) -> None:
        clock.now += 5.0
        finish(loop)

    monkeypatch.setattr(Loop, "_finish_epoch", slow)
    request: dict[str, Any] = {"trials": 50, "cv": 0, "epochs": 2, "jobs": 1, "report": False}
    found = nn.tune("mlp", "iris", budget=40.0, out=tmp_path / "t", **request)
    spent, tried = clock.now - 1000, 50 - found.trials["not tried in the time"]
    assert 20 <= spent <= 50
    clock.now = 5000.0
    assert main(["tune", "--resume", str(tmp_path / "t"), "--jobs", "1", "--json"]) == 0
    assert clock.now - 5000 <= 40 - spent + 10  # the rest, which may end within a fit
    before = clock.now
    assert main(["tune", "--resume", str(tmp_path / "t"), "--jobs", "1", "--budget", "80s"]) == 0
    assert 40 <= clock.now - before <= 90
    again = json.loads((tmp_path / "t" / "result.json").read_text(encoding="utf-8"))
    assert 50 - again["trials"]["not tried in the time"] >= tried + 4


# Budgets of a comparison


class Endless:
    """A worker whose fits of one candidate never end, until it is closed."""

    made = 0

    def __init__(self, folder: Path, threads: int) -> None:
        self.unit, self._closed = None, threading.Event()
        Endless.made += 1

    def ask(self, unit: Unit) -> dict[str, Any]:
        if unit.candidate == "slow":
            self._closed.wait()
            raise UserError("The process has ended.")
        return {"metrics": {"accuracy": 1.0}}

    def close(self) -> None:
        self._closed.set()


def test_what_runs_at_the_end_of_the_time_is_stopped_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "Worker", Endless)
    monkeypatch.setattr(Endless, "made", 0)
    units = [Unit("fit", name, fold) for name in ("slow", "quick") for fold in range(3)]
    with workers.Workers(Path(), 2, 1) as two:
        found = dict(two.run(units[:1] + units[3:], until=time.perf_counter() + 0.3))
        assert found == {units[0]: None} | {unit: {"metrics": {"accuracy": 1.0}} for unit in units[3:]}
        assert Endless.made == 3  # a process takes the place of the stopped one
        assert dict(two.run(units[3:])).keys() == set(units[3:])
        assert not list(two.run(units, until=time.perf_counter() - 1))


def test_stopped_fits_have_no_score_and_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two networks one was stopped in its second fold, and so was a baseline."""
    stops = {("fit", "perceptron", 1), ("baseline", "gradient boosting", 2)}

    class Stopping(Inline):
        def run(self, units: Any, wanted: Any = lambda unit: True, until: float = np.inf) -> Any:
            stopped = [unit for unit in units if (unit.what, unit.candidate, unit.fold) in stops]
            yield from super().run([unit for unit in units if unit not in stopped], wanted)
            yield from [(unit, None) for unit in stopped]

    monkeypatch.setattr(comparing, "Workers", Stopping)
    monkeypatch.chdir(tmp_path)
    request: dict[str, Any] = {"data": "iris", "cv": 3, "seeds": 1, "epochs": 1, "curve": False, "report": False}
    found = nn.compare("mlp", "perceptron", **request)
    (told,) = [notice for notice in found.notices if "The end of the time" in notice]
    assert "perceptron (fold 2, seed 0)" in told
    assert "gradient boosting (fold 3)" in told
    assert found.folds == 2
    assert "The time ended after 2 of its 3 folds." in found.refused["gradient boosting"]
    assert {c.name for c in found.candidates} >= {"mlp", "perceptron", "logistic regression"}


@pytest.mark.baselines
def test_a_slow_baseline_next_to_a_run_is_stopped() -> None:
    from nnatomy.runs import baselines
    from nnatomy.tasks import task_for

    def endless(dataset: Any, recipes: Any) -> Any:
        while True:
            try:
                sum(range(1000))
            except Exception:  # as a library may do
                continue

    dataset = nn.data.load("iris")
    task = task_for(next(recipe for recipe in nn.architecture("mlp").recipes if recipe.does(dataset)), dataset)
    task.baselines = dict(task.baselines, endless=endless)
    found = baselines.measure(task, task.dataset.test, seconds=4.0)
    assert found is not None
    assert found.left_out["endless"] == "the time budget had none left for it"
    assert {"majority class", "logistic regression"} <= set(found.scores)


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
