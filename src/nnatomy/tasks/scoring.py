"""Common parts of several tasks: scoring and sorting of examples."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nnatomy.data.dataset import Preprocessing
from nnatomy.tasks.parts import Coloring, Score

Array = np.ndarray[Any, Any]


def quietly(function: Any, *args: Any) -> Any:
    """Return function(*args) without warnings about what a small split lacks; the score is NaN then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*args)


def apart(order: Array, steps: int, most: int = 24) -> Array:
    """Return up to `most` window numbers of `order`, without those less than `steps` from an earlier one."""
    kept: list[int] = []
    for i in order:
        if all(abs(int(i) - k) >= steps for k in kept):
            kept.append(int(i))
        if len(kept) == most:
            break
    return np.array(kept)


def mean_in_units(preprocessing: Preprocessing, outputs: Array, targets: Array, what: str) -> Score:
    """Return the mean of the outputs as a score, in the units of the targets of one example."""
    at = [preprocessing.inverse_targets(np.full(np.shape(targets), v)).reshape(-1)[0] for v in (0.0, 1.0)]
    factor, shift = float(at[1] - at[0]), float(at[0])  # units are an affine change of standardized values
    value, true = outputs.mean() * factor + shift, float(np.mean(targets[0])) * factor + shift
    return Score(
        lambda out, x: out.reshape(out.shape[0], -1).mean(axis=1) * factor + shift, f"{what} {value:.4g} (true {true:.4g})"
    )


def true_values(preprocessing: Preprocessing, targets: Array) -> Coloring:
    """Return the mean of each example's targets, in their own units, as its color."""
    values = preprocessing.inverse_targets(targets.astype(np.float64)).reshape(len(targets), -1)
    return Coloring("the true value" if values.shape[1] == 1 else "the mean of the true values", values.mean(axis=1))
