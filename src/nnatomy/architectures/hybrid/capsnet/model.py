"""CapsNet: layers of vectors whose lengths are probabilities, with routing by agreement (Sabour, Frosst and Hinton 2017).

Sections, equations and figures are the paper's. Training is in recipe.py, the theory in page.md. Names of parameters are those
of XifengGuo's CapsNet-Pytorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.functional import batch_mean
from nnatomy.layers import Conv2d, Linear, ReLU, Sigmoid
from nnatomy.layers.module import Module, Sequential
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

PRESENT, ABSENT, DOWN = 0.9, 0.1, 0.5
"""m+, m- and lambda of the margin loss (equation 4)."""

# Vectors, and how they agree


def squash(s: Float[Tensor, "... numbers"]) -> Float[Tensor, "... numbers"]:
    """Return v = |s|^2 / (1 + |s|^2) s / |s|: the direction of s, and a length between 0 and 1 (equation 1)."""
    length = ops.norm(s, axis=-1, keepdims=True)
    return length / (1 + length.square()) * s  # type: ignore[no-any-return]


def couplings(logits: Float[Tensor, "batch outputs inputs"]) -> Float[Tensor, "batch outputs inputs"]:
    """Return c_ij = exp(b_ij) / sum_k exp(b_ik): how input i divides what it sends among the outputs j (equation 3)."""
    return F.softmax(logits, axis=1)  # type: ignore[no-any-return]


def weighted_sum(
    c: Float[Tensor, "batch outputs inputs"], votes: Float[Tensor, "batch outputs inputs numbers"]
) -> Float[Tensor, "batch outputs numbers"]:
    """Return s_j = sum_i c_ij u_hat_j|i (equation 2)."""
    return (ops.expand_dims(c, 2) @ votes)[:, :, 0]  # type: ignore[no-any-return]


def agreement(
    votes: Float[Tensor, "batch outputs inputs numbers"], v: Float[Tensor, "batch outputs numbers"]
) -> Float[Tensor, "batch outputs inputs"]:
    """Return a_ij = u_hat_j|i . v_j: large where the vote of input i points to where output j does."""
    return (votes @ ops.expand_dims(v, 3))[..., 0]  # type: ignore[no-any-return]


# The layers


class PrimaryCapsules(Module):
    """Convolutions of stride 2 without ReLU, whose channels are taken `numbers` at a time as squashed vectors (section 4).

    The numbers of a capsule are channels at one position. Capsules are in the order (channel of capsules, row, column).
    """

    def __init__(self, maps: int, capsules: int, numbers: int, kernel: int) -> None:
        self.capsules, self.numbers = capsules, numbers
        self.conv2d = Conv2d(maps, capsules * numbers, kernel, stride=2)

    def forward(self, x: Float[Tensor, "batch maps height width"]) -> Float[Tensor, "batch inputs numbers"]:
        s = self.conv2d(x)
        batch, _, height, width = s.shape
        s = s.reshape(batch, self.capsules, self.numbers, height, width).transpose((0, 1, 3, 4, 2))
        return squash(s.reshape(batch, self.capsules * height * width, self.numbers))


class ClassCapsules(Module):
    """A capsule for each class: every input capsule votes for each class's vector, and routing weighs the votes.

    `detach`: in training, the votes count as constants in all rounds but the last, so that no gradient flows through the
    couplings.
    """

    def __init__(
        self, inputs: int, numbers: int, outputs: int, size: int, routings: int, detach: bool, weight_std: float
    ) -> None:
        self.routings, self.detach = routings, detach
        self.weight = Parameter(init.normal((outputs, inputs, size, numbers), std=weight_std))

    def votes(self, u: Float[Tensor, "batch inputs numbers"]) -> Float[Tensor, "batch outputs inputs size"]:
        """Return u_hat_j|i = W_ij u_i: what input i predicts of output j (equation 2)."""
        outputs, inputs, size, numbers = self.weight.shape
        w = self.weight.transpose((1, 3, 0, 2)).reshape(inputs, numbers, outputs * size)
        found = u.transpose((1, 0, 2)) @ w  # (inputs, batch, outputs * size)
        return found.reshape(inputs, u.shape[0], outputs, size).transpose((1, 2, 0, 3))

    def route(
        self, votes: Float[Tensor, "batch outputs inputs size"]
    ) -> tuple[Float[Tensor, "batch outputs size"], list[Tensor]]:
        """Return the outputs v and the couplings of each round (procedure 1).

        The logits b start at 0 for each example: they are no parameters.
        """
        fixed = votes.detach() if self.detach and self.training else votes
        logits = ops.zeros_like(fixed[..., 0])  # (batch, outputs, inputs)
        rounds = []
        for _ in range(self.routings - 1):
            rounds.append(couplings(logits))
            v = squash(weighted_sum(rounds[-1], fixed))
            logits = logits + agreement(fixed, v)
        rounds.append(couplings(logits))
        return squash(weighted_sum(rounds[-1], votes)), rounds

    def forward(self, u: Float[Tensor, "batch inputs numbers"]) -> Float[Tensor, "batch outputs size"]:
        return self.route(self.votes(u))[0]


class CapsNet(Module):
    """A convolution, primary capsules, class capsules, and a decoder that draws the image from its class's capsule (figure 1).

    Args:
        shape: (channels, height, width) of an image
        classes: capsules of the last layer
        maps: channels after the first convolution
        kernel: side of the kernels of both convolutions
        capsules: channels of primary capsules
        primary_size: numbers in a primary capsule
        size: numbers in a class's capsule
        routings: rounds of routing; with 1 all couplings are equal
        decoder: widths of the decoder's hidden layers (figure 2); none: nothing is reconstructed
        detach: see ClassCapsules; the paper leaves it open
        mean, std: of each channel; images come as (pixels - mean) / std, and the decoder draws pixels from 0 to 1
        weight_std: standard deviation of the class capsules' first weights; the paper leaves it open
        reconstruction: weight of the sum of squared errors of the pixels (section 4.1)

    The defaults are the paper's for MNIST: 8,215,568 parameters, 1,411,344 of them the decoder's. Raises UserError for sizes
    below 1, and for images that are too small for the two convolutions.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, maps: int, kernel: int, capsules: int, primary_size: int, size: int,
        routings: int, decoder: Sequence[int], detach: bool, mean: Sequence[float], std: Sequence[float], weight_std: float,
        reconstruction: float,
    ) -> None:  # fmt: skip
        channels, *sides = shape
        sizes = (channels, classes, maps, kernel, capsules, primary_size, size, routings, *decoder)
        rows, columns = ((side - kernel + 1 - kernel) // 2 + 1 for side in sides)
        if min(sizes) < 1 or min(rows, columns) < 1:
            raise UserError(
                "A CapsNet needs sizes of at least 1, and images of at least 2 kernel - 1 pixels a side. Received "
                f"shape {tuple(shape)}, kernel {kernel} and other sizes {(classes, *sizes[2:3], *sizes[4:])}. "
                "Use a smaller kernel, such as 3, or larger images."
            )
        self.shape, self.classes, self.mean, self.std = tuple(shape), classes, tuple(mean), tuple(std)
        self.reconstruction = reconstruction
        self.conv1 = Conv2d(channels, maps, kernel)
        self.primarycaps = PrimaryCapsules(maps, capsules, primary_size, kernel)
        inputs = capsules * rows * columns
        self.digitcaps = ClassCapsules(inputs, primary_size, classes, size, routings, detach, weight_std)
        self.decoder: Module | None = None
        if decoder:
            layers: list[Module] = []
            for narrow, wide in pairwise((classes * size, *decoder)):
                layers += [Linear(narrow, wide), ReLU()]
            self.decoder = Sequential(*layers, Linear(decoder[-1], math.prod(shape)), Sigmoid())

    def inputs(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch inputs numbers"]:
        """Return the primary capsules u. Raises UserError for images of another shape."""
        if tuple(images.shape[1:]) != self.shape:
            raise UserError(
                f"This CapsNet reads images of shape {self.shape}. Received {tuple(images.shape[1:])}. Resize the images."
            )
        return self.primarycaps(ops.relu(self.conv1(images)))  # type: ignore[no-any-return]

    def poses(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes size"]:
        """Return v, the vector of each class."""
        return self.digitcaps(self.inputs(images))  # type: ignore[no-any-return]

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return |v_k|, the length of each class's capsule: from 0, absent, to 1, present. They need not sum to 1."""
        return ops.norm(self.poses(images), axis=2)  # type: ignore[no-any-return]

    def decode(
        self, poses: Float[Tensor, "batch classes size"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the images, pixels from 0 to 1, that the decoder draws from the labels' capsules; all others are set to 0."""
        if self.decoder is None:
            raise UserError("Reconstructions need a decoder. Received a CapsNet with decoder=(). Use decoder=(512, 1024).")
        kept = ops.expand_dims(ops.one_hot(labels, self.classes, dtype=poses.dtype), 2)
        return self.decoder(ops.flatten(poses * kept, 1)).reshape(len(poses), *self.shape)  # type: ignore[no-any-return]

    def reconstruct(
        self, images: Float[Tensor, "batch channels height width"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the images as the decoder draws them from the labels' capsules, or without labels from the longest ones."""
        v = self.poses(images)
        return self.decode(v, ops.argmax(ops.norm(v, axis=2), axis=1) if labels is None else labels)

    def pixels(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """Return the pixels from 0 to 1 of images as the model takes them: images std + mean."""
        mean, std = (B.asarray(values, dtype=images.dtype).reshape((-1, 1, 1)) for values in (self.mean, self.std))
        return images * std + mean  # type: ignore[no-any-return]


def margin_loss(lengths: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return sum_k T_k max(0, m+ - |v_k|)^2 + lambda (1 - T_k) max(0, |v_k| - m-)^2 of each example (equation 4)."""
    T = ops.one_hot(labels, lengths.shape[1], dtype=lengths.dtype)
    short, long = ops.relu(PRESENT - lengths).square(), ops.relu(lengths - ABSENT).square()
    return (T * short + DOWN * (1 - T) * long).sum(axis=1)  # type: ignore[no-any-return]


def loss(
    model: CapsNet, images: Float[Tensor, "batch channels height width"], labels: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes"]]:
    """Return the mean over examples of margin loss plus weighted sum of squared errors of the pixels, and the lengths."""
    poses = model.poses(images)
    lengths = ops.norm(poses, axis=2)
    each = margin_loss(lengths, labels)
    if model.decoder is not None:
        error = model.decode(poses, labels) - model.pixels(images)
        each = each + model.reconstruction * error.square().sum(axis=(1, 2, 3))
    return batch_mean(each), lengths


def build(
    shape: Sequence[int] = (1, 28, 28), classes: int = 10, maps: int = 256, kernel: int = 9, capsules: int = 32,
    primary_size: int = 8, size: int = 16, routings: int = 3, decoder: Sequence[int] = (512, 1024), detach: bool = True,
    mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,), weight_std: float = 0.05,
    reconstruction: float = 0.0005,
) -> CapsNet:  # fmt: skip
    """A CapsNet from plain values; the defaults are the paper's for MNIST."""
    return CapsNet(
        shape, classes, maps, kernel, capsules, primary_size, size, routings, tuple(decoder), detach, mean, std,
        weight_std, reconstruction,
    )  # fmt: skip
