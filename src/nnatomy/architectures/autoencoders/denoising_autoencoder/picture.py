"""The denoising autoencoder's picture: noisy images cleaned, the gain at each noise level, and where it moves points."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from nnatomy.architectures.autoencoders.denoising_autoencoder.model import (
    DenoisingAutoencoder,
    build,
    denoising_error,
    gaussian,
    loss,
)
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import Look
from nnatomy.graph import no_grad
from nnatomy.optim import Adam
from nnatomy.random import Generator, default
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

BLUE, ORANGE, GRAY, INK = "#2563a8", "#d1662a", "#8a8f98", "#1f2937"
EXAMINED = 1000  # test images of the curves
SHOWN = 10
LEVELS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
STEPS, ROWS = 400, 64  # training of the ordinary autoencoder
SIGMA = 0.3  # of the noise around the circle


def draw(model: DenoisingAutoencoder, dataset: Dataset) -> Figure:
    """Rows of clean, noisy and cleaned images; decibels at each noise level; arrows from points to their reconstructions."""
    batch = dataset.test.take(np.arange(min(EXAMINED, len(dataset.test))))
    x = select(dataset.test.fields, batch, "input")[0]
    labels = next(iter(select(dataset.test.fields, batch, "target")), np.zeros(len(x), np.int64))
    plain = ordinary(model, select(dataset.train.fields, dataset.train.take(np.arange(len(dataset.train))), "input")[0])
    firsts = [int(np.flatnonzero(labels == c)[0]) for c in np.unique(labels)][:SHOWN]
    chosen = [*firsts, *(i for i in range(len(x)) if i not in firsts)][:SHOWN]
    figure = Figure(figsize=(13, 11.6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.15, 1), hspace=0.03)
    gain = _images(parts[0], model, plain, x, chosen, kind_of(dataset).look(dataset))
    noise = model.noise.replace("_", " ")
    form = f"{noise} noise, level {model.level:g}"
    figure.suptitle(f"Denoising autoencoder ({form}) on {dataset.name}: {gain:+.1f} dB", fontsize=14)
    left, right = parts[1].subplots(1, 2, width_ratios=(1, 1))
    _curves(left, model, plain, x)
    _arrows(right)
    return figure


def ordinary(model: DenoisingAutoencoder, x: Array) -> DenoisingAutoencoder:
    """Return an autoencoder of the same size that is trained on x without noise."""
    plain = build(x.shape[1:], model.encoder.weight.shape[0], level=0.0, activation=model.activation)
    optimizer, rng = Adam(plain.named_parameters(), lr=2e-3), np.random.default_rng(0)
    for _ in range(STEPS):
        rows = Tensor(x[rng.integers(0, len(x), ROWS)])
        optimizer.zero_grad()
        loss(plain, rows, rows)[0].backward()  # at level 0 the random numbers count for nothing
        optimizer.step()
    return plain


def circle(steps: int = 800) -> DenoisingAutoencoder:
    """Return a denoising autoencoder of points on the unit circle, with Gaussian noise of deviation SIGMA."""
    before, rng = default.state_dict(), np.random.default_rng(0)
    default.load_state_dict(Generator(0).state_dict())
    model = build((2,), 128, level=SIGMA)
    optimizer = Adam(model.named_parameters(), lr=1e-2)
    for step in range(steps):
        optimizer.factor = min(1.0, 2 * (1 - step / steps))
        optimizer.zero_grad()
        denoising_error(model, Tensor(on_circle(rng.uniform(0, 2 * np.pi, 256))))[0].backward()
        optimizer.step()
    default.load_state_dict(before)
    return model


def on_circle(angle: Array) -> Array:
    """Return points (n, 2) of the unit circle."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def decibels(model: DenoisingAutoencoder, x: Array, back: Array) -> float:
    """Return the peak signal-to-noise ratio of `back`."""
    return float(10 * np.log10((model.high - model.low) ** 2 / max(float(((x - back) ** 2).mean()), 1e-12)))


def _images(
    figure: SubFigure, model: DenoisingAutoencoder, plain: DenoisingAutoencoder, x: Array, chosen: list[int], look: Look
) -> float:
    """One image a column; returns the denoising autoencoder's gain over the noisy images, in decibels."""
    noisy = corrupted(model, x)
    rows = [x, noisy, _outputs(plain, noisy), _outputs(model, noisy)]
    found = [decibels(model, x, row) for row in rows]
    names = ["clean", *(f"{name}\n{db:.1f} dB" for name, db in zip(("noisy", "ordinary", "denoising"), found[1:]))]
    grid: Any = figure.subplots(len(rows), len(chosen), squeeze=False)
    for line, row, name, color in zip(grid, rows, names, (INK, GRAY, ORANGE, BLUE), strict=True):
        for axes, i in zip(line, chosen):
            look.show(axes, (row[i : i + 1],))
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=11.5, color=color)
    figure.suptitle("Test images, the same with noise, and what two networks of equal size make of them", fontsize=12.5)
    return found[3] - found[1]


def corrupted(model: DenoisingAutoencoder, x: Array) -> Array:
    """Return x with the model's noise, the same at each call."""
    rng = np.random.default_rng(0)
    drawn = (rng.standard_normal if model.noise == "gaussian" else rng.random)(x.shape).astype(x.dtype)
    with no_grad():
        return np.asarray(model.corrupt(Tensor(x), Tensor(drawn)).data)


def _outputs(model: DenoisingAutoencoder, x: Array) -> Array:
    with no_grad():
        return np.asarray(model(Tensor(x)).data)


def _curves(axes: Axes, model: DenoisingAutoencoder, plain: DenoisingAutoencoder, x: Array) -> None:
    """The peak signal-to-noise ratio of outputs for levels of the model's noise that it has, and has not, seen."""
    trained, lines = model.level, []
    for level in LEVELS:
        model.level = float(level)
        noisy = corrupted(model, x)
        lines.append([decibels(model, x, row) for row in (noisy, _outputs(plain, noisy), _outputs(model, noisy))])
    model.level = trained
    for line, name, color in zip(np.array(lines).T, ("noisy image", "ordinary", "denoising"), (GRAY, ORANGE, BLUE)):
        axes.plot(LEVELS, line, "o-", color=color, lw=2, ms=4, label=name)
    axes.axvline(trained, color=INK, ls="--", lw=1.2, label=f"level in training, {trained:g}")
    axes.set(xlabel="noise level", ylabel="peak signal-to-noise ratio, dB", title="Levels that training had, and had not")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=10)


def _arrows(axes: Axes) -> None:
    """r(x) - x on a grid: a network that was trained on noisy points of a circle moves points back to it."""
    model, rng = circle(), np.random.default_rng(1)
    clean = on_circle(rng.uniform(0, 2 * np.pi, 400))
    noisy = gaussian(clean, rng.normal(size=clean.shape), SIGMA, 0.0, 1.0)
    ticks = np.linspace(-1.7, 1.7, 18, dtype=np.float32)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    moves = _outputs(model, points) - points
    axes.scatter(noisy[:, 0], noisy[:, 1], s=14, color=ORANGE, alpha=0.6, linewidths=0, label="noisy points, the inputs")
    axes.plot(*on_circle(np.linspace(0, 2 * np.pi, 200)).T, color=INK, lw=1.6, label="clean points, the targets")
    axes.quiver(*points.T, *moves.T, angles="xy", scale_units="xy", scale=2.2, color=BLUE, width=0.0035)
    axes.set(aspect="equal", xlim=(-1.8, 1.8), ylim=(-1.8, 2.25), title="A second one, of points: arrows r(x) − x, shortened")
    axes.set_axis_off()
    axes.legend(frameon=False, fontsize=10, loc="upper center", ncols=2)
