"""Tuning: spaces, searches by several processes, scores of folds that no search saw, and the recipe that is written."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import nnatomy as nn
from nnatomy import UserError
from nnatomy.catalog import architectures
from nnatomy.cli.main import main
from nnatomy.layers import Linear
from nnatomy.optim import SGD
from nnatomy.runs.fitting import fit_recipe
from nnatomy.studies.tuning.plan import ALL_ROWS, Plan
from nnatomy.studies.tuning.search import Search, search_all, searching_ends
from nnatomy.studies.tuning.space import Choices, Range, applied, own_settings, read_space, usual_space
from nnatomy.studies.tuning.tune import Outer, Tuning, resume_tuning
from nnatomy.tasks import Regression
from nnatomy.tensor import Tensor
from nnatomy.training.evaluation import Metric
from nnatomy.training.learners import Alternating, GradientDescent
from nnatomy.training.learners.alternating import Player
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import plain

optuna = pytest.importorskip("optuna", reason="the tune extra is not installed")
pytestmark = pytest.mark.any_kernels


def test_spaces_are_read_as_they_are_written() -> None:
    space = read_space({"lr": "1e-4..1e-1", "hidden": "64|128,64", "epochs": "2..30", "dropout": "0..0.5", "code": "4..8"})
    assert space == {
        "lr": Range(1e-4, 1e-1, False), "hidden": Choices(("64", "128,64")), "epochs": Range(2, 30, True),
        "dropout": Range(0, 0.5, False), "code": Range(4, 8, True),
    }  # fmt: skip
    assert [part.log for part in space.values() if isinstance(part, Range)] == [True, True, False, False]
    np.testing.assert_allclose(Range(1e-4, 1e-2, False).grid(), [1e-4, 1e-3, 1e-2])
    assert Range(1, 4, True).grid() == [1, 2, 4]


@pytest.mark.parametrize("text", ["", "1", "a..b", "1..", "5..1", "1..inf", "a|", "1..2..3"])
def test_other_texts_are_no_space(text: str) -> None:
    with pytest.raises(UserError, match="--space lr must"):
        read_space({"lr": text})


@pytest.mark.parametrize("name", architectures())
def test_every_architectures_usual_space_holds_its_own_settings(name: str) -> None:
    for recipe in architectures()[name].recipes:
        space = usual_space(recipe)
        own = own_settings(recipe, space)
        assert set(own) == set(space)
        assert plain(applied(recipe, own)) == plain(recipe)
        for setting, part in space.items():
            for value in part.grid():
                applied(recipe, {setting: value if isinstance(value, str) else f"{value:.4g}"})


def test_applied_settings_reach_the_recipe() -> None:
    recipe = architectures()["mlp"].recipes[0]
    found = applied(recipe, {"lr": "0.01", "batch_size": "8", "epochs": "3", "hidden": "5,6", "weight_decay": "0.5"})
    assert (found.batch_size, found.epochs, found.options["hidden"]) == (8, 3, (5, 6))
    settings = found.learn.settings()
    assert (settings["lr"], settings["weight_decay"]) == (0.01, 0.5)


def _loss(model: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    outputs = model(x)
    return nn.functional.mse_loss(outputs, y), outputs


def quick(**changes: Any) -> dict[str, Any]:
    return {"trials": 4, "cv": 2, "seeds": 1, "epochs": 3, "jobs": 1, "space": {"lr": "1e-4..1e-1"}} | changes


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    return nn.tune("mlp", "wine", out=tmp_path_factory.mktemp("tuned") / "t", **quick())


def test_a_tuning_tells_what_it_found(tuned: Tuning) -> None:
    assert len(tuned.outer) == 2
    assert tuned.trials["finished"] + tuned.trials["given up"] == 12
    assert 1e-4 <= float(tuned.best["lr"]) <= 1e-1
    assert tuned.verdict() in tuned.report.read_text(encoding="utf-8").replace("&#x27;", "'")
    saved = json.loads((tuned.folder / "result.json").read_text())
    assert saved["verdict"] == tuned.verdict()
    for o, fold in zip(tuned.outer, range(2), strict=True):  # the scores are those of the settings
        recipe, dataset = tuned.plan.load(fold)
        assert fit_recipe(applied(recipe, o.settings), dataset, 0).test().metrics["accuracy"] == o.tuned[0]
        assert fit_recipe(recipe, dataset, 0).test().metrics["accuracy"] == o.own[0]


def test_no_search_sees_the_rows_that_judge_it() -> None:
    """Were the outer test rows among those searched in, they would be found there by their values."""
    plan = Plan("mlp", data="wine", cv=3)
    for fold in range(3):
        _, dataset = plan.load(fold)
        raw = [split.all()[0] for split in (dataset.train, dataset.validation, dataset.test)]
        seen, judged = {row.tobytes() for part in raw[:2] for row in part}, {row.tobytes() for row in raw[2]}
        assert len(judged) > 50
        assert not seen & judged


def test_equal_seeds_find_equal_settings(tuned: Tuning, tmp_path: Path) -> None:
    again = nn.tune("mlp", "wine", out=tmp_path / "t", report=False, **quick())
    assert again.best == tuned.best
    assert again.outer == tuned.outer
    other = nn.tune("mlp", "wine", out=tmp_path / "u", report=False, **quick(seed=1, cv=0))
    assert other.best != tuned.best
    assert "it was optimized" in other.verdict()


def test_the_recipe_is_trained_by_its_file(tuned: Tuning, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "mlp", "--data", "wine", "--recipe", str(tuned.recipe), "--out", str(tmp_path / "run"), "--json"]
    assert main(words) == 0
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert saved["recipe"]["learn"]["optimizer"]["lr"] == float(tuned.best["lr"])
    assert saved["recipe"]["epochs"] == 3
    capsys.readouterr()
    assert main(["train", "lenet5", "--recipe", str(tuned.recipe)]) == 2
    assert "is a recipe of 'mlp'" in capsys.readouterr().err


def test_a_finished_tuning_is_not_searched_again(tuned: Tuning) -> None:
    before = tuned.trials
    again = resume_tuning(tuned.folder, jobs=1, report=False)
    assert (again.trials, again.best, again.outer) == (before, tuned.best, tuned.outer)


def test_grids_end_when_all_is_tried(tmp_path: Path) -> None:
    found = nn.tune(
        "mlp", "iris", out=tmp_path / "t", report=False, trials=50, cv=0, jobs=1, epochs=1, how="grid", prune=False,
        space={"hidden": "4|8", "lr": "0.01|0.1"},
    )  # fmt: skip
    assert found.trials["finished"] == 4


def test_settings_that_break_a_fit_are_refused_not_fatal(tmp_path: Path) -> None:
    found = nn.tune(
        "mlp", "iris", out=tmp_path / "t", report=False, trials=4, cv=0, jobs=1, epochs=1, how="grid", prune=False,
        space={"dropout": "0.1|7"},
    )  # fmt: skip
    assert found.trials["refused"] == 1
    assert found.best == {"dropout": "0.1"}


@pytest.mark.slow
def test_two_processes_share_a_study_and_a_killed_one_loses_its_trial(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    words = [sys.executable, "-m", "nnatomy", "tune", "mlp", "--data", "wine", "--trials", "12", "--cv", "0", "--jobs", "1",
             "--epochs", "40", "--no-prune", "--out", str(folder), "--space", "lr=1e-4..1e-1"]  # fmt: skip
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(words, **quiet)
    while not (folder / "trials.db").exists():
        assert first.poll() is None
        time.sleep(0.1)
    second = subprocess.Popen([*words[:4], "--resume", str(folder), "--jobs", "1"], **quiet)
    try:
        plan = Plan.of(folder)

        def ended() -> int:
            try:
                return len(Search(folder, plan, ALL_ROWS).finished())
            except (UserError, optuna.exceptions.StorageInternalError):  # the tables are being made
                return 0

        while ended() < 4:
            assert first.poll() is None
            time.sleep(0.2)
        before = ended()
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert second.wait(200) == 0
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
    trials = Search(folder, plan, ALL_ROWS).study.get_trials()
    states = [t.state.name for t in trials]
    assert states.count("COMPLETE") in (12, 13)
    assert states.count("RUNNING") <= 1
    assert ended() >= before
    assert json.loads((folder / "recipe.json").read_text())["settings"]["lr"]


def test_the_gain_is_judged_as_scipy_judges_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tuned, own = rng.normal(0.9, 0.02, (5, 2)), rng.normal(0.85, 0.02, (5, 2))
    outer = [Outer({}, t.tolist(), o.tolist(), 0.25) for t, o in zip(tuned, own, strict=True)]
    loss = Metric("loss", "lower")
    found = Tuning(tmp_path, Plan("mlp", data="wine"), Metric("accuracy", "higher"), loss, {}, {}, 0.0, outer, {}, 0.0)
    gains = tuned.mean(axis=1) - own.mean(axis=1)
    t = gains.mean() / math.sqrt((1 / 5 + 0.25) * gains.var(ddof=1))
    p = 2 * stats.t.sf(abs(t), 4)
    difference = found.difference()
    assert difference is not None
    assert difference.p == pytest.approx(p)
    assert found.verdict().startswith("Tuning beats the recipe" if p < 0.05 else "Tuning does not beat the recipe")
    worse = Tuning(tmp_path, Plan("mlp", data="wine"), Metric("mae", "lower"), loss, {}, {}, 0.0, outer, {}, 0.0)
    assert "no better" in worse.verdict()  # of an error, less is more


def test_a_budget_is_shared_among_the_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets an equal part of what is left when it begins: the first began after 4 s and took as long as it liked."""
    from nnatomy.studies.tuning import search

    plan = Plan("mlp", data="wine", cv=2, budget=100.0)
    assert searching_ends(plan, 1000.0) == pytest.approx(1000 + 92 * 0.7)  # 8 s for the report, 0.3 for the scores
    assert searching_ends(Plan("mlp", data="wine", cv=0), 0.0) == math.inf
    told: list[float] = []

    class Noted:
        def __init__(self, *request: Any) -> None:
            pass

        def run(self, deadline: float, *more: Any) -> None:
            told.append(deadline)

    monkeypatch.setattr(search, "Search", Noted)
    times = iter([1004.0, 1040.0, 1050.0])
    monkeypatch.setattr(search.time, "perf_counter", lambda: next(times))
    search.search_all(Path(), plan, lambda *_: None, searching_ends(plan, 1000.0))
    assert told == pytest.approx([1004 + 60.4 / 3, 1040 + 24.4 / 2, 1064.4])


def test_a_recipe_without_the_usual_settings_has_a_space() -> None:
    options = {"flag": True, "depth": 2, "name": "x"}
    learn = GradientDescent(_loss, partial(SGD, lr=0.1))
    recipe = Recipe("table", (Regression,), "diabetes", Linear, options, learn, 1, 4, "loss")
    assert usual_space(recipe) == {
        "lr": Range(0.01, 1.0, False), "batch_size": Choices(("2", "4", "8")), "flag": Choices(("false", "true")),
        "depth": Range(1, 3, True),
    }  # fmt: skip


def test_several_optimizers_are_searched_by_what_they_share() -> None:
    """One rate for all where all have one; each learner says itself what may be searched."""
    players = (Player("critic", _loss, partial(SGD, lr=0.1)), Player("generator", _loss, partial(SGD, lr=0.2)))
    recipe = Recipe("table", (Regression,), "diabetes", Linear, {}, Alternating(players), 1, 4, "loss")
    assert set(usual_space(recipe)) == {"lr", "batch_size"}
    assert applied(recipe, {"critic.lr": "0.3"}).learn.settings()["critic.lr"] == 0.3
    assert applied(recipe, {"critic.lr": "0.3"}).learn.settings()["generator.lr"] == 0.2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "needs the name of an architecture"),
        (["mpl"], "Did you mean 'mlp'"),
        (["mlp", "--trials", "0"], "--trials is at least 1"),
        (["mlp", "--cv", "1"], "--cv must be at least 2, or 0"),
        (["mlp", "--how", "magic"], "way to search"),
        (["mlp", "--space", "lr"], "--space takes name=value"),
        (["mlp", "--space", "lr=1"], "--space lr must be LOW..HIGH"),
        (["mlp", "--data", "wine", "--space", "lrr=1..2"], "lrr"),
        (["mlp", "--space", "lr=1..2", "--set", "lr=1"], "both --set and --space"),
        (["mlp", "--storage", "nothing://x", "--data", "iris"], "cannot be opened"),
        (["mlp", "--set", "dropout=4", "--data", "iris"], "between 0 and 1"),
        (["--resume", "nowhere"], "folder has a tuning.json"),
        (["mlp", "--resume", "nowhere"], "Received mlp too"),
    ],
)
def test_wrong_input_is_told_in_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *words, "--jobs", "1"]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())


def test_what_others_have_left_is_done_in_the_same_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnatomy.studies.tuning import tune as module

    ends: list[float] = []

    def recorded(folder: Path, plan: Plan, log: Any, end: float, others: bool = True) -> None:
        ends.append(end)
        search_all(folder, plan, log, end, others)

    monkeypatch.setattr(module, "search_all", recorded)
    nn.tune("mlp", "iris", out=tmp_path / "t", report=False, **quick(trials=1, cv=0, epochs=1, budget=60.0))
    assert len(ends) == 2
    assert ends[0] == ends[1] < math.inf
