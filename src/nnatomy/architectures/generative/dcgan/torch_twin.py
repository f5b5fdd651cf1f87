"""DCGAN in PyTorch: an independent twin, written from Radford et al. (2015), and Mirza and Osindero (2014) for labels.
It shares nothing with the architecture's model but the names and shapes of its state."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """torch.nn.BatchNorm2d without its counter of batches."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(maps)), nn.Parameter(torch.zeros(maps))
        self.register_buffer("running_mean", torch.zeros(maps))
        self.register_buffer("running_var", torch.ones(maps))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, 1e-5)


class Generator(nn.Module):
    """Transposed convolutions, the first from a single pixel, with batch normalization and ReLU but for the last."""

    def __init__(self, noise: int, maps: list[int], start: tuple[int, int], bounds: tuple[float, float]) -> None:
        super().__init__()
        self.bounds = bounds
        layers: list[nn.Module] = [nn.ConvTranspose2d(noise, maps[0], start, bias=False)]
        for inputs, outputs in pairwise(maps):
            layers += [BatchNorm(inputs), nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)]
        self.main = nn.Sequential(*layers, nn.Tanh())

    def forward(self, code: Tensor) -> Tensor:
        low, high = self.bounds
        return low + (high - low) * (self.main(code[:, :, None, None]) + 1) / 2


class Discriminator(nn.Module):
    """Strided convolutions with batch normalization but for the first and last, and leaky ReLU; a logit."""

    def __init__(self, inputs: int, maps: list[int], end: tuple[int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inputs, maps[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for before, after in pairwise(maps):
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), BatchNorm(after), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(maps[-1], 1, end, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x).flatten()


class DCGAN(nn.Module):
    """Both players; a call makes images."""

    optimizers: list[Any]

    def __init__(
        self, shape: tuple[int, int, int], noise: int, width: int, stages: int, classes: int, bounds: tuple[float, float],
        spread: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.classes = classes
        channels, height, wide = shape
        least = (height >> stages, wide >> stages)
        maps = [width * 2**s for s in range(stages)]
        self.generator = Generator(noise + classes, [*maps[::-1], channels], least, bounds)
        self.discriminator = Discriminator(channels + classes, maps, least)
        for part in self.modules():  # section 4
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(part.weight, std=spread)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None and self.classes:
            z = torch.cat([z, F.one_hot(labels, self.classes).to(z.dtype)], dim=1)
        return self.generator(z)

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None and self.classes:
            hot = F.one_hot(labels, self.classes).to(x.dtype)
            x = torch.cat([x, hot[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1)
        return self.discriminator(x)


def build(
    shape: tuple[int, int, int] = (3, 64, 64),
    noise: int = 100,
    width: int = 64,
    stages: int = 4,
    classes: int = 0,
    bounds: tuple[float, float] = (-1.0, 1.0),
    spread: float = 0.02,
) -> DCGAN:
    """The players with kernels N(0, spread)."""
    if shape[1] % 2**stages or shape[2] % 2**stages:
        raise ValueError(f"2^stages divides height and width. Received {stages} and {shape[1:]}. Use fewer stages.")
    return DCGAN(shape, noise, width, stages, classes, bounds, spread)


def loss(model: DCGAN, x: Tensor, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """The discriminator's loss, which reaches the generator too: nothing is detached."""
    made = model(z, labels)
    real, fake = model.discriminate(x, labels), model.discriminate(made, labels)
    says_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    return says_real + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def generator_loss(model: DCGAN, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """-ln D(G(z)), the mean: the form that does not saturate."""
    fake = model.discriminate(model(z, labels), labels)
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def learn(model: DCGAN, progress: float, x: Tensor, z: Tensor, labels: Tensor | None = None) -> None:
    """A step of the discriminator, then one of the generator on the same noise, both by Adam with section 4's numbers."""
    if progress == 0:
        players = (model.discriminator, model.generator)
        model.optimizers = [torch.optim.Adam(player.parameters(), lr=2e-4, betas=(0.5, 0.999)) for player in players]
    for number, optimizer in enumerate(model.optimizers):
        model.zero_grad()
        (generator_loss(model, z, labels) if number else loss(model, x, z, labels)).backward()
        optimizer.step()
