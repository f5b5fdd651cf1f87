"""The networks that are measured on a GPU, their sizes, and what a step of them computes.

`nn` is nnatomy or torch.nn: they name their parts alike, so that the text of a model serves both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.benchmark.implementation import Array
from nnatomy.benchmark.workloads import Batch, mlp, named

Build = Callable[[Any], Any]
"""nn -> model."""
BATCHES = 4
"""Number of different batches, used one after the other; they are on the device before anything is timed."""


@dataclass(frozen=True)
class Workload:
    """A model, its optimizer, its inputs, and its description."""

    name: str
    what: str
    build: Build
    batch: Callable[[np.random.Generator, int], Batch]
    """(rng, size) -> inputs, targets."""
    size: int
    """Examples in a training step."""
    compared: int
    """Examples in a step whose results are compared, in float32."""
    unit: str
    """The unit that is counted in a second."""
    units: int = 1
    """Of these in an example."""
    optimizer: str = "adamw"
    """Or "sgd"."""
    std: Callable[[str, tuple[int, ...]], float] = lambda name, shape: math.sqrt(2 / math.prod(shape[1:]))
    """(parameter, shape) -> the standard deviation that its first values have."""
    tolerance: float = 1e-3
    """As that of the CPU benchmark's workloads."""
    products: float = 0.0
    """Multiply-adds of an example outside of layers: attention, and an output that uses the embedding's weight."""

    def batches(self, size: int) -> list[Batch]:
        """Return the batches of a run, the same in every process."""
        rng = np.random.default_rng(0)
        return [self.batch(rng, size) for _ in range(BATCHES)]

    def values(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
        """The weights and buffers that every run starts from, the same in every process."""
        rng = np.random.default_rng(1)
        return {name: self._value(name, shapes[name], rng) for name in sorted(shapes)}

    def _value(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        if "running_" in name or "num_batches" in name:
            return np.full(shape, float("var" in name), np.float32)
        drawn = rng.standard_normal(shape, np.float32)
        if len(shape) == 1:  # scales near 1, biases near 0
            return drawn * np.float32(0.02) + np.float32(name.endswith("weight"))
        return drawn * np.float32(self.std(name, shape))


# The models


def gpt2(vocabulary: int = 50257, width: int = 768, heads: int = 12, depth: int = 12, steps: int = 1024) -> Build:
    """GPT-2 (Radford et al. 2019) with nanoGPT's names; its output uses the weight of the token embedding."""

    def build(nn: Any) -> Any:
        class Attention(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

            def forward(self, x: Any) -> Any:
                B, T, C = x.shape
                q, k, v = self.c_attn(x).reshape(B, T, 3, heads, C // heads).permute(2, 0, 3, 1, 4)  # [B, heads, T, ...]
                y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                return self.c_proj(y.permute(0, 2, 1, 3).reshape(B, T, C))

        class MLP(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.c_fc, self.gelu = nn.Linear(width, 4 * width), nn.GELU(approximate="tanh")
                self.c_proj = nn.Linear(4 * width, width)

            def forward(self, x: Any) -> Any:
                return self.c_proj(self.gelu(self.c_fc(x)))

        class Block(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.ln_1, self.attn, self.ln_2, self.mlp = nn.LayerNorm(width), Attention(), nn.LayerNorm(width), MLP()

            def forward(self, x: Any) -> Any:
                x = x + self.attn(self.ln_1(x))
                return x + self.mlp(self.ln_2(x))

        class GPT(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(steps, width)
                self.h, self.ln_f = nn.Sequential(*[Block() for _ in range(depth)]), nn.LayerNorm(width)

            def forward(self, tokens: Any) -> Any:
                x = self.ln_f(self.h(self.wte(tokens) + self.wpe.weight))
                return nn.functional.linear(x, self.wte.weight).reshape(-1, vocabulary)  # [B T, vocabulary]

        return GPT()

    return build


def _gpt2_std(depth: int) -> Callable[[str, tuple[int, ...]], float]:
    """0.02, and less for what is added to the residual stream (Radford et al. 2019, section 2.3)."""
    return lambda name, shape: 0.02 / (math.sqrt(2 * depth) if "c_proj" in name else 1)


def resnet50(classes: int = 1000, width: int = 64, depths: Sequence[int] = (3, 4, 6, 3)) -> Build:
    """ResNet-50 (He et al. 2016) as torchvision has it: the 3x3 convolutions have the stride."""

    def build(nn: Any) -> Any:
        class Bottleneck(nn.Module):  # type: ignore[misc]
            def __init__(self, inputs: int, planes: int, stride: int) -> None:
                super().__init__()
                outputs = 4 * planes
                self.conv1, self.bn1 = nn.Conv2d(inputs, planes, 1, bias=False), nn.BatchNorm2d(planes)
                self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
                self.bn2 = nn.BatchNorm2d(planes)
                self.conv3, self.bn3 = nn.Conv2d(planes, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
                self.relu, self.downsample = nn.ReLU(), None
                if stride > 1 or inputs != outputs:
                    shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                    self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

            def forward(self, x: Any) -> Any:
                short = x if self.downsample is None else self.downsample(x)
                x = self.relu(self.bn1(self.conv1(x)))
                x = self.relu(self.bn2(self.conv2(x)))
                return self.relu(self.bn3(self.conv3(x)) + short)

        layers: list[Any] = [nn.Conv2d(3, width, 7, 2, padding=3, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers.append(nn.MaxPool2d(3, 2, padding=1))
        inputs = width
        for i, depth in enumerate(depths):
            planes = width * 2**i
            for j in range(depth):
                layers.append(Bottleneck(inputs, planes, 2 if i and not j else 1))
                inputs = 4 * planes
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))

    return build


def lstm(inputs: int, hidden: int, layers: int, classes: int) -> Build:
    def build(nn: Any) -> Any:
        class Last(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.lstm = nn.LSTM(inputs, hidden, layers, batch_first=True)
                self.output = nn.Linear(hidden, classes)

            def forward(self, x: Any) -> Any:
                return self.output(self.lstm(x)[0][:, -1])

        return Last()

    return build


# What they are fed with


def text(vocabulary: int, steps: int) -> Callable[[np.random.Generator, int], Batch]:
    def batch(rng: np.random.Generator, size: int) -> Batch:
        tokens = rng.integers(0, vocabulary, (size, steps + 1))
        return np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:]).reshape(-1)

    return batch


def examples(classes: int, *shape: int) -> Callable[[np.random.Generator, int], Batch]:
    """Normal inputs of this shape, and a class for each."""
    return lambda rng, size: (rng.standard_normal((size, *shape), np.float32), rng.integers(0, classes, size))


# The sizes


@dataclass(frozen=True)
class Sizes:
    """The words that distinguish the benchmark from its rehearsal on a CPU."""

    vocabulary: int
    width: int
    heads: int
    depth: int
    steps: int
    gpt_batch: tuple[int, int]
    """(of a step, of a compared step), as all that follow."""
    classes: int
    image: int
    planes: int
    depths: tuple[int, ...]
    image_batch: tuple[int, int]
    lstm: tuple[int, int, int, int]
    """Steps, inputs, hidden, layers."""
    lstm_batch: tuple[int, int]
    mlp: tuple[int, ...]
    mlp_batch: tuple[int, int]


FULL = Sizes(
    50304, 768, 12, 12, 1024, (12, 2), 1000, 224, 64, (3, 4, 6, 3), (256, 16), (128, 512, 1024, 2), (128, 16),
    (1024, 4096, 4096, 4096, 1000), (4096, 256),
)  # fmt: skip
TINY = Sizes(
    64, 32, 2, 2, 16, (2, 2), 10, 32, 4, (1, 1, 1, 1), (4, 4), (8, 8, 16, 2), (4, 4), (16, 32, 32, 10), (8, 8)
)  # fmt: skip


def workloads(sizes: Sizes = FULL) -> tuple[Workload, ...]:
    """All of them in these sizes."""
    s = sizes
    steps, inputs, hidden, layers = s.lstm
    attention = 2 * s.depth * s.steps**2 * s.width  # queries by keys, and weights by values; all pairs, as PaLM counts
    return (
        Workload(
            "gpt2", f"GPT-2: {s.depth} layers, width {s.width}, {s.heads} heads, {s.steps} tokens of {s.vocabulary}, AdamW",
            gpt2(s.vocabulary, s.width, s.heads, s.depth, s.steps), text(s.vocabulary, s.steps), *s.gpt_batch,
            "tokens", s.steps, std=_gpt2_std(s.depth), products=attention + s.steps * s.width * s.vocabulary,
        ),
        Workload(
            "resnet50", f"ResNet with bottlenecks, {s.depths} of {s.planes} to {8 * s.planes} planes, 3x{s.image}x{s.image}, "
            f"{s.classes} classes, SGD with momentum",
            resnet50(s.classes, s.planes, s.depths), examples(s.classes, 3, s.image, s.image), *s.image_batch, "images",
            optimizer="sgd", tolerance=0.05,
        ),
        Workload(
            "lstm", f"LSTM: {layers} layers of {hidden}, {steps} steps of {inputs}, last step to {s.classes} classes, AdamW",
            lstm(inputs, hidden, layers, s.classes), examples(s.classes, steps, inputs), *s.lstm_batch, "steps", steps,
            std=lambda name, shape: math.sqrt(1 / shape[1]),
        ),
        Workload(
            "mlp", f"MLP {'-'.join(map(str, s.mlp))}, ReLU, AdamW", lambda nn: mlp(*s.mlp)(nn, None),
            examples(s.mlp[-1], s.mlp[0]), *s.mlp_batch, "examples",
        ),
    )  # fmt: skip


def find(name: str, sizes: Sizes = FULL) -> Workload:
    """The workload of that name; raises UserError if there is none."""
    found: Workload = named(name, workloads(sizes))
    return found
