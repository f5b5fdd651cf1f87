"""The third table of docs/results.md: the time of a training step, next to the PyTorch twin's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nnatomy.benchmark.report import in_markdown, wrapped
from results.against import parts

TITLE = "## Steps of training"
HEADER = ("architecture", "data", "batch", "ours, ms", "PyTorch twin, ms", "twin / ours")


class Row(NamedTuple):
    """The cells of a row."""

    architecture: str
    data: str
    batch: str
    ours: str
    twin: str
    ratio: str


def read(page: str) -> list[Row]:
    """Return the rows of a page."""
    lines = [line for line in parts(page, TITLE)[1].splitlines() if line.startswith("| ")]
    return [Row(*(cell.strip() for cell in line.strip("| ").split(" | "))) for line in lines[2:]]


def written(page: str, rows: Sequence[Row]) -> str:
    """Return a page with these rows in place of those that it had."""
    before, _, after = parts(page, TITLE)
    slower = [row.architecture for row in rows if float(row.ratio) < 1]
    behind = f"Ours is slower in {', '.join(slower)}." if slower else "Ours is the faster one in each row."
    return before.rstrip("\n") + "\n\n" + wrapped([
        TITLE,
        """Written by `python benchmarks/steps.py`: a step of the training loop by the default recipe, from the batch to the
        updated weights, and forward, backward and update of the PyTorch twin in eager mode. Both have the same batch size,
        optimizer and clipping, and take turns in one process; ours on two threads, PyTorch's on one or two, whichever is
        faster. Medians, without the first steps.""",
        behind,
        in_markdown((HEADER, [tuple(row) for row in rows])),
    ]) + after  # fmt: skip
