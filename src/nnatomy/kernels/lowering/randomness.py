"""Random bits of a keyed counter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Array, Emitter, address, lowers
from nnatomy.kernels.processor import LANES

PARALLEL = 65_536
"""Words from which threads pay."""


@lowers("random_bits", outputs=lambda args, kwargs: [((int(args[2]),), np.uint32)], work=lambda args, kwargs: 30 * int(args[2]))
def random_bits(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """`count` words of the stream with this key from `counter` on; all but `count` may be arrays of one number."""
    (key, counter, count), out = args, outs[0]
    if kwargs or not count or not out.flags.c_contiguous or out.dtype != np.uint32:
        return False
    numbers = (key[0], key[1], counter)
    if any(isinstance(n, np.ndarray) and (n.size != 1 or n.dtype not in (np.int64, np.uint64, np.float64)) for n in numbers):
        return False
    places = []
    for number in numbers:
        if isinstance(number, np.ndarray) and number.dtype == np.float64:  # a plan's number, which is whole and below 2^53
            places.append(address(emitter.scratch(1, np.int64)))
            emitter.add("numbers", "whole", [address(number), places[-1]])
        elif isinstance(number, np.ndarray):
            places.append(address(number))
        else:
            places.append(address(emitter.constant([int(number)], np.uint64)))
    spare = emitter.scratch(2 * LANES)
    emitter.add("randomness", "random_bits", [address(out), *places, int(count), address(spare)], count > PARALLEL)
    return True


@lowers("less", outputs=lambda args, kwargs: [(np.shape(args[0]), np.bool_)], work=lambda args, kwargs: float(np.size(args[0])))
def less(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Return True where a random word is below a number (a mask). Other comparisons are pointwise."""
    (words, bound), out = args, outs[0]
    if not isinstance(words, np.ndarray) or words.dtype != np.uint32 or type(bound) is not int or not 0 <= bound < 2**32:
        return False
    if kwargs or not words.size or not words.flags.c_contiguous or not out.flags.c_contiguous or out.shape != words.shape:
        return False
    emitter.add("randomness", "below", [address(words), address(out), words.size, bound], words.size > PARALLEL)
    return True
