"""Contract 7: on JAX, eager and compiled, an architecture gives NumPy's outputs, gradients, and weights after ten steps."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim, random
from nnatomy.catalog import Architecture, architectures
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor
from nnatomy.training.learners import GradientDescent, LearnerSpec
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import Ours, leaves
from nnatomy.verification.trajectory import cast, draw_weights

pytest.importorskip("jax", reason="the jax extra is not installed")
pytestmark = pytest.mark.any_kernels
STEPS = 10


def momentum(case: Case) -> LearnerSpec:
    assert case.loss is not None, "nothing follows a gradient: declare without={Contract.JAX: ...}"
    return GradientDescent(case.loss, partial(optim.SGD, lr=case.lr, momentum=0.9), clip=1.0)


def course(architecture: Architecture, case: Case, backend: str, learn: LearnerSpec, compiled: bool = False) -> dict[str, Any]:
    """Return outputs in evaluation, the first step's gradients, all losses, and the weights after ten steps."""
    rng = np.random.default_rng(8)
    start = draw_weights(Ours(architecture, case, "float64"), rng)
    batches = [cast(case.batch(rng), "float64") for _ in range(STEPS)]
    with nn.backend(backend):
        random.seed(2)
        model = Ours(architecture, case, "float64").model
        model.load_state_dict(start)
        step = learn.begin(model)
        model.eval()
        with no_grad():
            answers = leaves(model(*map(Tensor, case.inputs(batches[0]))))
        found: dict[str, Any] = {f"output {i}": np.array(t.data) for i, t in enumerate(answers)}
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
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-9 * scale, err_msg=f"{what}: {name}")


@cache
def on_numpy(architecture_name: str, case_name: str) -> dict[str, Any]:
    case = next(case for case in architectures()[architecture_name].cases if case.name == case_name)
    return course(architectures()[architecture_name], case, "numpy", momentum(case))


@pytest.mark.first_case
@pytest.mark.contract(Contract.JAX)
def test_compiled_equals_numpy(architecture: Architecture, case: Case) -> None:
    found = course(architecture, case, "jax", momentum(case), compiled=True)
    same(found, on_numpy(architecture.name, case.name), f"{architecture.name}, {case.name}, compiled for JAX")


def test_eager_equals_numpy(architecture: Architecture) -> None:
    """Its first case: call by call, JAX compiles each operation for itself, which takes longer than a whole program."""
    case = architecture.cases[0]
    found, expected = course(architecture, case, "jax", momentum(case)), on_numpy(architecture.name, case.name)
    same(found, expected, f"{architecture.name}, {case.name}, eager on JAX")
    assert found.keys() == expected.keys()


def test_its_recipes_learner_compiled_equals_numpys(architecture: Architecture) -> None:
    case = architecture.cases[0]
    learn = architecture.recipes[0].learn
    learn = learn.with_loss(case.loss) if "distill" in learn.can else learn
    same(
        course(architecture, case, "jax", learn, True),
        course(architecture, case, "numpy", learn),
        f"{architecture.name} with its recipe's learner",
    )
