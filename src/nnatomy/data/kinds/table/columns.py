"""The columns of a table: their types and outliers, and which of them leak the target or repeat each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.cells import ENOUGH, numbers
from nnatomy.errors import UserError

__all__ = ["far_outliers", "gives_away", "is_repeated", "one_to_one", "task_of"]

Array = npt.NDArray[Any]


def task_of(target: str, kind: str, cells: Sequence[str], chosen: bool = False) -> str:
    """Return "classification" or "regression" by the target's type and values.

    Few whole numbers are classes unless the type was `chosen`. Raises UserError where neither task fits.
    """
    present = [c for c in cells if c]
    distinct = len(set(present))
    if kind == "empty":
        raise UserError(f"A target needs values. Received {target!r} without any. Choose another column.")
    if kind == "constant":
        raise UserError(
            f"A target needs two values or more. Received {target!r}, which is {present[0]!r} in every row. Choose another "
            "column."
        )
    if kind in ("boolean", "categorical"):
        return "classification"
    if kind in ("text", "date", "nested"):
        raise UserError(
            f"A target is a class or a number. Received {target!r}, which holds {'dates' if kind == 'date' else 'free text'} "
            f"({distinct} different in {len(present)} rows). Choose another column or its type."
        )
    values = numbers(cells)
    values = values[np.isfinite(values)]
    few = not chosen and distinct <= 20 and len(values) >= 10 * distinct and bool(np.all(values == np.round(values)))
    return "classification" if few and kind == "numeric" else "regression"


def far_outliers(values: Array) -> int:
    """Count values more than three interquartile ranges beyond the quartiles (Tukey 1977, "far out")."""
    finite = values[np.isfinite(values)]
    if len(finite) < ENOUGH:
        return 0
    low, high = np.quantile(finite, [0.25, 0.75])
    reach = 3 * (high - low)
    return int(np.sum((finite < low - reach) | (finite > high + reach))) if reach > 0 else 0


def one_to_one(a: Sequence[str], b: Sequence[str]) -> bool:
    """Return True if `a` and `b` map one to one; missing cells and 0.1 % of rows are ignored."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x and y]
    if len(pairs) < max(ENOUGH, len(a) // 10):
        return False
    left, i = np.unique([x for x, _ in pairs], return_inverse=True)
    right, j = np.unique([y for _, y in pairs], return_inverse=True)
    if len(left) != len(right) or len(left) < 2 or 2 * len(left) > len(pairs):
        return False
    counts = np.zeros((len(left), len(right)), dtype=np.int64)
    np.add.at(counts, (i, j), 1)
    agreed = counts.max(axis=1).sum()
    return bool(agreed >= 0.999 * len(pairs) and len(set(counts.argmax(axis=1))) == len(left))


def gives_away(kind: str, cells: Sequence[str], target: Sequence[str], task: str) -> str | None:
    """Return why a column gives the target away ("repeats", ...), or None; judge on training rows only."""
    if one_to_one(cells, target):
        return "repeats"
    if task != "regression" or kind not in ("numeric", "date"):
        return None
    x = numbers(cells) if kind == "numeric" else np.full(len(cells), np.nan)
    y = numbers(target)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < max(ENOUGH, len(cells) // 10) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    if np.array_equal(x, y):
        return "repeats"
    if abs(np.corrcoef(x, y)[0, 1]) > 0.999:
        return "is a straight line of"
    x_rank, y_rank = (np.argsort(np.argsort(v, kind="stable"), kind="stable") for v in (x, y))
    if abs(np.corrcoef(x_rank, y_rank)[0, 1]) > 0.99999:
        return "puts the rows in the order of"
    return None


def is_repeated(types: Mapping[str, str], columns: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return pairs of columns of few values that say the same, such as Titanic's pclass and class."""
    few = [name for name in types if len(set(columns[name])) <= ENOUGH]
    return [(a, b) for n, a in enumerate(few) for b in few[n + 1 :] if one_to_one(columns[a], columns[b])]
