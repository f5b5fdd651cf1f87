"""Contracts 2 and 3: gradients equal central differences, every parameter has one, and published sizes are reproduced."""

from __future__ import annotations

import numpy as np
import pytest
from central_differences import wrong_gradients

from nnatomy.catalog import Architecture
from nnatomy.tensor import Tensor
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import Ours
from nnatomy.verification.trajectory import cast, draw_weights


@pytest.mark.contract(Contract.GRADIENTS)
def test_gradients_equal_central_differences(architecture: Architecture, case: Case) -> None:
    rng = np.random.default_rng(3)
    ours = Ours(architecture, case, "float64")
    ours.load(draw_weights(ours, rng))
    ours.model.train()
    batch = cast(case.batch(rng), "float64")
    inputs = {id(a) for a in case.inputs(batch) if a.dtype.kind == "f"}
    tensors = [Tensor(a, requires_grad=id(a) in inputs) for a in batch]
    leaves = {f"input {i}": t for i, t in enumerate(tensors) if t.requires_grad} | dict(ours.parameters)
    loss = case.loss
    assert loss is not None, "nothing follows a gradient: declare without={Contract.GRADIENTS: ...}"
    wrong = wrong_gradients(lambda: loss(ours.model, *tensors)[0], leaves, rng)
    assert not wrong, f"{architecture.name}, {case.name}: {'; '.join(wrong)}"


@pytest.mark.contract(Contract.EVERY_GRADIENT)
def test_every_parameter_has_a_gradient(architecture: Architecture, case: Case) -> None:
    """From one of several random starts: a loss that punishes mistakes only, say, is flat where there are none."""
    rng = np.random.default_rng(4)
    ours = Ours(architecture, case, "float32")
    start = draw_weights(ours, rng)
    without = {name for name, p in ours.parameters.items() if p.requires_grad}
    for _ in range(5):
        ours.load(start)
        ours.gradients(cast(case.batch(rng), "float32"))
        without -= {name for name, p in ours.parameters.items() if p.grad is not None and p.grad.numpy().any()}
        start = draw_weights(ours, rng)
    assert not without, f"{architecture.name}, {case.name}: no gradient reaches {', '.join(sorted(without))}"
    mixed = [name for name, p in ours.parameters.items() if p.grad is not None and p.grad.dtype != p.dtype]
    assert not mixed, f"{architecture.name}, {case.name}: gradients of another type than their parameter: {', '.join(mixed)}"


def test_published_sizes(architecture: Architecture) -> None:
    published = {case.name: case.parameters for case in architecture.cases if case.parameters is not None}
    counted = {
        case.name: Ours(architecture, case, "float32").model.count_parameters()
        for case in architecture.cases
        if case.name in published
    }
    assert counted == published
