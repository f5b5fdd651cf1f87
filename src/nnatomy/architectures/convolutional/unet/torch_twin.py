"""U-Net in PyTorch: an independent twin, written from Ronneberger, Fischer & Brox (2015), figure 1 and section 3.
It shares with the architecture's model only the names of its state: inc, down1, ..., up1, ..., outc."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNLABELED = 255


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


class TwoConvolutions(nn.Module):
    """Two 3x3 convolutions, each followed by a ReLU, with normalization between them if wanted."""

    def __init__(self, inputs: int, outputs: int, padded: bool, batch_norm: bool) -> None:
        super().__init__()

        def unit(maps: int) -> list[nn.Module]:
            convolution = nn.Conv2d(maps, outputs, 3, padding="same" if padded else "valid", bias=not batch_norm)
            return [convolution, BatchNorm(outputs), nn.ReLU()] if batch_norm else [convolution, nn.ReLU()]

        self.double_conv = nn.Sequential(*unit(inputs), *unit(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.double_conv(x)
        return y


class Contract(nn.Module):
    """2x2 max pooling with stride 2, then two convolutions."""

    def __init__(self, inputs: int, outputs: int, padded: bool, batch_norm: bool) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2, 2), TwoConvolutions(inputs, outputs, padded, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.maxpool_conv(x)
        return y


class Expand(nn.Module):
    """A 2x2 up-convolution, the joined features of the contracting path, two convolutions."""

    def __init__(self, inputs: int, outputs: int, padded: bool, batch_norm: bool) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, kernel_size=2, stride=2)
        self.conv = TwoConvolutions(inputs, outputs, padded, batch_norm)

    def forward(self, below: Tensor, across: Tensor) -> Tensor:
        up = self.up(below)
        rows, columns = across.shape[2] - up.shape[2], across.shape[3] - up.shape[3]
        before = rows // 2, columns // 2
        # A negative width of F.pad crops: features without padding are wider than what comes from below.
        if self.conv.double_conv[0].padding == "same":
            up = F.pad(up, (before[1], columns - before[1], before[0], rows - before[0]))
        else:
            across = F.pad(across, (-before[1], before[1] - columns, -before[0], before[0] - rows))
        y: Tensor = self.conv(torch.cat((across, up), dim=1))
        return y


class Last(nn.Module):
    """The 1x1 convolution to the classes."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class UNet(nn.Module):
    """Contracting path, expanding path, and the features that go across at each level."""

    def __init__(self, channels: int, classes: int, width: int, depth: int, padded: bool, batch_norm: bool) -> None:
        super().__init__()
        self.inc = TwoConvolutions(channels, width, padded, batch_norm)
        self.depth, maps = depth, width
        for level in range(1, depth + 1):
            self.add_module(f"down{level}", Contract(maps, 2 * maps, padded, batch_norm))
            maps *= 2
        for level in range(1, depth + 1):
            self.add_module(f"up{level}", Expand(maps, maps // 2, padded, batch_norm))
            maps //= 2
        self.outc = Last(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # section 3: a normal distribution of standard deviation sqrt(2 / N)
                nn.init.normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        across = []
        x = self.inc(x)
        for level in range(1, self.depth + 1):
            across.append(x)
            x = self.get_submodule(f"down{level}")(x)
        for level in range(1, self.depth + 1):
            x = self.get_submodule(f"up{level}")(x, across.pop())
        y: Tensor = self.outc(x)
        return y


def build(
    n_channels: int = 1, n_classes: int = 2, width: int = 64, depth: int = 4, padded: bool = False, batch_norm: bool = False
) -> nn.Module:
    """The model with its own initial weights."""
    return UNet(n_channels, n_classes, width, depth, padded, batch_norm)


def middle(whole: Tensor, height: int, width: int) -> Tensor:
    """The middle of maps or masks whose last two axes are rows and columns."""
    top, left = (whole.shape[-2] - height) // 2, (whole.shape[-1] - width) // 2
    return whole.narrow(-2, top, height).narrow(-1, left, width)


def loss(model: nn.Module, x: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean cross-entropy of the labeled pixels; with weights, the mean over all pixels of weight times cross-entropy."""
    y: Tensor = model(x)
    mask = middle(mask, y.shape[2], y.shape[3])
    if weights is None:
        return F.cross_entropy(y, mask, ignore_index=UNLABELED)
    each = F.cross_entropy(y, mask, ignore_index=UNLABELED, reduction="none")
    return (middle(weights, y.shape[2], y.shape[3]) * each).mean()
