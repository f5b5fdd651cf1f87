"""The networks that are measured, and their data.

`nn` is nnatomy or torch.nn: they name their parts alike, so that the text of a model serves both. The code for JAX
and Keras is in implementations/.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.benchmark.implementation import Array
from nnatomy.errors import unknown_name

Batch = tuple[Array, Array]

BATCHES = 16  # different ones, used in turn: a network that memorizes one batch gets dead units


@dataclass(frozen=True)
class Workload:
    """A model, its data, and its description."""

    name: str
    what: str
    build: Callable[[Any, Callable[..., Any]], Any]
    """(nn, attend) -> model; attend(q, k, v, causal) is the library's own attention over [B, heads, T, width]."""
    batch: Callable[[np.random.Generator, int], Batch]
    """(rng, size) -> inputs, targets."""
    size: int
    """Examples in a training step."""
    loss: str = "cross_entropy"
    """Or "mse"."""
    answers: tuple[int, ...] = (1, 64)
    """Batch sizes of inference."""
    tolerance: float = 1e-3
    """The largest differences of losses after the first, and of first moments relative to the largest of their parameter.

    Among millions of normalized activations one or two round to the other side of a ReLU's corner: that moves single gradients
    by some percent."""

    @property
    def model(self) -> str:
        """The figures that sizes of one network share."""
        return "mlp-small" if self.name.startswith("mlp-small") else self.name

    def batches(self) -> list[Batch]:
        """Return the batches of a training run, the same in every process."""
        rng = np.random.default_rng(0)
        return [self.batch(rng, self.size) for _ in range(BATCHES)]

    def question(self, size: int) -> Array:
        """The inputs of inference, the same in every process."""
        return self.batch(np.random.default_rng(1), size)[0]


def find(name: str) -> Workload:
    """The workload of that name; raises UserError if there is none."""
    found: Workload = named(name, WORKLOADS)
    return found


def named(name: str, workloads: Sequence[Any]) -> Any:
    """The one of any workloads that has that name; raises UserError if there is none."""
    known = {workload.name: workload for workload in workloads}
    if name not in known:
        raise unknown_name("workload", name, known)
    return known[name]


# The models, from the plainest to the most composed


def mlp(*sizes: int) -> Callable[[Any, Any], Any]:
    def build(nn: Any, attend: Any) -> Any:
        layers: list[Any] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    return build


def lenet(nn: Any, attend: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def convnet(nn: Any, attend: Any) -> Any:
    def stage(inputs: int, outputs: int) -> list[Any]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *stage(1, 32), *stage(32, 64), nn.MaxPool2d(2), *stage(64, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(128, 10),
    )  # fmt: skip


def autoencoder(nn: Any, attend: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
    )  # fmt: skip


RESNET = ((16, 16, 1), (16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1))
"""(inputs, outputs, stride) of each block of ResNet-20."""


def resnet20(nn: Any, attend: Any) -> Any:
    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
            self.relu, self.downsample = nn.ReLU(), None
            if stride > 1:
                self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

        def forward(self, x: Any) -> Any:
            short = x if self.downsample is None else self.downsample(x)
            x = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(x)) + short)

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Sequential(*[Block(*sizes) for sizes in RESNET]), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


MOBILENET = ((16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1))
"""(inputs, outputs, stride) of each inverted residual block; they widen fourfold inside."""


def mobilenet(nn: Any, attend: Any) -> Any:
    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            wide = 4 * inputs
            self.residual = stride == 1 and inputs == outputs
            self.layers = nn.Sequential(
                nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
                nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
                nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            return x + self.layers(x) if self.residual else self.layers(x)

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(),
        nn.Sequential(*[Block(*sizes) for sizes in MOBILENET]), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def lstm(nn: Any, attend: Any) -> Any:
    class Last(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(64, 128, batch_first=True)
            self.output = nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.output(self.lstm(x)[0][:, -1])

    return Last()


def bigru(nn: Any, attend: Any) -> Any:
    class Mean(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(32, 64, batch_first=True, bidirectional=True)
            self.output = nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.output(self.gru(x)[0].mean(1))

    return Mean()


def transformer_block(nn: Any, attend: Any, width: int, heads: int, causal: bool) -> Any:
    """Attention and a network of two layers, each on normalized inputs and added to them (pre-norm)."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.widen, self.gelu, self.narrow = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            B, T, C = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(B, T, 3, heads, C // heads).permute(2, 0, 3, 1, 4)  # [B, heads, T, ...]
            x = x + self.project(attend(q, k, v, causal).permute(0, 2, 1, 3).reshape(B, T, C))
            return x + self.narrow(self.gelu(self.widen(self.norm2(x))))

    return Block()


def gpt(nn: Any, attend: Any, vocabulary: int = 256, width: int = 128, heads: int = 4, depth: int = 4, steps: int = 128) -> Any:
    class GPT(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(steps, width)
            self.blocks = nn.Sequential(*[transformer_block(nn, attend, width, heads, True) for _ in range(depth)])
            self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, vocabulary)

        def forward(self, tokens: Any) -> Any:
            x = self.blocks(self.tokens(tokens) + self.positions.weight)
            return self.output(self.norm(x)).reshape(-1, vocabulary)  # [B T, vocabulary]

    return GPT()


def encoder(nn: Any, attend: Any, width: int = 128, heads: int = 4, depth: int = 2, steps: int = 64) -> Any:
    class Encoder(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(256, width), nn.Embedding(steps, width)
            self.blocks = nn.Sequential(*[transformer_block(nn, attend, width, heads, False) for _ in range(depth)])
            self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, 10)

        def forward(self, tokens: Any) -> Any:
            x = self.blocks(self.tokens(tokens) + self.positions.weight)
            return self.output(self.norm(x).mean(1))

    return Encoder()


# Their data


def examples(*shape: int) -> Callable[[np.random.Generator, int], Batch]:
    """Normal inputs of this shape, and one of ten classes for each."""
    return lambda rng, size: (rng.normal(size=(size, *shape)).astype(np.float32), rng.integers(0, 10, size))


def pictures(rng: np.random.Generator, size: int) -> Batch:
    x = rng.normal(size=(size, 1, 28, 28)).astype(np.float32)
    return x, x


def text(rng: np.random.Generator, size: int) -> Batch:
    tokens = rng.integers(0, 256, (size, 129))
    return np.ascontiguousarray(tokens[:, :-1]), tokens[:, 1:].reshape(-1)


def sentences(rng: np.random.Generator, size: int) -> Batch:
    return rng.integers(0, 256, (size, 64)), rng.integers(0, 10, size)


_SMALL = mlp(32, 32, 32, 10)
WORKLOADS = (
    Workload("mlp", "784-256-128-10, ReLU", mlp(784, 256, 128, 10), examples(784), 64),
    Workload("mlp-small-1", "32-32-32-10, ReLU", _SMALL, examples(32), 1, answers=(1,)),
    Workload("mlp-small-8", "32-32-32-10, ReLU", _SMALL, examples(32), 8, answers=()),
    Workload("mlp-small-64", "32-32-32-10, ReLU", _SMALL, examples(32), 64, answers=(64,)),
    Workload("lenet", "LeNet-5, tanh, mean pooling, 1x28x28", lenet, examples(1, 28, 28), 64),
    Workload("convnet", "3 x (convolution 3x3, batch norm, ReLU), 32/64/128, 1x28x28", convnet, examples(1, 28, 28), 64,
             tolerance=0.05),
    Workload("autoencoder", "convolutions 4x4 of stride 2 to 16 and 32 channels and transposed ones back, squared error, "
             "1x28x28", autoencoder, pictures, 64, "mse"),
    Workload("resnet20", "ResNet-20, 16/32/64 channels, shortcuts 1x1, 3x32x32", resnet20, examples(3, 32, 32), 32,
             tolerance=0.05),
    Workload("mobilenet", "5 inverted residual blocks with depthwise convolutions, 16/24/32 channels widened fourfold, 3x32x32",
             mobilenet, examples(3, 32, 32), 32, tolerance=0.05),
    Workload("lstm", "LSTM, 100 steps of 64, hidden 128, last step to 10 classes", lstm, examples(100, 64), 32),
    Workload("bigru", "bidirectional GRU, 50 steps of 32, hidden 64, mean over steps to 10 classes", bigru, examples(50, 32),
             32),
    Workload("encoder", "Transformer encoder, 2 layers, width 128, 4 heads, 64 tokens, pre-norm, GELU, mean to 10 classes",
             encoder, sentences, 16),
    Workload("gpt", "causal Transformer, 4 layers, width 128, 4 heads, 128 tokens of 256, pre-norm, GELU", gpt, text, 16),
)  # fmt: skip
