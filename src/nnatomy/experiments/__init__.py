"""How rooms are trained and measured: recipes, the loop, runs, tasks. Parts are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnatomy.experiments.averaging import Averaged, Ensemble, average
    from nnatomy.experiments.callbacks import Checkpoints, EarlyStopping, Log, LowerOnPlateau, Progress
    from nnatomy.experiments.comparison.compare import compare, resume_comparison
    from nnatomy.experiments.comparison.results import Comparison
    from nnatomy.experiments.discovery import Room, room, rooms
    from nnatomy.experiments.distillation import Distillation, distill
    from nnatomy.experiments.estimators import NeuralClassifier, NeuralRegressor
    from nnatomy.experiments.loop import Callback, Loop, Position
    from nnatomy.experiments.pictures import draw
    from nnatomy.experiments.recipe import Case, Recipe
    from nnatomy.experiments.runs import Run
    from nnatomy.experiments.shipping import Exported, export, predict_exported
    from nnatomy.experiments.step import Step
    from nnatomy.experiments.tasks import Evaluation, Task, task_for
    from nnatomy.experiments.training import Prepared, Request, Result, evaluate, predict, restore, resume, train
    from nnatomy.experiments.tuning.tune import Tuning, read_recipe, resume_tuning, tune
    from nnatomy.experiments.verification import Verification, verify

_PLACES = {
    "averaging": ("Averaged", "Ensemble", "average"),
    "callbacks": ("Checkpoints", "EarlyStopping", "Log", "LowerOnPlateau", "Progress"),
    "comparison.compare": ("compare", "resume_comparison"),
    "comparison.results": ("Comparison",),
    "distillation": ("Distillation", "distill"),
    "estimators": ("NeuralClassifier", "NeuralRegressor"),
    "loop": ("Callback", "Loop", "Position"),
    "pictures": ("draw",),
    "recipe": ("Case", "Recipe"),
    "discovery": ("Room", "room", "rooms"),
    "runs": ("Run",),
    "shipping": ("Exported", "export", "predict_exported"),
    "step": ("Step",),
    "tasks": ("Evaluation", "Task", "task_for"),
    "training": ("Prepared", "Request", "Result", "evaluate", "predict", "restore", "resume", "train"),
    "tuning.tune": ("Tuning", "read_recipe", "resume_tuning", "tune"),
    "verification": ("Verification", "verify"),
}
_WHERE = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "Averaged", "Callback", "Case", "Checkpoints", "Comparison", "Distillation", "EarlyStopping", "Ensemble", "Evaluation",
    "Exported", "Log", "Loop", "LowerOnPlateau", "average", "distill",
    "NeuralClassifier", "NeuralRegressor", "Position", "Prepared", "Progress", "Recipe", "Request", "Result", "Room",
    "Run", "Step", "Task", "Tuning", "Verification", "compare", "draw", "evaluate", "export", "predict",
    "predict_exported", "read_recipe", "restore", "resume",
    "resume_comparison", "resume_tuning", "room", "rooms", "task_for", "train", "tune", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"nnatomy.experiments.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'nnatomy.experiments' has no attribute {name!r}")
