"""Architectures in bfloat16 on JAX: computed in half precision throughout, with the loss and the direction of float32."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from contract_rules import place

import nnatomy as nn
from nnatomy import optim
from nnatomy.backends import B
from nnatomy.backends.dtypes import is_floating
from nnatomy.catalog import Architecture
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor
from nnatomy.training.learners import GradientDescent, Setup
from nnatomy.training.precision import FLOAT32, PRECISIONS, Precision
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import Ours, leaves
from nnatomy.verification.trajectory import cast, draw_weights

jax = pytest.importorskip("jax")
pytestmark = pytest.mark.any_kernels


def gradient(ours: Ours, case: Case, batch: tuple[Any, ...], precision: Precision) -> tuple[float, Any, set[str]]:
    """Loss, all gradients as one vector, and the types of the outputs; each as one compiled program."""
    place(ours.model)
    learn = GradientDescent(case.loss, partial(optim.SGD, lr=1.0))  # a step is the gradient, read off the float32 weights
    step = learn.begin(ours.model, setup=Setup(precision))
    if len(batch) == 1 and case.fields:
        step.fields = case.fields  # without fields, the last array counts as the target
    state, start = step.state(), ours.state()
    new, metrics = nn.compile(step)(state, batch)
    after = {name: np.array(a) for name, a in new["model"].items() if name in ours.parameters}
    assert {a.dtype for a in after.values()} == {np.dtype("float32")}
    step.bind(state)

    def output(*batch: Any) -> Any:
        with step.lowered(), no_grad():
            outputs = ours.model(*map(Tensor, case.inputs(precision.inputs(step.named(batch), batch))))
            return [t.data for t in leaves(outputs) if is_floating(t.dtype)]

    found = jax.eval_shape(output, *map(B.asarray, batch))  # of shapes alone: nothing is compiled or computed
    kinds = {str(array.dtype) for array in found}
    return float(metrics["loss"]), np.concatenate([(start[n] - a).ravel() for n, a in after.items()]), kinds


@pytest.mark.first_case
@pytest.mark.contract(Contract.HALF)
def test_bfloat16_is_float32_to_its_digits(architecture: Architecture, case: Case) -> None:
    rng = np.random.default_rng(9)
    ours = Ours(architecture, case, "float32")
    start = draw_weights(ours, rng)
    batch = cast(case.batch(rng), "float32")
    ours.load(start)
    ours.model.train()
    with nn.backend("jax"):
        expected, slope, _ = gradient(ours, case, batch, FLOAT32)
        ours.model.load_state_dict(start)
        loss, found, types = gradient(ours, case, batch, PRECISIONS["bfloat16"])
    assert types == {"bfloat16"}, f"{architecture.name}, {case.name} answers in {types}: something in it is float32"
    assert loss == pytest.approx(expected, rel=0.05, abs=0.01)
    # Batch norms over few numbers amplify rounding: for the cases of resnet, PyTorch's cosines lie between 0.965 and 0.9999.
    cosine = found @ slope / (np.linalg.norm(found) * np.linalg.norm(slope))
    assert cosine > 0.95, f"{architecture.name}, {case.name}: the gradient points elsewhere, cosine {cosine:.4f}"
