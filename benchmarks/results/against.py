"""The second table of docs/results.md: networks next to the baselines of their tasks. The first table leaves it as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import NamedTuple

from nnatomy.benchmark.report import in_markdown, wrapped
from nnatomy.training.evaluation import Metric

TITLE = "## Networks and baselines"
HEADER = ("data", "architecture", "metric", "network", "without a network", "the network is", "seconds", "seeds")


class Row(NamedTuple):
    """The cells of a row."""

    data: str
    architecture: str
    metric: str
    network: str
    without: str
    verdict: str
    seconds: str
    seeds: str


def place(metric: Metric, ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return where a network is compared with a baseline: level where the mean difference is below two standard errors."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    error = stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    if abs(mean(differences)) <= 2 * error:
        return "level"
    return "ahead" if metric.improves(mean(ours), mean(theirs)) else "behind"


def section(page: str) -> str:
    """Return the part of a page that begins with this table, later ones too; "" where there is none."""
    _, title, rest = page.partition(TITLE)
    return f"\n{title}{rest}" if title else ""


def parts(page: str, title: str) -> tuple[str, str, str]:
    """Return what is before the section of a title, the section, and what is after it; all is before where it is missing."""
    before, found, rest = page.partition(f"\n{title}\n")
    own, following, after = rest.partition("\n## ")
    return before, own if found else "", following + after


def read(page: str) -> list[Row]:
    """Return the rows of a page."""
    lines = [line for line in parts(page, TITLE)[1].splitlines() if line.startswith("| ")]
    return [Row(*(cell.strip() for cell in line.strip("| ").split(" | "))) for line in lines[2:]]


def written(page: str, rows: Sequence[Row]) -> str:
    """Return a page with these rows in place of those that it had."""
    before, _, after = parts(page, TITLE)
    return before + "\n" + wrapped([
        TITLE,
        """Written by `python benchmarks/against_baselines.py`: default recipes next to every baseline of the task (see
        [baselines](baselines.md)), fitted on the same splits, which the seeds decide. Level: the mean difference from the best
        baseline is at most two standard errors over the seeds. Seconds are those of one training.""",
        in_markdown((HEADER, [tuple(row) for row in rows])),
    ]) + after  # fmt: skip
