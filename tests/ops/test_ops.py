"""Every case of the table: values and gradients against PyTorch and central differences, dtypes, plain arrays."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from cases import Case, cases
from holding import hold, listed, results

import nnatomy as nn
from nnatomy import ops
from nnatomy.ops.primitive import Primitive


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", cases, ids=lambda c: c.name)
def test_equals_pytorch(case: Case, dtype: str) -> None:
    hold(case, dtype, results(case, case.arrays(dtype)))


@pytest.mark.parametrize("case", [c for c in cases if c.order], ids=lambda c: c.name)
def test_equals_central_differences(case: Case) -> None:
    def f(*args: Any) -> Any:
        flat = [y.reshape(-1) for y in listed(case.ours(*args)) if y.dtype.kind == "f"]
        return nn.cat(flat) if len(flat) > 1 else flat[0]

    nn.check_gradients(f, case.arrays("float64"), order=case.order, tolerance=case.tolerance)


def test_one_hot() -> None:
    rows = np.array([[2, 0], [1, 1]])
    expected = torch.nn.functional.one_hot(torch.tensor(rows), 4).numpy()
    np.testing.assert_array_equal(nn.one_hot(nn.tensor(rows), 4).numpy(), expected)
    assert nn.one_hot(rows, 4).dtype == np.float32
    assert not isinstance(nn.one_hot(rows, 4), nn.Tensor)


MODULES = [importlib.import_module(f"nnatomy.ops.{n}")
           for n in ("pointwise", "reductions", "shapes", "linear", "indexing", "convolution", "creation", "matrices",
                     "counting")]  # fmt: skip
convolution, indexing = MODULES[5], MODULES[4]
HOW = {"kernel": (2,), "stride": (1,), "padding": ((1, 0),)}
CONV = {"stride": (1,), "padding": ((1, 0),), "dilation": (1,), "groups": 1}
position = np.array([[[0, 1, 1, 0]]])
adjoints: dict[str, Any] = {  # derivatives that are primitives themselves: (the call, shapes of its inputs)
    "pool_scatter": (lambda g: convolution._pool_scatter(g, position=position, space=(4,), dilation=(1,), **HOW), [(1, 1, 4)]),
    "pool_gather": (lambda x: convolution._pool_gather(x, position=position, dilation=(1,), **HOW), [(1, 1, 4)]),
    "sum_pool_input": (lambda g: convolution._sum_pool_input(g, space=(4,), **HOW), [(1, 1, 4)]),
    "cofactor": (lambda a: nn.linalg._cofactor(a), [(3, 3)]),
    "conv_weight": (lambda x, g: convolution._conv_weight(x, g, kernel=(2,), **CONV), [(1, 2, 4), (1, 3, 4)]),
}


@pytest.mark.parametrize("name", adjoints)
def test_adjoint(name: str) -> None:
    call, shapes = adjoints[name]
    rng = np.random.default_rng(0)
    nn.check_gradients(lambda *a: nn.square(call(*a)), [rng.normal(size=s) for s in shapes], order=2)


def test_every_differentiable_primitive_has_a_case() -> None:
    found = (getattr(f, "primitive", None) for m in (*MODULES, nn.linalg) for f in vars(m).values())
    known = {p.name for p in found if isinstance(p, Primitive) and (p.vjps or p.joint)}
    walked: set[str] = set()
    for case in cases:
        if not case.smooth:
            continue
        ours = [nn.tensor(a, requires_grad=a.dtype.kind == "f") for a in case.arrays("float64")]
        stack = [y.node for y in listed(case.ours(*ours)) if y.node]
        while stack:
            node = stack.pop()
            walked.add(node.primitive.name)
            stack += [p.node for p in node.parents() if p.node]
    assert known - walked == set(adjoints)


def test_all_public_operations_are_listed() -> None:
    public = {
        name
        for m in MODULES
        for name, f in vars(m).items()
        if callable(f) and getattr(f, "__module__", "") == m.__name__ and not name.startswith("_")
    }
    assert public - set(ops.__all__) == {
        "add_rows", "for_each", "is_number", "place", "plain", "raw", "real", "Ranked", "sizes", "two_meanings", "with_an_axis",
    }  # fmt: skip
    assert all(hasattr(nn, name) for name in ops.__all__)
    found = {name for name, f in vars(nn.linalg).items() if getattr(f, "__module__", "") == nn.linalg.__name__}
    results = {"EighResult", "LstsqResult", "QrResult", "SlogdetResult", "SvdResult"}
    assert {name for name in found if not name.startswith("_")} == {*nn.linalg.__all__, *results}


WRONG: list[tuple[str, Any]] = [
    ("axis 2 is out of bounds", lambda x: x.sum(2)),
    ("axes -2 to 1. Received -3", lambda x: x.swapaxes(0, -3)),
    ("axis 5 is out of bounds", lambda x: x.mean(5)),
    ("matmul.*shape \\(2, 3\\), shape \\(2, 3\\)", lambda x: x @ x),
    ("add.*shape \\(2, 3\\), shape \\(2, 2\\)", lambda x: x + x[:, :2]),
    ("reshape", lambda x: x.reshape(4, 2)),
    ("add up", lambda x: nn.split(x, [1, 1], 1)),
    ("0 <= k <= 3", lambda x: x.topk(4)),
    ("linear\\(\\) needs inputs", lambda x: nn.linear(x, nn.zeros(2, 4))),
    ("has one length. Received 2 and 3", lambda x: nn.einsum("ii", x)),
    ("one operand for each", lambda x: nn.einsum("ij,jk", x)),
    ("2-D convolution needs", lambda x: nn.conv(x, nn.zeros(1, 1, 2, 2))),
    ("must fit into its input", lambda x: nn.conv(x[None, None], nn.zeros(1, 1, 3, 3))),
    ("divisible", lambda x: nn.conv(x[None, None], nn.zeros(1, 1, 2, 2), groups=2)),
    ("stride must be at least 1", lambda x: nn.conv(x[None, None], nn.zeros(1, 1, 2, 2), stride=0)),
    ("stride 1", lambda x: nn.conv(x[None, None], nn.zeros(1, 1, 2, 2), stride=2, padding="same")),
    ("output_padding must be smaller", lambda x: nn.conv_transpose(x[None, None], nn.zeros(1, 1, 2, 2), output_padding=1)),
    ("at most half", lambda x: nn.max_pool(x[None, None], 2, padding=2)),
    ("either size or scale", lambda x: nn.interpolate(x[None, None])),
    ("mode must be", lambda x: nn.interpolate(x[None, None], 4, mode="lanczos")),
    ("pad\\(\\) mode", lambda x: nn.pad(x, [(1, 1), (1, 1)], mode="mirror")),
    ("p > 0", lambda x: nn.norm(x, p=0)),
    ("integers >= 0", lambda x: nn.zeros(2, -1)),
    ("integers >= 0", lambda x: nn.ones(2.5)),
]


@pytest.mark.parametrize("rule,call", WRONG, ids=[rule for rule, _ in WRONG])
def test_wrong_use_is_explained(rule: str, call: Any) -> None:
    with pytest.raises(nn.UserError, match=rule):
        call(nn.tensor(np.arange(6.0).reshape(2, 3), dtype="float32"))


def test_creation() -> None:
    pairs = [
        (nn.zeros(2, 3), torch.zeros(2, 3)), (nn.zeros((2, 3)), torch.zeros(2, 3)), 
        (nn.ones(2, dtype="float64"), torch.ones(2).double()),
        (nn.full((2,), 3.5), torch.full((2,), 3.5)), (nn.eye(3), torch.eye(3)), (nn.eye(2, 3), torch.eye(2, 3)),
        (nn.arange(4), torch.arange(4)), (nn.arange(1, 2, 0.25), torch.arange(1, 2, 0.25)), 
        (nn.arange(5, 0, -2), torch.arange(5, 0, -2)),
        (nn.linspace(-1, 1, 5), torch.linspace(-1, 1, 5)), (nn.linspace(2, 3, 1), torch.linspace(2, 3, 1)),
        (nn.zeros_like(nn.ones(2)), torch.zeros(2)), (nn.ones_like(nn.zeros(2)), torch.ones(2)),
        (nn.full_like(nn.arange(2), 7), torch.full_like(torch.arange(2), 7)), (nn.zeros(()), torch.zeros(())),
    ]  # fmt: skip
    for ours, theirs in pairs:
        assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
