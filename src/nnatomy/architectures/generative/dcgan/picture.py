"""DCGAN's picture: one latent vector a column, one label a row; then the way from one latent vector to another."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure, SubFigure

from nnatomy.architectures.generative.dcgan.model import DCGAN
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import Look
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

COLUMNS = 8
MOST = 10  # labels that have a row
WAYS = 3  # rows of interpolations
INK = "#1f2937"


def draw(model: DCGAN, dataset: Dataset) -> Figure:
    """Images of the same noise for every label, and images between two draws of the noise."""
    labels = min(model.classes, MOST)
    rows = labels or 4
    figure = Figure(figsize=(7.6, 1.2 + 0.9 * (rows + WAYS)), layout="constrained")
    form = "rows are labels, columns are draws of the noise" if labels else "each image is a draw of the noise"
    figure.suptitle(f"DCGAN on {dataset.name}: {form}", fontsize=13)
    parts: Any = figure.subfigures(2, 1, height_ratios=(rows, WAYS + 0.35), hspace=0.02)
    z = np.random.default_rng(0).standard_normal((COLUMNS * (1 if labels else rows), model.noise)).astype(np.float32)
    look = kind_of(dataset).look(dataset)
    names = [f"label {name}" for name in dataset.classes[:labels]] or [""] * rows
    grids = np.stack([images(model, z, c) for c in range(labels)]) if labels else images(model, z, None)
    _grid(parts[0], grids.reshape(rows, COLUMNS, *grids.shape[-3:]), look, names)
    parts[1].suptitle("Row by row from one draw of the noise (left) to another (right)", fontsize=13)
    ways, shown = [], []
    for way in range(WAYS):
        c = (way * 3 + 2) % labels if labels else None
        ways.append(images(model, between(z[way], z[way + 5]), c))
        shown.append("" if c is None else f"label {dataset.classes[c]}")
    _grid(parts[1], np.stack(ways), look, shown)
    return figure


def between(start: Array, end: Array, count: int = COLUMNS) -> Array:
    """Return `count` points of the arc from `start` to `end`, whose lengths go from one's to the other's.

    The straight line passes nearer to 0 than normal draws ever are. Source: White (2016).
    """
    t = np.linspace(0, 1, count)[:, None]
    a, b = np.linalg.norm(start), np.linalg.norm(end)
    angle = np.arccos(np.clip(start @ end / (a * b), -1, 1))
    arc = (np.sin((1 - t) * angle) * start / a + np.sin(t * angle) * end / b) / np.sin(angle)
    return np.asarray((a + t * (b - a)) * arc, np.float32)


def images(model: DCGAN, z: Array, label: int | None) -> Array:
    """Return the images of some noise, all of one label."""
    training = model.training
    model.eval()
    with no_grad():
        made = np.asarray(model(Tensor(z), None if label is None else Tensor(np.full(len(z), label))).data)
    model.train(training)
    return made


def _grid(figure: SubFigure, made: Array, look: Look, names: list[str]) -> None:
    """Images (rows, columns, channels, height, width)."""
    grid: Any = figure.subplots(*made.shape[:2], squeeze=False)
    for line, row, name in zip(grid, made, names, strict=True):
        for axes, image in zip(line, row):
            look.show(axes, (image[None],))
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=11, color=INK)
