"""A view of a run's progress, on a terminal, in a notebook or in lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnatomy.printing import listed, print_text
from nnatomy.training.loop import Callback, Loop

if TYPE_CHECKING:
    from nnatomy.runs.prepare import Prepared

STEPS, SECONDS = 10, 2.0
"""Steps and seconds after the first step that show the pace of a run."""


class Progress(Callback):
    """Shows how far the run is and how long it will take: a bar on a terminal or in a notebook, lines elsewhere."""

    def __init__(self, every: float = 30.0) -> None:
        self.every = every
        self._bar: Any = None
        self._task: Any = None
        self._printed = time.perf_counter()
        self._first: tuple[int, float] | None = None  # a step, which compiles, and when it was done

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
        position = loop.position
        self._first = self._first or (position.step, loop.elapsed())
        if self._bar is not None:
            self._bar.update(self._task, completed=position.step, total=position.total, epoch=self._epoch(loop))
        elif time.perf_counter() - self._printed > self.every:
            loss = position.loss_sum / max(position.examples, 1)
            step = f"step {position.step} of {position.total}"
            self._log(f"epoch {self._epoch(loop)}  {step}  train loss {loss:.4g}{self._left(loop)}")

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        metric = loop.recipe.metric
        text = f"train loss {line['train_loss']:.4g}, validation {metric} {line['validation'][metric]:.4g}"
        if self._bar is not None:
            self._bar.update(self._task, description=text)
        elif self._due(loop):
            self._log(f"epoch {line['epoch']}/{loop.epochs}  {text}{self._left(loop)}")

    def end(self, loop: Loop) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _epoch(self, loop: Loop) -> str:
        return f"{min(loop.position.epoch + 1, loop.epochs)}/{loop.epochs}"

    def _due(self, loop: Loop) -> bool:
        """Every epoch of a slow run; of a fast one about two lines a second, and the last epoch."""
        epoch, stopped = loop.position.epoch, bool(loop.position.stopped)
        return time.perf_counter() - self._printed > 0.5 or epoch in (1, loop.epochs) or stopped

    def _left(self, loop: Loop) -> str:
        """The time so far; and the time left, once enough steps and seconds have shown their pace."""
        now, position = loop.elapsed(), loop.position
        first, before = self._first or (position.step, now)
        steps, seconds = position.step - first, now - before
        if steps < STEPS or seconds < SECONDS:
            return f"  ({clock(now)} so far)"
        remaining = max(position.total - position.step, 0) * seconds / steps
        if loop.budget is not None:
            remaining = min(remaining, max(loop.budget - now, 0.0))
        return f"  ({clock(now)} so far, about {clock(remaining)} left)"

    def _log(self, text: str) -> None:
        self._printed = time.perf_counter()
        print_text(text, file=sys.stderr, flush=True)


def in_notebook() -> bool:
    """Return True if the code runs in a notebook, where a training without a sign of life looks dead."""
    if "IPython" not in sys.modules:
        return False
    from rich.console import Console

    return Console().is_jupyter


def counted(n: int, noun: str) -> str:
    """1 epoch, 2 epochs."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def clock(seconds: float) -> str:
    """Return seconds as text: 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def announce(prepared: Prepared) -> None:
    """Print, before the work starts, the architecture, the data and the notices about the data."""
    dataset = prepared.dataset
    sizes = ", ".join(
        f"{len(s):,} {name}"
        for name, s in (("training", dataset.train), ("validation", dataset.validation), ("test", dataset.test))
    )
    title, parameters = prepared.architecture.front["title"], prepared.model.count_parameters()
    print_text(f"{title} with {parameters:,} parameters on {dataset.name} ({dataset.task}): {sizes} examples.", file=sys.stderr)
    inputs = [f"{c.name} {c.type}" for c in dataset.columns if c.role == "input"]
    if inputs:
        print_text(f"  inputs: {listed(inputs)} (--types COLUMN=TYPE changes one)", file=sys.stderr)
    log(dataset.notices)


def log(notices: Sequence[str]) -> None:
    """Print the notices about data."""
    for notice in notices:
        print_text(f"  note: {notice}", file=sys.stderr)
