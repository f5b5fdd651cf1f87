"""Holds one of our layers against PyTorch's with the same weights: outputs, every gradient, and the state afterwards."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import nnatomy as nn

torch = pytest.importorskip("torch")


def leaves(value: Any) -> list[Any]:
    """The arrays of an output, tuples opened."""
    return [x for part in value for x in leaves(part)] if isinstance(value, tuple) else [value]


def close(got: Any, expected: Any, what: str, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance, err_msg=what)


def load(ours: nn.Module, theirs: Any) -> None:
    """Give our layer the weights of PyTorch's; names and shapes must be the same (but for the count of batches)."""
    ours.astype("float64")
    theirs.double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # norms' ones and zeros say little
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    own = ours.state_dict()
    if "num_batches_tracked" in state and "num_batches_tracked" not in own:
        del state["num_batches_tracked"]
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in own.items()}
    assert list(state) == list(own), "the order of names"
    ours.load_state_dict(state)


def same(ours: nn.Module, theirs: Any, *arrays: np.ndarray, **options: Any) -> None:
    """Two training passes (the second compared with gradients), then one in eval mode."""
    load(ours, theirs)
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        compare(ours, theirs, *arrays, **options)
    state = ours.state_dict()
    for name, value in theirs.state_dict().items():
        if name in state:
            close(state[name], value.numpy(), f"{name} after training passes")


def compare(ours: Any, theirs: Any, *arrays: np.ndarray, tolerance: float = 1e-10, **options: Any) -> None:
    """Outputs and the gradients of inputs and parameters, for a random direction of the outputs."""
    ours.zero_grad()
    theirs.zero_grad()
    inputs = [nn.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    twins = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    got, expected = leaves(ours(*inputs, **options)), leaves(theirs(*twins))
    assert len(got) == len(expected)
    loss, twin_loss = 0.0, 0.0
    rng = np.random.default_rng(0)
    for y, e in zip(got, expected):
        assert y.dtype == (np.float64 if e.dtype.is_floating_point else np.int64)
        close(y.data, e.detach().numpy(), "output", tolerance)
        if e.requires_grad:
            weights = rng.normal(size=y.shape)
            loss, twin_loss = loss + (y * weights).sum(), twin_loss + (e * torch.tensor(weights)).sum()
    if isinstance(loss, float):
        return
    loss.backward()
    twin_loss.backward()
    for i, (x, twin) in enumerate(zip(inputs, twins)):
        if twin.grad is not None:
            close(x.grad.data, twin.grad.numpy(), f"gradient of input {i}", tolerance)
    grads = {name: p.grad for name, p in ours.named_parameters()}
    for name, p in theirs.named_parameters():
        if p.grad is None:
            assert grads[name] is None
        else:
            close(grads[name].data, p.grad.numpy(), f"gradient of {name}", tolerance)


def same_signature(ours: type, theirs: type) -> None:
    """Common arguments have the same names, order and defaults; ours has no others except keyword `generator`."""
    mine = {k: v for k, v in inspect.signature(ours).parameters.items() if k != "generator"}
    twins = dict(inspect.signature(theirs).parameters)
    assert [k for k in twins if k in mine] == list(mine), f"{ours.__name__}: {list(mine)} against {list(twins)}"
    for name, parameter in mine.items():
        assert parameter.default == twins[name].default, f"{ours.__name__}.{name}"
