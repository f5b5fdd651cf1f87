"""Diffusion in Keras: an independent twin, written from Ho et al. (2020), Song et al. (2021), Nichol and Dhariwal (2021), and
Ho and Salimans (2022). Images are NCHW outside and NHWC (batch, height, width, maps) inside the U-Net."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


def kept_signal(timesteps: int, schedule: str) -> np.ndarray:
    """alpha-bar at each time: the product of 1 - beta up to it."""
    if schedule not in ("linear", "cosine"):
        raise ValueError(f"schedule must be 'linear' or 'cosine', got {schedule!r}")
    if schedule == "linear":
        betas = np.linspace(0.1 / timesteps, 20 / timesteps, timesteps)
    else:
        f = np.cos((np.arange(timesteps + 1) / timesteps + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = 1 - f[1:] / f[:-1]
    return np.cumprod(1 - np.minimum(betas, 0.999))


def silu(x: Any) -> Any:
    return x * ops.sigmoid(x)


class Network(keras.Model):
    """Layers by the names of the architecture's state, which `forward` of a subclass puts together."""

    def __init__(self, width: int, time: int, classes: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.width, self.classes, self.parts, self.options = width, classes, {}, {"dtype": dtype}
        self.dense("time_embedding.linear_1", time)
        self.dense("time_embedding.linear_2", time)
        if classes:
            self.parts["class_embedding"] = layers.Embedding(classes + 1, time, name="class_embedding", **self.options)

    def dense(self, name: str, units: int) -> None:
        self.parts[name] = layers.Dense(units, name=name.replace(".", "_"), **self.options)

    def embedded(self, t: Any, labels: Any) -> Any:
        """The time, and the label where there are classes."""
        half = self.width // 2
        frequencies = np.exp(-math.log(10000) * np.arange(half) / (half - 1))
        angles = ops.cast(ops.cast(t, "float64")[:, None] * frequencies, self.compute_dtype)
        h = silu(self.parts["time_embedding.linear_1"](ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=1)))
        h = self.parts["time_embedding.linear_2"](h)
        return h + self.parts["class_embedding"](labels) if self.classes else h


class MLP(Network):
    """Residual blocks on the numbers of an example, their sines and their cosines."""

    def __init__(self, features: int, width: int, blocks: int, classes: int, dtype: str) -> None:
        super().__init__(width, width, classes, dtype)
        self.features, self.blocks = features, blocks
        self.dense("input", width)
        for k in range(blocks):
            for name in ("linear_1", "time_emb_proj", "linear_2"):
                self.dense(f"blocks.{k}.{name}", width)
        self.dense("output", features)

    def call(self, x: Any, t: Any, labels: Any = None, training: bool = False) -> Any:
        emb, flat = silu(self.embedded(t, labels)), ops.reshape(x, (-1, self.features))
        waves = [frequency * flat for frequency in (1, 2, 4, 8, 16)]
        h = self.parts["input"](ops.concatenate([flat, *map(ops.sin, waves), *map(ops.cos, waves)], axis=1))
        for k in range(self.blocks):
            first, time, second = (self.parts[f"blocks.{k}.{name}"] for name in ("linear_1", "time_emb_proj", "linear_2"))
            h = h + second(silu(first(silu(h)) + time(emb)))
        return ops.reshape(self.parts["output"](silu(h)), ops.shape(x))


class UNet(Network):
    def __init__(
        self, channels: int, width: int, multipliers: tuple[int, ...], attention: tuple[int, ...], blocks: int, groups: int,
        dropout: float, classes: int, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(width, 4 * width, classes, dtype)
        self.maps, self.attention, self.blocks, self.groups = [width * m for m in multipliers], attention, blocks, groups
        self.drop, self.last = layers.Dropout(dropout, **self.options), len(multipliers) - 1
        self.conv("conv_in", self.maps[0])
        skips = [self.maps[0]]
        for level, maps in enumerate(self.maps):
            for k in range(blocks):
                self.residual(f"down_blocks.{level}.resnets.{k}", skips[-1], maps)
                self.attend(f"down_blocks.{level}.attentions.{k}", maps, level in attention)
                skips.append(maps)
            if level < self.last:
                self.conv(f"down_blocks.{level}.downsamplers.0.conv", maps, stride=2)
                skips.append(maps)
        now = self.maps[-1]
        self.residual("mid_block.resnets.0", now, now)
        self.attend("mid_block.attentions.0", now, True)
        self.residual("mid_block.resnets.1", now, now)
        for i, maps in enumerate(reversed(self.maps)):
            for k in range(blocks + 1):
                self.residual(f"up_blocks.{i}.resnets.{k}", now + skips.pop(), maps)
                self.attend(f"up_blocks.{i}.attentions.{k}", maps, self.last - i in attention)
                now = maps
            if i < self.last:
                self.conv(f"up_blocks.{i}.upsamplers.0.conv", maps)
        self.norm("conv_norm_out")
        self.conv("conv_out", channels)

    def conv(self, name: str, maps: int, size: int = 3, stride: int = 1) -> None:
        self.parts[name] = layers.Conv2D(
            maps, size, strides=stride, padding="same" if stride == 1 else "valid", data_format="channels_last",
            name=name.replace(".", "_"), **self.options,
        )  # fmt: skip

    def norm(self, name: str) -> None:
        self.parts[name] = layers.GroupNormalization(self.groups, epsilon=1e-6, name=name.replace(".", "_"), **self.options)

    def residual(self, name: str, inputs: int, maps: int) -> None:
        for n in (1, 2):
            self.norm(f"{name}.norm{n}")
            self.conv(f"{name}.conv{n}", maps)
        self.dense(f"{name}.time_emb_proj", maps)
        if inputs != maps:
            self.conv(f"{name}.conv_shortcut", maps, 1)

    def attend(self, name: str, maps: int, there: bool) -> None:
        if there:
            self.norm(f"{name}.group_norm")
            for part in ("to_q", "to_k", "to_v", "to_out.0"):
                self.dense(f"{name}.{part}", maps)

    def block(self, path: str, k: int, x: Any, emb: Any, training: bool) -> Any:
        """A residual block, and attention if it has some."""
        name, parts = f"{path}.resnets.{k}", self.parts
        h = parts[f"{name}.conv1"](silu(parts[f"{name}.norm1"](x))) + parts[f"{name}.time_emb_proj"](emb)[:, None, None]
        h = self.drop(silu(parts[f"{name}.norm2"](h)), training=training)
        shortcut = parts.get(f"{name}.conv_shortcut")
        x = (x if shortcut is None else shortcut(x)) + parts[f"{name}.conv2"](h)
        name = f"{path}.attentions.{k}"
        if f"{name}.to_q" not in parts:
            return x
        rows, columns, maps = x.shape[1:]
        pixels = ops.reshape(parts[f"{name}.group_norm"](x), (-1, rows * columns, maps))
        q, key, v = (parts[f"{name}.{part}"](pixels) for part in ("to_q", "to_k", "to_v"))
        scores = ops.matmul(q, ops.transpose(key, (0, 2, 1))) / math.sqrt(maps)
        e = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))  # Keras' softmax warns of images of one pixel
        mixed = ops.matmul(e, v) / ops.sum(e, axis=-1, keepdims=True)
        return x + ops.reshape(parts[f"{name}.to_out.0"](mixed), (-1, rows, columns, maps))

    def call(self, x: Any, t: Any, labels: Any = None, training: bool = False) -> Any:
        emb = silu(self.embedded(t, labels))
        x = self.parts["conv_in"](ops.transpose(x, (0, 2, 3, 1)))
        skips = [x]
        for level in range(self.last + 1):
            for k in range(self.blocks):
                skips.append(self.block(f"down_blocks.{level}", k, skips[-1], emb, training))
            if level < self.last:
                padded = ops.pad(skips[-1], [(0, 0), (0, 1), (0, 1), (0, 0)])
                skips.append(self.parts[f"down_blocks.{level}.downsamplers.0.conv"](padded))
        x = self.block("mid_block", 0, skips[-1], emb, training)
        x = self.block("mid_block", 1, x, emb, training)
        for i in range(self.last + 1):
            for k in range(self.blocks + 1):
                x = self.block(f"up_blocks.{i}", k, ops.concatenate([x, skips.pop()], axis=3), emb, training)
            if i < self.last:
                x = self.parts[f"up_blocks.{i}.upsamplers.0.conv"](ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2))
        x = self.parts["conv_out"](silu(self.parts["conv_norm_out"](x)))
        return ops.transpose(x, (0, 3, 1, 2))


class Diffusion(keras.Model):
    """A network that finds the noise in an example; a call takes it away in `steps` steps that draw none."""

    def __init__(
        self, network: Network, kept: np.ndarray, sampler: str, steps: int, eta: float, guidance: float,
        bounds: tuple[float, float] | None, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.network, self.kept, self.bounds = network, kept, bounds
        self.sampler, self.steps, self.eta, self.guidance = sampler, steps, eta, guidance

    def call(self, x: Any, labels: Any = None, training: bool = False) -> Any:
        if self.sampler not in ("ddim", "euler") or self.eta != 0:
            raise ValueError(f"the twin draws no numbers, got sampler={self.sampler!r}, eta={self.eta!r}")
        count = len(self.kept)
        times = [-(-count * (self.steps - i) // self.steps) - 1 for i in range(self.steps)]
        for i, time in enumerate(times):
            now = float(self.kept[time])
            then = float(self.kept[times[i + 1]]) if i + 1 < self.steps else 1.0
            t = ops.full((ops.shape(x)[0],), time, dtype="int64")
            eps = self.network(x, t, labels, training=training)
            if self.guidance and labels is not None:
                nothing = self.network(x, t, ops.full_like(labels, self.network.classes), training=training)
                eps = (1 + self.guidance) * eps - self.guidance * nothing
            if self.bounds is not None:
                clean = ops.clip((x - math.sqrt(1 - now) * eps) / math.sqrt(now), *self.bounds)
                eps = (x - math.sqrt(now) * clean) / math.sqrt(1 - now)
            if self.sampler == "ddim":
                x = math.sqrt(then / now) * (x - math.sqrt(1 - now) * eps) + math.sqrt(1 - then) * eps
            else:
                scaled = x / math.sqrt(now) + (math.sqrt(1 / then - 1) - math.sqrt(1 / now - 1)) * eps
                x = math.sqrt(then) * scaled
        return x


def build(
    shape: tuple[int, ...], network: str = "unet", width: int = 128, multipliers: tuple[int, ...] = (1, 2, 2, 2),
    attention: tuple[int, ...] = (1,), blocks: int = 2, groups: int = 32, dropout: float = 0.1, classes: int = 0,
    timesteps: int = 1000, schedule: str = "linear", sampler: str = "ddim", steps: int = 50, eta: float = 0.0,
    variance: str = "posterior", guidance: float = 0.0, drop: float = 0.1, bounds: tuple[float, float] | None = None,
) -> Diffusion:  # fmt: skip
    """The model with Keras' own initial weights; `variance` and `drop` concern random numbers that are not drawn here."""
    dtype = keras.config.floatx()
    found: Network
    if network == "mlp":
        found = MLP(math.prod(shape), width, blocks, classes, dtype)
    elif network == "unet":
        found = UNet(shape[0], width, tuple(multipliers), tuple(attention), blocks, groups, dropout, classes, dtype)
    else:
        raise ValueError(f"network must be 'unet' or 'mlp', got {network!r}")
    found(np.zeros((1, *shape), dtype), np.zeros(1, "int64"), np.zeros(1, "int64") if classes else None)
    return Diffusion(found, kept_signal(timesteps, schedule), sampler, steps, eta, guidance, bounds, dtype)


def loss(model: Diffusion, x: Any, noise: Any, *rest: Any, training: bool = True) -> Any:
    """Mean squared error of the noise that the network finds; rest is labels, if there are classes, and times."""
    t, extra = rest[-1], [1] * (len(x.shape) - 1)
    signal, spread = (
        ops.reshape(ops.take(ops.convert_to_tensor(table.astype(keras.backend.standardize_dtype(x.dtype))), t), (-1, *extra))
        for table in (np.sqrt(model.kept), np.sqrt(1 - model.kept))
    )
    labels = rest[0] if model.network.classes else None
    return ops.mean(ops.square(noise - model.network(signal * x + spread * noise, t, labels, training=training)))


def weight_map(model: Diffusion) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out) and kernels as (height, width, in, out)."""
    found = {}
    for name, part in model.network.parts.items():
        path = f"network.{name}"
        if isinstance(part, layers.Embedding):
            found[f"{path}.weight"] = Weight(part.embeddings, np.array, np.array)
        elif isinstance(part, layers.GroupNormalization):
            found[f"{path}.weight"] = Weight(part.gamma, np.array, np.array)
            found[f"{path}.bias"] = Weight(part.beta, np.array, np.array)
        else:
            both = (lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
            maps = both if isinstance(part, layers.Conv2D) else (np.transpose, np.transpose)
            found[f"{path}.weight"] = Weight(part.kernel, *maps)
            found[f"{path}.bias"] = Weight(part.bias, np.array, np.array)
    return found
