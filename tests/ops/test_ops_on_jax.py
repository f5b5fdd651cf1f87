"""The table of operations on the JAX backend: every case compiled, one of each operation call by call."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from cases import Case, cases
from holding import Results, hold, results
from hypothesis import given, settings
from test_ops import WRONG
from test_properties import indexed, values

import nnatomy as nn
from nnatomy.backends import B

jax = pytest.importorskip("jax", reason="the jax extra is not installed")
pytestmark = pytest.mark.any_kernels

TOGETHER = 25
"""So many cases are compiled as one program: it takes a fraction of the time."""
first_of_each = list({case.name.split("-")[1].split()[0]: case for case in reversed(cases)}.values())


@cache
def compiled(group: int, dtype: str) -> dict[str, Results | Exception]:
    """Return the results of a group's cases in one program, or the exception that tracing a case raised."""
    members = cases[group * TOGETHER : (group + 1) * TOGETHER]
    raised: dict[str, Exception] = {}

    def program(inputs: list[Any]) -> dict[str, Results]:
        found = {}
        for case, arrays in zip(members, inputs, strict=True):
            try:
                found[case.name] = results(case, arrays)
            except Exception as error:
                raised[case.name] = error
        return found

    with nn.backend("jax"):
        return raised | jax.device_get(jax.jit(program)([case.arrays(dtype) for case in members]))


@pytest.mark.parametrize("case", cases, ids=lambda c: c.name)
def test_compiled(case: Case) -> None:
    found = compiled(cases.index(case) // TOGETHER, "float64")[case.name]
    if any(name in case.name for name in ("nonzero", "argwhere", "unique", "bincount")):  # their shapes depend on values
        assert isinstance(found, jax.errors.ConcretizationTypeError | jax.errors.NonConcreteBooleanIndexError | nn.UserError)
        return
    if isinstance(found, Exception):
        raise found
    hold(case, "float64", found)


@pytest.mark.parametrize("case", first_of_each, ids=lambda c: c.name)
def test_call_by_call(case: Case) -> None:
    with nn.backend("jax"):
        hold(case, "float32", results(case, [B.asarray(a) for a in case.arrays("float32")]))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(indexed())
def test_indexing(drawn: tuple[tuple[int, ...], Any]) -> None:
    """Any index that NumPy takes: reading, its gradient, and writing."""
    shape, index = drawn
    a = values(shape)
    with nn.backend("jax"):
        x = nn.tensor(a, requires_grad=True)
        y = x[index]
        np.testing.assert_array_equal(y.numpy(), a[index])
        weights = values(y.shape, 1)
        y.backward(weights)
        expected = np.zeros(shape)
        np.add.at(expected, index, weights)
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-12)
        written = a.copy()
        written[index] = 7.0
        with nn.no_grad():
            x[index] = 7.0
        np.testing.assert_array_equal(x.numpy(), written)


@pytest.mark.parametrize("rule,call", WRONG, ids=[rule for rule, _ in WRONG])
def test_wrong_use_is_explained(rule: str, call: Any) -> None:
    with nn.backend("jax"), pytest.raises(nn.UserError, match=rule):
        call(nn.tensor(np.arange(6.0).reshape(2, 3), dtype="float32"))
