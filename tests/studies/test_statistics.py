"""The statistics equal independent computations with SciPy, and behave at their edges."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from nnatomy.studies.statistics import corrected_t_test, holm, variance_components

pytestmark = pytest.mark.any_kernels


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_the_corrected_t_test_is_scipys_paired_test_with_a_wider_error(folds: int) -> None:
    rng = np.random.default_rng(folds)
    a, b = rng.normal(0.9, 0.02, folds), rng.normal(0.88, 0.03, folds)
    ratio = 1 / (folds - 1)
    found = corrected_t_test(a - b, ratio)
    plain = stats.ttest_rel(a, b)
    t = plain.statistic / math.sqrt(1 + folds * ratio)
    assert found.t == pytest.approx(t, rel=1e-12)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), folds - 1), rel=1e-10)
    low, high = stats.t.interval(0.95, folds - 1, loc=np.mean(a - b), scale=np.mean(a - b) / t)
    assert sorted((found.low, found.high)) == pytest.approx(sorted((low, high)), rel=1e-10)
    assert corrected_t_test(a - b, 0.0).p == pytest.approx(plain.pvalue, rel=1e-10)


def test_equal_differences_are_no_evidence() -> None:
    assert corrected_t_test(np.zeros(4), 0.3).p == 1.0
    assert math.isnan(corrected_t_test(np.full(4, 0.02), 0.3).p)


def test_holm_is_the_closed_test_by_bonferroni() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = list(rng.uniform(0, 0.2, 5))
        closed = [
            max(min(1.0, len(group) * min(p[j] for j in group))
                for size in range(1, 6) for group in itertools.combinations(range(5), size) if i in group)
            for i in range(5)
        ]  # fmt: skip
        assert holm(p) == pytest.approx(closed, rel=1e-12)


def test_holm_counts_what_cannot_be_tested() -> None:
    found = holm([0.02, math.nan, 0.9])
    assert found[0] == pytest.approx(0.06)
    assert math.isnan(found[1])


def test_variance_components_are_those_of_the_f_test() -> None:
    table = np.random.default_rng(1).normal(size=(6, 4)) * 0.3 + np.random.default_rng(2).normal(size=(6, 1))
    split, seed = variance_components(table)
    assert seed == pytest.approx(np.mean([stats.tvar(row) for row in table]))
    f = stats.f_oneway(*table).statistic
    assert split == pytest.approx((f - 1) * seed / 4)


def test_variance_components_find_what_was_put_in() -> None:
    rng = np.random.default_rng(3)
    table = 0.9 + rng.normal(0, 0.04, (4000, 1)) + rng.normal(0, 0.01, (4000, 3))
    split, seed = variance_components(table)
    assert seed is not None
    assert math.sqrt(split) == pytest.approx(0.04, rel=0.05)
    assert math.sqrt(seed) == pytest.approx(0.01, rel=0.05)
    assert variance_components(np.array([[1.0, 1.1]] * 3))[0] == 0.0  # never negative
    assert variance_components(table[:, :1])[1] is None
