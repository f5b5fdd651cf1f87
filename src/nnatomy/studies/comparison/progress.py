"""The progress of a comparison: a bar with the time left on a terminal or in a notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from nnatomy.printing import print_text, printable
from nnatomy.runs.progress import clock
from nnatomy.studies.comparison.protocol import Unit

EVERY = 5.0  # seconds between plain lines


class Progress:
    """Counts units; the time left is that of those still to come, at the pace of the same candidate so far."""

    def __init__(self, units: Iterable[Unit], jobs: int, shown: bool) -> None:
        self._left = list(units)
        self._total = len(self._left)
        self._jobs, self._shown = jobs, shown
        self._started = self._told = time.perf_counter()
        self._taken: dict[str, list[float]] = {}
        self._bar: Any = None
        self._task: Any = None
        if shown and self._total:
            self._bar = self._made_bar()

    def done(self, unit: Unit, answer: Mapping[str, Any], text: str) -> None:
        """Record a finished unit."""
        self._left.remove(unit)
        self._taken.setdefault(unit.candidate, []).append(float(answer.get("seconds", 0.0)) / unit.share)
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=text, left=self._until_done())
        elif self._shown and (time.perf_counter() - self._told > EVERY or not self._left):
            self._told = time.perf_counter()
            so_far = clock(time.perf_counter() - self._started)
            print_text(f"{self._total - len(self._left)} of {self._total}: {text}  ({so_far} so far, {self._until_done()})",
                  file=sys.stderr, flush=True)  # fmt: skip

    def echo(self, text: str) -> None:
        """A line next to the bar."""
        if self._bar is not None:
            self._bar.console.print(printable(text), highlight=False, markup=False)
        elif self._shown:
            print_text(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _until_done(self) -> str:
        known = [seconds for taken in self._taken.values() for seconds in taken]
        usual = sum(known) / max(len(known), 1)
        work = 0.0
        for unit in self._left:
            taken = self._taken.get(unit.candidate)
            work += unit.share * (sum(taken) / len(taken) if taken else usual)
        spent, counted = time.perf_counter() - self._started, sum(known) / self._jobs
        overhead = max(1.0, spent / counted) if counted > 0 else 1.0  # reading data and the like
        return f"about {clock(work / self._jobs * min(overhead, 5.0))} left"

    def _made_bar(self) -> Any:
        from rich.console import Console

        console = Console(stderr=True)
        if not (console.is_terminal or console.is_jupyter):
            return None
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        bar = Bar(
            TextColumn("{task.completed} of {task.total}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
            TextColumn("{task.description}"), console=console,
        )  # fmt: skip
        bar.start()
        self._task = bar.add_task("", total=self._total, left="")
        return bar
