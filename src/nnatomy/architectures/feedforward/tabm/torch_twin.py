"""TabM in PyTorch: an independent twin, written from Gorishniy, Kotelnikov and Babenko (2024) and Wen, Tran and Ba (2020).
It shares nothing with the architecture's model but the names and shapes of its state."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def uniform(inputs: int, *shape: int) -> nn.Parameter:
    """A parameter in U(-1, 1) / sqrt(inputs)."""
    return nn.Parameter((2 * torch.rand(shape) - 1) / inputs**0.5)


class Bins(nn.Module):
    """The piecewise-linear encoding of numbers: how far each lies within each bin, of which the last is stored last."""

    weight: Tensor
    bias: Tensor

    def __init__(self, numbers: int, bins: int) -> None:
        super().__init__()
        start = torch.arange(bins) / bins  # bins of equal width on [0, 1]
        self.register_buffer("weight", torch.full((numbers, bins), float(bins)))
        self.register_buffer("bias", -bins * start.repeat(numbers, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, numbers) -> (batch, numbers, bins)"""
        u = self.weight * x[..., None] + self.bias
        if u.shape[-1] == 1:
            return u
        alone = self.weight[:, :1] == 0  # a number with a single bin, which is not clipped
        last = torch.where(alone, u[..., -1:], u[..., -1:].clamp(min=0))
        return torch.cat([u[..., :1].clamp(max=1), u[..., 1:-1].clamp(0, 1), last], dim=-1)


class Numbers(nn.Module):
    """x W_0 + b_0 + e W: a vector for each number x and its encoding e."""

    def __init__(self, numbers: int, bins: int, embedding: int) -> None:
        super().__init__()
        self.linear0 = nn.ParameterDict({"weight": uniform(1, numbers, embedding), "bias": uniform(1, numbers, embedding)})
        self.impl = Bins(numbers, bins)
        self.linear = nn.ParameterDict({"weight": uniform(bins, numbers, bins, embedding)})

    def forward(self, x: Tensor) -> Tensor:
        plain = x[..., None] * self.linear0["weight"] + self.linear0["bias"]
        return plain + torch.einsum("bnt,ntd->bnd", self.impl(x), self.linear["weight"])


class Layer(nn.Module):
    """A linear layer of k members: one matrix with scales around it ("tabm"), one for all ("mini"), or k ("packed")."""

    def __init__(self, k: int, inputs: int, outputs: int, variant: str) -> None:
        super().__init__()
        self.variant = variant
        self.weight = uniform(inputs, k, inputs, outputs) if variant == "packed" else uniform(inputs, outputs, inputs)
        self.bias = uniform(inputs, outputs) if variant == "mini" else uniform(inputs, k, outputs)
        if variant == "tabm":
            self.r, self.s = nn.Parameter(torch.ones(k, inputs)), nn.Parameter(torch.ones(k, outputs))

    def forward(self, h: Tensor) -> Tensor:
        """(batch, k, inputs) -> (batch, k, outputs)"""
        if self.variant == "packed":
            return torch.einsum("bki,kio->bko", h, self.weight) + self.bias
        if self.variant == "tabm":
            return F.linear(h * self.r, self.weight) * self.s + self.bias
        return F.linear(h, self.weight, self.bias)


class TabM(nn.Module):
    """k networks that share most of their weights, each with an output layer of its own."""

    def __init__(
        self, features: int, outputs: int, classify: bool, k: int, blocks: int, width: int, dropout: float, variant: str,
        numbers: Sequence[int], bins: int, embedding: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.classify, self.k = classify, k
        self.numbers = list(numbers) if bins else []
        self.others = [column for column in range(features) if column not in self.numbers]
        self.num_module = Numbers(len(self.numbers), bins, embedding) if self.numbers else None
        inputs = len(self.numbers) * embedding + len(self.others)
        self.backbone = nn.ModuleDict()
        if variant == "mini":
            self.backbone["affine"] = nn.ParameterDict({"weight": nn.Parameter(torch.randn(k, inputs))})
        sizes = [inputs, *[width] * blocks]
        self.backbone["blocks"] = nn.ModuleList(
            nn.Sequential(Layer(k, sizes[i], width, variant), nn.ReLU(), nn.Dropout(dropout)) for i in range(blocks)
        )
        if variant == "tabm":
            nn.init.normal_(self.backbone["blocks"][0][0].r)
        self.output = Layer(k, sizes[-1], outputs, "packed")

    def members(self, x: Tensor) -> Tensor:
        """(batch, features) -> (batch, k, outputs): what each member says."""
        if self.num_module is not None:
            x = torch.cat([self.num_module(x[:, self.numbers]).flatten(1), x[:, self.others]], dim=1)
        h = x[:, None].expand(-1, self.k, -1)
        if "affine" in self.backbone:
            h = h * self.backbone["affine"]["weight"]
        for block in self.backbone["blocks"]:
            h = block(h)
        return self.output(h)

    def forward(self, x: Tensor) -> Tensor:
        z = self.members(x)
        return z.softmax(2).mean(1).log() if self.classify else z.mean(1)


def build(
    features: int,
    outputs: int,
    classify: bool = True,
    k: int = 32,
    blocks: int = 2,
    width: int = 512,
    dropout: float = 0.1,
    variant: str = "tabm",
    start: str = "normal",
    numbers: Sequence[int] = (),
    bins: int = 0,
    embedding: int = 16,
    groups: Sequence[int] = (),
) -> TabM:
    """The ensemble with its own initial weights, whatever `start` and `groups` say of them."""
    if variant not in ("tabm", "mini", "packed"):
        raise ValueError(f"variant is 'tabm', 'mini' or 'packed'. Received {variant!r}. Use variant='tabm'.")
    return TabM(features, outputs, classify, k, blocks, width, dropout, variant, numbers, bins, embedding)


def loss(model: TabM, x: Tensor, targets: Tensor) -> Tensor:
    """The mean of the members' own losses: cross-entropies, or mean squared errors."""
    z = model.members(x)
    if model.classify:
        return F.cross_entropy(z.flatten(0, 1), targets.repeat_interleave(model.k))
    return F.mse_loss(z, targets[:, None].expand_as(z))
