"""Dividing rows into training, validation and test rows; nothing here looks at the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Split, SubsetSplit, generator
from nnatomy.data.folds import Fold, Periods
from nnatomy.errors import UserError

__all__ = ["chronological", "class_ids", "limited", "split_rows"]

Array = npt.NDArray[Any]
SMALLEST = 5  # rows below which three splits make no sense


def split_rows(
    n: int, classes: Array | None, seed: int, fractions: tuple[float, float] = (0.15, 0.15), names: tuple[str, ...] = ()
) -> tuple[Array, Array, Array]:
    """Return sorted row numbers (train, validation, test), stratified by `classes[n]` where it is given.

    `fractions` are those of validation and test. Raises UserError where a class has too few rows to be in all three.
    """
    if n < SMALLEST:
        raise UserError(f"Training needs at least {SMALLEST} rows for its three splits. Received {n}. Add rows.")
    rng = generator(seed)
    parts: tuple[list[Array], list[Array], list[Array]] = ([], [], [])
    groups = np.zeros(n, dtype=np.int64) if classes is None else classes
    for group in np.unique(groups):
        rows = rng.permutation(np.flatnonzero(groups == group))
        if len(rows) < 3:
            label = names[int(group)] if names else str(group)
            raise UserError(
                "Each class needs at least 3 rows (one each for training, validation and test). Received "
                f"{len(rows)} of class {label!r}. Add rows, merge the class with another or remove its rows."
            )
        held, tested = (max(1, round(len(rows) * fraction)) for fraction in fractions)
        for part, piece in zip(parts, np.split(rows, [len(rows) - held - tested, len(rows) - tested]), strict=True):
            part.append(piece)
    train, validation, test = (np.sort(np.concatenate(part)) for part in parts)
    return train, validation, test


def chronological(n: int, fractions: tuple[float, float] = (0.2, 0.2), fold: Fold | None = None) -> Periods:
    """Return the stretches (train, validation, test) of `n` rows in the order of the file, or those of a `fold`."""
    if fold is not None:
        return fold.periods(n)
    first, second = round(n * (1 - sum(fractions))), round(n * (1 - fractions[1]))
    return (0, first), (first, second), (second, n)


def class_ids(labels: Sequence[str], classes: Sequence[str], source: object) -> Array:
    """Return the class ids int64[n] of labels by the classes that a model knows; raises UserError for an unknown one."""
    place = {name: n for n, name in enumerate(classes)}
    unknown = next((label for label in labels if label not in place), None)
    if unknown is not None:
        raise UserError(
            f"The model knows the classes {', '.join(classes)}. Received {source}, which has {unknown!r}. Correct or remove it."
        )
    return np.array([place[label] for label in labels], dtype=np.int64)


def limited(split: Split, limit: int | None, seed: int) -> Split:
    """Return at most `limit` examples of the split, drawn by `seed` and kept in order."""
    if limit is None or len(split) <= limit:
        return split
    return SubsetSplit(split, np.sort(generator(seed).permutation(len(split))[:limit]))
