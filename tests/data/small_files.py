"""Small tables, pictures and series made on the spot for the tests of this folder."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from nnatomy.data.kinds.image.idx import write_idx

Write = Callable[..., Path]


def table_text(n: int = 60, seed: int = 0, **columns: Sequence[object]) -> str:
    """Return a CSV with two numeric inputs, a categorical one and the columns given."""
    rng = np.random.default_rng(seed)
    first = {
        "a": [f"{v:.4f}" for v in rng.normal(size=n)],
        "b": [f"{v:.4f}" for v in rng.normal(size=n)],
        "color": [("red", "green", "blue")[int(k)] for k in rng.integers(0, 3, n)],
    }
    everything = {**first, **columns}
    rows = zip(*everything.values(), strict=True)
    return "\n".join([",".join(everything), *(",".join(map(str, row)) for row in rows)]) + "\n"


def mnist_folder(folder: Path, n: int = 90, compress: bool = False) -> Path:
    """Write a small set in MNIST's form: class k is brightest in row k."""
    folder.mkdir(exist_ok=True)
    for part, count in (("train", n), ("t10k", 30)):
        labels = (np.arange(count) % 3).astype(np.uint8)
        images = np.zeros((count, 5, 4), np.uint8)
        images[np.arange(count), labels] = 200
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{part}-{kind}-ubyte"
            write_idx(path, array)
            if compress:
                (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
    return folder


def picture_folder(folder: Path, sizes: list[tuple[int, int]], color: bool = False, n: int = 8) -> Path:
    """Write pictures of two classes, dark and light."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    rng = np.random.default_rng(1)
    for name, level in (("dark", 30), ("light", 200)):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            pixels = np.clip(level + rng.normal(0, 9, (*sizes[k % len(sizes)], 3)), 0, 255).astype(np.uint8)
            image.fromarray(pixels if color else pixels[:, :, 0]).save(folder / name / f"{k}.png")
    return folder


def hours(n: int, step: int = 3600) -> list[str]:
    return [str(t).replace("T", " ") for t in np.datetime64("2024-01-01T00:00:00") + np.arange(n) * step]


def series_text(n: int = 400, step: int = 3600, **columns: list[object]) -> str:
    t = np.arange(n)
    values: dict[str, list[object]] = {"time": list(hours(n, step)), "x": list(np.round(np.sin(t / 5), 5)), "y": list(t)}
    rows = zip(*{**values, **columns}.values(), strict=True)
    return "\n".join([",".join({**values, **columns}), *(",".join(map(str, row)) for row in rows)])


def anomalous(write: Write, labels: bool = True) -> Path:
    """Write a sine with three broken stretches, 20 rows each."""
    values = np.sin(np.arange(1200) / 4)
    starts = (200, 800, 1000)
    for start in starts:
        values[start : start + 20] = 4
    time = hours(1200)
    if labels:
        write("labels.json", json.dumps({"other.csv": [], "s.csv": {"windows": [[time[s], time[s + 19]] for s in starts]}}))
    return write("s.csv", "\n".join(["time,x", *(f"{t},{v:.4f}" for t, v in zip(time, values, strict=True))]))
