"""Solvers of dy/dt = f(t, y) that gradients flow through: Runge-Kutta methods, and the adjoint method for their gradients.

Networks whose layers are such equations are in architectures/hybrid/neural_ode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from nnatomy import ops
from nnatomy.backends import B, known
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import enable_grad, is_grad_enabled, no_grad
from nnatomy.ops.primitive import primitive
from nnatomy.tensor import Tensor, grad

__all__ = ["odeint", "odeint_adjoint"]

State = tuple[Any, ...]
Slope = Callable[[Any, State], State]
"""f(t, y), shaped as y is."""


class Tableau(NamedTuple):
    """A Runge-Kutta method: k_i = f(t + c_i h, y + h sum_j a_ij k_j), and y(t + h) = y + h sum_i b_i k_i.

    `error`: the weights e of the estimate h sum_i e_i k_i of a step's error, where the method has one.
    Source: Butcher (1964).
    """

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    order: int
    error: tuple[float, ...] = ()


DORMAND_PRINCE = Tableau(
    c=(0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    b=(35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
    order=5,
    error=(71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)
"""Order 5 with an error estimate of order 4; its last slope is the first of the next step (Dormand and Prince 1980)."""

ODE_METHODS = {
    "euler": Tableau((0,), ((),), (1,), 1),
    "midpoint": Tableau((0, 1 / 2), ((), (1 / 2,)), (0, 1), 2),
    "rk4": Tableau((0, 1 / 2, 1 / 2, 1), ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), 4),
    "rk4_38": Tableau((0, 1 / 3, 2 / 3, 1), ((), (1 / 3,), (-1 / 3, 1), (1, -1, 1)), (1 / 8, 3 / 8, 3 / 8, 1 / 8), 4),
    "dopri5": DORMAND_PRINCE,
}
"""Euler (1768); the midpoint rule (Runge 1895); the classical rule and the 3/8 rule (Kutta 1901), which torchdiffeq calls
"rk4"; and Dormand and Prince (1980), whose steps are chosen from the error estimate."""

SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
"""Of the step size controller: h <- h min(GROW, max(SHRINK, SAFETY error^(-1/5)))."""


def odeint(
    f: Callable[[Any, Any], Any], y0: Any, t: Any, method: str = "dopri5", steps: int = 1, rtol: float = 1e-5,
    atol: float = 1e-6, max_steps: int = 1000,
) -> Any:  # fmt: skip
    """Solve dy/dt = f(t, y) from y(t[0]) = y0 and return y at all times t, the first one included.

    Gradients flow through the operations of the solver to y0, to t and to everything that f uses. "dopri5" controls the root
    mean square of error / (atol + rtol max(|y|, |y'|)) over all elements of a step from y to y'; steps that it rejects leave
    no record, and the lengths of its steps count as constants.

    Args:
        f: f(t, y) in the shape of y; t is a number, or a Tensor of no axes where the times are a Tensor
        y0: an array or a Tensor of any shape, or a tuple of them
        t: times (n,), rising or falling, as numbers or a Tensor
        method: one of ODE_METHODS
        steps: equal steps between two times; "dopri5" chooses its own and ends one at each time
        rtol, atol: tolerances of "dopri5"
        max_steps: at most this many steps of "dopri5" between two times

    Returns:
        (n, *y0.shape), or a tuple of these

    Raises UserError for an unknown method, fewer than 1 step, times that repeat or turn, and where "dopri5" needs more steps.
    """
    single = not isinstance(y0, tuple)
    path = list(_solve(_slope(f, single), (y0,) if single else y0, _times(t), _Solver(method, steps, rtol, atol, max_steps)))
    found = tuple(ops.stack(list(part)) for part in zip(*path, strict=True))
    return found[0] if single else found


def odeint_adjoint(
    f: Callable[[Any, Any], Any], y0: Any, t: Any, parameters: Sequence[Tensor], method: str = "dopri5", steps: int = 1,
    rtol: float = 1e-5, atol: float = 1e-6, max_steps: int = 1000,
) -> Any:  # fmt: skip
    """As `odeint`, with gradients by the adjoint method, whose memory does not depend on the number of steps.

    The adjoint a(t) = dL/dy(t) solves da/dt = -a^T df/dy backwards in time, from a(t[-1]) = dL/dy(t[-1]); at each requested
    time the gradient of that output is added. Together with it, y is solved backwards again, and dL/dtheta is the integral of
    a^T df/dtheta. So the gradient has the solver's error, other than that of `odeint`.

    Args:
        parameters: all Tensors of which f needs a gradient, besides y0 and t; others get none

    Source: Pontryagin et al. (1962); Chen et al. (2018), algorithm 1.
    """
    single = not isinstance(y0, tuple)
    start, times = ((y0,) if single else y0), _times(t)
    slope, solver, n, parameters = (
        _slope(f, single),
        _Solver(method, steps, rtol, atol, max_steps),
        len(start),
        tuple(parameters),
    )
    timed = isinstance(t, Tensor)

    def clock(given: Any) -> Sequence[Any]:
        return list(ops.unstack(Tensor(given))) if timed else times

    def backwards(needs: Sequence[bool], g: Any, y: Any, *given: Any) -> list[Any]:
        if is_grad_enabled():
            raise UserError(
                "The adjoint method gives first derivatives. Received create_graph=True. Use the direct gradient: odeint()."
            )
        g, y = (tuple(part) if isinstance(part, tuple) else (part,) for part in (g, y))
        return _adjoint(slope, clock(given[n]) if timed else times, solver, parameters, y, g, timed)

    @primitive(joint=backwards)
    def odeint_adjoint(*given: Any) -> Any:
        with no_grad():
            path = list(_solve(slope, tuple(map(Tensor, given[:n])), clock(given[n]) if timed else times, solver))
        out = tuple(B.stack([part.data for part in parts]) for parts in zip(*path, strict=True))
        return out if len(out) > 1 else out[0]

    return odeint_adjoint(*start, *([t] if timed else []), *parameters)


# One step


class _Solver:
    def __init__(self, method: str, steps: int, rtol: float, atol: float, max_steps: int) -> None:
        self.method, self.steps, self.rtol, self.atol, self.max_steps = method, steps, rtol, atol, max_steps
        if self.method not in ODE_METHODS:
            raise unknown_name("ODE method", self.method, tuple(ODE_METHODS))
        if self.steps < 1 or self.max_steps < 1:
            raise UserError(f"A solver takes at least 1 step. Received {min(self.steps, self.max_steps)}. Use steps=1.")
        if not (self.rtol >= 0 and self.atol > 0):
            raise UserError(f"Tolerances are rtol >= 0 and atol > 0. Received {self.rtol} and {self.atol}. Use 1e-5 and 1e-6.")

    @property
    def rule(self) -> Tableau:
        return ODE_METHODS[self.method]


def _step(f: Slope, rule: Tableau, t: Any, h: Any, y: State, first: State | None = None) -> tuple[State, list[State]]:
    """Return y(t + h) and the slopes k of the stages. `first`: f(t, y), where it is known."""
    k = [f(t, y) if first is None else first]
    for c, a in zip(rule.c[1:], rule.a[1:], strict=True):
        k.append(f(t + c * h, _moved(y, h, a, k)))
    return _moved(y, h, rule.b, k), k


def _moved(y: State, h: Any, weights: Sequence[float], k: Sequence[State]) -> State:
    """y + h sum_i weights_i k_i."""
    moved = y
    for weight, slope in zip(weights, k):
        if weight:
            moved = tuple(part + (weight * h) * rate for part, rate in zip(moved, slope, strict=True))
    return moved


# Many steps


def _solve(f: Slope, y: State, times: Sequence[Any], solver: _Solver) -> Iterator[State]:
    """The states at all times, one after the other."""
    yield y
    memory = _Memory()
    for start, end in pairwise(times):
        y = _adaptive(f, y, start, end, solver, memory) if solver.rule.error else _fixed(f, y, start, end, solver)
        yield y


def _fixed(f: Slope, y: State, start: Any, end: Any, solver: _Solver) -> State:
    h = (end - start) / solver.steps
    for n in range(solver.steps):
        y, _ = _step(f, solver.rule, start + n * h, h, y)
    return y


class _Memory:
    """What an adaptive solver knows at the end of one interval that serves the next one."""

    def __init__(self) -> None:
        self.slope: State | None = None
        self.h = 0.0  # seconds, or whatever the unit of time is; always positive


def _adaptive(f: Slope, y: State, start: Any, end: Any, solver: _Solver, memory: _Memory) -> State:
    """Steps as long as the error estimate allows, in fractions of the interval, so that times may have gradients."""
    span, rule = end - start, solver.rule
    length = abs(_value(span))
    if memory.slope is None:
        memory.slope = f(start, y)
        memory.h = _first_step(f, y, memory.slope, start, span, solver)
    done = 0.0  # the fraction of the interval that is behind
    for _ in range(solver.max_steps):
        fraction = min(memory.h / length, 1.0 - done)
        new, k = _step(f, rule, start + done * span, fraction * span, y, memory.slope)
        with no_grad():
            error = _moved(tuple(0.0 * part for part in y), fraction * span, rule.error, k)
        size = _error_size(y, new, error, solver)
        if size <= 1:
            y, memory.slope, done = new, k[-1], done + fraction  # the last slope is f at the new point: it is computed once
            if 1.0 - done < 1e-12:
                memory.h = max(memory.h, _changed(fraction * length, size))  # a step that only ended at the time says little
                return y
        memory.h = _changed(fraction * length, size)
        if not math.isfinite(size) or done + memory.h / length == done:
            raise UserError(
                f"dopri5 needs finite slopes and steps that move. Received error {size:g} at step {memory.h:g}. Loosen rtol "
                "and atol, or use a slower vector field."
            )
    raise UserError(
        f"dopri5 takes at most {solver.max_steps} steps between two times. Received an equation that needs more: stiff, or "
        "with tolerances that are too small. Loosen rtol and atol, raise max_steps, or use method='rk4'."
    )


def _changed(h: float, size: float) -> float:
    return h * min(GROW, max(SHRINK, SAFETY * size ** (-1 / 5))) if size > 0 else h * GROW


def _first_step(f: Slope, y: State, slope: State, start: Any, span: Any, solver: _Solver) -> float:
    """Return a first step from the sizes of y, of f and of its change (Hairer, Norsett and Wanner 1993, section II.4)."""
    length = abs(_value(span))
    d0, d1 = _error_size(y, y, y, solver), _error_size(y, y, slope, solver)
    h = min(1e-6 if min(d0, d1) < 1e-5 else 0.01 * d0 / d1, length)
    ahead = f(start + (h / length) * span, _moved(y, (h / length) * span, (1.0,), [slope]))
    d2 = _error_size(y, y, tuple(a - b for a, b in zip(ahead, slope, strict=True)), solver) / h
    most = max(d1, d2)
    return min(100 * h, max(1e-6, h * 1e-3) if most <= 1e-15 else (0.01 / most) ** (1 / solver.rule.order), length)


def _error_size(y: State, new: State, error: State, solver: _Solver) -> float:
    """The root mean square of error / (atol + rtol max(|y|, |new|)) over all elements: a step of 1 or less is accepted."""
    total = count = 0.0
    for before, after, e in zip(*map(_arrays, (y, new, error)), strict=True):
        ratio = e / (solver.atol + solver.rtol * np.maximum(np.abs(before), np.abs(after)))
        total, count = total + float(np.square(ratio).sum()), count + ratio.size
    return math.sqrt(total / max(count, 1))


def _arrays(state: State) -> list[Any]:
    """The values of a state as float64. Raises Unplannable inside a compiled step, which has none."""
    values = [part.data if isinstance(part, Tensor) else part for part in state]
    found = [value if isinstance(value, np.generic) else known(value) for value in values]
    if any(part is None for part in found):
        from nnatomy.plan.trace import Unplannable  # an eager run never needs the plans

        raise Unplannable("dopri5 chooses its steps from values; rk4, midpoint and euler do not")
    return [np.asarray(part, np.float64) for part in found]


# The adjoint method


def _adjoint(
    f: Slope, times: Sequence[Any], solver: _Solver, parameters: tuple[Tensor, ...], path: State, gradients: State, timed: bool
) -> list[Any]:
    """The gradients of y0, of the times where these are `timed`, and of the parameters, as arrays.

    `path`, `gradients`: the states at all times, and the gradient of each.
    """
    n = len(path)

    def joint(t: Any, state: State) -> State:
        """d/dt of (y, a, dL/dtheta): f, and minus the vector-Jacobian products of f with a."""
        t = t.detach() if isinstance(t, Tensor) else t
        with enable_grad():
            y = tuple(part.detach().requires_grad_() for part in state[:n])
            slope = f(t, y)
            used = [s for s in slope if s.requires_grad]
            seeds = [a for s, a in zip(slope, state[n : 2 * n], strict=True) if s.requires_grad]
            wanted = [*y, *parameters]
            found = grad(used, wanted, seeds) if used else [None] * len(wanted)
        rates = [0.0 * w if g is None else -g for g, w in zip(found, wanted, strict=True)]
        return (*(s.detach() for s in slope), *(r.detach() for r in rates))

    with no_grad():
        adjoint = tuple(Tensor(g[-1]) for g in gradients)
        sums: State = tuple(0.0 * p.detach() for p in parameters)
        of_times = [Tensor(B.zeros((), dtype=path[0].dtype)) for _ in times] if timed else []
        for i in range(len(times) - 1, 0, -1):
            y = tuple(Tensor(part[i]) for part in path)
            if timed:  # y(t_i) moves along f as t_i grows
                of_times[i] = _product(tuple(Tensor(g[i]) for g in gradients), f(times[i], y))
            *_, end = _solve(joint, (*y, *adjoint, *sums), (times[i], times[i - 1]), solver)
            if timed and i == 1:  # a later start shortens the way: everything after it moves back along f
                of_times[0] = -_product(end[n : 2 * n], f(times[0], tuple(Tensor(part[0]) for part in path)))
            adjoint = tuple(a + Tensor(g[i - 1]) for a, g in zip(end[n : 2 * n], gradients, strict=True))
            sums = end[2 * n :]
    return [part.data for part in (*adjoint, *([ops.stack(of_times)] if timed else []), *sums)]


def _product(a: State, b: State) -> Any:
    return sum((ops.sum(x * y) for x, y in zip(a, b, strict=True)), 0.0)


# Arguments


def _slope(f: Callable[[Any, Any], Any], single: bool) -> Slope:
    def slope(t: Any, y: State) -> State:
        found = (f(t, y[0]),) if single else tuple(f(t, y))
        shapes = [tuple(part.shape) for part in found], [tuple(part.shape) for part in y]
        if shapes[0] != shapes[1]:
            raise UserError(f"f(t, y) has the shape of y. Received {shapes[0]} for {shapes[1]}. Reshape what f returns.")
        return found

    return slope


def _value(number: Any) -> float:
    """A number, or the value of a Tensor without axes."""
    return float(_arrays((number,))[0]) if isinstance(number, Tensor) else float(number)


def _times(t: Any) -> Sequence[Any]:
    """The times as numbers, or as Tensors without axes. Raises UserError where they do not all rise or all fall."""
    found: Any = known(t.data) if isinstance(t, Tensor) else np.asarray(t, np.float64)
    if found is not None and (
        found.ndim != 1 or len(found) < 2 or not (np.all(np.diff(found) > 0) or np.all(np.diff(found) < 0))
    ):
        raise UserError(
            f"Times are two or more numbers that all rise or all fall. Received {np.shape(found)}: {found!r:.60}. Sort them."
        )
    return list(ops.unstack(t)) if isinstance(t, Tensor) else [float(moment) for moment in found.tolist()]
