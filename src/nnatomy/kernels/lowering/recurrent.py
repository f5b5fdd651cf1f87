"""Recurrent layers: the memory of their scans, and the product for the gradient of W_hh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Array, Emitter, Shape, address, lowers, steps
from nnatomy.kernels.lowering.copies import emit_copy
from nnatomy.kernels.processor import LANES, REGISTERS

WIDTH = (4 if REGISTERS == 32 else 2) * LANES
"""Columns of a panel of W_hh on the way back, and of the states before each step: kernels/recurrent.py's."""
DEPTH, COLUMNS = 64, 512
"""Its block of the gates' gradients in the product for the gradient of W_hh."""
PARALLEL = 2e6
"""Floating-point operations from which a second thread is worth a meeting."""
PACKED = 50_000
"""Weights from which a second thread is worth one for their copy."""
_RELU = {"tanh": 0, "relu": 1}

Args = Sequence[Any]
Kwargs = dict[str, Any]


def _up(count: int, grain: int = LANES) -> int:
    return -(-count // grain) * grain


def _readable(emitter: Emitter, arrays: Args) -> list[Array] | None:
    """The arrays, copied where their last axis has gaps; None, before anything is emitted, if one cannot be read."""
    for a in arrays:
        if not isinstance(a, np.ndarray) or a.dtype != np.float32 or a.size == 0 or any(s % 4 for s in a.strides):
            return None
    return [_copied(emitter, a) if a.shape[-1] > 1 and a.strides[-1] != 4 else a for a in arrays]


def _copied(emitter: Emitter, a: Array) -> Array:
    target = emitter.scratch(a.size).reshape(a.shape)
    emit_copy(emitter, a, target)
    return target


def _in_order(a: Array, kwargs: Kwargs) -> Array:
    """The view (batch, steps, ...) whose time goes as the scan does."""
    a = a.swapaxes(0, 1) if kwargs["axis"] == 0 else a
    return a[:, ::-1] if kwargs["reverse"] else a


def _placed(a: Array, kwargs: Kwargs) -> tuple[int, int, int]:
    """Address and steps by example and by time."""
    a = _in_order(a, kwargs)
    by_example, by_time = steps(a)[:2]
    return address(a), by_example, by_time


def _kept(a: Array, kwargs: Kwargs) -> tuple[int, int, int]:
    """The same of an array that is empty if it is not kept: then address 0."""
    return _placed(a, kwargs) if a.size else (0, 0, 0)


def _by_step(a: Array) -> Array:
    """A row for each step of each example."""
    return a.reshape(-1, a.shape[2])


def _states_before(emitter: Emitter, y: Array) -> Array:
    """Architecture for what h is before each step, with axes as y has them, in panels of WIDTH units."""
    panels = -(-y.shape[2] // WIDTH)
    return emitter.scratch(panels * y.shape[0] * y.shape[1] * WIDTH).reshape(panels, *y.shape[:2], WIDTH)


def _row(a: Array) -> tuple[int, int]:
    return address(a), steps(a)[0]


def _extent(x: Any, kwargs: Kwargs) -> tuple[int, int]:
    """(batch, steps)."""
    return (x.shape[1], x.shape[0]) if kwargs["axis"] == 0 else (x.shape[0], x.shape[1])


def _threads(emitter: Emitter, gates: Any, units: int) -> int:
    """Return the number of threads that the examples are split among."""
    return emitter.threads if 2.0 * gates.size * units > PARALLEL else 1


def _scratch(emitter: Emitter, threads: int, batch: int, floats: int) -> tuple[int, int]:
    """Address and size of each thread's scratch, `floats` for each of its examples."""
    stride = _up(-(-batch // threads) * floats, 16)
    return address(emitter.scratch(stride * threads)), stride


def _forward_panels(emitter: Emitter, w: Array, gates: int) -> int:
    """W_hh in panels for the way forward: of all gates of LANES units, or of WIDTH units where there is one gate."""
    units = w.shape[1]
    vectors, block = (gates, LANES) if gates > 1 else (WIDTH // LANES, WIDTH)
    places = (units, LANES, 0, LANES) if gates > 1 else (LANES, WIDTH, LANES, WIDTH)
    count = -(-units // block)
    out = emitter.scratch(count * units * vectors * LANES)
    emitter.add("recurrent", "pack", (*_row(w), units, vectors, *places, count, address(out)), w.size > PACKED)
    return address(out)


def _backward_panels(emitter: Emitter, w: Array) -> int:
    """W_hh in panels for the way back."""
    rows, units = w.shape
    out = emitter.scratch(_up(units, WIDTH) * rows)
    emitter.add("recurrent", "unpacked", (*_row(w), rows, units, address(out)), w.size > PACKED)
    return address(out)


def _weights(emitter: Emitter, parts: Sequence[Array], before: Array, dw: Array, db: Array, threads: int) -> None:
    """dw = the gates' gradients, side by side, times the states before, over all steps; db = their sums."""
    units, panels, first = dw.shape[1], len(before), 0
    whole = dw if units % WIDTH == 0 else emitter.scratch(len(dw) * panels * WIDTH).reshape(len(dw), -1)
    stride = DEPTH * COLUMNS
    scratch = emitter.scratch(stride * threads)
    for part in parts:
        rows, columns = part.shape
        emitter.add("recurrent", "weights", (
            *_row(part), columns, address(before), rows, panels, *_row(whole[first:]), address(db[first:]),
            address(scratch), stride,
        ), threads > 1)  # fmt: skip
        first += columns
    if whole is not dw:
        emit_copy(emitter, whole[:, :units], dw)


def _results(args: Args, *kept: int, states: int, keep: bool) -> list[tuple[Shape, Any]]:
    """Shapes of y, of the last states, and of what is kept, so many values for each step."""
    x, h0 = args[0], args[1]
    lead = tuple(x.shape[:2])
    shapes: list[Shape] = [(*lead, h0.shape[1])] + [tuple(h0.shape)] * states
    shapes += [(*lead, n) if keep else (0,) for n in kept]
    return [(shape, x.dtype) for shape in shapes]


def _gradients(x: Any, w: Any, *states: Any) -> list[tuple[Shape, Any]]:
    shape = (*x.shape[:2], w.shape[0])
    return [(tuple(s), x.dtype) for s in (shape, *(h.shape for h in states), w.shape, w.shape[:1])]


def _forward_work(args: Args, kwargs: Kwargs) -> float:
    return 2.0 * args[0].size * args[1].shape[1]


def _given(args: Args) -> list[Any]:
    """The arguments without b_hh, which is the last, if it is None."""
    return list(args[:-1] if args[-1] is None else args)


@lowers(
    "lstm_scan",
    outputs=lambda args, kwargs: _results(args, args[0].shape[2], args[1].shape[1], states=2, keep=kwargs["keep"]),
    work=_forward_work,
    over={3: 0},  # the gates over the x_gates
)
def lstm_scan(emitter: Emitter, outs: Sequence[Array], args: Args, kwargs: Kwargs) -> bool:
    """y, the last h and c, and the gates and cells if they are kept."""
    found = _readable(emitter, _given(args))
    if found is None:
        return False
    x, h0, c0, w, *bias = found
    y, h, c, gates, cells = outs
    (batch, count), units = _extent(x, kwargs), w.shape[1]
    threads = _threads(emitter, x, units)
    emitter.add("recurrent", "lstm", (
        *_placed(x, kwargs), *_row(h0), *_row(c0), _forward_panels(emitter, w, 4), address(bias[0]) if bias else 0,
        *_placed(y, kwargs), *_kept(gates, kwargs), *_kept(cells, kwargs), address(h), address(c), batch, count, units,
        *_scratch(emitter, threads, batch, 7 * _up(units)),
    ), threads > 1)  # fmt: skip
    return True


@lowers(
    "lstm_scan_vjp",
    outputs=lambda args, kwargs: _gradients(args[5], args[8], args[6], args[7]),
    work=lambda args, kwargs: 4.0 * args[5].size * args[8].shape[0],
    over={0: 3},  # their gradients over the gates
)
def lstm_scan_vjp(emitter: Emitter, outs: Sequence[Array], args: Args, kwargs: Kwargs) -> bool:
    """The gradients of x_gates, h0, c0, w_hh and b_hh."""
    found = _readable(emitter, args)
    if found is None:
        return False
    g_y, g_h, g_c, gates, cells, y, h0, c0, w = found
    dx, dh, dc, dw, db = outs
    (batch, count), units = _extent(y, kwargs), w.shape[1]
    threads = _threads(emitter, dx, units)
    before = _states_before(emitter, y)
    emitter.add("recurrent", "lstm_back", (
        *_placed(g_y, kwargs), *_row(g_h), *_row(g_c), *_placed(gates, kwargs), *_placed(cells, kwargs), *_placed(y, kwargs),
        *_row(h0), *_row(c0), _backward_panels(emitter, w), *_placed(dx, kwargs), address(dh), address(dc),
        *_placed(before[0], kwargs), batch, count, units,
        *_scratch(emitter, threads, batch, 5 * _up(units) + _up(units, WIDTH)),
    ), threads > 1)  # fmt: skip
    _weights(emitter, [_by_step(dx)], before, dw, db, threads)
    return True


@lowers(
    "gru_scan",
    outputs=lambda args, kwargs: _results(args, args[0].shape[2], args[1].shape[1], states=1, keep=kwargs["keep"]),
    work=_forward_work,
)
def gru_scan(emitter: Emitter, outs: Sequence[Array], args: Args, kwargs: Kwargs) -> bool:
    """y, the last h, and the gates and the candidate's part of W_hh h + b_hh if they are kept."""
    found = _readable(emitter, _given(args))
    if found is None:
        return False
    x, h0, w, *bias = found
    y, h, gates, inner = outs
    (batch, count), units = _extent(x, kwargs), w.shape[1]
    threads = _threads(emitter, x, units)
    emitter.add("recurrent", "gru", (
        *_placed(x, kwargs), *_row(h0), _forward_panels(emitter, w, 3), address(bias[0]) if bias else 0,
        *_placed(y, kwargs), *_kept(gates, kwargs), *_kept(inner, kwargs), address(h), batch, count, units,
        *_scratch(emitter, threads, batch, 5 * _up(units)),
    ), threads > 1)  # fmt: skip
    return True


@lowers(
    "gru_scan_vjp",
    outputs=lambda args, kwargs: _gradients(args[4], args[6], args[5]),
    work=lambda args, kwargs: 4.0 * args[4].size * args[6].shape[0],
)
def gru_scan_vjp(emitter: Emitter, outs: Sequence[Array], args: Args, kwargs: Kwargs) -> bool:
    """The gradients of x_gates, h0, w_hh and b_hh."""
    found = _readable(emitter, args)
    if found is None:
        return False
    g_y, g_h, gates, inner, y, h0, w = found
    dx, dh, dw, db = outs
    (batch, count), units = _extent(y, kwargs), w.shape[1]
    threads = _threads(emitter, dx, units)
    before, d_inner = _states_before(emitter, y), emitter.scratch(y.size).reshape(y.shape)
    emitter.add("recurrent", "gru_back", (
        *_placed(g_y, kwargs), *_row(g_h), *_placed(gates, kwargs), *_placed(inner, kwargs), *_placed(y, kwargs),
        *_row(h0), _backward_panels(emitter, w), *_placed(dx, kwargs), address(dh), *_placed(d_inner, kwargs),
        *_placed(before[0], kwargs), batch, count, units,
        *_scratch(emitter, threads, batch, 3 * _up(units) + _up(units, WIDTH)),
    ), threads > 1)  # fmt: skip
    _weights(emitter, [_by_step(dx)[:, : 2 * units], _by_step(d_inner)], before, dw, db, threads)
    return True


@lowers("rnn_scan", outputs=lambda args, kwargs: _results(args, states=1, keep=False), work=_forward_work)
def rnn_scan(emitter: Emitter, outs: Sequence[Array], args: Args, kwargs: Kwargs) -> bool:
    """y and the last h."""
    found = _readable(emitter, _given(args))
    if found is None:
        return False
    x, h0, w, *bias = found
    y, h = outs
    (batch, count), units = _extent(x, kwargs), w.shape[1]
    threads = _threads(emitter, x, units)
    emitter.add("recurrent", "rnn", (
        *_placed(x, kwargs), *_row(h0), _forward_panels(emitter, w, 1), address(bias[0]) if bias else 0,
        *_placed(y, kwargs), address(h), batch, count, units, _RELU[kwargs["nonlinearity"]],
        *_scratch(emitter, threads, batch, 2 * _up(units) + _up(units, WIDTH)),
    ), threads > 1)  # fmt: skip
    return True


@lowers(
    "rnn_scan_vjp",
    outputs=lambda args, kwargs: _gradients(args[2], args[4], args[3]),
    work=lambda args, kwargs: 4.0 * args[2].size * args[4].shape[0],
)
def rnn_scan_vjp(emitter: Emitter, outs: Sequence[Array], args: Args, kwargs: Kwargs) -> bool:
    """The gradients of x_gates, h0, w_hh and b_hh."""
    found = _readable(emitter, args)
    if found is None:
        return False
    g_y, g_h, y, h0, w = found
    dx, dh, dw, db = outs
    (batch, count), units = _extent(y, kwargs), w.shape[1]
    threads = _threads(emitter, dx, units)
    before = _states_before(emitter, y)
    emitter.add("recurrent", "rnn_back", (
        *_placed(g_y, kwargs), *_row(g_h), *_placed(y, kwargs), *_row(h0), _backward_panels(emitter, w),
        *_placed(dx, kwargs), address(dh), *_placed(before[0], kwargs), batch, count, units,
        _RELU[kwargs["nonlinearity"]], *_scratch(emitter, threads, batch, _up(units) + _up(units, WIDTH)),
    ), threads > 1)  # fmt: skip
    _weights(emitter, [_by_step(dx)], before, dw, db, threads)
    return True
