"""Data made on the spot from a seed: points in the plane, logic tables, and classic series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.csvfile import RawTable
from nnatomy.data.dataset import ArraySplit, Batch, Dataset, Preprocessing, generator
from nnatomy.data.encoding import Field, TablePreprocessing
from nnatomy.data.folds import Fold
from nnatomy.data.series import Series, forecast_dataset
from nnatomy.data.table import table_dataset
from nnatomy.errors import UserError

__all__ = ["GENERATED", "generated_dataset", "mackey_glass", "narma10", "points"]

Array = npt.NDArray[Any]
LOGIC = {"and": (0, 0, 0, 1), "or": (0, 1, 1, 1), "nand": (1, 1, 1, 0), "nor": (1, 0, 0, 0), "logic_xor": (0, 1, 1, 0)}
PLANE = ("moons", "circles", "spirals", "blobs", "xor", "halves")
GENERATED: dict[str, str] = {
    **dict.fromkeys((*PLANE, *LOGIC), "table"),
    **dict.fromkeys(("sines", "mackey_glass", "narma10", "adding_problem"), "series"),
}


def generated_dataset(
    name: str, seed: int, window: int | None = None, horizon: int | None = None, fold: Fold | None = None
) -> Dataset:
    """Return the named set; the same seed gives the same numbers. Raises UserError for folds of a truth table."""
    if name in LOGIC and fold is not None:
        raise UserError(f"Folds need rows to be held out, {name} has four, and each is needed to learn; choose other data.")
    if name in LOGIC:
        return _logic(name)
    if name in PLANE:
        xy, ids = points(name, 1000, generator(seed))
        columns = {axis: [repr(float(v)) for v in xy[:, n]] for n, axis in enumerate("xy")}
        made = table_dataset(name, RawTable({**columns, "class": [str(c) for c in ids]}, name), "class", seed=seed, fold=fold)
        return replace(made, notices=(), description=f"1,000 points in the plane: {name}")
    if name in ("narma10", "adding_problem"):
        return _sequences(name, seed, window, fold)
    n = 4000
    values = mackey_glass(n) if name == "mackey_glass" else _sines(n, generator(seed))
    times = np.arange(n).astype("datetime64[s]")
    return forecast_dataset(Series(name, "time", times, (name,), values[:, None]), name, window, horizon, fold)


def points(name: str, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return n points [n, 2] in the plane and their class ids; names are those of PLANE."""
    ids = np.arange(n) % (3 if name in ("blobs", "spirals") else 2)
    t = rng.uniform(0, 1, n)
    noise = rng.normal(0, 1, (n, 2))
    if name == "moons":
        x, y = (
            np.where(ids == 0, np.cos(np.pi * t), 1 - np.cos(np.pi * t)),
            np.where(ids == 0, np.sin(np.pi * t), 0.5 - np.sin(np.pi * t)),
        )
        return np.stack([x, y], axis=1) + 0.1 * noise, ids
    if name == "circles":
        radius = np.where(ids == 0, 1.0, 0.5)
        return radius[:, None] * np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], axis=1) + 0.06 * noise, ids
    if name == "spirals":
        angle = 4.5 * np.sqrt(t) + 2 * np.pi * ids / 3
        return np.sqrt(t)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.02 * noise, ids
    if name == "blobs":
        centres = np.array([[0.0, 2.0], [-1.8, -1.0], [1.8, -1.0]])
        return centres[ids] + 0.7 * noise, ids
    xy = rng.uniform(-1, 1, (n, 2))
    if name == "xor":
        return xy, (xy[:, 0] * xy[:, 1] < 0).astype(np.int64)
    xy[:, 1] += np.where(xy[:, 1] > xy[:, 0], 0.15, -0.15)  # halves: parted by the line y = x, with a gap
    return xy, (xy[:, 1] > xy[:, 0]).astype(np.int64)


def _logic(name: str) -> Dataset:
    """Return the four rows of a truth table; with so few, the same rows serve for training and testing."""
    rows = np.array([(a, b) for a in (0, 1) for b in (0, 1)], dtype=np.float32)
    fields = tuple(Field(column, "boolean", 0.0, False) for column in ("a", "b"))
    split = ArraySplit((rows, np.array(LOGIC[name], dtype=np.int64)))
    preprocessing = TablePreprocessing(fields, "out", "classification", ("0", "1"))
    notices = ("All four rows are used for training, validation and test: there are no others.",)
    return Dataset(
        name,
        "table",
        "classification",
        split,
        split,
        split,
        ("0", "1"),
        preprocessing,
        notices,
        (2,),
        f"the truth table of {name}",
        2,
    )


def _sines(n: int, rng: np.random.Generator) -> Array:
    t = np.arange(n)
    return np.asarray(np.sin(2 * np.pi * t / 25) + 0.5 * np.sin(2 * np.pi * t / 61 + 1.0) + rng.normal(0, 0.05, n))


def mackey_glass(n: int, tau: int = 17, steps: int = 10) -> Array:
    """Return n points, one time unit apart, of dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x (Mackey and Glass 1977).

    Runge-Kutta of order four with `steps` steps a unit, the delayed value interpolated; the first 300 units are dropped.
    """
    h, delay, total = 1.0 / steps, tau * steps, (n + 300) * steps
    x = np.full(total + delay + 1, 1.2)

    def slope(now: float, late: float) -> float:
        return 0.2 * late / (1.0 + late**10) - 0.1 * now

    for k in range(delay, total + delay):
        late, later = float(x[k - delay]), float(x[k - delay + 1])
        middle = 0.5 * (late + later)
        k1 = slope(x[k], late)
        k2 = slope(x[k] + 0.5 * h * k1, middle)
        k3 = slope(x[k] + 0.5 * h * k2, middle)
        k4 = slope(x[k] + h * k3, later)
        x[k + 1] = x[k] + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x[delay + 300 * steps :: steps][:n]


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
    """Sequences of numbers as they are; targets standardised by the training ones."""

    kind: ClassVar[str] = "sequences"
    features: int
    target_mean: float
    target_std: float

    def transform(self, raw: Array) -> Batch:
        """Return (sequences[n, T, features] as float32,)."""
        if raw.ndim != 3 or raw.shape[2] != self.features:
            raise UserError(f"The model takes sequences [n, steps, {self.features}], received {list(raw.shape)}.")
        return (raw.astype(np.float32),)

    def inverse_targets(self, targets: Array) -> Array:
        return targets * self.target_std + self.target_mean

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "features": self.features,
            "target_mean": self.target_mean,
            "target_std": self.target_std,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> SequencePreprocessing:
        return cls(int(saved["features"]), float(saved["target_mean"]), float(saved["target_std"]))


def _sequences(name: str, seed: int, window: int | None, fold: Fold | None) -> Dataset:
    """Return whole sequences with one number to be found: NARMA's next value, or the sum of two marked numbers."""
    rng, n, length = generator(seed), 4000, window or (30 if name == "narma10" else 50)
    if length < 11:
        raise UserError(f"{name} needs sequences of at least 11 steps, received {length}; give a larger window.")
    if name == "narma10":
        u = rng.uniform(0, 0.5, n + length + 100)
        y = narma10(u)
        starts = np.arange(n) + 100
        x, targets = u[starts[:, None] + np.arange(length)][:, :, None], y[starts + length]
        periods = ((0, 2800), (2800, 3400), (3400, n)) if fold is None else fold.periods(n)
        rows = [np.arange(a + length * (place > 0), b) for place, (a, b) in enumerate(periods)]  # no input shared between parts
        text = "NARMA of order ten: the next value from the inputs so far (Atiya and Parlos 2000)"
    else:
        values, marks = rng.uniform(0, 1, (n, length)), np.zeros((n, length))
        first, second = rng.integers(0, length // 2, n), rng.integers(length // 2, length, n)
        marks[np.arange(n), first] = marks[np.arange(n), second] = 1.0
        x, targets = np.stack([values, marks], axis=2), (values * marks).sum(axis=1)
        rows = [np.arange(0, 2800), np.arange(2800, 3400), np.arange(3400, n)] if fold is None else list(fold.rows(n))
        text = "the sum of the two marked numbers of a sequence (Hochreiter and Schmidhuber 1997)"
    if min(map(len, rows)) < 2:
        raise UserError(f"Sequences of {length} steps leave too little of {name}; give a smaller window or fewer folds.")
    known = targets[rows[0]]
    preprocessing = SequencePreprocessing(x.shape[2], float(known.mean()), float(known.std()))
    scaled = ((targets - preprocessing.target_mean) / preprocessing.target_std).astype(np.float32)[:, None]
    splits = [ArraySplit((x[part].astype(np.float32), scaled[part])) for part in rows]
    return Dataset(
        name, "series", "regression", splits[0], splits[1], splits[2], (), preprocessing, (), (length, x.shape[2]), text, 1,
        ordered=name == "narma10",
    )  # fmt: skip
