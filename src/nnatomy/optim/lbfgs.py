"""L-BFGS: a quasi-Newton method for smooth losses on all of the data. It needs the loss function, so it is not a pure rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.graph import enable_grad, no_grad
from nnatomy.optim.optimizer import Group, Optimizer
from nnatomy.tensor import Array, Tensor


class LBFGS(Optimizer):
    """p <- p + t d with d = -H g, H the inverse Hessian estimated from the last changes (Nocedal & Wright 2006, algorithm 7.5).

    t is `lr`, or found by a line search for the strong Wolfe conditions (`line_search_fn="strong_wolfe"`, recommended).
    `step(closure)` runs up to `max_iter` iterations; the closure clears the gradients, computes the loss, calls backward()
    and returns the loss. Not pure: `state_tree()` raises. One group of parameters only. As torch.optim.LBFGS.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: Literal["strong_wolfe"] | None = None,
    ) -> None:
        if line_search_fn not in (None, "strong_wolfe"):
            raise UserError(f"line_search_fn must be None or 'strong_wolfe'. Received {line_search_fn!r}. Use 'strong_wolfe'.")
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        super().__init__(
            params, lr=lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change, history_size=history_size, line_search_fn=line_search_fn,
        )  # fmt: skip
        self.history = History()

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        if self.param_groups:
            raise UserError("L-BFGS takes all parameters in one group. Received a second one. Give one list.")
        super().add_param_group(group)
        if len({str(p.dtype) for p in self.param_groups[0]["params"]}) > 1:
            raise UserError("L-BFGS needs parameters of one dtype. Received several. Convert them with model.astype().")

    def initial(self, p: Array, group: Group) -> dict[str, Array]:
        return {}

    def update(self, p: Array, g: Array, s: dict[str, Array], group: Group, t: Any) -> tuple[Array, dict[str, Array]]:
        raise UserError(
            "L-BFGS evaluates the loss several times in a step. Received one gradient. Call step(closure)."
        )

    def state_tree(self) -> dict[str, Any]:
        raise UserError(
            "L-BFGS decides on the host when to stop. Received a step that is compiled whole. Call step(closure) outside of it."
        )

    def bind(self, tree: Mapping[str, Any]) -> None:
        self.state_tree()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run up to `max_iter` iterations and return the loss at the start."""
        if closure is None:
            raise UserError("L-BFGS needs a closure that computes loss and gradients. Received none. Call step(closure).")
        with no_grad():
            return self._run(closure)

    def _run(self, closure: Callable[[], Any]) -> Any:
        group, h = self.param_groups[0], self.history
        lr = group["lr"] * self.factor
        with enable_grad():
            first_loss = closure()
        loss, g, evaluations = float(first_loss), self._gradient(), 1
        if _largest(g) <= group["tolerance_grad"]:
            return first_loss
        for iteration in range(1, group["max_iter"] + 1):
            h.learn(g, group["history_size"])
            d = h.direction = h.descend(g)
            h.gradient, h.loss = g, loss
            h.t = lr if h.iterations > 1 else min(1.0, 1.0 / float(B.abs(g).sum())) * lr
            slope = _dot(g, d)
            if slope > -group["tolerance_change"]:
                break
            x = self._vector()

            def along(t: float, x: Array = x, d: Array = d) -> Point:
                self._set(x + t * d)
                with enable_grad():
                    f = float(closure())
                gradient = self._gradient()
                return Point(t, f, gradient, _dot(gradient, d))

            if group["line_search_fn"] == "strong_wolfe":
                found, count = strong_wolfe(
                    along, Point(0.0, loss, g, slope), h.t, limit=group["max_eval"] - evaluations, length=_largest(d)
                )
                h.t, loss, g = found.t, found.f, found.g
                evaluations += count
                self._set(x + h.t * d)
            elif iteration < group["max_iter"]:
                found = along(h.t)
                loss, g = found.f, found.g
                evaluations += 1
            else:
                self._set(x + h.t * d)  # the last iteration: the loss there is not needed
            if evaluations >= group["max_eval"] or _largest(g) <= group["tolerance_grad"]:
                break
            if _largest(h.t * d) <= group["tolerance_change"] or abs(loss - h.loss) < group["tolerance_change"]:
                break
        return first_loss

    # The parameters as one vector

    def _vector(self) -> Array:
        return B.concatenate([p.data.reshape(-1) for p in self.param_groups[0]["params"]])

    def _gradient(self) -> Array:
        return B.concatenate([
            (B.zeros_like(p.data) if p.grad is None else p.grad.data).reshape(-1) for p in self.param_groups[0]["params"]
        ])  # fmt: skip

    def _set(self, vector: Array) -> None:
        start = 0
        for p in self.param_groups[0]["params"]:
            p.copy_(Tensor(vector[start : start + p.size].reshape(p.shape)))
            start += p.size

    # State

    def state_dict(self) -> dict[str, Any]:
        h, flat = self.history, super().state_dict()
        flat |= {"iterations": h.iterations, "t": float(h.t), "loss": h.loss}
        if h.gradient is not None:
            flat |= {"state.gradient": np.array(h.gradient), "state.direction": np.array(h.direction)}
        if h.s:
            flat |= {"state.s": np.stack([np.array(s) for s in h.s]), "state.y": np.stack([np.array(y) for y in h.y])}
        return flat

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        left, like = dict(state), self._vector()
        numbers = {key: left.pop(key, None) for key in ("iterations", "t", "loss")}
        arrays = {key: left.pop(f"state.{key}", None) for key in ("gradient", "direction", "s", "y")}
        missing = [key for key, value in numbers.items() if value is None]
        missing += [f"state.{k}" for k in ("gradient", "direction") if numbers["iterations"] and arrays[k] is None]
        if missing or (arrays["s"] is None) != (arrays["y"] is None):
            lacking = ", ".join(missing or ["state.s or state.y"])
            raise UserError(f"A state of LBFGS is whole. Received one without {lacking}. Load what state_dict() returned.")
        for key, value in arrays.items():
            if value is not None and value.shape[-1] != like.size:
                raise UserError(
                    f"A state of LBFGS has a column for each of the {like.size} numbers of its parameters. Received "
                    f"{value.shape[-1]} in state.{key}. Load the state of the same model."
                )
        super().load_state_dict(left)
        taken = {key: None if value is None else B.array(value, dtype=like.dtype) for key, value in arrays.items()}
        self.history = History(
            iterations=int(numbers["iterations"] or 0), t=float(numbers["t"] or 0.0), loss=float(numbers["loss"] or 0.0),
            gradient=taken["gradient"], direction=taken["direction"], s=list(taken["s"]) if taken["s"] is not None else [],
            y=list(taken["y"]) if taken["y"] is not None else [],
        )  # fmt: skip


@dataclass
class History:
    """Loss and gradient before the last step t d, and pairs of s (a step) and y (how it changed the gradient)."""

    iterations: int = 0
    t: float = 0.0
    loss: float = 0.0
    gradient: Array = None
    direction: Array = None
    s: list[Array] = field(default_factory=list)
    y: list[Array] = field(default_factory=list)

    def learn(self, g: Array, size: int) -> None:
        """Keep the pair of the last step, at most `size` of them, where the curvature s y along it is positive."""
        self.iterations += 1
        if self.iterations > 1:
            s, y = self.direction * self.t, g - self.gradient
            if _dot(y, s) > 1e-10:
                self.s, self.y = [*self.s, s][-size:], [*self.y, y][-size:]

    def descend(self, g: Array) -> Array:
        """d = -H g by the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4), H_0 = s y / y y of the last pair."""
        q, alphas = -g, []
        for s, y in zip(reversed(self.s), reversed(self.y)):
            alphas.append(_dot(s, q) / _dot(y, s))
            q = q - alphas[-1] * y
        r = q * (_dot(self.y[-1], self.s[-1]) / _dot(self.y[-1], self.y[-1])) if self.s else q
        for s, y, alpha in zip(self.s, self.y, reversed(alphas)):
            r = r + s * (alpha - _dot(y, r) / _dot(y, s))
        return r


@dataclass(frozen=True)
class Point:
    """A point t on the search line: the loss f there, its gradient g, and its slope along the line."""

    t: float
    f: float
    g: Array
    slope: float


def strong_wolfe(
    along: Callable[[float], Point], start: Point, t: float, *, limit: int, length: float, c1: float = 1e-4, c2: float = 0.9,
    tolerance: float = 1e-9,
) -> tuple[Point, int]:  # fmt: skip
    """A point with f <= f0 + c1 t slope0 and |slope| <= c2 |slope0|, and how many points were tried to find it.

    First steps are lengthened until such a point is bracketed, then the bracket is narrowed by cubic interpolation (Nocedal &
    Wright 2006, algorithms 3.5 and 3.6; the safeguards are those of minFunc, as in PyTorch). `length`: the largest |d|.
    """

    def too_high(point: Point) -> bool:
        return point.f > start.f + c1 * point.t * start.slope

    def flat_enough(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    previous, now, trials = start, along(t), 0
    while trials < limit:
        if too_high(now) or (trials > 1 and now.f >= previous.f):
            break
        if flat_enough(now):
            return now, trials + 1
        if now.slope >= 0:
            break
        t = cubic_minimum(previous, now, now.t + 0.01 * (now.t - previous.t), now.t * 10)
        previous, now = now, along(t)
        trials += 1
    else:
        previous = start

    low, high = (previous, now) if previous.f <= now.f else (now, previous)
    cramped = False  # the last trial was close to an end of the bracket
    while trials < limit:
        left, right = min(low.t, high.t), max(low.t, high.t)
        if (right - left) * length < tolerance:
            break
        t = cubic_minimum(low, high, left, right)
        margin = 0.1 * (right - left)
        close = min(right - t, t - left) < margin
        if close and (cramped or t >= right or t <= left):
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            cramped = False
        else:
            cramped = close
        now = along(t)
        trials += 1
        if too_high(now) or now.f >= low.f:
            high = now
            if high.f < low.f:
                low, high = high, low
            continue
        if flat_enough(now):
            return now, trials + 1
        if now.slope * (high.t - low.t) >= 0:
            high = low
        low = now
    return low, trials + 1


def cubic_minimum(a: Point, b: Point, lowest: float, highest: float) -> float:
    """The minimum of the cubic through two points with their slopes, clipped to two bounds (Nocedal & Wright 2006, 3.59)."""
    a, b = (a, b) if a.t <= b.t else (b, a)
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t) if a.t != b.t else math.nan
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (lowest + highest) / 2
    d2 = math.sqrt(square)
    below = b.slope - a.slope + 2 * d2
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / below) if below else math.nan
    return min(max(t, lowest), highest) if not math.isnan(t) else (lowest + highest) / 2


def _dot(a: Array, b: Array) -> float:
    return float((a * b).sum())


def _largest(a: Array) -> float:
    return float(B.abs(a).max())
