"""LeNet-5 (LeCun, Bottou, Bengio and Haffner 1998): the form that the paper describes, and the one that is common today.

Training is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy import functional as F
from nnatomy import ops, random
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import AvgPool2d, Conv2d, Linear
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"tanh": ops.tanh, "relu": ops.relu}


class LeNet5(Module):
    """The modern form: mean pooling, every map of C3 sees all maps of S2, and a linear output layer for the softmax.

    `classes`: outputs. `activation`: "tanh", as in the paper, or "relu". `channels`: of an image, 1 for gray and 3 for color.
    61,706 parameters for ten classes of gray images. Raises UserError for fewer than two classes and for another activation.
    """

    def __init__(self, classes: int = 10, activation: str = "tanh", channels: int = 1) -> None:
        _check_classes(classes)
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        self.activation = activation
        self.c1 = Conv2d(channels, 6, 5, padding=2)
        self.s2 = AvgPool2d(2)
        self.c3 = Conv2d(6, 16, 5)
        self.s4 = AvgPool2d(2)
        self.c5 = Linear(400, 120)
        self.f6 = Linear(120, 84)
        self.output = Linear(84, classes)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """One score a class. Raises UserError for images of another size."""
        wanted = (self.c1.weight.shape[1], 28, 28)
        if x.shape[1:] != wanted:
            shape = ", ".join(map(str, wanted))
            raise UserError(f"This LeNet-5 reads images [batch, {shape}]. Received shape {x.shape}. Resize them.")
        act = ACTIVATIONS[self.activation]
        x = self.s2(act(self.c1(x)))  # [batch, 6, 14, 14]
        x = self.s4(act(self.c3(x)))  # [batch, 16, 5, 5]
        x = ops.flatten(x, 1)  # [batch, 400]
        x = act(self.c5(x))
        x = act(self.f6(x))
        return self.output(x)  # type: ignore[no-any-return]


# The paper's form. First its parts, in the order of section II.B.

TABLE_I = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip
"""Which maps of S2 each of the sixteen maps of C3 sees. It breaks the symmetry between them and saves connections."""


def squash(a: Any) -> Any:
    """f(a) = A tanh(S a) with A = 1.7159 and S = 2/3, so that f(1) = 1 and f(-1) = -1 (eq. 6 and appendix A)."""
    return 1.7159 * ops.tanh(2 / 3 * a)


class Subsampling(Module):
    """y = weight * (sum of each 2x2 square) + bias, one weight and one bias a map: layers S2 and S4."""

    def __init__(self, maps: int) -> None:
        self.weight = _small((maps,), fan_in=4)
        self.bias = _small((maps,), fan_in=4)

    def forward(self, x: Float[Tensor, "batch maps height width"]) -> Float[Tensor, "batch maps half_height half_width"]:
        """Maps of half the height and half the width."""
        total = 4 * ops.avg_pool(x, 2)
        return total * ops.reshape(self.weight, (-1, 1, 1)) + ops.reshape(self.bias, (-1, 1, 1))  # type: ignore[no-any-return]


class PartialConv(Module):
    """A 5x5 convolution in which output map o sees the input maps of `table[o]` alone: layer C3.

    `weight` [connections, 5, 5] holds the kernels in the order of the table, `bias` [outputs].
    """

    def __init__(self, table: tuple[tuple[int, ...], ...] = TABLE_I) -> None:
        self._outputs = np.repeat(np.arange(len(table)), [len(row) for row in table])
        self._inputs = np.concatenate([np.array(row) for row in table])
        self._shape = (len(table), int(self._inputs.max()) + 1, 5, 5)
        fan_in = np.array([25 * len(row) for row in table])
        self.weight = _small((len(self._inputs), 5, 5), fan_in=fan_in[self._outputs][:, None, None])
        self.bias = _small((len(table),), fan_in=fan_in)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        """The kernels, put in their places among zeros, applied to the maps."""
        nothing = B.zeros(self._shape, dtype=self.weight.dtype)
        kernels = ops.index_put(nothing, (self._outputs, self._inputs), self.weight)  # [16, 6, 5, 5]
        return ops.conv(x, kernels, self.bias)  # type: ignore[no-any-return]


# Target outputs of F6 for the ten digits, in the spirit of figure 3: 7 x 12 pixels, # is +1 and . is -1.
DIGITS = """
..###.. ...#... .#####. .#####. ....#.. ####### ..####. ####### .#####. .#####.
.#...#. ..##... #.....# #.....# ...##.. #...... .#..... ......# #.....# #.....#
#.....# .#.#... ......# ......# ..#.#.. #...... #...... ......# #.....# #.....#
#.....# ...#... ......# ......# .#..#.. #...... #...... .....#. #.....# #.....#
#.....# ...#... .....#. ..####. #...#.. ######. ######. .....#. .#####. .######
#.....# ...#... ....#.. ......# #...#.. ......# #.....# ....#.. #.....# ......#
#.....# ...#... ...#... ......# ####### ......# #.....# ....#.. #.....# ......#
#.....# ...#... ..#.... ......# ....#.. ......# #.....# ...#... #.....# ......#
.#...#. ...#... .#..... #.....# ....#.. #.....# #.....# ...#... #.....# .....#.
..###.. .#####. ####### .#####. ....#.. .#####. .#####. ...#... .#####. .####..
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


def digit_codes() -> NDArray[Any]:
    """The ten bitmaps of DIGITS as rows of 84 numbers, +1 or -1."""
    rows = [line.split() for line in DIGITS.strip().splitlines()]
    return np.array([[1.0 if c == "#" else -1.0 for row in rows for c in row[digit]] for digit in range(10)])


def random_codes(classes: int, seed: int = 1998) -> NDArray[Any]:
    """Codes of 84 numbers, +1 or -1 with equal chance, the same for every model. The paper names them as an alternative."""
    return np.where(np.asarray(Generator(seed).bernoulli((classes, 84), 0.5)), 1.0, -1.0)


class LeNet5Paper(Module):
    """LeNet-5 as published: trainable sub-sampling, Table I, scaled tanh, and distances to fixed codes as outputs.

    `classes`: outputs; ten have the codes of the digits' bitmaps, other numbers random ones. `scores`: give the penalties with
    their sign reversed, so that the largest wins, as in other classifiers. 60,000 parameters for any number of classes: the
    codes are not learned. Raises UserError for fewer than two classes.
    """

    def __init__(self, classes: int = 10, scores: bool = False) -> None:
        _check_classes(classes)
        self.scores = scores
        self.c1 = Conv2d(1, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = PartialConv(TABLE_I)
        self.s4 = Subsampling(16)
        self.c5 = Conv2d(16, 120, 5)
        self.f6 = Linear(120, 84)
        self.codes = Tensor((digit_codes() if classes == 10 else random_codes(classes)).astype(np.float32))
        for layer, fan_in in ((self.c1, 25), (self.c5, 400), (self.f6, 120)):
            layer.weight = _small(layer.weight.shape, fan_in)
            layer.bias = _small((layer.weight.shape[0],), fan_in)

    def forward(self, x: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch classes"]:
        """The penalties y_i = sum_j (x_j - w_ij)^2 (eq. 7): the smallest one is the prediction.

        Images are 32 x 32; those of 28 x 28 get a frame of two pixels, the edge repeated. Raises UserError for other sizes.
        """
        if x.shape[2:] == (28, 28):
            x = ops.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
        if x.shape[2:] != (32, 32):
            raise UserError(f"LeNet-5 reads images of 28 x 28 or 32 x 32. Received {x.shape[2]} x {x.shape[3]}. Resize them.")
        x = squash(self.c1(x))  # [batch, 6, 28, 28]
        x = squash(self.s2(x))  # [batch, 6, 14, 14]
        x = squash(self.c3(x))  # [batch, 16, 10, 10]
        x = squash(self.s4(x))  # [batch, 16, 5, 5]
        x = squash(self.c5(x))  # [batch, 120, 1, 1]
        x = squash(self.f6(ops.flatten(x, 1)))  # [batch, 84]
        y = ops.square(x[:, None, :] - self.codes).sum(axis=2)
        return -y if self.scores else y  # type: ignore[no-any-return]


def loss(
    model: Module, x: Float[Tensor, "batch channels height width"], targets: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes"]]:
    """Cross-entropy for the modern form, `map_criterion` for the paper's; and the outputs."""
    out = model(x)
    if isinstance(model, LeNet5Paper):
        return map_criterion(-out if model.scores else out, targets), out
    return F.cross_entropy(out, targets), out


def map_criterion(
    penalties: Float[Tensor, "batch classes"], targets: Int[Tensor, " batch"], j: float = 1.0
) -> Float[Tensor, ""]:
    """Mean over examples of y_target + log(e^-j + sum_i e^-y_i) (eq. 9).

    The first term pulls F6 toward the right code, the second pushes it from the wrong ones, the nearest most; penalties far
    above j are left alone. The paper requires only j > 0; 1 is this implementation's choice.
    """
    right = ops.gather(penalties, targets[:, None], axis=1)[:, 0]
    return F.batch_mean(right + ops.logaddexp(ops.logsumexp(-penalties, axis=1), -j))  # type: ignore[no-any-return]


def build(form: str = "modern", classes: int = 10, activation: str = "tanh", channels: int = 1) -> LeNet5 | LeNet5Paper:
    """A LeNet-5 from plain values: `form` is "modern" or "paper"; `activation` and `channels` concern the modern form alone."""
    if form == "modern":
        return LeNet5(classes, activation, channels)
    if form == "paper":
        return LeNet5Paper(classes)
    raise unknown_name("form", form, ("modern", "paper"))


def _check_classes(classes: int) -> None:
    if classes < 2:
        raise UserError(f"LeNet-5 needs two or more classes. Received {classes}. Give 2 or more.")


def _small(shape: tuple[int, ...], fan_in: Any) -> Parameter:
    """Uniform within 2.4 / fan_in on both sides of 0, where squashing is steepest (appendix A)."""
    return Parameter((random.default.uniform(shape, -1.0, 1.0) * (2.4 / fan_in)).astype("float32"))
