"""What happens beside the loop: early stopping and lowering the learning rate."""

from __future__ import annotations

from typing import Any, Literal

from nnatomy.optim import ReduceOnPlateau
from nnatomy.training.loop import Callback, Loop
from nnatomy.training.recipe import HIGHER, better


class EarlyStopping(Callback):
    """Stops after `patience` epochs without a better value of the recipe's metric."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.state = {"best": None, "waited": 0}

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        value = line["validation"][loop.recipe.metric]
        if better(loop.recipe.metric, value, self.state["best"]):
            self.state = {"best": value, "waited": 0}
            return
        self.state["waited"] += 1
        if self.state["waited"] >= self.patience:
            loop.position.stopped = f"{loop.recipe.metric} has not improved for {self.patience} epochs"


class LowerOnPlateau(Callback):
    """Halves the learning rate after `patience` epochs without a better value of the recipe's metric."""

    def __init__(self, patience: int, factor: float = 0.5) -> None:
        self.patience, self.factor = patience, factor
        self.state = {}

    def begin(self, loop: Loop) -> None:
        mode: Literal["min", "max"] = "max" if loop.recipe.metric in HIGHER else "min"
        self._rule = ReduceOnPlateau(mode, self.factor, self.patience - 1)
        if self.state:
            self._rule.load_state_dict(self.state)
        loop.scale = self._rule(loop.position.step)

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        loop.scale = self._rule.observe(line["validation"][loop.recipe.metric])
        self.state = self._rule.state_dict()
