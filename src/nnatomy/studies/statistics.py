"""The uncertainty of a comparison: variance of seeds and of splits, paired tests on folds, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
LEVEL = 0.05
"""Differences with a corrected p below this are called shown; intervals hold 1 - LEVEL."""


def variance_components(scores: Array) -> tuple[float, float | None]:
    """Return (variance of splits, variance of seeds) of scores[folds, seeds], by analysis of variance.

    One-way random effects, method of moments (Searle, Casella and McCulloch 1992, section 3.6): with S seeds in each fold,
    seed = MS_within, split = max(0, (MS_between - MS_within) / S). With one seed the variance of the folds holds
    both, and the second is None.
    """
    seeds = scores.shape[1]
    between = float(seeds * np.var(scores.mean(axis=1), ddof=1))
    if seeds == 1:
        return between, None
    within = float(np.var(scores, axis=1, ddof=1).mean())
    return max(0.0, (between - within) / seeds), within


@dataclass(frozen=True)
class Difference:
    """A mean difference of paired scores; `p` is NaN where all differences are the same, which no t-test can judge."""

    mean: float
    t: float
    p: float
    low: float
    high: float


def corrected_t_test(differences: Array, test_over_train: float) -> Difference:
    """Return the corrected resampled t-test of differences[folds] (Nadeau and Bengio 2003, section 5).

    t = mean / sqrt((1 / K + test_over_train) var) with K - 1 degrees of freedom, two-sided. The second term corrects for
    the training rows that folds share; `test_over_train` is the size of a test part over that of the rest. The interval is
    for this difference alone, uncorrected for other comparisons.
    """
    from scipy.special import stdtr, stdtrit

    k = len(differences)
    mean, variance = float(np.mean(differences)), float(np.var(differences, ddof=1))
    if variance <= 1e-18 * max(1.0, mean**2):
        return Difference(mean, 0.0, 1.0, 0.0, 0.0) if abs(mean) < 1e-12 else Difference(mean, math.nan, math.nan, mean, mean)
    error = math.sqrt((1 / k + test_over_train) * variance)
    reach = float(stdtrit(k - 1, 1 - LEVEL / 2)) * error
    t = mean / error
    return Difference(mean, t, float(2 * stdtr(k - 1, -abs(t))), mean - reach, mean + reach)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down rule (1979); NaN counts as 1 and stays NaN.

    In ascending order, p_(i) becomes the largest of min(1, (m - j) p_(j)) for j up to i, counted from 0.
    """
    values = np.where(np.isnan(p), 1.0, np.asarray(p, dtype=float))
    order = np.argsort(values, kind="stable")
    raised = np.minimum(1.0, np.maximum.accumulate((len(values) - np.arange(len(values))) * values[order]))
    corrected = np.empty(len(values))
    corrected[order] = raised
    return [math.nan if math.isnan(was) else float(now) for was, now in zip(p, corrected, strict=True)]
