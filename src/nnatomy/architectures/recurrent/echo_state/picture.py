"""The echo state network's picture: states that forget their start, and a network that runs on by itself."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnatomy import random
from nnatomy.architectures.recurrent.echo_state.model import EchoState, Reservoir
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds.looks import COLORS
from nnatomy.graph import no_grad
from nnatomy.layers.sequences import FromLastValue
from nnatomy.random import default
from nnatomy.tasks.figures import BLUE, GRAY, GREEN, ORANGE
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]
AHEAD, WINDOWS, UNITS, LINES, STEPS = 600, 300, 24, 4, 60


def draw(model: EchoState | FromLastValue, dataset: Dataset) -> Figure:
    """The states over time, what the network says next to the truth, and two starts of the reservoir that become one."""
    split, reservoir = dataset.test, cast(EchoState, getattr(model, "network", model)).reservoir
    rows = np.arange(min(len(split), AHEAD))
    x, targets = (select(split.fields, split.take(rows), role)[0] for role in ("input", "target"))
    truth = targets.reshape(len(rows), -1)[:, 0]
    heard = model.seen(Tensor(x)).numpy() if isinstance(model, FromLastValue) else x
    known = heard[0]  # the first window, (time, inputs)
    figure = Figure(figsize=(11, 9.4), layout="constrained")
    figure.suptitle("A reservoir echoes its input and forgets where it started; only the read-out is learned", fontsize=14)
    grid = figure.add_gridspec(3, 2, height_ratios=[1.1, 1.7, 1.9])
    upper, middle = figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, :])
    with no_grad():
        if isinstance(model, EchoState) and _runs(model, dataset):
            _free_run(upper, middle, model, known, truth)
        else:
            last = reservoir(Tensor(heard[:WINDOWS])).numpy()[:, -1]
            guess = model(Tensor(x[:WINDOWS])).numpy().reshape(len(last), -1)[:, 0]
            _forecasts(upper, middle, last, guess, truth[:WINDOWS])
        kept = default.state_dict()
        try:
            random.seed(2)
            _two_starts(figure.add_subplot(grid[2, 0]), reservoir, known)
            _distances(figure.add_subplot(grid[2, 1]), len(reservoir.W), reservoir.leak)
        finally:
            default.load_state_dict(kept)
    return figure


def _runs(model: EchoState, dataset: Dataset) -> bool:
    """Return True if the network's output is its next input."""
    Win, outputs = model.reservoir.Win, model.output.weight.shape[0]
    forecasts = dataset.preprocessing.to_json().get("horizon", 0) > 0
    return forecasts and model.readout == "last" and outputs == 1 and (Win is None or Win.shape[1] == 1)


def _free_run(upper: Axes, lower: Axes, model: EchoState, known: Array, truth: Array) -> None:
    """The network hears the truth up to time 0, and only its own outputs from then on."""
    free = model.run_freely(Tensor(known[None]), len(truth)).numpy()[0, :, 0]
    heard = np.concatenate([known[:, 0], free])
    _states(upper, model.reservoir(Tensor(heard[None, :, None])).numpy()[0], -len(known))
    past, future = np.arange(-len(known), 0), np.arange(len(truth))
    lower.plot(np.append(past, future), np.append(known[:, 0], truth), color=GRAY, lw=4, alpha=0.35, label="true series")
    lower.plot(future, free, color=ORANGE, lw=1.5, label="the network by itself")
    off = np.flatnonzero(np.abs(free - truth) > 0.2 * truth.std())
    if len(off):
        lower.axvline(off[0], color=GRAY, ls=":", lw=1)
        lower.text(off[0], 1.01, f" off by 0.2 deviations after {off[0]} steps", fontsize=9, color=GRAY, va="bottom",
                   transform=lower.get_xaxis_transform())  # fmt: skip
    _time(upper, lower, -len(known), len(truth), "steps after the last value that the network was given")
    lower.set_ylim(*_around(truth))


def _forecasts(upper: Axes, lower: Axes, states: Array, guess: Array, truth: Array) -> None:
    """The first forecast value of each window, one window a step, and the states from which it is read."""
    _states(upper, states, 0)
    lower.plot(truth, color=GRAY, lw=4, alpha=0.35, label="true series")
    lower.plot(guess, color=ORANGE, lw=1.5, label="the network's output")
    _time(upper, lower, 0, len(truth), "test windows, one step apart")


def _around(values: Array) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return low - 0.15 * (high - low), high + 0.15 * (high - low)


def _time(upper: Axes, lower: Axes, first: int, last: int, label: str) -> None:
    for axes in (upper, lower):
        axes.set_xlim(first, last)
        if first < 0:
            axes.axvline(0, color="black", lw=1.2)
    lower.set(xlabel=label, ylabel="standardized")
    lower.legend(frameon=False, fontsize=9, loc="lower left", ncols=2)
    lower.spines[["top", "right"]].set_visible(False)


def _states(axes: Axes, states: Array, first: int) -> None:
    """Some units over time, ordered by the time at which they follow the first one."""
    chosen = states[:, np.linspace(0, states.shape[1] - 1, UNITS).astype(int)]
    order = np.argsort((chosen * chosen[:, :1]).mean(axis=0))
    extent = (first, first + len(states), 0, UNITS)
    axes.imshow(chosen[:, order].T, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, extent=extent, interpolation="nearest")
    axes.set(yticks=[], xticks=[], ylabel=f"{UNITS} units")
    axes.set_title(f"States of {UNITS} of {states.shape[1]} units: blue is -1, red is 1", fontsize=11)


def _two_starts(axes: Axes, reservoir: Reservoir, known: Array) -> None:
    """Some units of the network itself, with the same input, from two random states."""
    hidden, steps = len(reservoir.W), min(STEPS, len(known))
    starts = default.uniform((2, hidden), -1, 1)
    states = np.asarray(reservoir(Tensor(np.stack([known[:steps]] * 2)), Tensor(np.asarray(starts, np.float32))).numpy())
    for unit, color in zip(range(LINES), COLORS, strict=False):
        for start, style in ((0, "-"), (1, "--")):
            line = np.append(np.asarray(starts)[start, unit], states[start, :, unit])
            axes.plot(line, style, color=color, lw=1.6)
    axes.set(xlabel="steps", ylabel="state", ylim=(-1.05, 1.05))
    axes.set_title("Four units, the same input, two starts (solid, dashed)", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def _distances(axes: Axes, hidden: int, leak: float) -> None:
    """How far two states are apart, without input, for reservoirs of three spectral radii."""
    for radius, color in ((0.5, GREEN), (0.9, BLUE), (1.5, ORANGE)):
        random.seed(3)
        reservoir = Reservoir(1, min(hidden, 300), radius, leak).astype("float64")
        starts = Tensor(np.asarray(default.uniform((2, len(reservoir.W)), -1, 1, dtype="float64")))
        states = reservoir(Tensor(np.zeros((2, 2 * STEPS, 1))), starts).numpy()
        apart = np.linalg.norm(states[0] - states[1], axis=1)
        axes.semilogy(np.maximum(apart, 1e-16), color=color, lw=2, label=f"radius {radius}")
    axes.set(xlabel="steps", ylabel="distance of two states", ylim=(1e-14, 1e5))
    axes.set_title("Without input: the spectral radius decides", fontsize=11)
    axes.legend(frameon=False, fontsize=9, loc="upper center", ncols=3, columnspacing=1.0)
    axes.spines[["top", "right"]].set_visible(False)
