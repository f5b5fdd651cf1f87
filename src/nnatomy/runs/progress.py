"""A view of a run's progress, on a terminal, in a notebook or in lines."""

from __future__ import annotations

import sys
import time
from typing import Any

from nnatomy.training.loop import Callback, Loop


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
