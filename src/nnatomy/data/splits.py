"""Dividing rows into training, validation and test rows; nothing here looks at the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Split, SubsetSplit, generator
from nnatomy.errors import UserError

__all__ = ["chronological", "limited", "split_rows"]

Array = npt.NDArray[Any]
SMALLEST = 5  # rows below which three splits make no sense


def split_rows(
    n: int, classes: Array | None, seed: int, fractions: tuple[float, float] = (0.15, 0.15), names: tuple[str, ...] = ()
) -> tuple[Array, Array, Array]:
    """Return sorted row numbers (train, validation, test), stratified by `classes[n]` where it is given.

    `fractions` are those of validation and test. Raises UserError where a class has too few rows to be in all three.
    """
    from sklearn.model_selection import train_test_split

    if n < SMALLEST:
        raise UserError(f"Training needs at least {SMALLEST} rows for its three splits, received {n}; add rows.")
    smallest = 1
    if classes is not None:
        ids, counts = np.unique(classes, return_counts=True)
        few = ids[counts < 3]
        if len(few):
            label = names[int(few[0])] if names else str(few[0])
            raise UserError(
                f"Each class needs at least 3 rows (one each for training, validation and test), class {label!r} has "
                f"{int(counts[ids == few[0]][0])}; add rows, merge the class with another or remove its rows."
            )
        smallest = len(ids)
    rows = np.arange(n)
    n_validation, n_test = (max(smallest, round(n * f)) for f in fractions)
    rest, test = train_test_split(rows, test_size=n_test, random_state=seed, stratify=classes)
    left = None if classes is None else classes[rest]
    train, validation = train_test_split(rest, test_size=n_validation, random_state=seed, stratify=left)
    return np.sort(train), np.sort(validation), np.sort(test)


def chronological(n: int, fractions: tuple[float, float] = (0.2, 0.2)) -> tuple[int, int]:
    """Return the row where validation begins and the row where test begins, in the order of the file."""
    return round(n * (1 - sum(fractions))), round(n * (1 - fractions[1]))


def limited(split: Split, limit: int | None, seed: int) -> Split:
    """Return at most `limit` examples of the split, drawn by `seed` and kept in order."""
    if limit is None or len(split) <= limit:
        return split
    return SubsetSplit(split, np.sort(generator(seed).permutation(len(split))[:limit]))
