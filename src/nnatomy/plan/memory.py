"""Where a plan's arrays are: each buffer has a place in one arena from its first write to its last reading."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.kernels.machine import aligned

Array = np.ndarray[Any, Any]
LINE = 64  # bytes; buffers start on cache lines


@dataclass(eq=False)
class Buffer:
    """Memory of one array. `outline` has its shape and strides while nothing is allocated yet (its memory is never touched)."""

    outline: Array
    array: Array | None = None  # what it is in the end; given for what lives outside the arena
    first: int = -1  # the number of the call that writes it
    last: int = -1  # and of the last that reads it
    offset: int = 0
    over: Buffer | None = None  # whose memory it takes: a call reads the one and writes the other, place by place

    @property
    def nbytes(self) -> int:
        return -(-max(self.outline.nbytes, 1) // LINE) * LINE


@dataclass(eq=False)
class View:
    """An array inside a buffer: `outline` is a view of the buffer's outline."""

    buffer: Buffer
    outline: Array

    def array(self) -> Array:
        """The array itself, once the buffer has its place."""
        base = self.buffer.array
        assert base is not None
        if self.outline is self.buffer.outline:
            return base
        offset = address(self.outline) - address(self.buffer.outline)
        place = address(base) + offset
        owner = _Memory(place, self.outline, base)
        return np.asarray(owner)


class _Memory:
    """Memory at an address as an array, for as long as its owner lives."""

    def __init__(self, place: int, like: Array, owner: Array) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "version": 3, "data": (place, False), "shape": like.shape, "typestr": like.dtype.str, "strides": like.strides,
        }  # fmt: skip


def address(array: Array) -> int:
    """The address of an array's first element."""
    return int(array.__array_interface__["data"][0])


def outline(shape: tuple[int, ...], dtype: Any, order: tuple[int, ...] | None = None) -> Array:
    """An array for its shape and strides only, axes in memory in this order."""
    if order is None:
        return np.empty(shape, dtype)
    return np.empty([shape[i] for i in order], dtype).transpose([order.index(i) for i in range(len(shape))])


def arranged(buffers: list[Buffer]) -> Array:
    """Give every buffer without memory its place in one new arena: the first gap that is free during its life."""
    unplaced = [b for b in buffers if b.array is None]
    inside = [b for b in unplaced if b.over is None]
    placed: list[Buffer] = []
    total = 0
    for buffer in sorted(inside, key=lambda b: (-b.nbytes, b.first)):  # large ones first leave the smallest gaps
        taken = sorted(
            (p.offset, p.offset + p.nbytes) for p in placed if p.first <= buffer.last and buffer.first <= p.last
        )
        at = 0
        for start, end in taken:
            if start - at >= buffer.nbytes:
                break
            at = max(at, end)
        buffer.offset = at
        placed.append(buffer)
        total = max(total, at + buffer.nbytes)
    arena = aligned(max(total, 1), np.uint8)
    for buffer in unplaced:  # in the order of their calls: what one is written over has its place already
        buffer.offset = buffer.offset if buffer.over is None else buffer.over.offset
        order = sorted(range(buffer.outline.ndim), key=lambda i: (-buffer.outline.strides[i], i))
        size = math.prod(buffer.outline.shape)
        flat = arena[buffer.offset : buffer.offset + size * buffer.outline.itemsize].view(buffer.outline.dtype)
        shaped = flat.reshape([buffer.outline.shape[i] for i in order])
        buffer.array = shaped.transpose([order.index(i) for i in range(buffer.outline.ndim)])
    return arena
