"""Outer and inner folds: which rows a model may learn from, choose by and be judged by. Nothing here looks at the inputs.

A `Fold` is given to `load`, whose readers then part their raw rows by it and fit everything else on the training rows.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import generator
from nnatomy.errors import UserError

__all__ = ["Fold", "Periods"]

Array = npt.NDArray[Any]
Periods = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""The first row of training, validation and test, each with the row after its last."""


@dataclass(frozen=True)
class Fold:
    """Fold `number` of `of` is the test part; of the other rows, one part of `inner_of` is for validation.

    Rows are dealt by scikit-learn's StratifiedKFold (classes), KFold (numbers), StratifiedGroupKFold or GroupKFold (groups) and
    TimeSeriesSplit (order of time: every part is before the next). The same values give the same rows on every machine.
    """

    number: int
    of: int
    seed: int = 0
    inner: int | None = None
    """Which inner fold is for validation, for cross-validation inside the fold; None holds out one, the latest in time."""
    inner_of: int = 6
    limit: int | None = None
    """At most so many rows take part at all: drawn in proportion to the classes, or the latest in time."""
    groups: str | None = None
    """A column of a table: rows with the same value are never split."""
    share: float = 1.0
    """The part of the training rows that is used, for learning curves: smaller parts are within larger ones."""

    def __post_init__(self) -> None:
        if self.of < 2 or self.inner_of < 2:
            raise UserError(f"Cross-validation needs at least 2 folds. Received {min(self.of, self.inner_of)}. Use --cv 5.")
        if not (0 <= self.number < self.of and (self.inner is None or 0 <= self.inner < self.inner_of)):
            raise UserError(f"Folds are counted from 0 to {self.of - 1}. Received {self.number}. Use 0 for the first.")
        if not 0 < self.share <= 1:
            raise UserError(
                f"A part of the training rows is above 0 and at most 1. Received {self.share:g}. Use 1 for all rows."
            )
        if self.limit is not None and self.limit < 2 * self.of:
            raise UserError(
                f"{self.of} folds need at least {2 * self.of} rows. Received the limit {self.limit}. Raise --limit."
            )

    def rows(
        self, n: int, classes: Array | None = None, names: tuple[str, ...] = (), groups: Array | None = None
    ) -> tuple[Array, Array, Array]:
        """Return sorted row numbers (train, validation, test) of `n` rows, by their class ids or their group ids.

        Raises UserError where rows, groups or members of a class are fewer than the folds.
        """
        if n < 2 * self.of:
            raise UserError(f"{self.of} folds need at least {2 * self.of} rows. Received {n}. Lower --cv or add rows.")
        chosen = np.sort(_drawn(n, classes, n if self.limit is None else self.limit, self.seed))
        y, g = (None if ids is None else ids[chosen] for ids in (classes, groups))
        self._check(y, names, g)
        rest, test = _dealt(len(chosen), y, g, self.of, self.number, self.seed)
        y_rest, g_rest = (None if ids is None else ids[rest] for ids in (y, g))
        train, validation = _dealt(len(rest), y_rest, g_rest, self.inner_of, self.inner or 0, self.seed + 1)
        kept = _drawn(len(train), None if y_rest is None else y_rest[train], max(1, round(self.share * len(train))), self.seed)
        return chosen[rest[np.sort(train[kept])]], chosen[rest[validation]], chosen[test]

    def _check(self, classes: Array | None, names: tuple[str, ...], groups: Array | None) -> None:
        if groups is not None and len(np.unique(groups)) < max(3, self.of):
            found, need = len(np.unique(groups)), max(3, self.of)
            raise UserError(
                f"{self.of} folds need at least {need} groups. Received {self.groups!r}, which has {found}. Choose another "
                "column."
            )
        if classes is None:
            return
        for group, count in zip(*np.unique(classes, return_counts=True), strict=True):
            if count < self.of and groups is None:
                label = names[int(group)] if names else str(group)
                raise UserError(
                    f"Each class needs a row in each of the {self.of} folds. Received {count} of class {label!r}. "
                    "Lower --cv, raise --limit or merge the class with another."
                )

    def periods(self, n: int) -> Periods:
        """Return the stretches (train, validation, test) of `n` rows in order of time; each is before the next."""
        from sklearn.model_selection import TimeSeriesSplit

        begin = max(0, n - self.limit) if self.limit is not None else 0
        if n - begin < 4 * self.of:
            raise UserError(f"{self.of} folds in order of time need {4 * self.of} rows. Received {n - begin}. Lower --cv.")
        outer = list(TimeSeriesSplit(self.of).split(np.arange(begin, n)))
        test = outer[self.number][1] + begin
        if self.inner is None:
            inner = list(TimeSeriesSplit(self.inner_of - 1).split(np.arange(begin, test[0])))[-1]
        else:
            inner = list(TimeSeriesSplit(self.inner_of).split(np.arange(begin, test[0])))[self.inner]
        held = inner[1] + begin
        first = int(held[0]) - max(1, round(self.share * len(inner[0])))
        return (first, int(held[0])), (int(held[0]), int(held[-1]) + 1), (int(test[0]), int(test[-1]) + 1)

    def rows_in_time(self, n: int) -> tuple[Array, Array, Array]:
        """Return row numbers (train, validation, test) of `n` rows in order of time."""
        train, validation, test = (np.arange(*period) for period in self.periods(n))
        return train, validation, test


def _drawn(n: int, classes: Array | None, count: int, seed: int) -> Array:
    """Return `count` of `n` row numbers, each class in proportion; fewer rows are among those that more rows would be."""
    order = generator(seed).permutation(n)
    if count >= n:
        return order
    if classes is None:
        return order[:count]
    place, ids = np.empty(n), classes[order]
    for group in np.unique(ids):
        members = np.flatnonzero(ids == group)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(place, kind="stable")[:count]]


def _dealt(n: int, classes: Array | None, groups: Array | None, of: int, number: int, seed: int) -> tuple[Array, Array]:
    """Return (the other rows, the rows of fold `number`), dealt by the splitter of scikit-learn that fits."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    how = {"shuffle": True, "random_state": seed % 2**32}
    most = n if classes is None else int(np.unique(classes, return_counts=True)[1].max())
    if groups is not None:
        splits = min(of, len(np.unique(groups)))
        splitter = (GroupKFold if classes is None else StratifiedGroupKFold)(splits, **how)
    else:
        splits = min(of, most if most > 1 else n)
        splitter = (KFold if classes is None or most < 2 else StratifiedKFold)(splits, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class that some inner fold does without
        found = list(splitter.split(np.zeros(n), classes, groups))
    rest, test = found[number % splits]
    return rest, test
