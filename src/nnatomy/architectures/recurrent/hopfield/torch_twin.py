"""Hopfield networks in PyTorch: an independent twin, written from Hopfield (1982), Personnaz, Guyon and Dreyfus (1986) and
Ramsauer et al. (2020). It shares nothing with the architecture's model but the names and shapes of its state."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Hopfield(nn.Module):
    """Units of -1 and +1 that follow the sign of their field W s."""

    def __init__(self, units: int, storage: str, asynchronous: bool, steps: int) -> None:
        super().__init__()
        self.storage, self.asynchronous, self.steps = storage, asynchronous, steps
        self.weight = nn.Parameter(torch.zeros(units, units), requires_grad=False)
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        s = signs(x.flatten(1))
        for _ in range(self.steps):
            if not self.asynchronous:
                s = threshold(F.linear(s, self.weight), s)
                continue
            for i, row in enumerate(self.weight):
                s[:, i] = threshold(s @ row, s[:, i])
        return s.reshape(x.shape)

    def store(self, clean: Tensor) -> None:
        """Hebb: W = P^T P. Projection: W = P^+ P. Both without a diagonal, and P has all patterns as rows of signs."""
        self.kept.append(signs(clean.flatten(1).double()))
        p = torch.cat(self.kept)
        w = p.T @ p if self.storage == "hebb" else torch.linalg.pinv(p) @ p
        if self.storage == "pseudo_inverse":
            w = torch.where(w.abs() < 1e-10, 0.0, w)
        self.weight.copy_(w.fill_diagonal_(0.0))


def signs(x: Tensor) -> Tensor:
    """+1 where x > 0, else -1."""
    return torch.where(x > 0, 1.0, -1.0).to(x.dtype)


def threshold(field: Tensor, s: Tensor) -> Tensor:
    """The sign of the field, and s where the field is 0."""
    return torch.where(field == 0, s, field.sign())


class ContinuousHopfield(nn.Module):
    """xi <- softmax(beta xi X^T) X over the stored rows X (Ramsauer et al. 2020, equation 3): attention to the memory."""

    used: Tensor

    def __init__(self, units: int, patterns: int, steps: int, beta: float) -> None:
        super().__init__()
        self.steps, self.beta = steps, beta
        self.patterns = nn.Parameter(torch.zeros(patterns, units))
        self.register_buffer("used", torch.zeros(patterns))
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        xi, stored = x.flatten(1), self.patterns[self.used > 0]
        for _ in range(self.steps):
            xi = F.scaled_dot_product_attention(xi, stored, stored, scale=self.beta)
        return xi.reshape(x.shape)

    def store(self, clean: Tensor) -> None:
        """Keep the patterns themselves as the first rows."""
        self.kept.append(clean.flatten(1))
        rows = torch.cat(self.kept)
        if len(rows) > len(self.used):
            raise ValueError(f"At most {len(self.used)} patterns are kept. Received {len(rows)}. Use patterns={len(rows)}.")
        self.patterns.zero_()
        self.patterns[: len(rows)] = rows
        self.used.copy_(torch.arange(len(self.used)) < len(rows))


def build(
    units: int,
    storage: str = "pseudo_inverse",
    update: str = "asynchronous",
    steps: int = 5,
    patterns: int = 100,
    beta: float = 1.0,
) -> Hopfield | ContinuousHopfield:
    """The network without patterns."""
    if storage not in ("hebb", "pseudo_inverse", "continuous"):
        raise ValueError(f"storage is 'hebb', 'pseudo_inverse' or 'continuous'. Received {storage!r}. Use storage='hebb'.")
    if update not in ("asynchronous", "synchronous"):
        raise ValueError(f"update is 'asynchronous' or 'synchronous'. Received {update!r}. Use update='asynchronous'.")
    if storage == "continuous":
        return ContinuousHopfield(units, patterns, steps, beta)
    return Hopfield(units, storage, update == "asynchronous", steps)


def loss(model: Hopfield | ContinuousHopfield, x: Tensor, clean: Tensor) -> Tensor:
    """Mean squared error of what is recalled."""
    return F.mse_loss(model(x), clean)


@torch.no_grad()  # type: ignore[untyped-decorator]
def learn(model: Hopfield | ContinuousHopfield, progress: float, x: Tensor, clean: Tensor) -> None:
    """Store all patterns since progress was 0."""
    if progress == 0:
        model.kept = []
    model.store(clean)
