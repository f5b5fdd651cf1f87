"""What happens beside the loop: checkpoints, the log, early stopping, and a view of progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from nnatomy.experiments.loop import Callback, Loop, Position
from nnatomy.experiments.recipe import HIGHER, better
from nnatomy.experiments.runs import Run, load_arrays, save_arrays
from nnatomy.experiments.step import State
from nnatomy.optim import ReduceOnPlateau

EVERY = 10.0  # seconds between checkpoints, at least


class Checkpoints(Callback):
    """Writes `last` (all that the run needs to continue exactly) and `best` (the weights of the best epoch).

    At the end of epochs and inside long ones, no more often than every `seconds`, and whenever the run stops in good order.
    Of several hosts all bring the state together, and the first one writes.
    """

    def __init__(self, run: Run, seconds: float | None = None) -> None:
        self.run, self.seconds = run, EVERY if seconds is None else seconds
        self._written = time.perf_counter()
        self._asked = False
        self._best: float | None = None

    def after_step(self, loop: Loop) -> None:
        if loop.position.batch < loop.steps_per_epoch:  # the end of an epoch is saved after its validation
            self._save_now_and_then(loop)

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        self._save_now_and_then(loop)

    def end(self, loop: Loop) -> None:
        if loop.outcome != "failed":
            self.save(loop)

    def _save_now_and_then(self, loop: Loop) -> None:
        due = time.perf_counter() - self._written >= self.seconds
        if loop.agreed(due and not self._asked):
            self.save(loop)
        else:
            self._asked = due

    def save(self, loop: Loop) -> None:
        """Writes both files, `best` first: whoever finds `last` finds what it refers to."""
        loop.settle()
        at = loop.position
        at.seconds = loop.elapsed()
        arrays, plain = flatten(loop.devices.to_host(loop.step.plain(loop.state)))
        self._asked = False
        if not loop.devices.hosts.first:
            return
        if at.best is not None and at.best != self._best:
            save_arrays(self.run.best, loop.best, {"metric": loop.recipe.metric, "value": at.best, "epoch": at.best_epoch})
            self._best = at.best
        callbacks = [getattr(callback, "state", None) for callback in loop.callbacks]
        save_arrays(self.run.last, arrays, {"plain": plain, "position": asdict(at), "callbacks": callbacks})
        self._written = time.perf_counter()


def load_checkpoint(run: Run) -> tuple[State, Position, dict[str, Any], list[Any]]:
    """What `Checkpoints.save` wrote: the state, the position, the best weights so far and the callbacks' states."""
    arrays, metadata = load_arrays(run.last)
    position = Position(**metadata["position"])
    best = load_arrays(run.best)[0] if position.best is not None else {}
    return unflatten(arrays, metadata["plain"]), position, best, metadata["callbacks"]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays and the plain values of a nested dictionary, by path."""
    arrays: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}/{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            if not value:
                plain[path] = {}
            more_arrays, more_plain = flatten(value, path)
            arrays.update(more_arrays)
            plain.update(more_plain)
        elif hasattr(value, "dtype"):
            arrays[path] = np.asarray(value)
        else:
            plain[path] = value
    return arrays, plain


def unflatten(arrays: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dictionary that `flatten` took apart."""
    tree: dict[str, Any] = {}
    for path, value in [*arrays.items(), *plain.items()]:
        *parents, last = path.split("/")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return tree


class Log(Callback):
    """One line of metrics.jsonl for each epoch; a resumed run forgets the lines that it will write again."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def begin(self, loop: Loop) -> None:
        self.run.rewind([line for line in self.run.history() if line["epoch"] <= loop.position.epoch])

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        self.run.append(line)


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


class Progress(Callback):
    """Shows how far the run is and how long it will take: a bar on a terminal or in a notebook, lines elsewhere."""

    def __init__(self, every: float = 30.0) -> None:
        self.every = every
        self._bar: Any = None
        self._task: Any = None
        self._told = time.perf_counter()
        self._text = ""

    def begin(self, loop: Loop) -> None:
        from rich.console import Console

        console = Console(stderr=True)
        if not (console.is_terminal or console.is_jupyter):
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.description}"), console=console,
        )  # fmt: skip
        self._bar.start()
        self._task = self._bar.add_task("", total=loop.position.total, completed=loop.position.step, epoch=self._epoch(loop))

    def after_step(self, loop: Loop) -> None:
        at = loop.position
        if self._bar is not None:
            self._bar.update(self._task, completed=at.step, total=at.total, epoch=self._epoch(loop))
        elif time.perf_counter() - self._told > self.every:
            loss = at.loss_sum / max(at.examples, 1)
            self._say(f"epoch {self._epoch(loop)}  step {at.step} of {at.total}  train loss {loss:.4g}{self._left(loop)}")

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        metric = loop.recipe.metric
        text = f"train loss {line['train_loss']:.4g}, validation {metric} {line['validation'][metric]:.4g}"
        if self._bar is not None:
            self._bar.update(self._task, description=text)
        elif self._due(loop):
            self._say(f"epoch {line['epoch']}/{loop.epochs}  {text}{self._left(loop)}")

    def end(self, loop: Loop) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _epoch(self, loop: Loop) -> str:
        return f"{min(loop.position.epoch + 1, loop.epochs)}/{loop.epochs}"

    def _due(self, loop: Loop) -> bool:
        """Every epoch of a slow run; of a fast one about two lines a second, and the last epoch."""
        return time.perf_counter() - self._told > 0.5 or loop.position.epoch in (1, loop.epochs) or bool(loop.position.stopped)

    def _left(self, loop: Loop) -> str:
        at = loop.position
        remaining = max(at.total - at.step, 0) * loop.elapsed() / max(at.step, 1)
        return f"  ({clock(loop.elapsed())} so far, about {clock(remaining)} left)"

    def _say(self, text: str) -> None:
        self._told = time.perf_counter()
        print(text, file=sys.stderr, flush=True)


def counted(n: int, noun: str) -> str:
    """1 epoch, 2 epochs."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def clock(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
