"""The cost of a small network's Python, counted in calls of our functions: times depend on the machine, counts do not.

benchmarks/overhead.py measures the times.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import graph


def calls(work: Callable[[], Any]) -> Counter[str]:
    """Return how often each Python function of nnatomy is called, by its name."""
    found: Counter[str] = Counter()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and "nnatomy" in frame.f_code.co_filename and "test_overhead" not in frame.f_code.co_filename:
            found[frame.f_code.co_name] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return found


def chain(step: Callable[[Any], Any], length: int, x: Any) -> Any:
    for _ in range(length):
        x = step(x)
    return x


B = nn.tensor(np.full(3, 2, np.float32))


@pytest.mark.parametrize("step", [lambda x: -x, lambda x: x + B, lambda x: x * 1.5, lambda x: nn.maximum(x, B), nn.tanh])
def test_an_operation_is_five_calls_forward(step: Callable[[Any], Any]) -> None:
    """The operator, the operation, its formula, and a Tensor and a node made."""
    x = nn.tensor([0.1, 0.2, 0.3], requires_grad=True)
    assert calls(lambda: chain(step, 100, x)).total() <= 500


@pytest.mark.parametrize("step", [lambda x: -x, lambda x: x + B, lambda x: x * 1.5, nn.sqrt])
def test_an_operation_is_two_calls_backward(step: Callable[[Any], Any]) -> None:
    """Its vjp and its formula, and a few calls for the whole walk."""
    x = nn.tensor([0.1, 0.2, 0.3], requires_grad=True)
    y = chain(step, 100, x)
    found = calls(lambda: y.backward(np.ones(3, np.float32)))
    assert found["vjp"] == 100
    assert found.total() <= 2 * 100 + 20


def test_nothing_is_recorded_where_no_gradient_is_wanted() -> None:
    model, x = network()
    with nn.no_grad():
        found = calls(lambda: model(x))
    assert not found["Node"]
    assert found.total() <= 45


def test_a_step_of_adam_is_a_few_calls_for_each_parameter() -> None:
    model, x = network()
    optimizer = nn.optim.Adam(model.named_parameters())
    nn.square(model(x)).sum().backward()
    optimizer.step()
    assert calls(optimizer.step).total() <= 8 * 6 + 12


def network() -> tuple[nn.Sequential, nn.Tensor]:
    sizes = (32, 32, 32, 10)
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, generator=nn.Generator(0)), nn.ReLU()]
    return nn.Sequential(*layers[:-1]), nn.tensor(np.ones((1, 32), np.float32))


# What the shorter ways must not lose


def test_operations_written_out_say_what_is_wrong_like_the_general_one() -> None:
    x, short = nn.tensor(np.ones((2, 3), np.float32), requires_grad=True), np.ones(2, np.float32)
    with pytest.raises(nn.UserError, match=r"add\(\) takes operands that fit together\. Received shape \(2, 3\), shape \(2,\)"):
        x + short
    with pytest.raises(TypeError, match=r"multiply\(\) takes .*a of float32, b of float64"):
        x * np.ones(3)
    with pytest.raises(TypeError, match="add"):
        x + "3"  # type: ignore[operator]


@pytest.mark.parametrize("number", [np.float64(2), np.float32(2), np.int64(2)])
def test_a_numpy_number_beside_a_tensor_is_a_plain_one(number: Any) -> None:
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    for y in (x * number, nn.multiply(number, x)):
        assert y.dtype == np.float32
        assert nn.grad(y.sum(), x).tolist() == [2.0, 2.0]
    assert isinstance(nn.multiply(np.float64(2), np.float64(3)), np.float64)


def test_a_change_in_place_is_found_in_either_argument() -> None:
    for changed in (0, 1):
        pair = [nn.tensor([1.0, 2.0], requires_grad=True), nn.tensor([3.0, 4.0], requires_grad=True)]
        y = pair[0] * pair[1]
        with nn.no_grad():
            pair[changed].zero_()
        with pytest.raises(RuntimeError, match=r"An input of multiply .* was changed in place"):
            y.sum().backward()


def test_recording_is_a_matter_of_the_thread() -> None:
    import threading

    seen: list[bool] = []
    with nn.no_grad():
        thread = threading.Thread(target=lambda: seen.append(nn.is_grad_enabled()))
        thread.start()
        thread.join()
        assert not nn.is_grad_enabled()
    assert seen == [True]
    assert nn.is_grad_enabled()


def test_two_walks_may_be_under_way_at_once() -> None:
    """A hook that differentiates the same graph again, in the middle of the first walk."""
    x = nn.tensor([2.0], requires_grad=True)
    h = x * x
    total, inner = h.sum(), list[float]()

    def hook(g: Any) -> None:
        if not inner:
            inner.append(0.0)  # the walk inside comes past here as well
            inner.append(nn.grad(total, x, retain_graph=True).item())

    h.register_hook(hook)
    y = h * h
    y.backward(np.ones(1, np.float32), retain_graph=True)
    assert x.grad is not None
    assert (x.grad.item(), inner[1]) == (32.0, 4.0)


def test_nodes_are_in_order_of_creation_newest_first() -> None:
    x = nn.tensor([1.0], requires_grad=True)
    first, second = x + 1, x + 2
    assert isinstance(first.node, graph.Node)
    assert second.node.order < first.node.order
