"""Common parts of all optimizers: groups, state, resumption, and errors for wrong arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim
from nnatomy.errors import UserError

TUNED: dict[Any, dict[str, Any]] = {
    optim.SGD: {"lr": 0.05, "momentum": 0.9},
    optim.Adagrad: {"lr": 0.5},
    optim.RMSprop: {"lr": 0.01, "momentum": 0.5},
    optim.Adadelta: {"lr": 5.0},
    optim.Adam: {"lr": 0.05},
    optim.AdamW: {"lr": 0.05, "weight_decay": 0.0},
    optim.Adafactor: {"lr": 0.1},
    optim.Lion: {"lr": 0.03},
    optim.LAMB: {"lr": 0.02, "weight_decay": 0.0},
}
RULES = list(TUNED)
TARGET = np.array([[1.0, -2.0], [0.5, 3.0]])


def bowl(p: Any) -> Any:
    """A quadratic with curvatures between 1 and 4."""
    return (nn.Tensor(np.array([[0.5, 1.0], [1.5, 2.0]], p.dtype)) * (p - nn.Tensor(TARGET.astype(p.dtype))) ** 2).sum()


def descend(optimizer: optim.Optimizer, p: Any, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = bowl(p)
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("rule", RULES)
def test_reaches_the_bottom_of_a_quadratic_bowl(rule: Any) -> None:
    p = nn.Parameter(np.full((2, 2), 0.1))
    optimizer = rule([p], **TUNED[rule])
    schedule = optim.Cosine(600)
    for step in range(600):
        optimizer.factor = schedule(step)
        descend(optimizer, p, 1)
    np.testing.assert_allclose(p.numpy(), TARGET, atol=2e-2)


@pytest.mark.parametrize("rule", RULES)
def test_resumes_bit_exactly(rule: Any) -> None:
    def run(stop: int | None) -> Any:
        p = nn.Parameter(np.full((2, 2), 0.1, np.float32))
        optimizer = rule([("p", p)], **TUNED[rule])
        for step in range(6):
            if step == stop:
                saved = optimizer.state_dict()
                arrays = {k: v for k, v in saved.items() if isinstance(v, np.ndarray)}
                plain = json.loads(json.dumps({k: v for k, v in saved.items() if k not in arrays}))
                optimizer = rule([("p", p)])
                optimizer.load_state_dict(arrays | plain)
            optimizer.factor = np.float32(1 / (1 + step))  # a NumPy number neither promotes nor upsets JSON
            descend(optimizer, p, 1)
        return p.numpy(), optimizer.state_dict()

    whole, state = run(None)
    for stop in (0, 3):
        parts, resumed = run(stop)
        np.testing.assert_array_equal(whole, parts)
        assert list(state) == list(resumed)
        for key, value in state.items():
            np.testing.assert_array_equal(value, resumed[key])


def test_a_tree_taken_out_and_bound_back_continues_bit_exactly() -> None:
    p = nn.Parameter(np.full((2, 2), 0.1, np.float32))
    optimizer = optim.Adam([p], lr=0.1)
    tree, start = optimizer.state_tree(), p.data
    descend(optimizer, p, 4)
    expected = p.numpy()
    p.data = start
    optimizer.bind(tree)
    descend(optimizer, p, 2)
    middle = optimizer.state_tree()
    descend(optimizer, p, 3)  # which leaves the tree alone
    optimizer.bind(tree)
    p.data = start
    descend(optimizer, p, 2)
    again = optimizer.state_tree()
    assert [again[key] for key in ("steps", "lr", "factor")] == [middle[key] for key in ("steps", "lr", "factor")]
    optimizer.bind(middle)
    descend(optimizer, p, 2)
    np.testing.assert_array_equal(p.numpy(), expected)


def test_groups_have_settings_of_their_own_and_share_the_factor() -> None:
    a, b, c = (nn.Parameter(np.ones(1)) for _ in range(3))
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": [("b", b)], "weight_decay": 1.0}], lr=0.1)
    optimizer.add_param_group({"params": c, "lr": np.float32(0.25)})
    assert [group["names"] for group in optimizer.param_groups] == [["0"], ["b"], ["2"]]
    optimizer.factor = 0.5
    for p in (a, b, c):
        p.grad = nn.Tensor(np.ones(1))
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item(), c.item()], [1 - 0.25, 1 - 0.05 * 2, 1 - 0.125])
    assert optimizer.lr == 0.5
    optimizer.lr = 0.01
    assert [group["lr"] for group in optimizer.param_groups] == [0.01] * 3


def test_step_runs_the_closure_with_recording_and_returns_its_loss() -> None:
    p = nn.Parameter(np.full((2, 2), 0.1))
    optimizer = optim.SGD([p], lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = bowl(p)
        loss.backward()
        return loss

    with nn.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == bowl(nn.Tensor(np.full((2, 2), 0.1))).item()
    assert bowl(p).item() < loss.item()
    optimizer.zero_grad()
    assert p.grad is None


def test_a_graph_from_before_the_step_can_no_longer_be_differentiated() -> None:
    p = nn.Parameter(np.full((2, 2), 0.1))
    optimizer = optim.SGD([p], lr=0.1)
    loss = bowl(p)
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def parameter() -> nn.Parameter:
    return nn.Parameter(np.zeros(2))


def of_state(change: Callable[[dict[str, Any]], Any]) -> Callable[[], None]:
    def load() -> None:
        optimizer = optim.Adam([("w", p := parameter())])
        p.grad = nn.Tensor(np.ones(2))
        optimizer.step()
        state = optimizer.state_dict()
        change(state)
        optimizer.load_state_dict(state)

    return load


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: optim.SGD([parameter()], lr=-0.1), r"lr must be a finite number >= 0. Received -0.1. Try 0.001"),
    (lambda: optim.SGD([parameter()], lr=math.nan), "lr must be a finite number >= 0. Received nan"),
    (lambda: optim.SGD([parameter()], lr="0.1"), "lr must be a finite number >= 0. Received '0.1'"),  # type: ignore[arg-type]
    (lambda: optim.SGD([parameter()], lr=True), "Received True"),
    (lambda: optim.SGD([parameter()], momentum=-1), "momentum must be"),
    (lambda: optim.SGD([parameter()], nesterov=True), "Nesterov momentum needs momentum > 0"),
    (lambda: optim.SGD([parameter()], weight_decay=-1), "weight_decay must be .* Use 0 to switch it off"),
    (lambda: optim.Adam([parameter()], betas=(0.9, 1.0)), r"betas\[1\] must be at least 0 and below 1. Received 1.0"),
    (lambda: optim.Adam([parameter()], betas=(-0.1, 0.9)), r"betas\[0\] must be"),
    (lambda: optim.Adam([parameter()], betas=0.9), "betas must be a pair"),  # type: ignore[arg-type]
    (lambda: optim.Adam([parameter()], eps=-1e-8), "eps must be"),
    (lambda: optim.RMSprop([parameter()], alpha=2), "alpha must be between 0 and 1"),
    (lambda: optim.Adafactor([parameter()], d=0.5), "d must be a finite number >= 1"),
    (lambda: optim.Adafactor([parameter()], eps=(None, -1.0)), "eps2 must be"),
    (lambda: optim.Adafactor([parameter()], beta2_decay=0.8), "beta2_decay must be a finite number <= 0"),
    (lambda: optim.Adam([]), "at least one parameter. Received none"),
    (lambda: optim.Adam([{"params": []}]), "A parameter group needs at least one parameter"),
    (lambda: optim.Adam(parameter()), r"iterable of Parameters. Received Parameter. Give \[p\]"),
    (lambda: optim.Adam(3), "iterable of Parameters. Received int"),  # type: ignore[arg-type]
    (lambda: optim.Adam([np.zeros(2)]), "params must be Parameters or"),
    (lambda: optim.Adam([nn.Tensor(np.zeros(2, np.int64))]), "Only floating-point leaves"),
    (lambda: optim.Adam([parameter() * 2.0]), "Only floating-point leaves"),
    (lambda: optim.Adam([p := parameter(), p]), "'1' twice"),
    (lambda: optim.Adam([("w", parameter()), ("w", parameter())]), "'w' twice"),
    (
        lambda: optim.Adam([{"params": [parameter()], "learning_rate": 0.1}]),
        "No Adam setting has this name. Received 'learning_rate'",
    ),
    (lambda: optim.Adam([{"params": [parameter()], "lr": -1.0}]), "lr must be"),
    (lambda: optim.Adam([{"parameters": [parameter()]}]), "A parameter group must be a dictionary"),
    (lambda: setattr(optim.Adam([parameter()]), "lr", -1.0), "lr must be"),
    (of_state(lambda s: s.pop("state.w.exp_avg")), "fits Adam and its parameters. Received missing: state.w.exp_avg"),
    (of_state(lambda s: s.pop("group.0.betas")), "missing: group.0.betas"),
    (of_state(lambda s: s.update({"state.v.exp_avg": np.zeros(2)})), "unexpected: state.v.exp_avg"),
    (of_state(lambda s: s.update({"state.w.exp_avg": np.zeros(3)})), r"state.w.exp_avg is \(3,\), expected \(2,\)"),
    (of_state(lambda s: s.update({"group.0.lr": -1.0})), "lr must be"),
]


@pytest.mark.parametrize("make, message", WRONG)
def test_wrong_input_is_told(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
