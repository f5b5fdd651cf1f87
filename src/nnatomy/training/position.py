"""The position of a run, and the rest of its time budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnatomy.training.batches import PlacedBatch
from nnatomy.training.learners import Learner

CALIBRATION = 20  # steps after which a budget is converted to a number of steps again


@dataclass
class Position:
    """The position of a run; with the state it is all that a checkpoint needs."""

    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done
    step: int = 0
    total: int = 0  # steps in all, from which schedules are drawn
    seconds: float = 0.0
    loss_sum: float = 0.0  # over the examples of this epoch so far
    examples: int = 0
    best: float | None = None
    best_epoch: int = 0
    stopped: str = ""


@dataclass(frozen=True)
class PendingStep:
    """A dispatched step whose loss is still on the device."""

    epoch: int
    step: int
    batch: PlacedBatch
    loss: Any


class Budget:
    """Seconds that a run may take, and from time to time how many steps they allow: schedules end when the time does."""

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds, self.most = seconds, most
        self._first, self._warm = 0, 0.0  # the step after which all is compiled, and when it was

    def is_spent(self, at: Position, now: float, learner: Learner) -> bool:
        """Return True after a step at time `now` if no time is left; sets the total of the position and the learner."""
        if not self._warm:
            self._first, self._warm = at.step, now
        if at.step % CALIBRATION == 0:
            warm = at.step > self._first
            each = max(now - self._warm * warm, 1e-9) / (at.step - self._first * warm)
            possible = at.step + int(max(self.seconds - now, 0) / each)
            at.total = max(at.step + 1, min(possible, self.most))
            learner.set_total(at.total)
        return now >= self.seconds
