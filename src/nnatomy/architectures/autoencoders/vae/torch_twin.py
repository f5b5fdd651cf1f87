"""Variational autoencoders in PyTorch: an independent twin, written from Kingma and Welling (2013), Higgins et al. (2017),
Sohn et al. (2015) and van den Oord et al. (2017). It shares only the names and shapes of its state with the model."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence


class Encoder(nn.Module):
    """Layers with ReLU, then the heads that are named."""

    def __init__(self, widths: list[int], heads: dict[str, int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        for name, width in heads.items():
            self.add_module(name, nn.Linear(widths[-1], width))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x))
        return x


class Decoder(nn.Module):
    """Layers with ReLU, then logits (Bernoulli), or means and one logarithm of the variance (Gaussian)."""

    def __init__(self, widths: list[int], outputs: int, gaussian: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.output = nn.Linear(widths[-1], outputs)
        self.logvar = nn.Parameter(torch.zeros(1)) if gaussian else None

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.layers:
            z = F.relu(layer(z))
        y: Tensor = self.output(z)
        return y

    def shown(self, y: Tensor) -> Tensor:
        return torch.sigmoid(y) if self.logvar is None else y

    def surprise(self, y: Tensor, x: Tensor) -> Tensor:
        """-ln p(x | z) of each example."""
        p = Bernoulli(logits=y) if self.logvar is None else Normal(y, torch.exp(0.5 * self.logvar))
        return -p.log_prob(x).sum(1)


class VAE(nn.Module):
    def __init__(self, features: int, latent: int, hidden: list[int], gaussian: bool, beta: float, classes: int) -> None:
        super().__init__()
        self.beta, self.classes = beta, classes
        self.encoder = Encoder([features + classes, *hidden], {"mean": latent, "logvar": latent})
        self.decoder = Decoder([latent + classes, *hidden[::-1]], features, gaussian)

    def with_label(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return x if labels is None or not self.classes else torch.cat([x, F.one_hot(labels, self.classes).to(x.dtype)], 1)

    def passed(self, x: Tensor, noise: Tensor | None, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(self.with_label(x.flatten(1), labels))
        mean, logvar = self.encoder.mean(h), self.encoder.logvar(h)
        z = mean if noise is None else mean + noise * torch.exp(logvar / 2)
        return self.decoder(self.with_label(z, labels)), mean, logvar

    def forward(self, x: Tensor, noise: Tensor | None = None, labels: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        y, mean, logvar = self.passed(x, noise, labels)
        return self.decoder.shown(y).reshape(x.shape), mean, logvar

    def objective(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        y, mean, logvar = self.passed(x, noise, labels)
        kl = kl_divergence(Normal(mean, torch.exp(logvar / 2)), Normal(torch.zeros_like(mean), torch.ones_like(mean)))
        return (self.decoder.surprise(y, x.flatten(1)) + self.beta * kl.sum(1)).mean()


class VQVAE(nn.Module):
    def __init__(
        self, features: int, latent: int, hidden: list[int], gaussian: bool, codes: int, positions: int, commitment: float
    ) -> None:
        super().__init__()
        self.latent, self.commitment = latent, commitment
        self.encoder = Encoder([features, *hidden], {"output": positions * latent})
        self.codebook = nn.Embedding(codes, latent)
        self.decoder = Decoder([positions * latent, *hidden[::-1]], features, gaussian)
        nn.init.uniform_(self.codebook.weight, -1 / codes, 1 / codes)

    def passed(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder's vectors (batch, positions, latent), the indices of the codes nearest to them, and those codes."""
        vectors = self.encoder.output(self.encoder(x.flatten(1))).unflatten(1, (-1, self.latent))
        nearest = ((vectors[:, :, None] - self.codebook.weight) ** 2).sum(3).argmin(2)
        return vectors, nearest, self.codebook(nearest)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _, nearest, e = self.passed(x)
        return self.decoder.shown(self.decoder(e.flatten(1))).reshape(x.shape), nearest

    def objective(self, x: Tensor) -> Tensor:
        vectors, _, e = self.passed(x)
        y = self.decoder((vectors + (e - vectors).detach()).flatten(1))
        moved = (e - vectors.detach()).square().sum((1, 2))
        committed = (vectors - e.detach()).square().sum((1, 2))
        return (self.decoder.surprise(y, x.flatten(1)) + moved + self.commitment * committed).mean()


def build(
    shape: tuple[int, ...], latent: int = 20, hidden: tuple[int, ...] = (400,), decoder: str = "bernoulli", beta: float = 1.0,
    classes: int = 0, codes: int = 0, positions: int = 16, commitment: float = 0.25,
) -> VAE | VQVAE:  # fmt: skip
    """The VAE, or with codes the VQ-VAE, with PyTorch's own initial weights."""
    if decoder not in ("bernoulli", "gaussian"):
        raise ValueError(f"decoder must be 'bernoulli' or 'gaussian', got {decoder!r}")
    features, gaussian = math.prod(shape), decoder == "gaussian"
    if not codes:
        return VAE(features, latent, list(hidden), gaussian, beta, classes)
    if classes or beta != 1:
        raise ValueError("with codes there are neither classes nor a beta")
    return VQVAE(features, latent, list(hidden), gaussian, codes, positions, commitment)


def loss(model: VAE | VQVAE, x: Tensor, *rest: Tensor) -> Tensor:
    """Minus the bound in nats, the mean over examples; rest is noise and, if there are classes, labels."""
    if isinstance(model, VQVAE):
        return model.objective(x)
    return model.objective(x, rest[0], rest[1] if model.classes else None)
