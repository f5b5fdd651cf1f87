"""Every line of the operations' table compiled is what it is eagerly: last, in the middle, differentiated, on plain arrays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.backends import kernels

sys.path.append(str(Path(__file__).parents[1] / "ops"))
from cases import Case, cases
from holding import listed, weights

BY_VALUES = ("nonzero", "argwhere", "unique", "bincount-6")
"""Operations whose results' shapes depend on values: they run as they are."""
TOLERANCE = {"float64": 1e-11, "float32": 2e-5}
first_of_each = list({case.name.split("-")[1].split()[0]: case for case in reversed(cases)}.values())


def all_of(case: Case, dtype: str) -> Any:
    """A function of the case's arrays: its outputs, what follows from them, outputs of plain arrays, and gradients."""

    def function(*arrays: Any) -> Any:
        ours = [nn.Tensor(a, requires_grad=np.dtype(a.dtype).kind == "f") for a in arrays]
        ys, plain = listed(case.ours(*ours)), listed(case.ours(*arrays))
        live = [y for y in ys if np.dtype(y.dtype).kind == "f"]
        middle = [(y * 2.0).sum() + y.reshape(-1)[:1].sum() for y in live]
        found = nn.grad(live, ours, [weights(y.shape, dtype) for y in live]) if case.smooth else []
        return {
            "outputs": [y.detach() for y in ys], "plain": list(plain), "middle": [m.detach() for m in middle],
            "gradients": [None if g is None else g.detach() for g in found],
        }  # fmt: skip

    return function


def hold(found: Any, expected: Any, tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert len(found[name]) == len(expected[name])
        for i, (a, b) in enumerate(zip(found[name], expected[name], strict=True)):
            if b is None:
                assert a is None
                continue
            assert isinstance(a, nn.Tensor) == isinstance(b, nn.Tensor)
            a, b = np.asarray(a), np.asarray(b)
            assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{name} {i}"
            scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0))) if b.dtype.kind == "f" else 1.0
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=f"{name} {i}")


def check(case: Case, dtype: str) -> None:
    arrays, other = ([np.asarray(a) for a in made] for made in (case.arrays(dtype), case.arrays(dtype)))
    function = all_of(case, dtype)
    compiled = nn.compile(function, warn=False)
    found = compiled(*arrays)
    if any(name in case.name for name in BY_VALUES):
        assert compiled.reason is not None
    else:
        assert compiled.reason is None
    hold(found, function(*arrays), TOLERANCE[dtype])
    for a in other:
        a[...] = np.flip(a)
    hold(compiled(*other), function(*other), TOLERANCE[dtype])  # the same plan on other values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", cases, ids=lambda c: c.name)
def test_planned(case: Case, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernels() == "reference":
        monkeypatch.setenv("NNATOMY_KERNELS", "auto")
    with np.errstate(all="ignore"):
        check(case, dtype)


@pytest.mark.any_kernels
@pytest.mark.parametrize("case", first_of_each, ids=lambda c: c.name)
def test_on_jax(case: Case) -> None:
    pytest.importorskip("jax", reason="the jax extra is not installed")
    with nn.backend("jax"):
        check(case, "float64")
