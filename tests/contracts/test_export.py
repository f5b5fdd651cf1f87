"""Contract 6, the other half: exported to ONNX and run in ONNX Runtime, outputs are the same to 1e-4, for any batch size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnatomy.catalog import Architecture
from nnatomy.tensor import Tensor
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import Ours, leaves
from nnatomy.verification.trajectory import cast, draw_weights

pytestmark = pytest.mark.any_kernels
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.mark.contract(Contract.EXPORT)
def test_exported_to_onnx_gives_the_same_outputs(architecture: Architecture, case: Case) -> None:
    from nnatomy.interchange.onnx import check, run, session, to_onnx

    rng = np.random.default_rng(6)
    ours = Ours(architecture, case, "float32", seed=1)
    ours.load(draw_weights(ours, rng))
    batch = cast(case.batch(rng), "float32")
    ours.move(batch)
    inputs = case.inputs(batch)
    made = to_onnx(ours.model, *inputs)
    sizes = {1: tuple(a[:1] for a in inputs), 7: tuple(a[np.arange(7) % len(a)] for a in inputs)}
    check(made, lambda *arrays: ours.outputs(arrays), *sizes.values())
    opened = session(made)
    for n, arrays in sizes.items():  # once more without the package's own comparison
        for got, wanted in zip(run(opened, *arrays), ours.outputs(arrays), strict=True):
            assert len(got) == n
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    names = {tensor.name for tensor in made.graph.initializer}
    absent = _reached(ours, inputs) - names
    assert not absent, f"{architecture.name}: parameters that are no initializers of their names: {sorted(absent)}"


def _reached(ours: Ours, inputs: tuple[Any, ...]) -> set[str]:
    """Parameters that outputs depend on: a critic or a target network is not exported."""
    if not any(p.requires_grad for p in ours.model.parameters()):
        return set()
    ours.model.zero_grad()
    sum(t.sum() for t in leaves(ours.model(*map(Tensor, inputs))) if t.requires_grad).backward()
    found = {name for name, p in ours.model.named_parameters() if p.grad is not None}
    assert found, "the outputs depend on no parameter"
    return found
