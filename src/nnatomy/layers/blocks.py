"""Blocks of convolutional networks: residual, depthwise-separable, squeezed. Names and weights are torchvision's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import checks
from nnatomy.layers.activation import ReLU, ReLU6, Sigmoid
from nnatomy.layers.convolution import Conv2d
from nnatomy.layers.module import Module, Sequential
from nnatomy.layers.normalization import BatchNorm2d
from nnatomy.layers.pooling import AdaptiveAvgPool2d
from nnatomy.random import Generator

__all__ = ["BasicBlock", "Bottleneck", "DepthwiseSeparable", "InvertedResidual", "SqueezeExcitation"]


def _conv3x3(
    inputs: int, outputs: int, stride: int, groups: int, dilation: int, generator: Generator | None
) -> Conv2d:
    return Conv2d(inputs, outputs, 3, stride, dilation, dilation, groups, bias=False, generator=generator)


def _fits(block: str, branch: Any, identity: Any) -> None:
    if branch.shape != identity.shape:
        raise UserError(
            f"{block} adds its input to what it makes of it, {tuple(branch.shape)}. Received {tuple(identity.shape)}. "
            "Give `downsample`, such as a 1x1 convolution with the block's stride."
        )


class _Residual(Module):
    """y = relu(branch(x) + x), with downsample(x) for x where shapes change; without `residual` y = relu(branch(x))."""

    relu: Module
    downsample: Module | None
    residual: bool

    def branch(self, x: Any) -> Any:
        """Return F(x), what the block adds to its input."""
        raise NotImplementedError

    def forward(self, x: Any) -> Any:
        y = self.branch(x)
        if self.residual:
            identity = x if self.downsample is None else self.downsample(x)
            _fits(type(self).__name__, y, identity)
            y = y + identity
        return self.relu(y)


class BasicBlock(_Residual):
    """y = relu(bn2(conv2(relu(bn1(conv1(x))))) + x), convolutions 3x3 (He et al. 2016, figure 5, left).

    x (batch, inplanes, height, width), y (batch, planes, height / stride, width / stride). `downsample` makes of x what is
    added where shapes change. `residual=False` adds nothing: the plain block of the paper's comparisons.
    """

    expansion = 1

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: Module | None = None, *, residual: bool = True,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        checks.sizes("BasicBlock", inplanes=inplanes, planes=planes, stride=stride)
        self.conv1 = _conv3x3(inplanes, planes, stride, 1, 1, generator)
        self.bn1 = BatchNorm2d(planes)
        self.relu = ReLU()
        self.conv2 = _conv3x3(planes, planes, 1, 1, 1, generator)
        self.bn2 = BatchNorm2d(planes)
        self.downsample, self.stride, self.residual = downsample, stride, residual

    def branch(self, x: Any) -> Any:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))


class Bottleneck(_Residual):
    """y = relu(bn3(conv3(relu(bn2(conv2(relu(bn1(conv1(x)))))))) + x): 1x1, 3x3 and 1x1 (He et al. 2016, figure 5, right).

    x (batch, inplanes, height, width), y (batch, 4 planes, height / stride, width / stride). The 3x3 convolution has
    planes base_width / 64 channels for each of its groups (Xie et al. 2017) and the stride, as in torchvision; the paper gives
    the stride to the first convolution, as `stride_in="1x1"` does. `residual` is that of BasicBlock.
    """

    expansion = 4

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: Module | None = None, groups: int = 1,
        base_width: int = 64, dilation: int = 1, *, stride_in: str = "3x3", residual: bool = True,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        checks.sizes("Bottleneck", inplanes=inplanes, planes=planes, stride=stride, groups=groups, base_width=base_width,
                     dilation=dilation)  # fmt: skip
        if stride_in not in ("3x3", "1x1"):
            raise unknown_name("stride_in", stride_in, ("3x3", "1x1"))
        width = planes * base_width // 64 * groups
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.conv1 = Conv2d(inplanes, width, 1, first, bias=False, generator=generator)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, second, groups, dilation, generator)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = Conv2d(width, planes * self.expansion, 1, bias=False, generator=generator)
        self.bn3 = BatchNorm2d(planes * self.expansion)
        self.relu = ReLU()
        self.downsample, self.stride, self.residual = downsample, stride, residual

    def branch(self, x: Any) -> Any:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


class DepthwiseSeparable(Sequential):
    """y = relu(bn(pointwise(relu(bn(depthwise(x)))))): 3x3 in each channel, then 1x1 across (Howard et al. 2017, figure 3).

    x (batch, inp, height, width), y (batch, oup, height / stride, width / stride).
    """

    def __init__(self, inp: int, oup: int, stride: int = 1, *, generator: Generator | None = None) -> None:
        checks.sizes("DepthwiseSeparable", inp=inp, oup=oup, stride=stride)
        super().__init__(
            _conv3x3(inp, inp, stride, inp, 1, generator), BatchNorm2d(inp), ReLU(),
            Conv2d(inp, oup, 1, bias=False, generator=generator), BatchNorm2d(oup), ReLU(),
        )  # fmt: skip


class InvertedResidual(Module):
    """y = x + bn(project(relu6(bn(depthwise(relu6(bn(expand(x)))))))) (Sandler et al. 2018, figure 4 and table 1).

    1x1 to inp expand_ratio channels (left out for expand_ratio 1), 3x3 in each, 1x1 to oup with no activation; x is added if
    stride is 1 and inp = oup. x (batch, inp, height, width), y (batch, oup, height / stride, width / stride).
    """

    def __init__(
        self, inp: int, oup: int, stride: int, expand_ratio: int, *, generator: Generator | None = None
    ) -> None:
        checks.sizes("InvertedResidual", inp=inp, oup=oup, stride=stride, expand_ratio=expand_ratio)
        self.stride, self.use_res_connect = stride, stride == 1 and inp == oup
        hidden = inp * expand_ratio
        layers: list[Module] = []
        if expand_ratio != 1:
            expand = Conv2d(inp, hidden, 1, bias=False, generator=generator)
            layers.append(Sequential(expand, BatchNorm2d(hidden), ReLU6()))
        layers += [
            Sequential(_conv3x3(hidden, hidden, stride, hidden, 1, generator), BatchNorm2d(hidden), ReLU6()),
            Conv2d(hidden, oup, 1, bias=False, generator=generator),
            BatchNorm2d(oup),
        ]
        self.conv = Sequential(*layers)

    def forward(self, x: Any) -> Any:
        y = self.conv(x)
        return x + y if self.use_res_connect else y


class SqueezeExcitation(Module):
    """y = x sigmoid(fc2(relu(fc1(mean of x over space)))): a factor for each channel (Hu et al. 2018, eq. 2 to 4).

    x (batch, input_channels, height, width); fc1 and fc2 are 1x1 convolutions to squeeze_channels and back. `activation` and
    `scale_activation` make the layers that replace ReLU and the sigmoid.
    """

    def __init__(
        self, input_channels: int, squeeze_channels: int, activation: Callable[[], Module] = ReLU,
        scale_activation: Callable[[], Module] = Sigmoid, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        checks.sizes("SqueezeExcitation", input_channels=input_channels, squeeze_channels=squeeze_channels)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc1 = Conv2d(input_channels, squeeze_channels, 1, generator=generator)
        self.fc2 = Conv2d(squeeze_channels, input_channels, 1, generator=generator)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, x: Any) -> Any:
        return x * self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))
