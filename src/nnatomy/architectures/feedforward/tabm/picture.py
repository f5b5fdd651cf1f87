"""TabM's picture: borders of members and of their average, one feature's effect in each member, their scores, and the bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnatomy import random
from nnatomy.architectures.feedforward.tabm.model import TabM, build, loss, quantile_bins
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds import kind_of
from nnatomy.functional import softmax
from nnatomy.graph import no_grad
from nnatomy.optim import AdamW
from nnatomy.random import default
from nnatomy.tasks.figures import BLUE, GRAY, ORANGE, short
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

EXAMPLES = 1000  # test examples, at most
TRIED = 12  # numbers whose effect is tried, at most


def draw(model: TabM, dataset: Dataset) -> Figure:
    """A small network in the plane, and three views of `model` on test examples."""
    figure = Figure(figsize=(11.5, 9.4), layout="constrained")
    figure.suptitle(f"One network, {model.k} opinions: TabM on {dataset.name}", fontsize=14)
    grid = figure.subplots(2, 2)
    kept = default.state_dict()
    try:
        _plane(grid[0, 0])
    finally:
        default.load_state_dict(kept)
    x, y = (
        part[:EXAMPLES] for part in (select(dataset.test.fields, dataset.test.all(), role)[0] for role in ("input", "target"))
    )
    x = x.reshape(len(x), -1)
    place = _widest(model, x)
    _swept(grid[0, 1], model, dataset, x, place)
    _scores(grid[1, 0], model, x, y)
    _encoded(grid[1, 1], model, dataset, x, place)
    return figure


# A small network


def _moons(rows: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(5)
    y = np.arange(rows) % 2
    angle = rng.uniform(0, np.pi, rows) + np.pi * y
    x = np.stack([np.cos(angle) + y, np.sin(angle) + 0.5 * y], axis=1) + 0.2 * rng.normal(size=(rows, 2))
    return (x - x.mean(axis=0)) / x.std(axis=0), y


def _plane(axes: Axes) -> None:
    """Two classes: the border of each member, thin, and of the mean probability, thick."""
    x, y = _moons(90)
    random.seed(1)
    model = build(2, 2, True, 16, 2, 48, 0.0, numbers=(0, 1), bins=5, embedding=6)
    assert model.num_module is not None
    model.num_module.impl.set_edges(quantile_bins(x, 5))
    optimizer = AdamW(model.parameters(), lr=6e-3, weight_decay=1e-3)
    inputs, targets = Tensor(x.astype(np.float32)), Tensor(y)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model, inputs, targets)[0].backward()
        optimizer.step()
    across, up = np.meshgrid(np.linspace(-2.4, 2.4, 110), np.linspace(-2.4, 2.4, 110))
    p = _opinions(model, np.stack([across.ravel(), up.ravel()], axis=1))[:, :, 1].reshape(*across.shape, -1)
    axes.contourf(across, up, p.mean(axis=2), levels=np.linspace(0, 1, 21), cmap="RdBu", alpha=0.5)
    for member in range(p.shape[2]):
        axes.contour(across, up, p[:, :, member], levels=[0.5], colors=[GRAY], linewidths=0.7)
    axes.contour(across, up, p.mean(axis=2), levels=[0.5], colors="black", linewidths=2.4)
    for c, color in ((0, ORANGE), (1, BLUE)):
        axes.scatter(x[y == c, 0], x[y == c, 1], 16, color=color, edgecolors="white", linewidths=0.5)
    axes.set(xticks=[], yticks=[], xlim=(-2.4, 2.4), ylim=(-2.4, 2.4))
    axes.plot([], [], color=GRAY, lw=0.7, label="a member's border")
    axes.plot([], [], color="black", lw=2.4, label="border of the average")
    axes.set_title("A small network in the plane:\n16 members, and what they say together", fontsize=11)
    axes.legend(fontsize=8, loc="lower left")


# The model on its data


def _opinions(model: TabM, x: Array) -> Array:
    """Probabilities of the classes, or the predicted numbers, of each member: (rows, k, outputs)."""
    training = model.training
    model.eval()
    with no_grad():
        z = model.members(Tensor(x.astype(np.float32)))
        found = np.asarray((softmax(z, axis=2) if model.classify else z).data, np.float64)
    model.train(training)
    return found


def _grid(values: Array) -> Array:
    low, high = np.quantile(values, [0.01, 0.99])
    return np.linspace(low, high, 80) if high > low else np.linspace(low - 1, low + 1, 80)


def _output(model: TabM, opinions: Array) -> Array:
    """The probability of the last class, or the first number."""
    return opinions[..., -1 if model.classify else 0]


def _typical(x: Array) -> Array:
    return np.asarray(x[np.square(x - np.median(x, axis=0)).sum(axis=1).argmin()])


def _changed(x: Array, place: int) -> tuple[Array, Array]:
    """A typical example with each value of one feature, and these values."""
    values = _grid(x[:, place])
    rows = np.tile(_typical(x), (len(values), 1))
    rows[:, place] = values
    return rows, values


def _widest(model: TabM, x: Array) -> int:
    """The feature that moves the average most."""
    numbers = model.numbers if len(model.numbers) else np.arange(x.shape[1])
    tried = numbers[np.unique(np.linspace(0, len(numbers) - 1, TRIED).astype(int))]
    return int(max(tried, key=lambda place: np.ptp(_output(model, _opinions(model, _changed(x, place)[0])).mean(axis=1))))


def _named(dataset: Dataset, place: int) -> str:
    names = getattr(kind_of(dataset).look(dataset), "features", ())
    return short(str(names[place]), 24) if place < len(names) else f"feature {place}"


def _swept(axes: Axes, model: TabM, dataset: Dataset, x: Array, place: int) -> None:
    rows, values = _changed(x, place)
    curves = _output(model, _opinions(model, rows))  # (values, k)
    axes.plot(values, curves, color=BLUE, alpha=0.45, lw=0.9)
    axes.plot(values, curves.mean(axis=1), color=ORANGE, lw=2.6)
    inside = x[(x[:, place] >= values[0]) & (x[:, place] <= values[-1]), place]
    axes.plot(inside, np.full(len(inside), 0.015), "|", color=GRAY, ms=6, alpha=0.35, transform=axes.get_xaxis_transform())
    axes.plot([], [], color=BLUE, alpha=0.6, lw=0.9, label="each member")
    axes.plot([], [], color=ORANGE, lw=2.6, label="their average")
    said = f"probability of {short(str(dataset.classes[-1]), 18)}" if model.classify else "prediction (standardized)"
    axes.set(xlabel=f"{_named(dataset, place)} (standardized)", ylabel=said)
    axes.set_title("A typical test example: one number changes,\nand the members disagree", fontsize=11)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.25)


def _scores(axes: Axes, model: TabM, x: Array, y: Array) -> None:
    """The loss of each member on test examples, and that of their average."""
    opinions = _opinions(model, x)
    rows = np.arange(len(y))
    if model.classify:
        own = -np.log(np.maximum(opinions[rows, :, y], 1e-12)).mean(axis=0)
        together = -np.log(np.maximum(opinions.mean(axis=1)[rows, y], 1e-12)).mean()
    else:
        wanted = y.reshape(len(y), -1)
        own = np.square(opinions - wanted[:, None]).mean(axis=(0, 2))
        together = np.square(opinions.mean(axis=1) - wanted).mean()
    axes.bar(range(model.k), np.sort(own), color=BLUE, alpha=0.55, width=0.75, label="each member, sorted")
    axes.axhline(own.mean(), color=GRAY, ls="--", lw=1.4, label=f"their mean: {own.mean():.3g}")
    axes.axhline(together, color=ORANGE, lw=2.4, label=f"loss of the average: {together:.3g}")
    axes.set(xlabel="member", ylabel="cross-entropy" if model.classify else "mean squared error", xticks=[])
    axes.set_ylim(0, 1.35 * float(own.max()))
    axes.set_title("Test loss: the average is never worse\nthan the members are in the mean", fontsize=11)
    axes.legend(fontsize=8, loc="upper left")
    axes.grid(alpha=0.25, axis="y")


def _encoded(axes: Axes, model: TabM, dataset: Dataset, x: Array, place: int) -> None:
    """How full each bin of the number is, by its value."""
    axes.set_xlabel(f"{_named(dataset, place)} (standardized)")
    if model.num_module is None:
        axes.hist(x[:, place], 40, color=GRAY, alpha=0.6)
        axes.set_title("The values of this number: it is not embedded", fontsize=11)
        return
    values, number = _grid(x[:, place]), int(np.flatnonzero(model.numbers == place)[0])
    with no_grad():
        given = np.zeros((len(values), len(model.numbers)), np.float32)
        given[:, number] = values
        e = np.asarray(model.num_module.impl(Tensor(given)).data)[:, number]
    used = np.flatnonzero(model.num_module.impl.weight.numpy()[number])
    axes.imshow(
        np.clip(e[:, used].T, 0, 1), origin="lower", aspect="auto", cmap="Blues", interpolation="nearest",
        extent=(values[0], values[-1], 0.5, len(used) + 0.5),
    )  # fmt: skip
    axes.set_ylabel("bin")
    axes.set_title("What the network reads of this number:\nhow full each bin is (white 0, blue 1)", fontsize=11)
