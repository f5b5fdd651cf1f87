"""The threshold units of 1943: excitatory inputs are counted, an inhibitory one is a veto; and a net for any truth table.

Nothing here learns by correction: the net is written down from a truth table. That is in `solve`, the theory in page.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy import ops
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.functional import batch_mean
from nnatomy.layers.module import Module
from nnatomy.ops.indexing import one_hot
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float

Array = npt.NDArray[Any]

MOST_INPUTS = 12
"""Of a truth table: its net has one unit a row, and so at most 4,096."""


class Units(Module):
    """Units that fire (1) where no inhibitory input is active and at least `threshold` excitatory ones are; else silent (0).

    y_j = 1 where x I_j^T = 0 and x E_j^T >= theta_j, with E and I of zeros and ones.

    Source: McCulloch & Pitts (1943), section 2.

    Args:
        excitatory: E (units, inputs), 1 where an input excites a unit
        inhibitory: I (units, inputs), 1 where an input inhibits a unit
        threshold: theta (units)

    Raises:
        UserError: for shapes that do not fit, and entries of E and I that are neither 0 nor 1
    """

    def __init__(self, excitatory: Any, inhibitory: Any, threshold: Any) -> None:
        E, I, theta = (np.asarray(a, np.float32) for a in (excitatory, inhibitory, threshold))
        if E.ndim != 2 or E.shape != I.shape or theta.shape != E.shape[:1]:
            raise UserError(
                "Units need E and I of shape (units, inputs) and one threshold a unit. "
                f"Received {E.shape}, {I.shape} and {theta.shape}. Give each unit a row of all three."
            )
        if not np.isin(np.concatenate([E, I]), (0, 1)).all():
            raise UserError(
                "An input excites a unit or does not, and inhibits it or does not: E and I hold 0 and 1. "
                "Received other numbers. Repeat an input to count it twice."
            )
        self.excitatory, self.inhibitory, self.threshold = Tensor(E), Tensor(I), Tensor(theta)

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch units"]:
        """What the units do one moment after their inputs were x, of zeros and ones."""
        vetoed = x @ self.inhibitory.T > 0
        reached = x @ self.excitatory.T >= self.threshold
        return ops.where(vetoed, 0.0, reached.astype(x.dtype))  # type: ignore[no-any-return]


# The gates that are one unit


def all_of(inputs: int) -> Units:
    """Return AND: every input excites, and the threshold is their number."""
    return Units(np.ones((1, inputs)), np.zeros((1, inputs)), [inputs])


def any_of(inputs: int) -> Units:
    """Return OR: every input excites, and the threshold is 1."""
    return Units(np.ones((1, inputs)), np.zeros((1, inputs)), [1])


def none_of(inputs: int) -> Units:
    """Return NOR, which is NOT for one input: every input inhibits, and the threshold is 0."""
    return Units(np.zeros((1, inputs)), np.ones((1, inputs)), [0])


# A net for any truth table


def rows_of(inputs: int) -> Array:
    """Return all 2^inputs rows of zeros and ones, counting upwards in binary: (rows, inputs)."""
    places = np.arange(inputs)[::-1]
    return (np.arange(2**inputs)[:, None] >> places & 1).astype(np.float32)


class TruthTable(Module):
    """Two layers that compute a truth table: one unit for each row, and one for each output, which any of its rows excites.

    The unit of a row is excited by the row's ones, inhibited by its zeros, and has the number of ones as its threshold, so it
    fires for that row alone. It is silent until `solve` has given it an output. Source: McCulloch & Pitts (1943), theorem 2,
    which writes a function as an OR of such ANDs (its disjunctive normal form).

    Args:
        inputs: at most 12, as the net has 2^inputs units; an input is active where it is above 0
        outputs: one for each class

    Raises:
        UserError: for no input, more than 12, or no output
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        if not 1 <= inputs <= MOST_INPUTS or outputs < 1:
            raise UserError(
                f"A truth table has 1 to {MOST_INPUTS} inputs, because its net has one unit a row, and at least 1 output. "
                f"Received {inputs} inputs and {outputs} outputs. Choose fewer columns, or train perceptron or mlp."
            )
        rows = rows_of(inputs)
        self.rows = Units(rows, 1 - rows, rows.sum(axis=1))
        self.outputs = Units(np.zeros((outputs, len(rows))), np.zeros((outputs, len(rows))), np.ones(outputs))
        self.outputs.excitatory = Parameter(self.outputs.excitatory, requires_grad=False)  # what `solve` writes

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        """1 for the class of the row that x is, 0 for the others; 0 for all where the table did not have that row."""
        return self.outputs(self.rows(active(x)))  # type: ignore[no-any-return]


def active(x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch inputs"]:
    """Return 1 where an input is above 0, else 0; tables center their numbers, so that means: above its training mean."""
    flat = x.flatten(1)
    return (flat > 0).astype(flat.dtype)


def build(inputs: int, outputs: int = 2) -> TruthTable:
    """Return a net from plain values; it is silent until it has seen a truth table."""
    return TruthTable(inputs, outputs)


# From examples to the table


def loss(model: TruthTable, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean number of output units that are wrong, and the outputs."""
    y: Tensor = model(x)
    return batch_mean(abs(y - one_hot(targets, y.shape[1], dtype=y.dtype)).sum(axis=1)), y


def begin(model: TruthTable) -> dict[str, Array]:
    """Return how often each row was seen with each class: nothing yet."""
    outputs, rows = model.outputs.excitatory.shape
    return {"seen": np.zeros((rows, outputs))}


def absorb(model: TruthTable, sums: dict[str, Tensor], x: Tensor, targets: Tensor, mask: Any = None) -> dict[str, Tensor]:
    """Count the rows of a batch: the unit of a row fires for it alone, so seen <- seen + fired^T T."""
    fired = model.rows(active(x)).astype("float64")
    if mask is not None:
        fired = fired * mask.astype("float64").reshape(-1, 1)
    T = one_hot(targets, sums["seen"].shape[1], dtype="float64")
    return {"seen": sums["seen"] + fired.T @ T}


def solve(model: TruthTable, sums: dict[str, Array]) -> float:
    """Let each row that was seen excite the output of its class, the more frequent one where examples disagree.

    Returns:
        The mean number of output units that are wrong for the examples.
    """
    seen = np.asarray(sums["seen"])
    chosen = np.eye(seen.shape[1])[seen.argmax(axis=1)] * (seen.sum(axis=1, keepdims=True) > 0)
    model.outputs.excitatory.data = B.asarray(chosen.T, dtype=model.outputs.excitatory.dtype)
    return float(2 * (seen * (1 - chosen)).sum() / max(seen.sum(), 1))


def fit(table: Sequence[int] | Array) -> TruthTable:
    """Return the net of a whole truth table: the class of each row, rows counted upwards in binary.

    >>> xor = fit([0, 1, 1, 0])

    Raises:
        UserError: where the number of rows is not 2, 4, 8, ..., 4,096, or a class is negative
    """
    classes = np.asarray(table, np.int64)
    inputs = int(math.log2(len(classes))) if len(classes) else 0
    if classes.ndim != 1 or 2**inputs != len(classes) or classes.min() < 0:
        raise UserError(
            "A truth table of n inputs has 2^n rows, each with the number of its class. "
            f"Received {classes.tolist()!r:.60}. Give one class for every row."
        )
    model = build(inputs, max(2, int(classes.max()) + 1))
    x, zeros = Tensor(rows_of(inputs)), {name: Tensor(a) for name, a in begin(model).items()}
    sums = absorb(model, zeros, x, Tensor(classes))
    solve(model, {name: np.asarray(t.data) for name, t in sums.items()})
    return model
