"""Ordinary steps, which close over a model and an optimizer, compiled: what they give, leave behind, and notice."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import functional as F
from nnatomy import optim
from nnatomy.backends import kernels
from nnatomy.plan import Unplannable

Step = Callable[..., Any]


@pytest.fixture(params=["numpy", "jax"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every test runs on plans and on XLA."""
    if request.param == "jax":
        pytest.importorskip("jax", reason="the jax extra is not installed")
    elif kernels() == "reference":
        monkeypatch.setenv("NNATOMY_KERNELS", "auto")
    with nn.backend(request.param):
        yield request.param


class Training:
    """A model, an optimizer and an ordinary step that closes over both."""

    def __init__(self, *, dtype: str = "float32", clip: bool = False, rule: Any = None, noisy: bool = True) -> None:
        nn.seed(7)
        layers = [nn.Linear(4, 16, bias=not noisy), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 3)]
        self.model = model = nn.Sequential(*[x for x in layers if noisy or not isinstance(x, nn.Dropout | nn.BatchNorm1d)])
        model.astype(dtype)
        self.optimizer = optimizer = (rule or functools.partial(optim.AdamW, lr=1e-2))(model.named_parameters())

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            if clip:
                optim.clip_grad_norm(model.parameters(), 0.5)
            optimizer.step()
            return loss

        self.step: Step = step

    def everything(self) -> dict[str, Any]:
        """All that a step may change, as plain values."""
        found: dict[str, Any] = dict(self.model.state_dict()) | self.optimizer.state_dict()
        found |= {f"grad.{n}": None if p.grad is None else np.array(p.grad.data) for n, p in self.model.named_parameters()}
        found |= {f"frozen.{n}": not p.requires_grad for n, p in self.model.named_parameters()}
        found |= {f"mode.{n}": m.training for n, m in self.model.named_modules()}
        return found | {"generator": repr(nn.random.default.state_dict()), "numpy": np.random.get_state()[1].sum()}


def batches(count: int, rows: int = 12, dtype: str = "float32") -> list[tuple[nn.Tensor, nn.Tensor]]:
    rng = np.random.default_rng(1)
    return [
        (nn.tensor(rng.normal(size=(rows, 4)).astype(dtype)), nn.tensor(rng.integers(0, 3, rows))) for _ in range(count)
    ]  # fmt: skip


def same(found: dict[str, Any], expected: dict[str, Any], tolerance: float = 0.0, but: str = "grad") -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray | float) and not name.startswith(but or "-"):
            np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)
        elif not name.startswith(but or "-"):
            assert found[name] == value, name


def pair(**how: Any) -> tuple[Training, Training, Any]:
    """The same training twice, and the second one's step compiled."""
    eager, compiled = Training(**how), Training(**how)
    return eager, compiled, nn.compile(compiled.step)


def both(first: Any, second: Any, batch: Any, tolerance: float = 2e-6) -> None:
    """One step of each from the same place of the stream of random numbers."""
    start = nn.random.default.state_dict()
    expected = first(*batch)
    nn.random.default.load_state_dict(start)
    np.testing.assert_allclose(float(second(*batch)), float(expected), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("noisy", [False, True])
def test_fifty_steps_equal_eager(noisy: bool) -> None:
    """README's step, and one with dropout, batch norm, clipping and a schedule: losses, weights, moments, buffers, streams."""
    schedule = optim.schedules.Cosine(50, warmup=5)
    courses = []
    for compiled in (False, True):
        training = Training(dtype="float64", noisy=noisy, clip=noisy)
        step = nn.compile(training.step) if compiled else training.step
        losses = []
        for i, batch in enumerate(batches(50, dtype="float64")):
            training.optimizer.factor = schedule(i) if noisy else 1.0
            losses.append(float(step(*batch)))
        courses.append((losses, training.everything()))
        if compiled:
            assert step.reason is None
    np.testing.assert_allclose(courses[1][0], courses[0][0], rtol=1e-6, atol=1e-9)
    same(courses[1][1], courses[0][1], 1e-6)


NESTEROV = functools.partial(optim.SGD, lr=0.1, momentum=0.9, nesterov=True)


@pytest.mark.parametrize("rule", [optim.SGD, NESTEROV, optim.Adam, optim.Adafactor, optim.Lion])
def test_rules(rule: Any) -> None:
    eager, mine, step = pair(rule=rule, noisy=False)
    for batch in batches(4):
        both(eager.step, step, batch)
    assert step.reason is None
    same(mine.everything(), eager.everything(), 1e-5)


def test_random_numbers_are_those_of_eager_steps_and_differ_from_call_to_call(backend: str) -> None:
    own = nn.Generator(3)
    noise = nn.compile(lambda x: (F.dropout(x, 0.5), nn.rand(3), own.normal((2,))))
    ones = nn.ones(4, 5)
    found = []
    for compiled in (True, False):
        nn.seed(11)
        own.load_state_dict(nn.Generator(3).state_dict())
        call = noise if compiled else noise.function
        found.append([[np.asarray(a) for a in call(ones)] for _ in range(3)])
    assert noise.reason is None
    for mine, theirs in zip(*found, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)  # the bits are the same, what is computed of them to rounding
        np.testing.assert_array_equal(mine[0] == 0, theirs[0] == 0)
    assert not np.array_equal(found[0][0][0], found[0][1][0])


def test_what_changes_between_calls_is_seen() -> None:
    eager, mine, step = pair()
    one, two = batches(2)
    weights = {name: value * 0.5 for name, value in eager.model.state_dict().items()}

    def halved(t: Training) -> None:
        t.model.load_state_dict(weights)

    def scaled(t: Training) -> None:
        with nn.no_grad():
            t.model[0].weight *= 1.5
        t.optimizer.state["0.weight"]["exp_avg"] = t.optimizer.state["0.weight"]["exp_avg"] * 0.5

    def frozen(t: Training) -> None:
        t.model[0].weight.requires_grad = False

    changes: list[Callable[[Training], Any]] = [
        lambda t: None, lambda t: None, lambda t: t.model.eval(), lambda t: t.model.train(), halved, scaled,
        lambda t: setattr(t.optimizer, "lr", 0.1), lambda t: t.optimizer.param_groups[0].update(weight_decay=0.3), frozen,
        lambda t: setattr(t.model[3], "p", 0.75), lambda t: t.model.load_state_dict(weights),
        lambda t: t.optimizer.load_state_dict(t.optimizer.state_dict()), lambda t: setattr(t.model, "4", replaced(t)),
    ]  # fmt: skip

    def replaced(t: Training) -> Any:
        layer = nn.Linear(16, 3, bias=False)
        layer.weight.data = t.model[4].weight.data * 2
        return layer

    for change in changes:
        change(eager)
        change(mine)
        both(eager.step, step, one)
        both(eager.step, step, two)
    assert step.reason is None
    same(mine.everything(), eager.everything(), 1e-4)


def test_two_compiled_functions_share_a_model() -> None:
    eager, mine, step = pair()

    def predict(training: Training, x: Any) -> Any:
        training.model.eval()
        with nn.no_grad():
            scores = training.model(x)
        training.model.train()
        return {"scores": scores, "best": [scores.argmax(1)]}

    predicted = nn.compile(functools.partial(predict, mine))
    for x, y in batches(4):
        both(eager.step, step, (x, y))
        found, expected = predicted(x), predict(eager, x)
        np.testing.assert_allclose(found["scores"].numpy(), expected["scores"].numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(found["best"][0].numpy(), expected["best"][0].numpy())
    assert step.reason is None
    assert predicted.reason is None


def test_arrays_that_were_handed_out_keep_their_values() -> None:
    training = Training()
    step = nn.compile(training.step)
    for batch in batches(2):
        step(*batch)
    kept = {name: p.data for name, p in training.model.named_parameters()}
    copies = {name: np.array(value) for name, value in kept.items()}
    step(*batches(1)[0])
    for name, value in kept.items():
        np.testing.assert_array_equal(np.asarray(value), copies[name])


def test_gradients_are_kept_where_they_are_wanted() -> None:
    """Those that an optimizer has used are gone after the call; those that are summed up over calls stay."""
    eager, mine, step = pair(noisy=False)
    for batch in batches(2):
        both(eager.step, step, batch)
    assert all(p.grad is None for p in mine.model.parameters())
    found = []
    for training, wrap in ((eager, lambda f: f), (mine, nn.compile)):
        training.optimizer.zero_grad()

        def add(x: Any, y: Any, training: Training = training) -> Any:
            F.cross_entropy(training.model(x), y).backward()

        def update(training: Training = training) -> None:
            training.optimizer.step()
            training.optimizer.zero_grad()

        adding, updating = wrap(add), wrap(update)
        for batch in batches(3):
            assert adding(*batch) is None
        gradients = {name: np.array(p.grad.data) for name, p in training.model.named_parameters()}
        updating()
        found.append(gradients | training.everything())
        if training is mine:
            assert (adding.reason, updating.reason) == (None, None)
    same(found[1], found[0], 1e-5, but="")


def test_nobody_differentiates_through_what_was_returned() -> None:
    model = nn.Linear(3, 2)
    call = nn.compile(model)
    y = call(nn.ones(4, 3))
    np.testing.assert_allclose(y.numpy(), model(nn.ones(4, 3)).numpy(), rtol=1e-6)
    assert call.reason is None
    with pytest.raises(RuntimeError, match="cannot go on through what a compiled function returned"):
        (y * 2).sum().backward()


def test_arguments_of_every_kind() -> None:
    from typing import NamedTuple

    class Pair(NamedTuple):
        a: Any
        b: Any

    weight = nn.Parameter(np.float32([1.0, 2.0]))

    def function(first: dict[str, Any], *rest: Any, scale: float = 2.0, name: str = "x") -> Any:
        total = first["x"] * scale + rest[0].a + rest[0].b[0] + weight
        return Pair(total, {"scale": scale * 2, "name": name, "none": None, "weight": weight, "raw": total.data})

    call = nn.compile(function)
    for scale in (2.0, 3.0):
        args = {"x": nn.ones(2) * scale}, Pair(nn.ones(2), [np.float32([1, 2])])
        found, expected = call(*args, scale=scale, name="y"), function(*args, scale=scale, name="y")
        assert type(found) is Pair
        np.testing.assert_allclose(found.a.numpy(), expected.a.numpy())
        np.testing.assert_allclose(np.asarray(found.b["raw"]), np.asarray(expected.b["raw"]))
        assert {k: v for k, v in found.b.items() if k != "raw"} == {k: v for k, v in expected.b.items() if k != "raw"}
        assert found.b["weight"] is weight
    assert call.reason is None


LOG: list[Any] = []


class Counted:
    """A step with an attribute that is not a state."""

    def __init__(self, training: Training) -> None:
        self.training, self.calls = training, 0

    def __call__(self, x: Any, y: Any) -> Any:
        loss = self.training.step(x, y)
        self.calls += 1
        return loss


def appending(t: Training) -> Step:
    def step(x: Any, y: Any) -> Any:
        loss = t.step(x, y)
        LOG.append("seen")
        return loss

    return step


def nonlocal_counter(t: Training) -> Step:
    count = 0

    def step(x: Any, y: Any) -> Any:
        nonlocal count
        loss = t.step(x, y)
        count += 1
        return loss

    return step


def asking(t: Training) -> Step:
    return lambda x, y: (loss := t.step(x, y)) * (2.0 if float(loss) > 0 else 1.0)


def numpys_noise(t: Training) -> Step:
    return lambda x, y: t.step(x + np.random.normal(size=(12, 4)).astype("float32"), y)


def numpys_choice(t: Training) -> Step:
    return lambda x, y: t.step(x, y) * (2.0 if np.random.rand() < 2 else 1.0)


def its_own_noise(t: Training) -> Step:
    rng = np.random.default_rng(0)
    return lambda x, y: t.step(x * float(rng.random()), y)


def quasi_newton(t: Training) -> Step:
    optimizer = optim.LBFGS(t.model.parameters(), max_iter=2)

    def step(x: Any, y: Any) -> Any:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(t.model(x), y)
            loss.backward()
            return loss

        return optimizer.step(closure)

    return step


def attribute(t: Training) -> Step:
    def step(x: Any, y: Any) -> Any:
        loss = t.step(x, y)
        t.model.last = loss
        return loss

    return step


def raising(t: Training) -> Step:
    def step(x: Any, y: Any) -> Any:
        t.step(x, y)
        t.model.eval()
        raise KeyError("in the middle")

    return step


REFUSED: dict[str, tuple[Callable[[Training], Step], str]] = {
    "a counter": (Counted, "changes the attribute 'calls' of Counted"),
    "a list": (appending, "changes a list"),
    "a variable": (nonlocal_counter, "changes the variable 'count'"),
    "values": (asking, "NumPy array of a value|needs the values"),
    "numpy": (numpys_noise, "random numbers that are not nnatomy's"),
    "a choice": (numpys_choice, "random numbers that are not nnatomy's"),
    "a numpy generator": (its_own_noise, "a NumPy generator of random numbers"),
    "lbfgs": (quasi_newton, "LBFGS decides"),
    "an attribute": (attribute, "changes the attribute 'last' of Sequential"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_compiled_runs_as_it_is(what: str) -> None:
    """The refusal leaves everything as it was; the call then gives what an eager one gives, and so do later ones."""
    make, why = REFUSED[what]
    first, second = Training(), Training()
    batch = batches(1)[0]
    for training in (first, second):
        nn.seed(1)
        training.step(*batch)  # so that there is something in every place
    nn.seed(1)
    np.random.seed(0)
    eager, step = make(first), nn.compile(make(second))
    LOG.clear()
    before = second.everything()
    ordinary = step._on_this_backend()
    with pytest.raises(Unplannable):  # what the call below does first, by itself
        ordinary.begin(batch, {})
    same(second.everything(), before, but="")
    assert LOG == []
    assert vars(step.function).get("calls", 0) == 0
    expected = eager(*batch)
    nn.seed(1)
    np.random.seed(0)
    with pytest.warns(RuntimeWarning, match=why):
        found = step(*batch)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    same(second.everything(), first.everything(), 1e-6)
    assert re.search(why, str(step.reason))
    assert len(LOG) == (2 if what == "a list" else 0)


def test_errors_are_the_functions_own_and_leave_what_they_leave_eagerly() -> None:
    first, second = Training(), Training()
    batch = batches(1)[0]
    nn.seed(0)
    with pytest.raises(KeyError, match="in the middle"):
        raising(first)(*batch)
    nn.seed(0)
    step = nn.compile(raising(second), warn=False)
    with pytest.raises(KeyError, match="in the middle"):
        step(*batch)
    same(second.everything(), first.everything())


def test_other_values_made_in_each_trace_are_noticed() -> None:
    import os

    step = nn.compile(lambda x: x * int.from_bytes(os.urandom(3), "big"), warn=False)  # 24 bits: float32 holds each
    step(nn.ones(2))
    assert "two traces of it differ" in str(step.reason)


def test_iterators_and_graphs_from_outside_are_refused() -> None:
    numbers = iter([1.0, 2.0])
    step = nn.compile(lambda x: x * next(numbers), warn=False)
    assert step(nn.ones(2)).tolist() == [1.0, 1.0]
    assert "iterator 'numbers'" in str(step.reason)
    weight = nn.Parameter(np.ones(2, np.float32))
    outside = weight * 3.0
    other = nn.compile(lambda x: (x * outside).sum().backward(), warn=False)
    other(nn.ones(2))
    assert "outside of it" in str(other.reason)
    assert weight.grad is not None
    assert weight.grad.tolist() == [3.0, 3.0]


def test_a_constant_table_at_a_position_that_is_given() -> None:
    table = np.arange(6.0).reshape(3, 2)
    found = nn.compile(lambda i: nn.Tensor(table)[i], warn=False)(nn.tensor([2, 0]))
    assert found.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    held = nn.Tensor(table.astype("float32"))
    call = nn.compile(lambda i: nn.embedding(held, i))
    assert call(nn.tensor([2, 0])).tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert call.reason is None


def test_an_element_at_an_integer_is_read_where_it_lies() -> None:
    f = nn.compile(lambda s, b: (nn.Tensor(b) * nn.Tensor(s)[0]).sum().data)
    for factor in (0.5, 0.25):
        assert float(f(np.float32([factor, 2.0]), np.ones((20, 4), np.float32))) == 80 * factor
    assert f.reason is None


def test_a_state_whose_arrays_change_places() -> None:
    def turned(state: Any, x: Any) -> Any:
        return {"a": state["b"], "b": state["a"] + x, "c": state["a"]}, state["a"]

    compiled = nn.compile(turned)
    mine = {key: np.full(3, i, np.float32) for i, key in enumerate("abc")}
    theirs = dict(mine)
    for i in range(4):
        x = np.full(3, i + 1, np.float32)
        (mine, said), (theirs, told) = compiled(mine, x), turned(theirs, x)
        np.testing.assert_array_equal(np.asarray(said), told)
        for key, value in theirs.items():
            np.testing.assert_array_equal(np.asarray(mine[key]), value)


def test_what_is_made_inside_is_no_state() -> None:
    def step(x: Any) -> Any:
        layer = nn.LeakyReLU(0.2)
        return layer(x) + nn.Tensor(np.arange(2, dtype=np.float32)) + nn.Tensor(nn.Generator(5).normal((2,)))

    call = nn.compile(step)
    for _ in range(2):
        np.testing.assert_allclose(call(nn.ones(2)).numpy(), step(nn.ones(2)).numpy(), rtol=1e-6)
    assert call.reason is None


PLAIN = """
import sys
import nnatomy as nn
model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
optimizer = nn.optim.AdamW(model.parameters(), lr=1e-2)
optimizer.zero_grad()
loss = nn.functional.cross_entropy(model(nn.randn(5, 4)), nn.randint(0, 3, 5))
loss.backward()
optimizer.step()
assert not any(name.startswith("nnatomy.plan") for name in sys.modules)
"""


def test_a_plain_eager_step_does_not_import_plans(backend: str) -> None:
    if backend == "numpy":
        subprocess.run([sys.executable, "-c", PLAIN], check=True)


def test_the_snippet_in_the_documentation_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text()
    snippet = re.search(r"```python\n(.*?nn\.compile.*?)```", text, re.S)
    assert snippet is not None
    space: dict[str, Any] = {}
    exec(snippet.group(1), space)
    assert space["step"].reason is None
