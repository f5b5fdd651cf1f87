"""DCGAN: a generator that enlarges noise to an image by transposed convolutions, and a discriminator that reduces images.

With labels it is conditional: both networks see them. Training is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from nnatomy import init, ops, random
from nnatomy.errors import UserError
from nnatomy.functional import batch_mean
from nnatomy.layers import BatchNorm2d, Conv2d, ConvTranspose2d, LeakyReLU, ReLU, Sequential
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.typing import Float, Int

SLOPE = 0.2
"""Of the discriminator's leaky ReLU on negative numbers."""
# The two networks


class Generator(Module):
    """G: (batch, inputs, 1, 1) becomes `start` high and wide, then each stage doubles height and width, up to the image.

    Batch normalization and ReLU follow every layer but the last, which has the hyperbolic tangent.
    """

    def __init__(self, inputs: int, maps: Sequence[int], start: tuple[int, int]) -> None:
        layers: list[Module] = [ConvTranspose2d(inputs, maps[0], start, bias=False)]
        for before, after in pairwise(maps):
            layers += [BatchNorm2d(before), ReLU(), ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
        self.main = Sequential(*layers)

    def forward(self, z: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch channels height width"]:
        """Return images between -1 and 1."""
        return ops.tanh(self.main(z[:, :, None, None]))  # type: ignore[no-any-return]


class Discriminator(Module):
    """D: each stage halves height and width; the last layer reduces what is left to one score, high for real images.

    Leaky ReLU follows every layer but the last, and batch normalization every layer but the first and the last.
    """

    def __init__(self, maps: Sequence[int], start: tuple[int, int]) -> None:
        layers: list[Module] = [Conv2d(maps[0], maps[1], 4, 2, 1, bias=False), LeakyReLU(SLOPE)]
        for before, after in pairwise(maps[1:]):
            layers += [Conv2d(before, after, 4, 2, 1, bias=False), BatchNorm2d(after), LeakyReLU(SLOPE)]
        self.main = Sequential(*layers, Conv2d(maps[-1], 1, start, bias=False))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
        """Return the score of each image; sigmoid(score) is the probability that it is real."""
        return self.main(x)[:, 0, 0, 0]  # type: ignore[no-any-return]


class DCGAN(Module):
    """A generator and a discriminator of images, which both see the label if there are classes.

    Args:
        shape: (channels, height, width) of an image
        noise: numbers in z, which are independent and normal
        width: maps of the layers next to the image; each stage away from it has twice as many
        stages: how often the generator doubles height and width, and the discriminator halves them
        classes: of the labels; 0: no labels
        bounds: black and white in the data
        spread: standard deviation of initial kernels; 0.02 in Radford et al. (2015), section 4

    Raises UserError for sizes below 1, sides that 2^stages does not divide, and an empty range of values.
    """

    def __init__(
        self, shape: Sequence[int] = (3, 64, 64), noise: int = 100, width: int = 64, stages: int = 4, classes: int = 0,
        bounds: tuple[float, float] = (-1.0, 1.0), spread: float = 0.02,
    ) -> None:  # fmt: skip
        if len(shape) != 3 or min(*shape, noise, width, stages) < 1 or classes < 0:
            sizes = f"shape {tuple(shape)}, noise {noise}, width {width}, stages {stages}, classes {classes}"
            raise UserError(f"A DCGAN makes images (channels, height, width) of sizes from 1. Received {sizes}. Correct them.")
        if shape[1] % 2**stages or shape[2] % 2**stages:
            raise UserError(
                f"Height and width are divided by 2 in each stage. Received {shape[1]} x {shape[2]} for {stages} stages. "
                "Use fewer with stages=."
            )
        if not bounds[0] < bounds[1]:
            raise UserError(f"Black is below white. Received bounds {bounds}. Use (-1, 1).")
        self.noise, self.classes, self.bounds = noise, classes, tuple(bounds)
        start = shape[1] // 2**stages, shape[2] // 2**stages
        maps = [width * 2**s for s in range(stages)]
        self.generator = Generator(noise + classes, [*reversed(maps), shape[0]], start)
        self.discriminator = Discriminator([shape[0] + classes, *maps], start)
        for weight in self.parameters():
            if weight.ndim == 4:  # kernels
                weight.data = init.normal(weight.shape, std=spread)

    def forward(self, z: Float[Tensor, "batch noise"], labels: Int[Tensor, " batch"] | None = None) -> Tensor:
        """Return the images (batch, channels, height, width) that the noise becomes, of the labels' classes.

        Without labels, a conditional generator takes classes in turn.
        """
        if self.classes:
            z = ops.cat([z, self._hot(z, labels)], axis=1)
        low, high = self.bounds
        return low + (high - low) * (self.generator(z) + 1) / 2  # type: ignore[no-any-return]

    def discriminate(
        self, x: Float[Tensor, "batch channels height width"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """Return the discriminator's scores; a label is a map of ones next to the image, and the other classes' are zeros."""
        if self.classes:
            maps = self._hot(x, labels)[:, :, None, None]
            x = ops.cat([x, ops.broadcast_to(maps, (*maps.shape[:2], *x.shape[2:]))], axis=1)
        return self.discriminator(x)  # type: ignore[no-any-return]

    def _hot(self, x: Tensor, labels: Any) -> Tensor:
        """Labels as rows with one 1, (batch, classes)."""
        if labels is None:
            labels = ops.arange(x.shape[0]) % self.classes
        return ops.one_hot(labels, self.classes, dtype=x.dtype)  # type: ignore[no-any-return]

    def sample(self, count: int, labels: Int[Tensor, " count"] | None = None) -> Tensor:
        """Return new images, of the labels' classes if given; the noise comes from the default generator."""
        return self(self.draw(count), labels)  # type: ignore[no-any-return]

    def draw(self, count: int) -> Float[Tensor, "count noise"]:
        """Return noise of the weights' precision."""
        return random.randn(count, self.noise, dtype=next(iter(self.generator.parameters())).dtype)


def build(
    shape: Sequence[int] = (3, 64, 64), noise: int = 100, width: int = 64, stages: int = 4, classes: int = 0,
    bounds: tuple[float, float] = (-1.0, 1.0), spread: float = 0.02,
) -> DCGAN:  # fmt: skip
    """Return a DCGAN from plain values."""
    return DCGAN(shape, noise, width, stages, classes, bounds, spread)


# What each network minimizes, for given noise: -log D = softplus(-s) and -log(1 - D) = softplus(s), where D = sigmoid(s)


def discriminator_objective(
    model: DCGAN, x: Float[Tensor, "batch channels height width"], z: Float[Tensor, "batch noise"],
    *labels: Int[Tensor, " batch"],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return -E log D(x | y) - E log(1 - D(G(z | y) | y)), and the images G(z | y).

    Real and generated images are two batches, so that batch normalization keeps their statistics separate. Source: Mirza and
    Osindero (2014), equation 2, with its sign changed.
    """
    fake = model(z, *labels)  # no detach: the learner holds the generator constant in the discriminator's step
    real_score, fake_score = model.discriminate(x, *labels), model.discriminate(fake, *labels)
    return batch_mean(ops.softplus(-real_score)) + batch_mean(ops.softplus(fake_score)), fake


def generator_objective(model: DCGAN, z: Float[Tensor, "batch noise"], *labels: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor]:
    """Return -E log D(G(z | y) | y), and the images G(z | y). Source: Goodfellow et al. (2014), section 3."""
    fake = model(z, *labels)
    return batch_mean(ops.softplus(-model.discriminate(fake, *labels))), fake


# The losses of the learner, which draw the noise; labels are used by a conditional model alone


def discriminator_loss(model: DCGAN, x: Float[Tensor, "batch channels height width"], *labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return `discriminator_objective` with fresh noise."""
    return discriminator_objective(model, x, model.draw(x.shape[0]), *labels[: bool(model.classes)])


def generator_loss(model: DCGAN, x: Float[Tensor, "batch channels height width"], *labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return `generator_objective` with fresh noise, for as many images and the same labels as the batch has."""
    return generator_objective(model, model.draw(x.shape[0]), *labels[: bool(model.classes)])
