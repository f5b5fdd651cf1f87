"""Random bits of a keyed counter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.backends.fast.lowering import Array, Emitter, address, lowers
from nnatomy.backends.fast.processor import LANES

PARALLEL = 65_536
"""Words from which threads pay."""


@lowers("random_bits", outputs=lambda args, kwargs: [((int(args[2]),), np.uint32)], work=lambda args, kwargs: 30 * int(args[2]))
def random_bits(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """`count` words of the stream with this key from `counter` on; all but `count` may be arrays of one 64-bit integer."""
    (key, counter, count), out = args, outs[0]
    if kwargs or not count or not out.flags.c_contiguous or out.dtype != np.uint32:
        return False
    places = []
    for number in (key[0], key[1], counter):
        if isinstance(number, np.ndarray):
            if number.size != 1 or number.dtype not in (np.int64, np.uint64):
                return False
            places.append(address(number))
        else:
            places.append(address(emitter.constant([int(number)], np.uint64)))
    spare = emitter.scratch(2 * LANES)
    emitter.add("randomness", "random_bits", [address(out), *places, int(count), address(spare)], count > PARALLEL)
    return True
