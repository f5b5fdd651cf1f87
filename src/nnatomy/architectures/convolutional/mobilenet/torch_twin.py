"""MobileNets in PyTorch: an independent twin, written from Howard et al. (2017, 2019) and Sandler et al. (2018).
It shares nothing with the architecture's model but the names and shapes of its state: features, classifier."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Version 1: maps and stride of each block, table 1.
V1 = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
# Version 2: expansion, maps, how many blocks, stride of the first, table 2.
V2 = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
# Version 3: kernel, expansion, maps, squeeze and excitation, h-swish, stride, tables 1 and 2.
V3_LARGE: list[tuple[int, float, int, bool, bool, int]] = [
    *[(3, 1, 16, False, False, 1), (3, 4, 24, False, False, 2), (3, 3, 24, False, False, 1)],
    *[(5, 3, 40, True, False, 2), (5, 3, 40, True, False, 1), (5, 3, 40, True, False, 1)],
    *[(3, 6, 80, False, True, 2), (3, 2.5, 80, False, True, 1), (3, 2.3, 80, False, True, 1), (3, 2.3, 80, False, True, 1)],
    *[(3, 6, 112, True, True, 1), (3, 6, 112, True, True, 1)],
    *[(5, 6, 160, True, True, 2), (5, 6, 160, True, True, 1), (5, 6, 160, True, True, 1)],
]
V3_SMALL: list[tuple[int, float, int, bool, bool, int]] = [
    *[(3, 1, 16, True, False, 2), (3, 72 / 16, 24, False, False, 2), (3, 88 / 24, 24, False, False, 1)],
    *[(5, 4, 40, True, True, 2), (5, 6, 40, True, True, 1), (5, 6, 40, True, True, 1)],
    *[(5, 3, 48, True, True, 1), (5, 3, 48, True, True, 1)],
    *[(5, 6, 96, True, True, 2), (5, 6, 96, True, True, 1), (5, 6, 96, True, True, 1)],
]


def divisible(maps: float) -> int:
    """The multiple of 8 nearest to `maps`, or the next one where it would lose more than a tenth."""
    near = max(8, int(maps + 4) // 8 * 8)
    return near + 8 if near < 0.9 * maps else near


class Convolution(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow does ("same"), or alike on both sides."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int, groups: int, same: bool) -> None:
        super().__init__(inputs, outputs, side, stride, 0 if same else side // 2, groups=groups, bias=False)
        self.same = same

    def forward(self, x: Tensor) -> Tensor:
        if self.same:
            side, stride = self.kernel_size[0], self.stride[0]
            edges: list[int] = []
            for length in (x.shape[3], x.shape[2]):
                missing = max((-(-length // stride) - 1) * stride + side - length, 0)
                edges += [missing // 2, missing - missing // 2]
            x = F.pad(x, edges)
        return super().forward(x)


class BatchNorm(nn.Module):
    """torch.nn.BatchNorm2d without its counter of batches."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, maps: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(maps)), nn.Parameter(torch.zeros(maps))
        self.register_buffer("running_mean", torch.zeros(maps))
        self.register_buffer("running_var", torch.ones(maps))

    def forward(self, x: Tensor) -> Tensor:
        means, variances = self.running_mean, self.running_var
        return F.batch_norm(x, means, variances, self.weight, self.bias, self.training, self.momentum, self.eps)


class SqueezeExcitation(nn.Module):
    """Each map times a number in [0, 1] that two layers make of the means of all maps."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        squeezed = divisible(maps / 4)
        self.fc1, self.fc2 = nn.Conv2d(maps, squeezed, 1), nn.Conv2d(squeezed, maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        score = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * F.relu6(score + 3) / 6  # F.hardsigmoid divides its gradient in float32


class Residual(nn.Module):
    """The layers of a block in a Sequential of the given name, around which the input may go."""

    def __init__(self, name: str, layers: list[nn.Module], around: bool) -> None:
        super().__init__()
        self.name, self.around = name, around
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = getattr(self, self.name)(x)
        return x + y if self.around else y


class MobileNet(nn.Module):
    """Feature maps, their means, and a classifier."""

    def __init__(
        self, version: str, classes: int, channels: int, alpha: float, padding: str, blocks: int | None, downsample: int,
        dropout: float, eps: float, momentum: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.same, self.eps, self.momentum = padding == "same", eps, momentum
        self.whole = 32 // downsample  # 2^m: the first m strides of 2 become 1
        make = {"v1": self.first, "v2": self.second, "v3-small": self.third, "v3-large": self.third}[version]
        features, head = make(version, channels, alpha, blocks, classes, dropout)
        self.features, self.classifier = nn.Sequential(*features), nn.Sequential(*head)

    def stride(self, stride: int) -> int:
        """The stride of the next layer in the table, which may give up its stride of 2."""
        if stride == 2 and self.whole > 1:
            self.whole //= 2
            return 1
        return stride

    def unit(
        self, inputs: int, outputs: int, side: int, stride: int, groups: int, act: Callable[[], nn.Module] | None
    ) -> nn.Sequential:
        parts = [Convolution(inputs, outputs, side, stride, groups, self.same), BatchNorm(outputs, self.eps, self.momentum)]
        return nn.Sequential(*parts, *([] if act is None else [act()]))

    def first(
        self, version: str, channels: int, alpha: float, blocks: int | None, classes: int, dropout: float
    ) -> tuple[list[nn.Module], list[nn.Module]]:
        """Version 1: a depthwise and a pointwise convolution in each block."""
        maps = max(int(32 * alpha), 8)
        features: list[nn.Module] = [self.unit(channels, maps, 3, self.stride(2), 1, nn.ReLU6)]
        for wide, stride in V1[:blocks]:
            outputs = max(int(wide * alpha), 8)
            depthwise = self.unit(maps, maps, 3, self.stride(stride), maps, nn.ReLU6)
            features.append(nn.Sequential(*depthwise, *self.unit(maps, outputs, 1, 1, 1, nn.ReLU6)))
            maps = outputs
        return features, [nn.Dropout(dropout), nn.Linear(maps, classes)]

    def second(
        self, version: str, channels: int, alpha: float, blocks: int | None, classes: int, dropout: float
    ) -> tuple[list[nn.Module], list[nn.Module]]:
        """Version 2: inverted residuals with linear bottlenecks."""
        maps = divisible(32 * alpha)
        features: list[nn.Module] = [self.unit(channels, maps, 3, self.stride(2), 1, nn.ReLU6)]
        table = [(t, c, s if i == 0 else 1) for t, c, n, s in V2 for i in range(n)]
        for expansion, wide, listed in table[:blocks]:
            outputs, stride, hidden = divisible(wide * alpha), self.stride(listed), expansion * maps
            layers: list[nn.Module] = [self.unit(maps, hidden, 1, 1, 1, nn.ReLU6)] if expansion > 1 else []
            layers += [self.unit(hidden, hidden, 3, stride, hidden, nn.ReLU6), *self.unit(hidden, outputs, 1, 1, 1, None)]
            features.append(Residual("conv", layers, stride == 1 and maps == outputs))
            maps = outputs
        last = divisible(1280 * max(1.0, alpha))
        features.append(self.unit(maps, last, 1, 1, 1, nn.ReLU6))
        return features, [nn.Dropout(dropout), nn.Linear(last, classes)]

    def third(
        self, version: str, channels: int, alpha: float, blocks: int | None, classes: int, dropout: float
    ) -> tuple[list[nn.Module], list[nn.Module]]:
        """Version 3: inverted residuals with squeeze and excitation, and h-swish in the deeper ones."""
        maps = 16
        features: list[nn.Module] = [self.unit(channels, maps, 3, self.stride(2), 1, nn.Hardswish)]
        table = V3_SMALL if version == "v3-small" else V3_LARGE
        for number, (side, expansion, wide, squeeze, swish, listed) in enumerate(table[:blocks]):
            act = nn.Hardswish if swish else nn.ReLU
            outputs, stride, hidden = divisible(wide * alpha), self.stride(listed), divisible(maps * expansion)
            layers: list[nn.Module] = [self.unit(maps, hidden, 1, 1, 1, act)] if number else []
            layers += [self.unit(hidden, hidden, side, stride, hidden, act)]
            layers += [SqueezeExcitation(hidden)] if squeeze else []
            layers += [self.unit(hidden, outputs, 1, 1, 1, None)]
            features.append(Residual("block", layers, stride == 1 and maps == outputs))
            maps = outputs
        wide, units = divisible(6 * maps), 1024 if version == "v3-small" else 1280
        units = divisible(units * alpha) if alpha > 1 else units
        features.append(self.unit(maps, wide, 1, 1, 1, nn.Hardswish))
        return features, [nn.Linear(wide, units), nn.Hardswish(), nn.Dropout(dropout), nn.Linear(units, classes)]

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return scores


def build(
    version: str = "v2",
    classes: int = 1000,
    channels: int = 3,
    alpha: float = 1.0,
    padding: str = "same",
    blocks: int | None = None,
    downsample: int = 32,
    dropout: float = 0.2,
    eps: float = 1e-3,
    momentum: float = 0.001,
) -> MobileNet:
    """The network with PyTorch's own initial weights."""
    if version not in ("v1", "v2", "v3-small", "v3-large"):
        raise ValueError(f"version is 'v1', 'v2', 'v3-small' or 'v3-large'. Received {version!r}. Use version='v2'.")
    if padding not in ("same", "symmetric"):
        raise ValueError(f"padding is 'same' or 'symmetric'. Received {padding!r}. Use padding='same'.")
    if downsample not in (1, 2, 4, 8, 16, 32):
        raise ValueError(f"downsample is 1, 2, 4, 8, 16 or 32. Received {downsample!r}. Use downsample=32.")
    return MobileNet(version, classes, channels, alpha, padding, blocks, downsample, dropout, eps, momentum)


def loss(model: MobileNet, x: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(model(x), targets)
