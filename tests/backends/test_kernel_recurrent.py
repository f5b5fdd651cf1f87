"""The kernels of recurrent scans equal the reference, in any layout, direction and size, for any number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from nnatomy.backends import recurrent_reference as reference

pytest.importorskip("numba")

from nnatomy.kernels import arrays, machine
from nnatomy.kernels.lowering import recurrent as lowering

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
KINDS = [("lstm", {}), ("gru", {}), ("rnn", {"nonlinearity": "tanh"}), ("rnn", {"nonlinearity": "relu"})]
each_kind = pytest.mark.parametrize("kind, options", KINDS, ids=lambda v: v if isinstance(v, str) else "-".join(v.values()))
SIZES = [  # batch, steps, hidden
    (1, 1, 1), (1, 7, 3), (5, 7, 1), (5, 1, 16), (5, 7, 17), (32, 7, 16), (33, 7, 17), (33, 7, 3), (1, 7, 128), (5, 7, 128),
    (33, 2, 128), (3, 3, 130), (2, 3, 256),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads even for little work, and the number as it was."""
    monkeypatch.setattr(lowering, "PARALLEL", 0)
    monkeypatch.setattr(lowering, "PACKED", 0)
    before = machine.get_num_threads()
    yield
    machine.set_num_threads(before)


def inputs(kind: str, batch: int, steps: int, size: int, axis: int, bias: bool = True) -> list[np.ndarray | None]:
    rng = np.random.default_rng(batch + 100 * steps + size)
    lead = (steps, batch) if axis == 0 else (batch, steps)
    states = [rng.normal(size=(batch, size)) for _ in range(2 if kind == "lstm" else 1)]
    x, w = rng.normal(size=(*lead, GATES[kind] * size)), rng.normal(size=(GATES[kind] * size, size)) / np.sqrt(size)
    b = rng.normal(size=GATES[kind] * size) if bias else None
    return [None if a is None else a.astype(np.float32) for a in (x, *states, w, b)]


def both(kind: str, args: list[Any], how: dict[str, Any], options: dict[str, Any], run: Any) -> tuple[list[Any], list[Any]]:
    """Results and gradients, the latter for a random direction, as `run(name, args, kwargs)` computes them."""
    forward = how | options if kind == "rnn" else how | {"keep": True}
    outs = list(run(f"{kind}_scan", tuple(args), forward))
    states = 2 if kind == "lstm" else 1
    rng = np.random.default_rng(1)
    gs = [rng.normal(size=o.shape).astype(args[0].dtype) for o in outs[: states + 1]]
    kept = outs[states + 1 :]
    back = (*gs, *kept, outs[0], *args[1 : states + 2])
    return outs, list(run(f"{kind}_scan_vjp", back, how | options))


def kernel(name: str, args: Any, kwargs: Any) -> Any:
    found = arrays.call(name, args, kwargs, 0.0)
    assert found is not None, f"{name} has no kernel for these"
    return found


def rule(name: str, args: Any, kwargs: Any) -> Any:
    return getattr(reference, name)(*args, **kwargs)


def in_float64(args: list[Any]) -> list[Any]:
    return [None if a is None else a.astype(np.float64) for a in args]


def close(got: list[Any], expected: list[Any]) -> None:
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == np.float32
        assert g.shape == e.shape
        scale = np.abs(e).max(initial=0.1)  # a single sum may be small next to what was added up
        np.testing.assert_allclose(g, e, rtol=0, atol=1e-5 * scale)


@each_kind
@pytest.mark.parametrize("batch, steps, size", SIZES)
@pytest.mark.parametrize("axis, reverse", [(1, False), (0, True)])
def test_equals_reference(
    kind: str, options: dict[str, Any], batch: int, steps: int, size: int, axis: int, reverse: bool
) -> None:
    args = inputs(kind, batch, steps, size, axis, bias=batch != 5)
    how = {"axis": axis, "reverse": reverse}
    expected = both(kind, in_float64(args), how, options, rule)
    for threads in (1, 2, 3):
        machine.set_num_threads(threads)
        got = both(kind, args, how, options, kernel)
        close(got[0], expected[0])
        close(got[1], expected[1])
        again = both(kind, args, how, options, kernel)
        for g, e in zip((*got[0], *got[1]), (*again[0], *again[1]), strict=True):
            np.testing.assert_array_equal(g, e)


def sliced(a: np.ndarray) -> np.ndarray:
    """The same values with gaps between all elements."""
    wide = np.full(tuple(2 * n + 1 for n in a.shape), np.nan, np.float32)
    view = wide[tuple(slice(1, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def turned(a: np.ndarray) -> np.ndarray:
    """The same values, the axes in memory in reverse."""
    return np.asfortranarray(a)


def backwards(a: np.ndarray) -> np.ndarray:
    """The same values from the end of memory."""
    return np.ascontiguousarray(a[::-1])[::-1]


@each_kind
@pytest.mark.parametrize("layout", [sliced, turned, backwards])
def test_any_layout(kind: str, options: dict[str, Any], layout: Any) -> None:
    args = inputs(kind, 5, 4, 17, 1)
    how = {"axis": 1, "reverse": False}
    expected = both(kind, in_float64(args), how, options, rule)

    def run(name: str, args: Any, kwargs: Any) -> Any:
        return kernel(name, tuple(None if a is None else layout(a) for a in args), kwargs)

    got = both(kind, args, how, options, run)
    close(got[0], expected[0])
    close(got[1], expected[1])


def test_gradients_that_repeat_one_number() -> None:
    args = inputs("lstm", 5, 4, 17, 1)
    outs = kernel("lstm_scan", tuple(args), {"axis": 1, "reverse": False, "keep": True})
    one = np.ones((), np.float32)
    gs = [np.broadcast_to(one, o.shape) for o in outs[:3]]
    back = (*gs, *outs[3:], outs[0], *args[1:4])
    how = {"axis": 1, "reverse": False}
    close(list(kernel("lstm_scan_vjp", back, how)), list(rule("lstm_scan_vjp", [a.astype(np.float64) for a in back], how)))


@each_kind
def test_without_keeping(kind: str, options: dict[str, Any]) -> None:
    args = inputs(kind, 5, 4, 17, 1)
    how = {"axis": 1, "reverse": False}
    if kind == "rnn":
        return
    whole = kernel(f"{kind}_scan", tuple(args), how | {"keep": True})
    bare = kernel(f"{kind}_scan", tuple(args), how | {"keep": False})
    states = 3 if kind == "lstm" else 2
    for a, b in zip(whole[:states], bare[:states], strict=True):
        np.testing.assert_array_equal(a, b)
    assert [b.shape for b in bare[states:]] == [(0,), (0,)]


@each_kind
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_are_no_numbers(kind: str, options: dict[str, Any], value: float) -> None:
    """One such input at one step of one example: it goes where it goes in the reference, and nowhere else."""
    args = inputs(kind, 5, 4, 17, 1)
    args[0][2, 1, GATES[kind] * 17 // 2] = value
    how = {"axis": 1, "reverse": False}
    with np.errstate(all="ignore"):
        expected = both(kind, args, how, options, rule)
    got = both(kind, args, how, options, kernel)
    states = 3 if kind == "lstm" else 2
    for g, e in zip(got[0][:states], expected[0][:states], strict=True):
        np.testing.assert_array_equal(np.isnan(g), np.isnan(e))
        np.testing.assert_allclose(g, e, rtol=2e-5, atol=1e-5)
    for g, e in zip(got[1][:states], expected[1][:states], strict=True):  # the weights' gradients mix all examples
        others = np.arange(5) != 2
        np.testing.assert_allclose(g[others], e[others], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(np.isfinite(g[2]), np.isfinite(e[2]))


def test_what_the_kernels_leave_to_the_reference() -> None:
    how = {"axis": 1, "reverse": False, "keep": True}
    args = inputs("lstm", 2, 3, 4, 1)
    assert arrays.call("lstm_scan", tuple(in_float64(args)), how, 0.0) is None
    assert arrays.call("lstm_scan", (args[0].astype(np.float64), *args[1:]), how, 0.0) is None
    empty = inputs("lstm", 0, 3, 4, 1)
    assert arrays.call("lstm_scan", tuple(empty), how, 0.0) is None
    packed = np.zeros(args[0].nbytes + 1, np.uint8)[1:].view(np.float32).reshape(args[0].shape)  # not at a multiple of 4
    packed[...] = args[0]
    close(list(kernel("lstm_scan", (packed, *args[1:]), how)), list(rule("lstm_scan", args, how)))


def test_a_long_sequence_of_many_examples() -> None:
    args = inputs("lstm", 40, 60, 48, 1)
    how = {"axis": 1, "reverse": False}
    expected = both("lstm", in_float64(args), how, {}, rule)
    got = both("lstm", args, how, {}, kernel)
    close(got[0], expected[0])
    close(got[1], expected[1])
