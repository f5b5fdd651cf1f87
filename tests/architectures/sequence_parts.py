"""What the tests of recurrent architectures share: lengths of a ragged batch, random numbers, and closeness in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy.tensor import Tensor

LENGTHS = np.array([6, 4, 1, 5])


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(np.random.default_rng(seed).normal(size=shape))


def close(a: Any, b: Any, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(a.data if isinstance(a, Tensor) else a), np.asarray(b), rtol=1e-10, atol=atol)
