"""The definition of 1943 in plain Python: connections that excite, connections that inhibit, and a number to be reached."""

from typing import Any

import numpy as np


class Unit:
    """Fires when no active input inhibits it, and the active inputs excite it `enough` times."""

    def __init__(self, excites: list[float], inhibits: list[float], enough: float) -> None:
        self.excites, self.inhibits, self.enough = excites, inhibits, enough

    def fires(self, active: set[int]) -> bool:
        if sum(self.inhibits[k] for k in active) > 0:
            return False
        return sum(self.excites[k] for k in active) >= self.enough


class Net:
    """Units whose activity is the input of the next ones; what was seen of the truth table is kept as a dictionary."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.classes = outputs
        sizes = {"rows": (2**inputs, inputs), "outputs": (outputs, 2**inputs)}
        self.layers = {name: [Unit([0.0] * k, [0.0] * k, 0.0) for _ in range(n)] for name, (n, k) in sizes.items()}
        self.table: dict[int, list[int]] = {}


def build(inputs: int, outputs: int = 2) -> Net:
    """A net whose units are loaded."""
    return Net(inputs, outputs)


def load(model: Net, state: dict[str, Any]) -> None:
    """Take over our units."""
    for layer in model.layers:
        parts = [state[f"{layer}.{part}"].tolist() for part in ("excitatory", "inhibitory", "threshold")]
        model.layers[layer] = [Unit(*unit) for unit in zip(*parts, strict=True)]


def state(model: Net) -> dict[str, Any]:
    """The units, named and shaped as ours are."""
    found: dict[str, Any] = {}
    for layer, units in model.layers.items():
        found[f"{layer}.excitatory"] = np.array([unit.excites for unit in units])
        found[f"{layer}.inhibitory"] = np.array([unit.inhibits for unit in units])
        found[f"{layer}.threshold"] = np.array([unit.enough for unit in units])
    return found


def fire(units: list[Unit], active: set[int]) -> set[int]:
    """Which units fire one moment later."""
    return {k for k, unit in enumerate(units) if unit.fires(active)}


def seen_by(row: Any) -> set[int]:
    """The inputs that are active."""
    return {k for k, value in enumerate(row) if value > 0}


def outputs(model: Net, x: Any) -> Any:
    """0 or 1 for each output unit."""
    firing = [fire(model.layers["outputs"], fire(model.layers["rows"], seen_by(row))) for row in np.asarray(x)]
    return np.array([[float(k in units) for k in range(model.classes)] for units in firing])


def learn(model: Net, progress: float, x: Any, targets: Any) -> None:
    """Count with which classes each unit of a row fired."""
    for row, target in zip(np.asarray(x), np.asarray(targets), strict=True):
        for unit in fire(model.layers["rows"], seen_by(row)):
            model.table.setdefault(unit, [0] * model.classes)[int(target)] += 1


def end_epoch(model: Net) -> None:
    """Each output is excited by the rows that were mostly of its class, and by no others."""
    for unit in model.layers["outputs"]:
        unit.excites = [0.0] * len(unit.excites)
    for row, counts in model.table.items():
        model.layers["outputs"][counts.index(max(counts))].excites[row] = 1.0
