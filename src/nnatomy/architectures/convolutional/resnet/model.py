"""ResNet (He, Zhang, Ren and Sun 2015): every block adds to its input; with pre-activation (2016), and without any skips.

BasicBlock and Bottleneck, the blocks of 2015, are in layers/blocks.py, because other networks have them too. Training is in
recipe.py, the theory in page.md. Names are torchvision's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import BasicBlock, BatchNorm2d, Bottleneck, Conv2d, Linear, MaxPool2d
from nnatomy.layers.module import Module, Sequential
from nnatomy.tensor import Parameter, Tensor, grad
from nnatomy.typing import Float, Int

IMAGENET: dict[int, tuple[str, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
"""The block of each depth, and how many of them each stage has (table 1)."""


class PaddingShortcut(Module):
    """Option A: every `stride`-th row and column of x, and maps of zeros behind those that are there; no parameters.

    (batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        self.stride, self.new = stride, outputs - inputs

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        x = x[:, :, :: self.stride, :: self.stride]
        return ops.pad(x, ((0, 0), (0, self.new), (0, 0), (0, 0)))  # type: ignore[no-any-return]


class PreActivation(Module):
    """A block of 2016: y = x + branch(a), a = relu(bn1(x)), and nothing follows the addition (figure 4 e).

    Where shapes change, y = downsample(a) + branch(a). The first block of a network has no bn1, and a = x, because the stem
    has just normalized and activated (appendix).
    """

    bn1: Module | None
    downsample: Module | None
    residual: bool

    def branch(self, a: Float[Tensor, "batch inplanes height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        """Return what the block adds."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "batch inplanes height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        a = x if self.bn1 is None else ops.relu(self.bn1(x))
        y = self.branch(a)
        if not self.residual:
            return y
        return y + (x if self.downsample is None else self.downsample(a))


class PreActBasicBlock(PreActivation):
    """branch(a) = conv2(relu(bn2(conv1(a)))), convolutions 3x3."""

    expansion = 1

    def __init__(
        self, inplanes: int, planes: int, stride: int, downsample: Module | None, residual: bool, first: bool
    ) -> None:
        self.bn1 = None if first else BatchNorm2d(inplanes)
        self.conv1 = Conv2d(inplanes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = BatchNorm2d(planes)
        self.conv2 = Conv2d(planes, planes, 3, padding=1, bias=False)
        self.downsample, self.residual = downsample, residual

    def branch(self, a: Float[Tensor, "batch inplanes height width"]) -> Float[Tensor, "batch planes new_height new_width"]:
        return self.conv2(ops.relu(self.bn2(self.conv1(a))))  # type: ignore[no-any-return]


class PreActBottleneck(PreActivation):
    """branch(a) = conv3(relu(bn3(conv2(relu(bn2(conv1(a))))))): 1x1, 3x3 and 1x1."""

    expansion = 4

    def __init__(
        self, inplanes: int, planes: int, stride: int, downsample: Module | None, residual: bool, first: bool, stride_in: str
    ) -> None:
        one, three = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.bn1 = None if first else BatchNorm2d(inplanes)
        self.conv1 = Conv2d(inplanes, planes, 1, one, bias=False)
        self.bn2 = BatchNorm2d(planes)
        self.conv2 = Conv2d(planes, planes, 3, three, padding=1, bias=False)
        self.bn3 = BatchNorm2d(planes)
        self.conv3 = Conv2d(planes, 4 * planes, 1, bias=False)
        self.downsample, self.residual = downsample, residual

    def branch(self, a: Float[Tensor, "batch inplanes height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        y = self.conv1(a)
        y = self.conv2(ops.relu(self.bn2(y)))
        return self.conv3(ops.relu(self.bn3(y)))  # type: ignore[no-any-return]


class ResNet(Module):
    """A stem, stages of residual blocks that each halve the maps and double their number, the mean of each map, a linear layer.

    Args:
        block: "basic" or "bottleneck"
        layers: blocks of each stage
        classes: scores for each image
        channels: of an image
        width: maps of the first stage, before a bottleneck's expansion by 4
        stem: "imagenet", a 7x7 convolution and a pooling that reduce the sides to a quarter, or "cifar", a 3x3 convolution
        version: 1, ReLU after the addition (2015), or 2, normalization and ReLU before each convolution (2016)
        stride_in: the convolution of a bottleneck that halves: "3x3" as in torchvision, or "1x1" as in the paper and in Keras
        shortcut: where shapes change: "A", zeros for the new maps, or "B", a 1x1 convolution
        residual: False for the plain network: the same layers, and nothing is added

    The defaults are ResNet-50: 25,557,032 parameters. Raises UserError for other names and for numbers below 1.

    Source: He, Zhang, Ren and Sun (2015), table 1 and section 4.2; (2016), section 3 and appendix.
    """

    def __init__(
        self, block: str = "bottleneck", layers: tuple[int, ...] = (3, 4, 6, 3), classes: int = 1000, channels: int = 3,
        width: int = 64, stem: str = "imagenet", version: int = 1, stride_in: str = "3x3", shortcut: str = "B",
        residual: bool = True,
    ) -> None:  # fmt: skip
        for name, value, known in (
            ("block", block, ("basic", "bottleneck")), ("stem", stem, ("imagenet", "cifar")), ("version", version, (1, 2)),
            ("stride_in", stride_in, ("3x3", "1x1")), ("shortcut", shortcut, ("A", "B")),
        ):  # fmt: skip
            if value not in known:
                raise unknown_name(name, str(value), tuple(map(str, known)))
        if not layers or min(*layers, classes, channels, width) < 1:
            raise UserError(
                "A ResNet needs one block or more in each stage, and classes, channels and width of at least 1. Received "
                f"layers={tuple(layers)}, classes={classes}, channels={channels}, width={width}. "
                "Use layers=(2, 2, 2, 2) and width=64."
            )
        self.options: dict[str, Any] = {
            "block": block, "layers": tuple(layers), "classes": classes, "channels": channels, "width": width, "stem": stem,
            "version": version, "stride_in": stride_in, "shortcut": shortcut, "residual": residual,
        }  # fmt: skip
        self.channels, self.version, self.stages = channels, version, len(layers)
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.maxpool = MaxPool2d(3, 2, padding=1) if stem == "imagenet" else None
        maps = width
        for stage, count in enumerate(layers):
            blocks: list[Module] = []
            for number in range(count):
                stride = 2 if stage and not number else 1
                made = self._block(block, maps, width * 2**stage, stride, stride_in, shortcut, residual, not stage | number)
                blocks.append(made)
                maps = width * 2**stage * made.expansion
            setattr(self, f"layer{stage + 1}", Sequential(*blocks))
        if version == 2:
            self.norm = BatchNorm2d(maps)
        self.fc = Linear(maps, classes)
        start_weights(self)

    def _block(
        self, block: str, maps: int, planes: int, stride: int, stride_in: str, shortcut: str, residual: bool, first: bool
    ) -> Any:
        outputs = planes * (4 if block == "bottleneck" else 1)
        downsample: Module | None = None
        if residual and (stride != 1 or maps != outputs):
            if shortcut == "A":
                downsample = PaddingShortcut(maps, outputs, stride)
            else:
                project = Conv2d(maps, outputs, 1, stride, bias=False)
                downsample = Sequential(project, BatchNorm2d(outputs)) if self.version == 1 else Sequential(project)
        if self.version == 1 and block == "basic":
            return BasicBlock(maps, planes, stride, downsample, residual=residual)
        if self.version == 1:
            return Bottleneck(maps, planes, stride, downsample, stride_in=stride_in, residual=residual)
        if block == "basic":
            return PreActBasicBlock(maps, planes, stride, downsample, residual, first)
        return PreActBottleneck(maps, planes, stride, downsample, residual, first, stride_in)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return a score for each class. Raises UserError for images with other channels."""
        x = self.stem(x)
        for block in self.blocks():
            x = block(x)
        return self.head(x)

    def stem(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch maps new_height new_width"]:
        """Return the maps that the first block receives."""
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise UserError(
                f"This ResNet takes images (batch, {self.channels}, height, width). Received shape {tuple(x.shape)}. "
                f"Use channels={x.shape[1] if x.ndim > 1 else 1} or reshape them."
            )
        x = ops.relu(self.bn1(self.conv1(x)))
        return x if self.maxpool is None else self.maxpool(x)

    def blocks(self) -> Iterator[Any]:
        """Return the blocks of all stages, from the first to the last."""
        for stage in range(1, self.stages + 1):
            yield from getattr(self, f"layer{stage}")

    def head(self, x: Float[Tensor, "batch maps height width"]) -> Float[Tensor, "batch classes"]:
        """Return the scores for the output of the last block."""
        if self.version == 2:
            x = ops.relu(self.norm(x))
        return self.fc(x.mean(axis=(2, 3)))  # type: ignore[no-any-return]


def start_weights(model: Module) -> None:
    """Draw each convolution's weights from N(0, 2 / n), n = kernel area times output maps (He et al. 2015, "Delving deep")."""
    for _, layer in model.named_modules():
        if isinstance(layer, Conv2d):
            layer.weight = Parameter(init.kaiming_normal(layer.weight.shape, mode="fan_out", nonlinearity="relu"))


def loss(
    model: Module, x: Float[Tensor, "batch channels height width"], targets: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes"]]:
    """Return the mean cross-entropy of the scores, and the scores."""
    scores = model(x)
    return F.cross_entropy(scores, targets), scores


def gradients_by_block(
    model: ResNet, x: Float[Tensor, "batch channels height width"], targets: Int[Tensor, " batch"]
) -> list[float]:
    """Return the norm of the loss's gradient by the input of each block, and last by the output of the last one.

    The model is taken in the mode that it is in.
    """
    states = [model.stem(x)]
    for block in model.blocks():
        states.append(block(states[-1]))
    value = F.cross_entropy(model.head(states[-1]), targets)
    return [float(ops.square(g).sum().sqrt().item()) for g in grad(value, states)]


def build(
    depth: int = 50, classes: int = 1000, channels: int = 3, width: int | None = None, layers: tuple[int, ...] | None = None,
    version: int = 1, stride_in: str = "3x3", shortcut: str | None = None, residual: bool = True,
) -> ResNet:  # fmt: skip
    """Return the ResNet of a depth: 18, 34, 50, 101 or 152 for ImageNet; other 6n + 2, such as 20, 56 and 110, for CIFAR.

    Those for CIFAR have three stages of n basic blocks, 16, 32 and 64 maps and shortcuts A (section 4.2); those for ImageNet
    have shortcuts B. `width`, `layers` and `shortcut` replace these; see `ResNet` for the rest. Raises UserError for other
    depths.
    """
    if depth in IMAGENET:
        block, known = IMAGENET[depth]
        usual, stem, option = 64, "imagenet", "B"
    elif depth >= 8 and depth % 6 == 2:
        block, known = "basic", ((depth - 2) // 6,) * 3
        usual, stem, option = 16, "cifar", "A"
    else:
        raise UserError(
            f"A ResNet has a depth of {', '.join(map(str, IMAGENET))} or 6n + 2. Received {depth}. Use depth=20 or depth=50."
        )
    return ResNet(
        block, known if layers is None else tuple(layers), classes, channels, usual if width is None else width, stem, version,
        stride_in, option if shortcut is None else shortcut, residual,
    )  # fmt: skip
