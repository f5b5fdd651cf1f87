"""AlexNet (Krizhevsky, Sutskever and Hinton 2012): five convolutions in two towers, and the one-tower form of 2014.

Training is in recipe.py, the theory in page.md. Names of the one-tower form are torchvision's.
"""

from __future__ import annotations

from typing import Any

from nnatomy import functional as F
from nnatomy import init
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import Conv2d, Dropout, Linear, LocalResponseNorm, MaxPool2d, ReLU
from nnatomy.layers.module import Module, Sequential
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

WIDTHS = {"two_towers": (96, 256, 384, 384, 256), "one_tower": (64, 192, 384, 256, 256)}
"""Maps of the five convolutions."""

PAPER_STD = 0.01
"""Standard deviation of the weights at the start (section 5)."""


def maps_of(form: str, width: int) -> tuple[int, ...]:
    """Return the maps of the five convolutions where the first has `width`, in the paper's proportions."""
    usual = WIDTHS[form]
    return tuple(n * width // usual[0] for n in usual)


def response_norm() -> Module:
    """b_i = a_i / (k + alpha sum of a_j^2 over 5 neighboring maps j)^beta, k = 2, alpha = 1e-4, beta = 0.75 (section 3.3).

    As in PyTorch, LocalResponseNorm multiplies the mean of the five squares: its alpha is five times the paper's.
    """
    return LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2)


def two_towers(maps: tuple[int, ...], stem: Conv2d) -> list[Module]:
    """Return the convolutional layers of 2012: conv2, conv4 and conv5 connect maps of the same tower alone."""
    first, second, third, fourth, fifth = maps
    return [
        stem, ReLU(), response_norm(), MaxPool2d(3, stride=2),
        Conv2d(first, second, 5, padding=2, groups=2), ReLU(), response_norm(), MaxPool2d(3, stride=2),
        Conv2d(second, third, 3, padding=1), ReLU(),
        Conv2d(third, fourth, 3, padding=1, groups=2), ReLU(),
        Conv2d(fourth, fifth, 3, padding=1, groups=2), ReLU(), MaxPool2d(3, stride=2),
    ]  # fmt: skip


def one_tower(maps: tuple[int, ...], stem: Conv2d) -> list[Module]:
    """Return the convolutional layers of 2014: every map sees every other, and nothing normalizes responses."""
    first, second, third, fourth, fifth = maps
    return [
        stem, ReLU(), MaxPool2d(3, stride=2),
        Conv2d(first, second, 5, padding=2), ReLU(), MaxPool2d(3, stride=2),
        Conv2d(second, third, 3, padding=1), ReLU(),
        Conv2d(third, fourth, 3, padding=1), ReLU(),
        Conv2d(fourth, fifth, 3, padding=1), ReLU(), MaxPool2d(3, stride=2),
    ]  # fmt: skip


def side_behind(side: int, kernel: int, stride: int, padding: int) -> int:
    """Return the side of the maps behind the last pooling: the stem and three poolings reduce it; below 1, nothing is left."""
    side = (side + 2 * padding - kernel) // stride + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side


class AlexNet(Module):
    """Five convolutions with overlapping pooling, and three fully connected layers with dropout.

    Args:
        form: "two_towers" (2012), grouped and with response normalization, or "one_tower" (2014), torchvision's
        classes: scores for each image
        channels: of an image
        size: sides of an image; None means 227 in two towers, 224 in one, and 32 with the small stem
        width: maps of the first convolution; None means 96 in two towers and 64 in one. The others keep their proportions
        hidden: units of each of the two hidden fully connected layers
        stem: the first convolution: "imagenet", 11x11 with stride 4, or "small", 7x7 with stride 2
        dropout: probability that a unit of the fully connected layers is dropped in training
        start: "paper" or "he"; see `start_weights`

    The defaults are the network of 2012: 60,965,224 parameters. Raises UserError for other names and for sizes that do not fit.

    Source: Krizhevsky, Sutskever and Hinton (2012), sections 3 to 5; Krizhevsky (2014).
    """

    def __init__(
        self, form: str = "two_towers", classes: int = 1000, channels: int = 3, size: int | None = None,
        width: int | None = None, hidden: int = 4096, stem: str = "imagenet", dropout: float = 0.5, start: str = "paper",
    ) -> None:  # fmt: skip
        for name, value, known in (
            ("form", form, tuple(WIDTHS)), ("stem", stem, ("imagenet", "small")), ("start", start, ("paper", "he")),
        ):  # fmt: skip
            if value not in known:
                raise unknown_name(name, value, known)
        towers = form == "two_towers"
        size = size if size is not None else 32 if stem == "small" else 227 if towers else 224
        width = WIDTHS[form][0] if width is None else width
        if min(classes, channels, size, width, hidden) < 1 or (towers and width % 6):
            raise UserError(
                "An AlexNet has classes, channels, size, width and hidden of at least 1, and in two towers a width divisible "
                f"by 6. Received classes={classes}, channels={channels}, size={size}, width={width}, hidden={hidden}. "
                "Use width=24."
            )
        maps = maps_of(form, width)
        kernel, stride, padding = (7, 2, 3) if stem == "small" else (11, 4, 0 if towers else 2)
        self.channels, self.size, side = channels, size, side_behind(size, kernel, stride, padding)
        if side < 1:
            raise UserError(
                f"AlexNet's strides must leave something of an image. Received size={size} with stem={stem!r}. "
                "Use size=32 with stem='small', or size=224."
            )
        conv1 = Conv2d(channels, width, kernel, stride, padding=padding)
        self.features = Sequential(*(two_towers if towers else one_tower)(maps, conv1))
        first, second, last = Linear(maps[-1] * side**2, hidden), Linear(hidden, hidden), Linear(hidden, classes)
        if towers:  # the outputs of the hidden layers are dropped
            layers = [first, ReLU(), Dropout(dropout), second, ReLU(), Dropout(dropout), last]
        else:  # their inputs are
            layers = [Dropout(dropout), first, ReLU(), Dropout(dropout), second, ReLU(), last]
        self.classifier = Sequential(*layers)
        start_weights(self, start)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return a score for each class. Raises UserError for images of another size or with other channels."""
        if x.ndim != 4 or tuple(x.shape[1:]) != (self.channels, self.size, self.size):
            raise UserError(
                f"This AlexNet takes images (batch, {self.channels}, {self.size}, {self.size}). "
                f"Received shape {tuple(x.shape)}. Resize them, or build it with another size."
            )
        x = self.features(x)  # (batch, maps, side, side)
        return self.classifier(x.reshape(x.shape[0], -1))  # type: ignore[no-any-return]


def start_weights(model: AlexNet, start: str) -> None:
    """Draw the weights and set the biases.

    "paper": weights from N(0, 0.01^2); biases 1 in conv2, conv4, conv5 and the hidden fully connected layers, so that their
    ReLUs receive positive inputs at first, and 0 elsewhere (section 5). "he": weights from N(0, 2 / inputs of a unit), for
    narrow networks, whose sums have too few terms for 0.01, but N(0, 0.01^2) in the first and the last layer; biases 0.
    """
    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, Conv2d | Linear)]
    conv1, _, conv3, *_, last = layers
    for layer in layers:
        shape = layer.weight.shape
        he = start == "he" and layer not in (conv1, last)
        weight = init.kaiming_normal(shape, nonlinearity="relu") if he else init.normal(shape, std=PAPER_STD)
        positive = start == "paper" and layer not in (conv1, conv3, last)
        layer.weight, layer.bias = Parameter(weight), Parameter(init.constant(layer.bias.shape, float(positive)))


def loss(
    model: Module, x: Float[Tensor, "batch channels height width"], targets: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes"]]:
    """Return the mean cross-entropy of the scores, and the scores."""
    scores = model(x)
    return F.cross_entropy(scores, targets), scores


def build(
    form: str = "two_towers", classes: int = 1000, channels: int = 3, size: int | None = None, width: int | None = None,
    hidden: int = 4096, stem: str = "imagenet", dropout: float = 0.5, start: str = "paper",
) -> AlexNet:  # fmt: skip
    """Return an AlexNet; see `AlexNet`."""
    return AlexNet(form, classes, channels, size, width, hidden, stem, dropout, start)
