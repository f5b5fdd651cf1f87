"""Small tables made on the spot for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def table_text(n: int = 60, seed: int = 0, **columns: Sequence[object]) -> str:
    """Return a CSV with two numeric inputs, a categorical one and the columns given."""
    rng = np.random.default_rng(seed)
    first = {
        "a": [f"{v:.4f}" for v in rng.normal(size=n)],
        "b": [f"{v:.4f}" for v in rng.normal(size=n)],
        "colour": [("red", "green", "blue")[int(k)] for k in rng.integers(0, 3, n)],
    }
    everything = {**first, **columns}
    rows = zip(*everything.values(), strict=True)
    return "\n".join([",".join(everything), *(",".join(map(str, row)) for row in rows)]) + "\n"
