"""Softmax, its logarithm, and the cross-entropy of class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Array, Emitter, Shape, address, lowers, steps
from nnatomy.kernels.lowering.normalization import PARALLEL, merged, readable, rows_of, work


def _axis(kwargs: dict[str, Any], ndim: int) -> int:
    return int(kwargs["axis"]) % ndim


def _same(which: int) -> Any:
    """Outputs shaped as an argument."""
    return lambda args, kwargs: [(args[which].shape, args[which].dtype)]


def _axis_last(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[int, ...] | None]:
    """The softmax's axis is innermost."""
    ndim = args[0].ndim
    axis = _axis(kwargs, ndim)
    return [(*(i for i in range(ndim) if i != axis), axis)]


def _rows(kernel: str, logarithm: bool) -> Any:
    """The lowering of a kernel on rows of inputs and of a result of one shape."""

    def emit(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
        if not readable(*args):
            return False
        axis = _axis(kwargs, args[0].ndim)
        y = np.moveaxis(outs[0], axis, -1)
        y_step = merged(y, range(y.ndim - 1))
        if y_step is None or (y.strides[-1] != y.itemsize and y.shape[-1] > 1):
            return False
        arguments = [y.size // y.shape[-1], y.shape[-1]]
        for x in args:
            x, step = rows_of(emitter, np.moveaxis(x, axis, -1))
            arguments += [address(x), step]
        emitter.add("losses", kernel, [*arguments, address(y), y_step, logarithm], y.size > PARALLEL // 4)
        return True

    return emit


lowers("softmax", outputs=_same(0), work=work, order=_axis_last)(_rows("softmax", False))
lowers("log_softmax", outputs=_same(0), work=work, order=_axis_last)(_rows("softmax", True))
lowers("softmax_vjp", outputs=_same(1), work=work, order=_axis_last)(_rows("softmax_vjp", False))
lowers("log_softmax_vjp", outputs=_same(1), work=work, order=_axis_last)(_rows("softmax_vjp", True))


def _numbers(labels: Any) -> bool:
    """Return True if kernels can read them as class numbers."""
    return isinstance(labels, np.ndarray) and labels.dtype in (np.int64, np.int32) and labels.strides[0] % labels.itemsize == 0


def _entropy_outputs(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    return [((args[0].shape[0],), args[0].dtype)] * 2


@lowers("softmax_cross_entropy", outputs=_entropy_outputs, work=work)
def softmax_cross_entropy(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Losses and logarithms of sums of x (n, classes), labels (n)."""
    x, labels = args
    if not readable(x) or not _numbers(labels) or not all(out.flags.c_contiguous for out in outs):
        return False
    rows, classes = x.shape
    x, step = rows_of(emitter, x)
    arguments = [
        rows, classes, address(x), step, address(labels), *steps(labels), labels.itemsize == 8, address(outs[0]),
        address(outs[1]), address(emitter.scratch(rows)),
    ]  # fmt: skip
    emitter.add("losses", "cross_entropy", arguments, x.size > PARALLEL // 4)
    return True


@lowers("softmax_cross_entropy_vjp", outputs=_same(1), work=work)
def softmax_cross_entropy_vjp(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """dx of g (n), x (n, classes), labels (n), lse (n)."""
    g, x, labels, lse = args
    dx = outs[0]
    if not readable(g, x, lse) or not _numbers(labels) or not dx.flags.c_contiguous:
        return False
    rows, classes = x.shape
    x, step = rows_of(emitter, x)
    arguments = [
        rows, classes, address(g), *steps(g), address(x), step, address(labels), *steps(labels), labels.itemsize == 8,
        address(lse), *steps(lse), address(dx), classes,
    ]  # fmt: skip
    emitter.add("losses", "cross_entropy_vjp", arguments, x.size > PARALLEL // 4)
    return True
