"""The spread of training values, by which they are standardized. Rounding errors are not a spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["deviation", "scale"]

Array = npt.NDArray[Any]


def deviation(values: Array, axis: int | tuple[int, ...] | None = 0) -> Array:
    """Return the standard deviation along an axis, NaN passed over; exactly 0 where all values are the same.

    n equal numbers have a computed variance above 0 where their mean is rounded: at most n eps var + (n eps mean)^2 (Chan,
    Golub and LeVeque 1983), which is 0 here, as it is in scikit-learn's scalers.
    """
    values = np.asarray(values, np.float64)
    gaps = bool(np.isnan(values).any())
    mean, found = (np.nanmean, np.nanstd) if gaps else (np.mean, np.std)
    std = np.asarray(found(values, axis=axis))
    n, eps = values.size // max(std.size, 1), np.finfo(np.float64).eps
    noise = n * eps * std**2 + (n * eps * np.asarray(mean(values, axis=axis))) ** 2
    return np.where(std**2 <= noise, 0.0, std)


def scale(values: Array, axis: int | tuple[int, ...] | None = 0) -> Array:
    """Return what values are divided by: their deviation, or 1 where they are all the same."""
    std = deviation(values, axis)
    return np.where(std > 0, std, 1.0)
