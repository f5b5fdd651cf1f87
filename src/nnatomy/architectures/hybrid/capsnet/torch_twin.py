"""CapsNet in PyTorch: an independent twin, written from Sabour, Frosst and Hinton (2017).
It shares nothing with the architecture's model but the names and shapes of its state."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def squash(s: Tensor) -> Tensor:
    """Equation 1: the direction of s, with a length below 1."""
    length = s.norm(dim=-1, keepdim=True)
    return s * length / (1 + length.square())


class PrimaryCapsules(nn.Module):
    """A strided convolution whose maps are cut into vectors, one for each kind of capsule and place."""

    def __init__(self, maps: int, capsules: int, size: int, kernel: int) -> None:
        super().__init__()
        self.capsules, self.size = capsules, size
        self.conv2d = nn.Conv2d(maps, capsules * size, kernel, 2)

    def forward(self, h: Tensor) -> Tensor:
        """(batch, maps, height, width) -> (batch, capsules, size)"""
        cut = self.conv2d(h).unflatten(1, (self.capsules, self.size))
        return squash(cut.movedim(2, 4).flatten(1, 3))


class RoutedCapsules(nn.Module):
    """Equation 2 and procedure 1: capsules that primary ones agree on."""

    def __init__(self, classes: int, inputs: int, size: int, primary: int, rounds: int, detach: bool, std: float) -> None:
        super().__init__()
        self.rounds, self.detach = rounds, detach
        self.weight = nn.Parameter(std * torch.randn(classes, inputs, size, primary))

    def forward(self, u: Tensor) -> Tensor:
        """(batch, inputs, primary) -> (batch, classes, size)"""
        votes = torch.einsum("jiop,bip->bjio", self.weight, u)
        seen = votes.detach() if self.detach else votes
        logits = torch.zeros_like(votes[..., 0])
        for _ in range(self.rounds - 1):
            v = squash((logits.softmax(1)[..., None] * seen).sum(2))
            logits = logits + (seen * v[:, :, None]).sum(3)
        return squash((logits.softmax(1)[..., None] * votes).sum(2))


class CapsNet(nn.Module):
    """A convolution, primary capsules, a capsule for each class, and a decoder that draws the image from one of them."""

    def __init__(
        self, shape: tuple[int, ...], classes: int, maps: int, kernel: int, capsules: int, primary: int, size: int,
        rounds: int, hidden: Sequence[int], detach: bool, mean: Sequence[float], std: Sequence[float], weight_std: float,
        reconstruction: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.shape, self.classes, self.mean, self.std = shape, classes, tuple(mean), tuple(std)
        self.reconstruction = reconstruction
        places = math.prod((side - 2 * kernel + 1) // 2 + 1 for side in shape[1:])
        self.conv1 = nn.Conv2d(shape[0], maps, kernel)
        self.primarycaps = PrimaryCapsules(maps, capsules, primary, kernel)
        self.digitcaps = RoutedCapsules(classes, capsules * places, size, primary, rounds, detach, weight_std)
        layers: list[nn.Module] = []
        inputs = classes * size
        for units in hidden:
            layers += [nn.Linear(inputs, units), nn.ReLU()]
            inputs = units
        self.decoder = nn.Sequential(*layers, nn.Linear(inputs, math.prod(shape)), nn.Sigmoid()) if hidden else None

    def capsules(self, images: Tensor) -> Tensor:
        return self.digitcaps(self.primarycaps(F.relu(self.conv1(images))))

    def forward(self, images: Tensor) -> Tensor:
        return self.capsules(images).norm(dim=2)

    def drawn(self, v: Tensor, labels: Tensor) -> Tensor:
        """The images that the decoder makes of the capsules of these classes."""
        if self.decoder is None:
            raise ValueError("A reconstruction needs a decoder. Received a model without one. Use decoder=(512, 1024).")
        kept = v * F.one_hot(labels, self.classes)[:, :, None].to(v.dtype)
        return self.decoder(kept.flatten(1)).unflatten(1, self.shape)

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        v = self.capsules(images)
        return self.drawn(v, v.norm(dim=2).argmax(1) if labels is None else labels)


def build(
    shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
    maps: int = 256,
    kernel: int = 9,
    capsules: int = 32,
    primary_size: int = 8,
    size: int = 16,
    routings: int = 3,
    decoder: Sequence[int] = (512, 1024),
    detach: bool = True,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    weight_std: float = 0.05,
    reconstruction: float = 0.0005,
) -> CapsNet:
    """The network with PyTorch's own initial weights, and those of the routed capsules N(0, weight_std)."""
    if routings < 1:
        raise ValueError(f"routings is 1 or more. Received {routings}. Use routings=3.")
    sizes = (classes, maps, kernel, capsules, primary_size, size, routings)
    return CapsNet(tuple(shape), *sizes, decoder, detach, mean, std, weight_std, reconstruction)


def loss(model: CapsNet, images: Tensor, labels: Tensor) -> Tensor:
    """Equation 4's margins, plus `reconstruction` times the squared errors of the image that the right capsule draws."""
    v = model.capsules(images)
    lengths, right = v.norm(dim=2), F.one_hot(labels, model.classes).to(v.dtype)
    present, absent = F.relu(0.9 - lengths).square(), F.relu(lengths - 0.1).square()
    total = (right * present + 0.5 * (1 - right) * absent).sum(1)
    if model.decoder is not None:
        mean, std = (images.new_tensor(values).view(-1, 1, 1) for values in (model.mean, model.std))
        errors = (model.drawn(v, labels) - (images * std + mean)).square()
        total = total + model.reconstruction * errors.flatten(1).sum(1)
    return total.mean()
