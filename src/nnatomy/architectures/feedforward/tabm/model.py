"""TabM: k multi-layer perceptrons in one, which share their weight matrices, behind piecewise-linear embeddings of numbers.

Here are the embeddings, the three ways to hold k members in one network, and the loss. Training is in recipe.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy import init, ops
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import batch_mean, cross_entropy
from nnatomy.layers import Dropout, Linear, ReLU, Sequential
from nnatomy.layers.module import Module
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float

Array = npt.NDArray[Any]

VARIANTS = ("tabm", "mini", "packed")
STARTS = ("normal", "random_signs")
NARROWEST = 0.01
"""The least width of a bin, in standard deviations: outside the training data the outer bins go on with the slope 1 / width."""


# Embeddings of numbers


def quantile_bins(x: Array, bins: int) -> list[Array]:
    """Return the edges of at most `bins` bins of each column of x (N, numbers): its quantiles, each once.

    Quantiles nearer to each other than NARROWEST are one. Source: Gorishniy, Rubachev and Babenko (2022), section 3.2.1.
    """
    edges = []
    for column in np.quantile(x.astype(np.float64), np.linspace(0, 1, bins + 1), axis=0).T:
        own = np.unique(np.round(column / NARROWEST)) * NARROWEST
        edges.append(own if len(own) > 1 else np.array([own[0], own[0] + 1]))
    return edges


class PiecewiseLinearEncoding(Module):
    """How far a number x has come through each of its bins: u_t = (x - b_(t-1)) / (b_t - b_(t-1)), and e_t = clip(u_t, 0, 1).

    The first bin is not clipped below and the last not above, so that numbers outside the training data still differ. A number
    with fewer bins than others has its last bin at the last place, and zeros between. Buffers: weight = 1 / (b_t - b_(t-1)) and
    bias = -b_(t-1) weight, (numbers, bins). Source: Gorishniy, Rubachev and Babenko (2022), equation 1.
    """

    def __init__(self, numbers: int, bins: int) -> None:
        self.weight, self.bias = Tensor(np.zeros((numbers, bins), np.float32)), Tensor(np.zeros((numbers, bins), np.float32))
        self.set_edges([np.linspace(-2, 2, bins + 1)] * numbers)

    def set_edges(self, edges: Sequence[Array]) -> None:
        """Take the bins of each number from its increasing edges."""
        weight, bias = (np.zeros(self.weight.shape, np.float32) for _ in range(2))
        for j, b in enumerate(edges):
            places = [*range(len(b) - 2), self.weight.shape[1] - 1]
            weight[j, places], bias[j, places] = 1 / np.diff(b), -b[:-1] / np.diff(b)
        self.weight.copy_(Tensor(weight))
        self.bias.copy_(Tensor(bias))

    def forward(self, x: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch numbers bins"]:
        u = x[:, :, None] * self.weight + self.bias
        if u.shape[2] == 1:
            return u
        first, between, last = u[:, :, :1], u[:, :, 1:-1], u[:, :, -1:]
        only = ops.equal(self.weight[:, :1], 0.0)  # the number's last bin is its first bin, too
        last = ops.where(only, last, ops.maximum(last, 0.0))
        return ops.concatenate([ops.minimum(first, 1.0), ops.clip(between, 0.0, 1.0), last], axis=2)  # type: ignore[no-any-return]


class LinearEmbeddings(Module):
    """x_j w_j + c_j for each number x_j; weight and bias (numbers, size)."""

    def __init__(self, numbers: int, size: int) -> None:
        bound = 1 / math.sqrt(size)
        self.weight = Parameter(init.uniform((numbers, size), -bound, bound))
        self.bias = Parameter(init.uniform((numbers, size), -bound, bound))

    def forward(self, x: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch numbers size"]:
        return x[:, :, None] * self.weight + self.bias


class LinearForEach(Module):
    """e_j W_j for each number's encoding e_j; weight (numbers, bins, size), which starts at 0."""

    def __init__(self, numbers: int, bins: int, size: int) -> None:
        self.weight = Parameter(init.zeros((numbers, bins, size)))

    def forward(self, e: Float[Tensor, "batch numbers bins"]) -> Float[Tensor, "batch numbers size"]:
        return (e.transpose((1, 0, 2)) @ self.weight).transpose((1, 0, 2))


class PiecewiseLinearEmbeddings(Module):
    """g_j = x_j w_j + c_j + e_j W_j: a straight line at first, which learns another slope in each bin.

    There is no ReLU: with W = 0 its slope would be 0, and W would never move. Source: Gorishniy, Kotelnikov and Babenko
    (2024), appendix; "version B" of the package rtdl_num_embeddings.
    """

    def __init__(self, numbers: int, bins: int, size: int) -> None:
        self.linear0 = LinearEmbeddings(numbers, size)
        self.impl = PiecewiseLinearEncoding(numbers, bins)
        self.linear = LinearForEach(numbers, bins, size)

    def forward(self, x: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch numbers size"]:
        return self.linear0(x) + self.linear(self.impl(x))  # type: ignore[no-any-return]


# Layers with k members; axis 1 is the member, of size 1 where all members still have the same values


def random_scales(k: int, groups: Sequence[int], start: str) -> Array:
    """Return (k, features) draws of N(0, 1) or of -1 and 1: one for each member and group, for all features of the group."""
    draws = np.asarray(init.normal((k, max(groups) + 1)))
    return (np.where(draws > 0, 1, -1) if start == "random_signs" else draws)[:, np.asarray(groups)].astype(np.float32)


class Scale(Module):
    """h * r_i for member i; weight r (k, features)."""

    def __init__(self, start: Array) -> None:
        self.weight = Parameter(start)

    def forward(self, h: Float[Tensor, "batch _ features"]) -> Float[Tensor, "batch k features"]:
        return h * self.weight


class BatchEnsembleLinear(Module):
    """((h * r_i) W^T) * s_i + b_i for member i: a linear layer whose matrix W o (s_i r_i^T) costs a member two vectors.

    weight W (out, in), r (k, in), s (k, out), bias (k, out). All members start with the same bias, and with s = 1.
    Source: Wen, Tran and Ba (2020), equation 5.
    """

    def __init__(self, r: Array, outputs: int) -> None:
        k, inputs = r.shape
        bound = 1 / math.sqrt(inputs)
        self.weight = Parameter(init.uniform((outputs, inputs), -bound, bound))
        self.r, self.s = Parameter(r), Parameter(np.ones((k, outputs), np.float32))
        self.bias = Parameter(np.tile(init.uniform((1, outputs), -bound, bound), (k, 1)))

    def forward(self, h: Float[Tensor, "batch _ inputs"]) -> Float[Tensor, "batch k outputs"]:
        return ((h * self.r) @ self.weight.T) * self.s + self.bias


class LinearEnsemble(Module):
    """h W_i + b_i for member i: k separate linear layers; weight (k, in, out), bias (k, out)."""

    def __init__(self, k: int, inputs: int, outputs: int) -> None:
        bound = 1 / math.sqrt(inputs)
        self.weight = Parameter(init.uniform((k, inputs, outputs), -bound, bound))
        self.bias = Parameter(init.uniform((k, outputs), -bound, bound))

    def forward(self, h: Float[Tensor, "batch _ inputs"]) -> Float[Tensor, "batch k outputs"]:
        return (h.transpose((1, 0, 2)) @ self.weight).transpose((1, 0, 2)) + self.bias


# The network


class Backbone(Module):
    """Blocks of a linear layer, ReLU and dropout, for k members.

    "tabm": BatchEnsembleLinear, of which only the first r is random at the start, so that members are alike in all else.
    "mini": one Scale, then layers that all members share. "packed": LinearEnsemble, nothing is shared.
    """

    def __init__(
        self, groups: Sequence[int], k: int, blocks: int, width: int, dropout: float, variant: str, start: str
    ) -> None:
        self.affine = Scale(random_scales(k, groups, start)) if variant == "mini" else None
        self.blocks = []
        for number in range(blocks):
            inputs = width if number else len(groups)
            if variant == "tabm":
                r = np.ones((k, inputs), np.float32) if number else random_scales(k, groups, start)
                layer: Module = BatchEnsembleLinear(r, width)
            else:
                layer = Linear(inputs, width) if variant == "mini" else LinearEnsemble(k, inputs, width)
            self.blocks.append(Sequential(layer, ReLU(), Dropout(dropout)))

    def forward(self, h: Float[Tensor, "batch _ features"]) -> Float[Tensor, "batch k width"]:
        h = h if self.affine is None else self.affine(h)
        for block in self.blocks:
            h = block(h)
        return h


class TabM(Module):
    """k members read the same features, h = [embedded numbers, other features], and their predictions are averaged.

    Args:
        features: numbers in an example; images and the like are flattened
        outputs: classes, or predicted numbers
        classify: outputs are scores of classes, of which the probabilities are averaged; otherwise they are averaged themselves
        k: members
        blocks, width, dropout: hidden layers, their units, and the probability that one is 0 in a training step
        variant: one of VARIANTS
        start: one of STARTS, of the first scale
        numbers: the places of the features that are embedded, if there are `bins`
        bins, embedding: places of the encoding of each number, and features that it becomes; no bins: nothing is embedded
        groups: for each feature, the number of the column that it was made of: features of a column start with one scale

    Raises:
        UserError: for sizes below 1, another variant or start, and places or groups that are not those of features
    """

    def __init__(
        self, features: int, outputs: int, classify: bool = True, k: int = 32, blocks: int = 2, width: int = 512,
        dropout: float = 0.1, variant: str = "tabm", start: str = "normal", numbers: Sequence[int] = (), bins: int = 0,
        embedding: int = 16, groups: Sequence[int] = (),
    ) -> None:  # fmt: skip
        sizes = {"features": features, "outputs": outputs, "k": k, "blocks": blocks, "width": width, "embedding": embedding}
        if min(sizes.values()) < 1 or bins < 0:
            said = ", ".join(f"{name} {size}" for name, size in (sizes | {"bins": bins}).items())
            raise UserError(f"All sizes of a TabM are at least 1, and bins 0 or more. Received {said}. Use k=32, bins=48.")
        for name, value, known in (("variant", variant, VARIANTS), ("start", start, STARTS)):
            if value not in known:
                raise unknown_name(name, value, known)
        if not all(0 <= place < features for place in numbers) or len(set(numbers)) < len(numbers):
            raise UserError(
                f"Embedded numbers are different features, by their places from 0 to {features - 1}. Received "
                f"{tuple(numbers)}. Use numbers=(0,)."
            )
        if groups and (len(groups) != features or min(groups) < 0):
            raise UserError(
                f"Groups name the column of each of the {features} features. Received {len(groups)} for a smallest of "
                f"{min(groups)}. Use groups=()."
            )
        self.classify, self.k = classify, k
        embedded = tuple(numbers) if bins else ()
        self.numbers = np.array(embedded, np.int64)
        self.others = np.array([place for place in range(features) if place not in embedded], np.int64)
        groups = tuple(groups) or range(features)
        groups = [groups[place] for place in embedded for _ in range(embedding)] + [groups[place] for place in self.others]
        self.num_module = PiecewiseLinearEmbeddings(len(embedded), bins, embedding) if embedded else None
        self.backbone = Backbone(groups, k, blocks, width, dropout, variant, start)
        self.output = LinearEnsemble(k, width, outputs)

    def features(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch features"]:
        """Return what all members read: the embeddings of the numbers, one after the other, and the other features."""
        x = x.flatten(1)
        if self.num_module is None:
            return x
        return ops.concatenate([self.num_module(x[:, self.numbers]).flatten(1), x[:, self.others]], axis=1)  # type: ignore[no-any-return]

    def members(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch k outputs"]:
        """Return the scores or numbers of each member."""
        return self.output(self.backbone(self.features(x)[:, None, :]))  # type: ignore[no-any-return]

    def average(self, z: Float[Tensor, "batch k outputs"]) -> Float[Tensor, "batch outputs"]:
        """Return ln(1/k sum_i softmax(z_i)), whose softmax is the mean probability; the mean of z_i where these are numbers."""
        if not self.classify:
            return z.mean(axis=1)
        return ops.logsumexp(ops.log_softmax(z, axis=2), axis=1) - math.log(self.k)  # type: ignore[no-any-return]

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        return self.average(self.members(x))


def build(
    features: int, outputs: int, classify: bool = True, k: int = 32, blocks: int = 2, width: int = 512, dropout: float = 0.1,
    variant: str = "tabm", start: str = "normal", numbers: Sequence[int] = (), bins: int = 0, embedding: int = 16,
    groups: Sequence[int] = (),
) -> TabM:  # fmt: skip
    """Return a TabM from plain values."""
    return TabM(features, outputs, classify, k, blocks, width, dropout, variant, start, numbers, bins, embedding, groups)


def loss(model: TabM, x: Float[Tensor, "batch ..."], targets: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Return the mean of the members' own losses, not the loss of their mean; and the average prediction.

    A member's loss is the cross-entropy for class ids (batch,), and the squared error for numbers (batch, outputs).
    Source: Gorishniy, Kotelnikov and Babenko (2024), section 3.
    """
    z = model.members(x)
    if model.classify:
        own = cross_entropy(z.transpose((0, 2, 1)), ops.repeat(targets[:, None], (1, model.k)))
    else:
        own = batch_mean((z - targets[:, None, :]).square())
    return own, model.average(z)
