"""The sparse autoencoder's picture: the parts it has learned, how often each is used, and an example as a sum of a few."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from nnatomy.architectures.autoencoders.sparse_autoencoder.model import SparseAutoencoder, build, reconstruction_error
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import Look, Pictures
from nnatomy.graph import no_grad
from nnatomy.optim import Adam
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

BLUE, ORANGE, INK = "#2563a8", "#d1662a", "#1f2937"
EXAMINED = 1000  # test examples that are looked at
ACROSS, DOWN = 7, 4  # learned parts that are shown
STEPS, ROWS = 400, 64  # training of the ordinary autoencoder
COUNTS = (0, 1, 2, 4, 8, 16, 32)  # units in the partial sums


def draw(model: SparseAutoencoder, dataset: Dataset) -> Figure:
    """Parts of the sparse and of an ordinary autoencoder, their use, and one example as a sum of parts."""
    x = select(dataset.test.fields, dataset.test.take(np.arange(min(EXAMINED, len(dataset.test)))), "input")[0]
    plain = ordinary(model, select(dataset.train.fields, dataset.train.take(np.arange(len(dataset.train))), "input")[0])
    figure = Figure(figsize=(13, 12.2), layout="constrained")
    parts: Any = figure.subfigures(3, 1, height_ratios=(1.35, 0.85, 0.8), hspace=0.04)
    explained = [_explained(each, x) for each in (model, plain)]
    figure.suptitle(
        f"Sparse autoencoder ({_form(model)}) on {dataset.name}: {model.encoder.weight.shape[0]} units, "
        f"{explained[0]:.0%} of the variance returns",
        fontsize=14,
    )
    sides: Any = parts[0].subfigures(1, 2, wspace=0.04)
    look = kind_of(dataset).look(dataset)
    uses = [usage(each, x) for each in (model, plain)]
    said = ("Sparse: what a unit adds to the output", f"Ordinary, same size, no penalty ({explained[1]:.0%} returns)")
    for side, each, use, title, color in zip(sides, (model, plain), uses, said, (BLUE, ORANGE), strict=True):
        side.suptitle(title, fontsize=12.5, color=color)
        _parts(side, each, use, look, dataset)
    _sum(parts[1], model, x, look, dataset)
    _use(parts[2].subplots(1, 2), uses, (model, plain), x)
    return figure


def ordinary(model: SparseAutoencoder, x: Array) -> SparseAutoencoder:
    """Return an autoencoder of the same size with sigmoid units and no penalty, trained on x."""
    units, features = model.encoder.weight.shape
    plain, rng = build(features, units, "kl", weight=0.0), np.random.default_rng(0)
    optimizer = Adam(plain.named_parameters(), lr=5e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        reconstruction_error(plain, Tensor(x[rng.integers(0, len(x), ROWS)]))[0].backward()
        optimizer.step()
    return plain


def usage(model: SparseAutoencoder, x: Array) -> Array:
    """Return how much each unit is used, (units,): mean activation of sigmoids, fraction of examples of the others."""
    h = _activations(model, x)
    return np.asarray(h.mean(axis=0) if model.sparsity == "kl" else (h != 0).mean(axis=0))


def _activations(model: SparseAutoencoder, x: Array) -> Array:
    with no_grad():
        return np.asarray(model.encode(Tensor(x)).data)


def _explained(model: SparseAutoencoder, x: Array) -> float:
    with no_grad():
        back = np.asarray(model(Tensor(x)).data)
    return float(1 - ((x - back) ** 2).mean() / ((x - x.mean(axis=0)) ** 2).mean())


def _form(model: SparseAutoencoder) -> str:
    forms = {"kl": f"mean activation drawn to {model.rho:g}", "l1": "L1 penalty", "topk": f"the {model.k} largest"}
    return forms[model.sparsity]


def _parts(figure: SubFigure, model: SparseAutoencoder, use: Array, look: Look, dataset: Dataset) -> None:
    """The columns of the decoder with the largest effect, and their use in percent."""
    columns = np.asarray(model.decoder.weight.data)
    chosen = np.argsort(-use * np.linalg.norm(columns, axis=0), kind="stable")[: ACROSS * DOWN]
    if not isinstance(look, Pictures):
        axes = figure.subplots()
        reach = float(np.abs(columns[:, chosen]).max())
        shown = axes.imshow(columns[:, chosen], cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
        axes.set(xlabel="units, most used first", ylabel="input")
        figure.colorbar(shown, ax=axes)
        return
    grid: Any = figure.subplots(DOWN, ACROSS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, j in zip(grid.flat, chosen):
        _part(axes, columns[:, j].reshape(dataset.input_shape))
        axes.set_title(f"{use[j]:.0%}", fontsize=9.5, pad=2, color=INK)


def _part(axes: Axes, column: Array) -> None:
    """A column of the decoder as an image: red adds ink, blue removes it."""
    image = column.mean(axis=0)
    reach = float(np.abs(image).max()) or 1.0
    axes.imshow(image, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
    axes.set_axis_off()


def _sum(figure: SubFigure, model: SparseAutoencoder, x: Array, look: Look, dataset: Dataset) -> None:
    """One example: what its most active units add to the mean, and the sum of more and more of them."""
    h, columns = _activations(model, x), np.asarray(model.decoder.weight.data)
    usual = h.mean(axis=0)
    start = usual @ columns.T + np.asarray(model.decoder.bias.data)  # type: ignore[union-attr]
    orders = np.argsort(-(h - usual) * np.linalg.norm(columns, axis=0), axis=1, kind="stable")

    def partial_sum(i: int, count: int) -> Array:
        chosen = orders[i, :count]
        return np.asarray(start + (h[i, chosen] - usual[chosen]) @ columns[:, chosen].T)

    flat = x.reshape(len(x), -1)
    left = [((flat[i] - partial_sum(i, COUNTS[3])) ** 2).mean() / ((flat[i] - start) ** 2).mean() for i in range(len(x))]
    i = int(np.argmin(left))
    steps = [partial_sum(i, count) for count in COUNTS]
    figure.suptitle("One test example as a sum. Above: what its strongest units add. Below: the mean and more and more units",
                    fontsize=12.5)  # fmt: skip
    if not isinstance(look, Pictures):
        axes = figure.subplots()
        axes.plot(flat[i], "o-", color=INK, label="input")
        for count, step in zip(COUNTS[::2], steps[::2]):
            axes.plot(step, label="mean" if count == 0 else f"mean and {count} units", lw=1.4)
        axes.legend(frameon=False, fontsize=9.5)
        axes.grid(alpha=0.25)
        return
    grid: Any = figure.subplots(2, len(COUNTS) + 2, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for n, (axes, j) in enumerate(zip(grid[0, 1:-2], orders[i])):
        _part(axes, columns[:, j].reshape(dataset.input_shape))
        axes.set_title(f"unit {n + 1}: {h[i, j]:.2f} ×", fontsize=10, pad=3)
    with no_grad():
        back = np.asarray(model(Tensor(x[i : i + 1])).data)[0]
    names = ["mean", *(f"+ {count} unit{'s' if count > 1 else ''}" for count in COUNTS[1:]), "all units", "input"]
    for axes, picture, name in zip(grid[1], (*steps, back, x[i]), names, strict=True):
        look.show(axes, (picture.reshape(1, *dataset.input_shape),))
        axes.set_title(name, fontsize=10, pad=3)


def _use(axes: Any, uses: list[Array], models: tuple[SparseAutoencoder, SparseAutoencoder], x: Array) -> None:
    """How much each unit is used, and how strongly the units of one example are active."""
    left, right = axes
    for use, color, name in zip(uses, (BLUE, ORANGE), ("sparse", "ordinary")):
        left.hist(use, bins=np.linspace(0, 1, 51).tolist(), color=color, alpha=0.7, label=name)
    if models[0].sparsity == "kl":
        left.axvline(models[0].rho, color=INK, ls="--", lw=1.2, label=f"wanted: rho = {models[0].rho:g}")
    what = "mean activation" if models[0].sparsity == "kl" else "fraction of examples that use it; ordinary: mean activation"
    left.set(xlabel=what, ylabel="units", title="How much each unit is used")
    for model, color, name in zip(models, (BLUE, ORANGE), ("sparse", "ordinary")):
        h = np.sort(np.abs(_activations(model, x)), axis=1)[:, ::-1].mean(axis=0)
        right.plot(np.arange(1, len(h) + 1), h / h[0], color=color, lw=2, label=name)
    right.set(xlabel="units of an example, most active first", ylabel="activation, relative to the first", ylim=(0, 1.05),
              title="The activations of an example, averaged by rank")  # fmt: skip
    for each in (left, right):
        each.grid(alpha=0.25)
        each.legend(frameon=False, fontsize=10)
