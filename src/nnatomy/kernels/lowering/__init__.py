"""From array functions to kernels: for each function of the seam that has a kernel, how a call becomes instructions.

A lowering sees arrays whose addresses, shapes, strides and types count, not their contents: a plan lowers before it runs. It
returns False for what its kernel does not do (another type, layout or option); the reference does it then.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnatomy.kernels.machine import Outline, Program, aligned, get_num_threads

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

SUBJECTS = ("products", "convolution", "pointwise", "reductions", "copies", "indexing", "normalization", "losses", "attention",
            "recurrent", "randomness", "writing")  # fmt: skip
"""The modules of this folder."""


@dataclass(frozen=True)
class Lowering:
    """The lowering of one function of the seam to kernels."""

    emit: Callable[[Emitter, Sequence[Array], Sequence[Any], dict[str, Any]], bool]
    """(emitter, outputs, args, kwargs): appends the instructions that compute the outputs; False if it cannot."""
    outputs: Callable[[Sequence[Any], dict[str, Any]], list[tuple[Shape, Any]]]
    """(args, kwargs): shape and dtype of each output."""
    work: Callable[[Sequence[Any], dict[str, Any]], float]
    """(args, kwargs): floating-point operations, roughly: what a call is worth."""
    order: Callable[[Sequence[Any], dict[str, Any]], list[tuple[int, ...] | None]] | None = None
    """(args, kwargs): for each output the order of its axes in memory, outermost first; None is C order."""
    over: Mapping[int, int] = field(default_factory=dict)
    """By output, the argument in whose memory it may be: each place of it is read before it is written, and not again."""


LOWERINGS: dict[str, Lowering] = {}
_loaded = False


def find(name: str) -> Lowering | None:
    """The lowering of a function, or None."""
    global _loaded
    if not _loaded:
        _loaded = True
        for subject in SUBJECTS:
            importlib.import_module(f"{__name__}.{subject}")
    return LOWERINGS.get(name)


def lowers(
    name: str, *, outputs: Any, work: Any, order: Any = None, over: Mapping[int, int] | None = None
) -> Callable[[Any], Any]:
    """Register the decorated function as the lowering of `name`."""

    def decorate(emit: Any) -> Any:
        LOWERINGS[name] = Lowering(emit, outputs, work, order, over or {})
        return emit

    return decorate


class Emitter:
    """Appends instructions to a program, and gives them memory to work in."""

    def __init__(self, program: Program | Outline, threads: int | None = None) -> None:
        self.program = program
        self.threads = get_num_threads() if threads is None else threads
        self._scratch: dict[int, Array] = {}  # by size in cache lines; free again for the next call

    def add(self, module: str, name: str, arguments: Sequence[int], parallel: bool = False) -> None:
        """One kernel. `parallel`: on all threads, each with its part of the work; use it where the work is above some 10 us."""
        self.program.add(module, name, arguments, parallel and self.threads > 1)

    def scratch(self, count: int, dtype: Any = np.float32) -> Array:
        """Memory for this call's instructions: its contents are arbitrary at first, and gone after them."""
        array = aligned(count, dtype)
        self.program.keep(array)
        return array

    def constant(self, values: Any, dtype: Any = None) -> Array:
        """An array that keeps its values, such as a table."""
        source = np.ascontiguousarray(values, dtype)
        array = aligned(source.size, source.dtype)
        array[:] = source.reshape(-1)
        self.program.keep(array)
        return array


def allocate(shape: Shape, dtype: Any, order: tuple[int, ...] | None = None) -> Array:
    """An aligned array of uninitialized values whose axes are stored in this order."""
    flat = aligned(math.prod(shape), dtype)
    if order is None:
        return flat.reshape(shape)
    return flat.reshape([shape[i] for i in order]).transpose([order.index(i) for i in range(len(shape))])


def address(array: Array) -> int:
    """The address of an array's first element."""
    return int(array.__array_interface__["data"][0])


def steps(array: Array) -> tuple[int, ...]:
    """Strides in elements."""
    return tuple(s // array.itemsize for s in array.strides)
