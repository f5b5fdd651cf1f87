"""The results of a case of the table on the active backend, and their comparison with PyTorch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from cases import Case

import nnatomy as nn

TOLERANCE = {"float64": 1e-11, "float32": 3e-5}


class Results(NamedTuple):
    """The outputs of Tensors, those of plain arrays, and the gradients of the inputs in a random direction."""

    outputs: list[Any]
    plain: list[Any]
    gradients: list[Any]


def listed(y: Any) -> list[Any]:
    return list(y) if isinstance(y, tuple | list) else [y]


def weights(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.random.default_rng(len(shape) + sum(shape)).normal(size=shape).astype(dtype)


def results(case: Case, arrays: list[Any]) -> Results:
    """`case` computed from arrays of the active backend."""
    ours = [nn.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    ys, plain = listed(case.ours(*ours)), listed(case.ours(*arrays))
    assert not any(isinstance(p, nn.Tensor) for p in plain), "plain arrays must give plain arrays"
    live = [y for y in ys if y.dtype.kind == "f"]
    found = nn.grad(live, ours, [weights(y.shape, y.dtype) for y in live]) if case.smooth else []
    return Results([y.data for y in ys], plain, [g.data for g in found])


def close(got: Any, expected: Any, dtype: str, what: str) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))) if expected.dtype.kind == "f" else 1.0
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale, err_msg=what)


def hold(case: Case, dtype: str, found: Results) -> None:
    """Compare values, types and gradients with PyTorch's."""
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in case.arrays(dtype)]
    zs = listed(case.theirs(*theirs))
    assert len(found.outputs) == len(zs)
    for i, (y, z, p) in enumerate(zip(found.outputs, zs, found.plain, strict=True)):
        close(y, z.detach().numpy(), dtype, f"output {i}")
        assert y.dtype.kind == np.dtype(z.detach().numpy().dtype).kind
        assert y.dtype.kind != "f" or y.dtype == dtype
        np.testing.assert_array_equal(np.asarray(p), np.asarray(y))
    if not case.smooth:
        return
    live = [z for y, z in zip(found.outputs, zs, strict=True) if y.dtype.kind == "f"]
    directions = [torch.tensor(weights(tuple(z.shape), dtype)) for z in live]
    expected = torch.autograd.grad(live, theirs, directions, allow_unused=True)
    for i, (g, e, x) in enumerate(zip(found.gradients, expected, theirs, strict=True)):
        assert g.dtype == dtype
        close(g, np.zeros(x.shape) if e is None else e.numpy(), dtype, f"gradient of input {i}")
