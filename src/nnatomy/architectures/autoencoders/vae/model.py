"""The variational autoencoder: a code with noise in it, from whose known distribution new examples are decoded.

Bernoulli and Gaussian decoders, the weight beta of the divergence, labels as a condition, and the VQ-VAE, whose code is a few
numbers of a learned table. Training is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nnatomy import init, ops, random
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import batch_mean
from nnatomy.layers import Embedding, Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

DECODERS = ("bernoulli", "gaussian")

# The encoder's numbers: reparameterization and divergence


def reparameterize(
    mean: Float[Tensor, "batch latent"], logvar: Float[Tensor, "batch latent"], noise: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch latent"]:
    """Return z = mean + exp(logvar / 2) noise: for normal noise a draw from q(z | x) that mean and logvar have gradients of.

    Source: Kingma and Welling (2013), section 2.4.
    """
    return mean + ops.exp(0.5 * logvar) * noise.astype(mean.dtype)  # type: ignore[no-any-return]


def divergence(mean: Float[Tensor, "batch latent"], logvar: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
    """Return KL(q(z | x) || N(0, I)) = -1/2 sum (1 + logvar - mean^2 - exp(logvar)) of each example, in nats.

    Source: Kingma and Welling (2013), appendix B.
    """
    return -0.5 * (1 + logvar - mean.square() - ops.exp(logvar)).sum(axis=1)  # type: ignore[no-any-return]


# The networks


def _hidden(layers: list[Linear], x: Tensor) -> Tensor:
    for layer in layers:
        x = ops.relu(layer(x))
    return x


class Encoder(Module):
    """q(z | x): an example through hidden layers with ReLU to the mean and the log variance of its code."""

    def __init__(self, inputs: int, hidden: Sequence[int], latent: int) -> None:
        self.layers = [Linear(wide, narrow) for wide, narrow in pairwise([inputs, *hidden])]
        self.mean = Linear(hidden[-1], latent)
        self.logvar = Linear(hidden[-1], latent)

    def forward(self, x: Float[Tensor, "batch inputs"]) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, (batch, latent) each."""
        h = _hidden(self.layers, x)
        return self.mean(h), self.logvar(h)


class VectorEncoder(Module):
    """An example through hidden layers with ReLU to vectors: z_e(x) of the VQ-VAE."""

    def __init__(self, inputs: int, hidden: Sequence[int], positions: int, width: int) -> None:
        self.layers = [Linear(wide, narrow) for wide, narrow in pairwise([inputs, *hidden])]
        self.output = Linear(hidden[-1], positions * width)
        self.shape = positions, width

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch positions width"]:
        """Return the vectors of each example."""
        return self.output(_hidden(self.layers, x)).reshape(x.shape[0], *self.shape)  # type: ignore[no-any-return]


class Decoder(Module):
    """p(x | z): a code through hidden layers with ReLU to the distribution of each number of the example.

    "bernoulli": the outputs are logits of the probability that a pixel is 1. "gaussian": they are means, and all numbers share
    one variance, exp(logvar), which is learned. A variance for each number has no best value where a number never varies.
    """

    def __init__(self, codes: int, hidden: Sequence[int], numbers: int, form: str) -> None:
        self.form = form
        self.layers = [Linear(narrow, wide) for narrow, wide in pairwise([codes, *hidden])]
        self.output = Linear(hidden[-1], numbers)
        if form == "gaussian":
            self.logvar = Parameter(np.zeros(1, np.float32))

    def forward(self, z: Float[Tensor, "batch codes"]) -> Float[Tensor, "batch numbers"]:
        """Return logits or means."""
        return self.output(_hidden(self.layers, z))  # type: ignore[no-any-return]

    def mean(self, outputs: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch numbers"]:
        """Return E(x | z): probabilities of a 1, or the means."""
        return ops.sigmoid(outputs) if self.form == "bernoulli" else outputs

    def nats(self, outputs: Float[Tensor, "batch numbers"], x: Float[Tensor, "batch numbers"]) -> Float[Tensor, " batch"]:
        """Return -ln p(x | z) of each example: a sum over its numbers.

        "bernoulli": sum softplus(a) - x a, for logits a and x of 0 and 1. "gaussian":
        1/2 sum ln(2 pi) + s + (x - a)^2 exp(-s), for means a and s = logvar. Source: Kingma and Welling (2013), appendix C.
        """
        if self.form == "bernoulli":
            return (ops.softplus(outputs) - x * outputs).sum(axis=1)  # type: ignore[no-any-return]
        s = self.logvar
        return 0.5 * (math.log(2 * math.pi) + s + (x - outputs).square() * ops.exp(-s)).sum(axis=1)  # type: ignore[no-any-return]


# The two models


class VAE(Module):
    """Encoder and decoder with a normal code between them; with `classes` both also read the label, one-hot.

    Args:
        shape: of one example
        latent: numbers in z
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse
        decoder: one of DECODERS
        beta: the weight of the divergence in the loss; 1 makes the loss a bound of -ln p(x)
        classes: how many labels there are; 0: the model takes none

    Raises UserError for sizes below 1, an unknown decoder, and a negative beta.
    """

    def __init__(
        self, shape: Sequence[int], latent: int = 20, hidden: Sequence[int] = (400,), decoder: str = "bernoulli",
        beta: float = 1.0, classes: int = 0,
    ) -> None:  # fmt: skip
        _check(shape, hidden, decoder, latent=latent)
        if not (beta >= 0 and math.isfinite(beta)):
            raise UserError(f"beta is a number of at least 0. Received {beta:g}. Use 1 for a bound of the likelihood.")
        self.shape, self.latent, self.beta, self.classes = tuple(shape), latent, beta, classes
        numbers = math.prod(shape)
        self.encoder = Encoder(numbers + classes, hidden, latent)
        self.decoder = Decoder(latent + classes, hidden[::-1], numbers, decoder)

    def encode(self, x: Float[Tensor, "batch *shape"], labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z | x), or of q(z | x, label)."""
        return self.encoder(self._labeled(ops.flatten(x, 1), labels))  # type: ignore[no-any-return]

    def decode(self, z: Float[Tensor, "batch latent"], labels: Tensor | None = None) -> Float[Tensor, "batch numbers"]:
        """Return the decoder's outputs, which `decoder.mean` and `decoder.nats` take."""
        return self.decoder(self._labeled(z, labels))  # type: ignore[no-any-return]

    def forward(
        self, x: Float[Tensor, "batch *shape"], noise: Tensor | None = None, labels: Int[Tensor, " batch"] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction in the shape of x, and the mean and log variance of the code.

        Without `noise` (batch, latent) the mean of the code is decoded; without `labels` a conditional model recognizes them.
        """
        if self.classes and labels is None:
            labels = self.recognize(x)
        mean, logvar = self.encode(x, labels)
        z = mean if noise is None else reparameterize(mean, logvar, noise)
        return self._examples(self.decode(z, labels)), mean, logvar

    def recognize(self, x: Float[Tensor, "batch *shape"]) -> Int[Tensor, " batch"]:
        """Return the label of each example with the smallest -ln p(x | z, label) + KL at the mean of its code."""
        flat, nats = ops.flatten(x, 1), []
        for c in range(self.classes):
            labels = ops.zeros_like(flat[:, 0]).astype("int64") + c
            mean, logvar = self.encode(x, labels)
            nats.append(self.decoder.nats(self.decode(mean, labels), flat) + divergence(mean, logvar))
        return ops.argmin(ops.stack(nats, axis=1), axis=1)  # type: ignore[no-any-return]

    def sample(self, count: int, labels: Int[Tensor, " count"] | None = None) -> Float[Tensor, "count *shape"]:
        """Return E(x | z) of new codes z from N(0, I); a conditional model without `labels` takes the classes in turn."""
        if self.classes and labels is None:
            labels = Tensor(np.arange(count) % self.classes)
        return self._examples(self.decode(self.draw(count), labels))

    def draw(self, count: int) -> Float[Tensor, "count latent"]:
        """Return normal noise from the default generator, in the weights' precision."""
        return random.randn(count, self.latent, dtype=self.decoder.output.weight.dtype)

    def _examples(self, outputs: Tensor) -> Tensor:
        return self.decoder.mean(outputs).reshape(outputs.shape[0], *self.shape)

    def _labeled(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """x with the one-hot labels after it."""
        if not self.classes:
            return x
        if labels is None:
            raise UserError("A conditional VAE reads the label of each example. Received none. Give labels.")
        return ops.concatenate([x, ops.one_hot(labels, self.classes, dtype=x.dtype)], axis=1)  # type: ignore[no-any-return]


class VQVAE(Module):
    """Encoder and decoder with `positions` rows of a codebook between them.

    Args:
        shape: of one example
        codes: K, the vectors in the codebook
        width: numbers in a vector
        positions: vectors that an example becomes
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse
        decoder: one of DECODERS
        commitment: the weight of the term that holds the encoder to its codes

    Raises UserError for sizes below 1, an unknown decoder, and a negative commitment.
    """

    def __init__(
        self, shape: Sequence[int], codes: int, width: int = 8, positions: int = 16, hidden: Sequence[int] = (400,),
        decoder: str = "bernoulli", commitment: float = 0.25,
    ) -> None:  # fmt: skip
        _check(shape, hidden, decoder, codes=codes, width=width, positions=positions)
        if not (commitment >= 0 and math.isfinite(commitment)):
            raise UserError(f"commitment is a number of at least 0. Received {commitment:g}. Use 0.25.")
        self.shape, self.codes, self.positions, self.commitment = tuple(shape), codes, positions, commitment
        numbers = math.prod(shape)
        self.encoder = VectorEncoder(numbers, hidden, positions, width)
        self.codebook = Embedding(codes, width)
        init.uniform_(self.codebook.weight, -1 / codes, 1 / codes)
        self.decoder = Decoder(positions * width, hidden[::-1], numbers, decoder)

    def nearest(self, vectors: Float[Tensor, "batch positions width"]) -> Int[Tensor, "batch positions"]:
        """Return the number of the codebook's nearest row, argmin_k |z_e - e_k|: equation 1 of van den Oord et al. (2017)."""
        away = vectors.detach()[:, :, None, :] - self.codebook.weight.detach()  # (batch, positions, codes, width)
        return ops.argmin(away.square().sum(axis=3), axis=2)  # type: ignore[no-any-return]

    def decode(self, vectors: Float[Tensor, "batch positions width"]) -> Float[Tensor, "batch numbers"]:
        """Return the decoder's outputs, which `decoder.mean` and `decoder.nats` take."""
        return self.decoder(ops.flatten(vectors, 1))  # type: ignore[no-any-return]

    def forward(self, x: Float[Tensor, "batch *shape"]) -> tuple[Tensor, Tensor]:
        """Return the reconstruction in the shape of x, and the codes (batch, positions) that it is decoded from."""
        codes = self.nearest(self.encoder(ops.flatten(x, 1)))
        return self.decoder.mean(self.decode(self.codebook(codes))).reshape(x.shape), codes

    def sample(self, count: int) -> Float[Tensor, "count *shape"]:
        """Return E(x | codes) of codes that are all equally probable: the prior that training assumes."""
        codes = random.randint(0, self.codes, (count, self.positions))
        return self.decoder.mean(self.decode(self.codebook(codes))).reshape(count, *self.shape)


def build(
    shape: Sequence[int], latent: int = 20, hidden: Sequence[int] = (400,), decoder: str = "bernoulli", beta: float = 1.0,
    classes: int = 0, codes: int = 0, positions: int = 16, commitment: float = 0.25,
) -> VAE | VQVAE:  # fmt: skip
    """Return a VAE from plain values; with `codes` a VQ-VAE whose vectors have `latent` numbers.

    Raises UserError for codes together with classes or with a beta other than 1.
    """
    if not codes:
        return VAE(shape, latent, hidden, decoder, beta, classes)
    if classes or beta != 1:
        raise UserError(f"A VQ-VAE has no classes and no beta. Received {classes} and {beta:g}. Leave them out.")
    return VQVAE(shape, codes, latent, positions, hidden, decoder, commitment)


def _check(shape: Sequence[int], hidden: Sequence[int], decoder: str, **sizes: int) -> None:
    if not (shape and hidden and min(*shape, *hidden, *sizes.values()) >= 1):
        said = ", ".join(f"{name} {value}" for name, value in {"shape": tuple(shape), "hidden": tuple(hidden), **sizes}.items())
        raise UserError(f"All sizes of a VAE are at least 1, with one hidden layer or more. Received {said}. Use larger ones.")
    if decoder not in DECODERS:
        raise unknown_name("decoder", decoder, DECODERS)


# The losses, for given noise


def negative_elbo(
    model: VAE, x: Float[Tensor, "batch *shape"], noise: Float[Tensor, "batch latent"],
    labels: Int[Tensor, " batch"] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the mean over examples of -ln p(x | z) + beta KL(q(z | x) || p(z)), and each example's sum of both for beta = 1.

    That sum is an unbiased estimate of a bound: on average over the noise at least -ln p(x), or -ln p(x | label). Source:
    Kingma and Welling (2013), equation 10 with one draw; Higgins et al. (2017), equation 4; Sohn et al. (2015), equation 4.
    """
    mean, logvar = model.encode(x, labels)
    outputs = model.decode(reparameterize(mean, logvar, noise), labels)
    nats, kl = model.decoder.nats(outputs, ops.flatten(x, 1)), divergence(mean, logvar)
    return batch_mean(nats + model.beta * kl), nats + kl


def quantized(model: VQVAE, x: Float[Tensor, "batch *shape"]) -> tuple[Tensor, Tensor]:
    """Return the mean over examples of -ln p(x | z) + |sg(z_e) - e|^2 + commitment |z_e - sg(e)|^2, and bounds of -ln p(x).

    sg has no gradient. The decoder reads z_e + sg(e - z_e): e in value, and its gradient passes straight to z_e. The bound of
    each example is -ln p(x | z) + positions ln(codes): with equally probable codes, that is the divergence of a sure choice.
    Source: van den Oord et al. (2017), equation 3 and section 3.1.
    """
    flat = ops.flatten(x, 1)
    z = model.encoder(flat)
    e = model.codebook(model.nearest(z))
    nats = model.decoder.nats(model.decode(z + (e - z).detach()), flat)
    learn_codes, commit = ((a - b.detach()).square().sum(axis=(1, 2)) for a, b in ((e, z), (z, e)))
    return batch_mean(nats + learn_codes + model.commitment * commit), nats + model.positions * math.log(model.codes)


# The loss of the learner, which draws the noise


def loss(model: VAE | VQVAE, x: Float[Tensor, "batch *shape"], *labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return `negative_elbo` with fresh noise, or `quantized`; labels are used by a conditional model alone."""
    batch = with_noise(model, x, *labels)
    return quantized(model, *batch) if isinstance(model, VQVAE) else negative_elbo(model, *batch)


def with_noise(model: VAE | VQVAE, x: Float[Tensor, "batch *shape"], *labels: Tensor) -> tuple[Tensor, ...]:
    """Return a batch as the two losses for given noise take it: (x,), (x, noise) or (x, noise, labels)."""
    if isinstance(model, VQVAE):
        return (x,)
    return (x, model.draw(x.shape[0]), *(labels[:1] if model.classes else ()))


def log_likelihood(model: VAE, x: Float[Tensor, "batch *shape"], draws: int, labels: Any = None) -> Float[Tensor, " batch"]:
    """Return ln of the mean of p(x, z) / q(z | x) over draws z from q(z | x): below ln p(x) on average, nearer with each draw.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8.
    """
    mean, logvar = model.encode(x, labels)
    weights = []
    for _ in range(draws):
        noise = model.draw(x.shape[0])
        z = reparameterize(mean, logvar, noise)
        log_ratio = 0.5 * (noise.square() - z.square() + logvar).sum(axis=1)  # ln p(z) - ln q(z | x)
        weights.append(log_ratio - model.decoder.nats(model.decode(z, labels), ops.flatten(x, 1)))
    return ops.logsumexp(ops.stack(weights, axis=0), axis=0) - math.log(draws)  # type: ignore[no-any-return]
