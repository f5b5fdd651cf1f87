"""Diffusion: a network learns the noise in noisy examples, and makes new ones by removing it step by step.

Two denoisers, DDPM's U-Net for images and a small one for points; the forward process; samplers. Training is in recipe.py,
the theory in page.md. The U-Net has the names of diffusers' UNet2DModel. Times t count from 0, the papers' from 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy import functional as F
from nnatomy import ops, random
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import enable_grad
from nnatomy.layers import Conv2d, Dropout, Embedding, GroupNorm, Linear
from nnatomy.layers.module import Module, Sequential
from nnatomy.tensor import Tensor, grad
from nnatomy.typing import Float, Int

NETWORKS = ("unet", "mlp")
SCHEDULES = ("linear", "cosine")
SAMPLERS = ("ddim", "ddpm", "euler")
VARIANCES = ("posterior", "beta")
EPS = 1e-6
"""Of group norms, as in DDPM's code."""
OCTAVES = 5
"""Frequencies in the input of the denoiser of points."""
Classifier = Callable[[Tensor, Tensor], Tensor]
"""classifier(x_t, t) -> scores of the classes, (batch, classes)."""

# The parts of the denoisers


class TimeEmbedding(Module):
    """emb = linear_2(silu(linear_1([sin(t w), cos(t w)]))), w_i = 10000^(-i / (half - 1)) for i = 0..half - 1.

    t (batch), emb (batch, outputs); half = inputs / 2. Source: DDPM's code, after Vaswani et al. (2017), section 3.5.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.frequencies = np.exp(-math.log(10000) * np.arange(inputs // 2) / (inputs // 2 - 1))
        self.linear_1, self.linear_2 = Linear(inputs, outputs), Linear(outputs, outputs)

    def forward(self, t: Int[Tensor, " batch"]) -> Float[Tensor, "batch outputs"]:
        dtype = self.linear_1.weight.dtype
        angles = t.astype(dtype).reshape(-1, 1) * B.asarray(self.frequencies, dtype=dtype)
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=1)
        return self.linear_2(F.silu(self.linear_1(waves)))  # type: ignore[no-any-return]


class ResidualBlock(Module):
    """y = shortcut(x) + conv2(dropout(silu(norm2(conv1(silu(norm1(x))) + time_emb_proj(silu(emb)))))).

    (batch, inputs, height, width) -> (batch, outputs, height, width). The shortcut is a 1x1 convolution where maps change.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, groups: int, dropout: float) -> None:
        self.norm1, self.conv1 = GroupNorm(groups, inputs, EPS), Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = Linear(embedding, outputs)
        self.norm2, self.conv2 = GroupNorm(groups, outputs, EPS), Conv2d(outputs, outputs, 3, padding=1)
        self.dropout = Dropout(dropout)
        self.conv_shortcut = Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Any, emb: Any) -> Any:
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(F.silu(emb)).reshape(*h.shape[:2], 1, 1)
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(Module):
    """y = x + to_out(softmax(q k^T / sqrt(C)) v): each pixel of the normalized maps looks at all others, with one head."""

    def __init__(self, channels: int, groups: int) -> None:
        self.group_norm = GroupNorm(groups, channels, EPS)
        self.to_q, self.to_k, self.to_v = (Linear(channels, channels) for _ in range(3))
        self.to_out = Sequential(Linear(channels, channels))

    def forward(self, x: Any) -> Any:
        pixels = ops.swapaxes(ops.flatten(self.group_norm(x), 2), 1, 2)  # [batch, height width, channels]
        y = ops.scaled_dot_product_attention(self.to_q(pixels), self.to_k(pixels), self.to_v(pixels))
        return x + ops.swapaxes(self.to_out(y), 1, 2).reshape(x.shape)


class Resize(Module):
    """A 3x3 convolution that halves the sides (stride 2, with zeros below and to the right), or doubles them first."""

    def __init__(self, channels: int, up: bool) -> None:
        self.up = up
        self.conv = Conv2d(channels, channels, 3, padding=1) if up else Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Any) -> Any:
        if self.up:
            return self.conv(ops.repeat_interleave(ops.repeat_interleave(x, 2, 2), 2, 3))
        return self.conv(ops.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1))))


class Level(Module):
    """Residual blocks at one size, the first `attended` of them with attention; then a change of the size, if there is one.

    `maps`: of each block, the incoming ones and those that it gives.
    """

    def __init__(
        self, maps: Sequence[tuple[int, int]], embedding: int, groups: int, dropout: float, attended: int, resize: str = ""
    ) -> None:
        outputs = maps[-1][1]
        self.resnets = [ResidualBlock(a, b, embedding, groups, dropout) for a, b in maps]
        self.attentions = [Attention(outputs, groups) for _ in range(attended)]
        self.downsamplers = [Resize(outputs, up=False)] if resize == "down" else []
        self.upsamplers = [Resize(outputs, up=True)] if resize == "up" else []

    def block(self, k: int, x: Any, emb: Any) -> Any:
        """Return the maps after block k and its attention, if it has some."""
        x = self.resnets[k](x, emb)
        return self.attentions[k](x) if k < len(self.attentions) else x

    def down(self, x: Any, emb: Any, skips: list[Any]) -> Any:
        """Return the maps for the level below; `skips` gets those after each block and the smaller ones."""
        for k in range(len(self.resnets)):
            x = self.block(k, x, emb)
            skips.append(x)
        for layer in self.downsamplers:
            x = layer(x)
            skips.append(x)
        return x

    def up(self, x: Any, emb: Any, skips: list[Any]) -> Any:
        """Return the maps for the level above; each block takes the last of `skips` as well."""
        for k in range(len(self.resnets)):
            x = self.block(k, ops.concatenate([x, skips.pop()], axis=1), emb)
        for layer in self.upsamplers:
            x = layer(x)
        return x


# The denoisers: network(x_t, t, labels) -> the noise in x_t


class UNet(Module):
    """DDPM's U-Net: down to smaller maps, up again with the skips of every block, the time in every block.

    Args:
        channels: of an image
        width: maps of the first level
        multipliers: each level has width * multiplier maps, and half the sides of the level above
        attention: the numbers of the levels with self-attention, the first is 0
        blocks: residual blocks of a level on the way down; on the way up there is one more
        groups: of each group norm
        dropout: of each residual block
        labels: rows of the class embedding; 0: none

    With the defaults of `build` and 3 channels: 35,746,307 parameters. Source: Ho et al. (2020), appendix B.
    """

    def __init__(
        self, channels: int, width: int, multipliers: Sequence[int], attention: Sequence[int], blocks: int, groups: int,
        dropout: float, labels: int,
    ) -> None:  # fmt: skip
        emb, last = 4 * width, len(multipliers) - 1
        maps = [width * m for m in multipliers]
        self.conv_in = Conv2d(channels, width, 3, padding=1)
        self.time_embedding = TimeEmbedding(width, emb)
        self.class_embedding = Embedding(labels, emb) if labels else None
        self.down_blocks, self.up_blocks, skips, now = [], [], [width], width
        for level, c in enumerate(maps):
            ends = [(now, c), *[(c, c)] * (blocks - 1)]
            attended = blocks * (level in attention)
            self.down_blocks.append(Level(ends, emb, groups, dropout, attended, "down" if level < last else ""))
            skips += [c] * (blocks + (level < last))
            now = c
        self.mid_block = Level([(now, now)] * 2, emb, groups, dropout, 1)
        for level, c in reversed(list(enumerate(maps))):
            ends = [(before + skips.pop(), c) for before in (now, *[c] * blocks)]
            attended = (blocks + 1) * (level in attention)
            self.up_blocks.append(Level(ends, emb, groups, dropout, attended, "up" if level else ""))
            now = c
        self.conv_norm_out, self.conv_out = GroupNorm(groups, width, EPS), Conv2d(width, channels, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], t: Int[Tensor, " batch"],
        labels: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:  # fmt: skip
        """Return the noise that the network finds in x_t."""
        emb = self.time_embedding(t)
        if self.class_embedding is not None:
            emb = emb + self.class_embedding(labels)
        h = self.conv_in(x)
        skips = [h]
        for level in self.down_blocks:
            h = level.down(h, emb, skips)
        h = self.mid_block.resnets[1](self.mid_block.block(0, h, emb), emb)
        for level in self.up_blocks:
            h = level.up(h, emb, skips)
        return self.conv_out(F.silu(self.conv_norm_out(h)))  # type: ignore[no-any-return]


class MLPBlock(Module):
    """y = h + linear_2(silu(linear_1(silu(h)) + time_emb_proj(silu(emb)))), all (batch, width)."""

    def __init__(self, width: int) -> None:
        self.linear_1, self.time_emb_proj, self.linear_2 = (Linear(width, width) for _ in range(3))

    def forward(self, h: Any, emb: Any) -> Any:
        return h + self.linear_2(F.silu(self.linear_1(F.silu(h)) + self.time_emb_proj(F.silu(emb))))


class MLP(Module):
    """The residual block of the U-Net without space: for points of the plane and other examples of few numbers. Ours.

    Its input is [x, sin(f x), cos(f x)] for f = 1, 2, 4, 8, 16: without the waves it learns narrow modes slowly.
    """

    def __init__(self, shape: Sequence[int], width: int, blocks: int, labels: int) -> None:
        self.input = Linear((1 + 2 * OCTAVES) * math.prod(shape), width)
        self.time_embedding = TimeEmbedding(width, width)
        self.class_embedding = Embedding(labels, width) if labels else None
        self.blocks = [MLPBlock(width) for _ in range(blocks)]
        self.output = Linear(width, math.prod(shape))

    def forward(
        self, x: Float[Tensor, "batch *shape"], t: Int[Tensor, " batch"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch *shape"]:
        """Return the noise that the network finds in x_t."""
        emb = self.time_embedding(t)
        if self.class_embedding is not None:
            emb = emb + self.class_embedding(labels)
        flat = ops.flatten(x, 1)
        angles = ops.concatenate([2**k * flat for k in range(OCTAVES)], axis=1)
        h = self.input(ops.concatenate([flat, ops.sin(angles), ops.cos(angles)], axis=1))
        for block in self.blocks:
            h = block(h, emb)
        return self.output(F.silu(h)).reshape(x.shape)  # type: ignore[no-any-return]


# The forward process


def signal_left(schedule: str, timesteps: int) -> NDArray[np.float64]:
    """Return alpha-bar_t = prod of (1 - beta_s) for s <= t, the part of an example's variance that is left at each time.

    "linear": beta from 1e-4 to 0.02 over 1000 times (Ho et al. 2020, section 4), 1000 / timesteps times as much over others.
    "cosine": beta_t = 1 - f(t + 1) / f(t), f(u) = cos^2((u / timesteps + 0.008) / 1.008 pi / 2) (Nichol and Dhariwal 2021,
    equation 17). Both: each beta is at most 0.999.
    """
    if schedule == "linear":
        betas = np.linspace(1e-4, 0.02, timesteps) * (1000 / timesteps)
    else:
        f = np.cos((np.arange(timesteps + 1) / timesteps + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = 1 - f[1:] / f[:-1]
    return np.cumprod(1 - np.minimum(betas, 0.999))


class Diffusion(Module):
    """A denoiser with its forward process and its sampler.

    Args:
        network: network(x_t, t), with `classes` network(x_t, t, labels), the noise in x_t
        shape: of one example
        classes: number of labels, 0 for none; the label `classes` itself means "no class"
        timesteps: T, times of the forward process
        schedule: one of SCHEDULES, see `signal_left`
        sampler: one of SAMPLERS, see `step`
        steps: N, evaluated times of the sampler, at most `timesteps`
        eta: fresh noise in each step of "ddim", from 0 (none) to 1 (as "ddpm" with the posterior variance)
        variance: of "ddpm", one of VARIANCES
        guidance: w of classifier-free guidance, see `predict`
        drop: the fraction of labels that training replaces by "no class"
        bounds: the smallest and the largest value of an example; the sampler clips to them. None: any number

    Raises UserError for unknown names and for numbers out of range.
    """

    def __init__(
        self, network: Module, shape: Sequence[int], classes: int = 0, timesteps: int = 1000, schedule: str = "linear",
        sampler: str = "ddim", steps: int = 50, eta: float = 0.0, variance: str = "posterior", guidance: float = 0.0,
        drop: float = 0.1, bounds: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        known = {"schedule": (schedule, SCHEDULES), "sampler": (sampler, SAMPLERS), "variance": (variance, VARIANCES)}
        for kind, (given, names) in known.items():
            if given not in names:
                raise unknown_name(kind, given, names)
        if not 1 <= steps <= timesteps:
            most = min(50, max(timesteps, 1))
            raise UserError(f"A sampler takes 1 to {timesteps} steps. Received {steps}. Use steps={most}.")
        for name, value in (("eta", eta), ("drop", drop)):
            if not 0 <= value <= 1:
                raise UserError(f"{name} is between 0 and 1. Received {value:g}. Use {name}=0.")
        if guidance and not classes:
            raise UserError(f"Guidance needs labels. Received guidance={guidance:g} without any. Use conditional=true.")
        self.network, self.shape, self.classes, self.timesteps = network, tuple(shape), classes, timesteps
        self.sampler, self.steps, self.eta, self.variance = sampler, steps, eta, variance
        self.guidance, self.drop, self.bounds = guidance, drop, bounds
        self.alpha_bar = signal_left(schedule, timesteps)

    def left(self, t: int) -> float:
        """Return alpha-bar_t, and 1 for t = -1, the time of clean examples."""
        return float(self.alpha_bar[t]) if t >= 0 else 1.0

    def noised(
        self, x: Float[Tensor, "batch *shape"], t: Int[Tensor, " batch"], noise: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, "batch *shape"]:
        """Return x_t = sqrt(alpha-bar_t) x + sqrt(1 - alpha-bar_t) noise (Ho et al. 2020, equation 4)."""

        rows = (-1, *(1,) * (x.ndim - 1))

        def at(table: NDArray[Any]) -> Any:  # a product, as a plan cannot read a fixed table at places that it learns later
            return (ops.one_hot(t, self.timesteps, x.dtype) * B.asarray(table, dtype=x.dtype)).sum(axis=1).reshape(rows)

        return at(np.sqrt(self.alpha_bar)) * x + at(np.sqrt(1 - self.alpha_bar)) * noise  # type: ignore[no-any-return]

    # The way back

    def times(self) -> list[int]:
        """Return the N times of the sampler from T - 1 downwards, T / N apart: t_i = ceil(T (N - i) / N) - 1."""
        return [-(-self.timesteps * (self.steps - i) // self.steps) - 1 for i in range(self.steps)]

    def predict(
        self, x: Float[Tensor, "batch *shape"], t: int, labels: Int[Tensor, " batch"] | None = None,
        classifier: Classifier | None = None, scale: float = 1.0,
    ) -> Float[Tensor, "batch *shape"]:  # fmt: skip
        """Return the noise in x_t, guided toward the labels; without labels a network with classes reads "no class".

        Without a classifier: (1 + w) eps(x_t, label) - w eps(x_t, no class), Ho and Salimans (2022), equation 6.
        With one: eps - sqrt(1 - alpha-bar_t) scale * gradient of log p(label | x_t), Dhariwal and Nichol (2021), algorithm 2.
        """
        times, nothing = (Tensor(B.asarray(np.full(x.shape[0], n))) for n in (t, self.classes))
        if not self.classes:
            eps = self.network(x, times)
        else:
            eps = self.network(x, times, nothing if labels is None else labels)
            if self.guidance and labels is not None:
                eps = (1 + self.guidance) * eps - self.guidance * self.network(x, times, nothing)
        if classifier is not None and labels is not None:
            with enable_grad():
                place = x.detach().requires_grad_()
                likely = F.cross_entropy(classifier(place, times), labels, reduction="sum")
                (slope,) = grad(likely, [place])
            eps = eps + math.sqrt(1 - self.left(t)) * scale * slope.detach()
        return eps  # type: ignore[no-any-return]

    def step(
        self, x: Float[Tensor, "batch *shape"], eps: Float[Tensor, "batch *shape"], t: int, before: int
    ) -> Float[Tensor, "batch *shape"]:
        """Return x at the time `before` t, given the noise in x_t; no noise is added at the last step, before = -1.

        With a = alpha-bar_t, b = alpha-bar_before, alpha = a / b, beta = 1 - alpha and x0 = (x - sqrt(1 - a) eps) / sqrt(a):
        "ddpm": sqrt(b) beta / (1 - a) x0 + sqrt(alpha) (1 - b) / (1 - a) x + sd z, Ho et al. (2020), equations 6 and 7, with
        sd^2 = beta (1 - b) / (1 - a), the posterior variance, or beta.
        "ddim": sqrt(b) x0 + sqrt(1 - b - sd^2) eps + sd z, sd^2 = eta^2 beta (1 - b) / (1 - a), Song et al. (2021), eq. 12.
        "euler": y = x / sqrt(a) follows dy = eps d sigma, sigma = sqrt((1 - a) / a), the probability flow, by one Euler step
        (Song et al. 2021, equation 14).
        """
        a, b = self.left(t), self.left(before)
        beta = 1 - a / b
        x0 = (x - math.sqrt(1 - a) * eps) / math.sqrt(a)
        if self.bounds is not None:
            x0 = x0.clip(*self.bounds)
            eps = (x - math.sqrt(a) * x0) / math.sqrt(1 - a)
        if self.sampler == "euler":
            sigma, sigma_before = (math.sqrt((1 - left) / left) for left in (a, b))
            return math.sqrt(b) * (x / math.sqrt(a) + (sigma_before - sigma) * eps)
        variance = beta * (1 - b) / (1 - a)
        if self.sampler == "ddim":
            variance *= self.eta**2
            mean = math.sqrt(b) * x0 + math.sqrt(max(1 - b - variance, 0.0)) * eps
        else:
            mean = math.sqrt(b) * beta / (1 - a) * x0 + math.sqrt(a / b) * (1 - b) / (1 - a) * x
            variance = variance if self.variance == "posterior" else beta
        if before < 0 or not variance:
            return mean
        return mean + math.sqrt(variance) * random.randn(x.shape, dtype=x.dtype)

    def path(
        self, z: Float[Tensor, "batch *shape"], labels: Int[Tensor, " batch"] | None = None,
        classifier: Classifier | None = None, scale: float = 1.0,
    ) -> Iterator[tuple[int, Tensor]]:  # fmt: skip
        """Yield (t, x_t) at each time of the sampler, from the noise z to the example at t = -1."""
        x = z
        for t, before in pairwise([*self.times(), -1]):
            yield t, x
            x = self.step(x, self.predict(x, t, labels, classifier, scale), t, before)
        yield -1, x

    def forward(
        self, z: Float[Tensor, "batch *shape"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch *shape"]:
        """Return the examples that the noise z becomes; "ddpm", and "ddim" with eta > 0, draw more noise on the way."""
        *_, (_, x) = self.path(z, labels)
        return x

    def sample(
        self, count: int, labels: Int[Tensor, " count"] | None = None, classifier: Classifier | None = None, scale: float = 1.0
    ) -> Float[Tensor, "count *shape"]:
        """Return new examples; of a model with classes, one of each class in turn if there are no labels."""
        if self.classes and labels is None:
            labels = Tensor(B.asarray(np.arange(count) % self.classes))
        *_, (_, x) = self.path(self.draw(count), labels, classifier, scale)
        return x

    def draw(self, count: int) -> Float[Tensor, "count *shape"]:
        """Return noise of the weights' precision, from the default generator."""
        return random.randn(count, *self.shape, dtype=next(self.parameters()).dtype)


# The loss


def noise_loss(
    model: Diffusion, x: Float[Tensor, "batch *shape"], noise: Float[Tensor, "batch *shape"], *rest: Int[Tensor, " batch"]
) -> tuple[Tensor, Tensor]:
    """Return the mean of (noise - network(x_t, t, labels))^2 over all numbers, and the network's output.

    `rest`: times, and before them labels if the model has classes. Source: Ho et al. (2020), equation 14, divided by the
    numbers of an example.
    """
    *labels, t = rest
    eps = model.network(model.noised(x, t, noise), t, *labels)
    return F.batch_mean(ops.flatten((noise - eps).square(), 1).mean(axis=1)), eps


def with_noise(model: Diffusion, x: Float[Tensor, "batch *shape"], *labels: Int[Tensor, " batch"]) -> tuple[Tensor, ...]:
    """Return the batch of `noise_loss`: x, fresh noise, labels if the model has classes, and random times.

    In training a fraction `drop` of the labels is replaced by "no class", for classifier-free guidance.
    """
    rows = x.shape[0]
    noise, t = random.randn(x.shape, dtype=x.dtype), random.randint(0, model.timesteps, (rows,))
    if not model.classes:
        return x, noise, t
    y = ops.where(random.rand(rows) < model.drop, model.classes, labels[0]) if model.training else labels[0]
    return x, noise, y, t


def loss(model: Diffusion, x: Float[Tensor, "batch *shape"], *labels: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor]:
    """Return `noise_loss` with fresh noise; outside training, samples with the same labels as its outputs."""
    batch = with_noise(model, x, *labels)
    value, eps = noise_loss(model, *batch)
    return value, eps if model.training else model(model.draw(x.shape[0]), *batch[2:-1])


def build(
    shape: Sequence[int], network: str = "unet", width: int = 128, multipliers: Sequence[int] = (1, 2, 2, 2),
    attention: Sequence[int] = (1,), blocks: int = 2, groups: int = 32, dropout: float = 0.1, classes: int = 0,
    timesteps: int = 1000, schedule: str = "linear", sampler: str = "ddim", steps: int = 50, eta: float = 0.0,
    variance: str = "posterior", guidance: float = 0.0, drop: float = 0.1, bounds: tuple[float, float] | None = None,
) -> Diffusion:  # fmt: skip
    """Return a diffusion model from plain values; with shape (3, 32, 32) the defaults are DDPM's network for CIFAR-10.

    Raises UserError for an unknown network, a width that is odd or below 4, and images whose sides cannot be halved.
    """
    if network not in NETWORKS:
        raise unknown_name("network", network, NETWORKS)
    if width < 4 or width % 2:
        even = max(4, width + width % 2)
        raise UserError(f"A time embedding needs an even width of at least 4. Received {width}. Use width={even}.")
    if blocks < 1:
        raise UserError(f"A denoiser has at least one block. Received blocks={blocks}. Use 2.")
    labels = classes + 1 if classes else 0
    if network == "mlp":
        denoiser: Module = MLP(shape, width, blocks, labels)
    else:
        factor = 2 ** (len(multipliers) - 1)
        if len(shape) != 3 or any(side % factor for side in shape[1:]):
            raise UserError(
                f"This U-Net halves the sides of (channels, height, width) {len(multipliers) - 1} times. "
                f"Received examples of shape {tuple(shape)}. Use fewer multipliers, another resize, or network=mlp."
            )
        denoiser = UNet(shape[0], width, multipliers, attention, blocks, groups, dropout, labels)
    return Diffusion(denoiser, shape, classes, timesteps, schedule, sampler, steps, eta, variance, guidance, drop, bounds)
