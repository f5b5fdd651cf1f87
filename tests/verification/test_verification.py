"""Verification finds what is wrong, says where, and does not cry wolf."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.errors import UserError
from nnatomy.optim import SGD, Cosine
from nnatomy.training.learners import ClosedForm, GradientDescent
from nnatomy.training.recipe import Case
from nnatomy.verification import implementations
from nnatomy.verification.compare import compare, verify
from nnatomy.verification.implementations import CannotLearn, Keras, Ours, own_learner
from nnatomy.verification.report import Comparison, Verification, fill_table
from nnatomy.verification.trajectory import difference, draw_weights

torch = pytest.importorskip("torch")


class TorchNorm(torch.nn.Module):  # type: ignore[misc]
    """torch.nn.BatchNorm1d without its counter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.zeros(4))
        self.register_buffer("running_mean", torch.zeros(4))
        self.register_buffer("running_var", torch.ones(4))

    def forward(self, x: Any) -> Any:
        return torch.nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training)


class TorchNet(torch.nn.Module):  # type: ignore[misc]
    """Two linear layers with batch normalization between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 4)
        self.norm = TorchNorm()
        self.last = torch.nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.last(self.norm(self.first(x)).tanh())


class Net(nn.layers.module.Module):
    """The same, with a place for a fault."""

    def __init__(self, fault: str = "") -> None:
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4, momentum=0.2 if fault == "momentum" else 0.1)
        self.last = nn.Linear(4, 2, bias=fault != "bias")
        self.fault = fault
        if fault == "sign":
            self.first.weight.register_hook(lambda g: -g)

    def forward(self, x: Any) -> Any:
        h = self.first(x)
        h = self.norm(h * 1.01 if self.fault == "scale" else h)
        if self.fault == "crash":
            return self.last(h.reshape(-1, 3))
        return self.last(h.tanh())


def loss(model: Any, x: Any, y: Any) -> Any:
    out = model(x)
    factor = {"loss": 2, "sign of the loss": -1}.get(getattr(model, "fault", ""), 1)
    return ((out - y) ** 2).mean() * factor, out


def batch(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], ...]:
    return rng.normal(size=(6, 3)), rng.normal(size=(6, 2))


def fake_architecture(fault: str = "", twin: Callable[[], Any] = TorchNet) -> Any:
    """An architecture whose parts are in this file."""
    parts = {
        "model": SimpleNamespace(build=lambda: Net(fault)),
        "torch_twin": SimpleNamespace(build=twin, loss=lambda model, x, y: ((model(x) - y) ** 2).mean()),
    }
    return SimpleNamespace(name="net", module=parts.__getitem__, cases=(CASE,), folder=Path("no/such/folder"))


CASE = Case("net", {}, batch, loss, learn=GradientDescent(loss, partial(SGD, lr=0.1), clip=0.5, schedule=partial(Cosine)))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_equal_networks_pass_though_a_bias_before_batch_norm_has_no_gradient(precision: str) -> None:
    (found,) = compare(fake_architecture(), CASE, precision, ["torch"])
    assert found.passed, found
    own = {"own steps"} if precision == "float64" else set()
    assert set(found.differences) == {"outputs", "loss", "gradients", "weights", "buffers"} | own


@pytest.mark.parametrize(
    "fault, told",
    [
        ("scale", "stage norm: off by"),
        ("crash", "after stage norm: nnatomy raised"),
        ("loss", "the loss function, as every stage agrees"),
        ("sign of the loss", "the loss function, as every stage agrees"),
        ("sign", "gradient of first.weight, off by 2.0e+00 (first on the way back; wrong: first.weight"),
        ("momentum", "buffers after 3 steps: norm.running_mean, norm.running_var"),
        ("bias", "parameters: only the twin has last.bias"),
    ],
)
def test_the_first_bad_stage_is_named(fault: str, told: str) -> None:
    (found,) = compare(fake_architecture(fault), CASE, "float64", ["torch"])
    assert not found.passed
    assert told in found.first_bad


def test_a_learner_that_steps_otherwise_is_noticed() -> None:
    """Outputs and gradients agree, but the architecture's learner clips and the twin's does not."""
    twin = fake_architecture()
    other = replace(CASE, learn=GradientDescent(loss, partial(SGD, lr=0.1), clip=1e-3))
    own = compare(twin, CASE, "float64", ["torch"])[0]
    assert own.passed
    ours, theirs = Ours(twin, other, "float64"), implementations.Torch(twin, CASE, "float64")
    rng = np.random.default_rng(0)
    start, examples = draw_weights(ours, rng), batch(rng)
    for side in (ours, theirs):
        side.start(start, 3)
        for step in range(3):
            side.learn(examples, step)
    assert difference(ours.state()["last.weight"], theirs.state()["last.weight"]) > 1e-6


def test_nothing_compared_is_a_failure() -> None:
    alone = verify(fake_architecture(), timing=False)
    assert not alone.passed
    assert "neither torch_twin.py, keras_twin.py nor reference.py" in alone.comparisons[0].first_bad
    assert "DIFFERS" in alone.table()[1][-1]
    assert not Verification("net", ()).passed
    assert not Comparison("a", "torch", "float64", 1e-9, {}).passed


class ClosedNet(nn.layers.module.Module):
    """One layer that is solved for."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(np.zeros((3, 2)))

    def forward(self, x: Any) -> Any:
        return x @ self.weight


def closed(solve: Callable[..., None]) -> Any:
    learn = ClosedForm(
        lambda model: {"xx": np.zeros((3, 3)), "xy": np.zeros((3, 2))},
        lambda model, sums, x, y, mask=None: {"xx": sums["xx"] + x.T @ x, "xy": sums["xy"] + x.T @ y},
        solve,
    )
    reference = SimpleNamespace(
        build=lambda: {"weight": np.zeros((3, 2)), "rows": []},
        load=lambda model, state: model.update(state),
        state=lambda model: {"weight": model["weight"]},
        outputs=lambda model, x: x @ model["weight"],
        learn=lambda model, progress, x, y: model["rows"].append((x, y)),
        end_epoch=lambda model: model.update(
            weight=np.linalg.lstsq(*(np.concatenate(a) for a in zip(*model["rows"], strict=True)))[0]
        ),
    )
    parts = {"model": SimpleNamespace(build=ClosedNet), "reference": reference}
    case = Case("closed", {}, batch, None, learn=learn)
    return SimpleNamespace(name="closed", module=parts.__getitem__, cases=(case,), folder=Path("no/such")), case


def solved(model: Any, sums: Any) -> None:
    model.weight.data = np.linalg.solve(sums["xx"], sums["xy"])


def zeros(model: Any, sums: Any) -> None:
    model.weight.data = np.zeros((3, 2))


def test_a_closed_form_is_held_against_its_reference() -> None:
    (right,) = compare(*closed(solved), "float64", ["reference"])
    assert right.passed, right
    assert set(right.differences) == {"outputs", "own steps"}
    (wrong,) = compare(*closed(zeros), "float64", ["reference"])
    assert not wrong.passed
    assert "after 3 steps of ClosedForm: weight" in wrong.first_bad


def test_keras_steps_by_its_twins_rule_only_where_the_case_has_one() -> None:
    """A twin with a closed form, and one case of the architecture that follows the gradient."""
    pytest.importorskip("keras")
    rbf = nn.architecture("rbf")
    closed, descent = rbf.cases[0], rbf.cases[-1]
    assert isinstance(own_learner(rbf, descent), GradientDescent)
    with pytest.raises(CannotLearn, match="gradient descent is compared after SGD"):
        Keras(rbf, descent, "float64").start(Ours(rbf, descent, "float64").state(), 3)
    Keras(rbf, closed, "float64").start(Ours(rbf, closed, "float64").state(), 3)


def test_a_result_reads_as_json_and_as_a_table() -> None:
    result = verify(fake_architecture("scale"), twins=["torch"], timing=False)
    assert not result.passed
    plain = json.loads(json.dumps(result.to_json()))
    assert [c["precision"] for c in plain["comparisons"]] == ["float64", "float32"]
    assert result.table()[1][-1].startswith("DIFFERS: stage norm")
    crashed = verify(fake_architecture("crash"), twins=["torch"], timing=False)
    assert json.loads(json.dumps(crashed.to_json(), allow_nan=False))["comparisons"][0]["differences"]["outputs"] is None


def test_times_stand_side_by_side() -> None:
    result = verify(fake_architecture(), twins=["torch"], precision=["float32"])
    (timing,) = result.timings
    assert timing.examples >= 64
    assert set(timing.seconds) == {"nnatomy", "torch"}
    assert timing.ratio() == timing.seconds["nnatomy"] / timing.seconds["torch"] > 0


def test_verifying_leaves_the_random_stream_alone() -> None:
    nn.seed(5)
    expected = nn.random.default.state_dict()
    verify(fake_architecture(), twins=["torch"], precision=["float64"], timing=False)
    assert nn.random.default.state_dict() == expected


def test_drawn_weights_are_random_and_running_variances_stay_positive() -> None:
    from nnatomy.verification.implementations import Ours

    ours = Ours(fake_architecture(), CASE, "float64")
    drawn = draw_weights(ours, np.random.default_rng(0))
    assert (drawn["norm.running_var"] > 0).all()
    assert all(np.ptp(a) > 0 for a in drawn.values())


def test_difference() -> None:
    assert difference([1.0, -4.0], [1.0, -2.0]) == 1.0
    assert difference([0.1], [0.2], floor=1.0) == pytest.approx(0.1)
    assert difference([0.0], [0.0]) == 0.0
    for bad in ([np.nan], [np.inf], [1.0, 1.0]):
        assert difference(bad, [1.0]) == np.inf


def test_missing_frameworks_and_unknown_names_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnatomy.verification import implementations as twins

    monkeypatch.setitem(sys.modules, "torch", None)
    twins.pytorch.cache_clear()
    with pytest.raises(UserError, match=r'pip install "nnatomy\[verify\]"'):
        verify(fake_architecture(), twins=["torch"])
    for asked, named in (({"twins": ["jax"]}, "twin"), ({"precision": ["float16"]}, "precision"), ({"cases": ["nett"]}, "net")):
        with pytest.raises(UserError, match=named):
            verify(fake_architecture(), **asked)


def test_tables_are_filled_in_place_and_again() -> None:
    page = "before\n<!-- table: verify -->\n<!-- /table -->\nafter <!-- table: other --><!-- /table -->\n"
    numbers = dict.fromkeys(("outputs", "gradients", "weights"), 2e-16)
    result = Verification("net", (Comparison("a|b", "torch", "float64", 1e-9, numbers),))
    once = fill_table(page, "verify", result.page_rows())
    assert "| a\\|b | PyTorch | 2e-16 / - |" in once
    assert fill_table(once, "verify", result.page_rows()) == once
    assert once.startswith("before\n<!-- table: verify -->\n| Case |")
    assert once.endswith("<!-- /table -->\nafter <!-- table: other --><!-- /table -->\n")
    with pytest.raises(UserError, match="none"):
        fill_table(page, "train", result.page_rows())
