"""The generator: known values, moments, distributions, state, splitting, and the arguments that it refuses."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from scipy import stats

import nnatomy as nn
from nnatomy.backends import B

KNOWN = [  # (counter, key, result), the vectors that Random123 publishes for threefry2x32 with 20 rounds
    (0x00000000_00000000, (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    (0xFFFFFFFF_FFFFFFFF, (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    (0x243F6A88_85A308D3, (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize("counter,key,answer", KNOWN)
def test_threefry(counter: int, key: tuple[int, int], answer: tuple[int, int]) -> None:
    assert tuple(int(w) for w in B.random_bits(key, counter, 2)) == answer


def test_blocks_follow_the_counter() -> None:
    whole = B.random_bits((1, 2), 0, 20)
    assert np.array_equal(B.random_bits((1, 2), 4, 12), whole[8:])
    assert np.array_equal(B.random_bits((1, 2), 0, 7), whole[:7])
    across = B.random_bits((1, 2), 2**32 - 1, 4)  # the counter's lower word overflows
    assert np.array_equal(across[2:], B.random_bits((1, 2), 2**32, 2))


def test_same_numbers_on_every_machine() -> None:
    g = nn.Generator(42)
    assert g.integers(0, 1000, (4,)).tolist() == nn.Generator(42).integers(0, 1000, (4,)).tolist()
    assert nn.Generator(0).bits(2).tolist() == [0x6B200159, 0x99BA4EFE]
    assert nn.Generator(1).bits(4).tolist() != nn.Generator(0).bits(4).tolist()
    assert nn.Generator(2**63).bits(2).tolist() != nn.Generator(0).bits(2).tolist()


def test_distributions() -> None:
    n = 40_000
    g = nn.Generator(3)
    for dtype in ("float32", "float64"):
        assert stats.kstest(g.uniform(n, dtype=dtype), "uniform").pvalue > 1e-3
        assert stats.kstest(g.uniform(n, -2, 3, dtype=dtype), "uniform", args=(-2, 5)).pvalue > 1e-3
        assert stats.kstest(g.normal(n, 1.0, 2.0, dtype=dtype), "norm", args=(1, 2)).pvalue > 1e-3
        cut = g.truncated_normal(n, 0.0, 1.0, -1.0, 2.0, dtype=dtype)
        assert stats.kstest(cut, "truncnorm", args=(-1, 2)).pvalue > 1e-3
        assert cut.dtype == dtype
    assert g.uniform(n, dtype="float64").std() == pytest.approx(12**-0.5, rel=0.02)
    assert len(np.unique(g.uniform(n, dtype="float64"))) == n
    whole = g.integers(-3, 7, (n,))
    assert stats.chisquare(np.bincount(whole + 3, minlength=10)).pvalue > 1e-3
    for p in (0.0, 0.3, 1.0):
        assert abs(g.bernoulli((n,), p).mean() - p) <= 4 * (p * (1 - p) / n) ** 0.5
    z = g.normal((2, n // 2), dtype="float64")
    assert abs(np.corrcoef(z)[0, 1]) < 0.03
    assert abs(stats.skew(z.ravel())) < 0.05
    assert abs(stats.kurtosis(z.ravel())) < 0.1


def test_shapes_and_types() -> None:
    g = nn.Generator(0)
    assert g.uniform().shape == ()
    assert g.normal((2, 3)).shape == (2, 3)
    assert g.normal(3).dtype == np.float32
    assert g.uniform((0, 2)).shape == (0, 2)
    assert g.integers(0, 2, ()).shape == ()
    assert g.permutation(0).tolist() == []
    assert nn.rand(2, 3).shape == nn.randn((2, 3)).shape == (2, 3)
    assert nn.randn(2, requires_grad=True).requires_grad
    assert nn.randint(0, 5, (3,)).dtype == np.int64
    assert sorted(nn.randperm(5).tolist()) == [0, 1, 2, 3, 4]


def test_permutations_are_uniform() -> None:
    g = nn.Generator(5)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(3000):
        p = tuple(g.permutation(3).tolist())
        counts[p] = counts.get(p, 0) + 1
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
    assert sorted(g.permutation(1000)) == list(range(1000))


def test_state_is_saved_and_restored() -> None:
    g = nn.Generator(7)
    g.normal((5,))
    state = g.state_dict()
    ahead = [g.normal((3,)).tolist(), g.permutation(5).tolist()]
    other = nn.Generator(0)
    other.load_state_dict(state)
    assert [other.normal((3,)).tolist(), other.permutation(5).tolist()] == ahead
    assert all(isinstance(n, int) for values in state.values() for n in values)


def test_seed_restarts_the_default() -> None:
    nn.seed(11)
    first = nn.randn(4).tolist()
    nn.seed(11)
    assert nn.randn(4).tolist() == first
    assert nn.randn(4, generator=nn.Generator(11)).tolist() == first


def test_split_streams_are_independent() -> None:
    parent = nn.Generator(1)
    children = parent.split(3)
    streams = np.array([c.normal((20_000,), dtype="float64") for c in (parent, *children)])
    correlation = np.corrcoef(streams)
    assert np.abs(correlation - np.eye(4)).max() < 0.03
    again = nn.Generator(1).split(3)
    assert [c.key for c in again] == [c.key for c in children]


WRONG = [
    ("A seed", lambda g: nn.Generator(-1)), ("A seed", lambda g: nn.Generator(2**64)), ("A seed", lambda g: nn.Generator(1.5)),
    ("A seed", lambda g: nn.seed("a")), ("A seed", lambda g: nn.Generator(True)), ("A shape", lambda g: g.uniform((-1,))),
    ("A shape", lambda g: g.normal((2.5,))), ("A shape", lambda g: nn.rand(-2)), ("A shape", lambda g: g.permutation(-1)),
    ("low < high", lambda g: g.integers(3, 3)), ("probability", lambda g: g.bernoulli((2,), 1.5)),
    ("std", lambda g: g.normal(2, 0, -1)),
    ("probability", lambda g: g.bernoulli((2,), float("nan"))), ("low < high", lambda g: g.truncated_normal(2, low=1, high=1)),
]  # fmt: skip


@pytest.mark.parametrize("rule,call", WRONG)
def test_refusals(rule: str, call: Any) -> None:
    with pytest.raises(nn.UserError, match=rule):
        call(nn.Generator(0))


def test_speed_is_sane() -> None:
    g = nn.Generator(0)
    start = time.perf_counter()
    g.normal((1_000_000,))
    assert time.perf_counter() - start < 2.0
