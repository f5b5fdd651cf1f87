"""ResNet in PyTorch: an independent twin, written from He, Zhang, Ren and Sun (2015), version 1, and (2016), version 2.
It shares nothing with the architecture's model but the names and shapes of its state: conv1, bn1, layer1.0.conv1, ..., fc."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # table 1


class BatchNorm(nn.Module):
    """torch.nn.BatchNorm2d without its counter of batches."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(maps))
        self.bias = nn.Parameter(torch.zeros(maps))
        self.register_buffer("running_mean", torch.zeros(maps))
        self.register_buffer("running_var", torch.ones(maps))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, 1e-5)


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class PaddedIdentity(nn.Module):
    """The shortcut without parameters: every stride-th pixel, and zeros for the maps that are new."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(F.avg_pool2d(x, 1, self.stride), (0, 0, 0, 0, 0, self.extra))


class Block(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1, and what goes around them."""

    def __init__(
        self, inputs: int, planes: int, stride: int, bottleneck: bool, version: int, stride_in: str, shortcut: str,
        residual: bool, first: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.version, self.residual, self.first = version, residual, first
        outputs = 4 * planes if bottleneck else planes
        maps = [inputs, planes, planes, outputs] if bottleneck else [inputs, planes, outputs]
        strided = 1 if bottleneck and stride_in == "3x3" else 0
        self.depth = len(maps) - 1
        for k in range(self.depth):
            size = 1 if bottleneck and k != 1 else 3
            self.add_module(f"conv{k + 1}", convolution(maps[k], maps[k + 1], size, stride if k == strided else 1))
            if not (first and k == 0 and version == 2):
                self.add_module(f"bn{k + 1}", BatchNorm(maps[k + 1] if version == 1 else maps[k]))
        self.downsample: nn.Module | None = None
        if residual and (stride != 1 or inputs != outputs):
            parts = [convolution(inputs, outputs, 1, stride)] + ([BatchNorm(outputs)] if version == 1 else [])
            self.downsample = PaddedIdentity(outputs - inputs, stride) if shortcut == "A" else nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(x) if self.version == 1 else self.before(x)

    def after(self, x: Tensor) -> Tensor:
        """Version 1: y = relu(F(x) + shortcut), normalization after each convolution."""
        y = x
        for k in range(1, self.depth + 1):
            y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
            if k < self.depth:
                y = F.relu(y)
        if self.residual:
            y = y + (x if self.downsample is None else self.downsample(x))
        return F.relu(y)

    def before(self, x: Tensor) -> Tensor:
        """Version 2: y = F(x) + shortcut, normalization and ReLU before each convolution and before a projection."""
        y = around = x
        for k in range(1, self.depth + 1):
            if hasattr(self, f"bn{k}"):
                y = F.relu(getattr(self, f"bn{k}")(y))
            if k == 1 and self.downsample is not None:
                around = self.downsample(y)
            y = getattr(self, f"conv{k}")(y)
        return y + around if self.residual else y


class ResNet(nn.Module):
    def __init__(
        self, depth: int, classes: int, channels: int, width: int | None, layers: tuple[int, ...] | None, version: int,
        stride_in: str, shortcut: str | None, residual: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        if depth not in IMAGENET and (depth < 8 or depth % 6 != 2):
            raise ValueError(f"depth must be 18, 34, 50, 101, 152 or 6 n + 2, got {depth}")
        if version not in (1, 2) or stride_in not in ("1x1", "3x3") or shortcut not in (None, "A", "B"):
            raise ValueError(f"no such network: version={version!r}, stride_in={stride_in!r}, shortcut={shortcut!r}")
        self.large = depth in IMAGENET
        planes = width or (64 if self.large else 16)
        shortcut = shortcut or ("B" if self.large else "A")
        self.stages = len(layers := layers or IMAGENET.get(depth) or ((depth - 2) // 6,) * 3)
        self.conv1 = convolution(channels, planes, 7, 2) if self.large else convolution(channels, planes, 3)
        self.bn1 = BatchNorm(planes)
        maps = planes
        for stage, blocks in enumerate(layers):
            here = []
            for k in range(blocks):
                stride = 2 if stage > 0 and k == 0 else 1
                first = stage == 0 and k == 0
                here.append(
                    Block(maps, planes, stride, depth >= 50 and self.large, version, stride_in, shortcut, residual, first)
                )
                maps = 4 * planes if depth >= 50 and self.large else planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*here))
            planes *= 2
        self.norm = BatchNorm(maps) if version == 2 else None
        self.fc = nn.Linear(maps, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        if self.large:
            x = F.max_pool2d(x, 3, 2, padding=1)
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        if self.norm is not None:
            x = F.relu(self.norm(x))
        scores: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return scores


def build(
    depth: int = 50, classes: int = 1000, channels: int = 3, width: int | None = None, layers: tuple[int, ...] | None = None,
    version: int = 1, stride_in: str = "3x3", shortcut: str | None = None, residual: bool = True,
) -> ResNet:  # fmt: skip
    """The network with the initial weights of He et al. (2015b)."""
    return ResNet(depth, classes, channels, width, layers, version, stride_in, shortcut, residual)


def loss(model: ResNet, x: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(model(x), targets)
