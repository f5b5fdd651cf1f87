"""Scans equal the equations step by step: values, gradients and second derivatives, and PyTorch's layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import nnatomy as nn
from nnatomy.ops import recurrent
from nnatomy.ops.primitive import Primitive

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
KINDS = [("lstm", {}), ("gru", {}), ("rnn", {"nonlinearity": "tanh"}), ("rnn", {"nonlinearity": "relu"})]
each_kind = pytest.mark.parametrize("kind, options", KINDS, ids=lambda v: v if isinstance(v, str) else "-".join(v.values()))
each_way = pytest.mark.parametrize("axis, reverse", [(0, False), (0, True), (1, False), (1, True)])


def inputs(kind: str, axis: int, batch: int = 3, steps: int = 4, size: int = 5, bias: bool = True) -> list[np.ndarray | None]:
    """x_gates, the states, w_hh and b_hh."""
    rng = np.random.default_rng(steps + 10 * size)
    lead = (steps, batch) if axis == 0 else (batch, steps)
    states = [rng.normal(size=(batch, size)) for _ in range(2 if kind == "lstm" else 1)]
    x, w = rng.normal(size=(*lead, GATES[kind] * size)), rng.normal(size=(GATES[kind] * size, size))
    return [x, *states, w, rng.normal(size=GATES[kind] * size) if bias else None]


def scan(kind: str, options: dict[str, Any], axis: int, reverse: bool) -> Any:
    return lambda *a: getattr(recurrent, f"{kind}_scan")(*a, **options, axis=axis, reverse=reverse)


def composed(kind: str, options: dict[str, Any], axis: int, reverse: bool) -> Any:
    more = options if kind == "rnn" else {"keep": True}
    return lambda *a: getattr(recurrent, f"_{kind}_steps")(*a, axis=axis, reverse=reverse, **more)


def tensors(arrays: list[np.ndarray | None]) -> list[Any]:
    return [None if a is None else nn.tensor(a, requires_grad=True) for a in arrays]


@each_kind
@each_way
@pytest.mark.parametrize("batch, steps, size, bias", [(3, 4, 5, True), (1, 1, 1, True), (2, 7, 3, False), (4, 1, 2, True)])
def test_equals_its_steps(
    kind: str, options: dict[str, Any], axis: int, reverse: bool, batch: int, steps: int, size: int, bias: bool
) -> None:
    arrays = inputs(kind, axis, batch, steps, size, bias)
    found = []
    for make in (scan, composed):
        args = tensors(arrays)
        ys = make(kind, options, axis, reverse)(*args)
        assert len(ys) == len(arrays) - 2
        rng = np.random.default_rng(7)
        weights = [rng.normal(size=y.shape) for y in ys]
        found.append([y.numpy() for y in ys] + [g.numpy() for g in nn.grad(ys, [a for a in args if a is not None], weights)])
    for got, expected in zip(*found, strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
    plain = scan(kind, options, axis, reverse)(*arrays)
    for got, expected in zip(plain, found[0], strict=False):
        np.testing.assert_array_equal(got, expected)


@each_kind
@each_way
@pytest.mark.parametrize("output", [0, 1])
def test_derivatives_to_the_second_order(kind: str, options: dict[str, Any], axis: int, reverse: bool, output: int) -> None:
    arrays = [a for a in inputs(kind, axis, 2, 3, 2) if a is not None]
    nn.check_gradients(lambda *a: scan(kind, options, axis, reverse)(*a)[output], arrays, order=2, tolerance=1e-5)


@each_kind
def test_only_what_is_asked_for_gets_a_gradient(kind: str, options: dict[str, Any]) -> None:
    arrays = inputs(kind, 1)
    run, (*rest, w, b) = scan(kind, options, 1, False), arrays
    alone, args = nn.tensor(w, requires_grad=True), tensors(arrays)
    run(*rest, alone, b)[0].sum().backward()
    run(*args)[0].sum().backward()
    np.testing.assert_array_equal(alone.grad.numpy(), args[-2].grad.numpy())


def test_gates_are_kept_only_for_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    whole = recurrent.B.lstm_scan
    monkeypatch.setattr(recurrent.B, "lstm_scan", lambda *a, **k: kept.append(k["keep"]) or whole(*a, **k))
    arrays = inputs("lstm", 1)
    recurrent.lstm_scan(*arrays)
    args = tensors(arrays)
    recurrent.lstm_scan(*args)
    with nn.no_grad():
        recurrent.lstm_scan(*args)
    recurrent.lstm_scan(*[nn.tensor(a) for a in arrays])
    assert kept == [False, True, False, False]


@each_kind
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 2e-5)])
def test_equals_pytorchs_layer(kind: str, options: dict[str, Any], dtype: str, tolerance: float) -> None:
    batch, steps, size = 4, 6, 8
    theirs = getattr(torch.nn, kind.upper())(3, size, batch_first=True, **options).to(getattr(torch, dtype))
    x = torch.tensor(np.random.default_rng(1).normal(size=(batch, steps, 3)).astype(dtype), requires_grad=True)
    ours = {name: nn.tensor(p.detach().numpy(), requires_grad=True) for name, p in theirs.named_parameters()}
    mine = nn.tensor(x.detach().numpy(), requires_grad=True)
    zeros = [np.zeros((batch, size), dtype)] * (2 if kind == "lstm" else 1)
    gates = nn.linear(mine, ours["weight_ih_l0"], ours["bias_ih_l0"])
    y, h = getattr(recurrent, f"{kind}_scan")(gates, *zeros, ours["weight_hh_l0"], ours["bias_hh_l0"], **options)[:2]
    y2, state = theirs(x)
    h2 = (state[0] if kind == "lstm" else state)[0]
    rng = np.random.default_rng(3)
    weights, last = rng.normal(size=y.shape).astype(dtype), rng.normal(size=h.shape).astype(dtype)
    ((y * weights).sum() + (h * last).sum()).backward()
    ((y2 * torch.tensor(weights)).sum() + (h2 * torch.tensor(last)).sum()).backward()
    pairs = [(y.numpy(), y2), (h.numpy(), h2), (mine.grad.numpy(), x.grad)]
    pairs += [(ours[name].grad.numpy(), p.grad) for name, p in theirs.named_parameters()]
    for got, expected in pairs:
        e = expected.detach().numpy()
        assert got.dtype == dtype
        np.testing.assert_allclose(got, e, rtol=tolerance, atol=tolerance * max(1.0, np.abs(e).max()))


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_wrong_arguments(kind: str) -> None:
    run = getattr(recurrent, f"{kind}_scan")
    x, *rest = inputs(kind, 1)
    with pytest.raises(nn.UserError, match="three axes"):
        run(x[0], *rest)
    with pytest.raises(nn.UserError, match="at least one step"):
        run(x[:, :0], *rest)
    with pytest.raises(nn.UserError, match=r"array of shape \(3, 5\)"):
        run(x, rest[0][:2], *rest[1:])
    with pytest.raises(nn.UserError, match="of shape"):
        run(x[..., 1:], *rest)
    with pytest.raises(nn.UserError, match="of shape"):
        run(x, *rest[:-1], rest[-1][1:])
    with pytest.raises(TypeError, match="float64 and float32"):
        run(x, rest[0].astype("float32"), *rest[1:])
    whole = run(x, np.zeros(rest[0].shape, "int64"), *rest[1:])[0]
    np.testing.assert_array_equal(whole, run(x, np.zeros(rest[0].shape), *rest[1:])[0])


def test_every_primitive_here_is_tested() -> None:
    known = {f.primitive.name for f in vars(recurrent).values() if isinstance(getattr(f, "primitive", None), Primitive)}
    assert known - {"linear"} == {f"{kind}_scan" for kind, _ in KINDS}
