"""Contracts 4 and 5: it learns one batch by heart; the same seed gives the same bits; interrupted runs lose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipe_data import skip_without_data

from nnatomy import optim
from nnatomy.catalog import Architecture
from nnatomy.runs.folder import load_arrays
from nnatomy.runs.train import resume, train
from nnatomy.runs.trained import evaluate
from nnatomy.tensor import Tensor
from nnatomy.training.loop import Callback, Loop
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import Ours
from nnatomy.verification.trajectory import cast, draw_weights

SHORT: dict[str, Any] = {"epochs": 2, "limit": 60, "offline": True, "report": False}


@pytest.mark.contract(Contract.OVERFIT)
def test_overfits_one_batch(architecture: Architecture, case: Case) -> None:
    rng = np.random.default_rng(5)
    ours = Ours(architecture, case, "float32")
    ours.load(draw_weights(ours, rng))
    ours.model.train()
    batch = [Tensor(a) for a in cast(case.batch(rng), "float32")]
    optimizer = optim.Adam(ours.model.named_parameters(), lr=0.01)
    losses = []
    for _ in range(800):
        optimizer.zero_grad()
        assert case.loss is not None, "nothing follows a gradient: declare without={Contract.OVERFIT: ...}"
        loss, _ = case.loss(ours.model, *batch)
        losses.append(float(loss.item()))
        if losses[-1] <= case.overfit * losses[0]:
            return
        loss.backward()
        optimizer.step()
    pytest.fail(
        f"{architecture.name}, {case.name}: the loss fell from {losses[0]:.3g} to {min(losses):.3g}, not to {case.overfit:g}x"
    )


class Interrupt(Callback):
    """Makes the loop stop after a number of steps, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, loop: Loop) -> None:
        loop.interrupted = loop.position.step == self.step


def test_interrupted_and_resumed_equals_undisturbed(architecture: Architecture, tmp_path: Path) -> None:
    """Which also means that the same seed gives the same bits; another one gives others."""
    skip_without_data(architecture)
    calm = train(architecture.name, out=tmp_path / "calm", seed=3, **SHORT)
    total = int(calm.run.history()[-1]["step"])
    broken = train(architecture.name, out=tmp_path / "broken", seed=3, callbacks=[Interrupt(max(1, total // 3))], **SHORT)
    assert broken.interrupted
    resumed = resume(tmp_path / "broken", report=False)
    assert resumed.metrics == calm.metrics
    again = [evaluate(tmp_path / "calm").metrics for _ in range(2)]  # noise, where a model draws it, is the same each time
    assert again == [pytest.approx(calm.metrics, rel=1e-4, abs=1e-6)] * 2
    assert again[0] == again[1]
    for name in ("last.safetensors", "best.safetensors"):
        undisturbed, _ = load_arrays(tmp_path / "calm" / name)
        continued, _ = load_arrays(tmp_path / "broken" / name)
        differing = [key for key in undisturbed if undisturbed[key].tobytes() != continued[key].tobytes()]
        assert undisturbed.keys() == continued.keys()
        assert not differing, f"{architecture.name}: resuming changes {', '.join(differing)} in {name}"
    if not any(p.requires_grad for p in calm.model.parameters()):
        return  # nothing is drawn and nothing descends: every seed gives the same model
    other = train(architecture.name, out=tmp_path / "other", seed=4, **SHORT | {"epochs": 1, "limit": 40}).model.state_dict()
    same = [name for name, array in calm.model.state_dict().items() if array.tobytes() == other[name].tobytes()]
    assert len(same) < len(other), f"{architecture.name}: the seed changes nothing"
