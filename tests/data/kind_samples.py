"""A small source of each kind of data, in which chosen rows can be made wild. A new kind needs one to inherit the contracts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
    """True if there is no file: rows cannot be made extreme, and cannot be read again."""


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


def segmentation(folder: Path, wild: Array) -> Path:
    """Gray pictures, of class 4 where they are bright; wild ones have numbers in their masks that no other has."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 200, (N, 6, 5)).astype(np.uint8)
    masks = np.where(pixels > 100, 4, 1).astype(np.uint8)
    pixels[wild], masks[wild, :3] = 255, 9
    for part, arrays in (("images", pixels), ("masks", masks)):
        (folder / "cells" / part).mkdir(parents=True, exist_ok=True)
        for n, one in enumerate(arrays):
            image.fromarray(one).save(folder / "cells" / part / f"{n:02}.png")
    return folder / "cells"


def sentences(folder: Path, wild: Array) -> Path:
    rng = np.random.default_rng(0)
    words = [rng.choice(["good", "bad", "film", "plot", "end"], size=3 + n % 4).tolist() for n in range(N)]
    for row in wild:
        words[row] = ["never", "seen", "before"]
    return _written(folder / "s.tsv", [" ".join(w) + f"\tclass{c}" for w, c in zip(words, CLASSES, strict=True)])


def pairs(folder: Path, wild: Array) -> Path:
    rng = np.random.default_rng(0)
    german, english = ["der", "Hund", "die", "Katze", "läuft"], ["the", "dog", "the", "cat", "runs"]
    chosen = [rng.integers(0, 5, 2 + n % 4) for n in range(N)]
    texts = [tuple(" ".join(words[i] for i in row) for words in (german, english)) for row in chosen]
    lines = [f"{source} {n}.\t{target}, {n}." for n, (source, target) in enumerate(texts)]
    for row in wild:
        lines[row] = f"nie gesehen {row}\tnever seen ({row})!"
    return _written(folder / "p.tsv", lines)


def text(folder: Path, wild: Array) -> Path:
    letters = np.array(list("to be or not to be " * 40))
    letters[wild] = "Z"
    return _written(folder / "t.txt", ["".join(letters)])


def passages(folder: Path, wild: Array) -> Path:
    letters = np.array(list("the cat sat on the mat. it ran to a dog.\n" * 60))
    letters[wild[np.char.isalpha(letters[wild])]] = "Z"
    return _written(folder / "p.txt", ["".join(letters)])


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


def graph(folder: Path, wild: Array) -> Path:
    """Many graphs: paths and rings of 3 to 6 nodes, the edges described by a number and a word."""
    rng = np.random.default_rng(0)
    made = folder / "graphs"
    made.mkdir(exist_ok=True)
    nodes, edges = ["graph,node,x,kind"], ["graph,source,target,weight,bond"]
    for n in range(N):
        size, odd = 3 + n % 4, n in wild
        joins = [(k, k + 1) for k in range(size - 1)] + [(size - 1, 0)] * (n % 3 == 0)
        x, weight = rng.normal(size=size), rng.normal(size=len(joins))
        x, weight = (x * 1e6, weight * 1e6) if odd else (x, weight)
        nodes += [f"g{n},{k},{x[k]},{'never seen' if odd else 'ab'[k % 2]}" for k in range(size)]
        edges += [f"g{n},{a},{b},{w},{'odd' if odd else 'cd'[a % 2]}" for (a, b), w in zip(joins, weight, strict=True)]
    _written(made / "nodes.csv", nodes)
    _written(made / "edges.csv", edges)
    _written(made / "graphs.csv", ["graph,y", *(f"g{n},class{c}" for n, c in enumerate(CLASSES))])
    return made


def _written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


SAMPLES = {
    "table": Sample(table, {"target": "y"}),
    "image": Sample(image),
    "segmentation": Sample(segmentation),
    "sentences": Sample(sentences),
    "pairs": Sample(pairs),
    "text": Sample(text, {"window": 8}, dealt=False),
    "passages": Sample(passages, {"window": 24, "tasks": ("masked language",)}, dealt=False),
    "series": Sample(series, {"window": 8, "horizon": 4}, dealt=False),
    "sequences": Sample(lambda folder, wild: "narma10", {"window": 12}, dealt=False, made=True),
    "arrays": Sample(arrays),
    "environment": Sample(lambda folder, wild: "grid", made=True),
    "graph": Sample(graph),
    "density": Sample(density, {"target": "mode", "tasks": ("generation",)}),
    "points": Sample(points),
}
