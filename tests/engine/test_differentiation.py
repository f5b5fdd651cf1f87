"""backward() and grad(), as PyTorch does them."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest
import torch

import nnatomy as nn
from nnatomy.ops.primitive import primitive


def leaf(*values: float) -> nn.Tensor:
    return nn.tensor(list(values), dtype="float64", requires_grad=True)


def test_gradients_accumulate_and_are_new_tensors() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    (3 * x).sum().backward()
    assert first.tolist() == [2.0, 4.0]
    assert x.grad.tolist() == [5.0, 7.0]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_second_backward_needs_retain_graph() -> None:
    x = leaf(2.0)
    y = (x * x).exp()
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert x.grad.item() == pytest.approx(2 * 4 * np.exp(4))
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.sum().backward()
    z = x * x
    nn.grad(z.sum(), x)
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        nn.grad(z.sum(), x)


def test_a_result_with_several_elements_needs_a_gradient() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="one element"):
        (x * x).backward()
    (x * x).backward(np.array([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 40.0]
    with pytest.raises(RuntimeError, match="shape"):
        (x * x).backward(np.ones(3))
    with pytest.raises(RuntimeError, match="dtype"):
        (x * x).backward(nn.ones(2))
    with pytest.raises(RuntimeError, match="requires a gradient"):
        nn.ones(1).backward()


def test_create_graph_gives_derivatives_of_any_order() -> None:
    x = leaf(0.7)
    g = x.sin()
    for expected in (np.cos(0.7), -np.sin(0.7), -np.cos(0.7), np.sin(0.7), np.cos(0.7)):
        g = nn.grad(g, x, create_graph=True)
        assert g.item() == pytest.approx(expected)
    y = x**3
    y.backward(create_graph=True)
    x.grad.backward()
    assert x.grad.item() == pytest.approx(3 * 0.49 + 6 * 0.7)  # the gradient's gradient joins the first, as in PyTorch


def test_gradient_penalty_equals_pytorch() -> None:
    rng = np.random.default_rng(0)
    w, v, x = rng.normal(size=(4, 3)), rng.normal(size=(1, 4)), rng.normal(size=(5, 3))

    def penalty(w: Any, v: Any, x: Any, lib: Any, grad: Any) -> Any:
        score = lib.tanh(x @ w.T) @ v.T
        (g,) = grad(score.sum(), [x], create_graph=True)
        return ((g * g).sum(1) ** 0.5 - 1) ** 2

    ours = [nn.tensor(a, requires_grad=True) for a in (w, v, x)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (w, v, x)]
    penalty(*ours, nn, nn.grad).sum().backward()
    penalty(*theirs, torch, torch.autograd.grad).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10)


def test_grad_of_leaves_results_and_unused() -> None:
    x, w, other = leaf(2.0), leaf(3.0), leaf(1.0)
    h = x * w
    y = h * h
    gx, gh, gy, none = nn.grad(y, [x, h, y, other], retain_graph=True)
    assert (gx.item(), gh.item(), gy.item(), none) == (36.0, 12.0, 1.0, None)
    assert x.grad is None
    assert nn.grad(y, w).item() == 24.0
    assert nn.grad(x, x).item() == 1.0
    a, b = x * 2, x * 3
    assert nn.grad([a, b], x).item() == 5.0
    assert nn.grad([x * 2, x * 3], x, [np.array([1.0]), np.array([10.0])]).item() == 32.0


def test_grad_computes_only_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = leaf(2.0), leaf(3.0)
    hidden = w.exp()
    y = x * hidden
    monkeypatch.setattr(nn.exp.primitive.__class__, "vjp", watch(calls := [], nn.exp.primitive.__class__.vjp))
    assert nn.grad(y.sum(), x).item() == pytest.approx(np.exp(3.0))
    assert calls == ["sum", "multiply"]


def watch(calls: list[str], original: Any) -> Any:
    def watched(self: Any, *args: Any) -> Any:
        calls.append(self.name)
        return original(self, *args)

    return watched


def test_hooks_on_leaves_and_results() -> None:
    x = leaf(1.0, 2.0)
    h = x * 2
    seen: list[Any] = []
    h.register_hook(lambda g: seen.append(g.tolist()))
    double = h.register_hook(lambda g: g * 2)
    handle = x.register_hook(lambda g: g + 1)
    (h * 3).sum().backward()
    assert seen == [[3.0, 3.0]]
    assert x.grad.tolist() == [13.0, 13.0]
    handle.remove()
    handle.remove()
    double.remove()
    x.grad = None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    y = x * 2
    y.register_hook(lambda g: g * 10)
    assert nn.grad(y.sum(), x).tolist() == [20.0, 20.0]


def test_a_hook_sees_the_whole_gradient_once() -> None:
    x = leaf(1.0)
    seen: list[float] = []
    h = x * 1
    h.register_hook(lambda g: seen.append(g.item()))
    x.register_hook(lambda g: seen.append(g.item()))
    (h * 2 + h * 3 + x).sum().backward()
    assert seen == [5.0, 6.0]


def test_retain_grad_keeps_a_results_gradient() -> None:
    x = leaf(1.0, 2.0)
    h, free = x * 2, x * 5
    h.retain_grad()
    (h * h + free).sum().backward()
    assert h.grad.tolist() == [4.0, 8.0]
    assert free.grad is None


def test_detach_and_no_grad_cut_the_graph() -> None:
    x = leaf(2.0)
    assert not (x * 2).detach().requires_grad
    with nn.no_grad():
        assert not (x * 2).requires_grad
        with nn.enable_grad():
            assert (x * 2).requires_grad
        assert not nn.is_grad_enabled()
    assert nn.is_grad_enabled()

    @nn.no_grad()
    def evaluate(v: nn.Tensor) -> nn.Tensor:
        return v * 2

    assert not evaluate(x).requires_grad
    assert not evaluate(x).requires_grad
    assert (x * 2).requires_grad
    with pytest.raises(ValueError, match="stop"), nn.no_grad():
        raise ValueError("stop")
    assert nn.is_grad_enabled()
    (x * (x * 1).detach()).sum().backward()
    assert x.grad.item() == 2.0


def test_freezing_after_the_forward_pass_changes_nothing_that_was_recorded() -> None:
    x, frozen = leaf(2.0), leaf(3.0).requires_grad_(False)
    y = x * frozen
    frozen.requires_grad_(True)
    y.sum().backward()
    assert frozen.grad is None


def test_no_grad_holds_for_its_own_thread() -> None:
    inside, leave = threading.Event(), threading.Event()
    found: list[bool] = []

    def quiet() -> None:
        with nn.no_grad():
            inside.set()
            leave.wait(5)
            found.append((leaf(1.0) * 2).requires_grad)

    thread = threading.Thread(target=quiet)
    thread.start()
    inside.wait(5)
    assert (leaf(1.0) * 2).requires_grad
    leave.set()
    thread.join()
    assert found == [False]


def test_threads_differentiate_side_by_side() -> None:
    results: dict[int, float] = {}

    def work(i: int) -> None:
        x = leaf(float(i))
        y = x
        for _ in range(300):
            y = y + x
        y.backward()
        results[i] = x.grad.item()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(6), 301.0)


def change_by_copy(x: nn.Tensor) -> None:
    x.copy_(np.zeros(2))


def change_by_add(x: nn.Tensor) -> None:
    x += 1


def change_by_index(x: nn.Tensor) -> None:
    x[0] = 5.0


def change_by_data(x: nn.Tensor) -> None:
    x.data = x.data * 2


CHANGES = [change_by_copy, change_by_add, change_by_index, change_by_data, lambda x: x.zero_(), lambda x: x.fill_(3.0)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_use_is_an_error(change: Any) -> None:
    x, c = leaf(1.0, 2.0), nn.tensor([1.0, 2.0], dtype="float64")
    y, z = (x * x).sum(), (x * c).sum()
    with nn.no_grad():
        change(x)
        change(c)
    for result in (y, z):
        with pytest.raises(RuntimeError, match="changed in place after it was used"):
            result.backward()


@pytest.mark.parametrize("change", [c for c in CHANGES if c is not change_by_data])
def test_a_change_of_a_leaf_while_recording_is_an_error(change: Any) -> None:
    with pytest.raises(RuntimeError, match=r"nn\.no_grad\(\)"):
        change(leaf(1.0, 2.0))


def test_changes_after_backward_or_before_use_are_fine() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    with nn.no_grad():
        x -= 0.5 * x.grad
    assert isinstance(x, nn.Tensor)
    assert x.requires_grad
    assert x.tolist() == [0.0, 0.0]
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]


def test_in_place_operators() -> None:
    buffer = alias = nn.tensor([1.0, 2.0])
    buffer += 1
    buffer *= 2
    buffer -= 1
    buffer /= 3
    assert buffer is alias
    np.testing.assert_allclose(buffer.numpy(), [1.0, 5 / 3], rtol=1e-6)
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    total = nn.zeros(2)
    total += x  # names a new result, which gradients flow through
    total += x
    total.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(nn.UserError, match="must broadcast to"):
        buffer += np.ones((2, 2), np.float32)
    with pytest.raises(TypeError, match="dtype"):
        buffer.copy_(nn.zeros(2, dtype="float64"))
    with pytest.raises(RuntimeError, match="index_put"):
        total[0] = 1.0
    with pytest.raises(RuntimeError, match="index_put"):
        buffer[0] = x[0]


def test_a_copied_array_is_not_shared() -> None:
    source = np.zeros(2, np.float32)
    t, made = nn.zeros(2), nn.tensor(source)
    t.copy_(source)
    source[:] = 7
    assert t.tolist() == [0.0, 0.0]
    assert made.tolist() == [0.0, 0.0]


def test_a_chain_of_100_000_operations() -> None:
    x = leaf(0.5)
    y = x
    for _ in range(100_000):
        y = y * 1.0001
    y.backward()
    assert x.grad.item() == pytest.approx(1.0001**100_000)


def test_a_long_chain_may_be_dropped_without_backward() -> None:
    x = leaf(0.5)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    del y
    gc.collect()
    assert nn.grad(x * 2, x).item() == 2.0


def test_grad_of_a_long_chain() -> None:
    x = leaf(0.5)
    y = x
    for _ in range(50_000):
        y = y + 1.0
    assert nn.grad(y, x).item() == 1.0


def test_wide_and_diamond_shaped_graphs() -> None:
    x = leaf(2.0)
    sum((x * float(i) for i in range(1000)), nn.zeros(1, dtype="float64")).backward()
    assert x.grad.item() == 499_500.0
    x.grad = None
    y = x
    for _ in range(60):  # 2^60 paths, 120 operations
        y = (y + y) * 0.5
    y.backward()
    assert x.grad.item() == 1.0
    a = leaf(3.0)
    b = a * a
    (b * a + b).sum().backward()
    assert a.grad.item() == 3 * 9 + 6


def test_outputs_that_are_not_used() -> None:
    x = nn.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    first, *_ = x.split(1, axis=1)
    (first * 2).sum().backward()
    assert x.grad.tolist() == [[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    top, order = nn.tensor([3.0, 1.0, 2.0], requires_grad=True).sort()
    assert top.requires_grad
    assert not order.requires_grad
    assert nn.grad(nn.unstack(x)[1].sum(), x).tolist() == [[0.0] * 3, [1.0] * 3]


def test_memory_is_freed() -> None:
    x = leaf(1.0, 2.0)
    gc.disable()
    try:
        h = x.exp()
        y = h.sum()
        watched, node = weakref.ref(h), y.node
        del h
        assert watched() is not None
        y.backward()
        assert watched() is None, "backward() must let go of what it passed"
        assert node.args is None
        z = x.exp()
        kept = weakref.ref(z)
        w = z * 2
        del z, w
        assert kept() is None, "a dropped graph must go without the garbage collector"
    finally:
        gc.enable()


def test_float32_stays_float32() -> None:
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    results = [
        x * 2, x * np.float64(2.0), np.float64(2.0) * x, x + 1, x / 3, x**2, 2.0**x, x.mean(), x.var(), x.std(), nn.log2(x),
        nn.where(x > 1, x, 0.5), x * np.float32(3), np.sqrt(2.0) * x, x.softmax(), nn.maximum(x, np.float64(0.5)),
    ]  # fmt: skip
    for y in results:
        assert y.dtype == np.float32
        assert nn.grad(y.sum(), x).dtype == np.float32
    assert (nn.tensor([1, 2]) * 0.5).dtype == np.float32
    assert (nn.tensor([1, 2]) / 2).dtype == np.float32
    assert nn.tensor([1, 2]).mean().dtype == np.float32
    assert nn.tensor([1, 2]).exp().dtype == np.float32
    assert (nn.tensor([1, 2]) * x).dtype == np.float32
    assert (nn.tensor([1, 2]) + 1).dtype == np.int64
    assert nn.where(x > 1, nn.tensor([1, 2]), 0.5).tolist() == [0.5, 2.0]


def test_floating_types_do_not_mix() -> None:
    x, y = nn.tensor([1.0]), nn.tensor([1.0], dtype="float64")
    for op in (nn.add, nn.multiply, nn.matmul, nn.maximum, nn.power):
        with pytest.raises(TypeError, match=r"float32.*float64.*\.astype"):
            op(x, y)
    with pytest.raises(TypeError, match=r"float32.*float64.*\.astype"):
        nn.cat([x, y])
    with pytest.raises(TypeError, match=r"float32.*float64.*\.astype"):
        nn.conv(nn.ones(1, 1, 3), nn.ones(1, 1, 2, dtype="float64"))
    with pytest.raises(TypeError, match=r"float32.*float64.*\.astype"):
        nn.linear(nn.ones(1, 3), nn.ones(2, 3, dtype="float64"))
    with pytest.raises(TypeError, match="float64 cannot be written into float32"):
        nn.index_put(x, 0, y[0])
    z = nn.tensor([1.0], requires_grad=True)
    z.astype("float64").sum().backward()
    assert z.grad.dtype == np.float32
    assert not z.astype("int64").requires_grad


def test_check_gradients_names_what_is_wrong() -> None:
    def cut(x: nn.Tensor, y: nn.Tensor) -> nn.Tensor:
        return x * y.detach()

    with pytest.raises(nn.GradientError, match=r"cut: order 1 gradient of input 1 at \(0,\): got 0, expected"):
        nn.check_gradients(cut, [np.ones(2), np.ones(2)])
    @primitive(lambda g, y, a: 2 * g * getattr(a, "detach", lambda: a)())
    def cut_later(a: Any) -> Any:
        return a * a

    nn.check_gradients(cut_later, [np.ones(2)])
    with pytest.raises(nn.GradientError, match="cut_later: order 2 gradient"):
        nn.check_gradients(cut_later, [np.ones(2)], order=2)
    nn.check_gradients(lambda x, i: x[i], [np.ones(3), np.array([0, 2])], order=2)


def test_one_operation_costs_little() -> None:
    x = nn.tensor([1.0], requires_grad=True)
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(2000):
            _ = x * x
        best = min(best, (time.perf_counter() - start) / 2000)
    assert best < 20e-6, f"{best * 1e6:.1f} microseconds for a recorded product"
