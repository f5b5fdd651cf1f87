"""The Hopfield network: patterns are stored in one pass, and a state falls into the one that it resembles.

Here are the network of 1982 with two rules of storage, the continuous one of 2020, their energies, and storage. Training by
the project's loop is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import batch_mean
from nnatomy.functional.attention import scaled_dot_product_attention
from nnatomy.functional.least_squares import add_rows, no_rows
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.ops.indexing import one_hot
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float

Array = npt.NDArray[Any]

STORAGE = ("hebb", "pseudo_inverse", "continuous")
UPDATES = ("asynchronous", "synchronous")


def signs(x: Any) -> Any:
    """Return 1 where x > 0, else -1."""
    return ops.where(x > 0, 1.0, -1.0).astype(x.dtype)


class Hopfield(Module):
    """N units of -1 or 1, each connected to all others: s_i <- sign(h_i), with the field h_i = sum_j w_ij s_j.

    A unit whose field is exactly 0 keeps its state. `weight` (N, N) is set by `store`.

    Args:
        units: N; examples are flattened to N numbers, and a state starts at their signs (0 counts as -1)
        storage: "hebb" or "pseudo_inverse", the rule by which `solve` sets the weights
        update: "asynchronous": one unit after the other, each from the state as it is by then; "synchronous": all together
        steps: sweeps over all units, or updates of all units

    Source: Hopfield (1982), equations 1 and 2; with states -1 and 1 in place of 0 and 1, and thresholds of 0.
    """

    def __init__(self, units: int, storage: str = "pseudo_inverse", update: str = "asynchronous", steps: int = 5) -> None:
        if update not in UPDATES:
            raise unknown_name("update", update, UPDATES)
        self.units, self.storage, self.update, self.steps = units, storage, update, steps
        self.weight = Parameter(B.zeros((units, units), dtype="float32"), requires_grad=False)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        *_, s = self.path(x)
        return s.reshape(x.shape)

    def path(self, x: Float[Tensor, "batch ..."]) -> Iterator[Float[Tensor, "batch units"]]:
        """Yield the state at the start and after each change of one unit, or of all units if the update is synchronous."""
        s = signs(x.flatten(1))
        yield s
        unit = np.eye(self.units, dtype=bool)
        for _ in range(self.steps):
            if self.update == "synchronous":
                s = threshold(s @ self.weight.T, s)
                yield s
                continue
            for i in range(self.units):
                h = (s @ self.weight[i]).reshape(-1, 1)  # (batch, 1): the field of unit i
                s = ops.where(unit[i], threshold(h, s), s)
                yield s

    def energy(self, s: Float[Tensor, "batch units"]) -> Float[Tensor, " batch"]:
        """E = -1/2 sum_ij w_ij s_i s_j. Source: Hopfield (1982), equation 7."""
        return -0.5 * ((s @ self.weight.T) * s).sum(axis=1)


def threshold(h: Tensor, s: Tensor) -> Tensor:
    """Return the sign of the field h, and the state s where it is 0."""
    return ops.where(h == 0, s, ops.sign(h))  # type: ignore[no-any-return]


class ContinuousHopfield(Module):
    """Patterns X as rows, and a state of any numbers: xi <- softmax(beta xi X^T) X, attention with the state as its query.

    `patterns` (M, N) is X; rows of it whose entry of `used` (M) is 0 are free places and take no part.

    Args:
        units: N; examples are flattened to N numbers
        patterns: M, the most patterns that it holds
        beta: inverse temperature; large: the nearest pattern, small: a mean of several
        steps: updates

    Source: Ramsauer et al. (2020), equation 3.
    """

    storage = "continuous"

    def __init__(self, units: int, patterns: int = 100, beta: float = 1.0, steps: int = 5) -> None:
        if patterns < 1:
            raise UserError(f"A continuous Hopfield network holds at least 1 pattern. Received {patterns}. Use patterns=100.")
        if not (beta > 0 and math.isfinite(beta)):
            raise UserError(f"The inverse temperature is a positive number. Received beta={beta!r}. Use beta=1.0.")
        self.units, self.beta, self.steps = units, beta, steps
        self.patterns = Parameter(init.normal((patterns, units)))
        self.used = Tensor(B.ones((patterns,), dtype="float32"))

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        *_, xi = self.path(x)
        return xi.reshape(x.shape)

    def path(self, x: Float[Tensor, "batch ..."]) -> Iterator[Float[Tensor, "batch units"]]:
        """Yield the state at the start and after each update."""
        xi = x.flatten(1)
        yield xi
        for _ in range(self.steps):
            xi = scaled_dot_product_attention(xi, self.patterns, self.patterns, self.used > 0, scale=self.beta)
            yield xi

    def energy(self, xi: Float[Tensor, "batch units"]) -> Float[Tensor, " batch"]:
        """E = -ln(sum_m e^(beta x_m xi)) / beta + |xi|^2 / 2 + ln(M) / beta + max_m |x_m|^2 / 2, of the M patterns in use.

        Source: Ramsauer et al. (2020), equation 2.
        """
        used = self.used > 0
        likeness = ops.where(used, self.beta * (xi @ self.patterns.T), -math.inf)  # (batch, M)
        count, longest = self.used.sign().sum(), ops.where(used, self.patterns.square().sum(axis=1), 0.0).max()
        lse = ops.logsumexp(likeness, axis=1)
        return (count.log() - lse) / self.beta + 0.5 * xi.square().sum(axis=1) + 0.5 * longest  # type: ignore[no-any-return]


Network = Hopfield | ContinuousHopfield


def build(
    units: int, storage: str = "pseudo_inverse", update: str = "asynchronous", steps: int = 5, patterns: int = 100,
    beta: float = 1.0,
) -> Network:  # fmt: skip
    """Return a network from plain values, with nothing stored.

    Args:
        storage: "hebb" and "pseudo_inverse": `Hopfield`, which `update` is for; "continuous": `ContinuousHopfield`, which
            `patterns` and `beta` are for

    Raises:
        UserError: for sizes below 1 and unknown names
    """
    if storage not in STORAGE:
        raise unknown_name("storage", storage, STORAGE)
    if min(units, steps) < 1:
        raise UserError(
            f"A Hopfield network has at least 1 unit and takes at least 1 step. Received {units} and {steps}. Use steps=5."
        )
    if storage == "continuous":
        return ContinuousHopfield(units, patterns, beta, steps)
    return Hopfield(units, storage, update, steps)


def loss(model: Network, x: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over examples and numbers of (y - clean)^2, and y, which is recalled from x."""
    y: Tensor = model(x)
    return batch_mean((y - clean).square().flatten(1).mean(axis=1)), y


# Storage, in one pass over the patterns


def begin(model: Network) -> dict[str, Array]:
    """Return no patterns: their triangle R, or the free places of a continuous network."""
    if isinstance(model, ContinuousHopfield):
        return {"X": np.zeros(model.patterns.shape), "N": np.zeros(())}
    return no_rows(model.units)


def absorb(model: Network, sums: dict[str, Tensor], x: Tensor, clean: Tensor, mask: Any = None) -> dict[str, Tensor]:
    """Take in the patterns `clean` (batch, ...): in the next places of X, or as rows of the triangle R, in float64."""
    rows = clean.flatten(1).astype("float64")
    if not isinstance(model, ContinuousHopfield):
        return add_rows(sums, signs(rows), mask)
    real = ops.ones((rows.shape[0],), dtype="float64") if mask is None else mask.astype("float64")
    count, places = sums["N"] + ops.cumsum(real, axis=0), sums["X"].shape[0]  # 1 for the first pattern
    fits = ops.where(count <= places, real, 0.0)  # `solve` refuses the others
    place = one_hot(ops.clip(count - 1, 0, places - 1).astype("int64"), places, dtype="float64")
    return {"X": sums["X"] + (place * fits.reshape(-1, 1)).T @ rows, "N": sums["N"] + real.sum()}


def solve(model: Network, sums: dict[str, Array]) -> None:
    """Set the weights to what was absorbed; nothing that was stored before remains.

    hebb            w = P^T P, not divided by N, so that fields are whole numbers and an exact 0 is found
    pseudo_inverse  w = P^+ P, the projection onto the span of the patterns, from the singular vectors of R; R^T R = P^T P
    continuous      the patterns themselves

    The diagonal of w is 0: no unit excites itself. Source: Hopfield (1982), equation 2; Personnaz, Guyon and Dreyfus (1986).

    Raises:
        UserError: for more patterns than a continuous network has places
    """
    if isinstance(model, ContinuousHopfield):
        places, stored = model.patterns.shape[0], int(sums["N"])
        if stored > places:
            raise UserError(f"The network has places for {places} patterns. Received {stored}. Use --set patterns={stored}.")
        model.patterns.data = B.asarray(sums["X"], dtype=model.patterns.dtype)
        model.used.data = B.asarray(np.arange(places) < stored, dtype=model.used.dtype)
        return
    R = np.asarray(sums["R"])
    if model.storage == "hebb":
        w = np.rint(R.T @ R)
    else:
        _, sizes, V = np.linalg.svd(R)
        V = V[sizes > sizes.max(initial=0.0) * len(R) * np.finfo(R.dtype).eps]
        w = V.T @ V
        w[np.abs(w) < 1e-10] = 0  # rounding: a field of it would be taken for a sign
    np.fill_diagonal(w, 0)
    model.weight.data = B.asarray(w, dtype=model.weight.dtype)


def store(model: Network, patterns: Any) -> Network:
    """Store patterns (M, ...) in one call, and return the model."""
    zeros = {name: Tensor(B.asarray(a)) for name, a in begin(model).items()}
    with no_grad():
        rows = Tensor(B.asarray(patterns, dtype="float64"))
        sums = absorb(model, zeros, rows, rows)
    solve(model, {name: np.asarray(t.data) for name, t in sums.items()})
    return model
