"""How rooms are trained and measured: recipes, the loop, runs, tasks. Imports of models happen when a room is asked for."""

from nnatomy.experiments.callbacks import Checkpoints, EarlyStopping, Log, Progress
from nnatomy.experiments.loop import Callback, Loop, Position
from nnatomy.experiments.recipe import Case, Recipe
from nnatomy.experiments.rooms import Room, room, rooms
from nnatomy.experiments.runs import Run
from nnatomy.experiments.step import Step
from nnatomy.experiments.tasks import Evaluation, Task, task_for
from nnatomy.experiments.train import Prepared, Request, Result, evaluate, predict, restore, resume, train

__all__ = [
    "Callback", "Case", "Checkpoints", "EarlyStopping", "Evaluation", "Log", "Loop", "Position", "Prepared", "Progress",
    "Recipe", "Request", "Result", "Room", "Run", "Step", "Task", "evaluate", "predict", "restore", "resume", "room", "rooms", "task_for", "train",
]  # fmt: skip
