"""The sizes of attention's blocks, for its kernels and for what gives them memory."""

from __future__ import annotations

import math

from nnatomy.kernels.processor import LANES, ROWS

PANEL = 2 * LANES
_UNIT = math.lcm(PANEL, ROWS)
KEYS = max(128 // _UNIT, 1) * _UNIT
"""Keys of a block: whole panels, and whole tiles where keys are rows of a result."""
QUERIES = 64 // ROWS * ROWS
STEP = KEYS + LANES
"""The row stride of a block of scores: with a power of two, rows would fall into few sets of the cache."""
