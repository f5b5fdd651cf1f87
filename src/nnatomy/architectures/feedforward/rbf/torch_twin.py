"""Radial basis functions in PyTorch: an independent twin, written from Broomhead and Lowe (1988) and Moody and Darken (1989).
It shares nothing with the architecture's model but the names and shapes of its state: hidden, output, tail."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RIDGE = 0.1
KERNELS = ("gaussian", "multiquadric", "inverse_multiquadric", "thin_plate")


class Centers(nn.Module):
    """One radial function about each center; learned, or fixed where it was put."""

    centers: Tensor
    log_widths: Tensor

    def __init__(self, features: int, hidden: int, kernel: str, learned: bool) -> None:
        super().__init__()
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, got {kernel!r}")
        self.kernel = kernel
        start = {"centers": torch.randn(hidden, features)}
        if kernel != "thin_plate":
            start["log_widths"] = torch.zeros(hidden)
        for name, value in start.items():
            if learned:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        squares = ((x[:, None] - self.centers) ** 2).sum(2)
        if self.kernel == "thin_plate":  # r^2 ln r = r^2 ln(r^2) / 2, whose limit at 0 is 0, as is that of its slope
            return squares * torch.log(torch.where(squares > 0, squares, 1.0)) / 2
        scaled = squares / torch.exp(self.log_widths) ** 2
        if self.kernel == "gaussian":
            return torch.exp(-scaled)
        root = torch.sqrt(1 + scaled)
        return root if self.kernel == "multiquadric" else 1 / root


class RBF(nn.Module):
    """A linear map of radial functions, plus a polynomial of degree -1 (none), 0 or 1."""

    def __init__(self, features: int, hidden: int, outputs: int, kernel: str, degree: int, learned: bool) -> None:
        super().__init__()
        if degree not in (-1, 0, 1):
            raise ValueError(f"degree must be -1, 0 or 1, got {degree!r}")
        self.degree = degree
        self.hidden = Centers(features, hidden, kernel, learned)
        self.output = nn.Linear(hidden, outputs, bias=degree >= 0)
        self.tail = nn.Linear(features, outputs, bias=False) if degree == 1 else None
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        y: Tensor = self.output(self.hidden(x))
        return y if self.tail is None else y + self.tail(x)


def build(features: int, hidden: int, outputs: int, kernel: str = "gaussian", degree: int = 0, learned: bool = False) -> RBF:
    """The network with random centers and widths of 1."""
    return RBF(features, hidden, outputs, kernel, degree, learned)


def wanted(model: RBF, targets: Tensor) -> Tensor:
    """One column a class with a 1 where an example belongs, or the numbers to fit."""
    columns = model.output.out_features
    if not targets.is_floating_point():
        return F.one_hot(targets, columns).to(model.output.weight.dtype)
    return targets.reshape(len(targets), columns)


def loss(model: RBF, x: Tensor, targets: Tensor) -> Tensor:
    """Squared errors, summed over outputs and averaged over examples."""
    return ((model(x) - wanted(model, targets)) ** 2).sum(1).mean()


def polynomials(model: RBF, x: Tensor) -> Tensor:
    """The tail's columns at the rows of x: none, 1, or 1 and x."""
    return torch.cat([torch.ones_like(x[:, :1]), x], 1)[:, : {-1: 0, 0: 1, 1: None}[model.degree]].double()


@torch.no_grad()  # type: ignore[untyped-decorator]
def learn(model: RBF, progress: float, x: Tensor, targets: Tensor) -> None:
    """Solve for lambda and the tail c with all examples since progress was 0, with multipliers m of the side conditions.

    (Phi' Phi + RIDGE I) lambda + Phi' P c + Q m = Phi' T,   P' Phi lambda + P' P c = P' T,   Q' lambda = 0,
    where P and Q are the tail's polynomials at the examples and at the centers.
    """
    if progress == 0:
        model.seen = []
    model.seen.append((x.flatten(1), wanted(model, targets)))
    x, t = (torch.cat(parts) for parts in zip(*model.seen))
    phi, p, q, t = model.hidden(x).double(), polynomials(model, x), polynomials(model, model.hidden.centers), t.double()
    n, k = phi.shape[1], p.shape[1]
    system = torch.zeros(n + 2 * k, n + 2 * k, dtype=torch.float64)
    both = torch.cat([phi, p], 1)
    system[: n + k, : n + k] = both.T @ both
    system[:n, :n] += RIDGE * torch.eye(n, dtype=torch.float64)
    system[:n, n + k :], system[n + k :, :n] = q, q.T
    right = torch.cat([both.T @ t, torch.zeros(k, t.shape[1], dtype=torch.float64)])
    solution = torch.linalg.solve(system, right)
    model.output.weight.copy_(solution[:n].T)
    if k:
        model.output.bias.copy_(solution[n])
    if model.tail is not None:
        model.tail.weight.copy_(solution[n + 1 : n + k].T)
