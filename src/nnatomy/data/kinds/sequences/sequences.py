"""Sequences of numbers with one number to be found, made here: NARMA of order ten, and the adding problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Batch, Dataset, Preprocessing, generator
from nnatomy.data.reading import Reading
from nnatomy.data.scaling import scale
from nnatomy.errors import UserError
from nnatomy.saved import Count, Positive

__all__ = ["SequencePreprocessing", "narma10", "sequences"]

Array = npt.NDArray[Any]


def narma10(u: Array) -> Array:
    """Return y for inputs u in [0, 0.5] (Atiya and Parlos 2000).

    y(t + 1) = 0.3 y(t) + 0.05 y(t) sum(y(t - 9) .. y(t)) + 1.5 u(t - 9) u(t) + 0.1
    """
    y = np.zeros(len(u))
    for t in range(9, len(u) - 1):
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * y[t - 9 : t + 1].sum() + 1.5 * u[t - 9] * u[t] + 0.1
    return y


@dataclass(frozen=True)
class SequencePreprocessing(Preprocessing):
    """Sequences of numbers as they are; targets standardized by the training ones."""

    kind: ClassVar[str] = "sequences"
    features: Count
    target_mean: float
    target_std: Positive

    def transform(self, raw: Array) -> Batch:
        """Return (sequences[n, T, features] as float32,)."""
        if raw.ndim != 3 or raw.shape[2] != self.features:
            raise UserError(
                f"The model takes sequences [n, steps, {self.features}]. Received {list(raw.shape)}. "
                "Reshape it to that."
            )
        return (raw.astype(np.float32),)

    def inverse_targets(self, targets: Array) -> Array:
        return targets * self.target_std + self.target_mean


def sequences(name: str, reading: Reading) -> Dataset:
    """Return whole sequences with one number to be found: NARMA's next value, or the sum of two marked numbers."""
    rng, n, length = generator(reading.seed), 4000, int(reading.use("window", 30 if name == "narma10" else 50))
    stretches = ((0, 2800), (2800, 3400), (3400, n))
    if length < 11:
        raise UserError(f"{name} needs sequences of at least 11 steps. Received {length}. Give a larger window.")
    if name == "narma10":
        u = rng.uniform(0, 0.5, n + length + 100)
        y = narma10(u)
        starts = np.arange(n) + 100
        x, targets = u[starts[:, None] + np.arange(length)][:, :, None], y[starts + length]
        periods = reading.periods(n, official=stretches)
        rows = [np.arange(a + length * (place > 0), b) for place, (a, b) in enumerate(periods)]  # no input shared between parts
        text = "NARMA of order ten: the next value from the inputs so far (Atiya and Parlos 2000)"
    else:
        values, marks = rng.uniform(0, 1, (n, length)), np.zeros((n, length))
        first, second = rng.integers(0, length // 2, n), rng.integers(length // 2, length, n)
        marks[np.arange(n), first] = marks[np.arange(n), second] = 1.0
        x, targets = np.stack([values, marks], axis=2), (values * marks).sum(axis=1)
        train, validation, test = (np.arange(*stretch) for stretch in stretches)
        rows = list(reading.part(n, official=(train, validation, test)))
        text = "the sum of the two marked numbers of a sequence, all in [0, 1] (after Hochreiter and Schmidhuber 1997)"
    if min(map(len, rows)) < 2:
        raise UserError(
            f"Each split needs at least 2 sequences. Received {name}, cut into sequences of {length} steps. "
            "Give a smaller window or fewer folds."
        )
    known = targets[rows[0]]
    preprocessing = SequencePreprocessing(x.shape[2], float(known.mean()), float(scale(known)))
    scaled = ((targets - preprocessing.target_mean) / preprocessing.target_std).astype(np.float32)[:, None]
    splits = [ArraySplit((x[part].astype(np.float32), scaled[part])) for part in rows]
    return Dataset(
        name, "series", "regression", splits[0], splits[1], splits[2], (), preprocessing, (), (length, x.shape[2]), text, 1,
        ordered=name == "narma10",
    )  # fmt: skip
