"""Events next to the steps: the Callback that a loop calls, early stopping, and lowering the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnatomy.optim import ReduceOnPlateau

if TYPE_CHECKING:
    from nnatomy.training.loop import Loop


class Callback:
    """Something that happens besides the steps; override what you need. `state` is saved with each checkpoint."""

    state: dict[str, Any]

    def begin(self, loop: Loop) -> None:
        """Before the first step."""

    def before_epoch(self, loop: Loop) -> None:
        """Before each epoch, or what is left of it when a run is continued; the model is in training mode."""

    def after_step(self, loop: Loop) -> None:
        """After each step."""

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        """After each epoch's validation; `line` is what metrics.jsonl will hold of it."""

    def end(self, loop: Loop) -> None:
        """After the last epoch, or when the run is interrupted."""


def named(callbacks: Sequence[Callback]) -> dict[str, Callback]:
    """Return callbacks by names that do not depend on which others there are: that of the class, and "#2" for a second one."""
    found: dict[str, Callback] = {}
    for callback in callbacks:
        name = type(callback).__name__
        count = sum(type(other).__name__ == name for other in found.values())
        found[name if not count else f"{name}#{count + 1}"] = callback
    return found


class EarlyStopping(Callback):
    """Stops after `patience` epochs without a better value of the recipe's metric."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.state = {"best": None, "waited": 0}

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        value = line["validation"].get(loop.metric.name)
        if value is None:
            return
        if loop.metric.improves(value, self.state["best"]):
            self.state = {"best": value, "waited": 0}
            return
        self.state["waited"] += 1
        if self.state["waited"] >= self.patience:
            loop.position.stopped = f"{loop.metric.name} has not improved for {self.patience} epochs"


class LowerOnPlateau(Callback):
    """Halves the learning rate after `patience` epochs without a better value of the recipe's metric."""

    def __init__(self, patience: int, factor: float = 0.5) -> None:
        self.patience, self.factor = patience, factor
        self.state = {}

    def begin(self, loop: Loop) -> None:
        self._rule = ReduceOnPlateau("max" if loop.metric.better == "higher" else "min", self.factor, self.patience - 1)
        if self.state:
            self._rule.load_state_dict(self.state)
        loop.scale = self._rule(loop.position.step)

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        if loop.metric.name in line["validation"]:
            loop.scale = self._rule.observe(line["validation"][loop.metric.name])
            self.state = self._rule.state_dict()
