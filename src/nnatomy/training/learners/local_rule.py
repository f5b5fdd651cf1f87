"""Rules that move weights without a gradient: Rosenblatt's, Kohonen's, contrastive divergence, spike timing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nnatomy.data.dataset import Dataset, Split
from nnatomy.functional import masked_examples
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.training.learners.gradient_descent import in_range, keywords
from nnatomy.training.learners.learner import Batch, Learner, LearnerSpec, Loss, Setup, Tree

Rule = Callable[..., Any]


@dataclass(frozen=True)
class LocalRule(LearnerSpec):
    """rule(model, progress, *batch) -> a number to show: changes the model's weights in plain operations, without a tape.

    `progress` is the fraction of all steps that are done, from 0 to 1: neighborhoods and rates shrink by it. The keyword
    arguments of `rule` are its settings.
    """

    rule: Rule
    average: float | None = None
    loss: Loss | None = None
    """loss(model, *batch) -> (loss, outputs): what evaluation reports of the rule's progress."""
    after_epoch: Callable[[Any, Split], None] | None = None
    """after_epoch(model, training split): what is looked up in all examples once an epoch, such as the labels of units."""

    @property
    def losses(self) -> Mapping[str, Loss]:
        return {} if self.loss is None else {"loss": self.loss}

    def settings(self) -> dict[str, Any]:
        function = self.rule.func if isinstance(self.rule, partial) else self.rule
        given = self.rule.keywords if isinstance(self.rule, partial) else {}
        named = {name: value for name, value in (keywords(function) | given).items() if value is not _EMPTY}
        return named | {"average": self.average}

    def changed(self, name: str, value: Any) -> LocalRule:
        if name not in self.settings():
            raise KeyError(name)
        if name == "average":
            return replace(self, average=in_range(name, value))
        return replace(self, rule=partial(self.rule, **{name: value}))

    def plain(self) -> dict[str, Any]:
        function = self.rule.func if isinstance(self.rule, partial) else self.rule
        return {"learner": type(self).__name__, "rule": getattr(function, "__name__", str(function)), **self.settings()}

    def begin(self, model: Module, dataset: Dataset | None = None, setup: Setup | None = None) -> LocalRuleLearner:
        setup = setup or Setup()
        self.check(setup, model)
        return LocalRuleLearner(self, model, dataset, setup)


_EMPTY: Any = inspect.Parameter.empty


class LocalRuleLearner(Learner):
    """A rule, and how far the run has come."""

    def __init__(self, spec: LocalRule, model: Module, dataset: Dataset | None, setup: Setup) -> None:
        super().__init__(model, dataset, setup)
        self.rule, self.average, self.after_epoch = spec.rule, spec.average, spec.after_epoch
        self.train = None if dataset is None else dataset.train
        self.progress: Any = 0.0
        self.total = 1

    def set_total(self, total: int) -> None:
        self.total = max(total, 1)

    def prepare(self, state: Tree, step: int, scale: float) -> None:
        state["own"]["progress"] = step / self.total

    def own_state(self) -> Tree:
        return {"progress": self.progress}

    def bind_own(self, tree: Tree) -> None:
        self.progress = tree["progress"]

    def update(self, batch: Batch, mask: Any = None) -> dict[str, Tensor]:
        with no_grad(), masked_examples(mask):
            shown = self.rule(self.model, self.progress, *self.precision.inputs(self.named(batch), batch))
        return {"loss": shown if isinstance(shown, Tensor) else Tensor(np.float32(shown))}

    def end_epoch(self) -> None:
        if self.after_epoch is not None and self.train is not None:
            with no_grad():
                self.after_epoch(self.model, self.train)
