"""A small source of each kind of data, in which chosen rows can be made wild. A new kind needs one to inherit the contracts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from small_files import hours, mnist_folder

from nnatomy.data.kinds.image.idx import read_idx, write_idx

Array = np.ndarray[Any, Any]
N = 90
CLASSES = np.arange(N) % 3


@dataclass(frozen=True)
class Sample:
    """A source, and how it is read."""

    write: Callable[[Path, Array], Path | str]
    """(folder, numbers of rows) -> a source whose given rows are wild; a name where the data are made."""
    options: dict[str, Any] = field(default_factory=dict)
    dealt: bool = True
    """True if rows are dealt at random, so that every row is tested once; else they follow each other in time."""
    made: bool = False
    """True if there is no file: rows cannot be made wild, nor read again."""


def table(folder: Path, wild: Array) -> Path:
    rng = np.random.default_rng(0)
    x, color = rng.normal(size=N).astype(object), np.array(["red", "blue"], object)[rng.integers(0, 2, N)]
    x[wild], color[wild] = 1e6, "never seen"
    x[wild[:1]] = ""
    lines = [f"{a},{b},class{c}" for a, b, c in zip(x, color, CLASSES, strict=True)]
    return _written(folder / "t.csv", ["x,color,y", *lines])


def image(folder: Path, wild: Array) -> Path:
    made = mnist_folder(folder / "images", N)
    images = read_idx(made / "train-images-idx3-ubyte").copy()
    images[wild] = 255
    write_idx(made / "train-images-idx3-ubyte", images)
    return made


def sentences(folder: Path, wild: Array) -> Path:
    rng = np.random.default_rng(0)
    words = [rng.choice(["good", "bad", "film", "plot", "end"], size=3 + n % 4).tolist() for n in range(N)]
    for row in wild:
        words[row] = ["never", "seen", "before"]
    return _written(folder / "s.tsv", [" ".join(w) + f"\tclass{c}" for w, c in zip(words, CLASSES, strict=True)])


def text(folder: Path, wild: Array) -> Path:
    letters = np.array(list("to be or not to be " * 40))
    letters[wild] = "Z"
    return _written(folder / "t.txt", ["".join(letters)])


def series(folder: Path, wild: Array) -> Path:
    values = np.sin(np.arange(600) / 7)
    values[wild] = np.random.default_rng(0).normal(50, 9, len(wild))
    return _written(folder / "s.csv", ["time,x", *(f"{t},{v}" for t, v in zip(hours(600), values, strict=True))])


def arrays(folder: Path, wild: Array) -> Path:
    x = np.random.default_rng(0).normal(size=(N, 4)) * [1, 10, 100, 0] + [0, 1e3, 0, 7]
    y = x[:, 0] + 3
    x[wild], y[wild] = 1e6, -1e6
    np.savez(folder / "a.npz", X=x, y=y)
    return folder / "a.npz"


def density(folder: Path, wild: Array) -> Path:
    xy = np.random.default_rng(0).normal(size=(N, 2)) * [1, 30] + [0, 5]
    xy[wild] = 1e6
    return _written(folder / "d.csv", ["x,y,mode", *(f"{x},{y},mode{c}" for (x, y), c in zip(xy, CLASSES, strict=True))])


def points(folder: Path, wild: Array) -> Path:
    xy = np.random.default_rng(0).normal(size=(N, 2))
    xy[wild] = 1e6
    return _written(folder / "p.points", [f"{x} {y} class{c}" for (x, y), c in zip(xy, CLASSES, strict=True)])


def _written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


SAMPLES = {
    "table": Sample(table, {"target": "y"}),
    "image": Sample(image),
    "sentences": Sample(sentences),
    "text": Sample(text, {"window": 8}, dealt=False),
    "series": Sample(series, {"window": 8, "horizon": 4}, dealt=False),
    "sequences": Sample(lambda folder, wild: "narma10", {"window": 12}, dealt=False, made=True),
    "arrays": Sample(arrays),
    "density": Sample(density, {"target": "mode", "tasks": ("generation",)}),
    "points": Sample(points),
}
