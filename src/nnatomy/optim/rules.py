"""The update rules, each as its paper's equations: names, arguments and defaults are PyTorch's where it has the rule.

In all of them p is a parameter, g its gradient, s the rule's state, t = 1, 2, ... the number of this update. L-BFGS, which
needs the whole loss function, is in lbfgs.py; (batch) gradient descent is SGD on all of the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from nnatomy.backends import B
from nnatomy.backends.dtypes import resolution
from nnatomy.errors import UserError
from nnatomy.optim.optimizer import Group, Optimizer
from nnatomy.tensor import Array

State = dict[str, Array]


def l2(p: Array, g: Array, group: Group) -> Array:
    """The gradient with that of the penalty weight_decay / 2 |p|^2 added."""
    return g + group["weight_decay"] * p if group["weight_decay"] else g


def correction(beta: float, t: Any) -> Any:
    """1 - beta^t: the weight that t terms of an exponential average have. Exact in float32 too, where t is traced."""
    if isinstance(t, int):
        return 1 - beta**t
    return -B.expm1(t * math.log(beta)) if beta else 1.0


class SGD(Optimizer):
    """Stochastic gradient descent: p <- p - lr g; with momentum (Polyak 1964) or Nesterov's (Sutskever et al. 2013).

    v <- momentum v + (1 - dampening) g, v = g at first;  p <- p - lr v, or with `nesterov` p <- p - lr (g + momentum v).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise UserError(
                f"Nesterov momentum needs momentum > 0 and dampening = 0. Received momentum={momentum}, dampening={dampening}. "
                "Give momentum=0.9."
            )
        super().__init__(params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
                         maximize=maximize)  # fmt: skip

    def initial(self, p: Array, group: Group) -> State:
        return {"momentum_buffer": B.zeros_like(p)} if group["momentum"] else {}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        lr, momentum, dampening = group["lr"], group["momentum"], group["dampening"]
        g = l2(p, g, group)
        if not momentum:
            return p - lr * g, s
        first = B.asarray(t == 1, dtype=p.dtype) if dampening else 0.0
        v = momentum * s["momentum_buffer"] + (1 - dampening * (1 - first)) * g
        return p - lr * (g + momentum * v if group["nesterov"] else v), {"momentum_buffer": v}


class Adagrad(Optimizer):
    """A smaller step where gradients have been large (Duchi et al. 2011): G <- G + g^2;  p <- p - lr g / (sqrt(G) + eps)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
                         initial_accumulator_value=initial_accumulator_value, eps=eps, maximize=maximize)  # fmt: skip

    def initial(self, p: Array, group: Group) -> State:
        return {"sum": B.full(p.shape, group["initial_accumulator_value"], dtype=p.dtype)}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        lr = group["lr"] / (1 + (t - 1) * group["lr_decay"])
        g = l2(p, g, group)
        total = s["sum"] + B.square(g)
        return p - lr * g / (B.sqrt(total) + group["eps"]), {"sum": total}


class RMSprop(Optimizer):
    """Gradients divided by their running root mean square (Tieleman & Hinton 2012, lecture 6.5; `centered`: Graves 2013).

    v <- alpha v + (1 - alpha) g^2;  centered: a <- alpha a + (1 - alpha) g and v - a^2 takes the place of v;
    b <- momentum b + g / (sqrt(v) + eps);  p <- p - lr b.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered,
                         maximize=maximize)  # fmt: skip

    def initial(self, p: Array, group: Group) -> State:
        kept = {"square_avg": True, "grad_avg": group["centered"], "momentum_buffer": group["momentum"] > 0}
        return {key: B.zeros_like(p) for key, wanted in kept.items() if wanted}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        lr, alpha, new = group["lr"], group["alpha"], {}
        g = l2(p, g, group)
        new["square_avg"] = v = alpha * s["square_avg"] + (1 - alpha) * B.square(g)
        if group["centered"]:
            new["grad_avg"] = a = alpha * s["grad_avg"] + (1 - alpha) * g
            v = v - B.square(a)
        step = g / (B.sqrt(v) + group["eps"])
        if group["momentum"]:
            new["momentum_buffer"] = step = group["momentum"] * s["momentum_buffer"] + step
        return p - lr * step, new


class Adadelta(Optimizer):
    """Steps in the units of the parameters, with no rate to choose (Zeiler 2012, algorithm 1).

    v <- rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u <- rho u + (1 - rho) d^2;  p <- p - lr d.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def initial(self, p: Array, group: Group) -> State:
        return {"square_avg": B.zeros_like(p), "acc_delta": B.zeros_like(p)}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        rho, eps, u = group["rho"], group["eps"], s["acc_delta"]
        g = l2(p, g, group)
        v = rho * s["square_avg"] + (1 - rho) * B.square(g)
        d = B.sqrt(u + eps) / B.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * B.square(d)
        return p - group["lr"] * d, {"square_avg": v, "acc_delta": u}


def adam_initial(p: Array, group: Group) -> State:
    """The moments of Adam and AdamW before the first update."""
    keys = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")
    return {key: B.zeros_like(p) for key in keys}


def adam_update(p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
    """Adam without weight decay, which Adam and AdamW put in different places."""
    (beta1, beta2), new = group["betas"], {}
    new["exp_avg"] = m = beta1 * s["exp_avg"] + (1 - beta1) * g
    new["exp_avg_sq"] = v = beta2 * s["exp_avg_sq"] + (1 - beta2) * B.square(g)
    if group["amsgrad"]:
        new["max_exp_avg_sq"] = v = B.maximum(s["max_exp_avg_sq"], v)
    step = group["lr"] / correction(beta1, t)  # both corrections are numbers: no pass over arrays for m' and v' themselves
    return p - step * m / (B.sqrt(v) / correction(beta2, t) ** 0.5 + group["eps"]), new


class Adam(Optimizer):
    """Adaptive moments (Kingma & Ba 2015, algorithm 1); `amsgrad` keeps the largest v so far (Reddi et al. 2018).

    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr m' / (sqrt(v') + eps) with m' = m / (1 - beta1^t), v' = v / (1 - beta2^t).
    `weight_decay` is an L2 penalty: it is added to g and so divided by sqrt(v') too. AdamW decouples it.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize)

    def initial(self, p: Array, group: Group) -> State:
        return adam_initial(p, group)

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        return adam_update(p, l2(p, g, group), s, group, t)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): p <- p - lr weight_decay p, then Adam's update.

    The decay is not an L2 penalty: it is not divided by sqrt(v').
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize)

    def initial(self, p: Array, group: Group) -> State:
        return adam_initial(p, group)

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        return adam_update(p * (1 - group["lr"] * group["weight_decay"]), g, s, group, t)


class Adafactor(Optimizer):
    """Adam's second moment in the memory of a row and a column (Shazeer & Stern 2018), as torch.optim.Adafactor has it.

    w = t^beta2_decay;  R <- R + w (mean of g^2 over columns - R), C likewise over rows;  V = R C / mean(R);
    for vectors V <- V + w (g^2 - V) itself;
    u = g / sqrt(max(V, eps1^2));  p <- p - max(eps2, rms(p)) min(lr, 1 / sqrt(t)) u / max(1, rms(u) / d).

    `eps` is (eps1, eps2), eps1 = None for the dtype's resolution; weight decay is decoupled. So steps are relative to the size
    of p as in the paper, but `lr` is given, and no first moment is kept.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, beta2_decay=beta2_decay, eps=eps, d=d, weight_decay=weight_decay, maximize=maximize)

    def initial(self, p: Array, group: Group) -> State:
        if p.ndim < 2:
            return {"variance": B.zeros_like(p)}
        *lead, rows, columns = p.shape
        return {"row_var": B.zeros((*lead, rows, 1), dtype=p.dtype), "col_var": B.zeros((*lead, 1, columns), dtype=p.dtype)}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        lr, (eps1, eps2), w, square = group["lr"], group["eps"], t ** group["beta2_decay"], B.square(g)
        eps1 = resolution(p.dtype) if eps1 is None else eps1
        rho = B.minimum(B.asarray(lr, dtype=p.dtype), B.asarray(t**-0.5, dtype=p.dtype))
        alpha = B.maximum(rms(p), eps2) * rho
        p = p * (1 - lr * group["weight_decay"])
        if g.ndim < 2:
            new = {"variance": s["variance"] + w * (square - s["variance"])}
            v = new["variance"]
        else:
            row = s["row_var"] + w * (square.mean(axis=-1, keepdims=True) - s["row_var"])
            column = s["col_var"] + w * (square.mean(axis=-2, keepdims=True) - s["col_var"])
            new = {"row_var": row, "col_var": column}
            v = row * column / B.maximum(row.mean(axis=-2, keepdims=True), eps1)
        u = g / B.sqrt(B.maximum(v, eps1 * eps1))
        return p - alpha * u / B.maximum(rms(u) / group["d"], 1.0), new


class Lion(Optimizer):
    """Evolved sign momentum (Chen et al. 2023, algorithm 2), with decoupled weight decay.

    Its lr is to be 3 to 10 times below Adam's (section 5 there).
    p <- p - lr (sign(beta1 m + (1 - beta1) g) + weight_decay p);  m <- beta2 m + (1 - beta2) g.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay, maximize=maximize)

    def initial(self, p: Array, group: Group) -> State:
        return {"exp_avg": B.zeros_like(p)}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        (beta1, beta2), m = group["betas"], s["exp_avg"]
        direction = B.sign(beta1 * m + (1 - beta1) * g)
        return p - group["lr"] * (direction + group["weight_decay"] * p), {"exp_avg": beta2 * m + (1 - beta2) * g}


class LAMB(Optimizer):
    """Adam's direction with a step as long as the parameter, for large batches (You et al. 2020, algorithm 2; phi(z) = z).

    u = m' / (sqrt(v') + eps) + weight_decay p with Adam's m', v';  p <- p - lr |p| / |u| u.

    |p| / |u| counts as 1 where one of them is 0.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def initial(self, p: Array, group: Group) -> State:
        return {"exp_avg": B.zeros_like(p), "exp_avg_sq": B.zeros_like(p)}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        beta1, beta2 = group["betas"]
        m = beta1 * s["exp_avg"] + (1 - beta1) * g
        v = beta2 * s["exp_avg_sq"] + (1 - beta2) * B.square(g)
        r = (m / correction(beta1, t)) / (B.sqrt(v / correction(beta2, t)) + group["eps"])
        u = r + group["weight_decay"] * p
        size, length = B.sqrt(B.square(p).sum()), B.sqrt(B.square(u).sum())
        one = B.ones_like(size)
        ratio = B.where((size > 0) & (length > 0), size / B.where(length > 0, length, one), one)
        return p - group["lr"] * ratio * u, {"exp_avg": m, "exp_avg_sq": v}


def rms(x: Array) -> Array:
    """The root mean square of all elements."""
    return B.sqrt(B.square(x).mean())
