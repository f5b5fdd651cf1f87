"""Name tables: how Keras orders, names and lays out the variables of the layers that we have too. Data, with transpositions.

PyTorch's names and layouts are ours already.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Layout = Callable[[Array], Array]


def same(a: Array) -> Array:
    """As it is."""
    return a


def zeros(a: Array) -> Array:
    """Nothing: Keras has one bias where there are two here."""
    return np.zeros_like(a)


def transposed(a: Array) -> Array:
    """[in, out] -> [out, in]."""
    return a.T


def channels_first(a: Array) -> Array:
    """[..., in, out] -> [out, in, ...]: HWIO -> OIHW."""
    return np.moveaxis(a, (-1, -2), (0, 1))


def reset_first(a: Array) -> Array:
    """A GRU's gates in the order update, reset, candidate -> reset, update, candidate; [..., 3 hidden] -> [3 hidden, ...]."""
    update, reset, candidate = np.split(a, 3, axis=-1)
    return np.concatenate([reset, update, candidate], axis=-1).T


def first_reset_first(a: Array) -> Array:
    """The first row of a GRU's two biases."""
    return reset_first(a[0])


def second_reset_first(a: Array) -> Array:
    """The second row of a GRU's two biases."""
    return reset_first(a[1])


class Variable(NamedTuple):
    """One variable of a Keras layer: its name there, and which parameters here are made of it, and how."""

    keras: str
    ours: tuple[tuple[str, Layout], ...]


_BIAS = Variable("bias", (("bias", same),))
_DENSE = (Variable("kernel", (("weight", transposed),)), _BIAS)
_CONVOLUTION = (Variable("kernel", (("weight", channels_first),)), _BIAS)
_SCALE = (Variable("gamma", (("weight", same),)), Variable("beta", (("bias", same),)))
_RECURRENT = (
    Variable("kernel", (("weight_ih", transposed),)),
    Variable("recurrent_kernel", (("weight_hh", transposed),)),
    Variable("bias", (("bias_ih", same), ("bias_hh", zeros))),
)

KERAS: Mapping[str, tuple[Variable, ...]] = {
    "Linear": _DENSE,
    **{f"Conv{n}d": _CONVOLUTION for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": _CONVOLUTION for n in (1, 2, 3)},
    **{
        f"BatchNorm{n}d": (
            *_SCALE, Variable("moving_mean", (("running_mean", same),)), Variable("moving_variance", (("running_var", same),)),
        )
        for n in (1, 2, 3)
    },
    "LayerNorm": _SCALE,
    "GroupNorm": _SCALE,
    "RMSNorm": (Variable("scale", (("weight", same),)),),
    "Embedding": (Variable("embeddings", (("weight", same),)),),
    "LSTM": _RECURRENT,
    "RNN": _RECURRENT,
    "GRU": (
        Variable("kernel", (("weight_ih", reset_first),)),
        Variable("recurrent_kernel", (("weight_hh", reset_first),)),
        Variable("bias", (("bias_ih", first_reset_first), ("bias_hh", second_reset_first))),
    ),
}  # fmt: skip
"""The variables of a Keras layer in its order, by the class of the module that takes them."""

LEFT_OUT = ("num_batches_tracked",)
"""Last parts of foreign names that are not needed where our module has no such buffer: PyTorch counts batches."""


@dataclass(frozen=True)
class Reordered(ABC):
    """A layer `path` of ours whose weights have another shape or order in Keras."""

    path: str

    @abstractmethod
    def reordered(self, weight: Array) -> Array:
        """Return our weights, given Keras's with the axes of the layer's class."""


@dataclass(frozen=True)
class Flattened(Reordered):
    """A linear layer behind a flattened map, whose inputs Keras has in the order height, width, channels.

    `maps`: (channels, height, width), which is the order here.
    """

    maps: tuple[int, int, int]

    def reordered(self, weight: Array) -> Array:
        """[out, height * width * channels] -> [out, channels * height * width]."""
        channels, height, width = self.maps
        return weight.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).reshape(len(weight), -1)


class Depthwise(Reordered):
    """A convolution with one group for each channel, which is a layer of another class in Keras."""

    def reordered(self, weight: Array) -> Array:
        """[multiplier, channels, *kernel] -> [channels * multiplier, 1, *kernel]."""
        multiplier, channels, *kernel = weight.shape
        return np.swapaxes(weight, 0, 1).reshape(channels * multiplier, 1, *kernel)


class Pointwise(Reordered):
    """A linear layer that is a 1x1 convolution in Keras."""

    def reordered(self, weight: Array) -> Array:
        """[out, in, 1, 1] -> [out, in]."""
        return weight.reshape(weight.shape[:2])


Names = Mapping[str, "str | Reordered | None"]
"""Foreign names, or prefixes of them, -> ours; None leaves an array out."""
