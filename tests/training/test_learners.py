"""Every way of learning: it learns, and eager, planned, on JAX and resumed it ends with the same weights."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learner_cases import CASES, LearnerCase

import nnatomy as nn
from nnatomy import UserError
from nnatomy.optim import AdamW
from nnatomy.runs.checkpoints import Checkpoints, load_checkpoint
from nnatomy.runs.folder import Run, load_arrays
from nnatomy.runs.transfer import optimizer_for
from nnatomy.tasks import task_for
from nnatomy.training import compilation
from nnatomy.training.callbacks import Callback
from nnatomy.training.fit import Fitted, fit
from nnatomy.training.learners import GradientDescent, Setup
from nnatomy.training.loop import Loop

ids = [case.name for case in CASES]
every = pytest.mark.parametrize("case", CASES, ids=ids)


def fitted(case: LearnerCase, epochs: int | None = None, **options: Any) -> Fitted:
    nn.seed(1)
    recipe = replace(case.recipe, epochs=epochs or case.recipe.epochs)
    dataset = case.dataset()
    model = recipe.build(dataset)
    return fit(recipe, model, dataset, task_for(recipe, dataset), seed=1, **options)


def same(a: Fitted, b: Fitted, rtol: float) -> None:
    ours, theirs = a.model.state_dict(), b.model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=rtol, atol=rtol, err_msg=name)


@every
def test_it_learns(case: LearnerCase) -> None:
    found = fitted(case)
    metric = found.task.metric(case.recipe.metric)
    value = found.test().metrics[metric.name]
    assert metric.reaches(value, case.goal), f"{case.name}: {metric.name} {value:.3f}, goal {case.goal:g}"
    nn.seed(1)
    untrained = found.task.evaluate(case.recipe.build(found.dataset), found.dataset.test).metrics[metric.name]
    assert not metric.reaches(untrained, case.goal), f"{case.name}: untrained, {metric.name} is {untrained:.3f} already"
    assert found.test().metrics == found.test().metrics


@every
def test_planned_equals_eager(case: LearnerCase, monkeypatch: pytest.MonkeyPatch) -> None:
    eager = fitted(case, 2)
    monkeypatch.setattr(compilation, "kernels", lambda: "fast")
    compiled: list[Any] = []
    original = compilation.compiled

    def watched(function: Any) -> Any:
        compiled.append(original(function))
        return compiled[-1]

    monkeypatch.setattr(compilation, "compiled", watched)
    planned = fitted(case, 2)
    assert compiled, "nothing was compiled"
    assert all(function.reason is None for function in compiled), [function.reason for function in compiled]
    same(planned, eager, 2e-5)


@every
def test_jax_equals_eager(case: LearnerCase) -> None:
    pytest.importorskip("jax")
    eager = fitted(case, 2)
    with nn.backend("jax"):
        same(fitted(case, 2), eager, 2e-5)


class Stop(Callback):
    """Interrupts a run in the middle of an epoch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, loop: Loop) -> None:
        loop.interrupted = loop.position.step == self.step


@every
@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_interrupted_and_resumed_equals_undisturbed(case: LearnerCase, backend: str, tmp_path: Path) -> None:
    if backend == "jax":
        pytest.importorskip("jax")
    for name in ("calm", "broken"):
        (tmp_path / name).mkdir()
    calm, broken = Run(tmp_path / "calm"), Run(tmp_path / "broken")
    with nn.backend(backend):
        fitted(case, 2, last=[Checkpoints(calm)])
        stopped = fitted(case, 2, callbacks=[Stop(3)], last=[Checkpoints(broken)])
        assert stopped.outcome == "interrupted"
        resumed = fitted(case, 2, callbacks=[Callback()], last=[Checkpoints(broken)], checkpoint=load_checkpoint(broken))
    assert resumed.outcome == "finished"
    expected, found = (load_arrays(run.last) for run in (calm, broken))
    assert expected[0].keys() == found[0].keys()
    differing = [name for name, a in expected[0].items() if a.tobytes() != found[0][name].tobytes()]
    assert not differing, f"resuming changes {', '.join(differing)}"
    assert {k: v for k, v in expected[1]["plain"].items() if k != "seconds"} == found[1]["plain"]


@every
def test_what_a_learner_cannot_do_is_refused_by_name(case: LearnerCase) -> None:
    dataset = case.dataset()
    model = case.recipe.build(dataset)
    for setup, flag in ((Setup(accumulate=2), "--accumulate"), (Setup(freezes=True), "--freeze")):
        with pytest.raises(UserError, match=f"{type(case.recipe.learn).__name__} does not take {flag}"):
            case.recipe.learn.begin(model, dataset, setup)


@every
def test_its_settings_can_be_changed_and_no_others(case: LearnerCase) -> None:
    learn = case.recipe.learn
    for name, value in learn.settings().items():
        if isinstance(value, float):
            assert learn.changed(name, value / 2).settings()[name] == value / 2
    with pytest.raises(KeyError):
        learn.changed("no such setting", 1.0)


def test_a_closed_form_minimizes_its_objective() -> None:
    """The gradient of |H W - Y|^2 + ridge |W|^2 at the solution is 0: a solution replaced by zeros would not be one."""
    case = next(case for case in CASES if case.name == "ELM")
    found = fitted(case)
    x, y = found.dataset.train.all()
    model: Any = found.model
    h = np.asarray(model.features(nn.tensor(x)).data, np.float64)
    target = 2 * np.eye(4)[y] - 1
    w = np.asarray(model.readout.data, np.float64)
    gradient = h.T @ (h @ w - target) + 1e-3 * w
    assert np.abs(gradient).max() < 1e-3 * np.abs(h.T @ target).max()


def test_a_local_rule_is_its_plain_loop() -> None:
    """Three steps of Kohonen's rule against NumPy."""
    case = next(case for case in CASES if case.name == "SOM")
    dataset = case.dataset()
    model: Any = case.recipe.build(dataset)
    w, places = np.asarray(model.codebook.data, np.float64), np.asarray(model.places.data, np.float64)
    learner = case.recipe.learn.begin(model, dataset)
    learner.set_total(10)
    state = learner.state()
    for step in range(3):
        x, y = dataset.train.take(np.arange(8 * step, 8 * step + 8))
        learner.prepare(state, step, 1.0)
        state, _ = learner(state, (x, y))
        progress = step / 10
        sigma = 2.0 * (0.1 / 2.0) ** progress
        winner = ((x[:, None] - w[None]) ** 2).sum(axis=2).argmin(axis=1)
        near = np.exp(-((places[winner][:, None] - places[None]) ** 2).sum(axis=2) / (2 * sigma**2))
        w = w + (0.5 * (1 - progress) * near[:, :, None] * (x[:, None] - w[None])).mean(axis=0)
    np.testing.assert_allclose(state["model"]["codebook"], w, rtol=1e-4, atol=1e-5)


def test_parameters_without_decay_keep_their_rates() -> None:
    """Each group of a rate is split in two; what decays and what does not is decided by name alone."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    rule = partial(AdamW, lr=0.1, weight_decay=0.5)
    learn = GradientDescent(lambda model, x: (model(x).sum(), None), rule, undecayed=("bias",))
    rated = Setup(optimizer=partial(optimizer_for, rates={"1": 0.5}, freezing=None), freezes=True)
    groups = learn.begin(model, setup=rated).optimizer.param_groups
    found = {name: (group["lr"], group["weight_decay"]) for group in groups for name in group["names"]}
    assert found == {"0.weight": (0.1, 0.5), "0.bias": (0.1, 0.0), "1.weight": (0.05, 0.5), "1.bias": (0.05, 0.0)}
    plain = replace(learn, undecayed=()).begin(model).optimizer.param_groups
    assert [group["weight_decay"] for group in plain] == [0.5]
    everything = replace(learn, undecayed=("weight", "bias")).begin(model).optimizer.param_groups
    assert [group["weight_decay"] for group in everything] == [0.0]
    assert learn.plain()["undecayed"] == ["bias"]
