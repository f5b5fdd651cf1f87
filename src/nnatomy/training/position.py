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

    def __init__(self, seconds: float, most: int, judged: float) -> None:
        """`judged`: the rows that are judged after the last step, as a multiple of a batch."""
        self.seconds, self.most, self.judged = seconds, most, judged
        self.judging: float | None = None
        """Seconds for the rows that are judged after the last step, once a validation has shown them."""
        self._first, self._warm = 0, 0.0  # the step after which all is compiled, and when it was

    def is_spent(self, at: Position, now: float, learner: Learner) -> bool:
        """Return True after a step at time `now` if what is left is needed to judge the network.

        Sets the total of the position and the learner.
        """
        if not self._warm:
            self._first, self._warm = at.step, now
        if at.step % CALIBRATION == 0:
            warm = at.step > self._first
            each = max(now - self._warm * warm, 1e-9) / (at.step - self._first * warm)
            possible = at.step + int(max(self.seconds - self._after(at, now) - now, 0) / each)
            at.total = max(at.step + 1, min(possible, self.most))
            learner.set_total(at.total)
        return now + self._after(at, now) >= self.seconds

    def _after(self, at: Position, now: float) -> float:
        """Seconds that judging will take; before the first validation, a row is thought to take as long as in a step.

        The first step, which may compile, shows nothing.
        """
        if self.judging is not None or at.step <= self._first:
            return self.judging or 0.0
        return self.judged * (now - self._warm) / (at.step - self._first)
