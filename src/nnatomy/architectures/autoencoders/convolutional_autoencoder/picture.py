"""The convolutional autoencoder's picture: what the maps of its code keep, and the checkerboard of transposed convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from nnatomy.architectures.autoencoders.convolutional_autoencoder.model import ConvolutionalAutoencoder, build
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import Look
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

EXAMINED = 1000  # test examples whose errors are averaged
SHOWN = 10
MAPS = 4  # of the code
SIDE = 16  # of the constant images
INK = "#1f2937"


def draw(model: ConvolutionalAutoencoder, dataset: Dataset) -> Figure:
    """Inputs, the maps of their codes and reconstructions; outputs of one pixel and of a constant image for three decoders."""
    batch = dataset.test.take(np.arange(min(EXAMINED, len(dataset.test))))
    x = select(dataset.test.fields, batch, "input")[0]
    labels = next(iter(select(dataset.test.fields, batch, "target")), np.zeros(len(x), np.int64))
    with no_grad():
        codes, back = (np.asarray(out.data) for out in (model.encode(Tensor(x)), model(Tensor(x))))
    kept = 1 - ((x - back) ** 2).mean() / ((x - x.mean(axis=0)) ** 2).mean()
    maps, height, width = codes.shape[1:]
    figure = Figure(figsize=(13, 12.4), layout="constrained")
    sizes = f"{x[0].size} numbers become {maps} maps of {height} × {width}"
    figure.suptitle(f"Convolutional autoencoder on {dataset.name}: {sizes}, {kept:.0%} of the variance returns", fontsize=14)
    parts: Any = figure.subfigures(2, 1, height_ratios=(2.0, 1), hspace=0.04)
    firsts = [int(np.flatnonzero(labels == c)[0]) for c in np.unique(labels)][:SHOWN]
    chosen = [*firsts, *(i for i in range(len(x)) if i not in firsts)][:SHOWN]
    _kept(parts[0], kind_of(dataset).look(dataset), x[chosen], codes[chosen], back[chosen])
    _checkerboards(parts[1])
    return figure


def _kept(figure: SubFigure, look: Look, x: Array, codes: Array, back: Array) -> None:
    """Columns: an input, the first maps of its code, and its reconstruction."""
    maps = min(MAPS, codes.shape[1])
    grid: Any = figure.subplots(maps + 2, len(x), squeeze=False)
    reach = [float(np.abs(codes[:, m]).max()) or 1.0 for m in range(maps)]
    for column, line in enumerate(grid.T):
        look.show(line[0], (x[column][None],))
        look.show(line[-1], (back[column][None],))
        for m, axes in enumerate(line[1:-1]):
            axes.imshow(codes[column, m], cmap="RdBu_r", vmin=-reach[m], vmax=reach[m], interpolation="nearest")
            axes.set_axis_off()
    for axes, name in zip(grid[:, 0], ("input", *(f"map {m + 1}" for m in range(maps)), "output"), strict=True):
        axes.text(-0.12, 0.5, name, transform=axes.transAxes, ha="right", va="center", fontsize=11.5, color=INK)
    figure.suptitle("What the code keeps: each map says where in the image something is", fontsize=12.5)


def smooth(form: str, kernel: int, side: int = SIDE) -> Array:
    """Return what one decoder stage with equal weights, which sum to 1 on average, makes of a constant code."""
    model = build((1, side, side), (1,), form, kernel)
    layer: Any = model.decoder[0]
    weight = np.full(layer.weight.shape, (4.0 if form == "strided" else 1.0) / kernel**2, np.float32)
    layer.load_state_dict({"weight": weight, "bias": np.zeros(1, np.float32)})
    with no_grad():
        board = model.decode(Tensor(np.ones((1, 1, *model.sizes[-1]), np.float32)))
    return np.asarray(np.asarray(board.data)[0, 0])


def _checkerboards(figure: SubFigure) -> None:
    """Outputs of a decoder stage for a constant code: uneven where windows overlap unevenly."""
    panels: Any = figure.subplots(1, 3)
    said = (("strided", 3, "Transposed, kernel 3, stride 2:\nwindows overlap unevenly"),
            ("strided", 4, "Transposed, kernel 4, stride 2:\neven inside"),
            ("pooled", 3, "Upsampled, then convolved:\neven inside"))  # fmt: skip
    for axes, (form, kernel, title) in zip(panels, said, strict=True):
        _board(axes, smooth(form, kernel))
        axes.set_title(title, fontsize=11.5)
    figure.suptitle("One decoder stage with equal weights, given the same number everywhere", fontsize=12.5)


def _board(axes: Axes, board: Array) -> None:
    shown = axes.imshow(board, cmap="viridis", vmin=0.4, vmax=1.8, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.figure.colorbar(shown, ax=axes, shrink=0.85)
