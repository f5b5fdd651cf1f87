"""The McCulloch-Pitts net: its units and connections, which of them fire for each row, and what one unit can compute."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from nnatomy.architectures.feedforward.mcculloch_pitts.model import TruthTable, Units, active, rows_of
from nnatomy.data.dataset import Dataset
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]
Place = tuple[float, float]

EXCITES, INHIBITS, FIRES, SILENT = "#2563a8", "#c2356b", "#f2b134", "#eef1f5"
SHOWN = 10
"""The most units of rows that are drawn."""
FUNCTIONS = (
    "never", "NOR", "b, not a", "not a", "a, not b", "not b", "XOR", "NAND", "AND", "XNOR", "b", "a implies b", "a",
    "b implies a", "OR", "always",
)  # fmt: skip
"""By the number whose bits, from the lowest, are the outputs for 00, 01, 10, 11."""


def draw(model: TruthTable, dataset: Dataset) -> Figure:
    """The net of the data, the activity of its units for the rows that it knows, and what one unit alone can compute."""
    figure = Figure(figsize=(12, 10.4), layout="constrained")
    figure.suptitle(f"McCulloch-Pitts net on {dataset.name}: one unit for each row, joined by the outputs", fontsize=14)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    left, right = halves[0].subplots(1, 2, width_ratios=(1.15, 1))
    names = _names(dataset, model.rows.excitatory.shape[1])
    connected = model.outputs.excitatory.numpy()
    known = np.flatnonzero(connected.any(axis=0)) if connected.any() else np.arange(connected.shape[1])
    # Rows of the last class first: in a truth table it stands for "true".
    known = known[np.argsort(-connected[:, known].argmax(axis=0), kind="stable")][:SHOWN]
    _net(left, model, known, names, dataset.classes)
    _activity(right, model, known, names, dataset.classes)
    _sixteen(halves[1])
    return figure


def _names(dataset: Dataset, inputs: int) -> list[str]:
    names = list(getattr(dataset.preprocessing, "feature_names", ()))
    return [name[:14] for name in names] if len(names) == inputs else [f"x{k + 1}" for k in range(inputs)]


# The net


def _net(axes: Axes, model: TruthTable, known: Array, names: list[str], classes: tuple[str, ...]) -> None:
    E, I, theta = (t.numpy() for t in (model.rows.excitatory, model.rows.inhibitory, model.rows.threshold))
    out = model.outputs.excitatory.numpy()
    inputs, rows, outputs = (_column(x, n) for x, n in ((0.0, len(names)), (1.0, len(known)), (2.0, len(out))))
    for row, at in zip(known, rows, strict=True):
        for k, start in enumerate(inputs):
            if E[row, k] or I[row, k]:
                _connection(axes, start, at, bool(E[row, k]))
        for c, end in enumerate(outputs):
            if out[c, row]:
                _connection(axes, at, end, True)
    for k, at in enumerate(inputs):
        _unit(axes, at, names[k])
    for row, at in zip(known, rows, strict=True):
        _unit(axes, at, f"{int(theta[row])}")
    for c, at in enumerate(outputs):
        _unit(axes, at, "1")
        axes.text(at[0] + 0.15, at[1], str(classes[c]), va="center", fontsize=11)
    for x, text in ((0.0, "inputs"), (1.0, "units of rows"), (2.0, "outputs, by class")):
        axes.text(x, 1.16, text, ha="center", fontsize=10)
    axes.plot([], [], color=EXCITES, label="excites")
    axes.plot([], [], color=INHIBITS, marker="o", label="inhibits: a veto")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, frameon=False, fontsize=10)
    axes.set(xlim=(-0.3, 2.55), ylim=(-1.1, 1.3))
    axes.axis("off")
    axes.set_title("The net; the number in a unit is its threshold", fontsize=11)


def _column(x: float, n: int) -> list[Place]:
    return [(x, y) for y in (np.linspace(0.9, -0.9, n) if n > 1 else [0.0])]


def _unit(axes: Axes, at: Place, text: str) -> None:
    axes.add_patch(Circle(at, 0.085, facecolor="white", edgecolor="#333333", lw=1.4, zorder=3))
    axes.text(*at, text, ha="center", va="center", fontsize=10 if len(text) < 4 else 7, zorder=4)


def _connection(axes: Axes, start: Place, end: Place, excites: bool) -> None:
    gap = 0.095 if excites else 0.115
    vector = np.subtract(end, start)
    tip = np.subtract(end, gap * vector / np.hypot(*vector))
    if excites:
        axes.add_patch(FancyArrowPatch(start, tuple(tip), arrowstyle="-|>", mutation_scale=11, color=EXCITES, lw=1.3, shrinkA=7,
                                       shrinkB=0))  # fmt: skip
    else:
        axes.plot(*zip(start, tip, strict=True), color=INHIBITS, lw=1.3)
        axes.add_patch(Circle(tuple(tip), 0.026, facecolor=INHIBITS, edgecolor=INHIBITS, zorder=3))


# What fires


def _activity(axes: Axes, model: TruthTable, known: Array, names: list[str], classes: tuple[str, ...]) -> None:
    """One line for each row of the truth table that is shown: inputs, units of rows, outputs."""
    lines = np.sort(known)
    x = Tensor(rows_of(len(names))[lines])
    with no_grad():
        seen, fired, y = active(x).numpy(), model.rows(x).numpy()[:, known], model(x).numpy()
    blocks = [(seen, names), (fired, [f"row {row:0{len(names)}b}" for row in known]), (y, [str(c) for c in classes])]
    left, ticks, labels = 0.0, [], []
    for values, titles in blocks:
        for (i, j), value in np.ndenumerate(values):
            box = Rectangle((left + j, -i), 0.94, 0.9, facecolor=FIRES if value else SILENT, edgecolor="white")
            axes.add_patch(box)
            axes.text(left + j + 0.47, -i + 0.45, f"{int(value)}", ha="center", va="center", fontsize=9)
        ticks += [left + j + 0.47 for j in range(len(titles))]
        labels += titles
        left += len(titles) + 0.6
    axes.set(xlim=(-0.1, left), ylim=(-len(lines) + 0.8, 1.1))
    axes.set_xticks(ticks, labels, rotation=60 if len(labels) > 6 else 0, fontsize=9)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title("Who fires: one line a row of the table; each row wakes its own unit", fontsize=11)


# What one unit can compute


def single_units() -> dict[int, tuple[tuple[int, ...], tuple[int, ...], int]]:
    """Return {function of two inputs: (E, I, theta) of a unit that computes it}, for the functions that have one."""
    found: dict[int, tuple[tuple[int, ...], tuple[int, ...], int]] = {}
    rows = Tensor(rows_of(2))
    choices = list(product(product((0, 1), repeat=2), product((0, 1), repeat=2), range(4)))
    for E, I, theta in sorted(choices, key=lambda c: (sum(c[0]) + sum(c[1]), c[2])):
        with no_grad():
            y = Units([E], [I], [theta])(rows).numpy()[:, 0]
        found.setdefault(int(sum(int(v) << k for k, v in enumerate(y))), (E, I, theta))
    return found


def _sixteen(figure: Any) -> None:
    found = single_units()
    grid = figure.subplots(2, 8)
    title = f"All sixteen functions of two inputs: {len(found)} are one unit, {16 - len(found)} need a net"
    figure.suptitle(title, fontsize=11)
    for number, axes in enumerate(grid.flat):
        for k, (a, b) in enumerate(product((0, 1), repeat=2)):
            value = number >> k & 1
            axes.add_patch(Rectangle((a, b), 0.96, 0.96, facecolor=FIRES if value else SILENT))
            axes.text(a + 0.48, b + 0.48, str(value), ha="center", va="center", fontsize=9)
        axes.set(xlim=(-0.05, 2.02), ylim=(-0.05, 2.02), aspect="equal")
        axes.set_xticks((0.48, 1.48), ("a = 0", "1"), fontsize=8)
        axes.set_yticks((0.48, 1.48), ("b = 0", "1"), fontsize=8)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(FUNCTIONS[number], fontsize=10)
        axes.set_xlabel(_unit_in_words(found[number]) if number in found else "no single unit", fontsize=8,
                        color="#333333" if number in found else INHIBITS)  # fmt: skip


def _unit_in_words(unit: tuple[tuple[int, ...], tuple[int, ...], int]) -> str:
    E, I, theta = unit
    parts = [f"excite {''.join(n for n, e in zip('ab', E) if e)}"] if any(E) else []
    parts += [f"veto {''.join(n for n, i in zip('ab', I) if i)}"] if any(I) else []
    return ", ".join([*parts, f"θ = {theta}"])
