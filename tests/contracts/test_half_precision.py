"""Architectures in bfloat16 on JAX: computed in half precision throughout, with the loss and the direction of float32."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from nnatomy import backends, optim
from nnatomy.backends import B
from nnatomy.catalog import Architecture
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor
from nnatomy.training.learners import GradientDescent, Setup
from nnatomy.training.precision import FLOAT32, PRECISIONS, Precision
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import Ours
from nnatomy.verification.trajectory import cast, draw_weights

pytest.importorskip("jax")
pytestmark = pytest.mark.any_kernels


@pytest.fixture(autouse=True)
def on_jax() -> Iterator[None]:
    with backends.backend("jax"):
        yield


def gradient(ours: Ours, case: Case, batch: tuple[Any, ...], precision: Precision) -> tuple[float, Any, set[str]]:
    """Loss, all gradients as one vector, and the types that forward answers in."""
    learn = GradientDescent(case.loss, partial(optim.SGD, lr=0.0))
    step = learn.begin(ours.model, setup=Setup(precision))
    placed = tuple(B.asarray(a) for a in batch)
    _, metrics = step(step.state(), placed)
    with step.lowered(), no_grad():
        out = ours.model(*[Tensor(a) for a in case.inputs(precision.inputs(step.named(placed), placed))])
    found = [np.zeros(p.size) if p.grad is None else np.asarray(p.grad.data).ravel() for p in ours.parameters.values()]
    assert {p.grad.dtype for p in ours.parameters.values() if p.grad is not None} == {np.dtype("float32")}
    return float(metrics["loss"]), np.concatenate(found), {str(out.dtype)}


@pytest.mark.first_case
@pytest.mark.contract(Contract.HALF)
def test_bfloat16_is_float32_to_its_digits(architecture: Architecture, case: Case) -> None:
    rng = np.random.default_rng(9)
    ours = Ours(architecture, case, "float32")
    start = draw_weights(ours, rng)
    batch = cast(case.batch(rng), "float32")
    ours.load(start)
    ours.model.train()
    expected, slope, _ = gradient(ours, case, batch, FLOAT32)
    ours.load(start)
    loss, found, types = gradient(ours, case, batch, PRECISIONS["bfloat16"])
    assert types == {"bfloat16"}, f"{architecture.name}, {case.name} answers in {types}: something in it is float32"
    assert loss == pytest.approx(expected, rel=0.05, abs=0.01)
    cosine = found @ slope / (np.linalg.norm(found) * np.linalg.norm(slope))
    assert cosine > 0.99, f"{architecture.name}, {case.name}: the gradient points elsewhere, cosine {cosine:.4f}"
