"""CoAtNet in PyTorch: an independent twin, written from Dai, Liu, Le and Tan (2021).
It shares nothing with the architecture's model but the names and shapes of its state."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Table 3: widths and depths of the stages S1 to S4, width of the stem S0.
SIZES = {
    "0": ((96, 192, 384, 768), (2, 3, 5, 2), 64),
    "1": ((96, 192, 384, 768), (2, 6, 14, 2), 64),
    "2": ((128, 256, 512, 1024), (2, 6, 14, 2), 128),
    "3": ((192, 384, 768, 1536), (2, 6, 14, 2), 192),
}


class BatchNorm(nn.Module):
    """torch.nn.BatchNorm2d without its counter of batches."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(maps)), nn.Parameter(torch.zeros(maps))
        self.register_buffer("running_mean", torch.zeros(maps))
        self.register_buffer("running_var", torch.ones(maps))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, 1e-5)


class MapNorm(nn.LayerNorm):
    """Layer normalization over the maps at each place."""

    def __init__(self, maps: int) -> None:
        super().__init__(maps, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, 3)).movedim(3, 1)


class Shortcut(nn.Module):
    """Means of 2 x 2 where the block halves the sides, a 1x1 convolution where it has other maps."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.expand = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.expand(F.avg_pool2d(x, 2) if self.stride == 2 else x)


class SqueezeExcitation(nn.Module):
    """Each map times a number in [0, 1] that two layers make of the means of all maps."""

    def __init__(self, maps: int, squeezed: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(maps, squeezed, 1), nn.Conv2d(squeezed, maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(x.mean((2, 3), keepdim=True)))))


class MBConv(nn.Module):
    """x + a convolution of each map alone, between two that mix maps, the wide ones in the middle."""

    def __init__(self, inputs: int, outputs: int, stride: int, stride_in: str, squeeze: float) -> None:
        super().__init__()
        wide, first = 4 * outputs, stride if stride_in == "1x1" else 1
        self.shortcut = Shortcut(inputs, outputs, stride)
        self.pre_norm = BatchNorm(inputs)
        self.conv1_1x1 = nn.Conv2d(inputs, wide, 1, first, bias=False)
        self.norm1 = BatchNorm(wide)
        self.conv2_kxk = nn.Conv2d(wide, wide, 3, stride // first, 1, groups=wide, bias=False)
        self.norm2 = BatchNorm(wide)
        self.se = SqueezeExcitation(wide, int(squeeze * outputs)) if squeeze else nn.Identity()
        self.conv3_1x1 = nn.Conv2d(wide, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.norm1(self.conv1_1x1(self.pre_norm(x))))
        y = F.gelu(self.norm2(self.conv2_kxk(y)))
        return self.shortcut(x) + self.conv3_1x1(self.se(y))


class RelativePositions(nn.Module):
    """A number for each head and each distance between two places of an h x w map; (heads, h w, h w)."""

    def __init__(self, sides: tuple[int, int], heads: int) -> None:
        super().__init__()
        height, width = sides
        self.relative_position_bias_table = nn.Parameter(0.02 * torch.randn((2 * height - 1) * (2 * width - 1), heads))
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        down, right = (place.flatten()[:, None] - place.flatten()[None, :] for place in (y, x))
        self.index = (down + height - 1) * (2 * width - 1) + right + width - 1

    def forward(self) -> Tensor:
        return self.relative_position_bias_table[self.index].movedim(2, 0)


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d) + relative positions) v, by torch's scaled_dot_product_attention."""

    def __init__(self, inputs: int, outputs: int, heads: int, sides: tuple[int, int]) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Conv2d(inputs, 3 * outputs, 1), nn.Conv2d(outputs, outputs, 1)
        self.rel_pos = RelativePositions(sides, heads)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.mT for part in self.qkv(x).flatten(2).unflatten(1, (self.heads, -1)).chunk(3, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v, self.rel_pos())
        return self.proj(mixed.mT.flatten(1, 2).unflatten(2, x.shape[2:]))


class MLP(nn.Module):
    """W_2 gelu(W_1 x) at each place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(width, 4 * width, 1), nn.Conv2d(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Transformer(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); equation 4 where the sides are halved."""

    def __init__(self, inputs: int, outputs: int, stride: int, heads: int, sides: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride
        self.shortcut = Shortcut(inputs, outputs, stride)
        self.norm1 = nn.ModuleDict({"norm": MapNorm(inputs)}) if stride == 2 else MapNorm(inputs)
        self.attn = Attention(inputs, outputs, heads, sides)
        self.norm2, self.mlp = MapNorm(outputs), MLP(outputs)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.norm1, nn.ModuleDict):
            a = F.avg_pool2d(self.norm1["norm"](x), 2)
        else:
            a = self.norm1(x)
        x = self.shortcut(x) + self.attn(a)
        return x + self.mlp(self.norm2(x))


class CoAtNet(nn.Module):
    """A stem of convolutions, stages of MBConv or transformer blocks, and a head on the mean over places."""

    def __init__(
        self, sides: tuple[int, int], channels: int, classes: int, widths: Sequence[int], depths: Sequence[int], stem: int,
        layout: str, strides: Sequence[int], head_size: int, head_width: int, stride_in: str, squeeze: float,
    ) -> None:  # fmt: skip
        super().__init__()
        height, width = (side // strides[0] for side in sides)
        conv1 = nn.Conv2d(channels, stem, 3, strides[0], 1, bias=False)
        self.stem = nn.ModuleDict(
            {"conv1": conv1, "norm1": BatchNorm(stem), "conv2": nn.Conv2d(stem, stem, 3, 1, 1, bias=False)}
        )  # fmt: skip
        self.stages, inputs = nn.ModuleList(), stem
        for letter, outputs, depth, halve in zip(layout, widths, depths, strides[1:], strict=True):
            height, width = height // halve, width // halve
            blocks: list[nn.Module] = []
            for j in range(depth):
                maps, stride = (outputs, 1) if j else (inputs, halve)
                if letter == "C":
                    blocks.append(MBConv(maps, outputs, stride, stride_in, squeeze))
                else:
                    blocks.append(Transformer(maps, outputs, stride, outputs // head_size, (height, width)))
            self.stages.append(nn.ModuleDict({"blocks": nn.Sequential(*blocks)}))
            inputs = outputs
        head: dict[str, nn.Module] = {"norm": nn.LayerNorm(inputs, eps=1e-6)}
        if head_width:
            head["pre_logits"] = nn.ModuleDict({"fc": nn.Linear(inputs, head_width)})
        head["fc"] = nn.Linear(head_width or inputs, classes)
        self.head = nn.ModuleDict(head)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem["conv2"](F.gelu(self.stem["norm1"](self.stem["conv1"](x))))
        for stage in self.stages:
            blocks: nn.Module = stage["blocks"]
            x = blocks(x)
        x = self.head["norm"](x.mean((2, 3)))
        if "pre_logits" in self.head:
            x = torch.tanh(self.head["pre_logits"]["fc"](x))
        return self.head["fc"](x)


def build(
    size: str = "0",
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    classes: int = 1000,
    widths: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    stem: int | None = None,
    layout: str = "CCTT",
    strides: Sequence[int] | None = None,
    head_size: int | None = None,
    head_width: int | None = None,
    stride_in: str = "3x3",
    squeeze: float = 0.25,
) -> CoAtNet:
    """The network with PyTorch's own initial weights; a value that is given replaces that of table 3."""
    if size not in SIZES:
        raise ValueError(f"size is '0', '1', '2' or '3'. Received {size!r}. Use size='0'.")
    if stride_in not in ("3x3", "1x1"):
        raise ValueError(f"stride_in is '3x3' or '1x1'. Received {stride_in!r}. Use stride_in='3x3'.")
    listed_widths, listed_depths, listed_stem = SIZES[size]
    widths = listed_widths if widths is None else widths
    sides = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
    return CoAtNet(
        sides, channels, classes, widths, listed_depths if depths is None else depths, listed_stem if stem is None else stem,
        layout, strides or [2] * (len(layout) + 1), head_size or 32, widths[-1] if head_width is None else head_width,
        stride_in, squeeze,
    )  # fmt: skip


def loss(model: CoAtNet, images: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(model(images), labels)
