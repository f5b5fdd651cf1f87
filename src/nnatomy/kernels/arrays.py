"""One call of a kernel on NumPy arrays, for code that runs eagerly."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Emitter, allocate, find
from nnatomy.kernels.machine import Program

WORTH = 1e9
"""Floating-point operations from which a single call is worth its preparation, and the first a compilation."""


def call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], worth: float = WORTH) -> Any:
    """The result of a function of the seam by its kernel, or None where it has none for these arguments."""
    lowering = find(name)
    if lowering is None or not any(isinstance(a, np.ndarray) and a.dtype == np.float32 for a in args):
        return None
    if lowering.work(args, kwargs) < worth:
        return None
    orders = lowering.order(args, kwargs) if lowering.order is not None else None
    kinds = lowering.outputs(args, kwargs)
    outs = [allocate(shape, dtype, None if orders is None else orders[i]) for i, (shape, dtype) in enumerate(kinds)]
    program = Program()
    if not lowering.emit(Emitter(program), outs, args, kwargs):
        return None
    program.run()
    return outs[0] if len(outs) == 1 else tuple(outs)
