"""The GAN: a generator maps noise to examples, and a critic learns to distinguish these from real ones.

Four objectives of the same two networks: Goodfellow et al.'s two, the Wasserstein GAN and its gradient penalty. Training is
in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from nnatomy import ops, random
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import batch_mean, leaky_relu
from nnatomy.layers import Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor, grad
from nnatomy.typing import Float

OBJECTIVES = ("minimax", "non-saturating", "wgan", "wgan-gp")
SLOPE = 0.2
"""Of the critic's leaky ReLU on negative numbers."""

# The two players


class Generator(Module):
    """G(z): noise through hidden layers with ReLU to an example; the last layer is linear unless `bounds` are given.

    Args:
        noise: numbers in z
        shape: of one example
        hidden: widths of the layers between
        bounds: the smallest and the largest value of an example, low + (high - low) sigmoid(u); None: any number
    """

    def __init__(
        self, noise: int, shape: Sequence[int], hidden: Sequence[int], bounds: tuple[float, float] | None = None
    ) -> None:
        self.shape, self.bounds = tuple(shape), bounds
        self.layers = [Linear(narrow, wide) for narrow, wide in pairwise([noise, *hidden, math.prod(shape)])]

    def forward(self, z: Float[Tensor, "batch noise"]) -> Float[Tensor, "batch *shape"]:
        """Return the examples that the noise becomes."""
        h = z
        for layer in self.layers[:-1]:
            h = ops.relu(layer(h))
        u = self.layers[-1](h)
        if self.bounds is not None:
            low, high = self.bounds
            u = low + (high - low) * ops.sigmoid(u)
        return u.reshape(u.shape[0], *self.shape)  # type: ignore[no-any-return]


class Critic(Module):
    """D(x): an example through hidden layers with leaky ReLU to one score, which is high for real ones.

    Goodfellow et al. call it discriminator; its probability that x is real is sigmoid(D(x)). It has no batch normalization,
    with which the score of an example would depend on the others and the gradient penalty would not be one of each example.
    """

    def __init__(self, shape: Sequence[int], hidden: Sequence[int]) -> None:
        self.layers = [Linear(wide, narrow) for wide, narrow in pairwise([math.prod(shape), *hidden, 1])]

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        """Return the score of each example."""
        h = ops.flatten(x, 1)
        for layer in self.layers[:-1]:
            h = leaky_relu(layer(h), SLOPE)
        return self.layers[-1](h)[:, 0]  # type: ignore[no-any-return]


class GAN(Module):
    """A generator and its critic.

    Args:
        noise: numbers in the generator's input, which are independent and normal
        shape: of one example
        hidden: widths of the hidden layers, of the critic in this order, of the generator in reverse
        objective: what is minimized, one of OBJECTIVES
        penalty: the weight of the gradient penalty, lambda ("wgan-gp")
        clip: the largest size of a critic's weight, c ("wgan")
        bounds: the smallest and the largest value of an example; None: any number

    Raises UserError for sizes below 1, an unknown objective, and a penalty or clip that is not positive.
    """

    def __init__(
        self, noise: int, shape: Sequence[int], hidden: Sequence[int] = (128, 128), objective: str = "wgan-gp",
        penalty: float = 10.0, clip: float = 0.01, bounds: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        if min(noise, *shape, *hidden) < 1:
            sizes = f"noise {noise}, shape {tuple(shape)}, hidden {tuple(hidden)}"
            raise UserError(f"All sizes of a GAN are at least 1. Received {sizes}. Use larger ones.")
        if objective not in OBJECTIVES:
            raise unknown_name("objective", objective, OBJECTIVES)
        if not (penalty > 0 and clip > 0):
            raise UserError(f"penalty and clip are positive. Received {penalty:g} and {clip:g}. Use 10 and 0.01.")
        self.noise, self.objective, self.penalty, self.clip = noise, objective, penalty, clip
        self.generator = Generator(noise, shape, tuple(reversed(hidden)), bounds)
        self.critic = Critic(shape, hidden)

    def forward(self, z: Float[Tensor, "batch noise"]) -> Float[Tensor, "batch *shape"]:
        """Return the examples that the noise becomes."""
        return self.generator(z)  # type: ignore[no-any-return]

    def sample(self, count: int) -> Float[Tensor, "count *shape"]:
        """Return new examples; the noise comes from the default generator of random numbers."""
        return self(self.draw(count))  # type: ignore[no-any-return]

    def draw(self, count: int) -> Float[Tensor, "count noise"]:
        """Return noise of the weights' precision."""
        return random.randn(count, self.noise, dtype=self.generator.layers[0].weight.dtype)


def build(
    noise: int, shape: Sequence[int], hidden: Sequence[int] = (128, 128), objective: str = "wgan-gp", penalty: float = 10.0,
    clip: float = 0.01, bounds: tuple[float, float] | None = None,
) -> GAN:  # fmt: skip
    """Return a GAN from plain values."""
    return GAN(noise, shape, hidden, objective, penalty, clip, bounds)


# What each player minimizes, for given noise: -log D = softplus(-s) and -log(1 - D) = softplus(s), where D = sigmoid(s)


def critic_objective(
    model: GAN, x: Float[Tensor, "batch *shape"], z: Float[Tensor, "batch noise"], mix: Float[Tensor, " batch"]
) -> tuple[Tensor, Tensor]:
    """Return the critic's loss and the samples G(z).

    "minimax", "non-saturating": -E log D(x) - E log(1 - D(G(z))), equation 1 of Goodfellow et al. (2014) with its sign changed.
    "wgan", "wgan-gp": E D(G(z)) - E D(x), equation 2 of Arjovsky et al. (2017) with its sign changed; "wgan-gp" adds
    penalty * E (|dD/dx'| - 1)^2 at x' = mix x + (1 - mix) G(z), equation 3 of Gulrajani et al. (2017).

    Args:
        x: real examples
        z: noise, one row an example
        mix: places between both, in [0, 1], one an example
    """
    fake = model.generator(z)  # no detach: the learner holds the generator constant in the critic's step
    real_score, fake_score = model.critic(x), model.critic(fake)
    if model.objective in ("minimax", "non-saturating"):
        return batch_mean(ops.softplus(-real_score)) + batch_mean(ops.softplus(fake_score)), fake
    loss = batch_mean(fake_score) - batch_mean(real_score)
    if model.objective == "wgan-gp":
        places = mix.reshape(-1, *(1,) * (x.ndim - 1))
        norms = gradient_norms(model.critic, places * x + (1 - places) * fake)
        loss = loss + model.penalty * batch_mean((norms - 1).square())
    return loss, fake


def gradient_norms(critic: Critic, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
    """Return |dD/dx| of each example; the result has gradients itself."""
    if not x.requires_grad:
        x = x.detach().requires_grad_()
    (slope,) = grad(critic(x).sum(), [x], create_graph=True)  # a sum: each score depends on its own example alone
    return (ops.flatten(slope, 1).square().sum(axis=1) + 1e-24).sqrt()  # type: ignore[no-any-return]  # 1e-24: |0| has no slope


def generator_objective(model: GAN, z: Float[Tensor, "batch noise"]) -> tuple[Tensor, Tensor]:
    """Return the generator's loss and the samples G(z).

    "minimax": E log(1 - D(G(z))). "non-saturating": -E log D(G(z)). Both: Goodfellow et al. (2014), section 3.
    "wgan", "wgan-gp": -E D(G(z)).
    """
    fake = model.generator(z)
    score = model.critic(fake)
    if model.objective == "minimax":
        return -batch_mean(ops.softplus(score)), fake
    if model.objective == "non-saturating":
        return batch_mean(ops.softplus(-score)), fake
    return -batch_mean(score), fake


# The losses of the learner, which draw the noise


def critic_loss(model: GAN, x: Float[Tensor, "batch *shape"], *_: Tensor) -> tuple[Tensor, Tensor]:
    """Return `critic_objective` with fresh noise; labels that a data set may have are not used."""
    return critic_objective(model, x, model.draw(x.shape[0]), random.rand(x.shape[0], dtype=x.dtype))


def generator_loss(model: GAN, x: Float[Tensor, "batch *shape"], *_: Tensor) -> tuple[Tensor, Tensor]:
    """Return `generator_objective` with fresh noise, as many samples as there are examples."""
    return generator_objective(model, model.draw(x.shape[0]))


def clip_weights(model: GAN) -> None:
    """Hold each weight of the critic in [-clip, clip] ("wgan"); other objectives leave them alone.

    Source: Arjovsky et al. (2017), algorithm 1, line 7.
    """
    if model.objective == "wgan":
        for weight in model.critic.parameters():
            weight.copy_(weight.clip(-model.clip, model.clip))


def optimal_discriminator(p: Any, q: Any) -> Any:
    """Return D* = p / (p + q), the discriminator that minimizes the critic's loss where the data have density p and samples q.

    Source: Goodfellow et al. (2014), proposition 1.
    """
    return p / (p + q)
