"""Contract 7: as a plan, an architecture takes the steps that it takes eagerly."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim
from nnatomy.catalog import Architecture
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import Ours, own_learner
from nnatomy.verification.trajectory import cast, draw_weights

pytestmark = pytest.mark.any_kernels
STEPS = 3


@pytest.mark.contract(Contract.PLAN)
def test_planned_equals_eager(architecture: Architecture, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNATOMY_KERNELS", "auto")
    found = []
    for compiled in (False, True):
        rng = np.random.default_rng(11)
        ours = Ours(architecture, case, "float32")
        ours.load(draw_weights(ours, rng))
        ours.model.train()
        nn.seed(3)
        learn = own_learner(architecture, case)
        if "distill" in learn.can and case.loss is not None:  # Adam makes whole steps of rounding errors in gradients near zero
            learn = GradientDescent(case.loss, partial(optim.SGD, lr=case.lr, momentum=0.9))
        learner = learn.begin(ours.model)
        learner.set_total(STEPS)
        run: Any = nn.compile(learner) if compiled else learner
        state = learner.state()
        for step in range(STEPS):
            learner.prepare(state, step, 1.0)
            state, metrics = run(state, cast(case.batch(rng), "float32"))
        if compiled:
            assert run.reason is None, f"{architecture.name}, {case.name} is not planned: {run.reason}"
        found.append({name: np.array(a) for name, a in state["model"].items()} | {"loss": np.array(metrics["loss"])})
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=2e-4, atol=2e-5, err_msg=f"{case.name}: {name}")
