"""Diffusion's picture: the path from noise to data. Points with the field that moves them; pictures as a strip of times."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from nnatomy.architectures.generative.diffusion.model import SCHEDULES, Diffusion, signal_left
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.random import Generator
from nnatomy.tasks.forward import evaluating, own_stream
from nnatomy.tasks.generation import distances, plane
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

BLUE, ORANGE, GREEN, GRAY, INK = "#2563a8", "#d1662a", "#2e8b57", "#6b7280", "#1f2937"
SAMPLES = 700
PATHS = {"ddim": 24, "ddpm": 5}  # random ones cross each other
STEPS = 50  # of the paths that are drawn, where the model has as many times
GRID = 13  # arrows of the field along each side
PANELS, COLUMNS = 5, 8


def draw(model: Diffusion, dataset: Dataset) -> Figure:
    """Samples of `model` at several times of the way back, and the two sources of that way: the schedule and the sampler."""
    real = select(dataset.test.fields, dataset.test.take(np.arange(min(SAMPLES, len(dataset.test)))), "input")[0]
    images = len(dataset.input_shape) == 3
    figure = Figure(figsize=(13, 10) if images else (13, 8.6), layout="constrained")
    title = f"Diffusion on {dataset.name}: from noise (left) to new examples (right)"
    figure.suptitle(title, fontsize=15)
    with own_stream(Generator(0).state_dict()), evaluating(model):
        (_pictures if images else _points)(figure, model, dataset, real)
    return figure


def _path(model: Diffusion, z: Array, labels: Array | None = None, **sampler: Any) -> list[tuple[int, Array]]:
    """All (t, x_t) from noise to examples, by the model's sampler or another one."""
    own = {name: getattr(model, name) for name in sampler}
    try:
        for setting, value in sampler.items():
            setattr(model, setting, value)
        return [(t, np.asarray(x.data)) for t, x in model.path(Tensor(z), None if labels is None else Tensor(labels))]
    finally:
        for setting, value in own.items():
            setattr(model, setting, value)


def _labels(model: Diffusion, count: int) -> Array | None:
    return np.arange(count) % model.classes if model.classes else None


def _when(t: int) -> str:
    return "clean: t = 0" if t < 0 else f"t = {t + 1}"  # as the papers count


# Points


def _points(figure: Figure, model: Diffusion, dataset: Dataset, real: Array) -> None:
    halves: Any = figure.subfigures(2, 1, height_ratios=(1, 1.25), hspace=0.03)
    z = np.random.default_rng(0).normal(size=(SAMPLES, *model.shape)).astype(np.float32)
    steps = min(STEPS, model.timesteps)
    path = _path(model, z, _labels(model, SAMPLES), steps=steps)
    flat = model.shape == (2,)
    side = float(np.quantile(np.abs(np.concatenate([z[:, :2], 1.3 * real[:, :2]])), 0.99))
    chosen = [path[0], *(_nearest(path, model, part) for part in (0.2, 0.7, 0.95)), path[-1]]
    for axes, (t, x) in zip(halves[0].subplots(1, PANELS), chosen):
        a, b, _ = plane(real, x, kind_of(dataset).look(dataset))
        if flat and t >= 0:
            _field(axes, model, t, side)
        elif t < 0:
            axes.scatter(_two(a)[0], _two(a)[1], s=6, color=GRAY, alpha=0.35, linewidths=0)
        axes.scatter(_two(b)[0], _two(b)[1], s=5, color=ORANGE, alpha=0.75, linewidths=0)
        axes.set_title(f"{_when(t)}, {model.left(t):.0%} signal", fontsize=11)
        axes.set(xticks=[], yticks=[], aspect="equal")
        if flat:
            axes.set(xlim=(-side, side), ylim=(-side, side))
        if t < 0:
            axes.set_xlabel("orange: samples; gray: held-out examples", fontsize=9)
        elif flat:
            axes.set_xlabel("arrows: where the noise comes off", fontsize=9)
    first, second, third = halves[1].subplots(1, 3)
    if flat:
        for axes, sampler, title in (
            (first, {"sampler": "ddim", "eta": 0.0}, "DDIM: the noise at the start\ndecides, and the way is smooth"),
            (second, {"sampler": "ddpm"}, "DDPM, five of the same starts: each\nstep adds noise, the end is by chance"),
        ):
            few = PATHS[str(sampler["sampler"])]
            _ways(axes, _path(model, z[:few], _labels(model, few), **{"steps": steps, **sampler}), real, title)
            axes.set(xlim=(-side, side), ylim=(-side, side))
    else:
        for axes, column in ((first, 0), (second, min(1, real.shape[1] - 1))):
            axes.hist([real[:, column], path[-1][1][:, column]], bins=30, density=True, color=[GRAY, ORANGE])
            axes.set_title(f"Column {column + 1}, standardized:\nheld-out examples (gray), samples (orange)", fontsize=11)
    _schedules(third, model)


def _two(x: Array) -> tuple[Array, Array]:
    return x[:, 0], x[:, 1] if x.shape[1] > 1 else np.zeros(len(x))


def _nearest(path: list[tuple[int, Array]], model: Diffusion, part: float) -> tuple[int, Array]:
    """The time whose part of the signal is nearest to `part`."""
    return min(path[1:-1] or path, key=lambda place: abs(model.left(place[0]) - part))


def _field(axes: Axes, model: Diffusion, t: int, side: float) -> None:
    """Arrows against the predicted noise, which is the score times sqrt(1 - alpha-bar)."""
    places = np.linspace(-0.92 * side, 0.92 * side, GRID, dtype=np.float32)
    x = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
    eps = np.asarray(model.predict(Tensor(x), t).data)
    size = np.linalg.norm(eps, axis=1)
    arrows = -eps / np.maximum(size, 1e-6)[:, None] * np.minimum(size, 1.5)[:, None]
    axes.quiver(*x.T, *arrows.T, color=BLUE, alpha=0.55, scale=24, width=0.006)


def _ways(axes: Axes, path: list[tuple[int, Array]], real: Array, title: str) -> None:
    """The way of each sample in its own color from its start (a ring) to its end (a point)."""
    from matplotlib import colormaps

    ways = np.stack([x for _, x in path], axis=1)  # [samples, times, 2]
    axes.scatter(real[:, 0], real[:, 1], s=6, color=GRAY, alpha=0.35, linewidths=0)
    colors = colormaps["viridis"](Normalize(-np.pi, np.pi)(np.arctan2(ways[:, 0, 1], ways[:, 0, 0])))
    for way, color in zip(ways, colors):
        axes.plot(*way.T, color=color, lw=1.1, alpha=0.85)
        axes.plot(*way[0], "o", ms=5, mfc="white", mec=color)
        axes.plot(*way[-1], "o", ms=5, color=color)
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.set_title(title, fontsize=11)


def _schedules(axes: Axes, model: Diffusion) -> None:
    """The part of the signal that is left at each time, and the times at which the sampler asks the network."""
    t = np.arange(model.timesteps) + 1
    for schedule, color in zip(SCHEDULES, (BLUE, GREEN)):
        left = signal_left(schedule, model.timesteps)
        own = np.allclose(left, model.alpha_bar)
        axes.plot(t, left, color=color, lw=2.6 if own else 1.4, ls="-" if own else "--",
                  label=f"{schedule}{' (this model)' if own else ''}")  # fmt: skip
    asked = np.array(model.times())
    axes.plot(asked + 1, model.alpha_bar[asked], "o", ms=4.5, color=ORANGE, label=f"the {model.steps} times that are evaluated")
    axes.set(xlabel="time t", ylabel="part of the variance that is signal")
    axes.set_title("The schedule: how fast examples\nturn into noise", fontsize=11)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=9, frameon=False)


# Pictures


def _pictures(figure: Figure, model: Diffusion, dataset: Dataset, real: Array) -> None:
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.35, 1), hspace=0.03)
    look = kind_of(dataset).look(dataset)
    z = np.random.default_rng(0).normal(size=(4, *model.shape)).astype(np.float32)
    path = _path(model, z, _labels(model, 4))
    chosen = [path[i] for i in np.unique(np.linspace(0, len(path) - 1, COLUMNS).round().astype(int))]
    train = select(dataset.train.fields, dataset.train.take(np.arange(min(5000, len(dataset.train)))), "input")[0]
    nearest = train[distances(path[-1][1].reshape(4, -1), train.reshape(len(train), -1)).argmin(axis=1)]
    grid = halves[0].subplots(5, len(chosen) + 1)
    for column, (t, x) in enumerate(chosen):
        for row in range(4):
            _show(grid[row, column], look, x[row])
        _show(grid[4, column], look, _guess(model, x[3:4], t)[0] if t >= 0 else x[3])
        grid[0, column].set_title(f"{_when(t)}\n{model.left(t):.1%} signal", fontsize=9)
    for row in range(4):
        _show(grid[row, -1], look, nearest[row])
    grid[4, -1].set_axis_off()
    grid[0, -1].set_title("nearest\ntraining", fontsize=9)
    _name(grid[4, 0], "what the network\nexpects of row 4")
    halves[0].suptitle("Noise comes off step by step: coarse form first, details last", fontsize=11)
    below: Any = halves[1].subfigures(1, 2, width_ratios=(1.7, 1))
    _samples(below[0], model, look, real)
    _schedules(below[1].subplots(), model)


def _guess(model: Diffusion, x: Array, t: int) -> Array:
    """The clean picture that the network expects at time t: x0 = (x - sqrt(1 - a) eps) / sqrt(a), within the bounds."""
    labels = _labels(model, 4)
    eps = np.asarray(model.predict(Tensor(x), t, None if labels is None else Tensor(labels[3:4])).data)
    a = model.left(t)
    x0 = (x - np.sqrt(1 - a) * eps) / np.sqrt(a)
    return np.asarray(x0 if model.bounds is None else np.clip(x0, *model.bounds))


def _samples(figure: SubFigure, model: Diffusion, look: Any, real: Array) -> None:
    """New pictures; of a model with classes, of each class with more and more guidance from the same noise."""
    count = min(model.classes, 10) or 10
    z = np.random.default_rng(1).normal(size=(count, *model.shape)).astype(np.float32)
    rows: list[tuple[str, Array]] = []
    if model.classes:
        for w in (0.0, 1.0, 4.0):
            rows.append((f"guidance w = {w:g}", _path(model, z, _labels(model, count), guidance=w)[-1][1]))
        figure.suptitle("One column a class, from the same noise: guidance makes classes plainer", fontsize=11)
    else:
        rows += [("samples", _path(model, z)[-1][1]), ("more samples", _path(model, -z)[-1][1])]
        figure.suptitle("Samples and held-out examples", fontsize=11)
    rows.append(("held-out\nexamples", real[:count]))
    grid = figure.subplots(len(rows), count)
    for line, (name, pictures) in zip(grid, rows):
        for axes, picture in zip(line, pictures):
            _show(axes, look, picture)
        for axes in line[len(pictures) :]:
            axes.set_axis_off()
        _name(line[0], name)


def _show(axes: Axes, look: Any, picture: Array) -> None:
    axes.set_axis_off()
    with no_grad():
        look.show(axes, (picture[None],))


def _name(axes: Axes, name: str) -> None:
    """A name to the left of the first picture of a row."""
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
    axes.spines[:].set_visible(False)
