"""Contract 7: on JAX, eager and compiled, an architecture gives NumPy's outputs, gradients, and weights after ten steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from contract_rules import place

import nnatomy as nn
from nnatomy import random
from nnatomy.catalog import Architecture
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor
from nnatomy.training.learners import LearnerSpec
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import Ours, leaves, own_learner
from nnatomy.verification.trajectory import cast, draw_weights

jax = pytest.importorskip("jax", reason="the jax extra is not installed")
pytestmark = pytest.mark.any_kernels
STEPS = 10


def course(architecture: Architecture, case: Case, backend: str, learn: LearnerSpec, compiled: bool = False) -> dict[str, Any]:
    """Return outputs in evaluation, the first step's gradients, all losses, and the weights after ten steps."""
    rng = np.random.default_rng(8)
    start = draw_weights(Ours(architecture, case, "float64"), rng)
    batches = [cast(case.batch(rng), "float64") for _ in range(STEPS)]
    model = Ours(architecture, case, "float64").model
    model.load_state_dict(start)

    def outputs(*inputs: Any) -> list[Any]:
        return [t.data for t in leaves(model(*map(Tensor, inputs)))]

    with nn.backend(backend):
        random.seed(2)
        place(model)
        step = learn.begin(model)
        model.eval()
        with no_grad():
            given = (jax.jit(outputs) if compiled else outputs)(*case.inputs(batches[0]))
        found: dict[str, Any] = {f"output {i}": np.array(a) for i, a in enumerate(given)}
        model.train()
        run: Any = nn.compile(step) if compiled else step
        state = step.state()
        for i, batch in enumerate(batches):
            state, metrics = run(state, batch)
            found[f"loss {i}"] = np.array(metrics["loss"])
            if i == 0 and not compiled:
                found |= {f"gradient of {n}": np.array(p.grad.data) for n, p in model.named_parameters() if p.grad is not None}
        if compiled:
            assert run.reason is None, f"{architecture.name}, {case.name} is not compiled: {run.reason}"
            assert len(run.parts()) == 1, "traced more than once"
        return found | {f"{name} after {STEPS} steps": np.array(a) for name, a in state["model"].items()}


def same(found: dict[str, Any], expected: dict[str, Any], what: str) -> None:
    for name, value in found.items():
        wanted = expected[name]
        assert value.dtype == wanted.dtype, f"{what}: {name} is {value.dtype}, not {wanted.dtype}"
        scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
        # The bias of attention's keys has a gradient of 0: Adam with the transformer's eps of 1e-9 divides its rounding by eps.
        most = 1e-8 if name.endswith(f"after {STEPS} steps") else 1e-9
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=most * scale, err_msg=f"{what}: {name}")


@pytest.mark.first_case
@pytest.mark.contract(Contract.JAX)
def test_compiled_equals_numpy(architecture: Architecture, case: Case) -> None:
    learn = own_learner(architecture, case)
    found, expected = (course(architecture, case, backend, learn, backend == "jax") for backend in ("jax", "numpy"))
    same(found, expected, f"{architecture.name}, {case.name}, compiled for JAX")


@pytest.mark.all_cases
@pytest.mark.contract(Contract.JAX)
def test_eager_equals_numpy(architecture: Architecture, case: Case) -> None:
    """Call by call, JAX compiles each operation for itself, which takes longer than a whole program."""
    learn = own_learner(architecture, case)
    found, expected = (course(architecture, case, backend, learn) for backend in ("jax", "numpy"))
    same(found, expected, f"{architecture.name}, {case.name}, eager on JAX")
    assert found.keys() == expected.keys()
