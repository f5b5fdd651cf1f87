"""The GAN's picture: above, samples over the critic's landscape; below, what clipping and the penalty make of a critic."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from nnatomy.architectures.generative.gan.model import GAN, clip_weights, critic_objective, gradient_norms
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.layers import Identity
from nnatomy.optim import Adam, RMSprop
from nnatomy.random import Generator
from nnatomy.tasks.forward import own_stream
from nnatomy.tasks.generation import distances, plane
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

BLUE, ORANGE, GREEN, GRAY, INK = "#2563a8", "#d1662a", "#2e8b57", "#6b7280", "#1f2937"
SAMPLES = 600
GRID = 90  # places of the landscape along each side
STEPS, BATCH = 250, 64  # of the small experiment
LIKELY = {"minimax": True, "non-saturating": True, "wgan": False, "wgan-gp": False}


def draw(model: GAN, dataset: Dataset) -> Figure:
    """Samples of `model`, its critic's scores and slopes, and a small experiment with two critics."""
    real = select(dataset.test.fields, dataset.test.take(np.arange(min(SAMPLES, len(dataset.test)))), "input")[0]
    with own_stream(Generator(0).state_dict()), no_grad():
        made = np.asarray(model.sample(len(real)).data)
    images, flat = len(dataset.input_shape) == 3, dataset.input_shape == (2,)
    figure = Figure(figsize=(13, 10.2) if images else (12, 9.8), layout="constrained")
    title = f"GAN on {dataset.name} ({model.objective}): above, what it has learned; below, how a critic is kept smooth"
    figure.suptitle(title, fontsize=14)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.1, 1), hspace=0.02)
    above, below = halves
    norms = _norms_between(model, real, made)
    if images:
        _pictures(above, model, dataset, real, made)
    elif flat:
        _landscape(above, model, dataset, real, made)
    else:
        left, right = above.subplots(1, 2)
        _cloud(left, dataset, real, made)
        _scores(right, model, real, made)
    _two_critics(below, model, norms)
    return figure


def score(model: GAN, x: Array) -> Array:
    """The critic's score of each example; for the objectives of 2014 the probability that it is real."""
    with no_grad():
        s = np.asarray(model.critic(Tensor(x)).data, np.float64)
    return 1 / (1 + np.exp(-np.clip(s, -500, 500))) if LIKELY[model.objective] else s


def _norms_between(model: GAN, real: Array, made: Array) -> Array:
    """|dD/dx'| at random places between examples and samples."""
    mix = np.random.default_rng(1).uniform(size=len(real)).astype(real.dtype).reshape(-1, *(1,) * (real.ndim - 1))
    return np.asarray(gradient_norms(model.critic, Tensor(mix * real + (1 - mix) * made)).data)


# Points of the plane


def _landscape(figure: SubFigure, model: GAN, dataset: Dataset, real: Array, made: Array) -> None:
    left, right = figure.subplots(1, 2)
    points, steep, extent = _on_a_grid(model, np.concatenate([real, made]), dataset)
    shown = left.imshow(points, extent=extent, origin="lower", cmap="Blues", alpha=0.85)
    left.contour(points, extent=extent, levels=12, colors="white", linewidths=0.6, linestyles="solid", alpha=0.9)
    said = "probability of being real" if LIKELY[model.objective] else "critic's score (only differences matter)"
    figure.colorbar(shown, ax=left, label=said, shrink=0.9)
    undo = dataset.preprocessing.inverse
    left.scatter(*undo(real).T, s=7, color=INK, alpha=0.45, linewidths=0, label="held-out examples")
    left.scatter(*undo(made).T, s=9, color=ORANGE, alpha=0.8, linewidths=0, label="samples")
    left.set_title("Samples over the critic's landscape:\nthe generator climbs to where it is dark", fontsize=11)
    slopes = right.imshow(steep, extent=extent, origin="lower", cmap="PuOr_r", vmin=0, vmax=2)
    if steep.min() < 1 < steep.max():
        right.contour(steep, extent=extent, levels=[1.0], colors=INK, linewidths=0.9)
    said = "slope |dD/dx|, data standardized"
    figure.colorbar(slopes, ax=right, label=said, extend="max" if steep.max() > 2 else "neither", shrink=0.9)
    right.scatter(*undo(made).T, s=5, color=INK, alpha=0.5, linewidths=0)
    right.set_title("How steep that landscape is;\nthe penalty asks for 1 (black line) between data and samples", fontsize=11)
    columns = getattr(dataset.preprocessing, "columns", ("x1", "x2"))
    for axes in (left, right):
        axes.set(xlabel=columns[0], ylabel=columns[1], xlim=extent[:2], ylim=extent[2:])
        axes.set_aspect("equal" if 0.4 < (extent[1] - extent[0]) / (extent[3] - extent[2]) < 2.5 else "auto")
    _legend(left, 2)


def _on_a_grid(model: GAN, shown: Array, dataset: Dataset) -> tuple[Array, Array, tuple[float, float, float, float]]:
    """Scores and slopes on a grid around the points, and the grid's corners in the user's units."""
    low, high = np.quantile(shown, 0.005, axis=0) - 0.45, np.quantile(shown, 0.995, axis=0) + 0.45
    across, up = np.meshgrid(*(np.linspace(a, b, GRID) for a, b in zip(low, high)))
    places = np.stack([across, up], axis=-1).reshape(-1, 2).astype(shown.dtype)
    steep = np.asarray(gradient_norms(model.critic, Tensor(places)).data)
    corners = dataset.preprocessing.inverse(np.stack([low, high]))
    extent = (float(corners[0, 0]), float(corners[1, 0]), float(corners[0, 1]), float(corners[1, 1]))
    return score(model, places).reshape(GRID, GRID), steep.reshape(GRID, GRID), extent


# Other data


def _cloud(axes: Axes, dataset: Dataset, real: Array, made: Array) -> None:
    x, y, names = plane(real, made, kind_of(dataset).look(dataset))
    if x.shape[1] == 1:
        axes.hist([x[:, 0], y[:, 0]], bins=40, color=[GRAY, ORANGE], density=True, label=["held-out examples", "samples"])
        axes.set(xlabel=names[0], ylabel="density")
    else:
        axes.scatter(x[:, 0], x[:, 1], s=9, color=GRAY, alpha=0.6, linewidths=0, label="held-out examples")
        axes.scatter(y[:, 0], y[:, 1], s=9, color=ORANGE, alpha=0.7, linewidths=0, label="samples")
        axes.set(xlabel=names[0], ylabel=names[1])
    axes.set_title("Samples among held-out examples", fontsize=11)
    _legend(axes, 2)


def _scores(axes: Axes, model: GAN, real: Array, made: Array) -> None:
    """The critic's scores of held-out examples, of samples, and of normal noise in place of examples."""
    noise = np.random.default_rng(2).normal(size=real.shape).astype(real.dtype) * real.std() + real.mean()
    shown = ((real, BLUE, "held-out examples"), (made, ORANGE, "samples"), (noise, GRAY, "noise, never shown to it"))
    for x, color, name in shown:
        axes.hist(score(model, x), bins=30, color=color, alpha=0.6, label=name)
    axes.set_title("What the critic says of each", fontsize=11)
    axes.set(xlabel="probability of being real" if LIKELY[model.objective] else "critic's score", ylabel="examples")
    axes.grid(alpha=0.25)
    _legend(axes, 3)


def _pictures(figure: SubFigure, model: GAN, dataset: Dataset, real: Array, made: Array) -> None:
    """Samples with the training examples that are nearest, a walk between two noises, and the critic's scores."""
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.5, 1))
    left, right = parts
    train = select(dataset.train.fields, dataset.train.take(np.arange(min(5000, len(dataset.train)))), "input")[0]
    columns = 10
    nearest = distances(made[:columns].reshape(columns, -1), train.reshape(len(train), -1)).argmin(axis=1)
    rng = np.random.default_rng(3)
    ends = rng.normal(size=(2, model.noise)).astype(np.float32)
    places = np.linspace(0, np.pi / 2, columns, dtype=np.float32)[:, None]
    with no_grad():  # along an arc, on which noise keeps its usual length
        walk = np.asarray(model(Tensor(np.cos(places) * ends[0] + np.sin(places) * ends[1])).data)
    rows = (
        ("samples", made[:columns]), ("nearest training\nexample to each", train[nearest]),
        ("more samples", made[columns : 2 * columns]), ("a walk between\ntwo noises", walk),
        ("held-out\nexamples", real[:columns]),
    )  # fmt: skip
    grid = left.subplots(len(rows), columns)
    look = kind_of(dataset).look(dataset)
    for line, (name, pictures) in zip(grid, rows):
        for axes in line:
            axes.set_axis_off()
        for axes, picture in zip(line, pictures):
            look.show(axes, (picture[None],))
        line[0].set_axis_on()
        line[0].set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
        line[0].spines[:].set_visible(False)
    left.suptitle("New pictures are not copies: the row below shows the nearest training examples", fontsize=11)
    _scores(right.subplots(), model, real, made)


# The same small experiment whatever the data: two critics of one fixed generator


def _two_critics(figure: SubFigure, model: GAN, norms: Array) -> None:
    first, second, third = figure.subplots(1, 3)
    rng = np.random.default_rng(0)
    found = {}
    for axes, objective, title in (
        (first, "wgan", "A critic with weights clipped to ±0.1:\nfew directions, a slope in each of its own"),
        (second, "wgan-gp", "The same critic with the penalty:\nrings around the samples, slope 1 everywhere"),
    ):
        toy, x, fake = _trained(objective)
        found[objective] = _norms_between(toy, x, fake)
        side = np.linspace(-2.6, 2.6, 60)
        places = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype(np.float32)
        levels = score(toy, places).reshape(60, 60)
        axes.contourf(side, side, levels, levels=14, cmap="Blues")
        axes.contour(side, side, levels, levels=14, colors="white", linewidths=0.6, linestyles="solid")
        chosen = rng.permutation(len(x))[:240]
        axes.scatter(*x[chosen].T, s=6, color=INK, alpha=0.7, linewidths=0)
        axes.scatter(*fake[chosen].T, s=5, color=ORANGE, alpha=0.5, linewidths=0)
        axes.set(aspect="equal", xticks=[], yticks=[], xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
        axes.set_title(title, fontsize=11)
    top = float(max(2.0, *(np.quantile(n, 0.98) for n in (*found.values(), norms)))) * 1.05
    bins: Any = np.linspace(0, min(top, 12.0), 49)
    shown = ((found["wgan"], GRAY, "clipped (left)"), (found["wgan-gp"], BLUE, "penalty (middle)"),
             (norms, ORANGE, f"this model, {model.objective}"))  # fmt: skip
    for values, color, name in shown:
        third.hist(np.clip(values, 0, bins[-1]), bins=bins, weights=np.full(len(values), 1 / len(values)), color=color,
                   histtype="stepfilled", alpha=0.5, label=f"{name}: median {np.median(values):.2f}")  # fmt: skip
    third.axvline(1, color=INK, lw=1, ls="--")
    third.set(xlabel="slope |dD/dx'| between examples and samples", ylabel="fraction of places")
    third.set_title("The penalty holds slopes near 1,\nclipping leaves them where they fall", fontsize=11)
    third.grid(alpha=0.25)
    _legend(third, 1)
    marks = [Line2D([], [], marker="o", ls="", color=INK, ms=4), Line2D([], [], marker="o", ls="", color=ORANGE, ms=4)]
    for axes in (first, second):
        axes.legend(marks, ["eight Gaussians", "a fixed generator"], fontsize=8, loc="upper center",
                    bbox_to_anchor=(0.5, -0.03), ncols=2, frameon=False)  # fmt: skip


def _trained(objective: str) -> tuple[GAN, Array, Array]:
    """A critic trained for STEPS against a fixed generator, whose samples are all in the middle."""
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * rng.integers(0, 8, 600) / 8
    x = (1.4 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.07 * rng.normal(size=(600, 2))).astype(np.float32)
    fake = (0.4 * rng.normal(size=x.shape)).astype(np.float32)
    with own_stream(Generator(5).state_dict()):
        toy: Any = GAN(2, (2,), (32, 32), objective, penalty=10.0, clip=0.1)
        rule = partial(RMSprop, lr=1e-2) if objective == "wgan" else partial(Adam, lr=5e-3, betas=(0.5, 0.9))
        optimizer = rule(toy.critic.parameters())
        toy.generator = Identity()  # G(z) = z: the noise of each step is samples
        for _ in range(STEPS):
            rows, others = rng.integers(0, len(x), (2, BATCH))
            optimizer.zero_grad()
            mix = Tensor(rng.uniform(size=BATCH).astype(np.float32))
            critic_objective(toy, Tensor(x[rows]), Tensor(fake[others]), mix)[0].backward()
            optimizer.step()
            with no_grad():
                clip_weights(toy)
    return toy, x, fake


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns, frameon=False, markerscale=1.8)
