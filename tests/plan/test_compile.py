"""Plans give what eager steps give, for every kind of argument, and say why where they cannot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import functional as F
from nnatomy import layers, optim
from nnatomy.backends import kernels
from nnatomy.kernels import machine
from nnatomy.plan import Compiled, compile
from nnatomy.training.learners import GradientDescent, Learner

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def with_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are of plans, whatever kernels the suite runs with."""
    if kernels() == "reference":
        monkeypatch.setenv("NNATOMY_KERNELS", "auto")


class LastStep(layers.Module):
    """A recurrent layer whose last output is classified."""

    def __init__(self, layer: Any, width: int) -> None:
        self.layer, self.output = layer, layers.Linear(width, 4)

    def forward(self, x: Any) -> Any:
        return self.output(self.layer(x)[0][:, -1])


def mlp() -> Any:
    return layers.Sequential(layers.Linear(12, 16), layers.ReLU(), layers.Linear(16, 8), layers.Tanh(), layers.Linear(8, 4))


def dropout() -> Any:
    return layers.Sequential(layers.Linear(12, 16), layers.GELU(), layers.Dropout(0.3), layers.Linear(16, 4))


def convolutional() -> Any:
    return layers.Sequential(
        layers.Conv2d(1, 4, 3, padding=1), layers.BatchNorm2d(4), layers.ReLU(), layers.MaxPool2d(2),
        layers.Conv2d(4, 6, 3), layers.Tanh(), layers.AvgPool2d(2), layers.Flatten(), layers.Linear(6, 4),
    )  # fmt: skip


def normalized() -> Any:
    return layers.Sequential(
        layers.Linear(12, 16), layers.LayerNorm(16), layers.SiLU(), layers.Linear(16, 4), layers.Softmax(-1)
    )  # fmt: skip


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "mlp": (mlp, (12,)),
    "dropout": (dropout, (12,)),
    "convolutional": (convolutional, (1, 8, 8)),
    "lstm": (lambda: LastStep(layers.LSTM(3, 5, batch_first=True), 5), (6, 3)),
    "gru": (lambda: LastStep(layers.GRU(3, 5, bidirectional=True, batch_first=True), 10), (6, 3)),
    "normalized": (normalized, (12,)),
}
RULES: dict[str, Callable[[Any], Any]] = {
    "adam": lambda p: optim.Adam(p, lr=1e-2),
    "sgd": lambda p: optim.SGD(p, lr=1e-1, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda p: optim.AdamW(p, lr=1e-2),
    "rmsprop": lambda p: optim.RMSprop(p, lr=1e-2),
    "lamb": lambda p: optim.LAMB(p, lr=1e-2),
}


def step_of(model: str, rule: str = "sgd", **options: Any) -> Learner:
    nn.seed(3)
    net = MODELS[model][0]()
    net.train()
    return GradientDescent(lambda m, x, y: (F.cross_entropy(m(x), y), None), partial(RULES[rule]), **options).begin(net)


def batches(model: str, sizes: list[int]) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(5)
    shape = MODELS[model][1]
    return [(rng.normal(size=(n, *shape)).astype(np.float32), rng.integers(0, 4, n)) for n in sizes]


def course(step: Any, state: Any, data: list[tuple[Array, Array]]) -> tuple[list[float], Any]:
    losses = []
    for batch in data:
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    return losses, state


def close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    scale = max(float(np.abs(b).max()), 1e-3) if np.size(b) else 1.0
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("rule", RULES)
def test_rules_equal_eager(rule: str) -> None:
    data = batches("mlp", [8] * 6)
    eager = step_of("mlp", rule)
    expected, after = course(eager, eager.state(), data)
    planned = step_of("mlp", rule)
    compiled = compile(planned)
    losses, state = course(compiled, planned.state(), data)
    assert compiled.reason is None
    close(losses, expected)
    for name, value in after["model"].items():
        close(state["model"][name], value, 1e-4)  # Adam divides by what may be nearly nothing
    assert state["optimizers"]["all"]["steps"] == after["optimizers"]["all"]["steps"]


@pytest.mark.parametrize("model", MODELS)
def test_models_equal_eager(model: str) -> None:
    data = batches(model, [8, 8, 8, 5, 8, 5])  # the last batch of an epoch is shorter
    eager = step_of(model)
    expected, after = course(eager, eager.state(), data)
    planned = step_of(model)
    compiled = compile(planned)
    losses, state = course(compiled, planned.state(), data)
    assert compiled.reason is None
    close(losses, expected)
    for name, value in after["model"].items():
        close(state["model"][name], value, 2e-5)
    assert state["generator"] == after["generator"]  # as many random numbers drawn


def test_clipping_and_averaging() -> None:
    data = batches("mlp", [8] * 4)
    eager, planned = (step_of("mlp", "adam", clip=0.1, average=0.9) for _ in range(2))
    expected, after = course(eager, eager.state(), data)
    compiled = compile(planned)
    losses, state = course(compiled, planned.state(), data)
    assert compiled.reason is None
    close(losses, expected)
    for name, value in after["average"].items():
        close(state["average"][name], value, 1e-4)


def test_two_runs_are_the_same_bits_and_threads_change_nothing_else() -> None:
    before = machine.get_num_threads()
    found = []
    try:
        for threads in (1, 1, 2, 2):
            machine.set_num_threads(threads)
            step = step_of("convolutional")
            losses, state = course(compile(step), step.state(), batches("convolutional", [16] * 4))
            found.append((losses, {name: np.array(a) for name, a in state["model"].items()}))
    finally:
        machine.set_num_threads(before)
    for first, second in ((0, 1), (2, 3)):
        assert found[first][0] == found[second][0]
        for name, value in found[first][1].items():
            np.testing.assert_array_equal(value, found[second][1][name])
    close(found[0][0], found[2][0])


def test_the_learning_rate_may_change_between_steps() -> None:
    data = batches("mlp", [8] * 5)
    eager, planned = step_of("mlp"), step_of("mlp")
    compiled = compile(planned)
    states = [eager.state(), planned.state()]
    for i, batch in enumerate(data):
        for which, step in enumerate((eager, compiled)):
            states[which]["optimizers"]["all"]["factor"] = 1.0 / (i + 1)
            states[which], _ = step(states[which], batch)
    for name, value in states[0]["model"].items():
        close(states[1]["model"][name], value)


def test_a_foreign_state_is_copied_and_left_alone() -> None:
    (batch,) = batches("mlp", [8])
    step = step_of("mlp")
    first = step.state()
    before = {name: np.array(a) for name, a in first["model"].items()}
    compiled = compile(step)
    second, _ = compiled(first, batch)
    third, _ = compiled(second, batch)
    assert second is third  # donated
    for name, value in before.items():
        np.testing.assert_array_equal(first["model"][name], value)
    moved = {name: np.array(a) for name, a in third["model"].items()}
    again, _ = compiled(first, batch)  # from the start once more
    again, _ = compiled(again, batch)
    for name, value in moved.items():
        np.testing.assert_array_equal(again["model"][name], value)


def test_a_state_in_another_order_is_the_same_state() -> None:
    """As it comes from a file."""
    step = step_of("mlp")
    start = step.state()
    turned = {key: start[key] for key in reversed(start)} | {"model": dict(reversed(start["model"].items()))}
    compiled = compile(step)
    first, _ = compiled(turned, batches("mlp", [8])[0])
    second, _ = compiled(first, batches("mlp", [8])[0])
    assert first is second


def test_arrays_exchanged_in_the_state_are_taken() -> None:
    (batch,) = batches("mlp", [8])
    eager, planned = step_of("mlp"), step_of("mlp")
    compiled = compile(planned)
    mine, theirs = compiled(planned.state(), batch)[0], eager(eager.state(), batch)[0]
    for state in (mine, theirs):
        state["model"]["0.bias"] = np.full(16, 0.5, np.float32)
    mine, theirs = compiled(mine, batch)[0], eager(theirs, batch)[0]
    for name, value in theirs["model"].items():
        close(mine["model"][name], value)


def test_the_model_holds_the_arrays_that_plans_update() -> None:
    (batch,) = batches("mlp", [8])
    step = step_of("mlp")
    compiled = compile(step)
    state, _ = compiled(step.state(), batch)
    for name, p in step.model.named_parameters():
        assert p.data is state["model"][name]


def test_functions_of_parameters_read_them_where_they_lie() -> None:
    compiled = compile(lambda parameters, x: np.float32(2) * x @ parameters["w"] + parameters["b"])
    parameters = {"w": np.eye(3, dtype=np.float32), "b": np.ones(3, np.float32)}
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(compiled(parameters, x), 2 * x + 1)
    parameters["b"] += 1  # in place
    np.testing.assert_allclose(compiled(parameters, x), 2 * x + 2)
    parameters["w"] = 3 * np.eye(3, dtype=np.float32)  # another array
    np.testing.assert_allclose(compiled(parameters, x), 6 * x + 2)
    first = compiled(parameters, x)
    compiled(parameters, -x)
    np.testing.assert_allclose(first, 6 * x + 2)  # results are not overwritten by the next call


def test_ever_new_parameters_need_no_ever_new_plans() -> None:
    compiled = compile(lambda parameters, x: x @ parameters["w"])
    x = np.ones((2, 3), np.float32)
    for i in range(40):
        w = np.full((3, 3), i, np.float32)
        np.testing.assert_allclose(compiled({"w": w}, x), x @ w)
    assert len(compiled._programs()) == 1


def test_inference_of_a_model_with_batch_norm() -> None:
    step = step_of("convolutional")
    state, _ = step(step.state(), batches("convolutional", [8])[0])
    tensors = dict(step.model.named_parameters()) | dict(step.model.named_buffers())
    step.model.eval()

    def infer(arrays: dict[str, Array], x: Array) -> Any:
        for name, t in tensors.items():
            t.data = arrays[name]
        with nn.no_grad():
            return step.model(nn.Tensor(x)).data

    x = batches("convolutional", [5])[0][0]
    compiled = compile(infer)
    found = compiled(state["model"], x)
    assert compiled.reason is None
    close(found, infer(state["model"], x))


def test_numbers_trees_and_integers() -> None:
    def function(a: Any, scale: float, more: list[Any]) -> dict[str, Any]:
        return {"sum": (a * scale + more[0]).sum(axis=0), "twice": scale * 2, "rows": more[1] + 1, "fixed": "text"}

    compiled = compile(function)
    a, rows = np.ones((4, 3), np.float32), np.arange(3)
    for scale in (2.0, 5.0):
        found = compiled(a, scale, [np.float32(1) * np.ones(3, np.float32), rows])
        np.testing.assert_allclose(found["sum"], 4 * (scale + 1))
        assert found["twice"] == 2 * scale
        np.testing.assert_array_equal(found["rows"], rows + 1)
        assert found["fixed"] == "text"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x: x if x.sum() > 0 else -x, "truth"),
        (lambda x: x * float(x.max()), "float"),
        (lambda x: np.asarray(x) + 1, "NumPy array"),
    ],
)
def test_what_asks_for_values_runs_as_it_is(function: Any, why: str) -> None:
    compiled = compile(function)
    x = np.array([1.0, -3.0], np.float32)
    with pytest.warns(RuntimeWarning, match=why):
        found = compiled(x)
    np.testing.assert_array_equal(found, function(x))
    assert compiled.reason is not None
    np.testing.assert_array_equal(compiled(-x), function(-x))  # and no second warning


def test_errors_are_those_of_the_function() -> None:
    step = step_of("mlp")
    compiled = compile(step)
    with pytest.raises(nn.UserError, match="Linear takes"):
        compiled(step.state(), (np.ones((2, 7), np.float32), np.zeros(2, np.int64)))
    for _, p in step.model.named_parameters():
        assert isinstance(p.data, np.ndarray)


def test_reference_mode_makes_no_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNATOMY_KERNELS", "reference")
    step = step_of("mlp")
    compiled = compile(step)
    course(compiled, step.state(), batches("mlp", [4]))
    assert compiled.parts() == []


def test_a_compiled_function_stays_itself() -> None:
    compiled = compile(lambda x: x)
    assert isinstance(compiled, Compiled)
    assert compile(compiled) is compiled


def test_memory_is_shared_by_arrays_that_do_not_live_together() -> None:
    def chain(x: Any) -> Any:
        for _ in range(20):
            x = x.T @ x  # each product may forget the one before
        return x.sum()

    compiled = compile(chain)
    compiled(np.full((64, 64), 1e-3, np.float32))
    assert compiled.memory < 8 * 64 * 64 * 4


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_gates_lie_where_their_inputs_lay(kind: str) -> None:
    """An LSTM's gates are written over what goes into them, and their gradients over the gates; values stay as they are."""
    nn.seed(0)
    layer = getattr(nn, kind)(7, 19, num_layers=2, batch_first=True, bidirectional=True)
    learn = GradientDescent(lambda m, x, y: ((m(x)[0] - y).square().mean(), None), partial(optim.Adam, lr=1e-3))
    step = learn.begin(layer)
    rng = np.random.default_rng(0)
    batch = (rng.normal(size=(5, 23, 7)).astype(np.float32), rng.normal(size=(5, 23, 38)).astype(np.float32))
    first = copy.deepcopy(step.state())
    expected, said = step(copy.deepcopy(first), batch)
    compiled = nn.compile(step)
    found, told = compiled(first, batch)
    assert compiled.reason is None
    assert float(told["loss"]) == pytest.approx(float(said["loss"]), rel=1e-6)
    for name, value in expected["model"].items():
        np.testing.assert_allclose(found["model"][name], value, rtol=1e-4, atol=2e-6)
    buffers = next(iter(compiled._plans.values())).plan._buffers
    over = [b for b in buffers if b.over is not None]
    assert len(over) == (8 if kind == "LSTM" else 0)  # two layers, two directions, twice
    for b in over:
        assert b.over is not None
        assert np.shares_memory(b.array, b.over.array)
        assert b.over.first < b.first <= b.over.last
