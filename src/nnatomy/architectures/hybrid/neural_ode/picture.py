"""The neural ODE's picture: trajectories along the learned vector field, or noise that flows into the density of the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from nnatomy.architectures.hybrid.neural_ode.model import ContinuousFlow, Forecaster, Solver
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds import kind_of
from nnatomy.graph import no_grad
from nnatomy.random import Generator, randn
from nnatomy.tasks.forward import own_stream
from nnatomy.tasks.generation import plane
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

BLUE, ORANGE, GREEN, PURPLE, GRAY, INK = "#2563a8", "#d1662a", "#2e8b57", "#8b5fbf", "#6b7280", "#1f2937"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, "#b8860b", "#c2356b")
BEYOND = 3
"""Trajectories are drawn this many times as far as training went."""
GRID = 80  # places of the density along each side


def draw(model: Forecaster | ContinuousFlow, dataset: Dataset) -> Figure:
    """The phase portrait with true and learned trajectories, and the solvers; or the flow from noise to data."""
    with no_grad():
        return _flow(model, dataset) if isinstance(model, ContinuousFlow) else _portrait(model, dataset)


# Trajectories


def _portrait(model: Forecaster, dataset: Dataset) -> Figure:
    figure = Figure(figsize=(13, 7.4), layout="constrained")
    name = dataset.name if len(dataset.name) <= 30 else dataset.name[:29] + "…"
    figure.suptitle(f"Neural ODE on {name}: the network gives the slope, a solver follows it", fontsize=14)
    past, future = select(dataset.test.fields, dataset.test.all(), "input", "target")[:2]
    names = tuple(kind_of(dataset).fitted(dataset).columns)
    mean, std = (np.array(getattr(kind_of(dataset).fitted(dataset), what)) for what in ("mean", "std"))
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    rows = _chosen(past)
    path = _path(model, past[rows])
    if model.features > 1:
        _phases(halves[0].subplots(), model, past[rows], future[rows], path, mean, std, names)
    else:
        _windows(halves[0], model, past[rows][:2], future[rows][:2], path[:, :2], mean, std, names)
    above, below = halves[1].subplots(2, 1)
    n = 0 if model.features > 1 or len(rows) < 3 else 2  # of one column, the first two are on the left
    _over_time(above, model, past[rows[n]], future[rows[n]], path[:, n], mean, std, names)
    _solvers(below, model, past[rows])
    return figure


def _chosen(past: Array) -> Array:
    """Windows that end far from each other: the farthest from the mean, then each as far as possible from the chosen ones."""
    last = past[:2000, -1]
    rows = [int(np.square(last - last.mean(axis=0)).sum(axis=1).argmax())]
    while len(rows) < min(len(COLORS), len(last)):
        rows.append(int(np.square(last[:, None] - last[rows]).sum(axis=2).min(axis=1).argmax()))
    return np.array(rows)


def _path(model: Forecaster, past: Array) -> Array:
    """The solutions (times, windows, columns) at ten times a row, beyond the horizon."""
    steps = 10 * BEYOND * model.horizon
    times = [n * model.interval / 10 for n in range(steps + 1)]
    return np.asarray(model.path(model.state(Tensor(past)), times).data)[:, :, : model.features]


def _phases(
    axes: Axes, model: Forecaster, past: Array, future: Array, path: Array, mean: Array, std: Array, names: tuple[str, ...]
) -> None:
    """The plane of the first two columns."""

    def undo(some: Array) -> Array:
        return np.asarray(some[..., :2] * std[:2] + mean[:2])

    both = set(model.targets) >= {0, 1}
    seen = np.concatenate([undo(past).reshape(-1, 2), undo(path[: 10 * model.horizon + 1]).reshape(-1, 2)])
    low, high = seen.min(axis=0), seen.max(axis=0)
    low, high = low - 0.08 * (high - low), high + 0.08 * (high - low)
    if model.features == 2 and not model.extra:
        across, up = np.meshgrid(*(np.linspace(a, b, 40) for a, b in zip(low, high)))
        places = (np.stack([across, up], axis=-1) - mean) / std
        slope = np.asarray(model.field(0.0, Tensor(places.reshape(-1, 2).astype(past.dtype))).data).reshape(places.shape) * std
        speed = np.sqrt(np.square(slope).sum(axis=-1))
        axes.streamplot(
            across, up, slope[..., 0], slope[..., 1], color="#b9c0ca", density=1.5, arrowsize=0.9,
            linewidth=0.4 + 1.6 * speed / max(float(speed.max()), 1e-9),
        )  # fmt: skip
    for n, color in zip(range(len(past)), COLORS):
        line, start = undo(path[:, n]), undo(past[n, -1])
        known = 10 * model.horizon + 1
        axes.plot(*line[:known].T, color=color, lw=2.2, label="learned, as far as training went" if n == 0 else None)
        axes.plot(*line[known - 1 :].T, color=color, lw=1.1, ls=(0, (3, 2)), label="learned, beyond" if n == 0 else None)
        if both:
            order = [model.targets.index(0), model.targets.index(1)]
            true = future[n][:, order] * std[:2] + mean[:2]
            axes.plot(*true.T, "o", color=color, ms=4.5, mec="white", mew=0.6, label="true rows" if n == 0 else None)
        axes.plot(*start, "s", color=color, ms=7, mec=INK, mew=1.2, label="start" if n == 0 else None)
    axes.set(xlabel=names[0], ylabel=names[1], xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    gray = "; gray: the field, thicker where it is faster" if model.features == 2 and not model.extra else ""
    axes.set_title(f"Test trajectories that training never saw{gray}", fontsize=11.5)
    legend = axes.legend(fontsize=10, loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=4, frameon=False)
    for handle in legend.legend_handles:
        if isinstance(handle, Line2D):
            handle.set_color(INK)


def _windows(
    figure: SubFigure,
    model: Forecaster,
    past: Array,
    future: Array,
    path: Array,
    mean: Array,
    std: Array,
    names: tuple[str, ...],
) -> None:
    """Windows of a series of one column."""
    grid: Any = figure.subplots(2, 1)
    for n, axes in enumerate(grid):
        _over_time(axes, model, past[n], future[n], path[:, n], mean, std, names)


def _over_time(
    axes: Axes, model: Forecaster, past: Array, future: Array, path: Array, mean: Array, std: Array, names: tuple[str, ...]
) -> None:
    """What was known, what followed, and the solution between and beyond the rows."""
    times = np.arange(len(path)) / 10
    for place, color in zip(range(min(model.features, 3)), (BLUE, ORANGE, GREEN)):
        axes.plot(np.arange(1 - len(past), 1), past[:, place] * std[place] + mean[place], "s", color=color, ms=4, mec=INK)
        axes.plot(times, path[:, place] * std[place] + mean[place], color=color, lw=1.6, label=names[place])
        if place in model.targets:
            true = future[:, model.targets.index(place)] * std[place] + mean[place]
            axes.plot(np.arange(1, len(true) + 1), true, "o", color=color, ms=4.5, mec="white", mew=0.6)
    axes.axvspan(model.horizon, times[-1], color=GRAY, alpha=0.12, lw=0)
    axes.set(xlabel="rows ahead", xlim=(min(1 - len(past), 0) - 0.5, times[-1]))
    axes.set_title("Squares: known; dots: true rows; line: the solution; gray: beyond what training saw", fontsize=10.5)
    axes.legend(fontsize=9.5, loc="best", framealpha=0.92)
    axes.grid(alpha=0.25)


def _solvers(axes: Axes, model: Forecaster, past: Array) -> None:
    """The error of each fixed-step method along this field, against the evaluations of the network."""
    state, end = model.state(Tensor(past.astype(np.float64) if model.start is None else past)), model.horizon * model.interval
    field = model.field

    def f(t: Any, z: Tensor) -> Tensor:
        return field(t, z.astype(past.dtype)).astype(z.dtype)  # type: ignore[no-any-return]

    def solve(method: str, steps: int, **more: float) -> Array:
        return np.asarray(Solver(method, steps, **more)(f, state, (0.0, end), ())[-1].data)  # type: ignore[arg-type]

    true = solve("dopri5", 1, rtol=1e-6, atol=1e-7)
    for method, cost, order, color in (("euler", 1, 1, GRAY), ("midpoint", 2, 2, ORANGE), ("rk4", 4, 4, BLUE)):
        counts = [2**n for n in range(2 if cost < 4 else 1, 8)]
        errors = [float(np.abs(solve(method, n) - true).max()) for n in counts]
        kept = [n for n, e in enumerate(errors) if np.isfinite(e) and 1e-5 < e < 10]  # above the rounding of float32
        label = f"{method}: order {order}"
        axes.plot([cost * counts[n] for n in kept], [errors[n] for n in kept], "o-", color=color, ms=4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="evaluations of the network", ylabel="largest error at the horizon")
    axes.set_title("The same network under three solvers: twice the steps, 2, 4 or 16 times less error", fontsize=10.5)
    axes.legend(fontsize=9.5, framealpha=0.92)
    axes.grid(alpha=0.25)


# Densities


def _flow(model: ContinuousFlow, dataset: Dataset) -> Figure:
    real = select(dataset.test.fields, dataset.test.take(np.arange(min(1500, len(dataset.test)))), "input")[0]
    times = (0.0, 0.25, 0.5, 0.75, 1.0)
    with own_stream(Generator(0).state_dict()):
        noise = randn(1500, model.features, dtype=real.dtype)
    moved = np.asarray(model.flow(noise, times).data)
    figure = Figure(figsize=(13, 8.6), layout="constrained")
    figure.suptitle(f"Continuous normalizing flow on {dataset.name}: noise becomes data along the learned field", fontsize=14)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1, 1.45), hspace=0.03)
    look = kind_of(dataset).look(dataset)
    names = tuple(getattr(look, "features", ("x1", "x2")))
    start = moved[0]
    hue = np.arctan2(start[:, 1], start[:, 0]) if model.features > 1 else start[:, 0]
    reach = 1.05 * float(np.abs(np.concatenate([real, moved[-1]])).max()) if model.features > 1 else 3.5
    for axes, t, points in zip(halves[0].subplots(1, len(times), sharex=True, sharey=True), times, moved):
        across, up = (points[:, 0], points[:, 1]) if model.features > 1 else (points[:, 0], hue)
        axes.scatter(across, up, c=hue, cmap="hsv" if model.features > 1 else "viridis", s=5, lw=0)
        axes.set_title(f"t = {t:g}" + {0.0: ": noise", 1.0: ": samples"}.get(t, ""), fontsize=11)
        axes.set(xlim=(-reach, reach), xticks=[], yticks=[])
        if model.features > 1:
            axes.set(ylim=(-reach, reach), aspect="equal")
    said = "the direction in which it started" if model.features > 1 else "where it started"
    halves[0].suptitle(f"Each point keeps the color of {said}", fontsize=11.5)
    left, right = halves[1].subplots(1, 2)
    if model.features == 2:
        _density(left, model, real, dataset, names)
        _streamlines(right, model, real, moved, names)
    else:
        for axes, some, title in zip((left, right), plane(real, moved[-1], look)[:2], ("Held-out examples", "Samples")):
            if some.shape[1] == 1:
                axes.hist(some[:, 0], bins=50, color=BLUE, density=True)
            else:
                axes.scatter(some[:, 0], some[:, 1], s=6, color=BLUE, alpha=0.5, lw=0)
            axes.set_title(title, fontsize=11.5)
    return figure


def _density(axes: Axes, model: ContinuousFlow, real: Array, dataset: Dataset, names: tuple[str, ...]) -> None:
    low, high = real.min(axis=0) - 0.35, real.max(axis=0) + 0.35
    across, up = np.meshgrid(*(np.linspace(a, b, GRID) for a, b in zip(low, high)))
    log_p = np.asarray(model(Tensor(np.stack([across, up], axis=-1).reshape(-1, 2).astype(real.dtype))).data).reshape(
        GRID, GRID
    )
    corners = kind_of(dataset).fitted(dataset).inverse(np.stack([low, high]))
    extent = (float(corners[0, 0]), float(corners[1, 0]), float(corners[0, 1]), float(corners[1, 1]))
    top = float(log_p.max())
    shown = axes.imshow(
        log_p,
        extent=extent,
        origin="lower",
        cmap="magma",
        vmin=top - 8,
        vmax=top,
        aspect="equal" if np.ptp(corners, axis=0).min() > 0.4 * np.ptp(corners, axis=0).max() else "auto",
    )
    axes.figure.colorbar(shown, ax=axes, label="log p(x), nats", extend="min", shrink=0.9)
    points = kind_of(dataset).fitted(dataset).inverse(real)
    axes.scatter(points[:, 0], points[:, 1], s=4, color="white", alpha=0.35, lw=0)
    nats = -float(np.asarray(model(Tensor(real)).data).mean())
    axes.set(xlabel=names[0], ylabel=names[1], xlim=extent[:2], ylim=extent[2:])
    axes.set_title(f"The learned density and held-out examples: {nats:.2f} nats each", fontsize=11.5)


def _streamlines(axes: Axes, model: ContinuousFlow, real: Array, moved: Array, names: tuple[str, ...]) -> None:
    """The paths of some points through time, from noise (hollow) to data (filled)."""
    times = [n / 40 for n in range(41)]
    paths = np.asarray(model.flow(Tensor(moved[0][:70]), times).data)
    axes.scatter(real[:, 0], real[:, 1], s=4, color="#c9ced6", lw=0, label="held-out examples")
    for n in range(paths.shape[1]):
        axes.plot(paths[:, n, 0], paths[:, n, 1], color=BLUE, lw=0.8, alpha=0.75)
    first = paths[0]
    axes.scatter(first[:, 0], first[:, 1], s=18, facecolors="white", edgecolors=BLUE, lw=0.9, zorder=3, label="noise, t = 0")
    axes.scatter(paths[-1, :, 0], paths[-1, :, 1], s=18, color=ORANGE, lw=0, zorder=3, label="samples, t = 1")
    axes.set(xlabel=f"{names[0]}, standardized", ylabel=f"{names[1]}, standardized", aspect="equal")
    axes.set_title("Paths from noise to data: no two are at one place at one time", fontsize=11.5)
    axes.legend(fontsize=9.5, loc="upper right", framealpha=0.92)
