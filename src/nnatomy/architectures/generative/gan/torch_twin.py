"""GANs in PyTorch: an independent twin, written from Goodfellow et al. (2014), Arjovsky et al. (2017), Gulrajani et al. (2017).
It shares nothing with the architecture's model but the names and shapes of its state: generator.layers.*, critic.layers.*."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Generator(nn.Module):
    """ReLU between linear layers; a scaled sigmoid at the end where outputs have bounds."""

    def __init__(self, noise: int, shape: tuple[int, ...], hidden: tuple[int, ...], bounds: tuple[float, float] | None) -> None:
        super().__init__()
        self.shape, self.bounds = shape, bounds
        widths = [noise, *hidden, math.prod(shape)]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            z = F.relu(layer(z))
        made: Tensor = self.layers[-1](z)
        if self.bounds is not None:
            made = torch.sigmoid(made) * (self.bounds[1] - self.bounds[0]) + self.bounds[0]
        return made.view(-1, *self.shape)


class Critic(nn.Module):
    """Leaky ReLU with slope 0.2 between linear layers, one number at the end."""

    def __init__(self, shape: tuple[int, ...], hidden: tuple[int, ...]) -> None:
        super().__init__()
        widths = [math.prod(shape), *hidden, 1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
        score: Tensor = self.layers[-1](x)
        return score.squeeze(1)


class GAN(nn.Module):
    """Both players; a call makes examples."""

    def __init__(
        self, noise: int, shape: tuple[int, ...], hidden: tuple[int, ...], objective: str, penalty: float, clip: float,
        bounds: tuple[float, float] | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.objective, self.penalty, self.clip = objective, penalty, clip
        self.generator = Generator(noise, shape, hidden[::-1], bounds)
        self.critic = Critic(shape, hidden)

    def forward(self, z: Tensor) -> Tensor:
        made: Tensor = self.generator(z)
        return made


def build(
    noise: int, shape: tuple[int, ...], hidden: tuple[int, ...] = (128, 128), objective: str = "wgan-gp", penalty: float = 10.0,
    clip: float = 0.01, bounds: tuple[float, float] | None = None,
) -> GAN:  # fmt: skip
    return GAN(noise, tuple(shape), tuple(hidden), objective, penalty, clip, bounds)


def loss(model: GAN, x: Tensor, z: Tensor, mix: Tensor) -> Tensor:
    """The critic's loss, which reaches the generator too: nothing is detached."""
    made = model.generator(z)
    if model.objective in ("minimax", "non-saturating"):
        real, fake = model.critic(x), model.critic(made)
        says_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        says_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        return says_real + says_fake
    distance = model.critic(x).mean() - model.critic(made).mean()
    if model.objective == "wgan":
        return -distance
    share = mix.view(-1, *[1] * (x.dim() - 1))
    between = made + share * (x - made)
    if not between.requires_grad:
        between.requires_grad_()
    slope = torch.autograd.grad(model.critic(between).sum(), between, create_graph=True)[0]
    return model.penalty * (slope.flatten(1).norm(dim=1) - 1).pow(2).mean() - distance


def generator_loss(model: GAN, z: Tensor) -> Tensor:
    score = model.critic(model.generator(z))
    if model.objective == "minimax":
        return torch.log(1 - torch.sigmoid(score)).mean()
    if model.objective == "non-saturating":
        return -torch.log(torch.sigmoid(score)).mean()
    return -score.mean()


def learn(model: GAN, progress: float, x: Tensor, z: Tensor, mix: Tensor) -> None:
    """Two updates of the critic, on the rows 0, 2, 4, ... and 1, 3, 5, ..., then one of the generator on all rows."""
    if progress == 0:
        model.optimizers = [
            torch.optim.RMSprop(player.parameters(), lr=1e-3)
            if model.objective == "wgan"
            else torch.optim.Adam(player.parameters(), lr=1e-3, betas=(0.5, 0.9))
            for player in (model.critic, model.generator)
        ]
    critic, generator = model.optimizers
    for first in (0, 1):
        model.zero_grad()
        loss(model, x[first::2], z[first::2], mix[first::2]).backward()
        critic.step()
        if model.objective == "wgan":
            with torch.no_grad():
                for weight in model.critic.parameters():
                    weight.clamp_(-model.clip, model.clip)
    model.zero_grad()
    generator_loss(model, z).backward()
    generator.step()
