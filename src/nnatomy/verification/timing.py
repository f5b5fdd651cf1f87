"""Times of a forward and backward pass, ours and the twins', side by side on one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnatomy.catalog import Architecture
from nnatomy.training.recipe import Case
from nnatomy.verification.implementations import TWINS, Implementation, Ours
from nnatomy.verification.report import Timing
from nnatomy.verification.trajectory import cast, draw_weights


def measure(
    architecture: Architecture, case: Case, twins: Sequence[str], seed: int = 0, examples: int = 64, repeats: int = 7
) -> Timing:
    """Median times of a forward and backward pass, side by side on one thread, on the case's batch repeated to `examples`."""
    ours = Ours(architecture, case, "float32", seed)
    rng = np.random.default_rng(seed)
    start = draw_weights(ours, rng)
    batch = cast(case.batch(rng), "float32")
    if len({len(a) for a in batch}) == 1:
        times = -(-examples // len(batch[0]))
        batch = tuple(np.concatenate([a] * times) for a in batch)
    sides: list[Implementation] = [ours, *(TWINS[twin](architecture, case, "float32") for twin in twins if twin != "library")]
    found: dict[str, list[float]] = {side.name: [] for side in sides}
    with _one_thread("torch" in twins):
        for side in sides:
            side.load(start)
        for turn in range(repeats + 2):  # the first two warm up
            for side in sides:
                begin = time.perf_counter()
                side.gradients(batch)
                if turn >= 2:
                    found[side.name].append(time.perf_counter() - begin)
    return Timing(case.name, len(batch[0]), {name: statistics.median(times) for name, times in found.items()})


@contextmanager
def _one_thread(torch_too: bool) -> Any:
    from threadpoolctl import threadpool_limits

    before = 1
    if torch_too:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        if torch_too:
            torch.set_num_threads(before)
