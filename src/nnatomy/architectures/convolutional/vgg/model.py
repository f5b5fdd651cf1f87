"""VGG (Simonyan and Zisserman 2014): stages of 3x3 convolutions and halvings, and three fully connected layers.

All columns of the paper's table 1, with batch normalization if wanted. Training is in recipe.py, the theory in page.md. Names
are torchvision's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import BatchNorm2d, Conv2d, Dropout, Linear, LocalResponseNorm, MaxPool2d, ReLU
from nnatomy.layers.module import Module, Sequential
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "A": ("3", "3", "33", "33", "33"),  # 11 layers with weights, three of them fully connected
    "A-LRN": ("3L", "3", "33", "33", "33"),
    "B": ("33", "33", "33", "33", "33"),  # 13
    "C": ("33", "33", "331", "331", "331"),  # 16
    "D": ("33", "33", "333", "333", "333"),  # 16
    "E": ("33", "33", "3333", "3333", "3333"),  # 19
}
"""The columns of table 1: the five stages, and in each the kernels' sides; L is local response normalization."""

WIDTHS = (1, 2, 4, 8, 8)
"""Maps of the stages, as multiples of those of the first one."""


def stage(layers: str, inputs: int, outputs: int, batch_norm: bool) -> list[Module]:
    """Return the layers of one stage, (batch, inputs, height, width) -> (batch, outputs, height / 2, width / 2)."""
    made: list[Module] = []
    for kernel in layers:
        if kernel == "L":
            # alpha multiplies the sum over 5 maps in Krizhevsky et al. (2012), and their mean in this layer, as in PyTorch
            made.append(LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2))
            continue
        made.append(Conv2d(inputs, outputs, int(kernel), padding=int(kernel) // 2))
        made += [BatchNorm2d(outputs), ReLU()] if batch_norm else [ReLU()]
        inputs = outputs
    return [*made, MaxPool2d(2)]


class VGG(Module):
    """Stages of convolutions, each with a ReLU, that end by halving the sides; then three fully connected layers.

    Args:
        configuration: a column of table 1: "A" (11 layers), "A-LRN", "B" (13), "C" (16), "D" (16) or "E" (19)
        batch_norm: batch normalization before each ReLU of the convolutions (2015; not in the paper)
        classes: scores for each image
        channels: of an image
        size: sides of an image, a multiple of 2 ** stages
        width: maps of the first stage; the others have 2, 4, 8 and 8 times as many
        hidden: units of each of the two hidden fully connected layers
        stages: of the configuration's five stages, how many are built; small images survive fewer halvings
        dropout: probability that an output of the hidden fully connected layers is dropped in training

    The defaults are VGG-16: 138,357,544 parameters. Raises UserError for other names and for sizes that cannot be halved.

    Source: Simonyan and Zisserman (2014), table 1 and section 2.1.
    """

    def __init__(
        self, configuration: str = "D", batch_norm: bool = False, classes: int = 1000, channels: int = 3, size: int = 224,
        width: int = 64, hidden: int = 4096, stages: int = 5, dropout: float = 0.5,
    ) -> None:  # fmt: skip
        if configuration not in CONFIGURATIONS:
            raise unknown_name("configuration", configuration, tuple(CONFIGURATIONS))
        if not 1 <= stages <= 5 or min(classes, channels, size, width, hidden) < 1:
            raise UserError(
                "A VGG has 1 to 5 stages, and classes, channels, size, width and hidden of at least 1. Received "
                f"stages={stages}, classes={classes}, channels={channels}, size={size}, width={width}, hidden={hidden}. "
                "Use stages=3 and width=16."
            )
        if size % 2**stages:
            raise UserError(
                f"{stages} stages halve the sides of an image {stages} times. Received size={size}. "
                f"Use a multiple of {2**stages}, or fewer stages."
            )
        self.channels, self.size, self.side = channels, size, size // 2**stages
        features: list[Module] = []
        maps = channels
        for layers, times in zip(CONFIGURATIONS[configuration][:stages], WIDTHS, strict=False):
            features += stage(layers, maps, times * width, batch_norm)
            maps = times * width
        self.features = Sequential(*features)
        self.classifier = Sequential(
            Linear(maps * self.side**2, hidden), ReLU(), Dropout(dropout),
            Linear(hidden, hidden), ReLU(), Dropout(dropout),
            Linear(hidden, classes),
        )  # fmt: skip
        start_weights(self)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return a score for each class. Raises UserError for images of another size or with other channels."""
        if x.ndim != 4 or tuple(x.shape[1:]) != (self.channels, self.size, self.size):
            raise UserError(
                f"This VGG takes images (batch, {self.channels}, {self.size}, {self.size}). Received shape {tuple(x.shape)}. "
                "Resize them, build it with another size, or use its dense()."
            )
        x = self.features(x)  # (batch, maps, side, side)
        return self.classifier(x.reshape(x.shape[0], -1))  # type: ignore[no-any-return]

    def dense(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the mean score for each class over all places of images of any size from `size` on.

        The fully connected layers become convolutions, the first with a kernel of side x side, the others 1x1.

        Source: section 3.2.
        """
        x, kernel = self.features(x), self.side
        for layer in self.classifier:
            if isinstance(layer, Linear):
                weight = layer.weight.reshape(layer.weight.shape[0], -1, kernel, kernel)
                x, kernel = ops.conv(x, weight, layer.bias), 1
            else:
                x = layer(x)
        return x.mean(axis=(2, 3))


def start_weights(model: VGG) -> None:
    """Draw weights from N(0, 2 / inputs of a unit) (He et al. 2015), of the last layer from N(0, 0.01^2); biases are 0."""
    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, Conv2d | Linear)]
    for layer in layers:
        layer.weight = Parameter(init.kaiming_normal(layer.weight.shape, nonlinearity="relu"))
        layer.bias = Parameter(init.zeros(layer.bias.shape))
    layers[-1].weight = Parameter(init.normal(layers[-1].weight.shape, std=0.01))


class Field(NamedTuple):
    """The receptive field of the units behind one layer of `features`, in pixels of the image."""

    layer: int
    size: int
    """Side of the square on which a unit depends."""
    stride: int
    """From the field of a unit to that of its neighbor."""
    start: int
    """First row and column of the first unit's field; negative, because images are padded."""


def receptive_fields(model: VGG) -> list[Field]:
    """Return the fields behind each convolution and each pooling: r <- r + (k - 1) j, then j <- s j, starting with r = j = 1.

    r is `size` and j `stride`; k is the side of the layer's kernel and s its stride. Padding p moves `start` by -p j.
    """
    fields, size, stride, start = [], 1, 1, 0
    for number, layer in enumerate(model.features):
        if isinstance(layer, Conv2d | MaxPool2d):
            kernel, step = (layer.weight.shape[-1], 1) if isinstance(layer, Conv2d) else (2, 2)
            start -= (kernel // 2 if step == 1 else 0) * stride
            size, stride = size + (kernel - 1) * stride, stride * step
            fields.append(Field(number, size, stride, start))
    return fields


def loss(
    model: Module, x: Float[Tensor, "batch channels height width"], targets: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes"]]:
    """Return the mean cross-entropy of the scores, and the scores."""
    scores = model(x)
    return F.cross_entropy(scores, targets), scores


def build(
    configuration: str = "D", batch_norm: bool = False, classes: int = 1000, channels: int = 3, size: int = 224,
    width: int = 64, hidden: int = 4096, stages: int = 5, dropout: float = 0.5,
) -> VGG:  # fmt: skip
    """Return the VGG of a configuration; see `VGG`."""
    return VGG(configuration, batch_norm, classes, channels, size, width, hidden, stages, dropout)
