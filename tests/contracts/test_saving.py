"""Contract 6: saved as safetensors and loaded into a fresh model, a room answers the same, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnatomy.experiments.discovery import Room
from nnatomy.experiments.recipe import Case
from nnatomy.experiments.runs import load_arrays, save_arrays
from nnatomy.experiments.twins import Ours
from nnatomy.experiments.verification import cast, draw_weights


def test_saved_and_loaded_gives_the_same_outputs(room: Room, case: Case, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    ours, fresh = Ours(room, case, "float32", seed=1), Ours(room, case, "float32", seed=2)
    ours.load(draw_weights(ours, rng))
    batch = cast(case.batch(rng), "float32")
    ours.gradients(batch)
    ours.update()  # buffers have moved, and gradients and the optimizer's memory exist
    save_arrays(tmp_path / "model.safetensors", ours.model.state_dict(), {"room": room.name})
    loaded, metadata = load_arrays(tmp_path / "model.safetensors")
    fresh.load(loaded)
    assert metadata == {"room": room.name}
    for a, b in zip(ours.outputs(batch[:-1]), fresh.outputs(batch[:-1]), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()
