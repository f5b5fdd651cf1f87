"""Further update rules, written as those of rules.py: Adam's relatives, Rprop and averaged SGD, with PyTorch's defaults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nnatomy.backends import B
from nnatomy.optim.optimizer import Group, Optimizer
from nnatomy.optim.rules import State, correction, l2
from nnatomy.tensor import Array


class Adamax(Optimizer):
    """Adam with the infinity norm in place of the second moment (Kingma & Ba 2015, algorithm 2).

    m <- beta1 m + (1 - beta1) g;  u <- max(beta2 u, |g| + eps);  p <- p - lr m / ((1 - beta1^t) u).
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def initial(self, p: Array, group: Group) -> State:
        return {"exp_avg": B.zeros_like(p), "exp_inf": B.zeros_like(p)}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        (beta1, beta2), g = group["betas"], l2(p, g, group)
        m = beta1 * s["exp_avg"] + (1 - beta1) * g
        u = B.maximum(beta2 * s["exp_inf"], B.abs(g) + group["eps"])
        return p - group["lr"] / correction(beta1, t) * m / u, {"exp_avg": m, "exp_inf": u}


def _decayed(p: Array, g: Array, group: Group) -> tuple[Array, Array]:
    """p and g after weight decay: of p itself where it is decoupled, else of the gradient."""
    if group["decoupled_weight_decay"]:
        return p * (1 - group["lr"] * group["weight_decay"]), g
    return p, l2(p, g, group)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016).

    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2), M_t = mu_1 ... mu_t;
    p <- p - lr (mu_(t+1) m / (1 - M_(t+1)) + (1 - mu_t) g / (1 - M_t)) / (sqrt(v') + eps), v' as Adam's.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
        maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay,
                         decoupled_weight_decay=decoupled_weight_decay, maximize=maximize)  # fmt: skip

    def initial(self, p: Array, group: Group) -> State:
        return {"mu_product": B.ones((), dtype=p.dtype), "exp_avg": B.zeros_like(p), "exp_avg_sq": B.zeros_like(p)}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        (beta1, beta2), decay, lr = group["betas"], group["momentum_decay"], group["lr"]
        p, g = _decayed(p, g, group)
        mu, following = (beta1 * (1 - 0.5 * 0.96 ** (k * decay)) for k in (t, t + 1))
        product = s["mu_product"] * mu
        m = beta1 * s["exp_avg"] + (1 - beta1) * g
        v = beta2 * s["exp_avg_sq"] + (1 - beta2) * B.square(g)
        step = following / (1 - product * following) * m + (1 - mu) / (1 - product) * g
        p = p - lr * step / (B.sqrt(v / correction(beta2, t)) + group["eps"])
        return p, {"mu_product": B.asarray(product, dtype=p.dtype), "exp_avg": m, "exp_avg_sq": v}


class RAdam(Optimizer):
    """Adam whose step is rectified while its second moment is uncertain (Liu et al. 2020, algorithm 2).

    rho = 2 / (1 - beta2) - 1, rho_t = rho - 2 t beta2^t / (1 - beta2^t); where rho_t > 5 p <- p - lr r m' / (sqrt(v') + eps)
    with r^2 = (rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t), before p <- p - lr m'; m' and v' as Adam's.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, decoupled_weight_decay: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                         decoupled_weight_decay=decoupled_weight_decay, maximize=maximize)  # fmt: skip

    def initial(self, p: Array, group: Group) -> State:
        return {"exp_avg": B.zeros_like(p), "exp_avg_sq": B.zeros_like(p)}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        beta1, beta2 = group["betas"]
        p, g = _decayed(p, g, group)
        m = beta1 * s["exp_avg"] + (1 - beta1) * g
        v = beta2 * s["exp_avg_sq"] + (1 - beta2) * B.square(g)
        unseen = correction(beta2, t)  # the weight that the average has
        most = 2 / (1 - beta2) - 1
        rho = most - 2 * t * (1 - unseen) / unseen
        certain = rho > 5  # an array where t is traced
        known = B.where(certain, rho, 6.0)
        r = B.sqrt((known - 4) * (known - 2) * most / ((most - 4) * (most - 2) * known))
        adaptive = B.asarray(r, dtype=p.dtype) * unseen**0.5 / (B.sqrt(v) + group["eps"])
        step = group["lr"] / correction(beta1, t) * m * B.where(certain, adaptive, B.ones_like(p))
        return p - step, {"exp_avg": m, "exp_avg_sq": v}


class Rprop(Optimizer):
    """A step size for each weight, by the signs of its gradients alone (Riedmiller & Braun 1993); for full batches.

    The size grows by etas[1] while the sign stays and shrinks by etas[0] where it changes, within `step_sizes`; after a change
    the weight rests for one step.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, lr=lr, etas=etas, step_sizes=step_sizes, maximize=maximize)

    def initial(self, p: Array, group: Group) -> State:
        return {"prev": B.zeros_like(p), "step_size": B.full(p.shape, float(group["lr"]), dtype=p.dtype)}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        (shrink, grow), (least, most) = group["etas"], group["step_sizes"]
        sign = B.sign(g * s["prev"])
        factor = B.where(sign > 0, grow, B.where(sign < 0, shrink, 1.0)).astype(p.dtype)
        size = B.clip(s["step_size"] * factor, least, most)
        g = B.where(sign < 0, B.zeros_like(g), g)
        return p - B.sign(g) * size, {"prev": g, "step_size": size}


class ASGD(Optimizer):
    """SGD with the average of its iterates (Polyak & Juditsky 1992), which is in the state "ax".

    eta = lr / (1 + lambd lr t)^alpha; p <- p - eta (g + lambd p); ax is p until step t0, then the mean of all p since.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0.0, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, maximize=maximize)

    def initial(self, p: Array, group: Group) -> State:
        return {"ax": B.zeros_like(p)}

    def update(self, p: Array, g: Array, s: State, group: Group, t: Any) -> tuple[Array, State]:
        lr, lambd, t0 = group["lr"], group["lambd"], group["t0"]

        def eta(k: Any) -> Any:
            return lr / (1 + lambd * lr * k) ** group["alpha"]

        g = l2(p, g, group)
        rate = B.where(t == 1, lr, eta(t - 1))
        p = p * B.asarray(1 - lambd * rate, dtype=p.dtype) - B.asarray(rate, dtype=p.dtype) * g
        part = B.asarray(1 / B.maximum(1.0, t - 1 - t0), dtype=p.dtype)
        return p, {"ax": s["ax"] + part * (p - s["ax"])}
