"""Learners: updates of parameters. A recipe holds a frozen description, which starts a Learner; the loop knows nothing else."""

from nnatomy.training.learners.alternating import Alternating, Player
from nnatomy.training.learners.closed_form import ClosedForm
from nnatomy.training.learners.gradient_descent import GradientDescent
from nnatomy.training.learners.interaction import Agent, Interaction
from nnatomy.training.learners.learner import Learner, LearnerSpec, Setup
from nnatomy.training.learners.local_rule import LocalRule
from nnatomy.training.learners.stages import Stages

__all__ = [
    "Agent", "Alternating", "ClosedForm", "GradientDescent", "Interaction", "Learner", "LearnerSpec", "LocalRule", "Player",
    "Setup", "Stages",
]  # fmt: skip
