"""The first stage of training: the teacher learns, and the student is made of it. The second is plain gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnatomy.data.dataset import Dataset
from nnatomy.layers.module import Module
from nnatomy.training.learners import GradientDescent, Setup
from nnatomy.training.learners.gradient_descent import GradientDescentLearner


@dataclass(frozen=True)
class TeacherFirst(GradientDescent):
    """Gradient descent of the teacher, after each epoch of which the student starts from its layers."""

    def begin(self, model: Module, dataset: Dataset | None = None, setup: Setup | None = None) -> TeacherFirstLearner:
        setup = setup or Setup()
        self.check(setup, model)
        return TeacherFirstLearner(self, model, dataset, setup)


class TeacherFirstLearner(GradientDescentLearner):
    """Gradient descent, and `Distillation.inherit` at the end of an epoch: so the student of the last one is the latest."""

    def end_epoch(self) -> None:
        pair: Any = self.model
        pair.inherit()
