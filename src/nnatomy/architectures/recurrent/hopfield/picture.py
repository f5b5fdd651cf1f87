"""The Hopfield network's picture: noisy patterns that fall into stored ones, and the energy that falls meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from nnatomy.architectures.recurrent.hopfield.model import ContinuousHopfield, Network, build, store
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds.looks import COLORS
from nnatomy.graph import no_grad
from nnatomy.random import default
from nnatomy.tasks.figures import GRAY, ORANGE
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]
ROWS, MOMENTS = 5, 6
INK, PAPER, PALE = to_rgb("#1f3a5f"), to_rgb("#e9eef5"), to_rgb("#f0b48a")
OTHERS = {
    "hebb": "Hebb's rule,\nsettled",
    "pseudo_inverse": "Pseudo-inverse,\nsettled",
    "continuous": "Form of 2020,\n1 update",
}


def draw(model: Network, dataset: Dataset) -> Figure:
    """Copies of some stored patterns on their way, their energies, and where the other two networks lead the same copies."""
    stored = select(dataset.train.fields, dataset.train.all(), "target")[0]
    named = dataset.test.fields
    examples = dataset.test.take(np.unique(np.linspace(1, min(len(dataset.test), 10) - 1, ROWS).astype(int)))
    copies, clean = (select(named, examples, role)[0] for role in ("input", "target"))
    clean = clean.reshape(len(clean), -1)
    kept = default.state_dict()
    try:
        update, beta = getattr(model, "update", "asynchronous"), getattr(model, "beta", 1.0)
        memory = store(build(model.units, model.storage, update, 5, len(stored), beta), stored)
        others = {
            kind: store(build(model.units, kind, patterns=len(stored)), stored) for kind in OTHERS if kind != model.storage
        }
    finally:
        default.load_state_dict(kept)
    states, energies = _fall(memory, copies)
    moments = np.unique(np.linspace(0, len(states) - 1, MOMENTS).astype(int))
    ends = {OTHERS[kind]: _end(other, copies) for kind, other in others.items()}

    figure = Figure(figsize=(11, 9.6), layout="constrained")
    title = "A noisy digit rolls downhill into the stored one: wrong pixels (orange) disappear, energy falls"
    figure.suptitle(title, fontsize=14)
    shape = dataset.input_shape[-2:] if len(dataset.input_shape) > 1 else (1, -1)
    columns = [*(states[t] for t in moments), *ends.values()]
    titles = [_moment(memory, int(t)) for t in moments] + list(ends)
    grid = figure.add_gridspec(len(clean) + 1, len(columns), height_ratios=[*[1] * len(clean), 2.1])
    for k, (state, title) in enumerate(zip(columns, titles, strict=True)):
        for n, (row, target) in enumerate(zip(state, clean, strict=True)):
            axes = figure.add_subplot(grid[n, k])
            axes.imshow(_colored(row, target).reshape(*shape, 3), interpolation="nearest")
            wrong = int((row * target <= 0).sum())
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(f"{wrong} wrong" if wrong else "exact", fontsize=8, color=ORANGE if wrong else GRAY, labelpad=2)
            axes.spines[:].set_color(COLORS[n] if k < len(moments) else "white")
            axes.spines[:].set_linewidth(2.0)
            if n == 0:
                axes.set_title(title, fontsize=10)
    axes = figure.add_subplot(grid[len(clean), : len(moments)])
    for curve, color in zip(energies.T, COLORS, strict=False):
        axes.plot(curve, color=color, lw=2)
        axes.plot(moments, curve[moments], "o", color=color, ms=5)
    for t in moments:
        axes.axvline(t, color=GRAY, lw=0.6, ls=":")
    half = (len(states) - 1) / max(2 * (len(moments) - 1), 1)  # the moments stand below their pictures
    axes.set(xlim=(-half, len(states) - 1 + half), ylabel="energy E", xlabel=_unit_of_time(memory))
    axes.set_xticks(moments)
    axes.set_title("The energy of each state never rises", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    note = figure.add_subplot(grid[len(clean), len(moments) :])
    note.set_axis_off()
    says = "The same copies in two\nother networks. Digits\nresemble each other:\nHebb's rule mixes them."
    note.text(0.02, 0.5, says, fontsize=10, va="center", color=GRAY, transform=note.transAxes)
    return figure


def _fall(model: Network, copies: Array) -> tuple[list[Array], Array]:
    """Return the states from the copies until nothing changes any more, and the energies (moments, examples)."""
    with no_grad():
        path = list(model.path(Tensor(copies)))
        energies = np.stack([model.energy(state).numpy() for state in path])
    states = [state.numpy() for state in path]
    last = max((t for t in range(1, len(states)) if not np.array_equal(states[t], states[t - 1])), default=1)
    return states[: last + 1], energies[: last + 1]


def _end(model: Network, copies: Array) -> Array:
    if isinstance(model, ContinuousHopfield):
        model.steps = 1
    with no_grad():
        return np.asarray(model(Tensor(copies)).numpy()).reshape(len(copies), -1)


def _moment(model: Network, t: int) -> str:
    if t == 0:
        return "noisy copy"
    return f"after {t}\n" + ("units" if getattr(model, "update", "") == "asynchronous" else "updates" if t > 1 else "update")


def _unit_of_time(model: Network) -> str:
    return "units updated" if getattr(model, "update", "") == "asynchronous" else "updates of all units"


def _colored(state: Array, target: Array) -> Array:
    """Return a color for each unit: ink and paper where its sign is right, orange and pale orange where it is wrong."""
    right = (state * target > 0)[:, None]
    return np.where(right, np.where(target[:, None] > 0, INK, PAPER), np.where(state[:, None] > 0, to_rgb(ORANGE), PALE))
