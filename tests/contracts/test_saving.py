"""Contract 6: saved as safetensors and loaded into a fresh model, an architecture gives the same outputs, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnatomy.catalog import Architecture
from nnatomy.runs.folder import load_arrays, save_arrays
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import Ours
from nnatomy.verification.trajectory import cast, draw_weights


@pytest.mark.contract(Contract.SAVE)
def test_saved_and_loaded_gives_the_same_outputs(architecture: Architecture, case: Case, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    ours, fresh = Ours(architecture, case, "float32", seed=1), Ours(architecture, case, "float32", seed=2)
    ours.load(draw_weights(ours, rng))
    batch = cast(case.batch(rng), "float32")
    ours.move(batch)
    save_arrays(tmp_path / "model.safetensors", ours.model.state_dict(), {"architecture": architecture.name})
    loaded, metadata = load_arrays(tmp_path / "model.safetensors")
    fresh.load(loaded)
    assert metadata == {"architecture": architecture.name}
    for a, b in zip(ours.outputs(case.inputs(batch)), fresh.outputs(case.inputs(batch)), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()
