"""Looks of examples: pictures, words, curves or rows. A kind chooses one; views draw these four forms."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch, Dataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLORS", "INK", "Curves", "Look", "Pictures", "Rows", "Words", "look_at", "numbered"]

Array = npt.NDArray[Any]
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6b6b6b", "#b8a800", "#7a4f2a", "#000000")
"""Okabe and Ito's colors, which people with color blindness can distinguish, and a few more; markers differ as well."""
INK = "#1f2937"
LOOKED_AT = 512
"""Training examples that decide what is shown black and white."""
SIGNS = {"\n": "⏎", "\t": "→", "\ufffd": "□", "<unk>": "□", "<pad>": ""}


@dataclass(frozen=True)
class Pictures:
    """Images (channels, height, width) that `mean` and `std`, one a channel, turn into values in [0, 1].

    Of arrays, which name no range, it is that of training examples: scaled alone, a dark one would look light.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    limits: tuple[float, float] | None = None
    """The values that are shown black and white, where there is no mean."""

    def picture(self, x: Array) -> Array:
        """Return an image (channels, height, width) as it looks: (height, width) or (height, width, 3), in [0, 1]."""
        if self.mean:
            mean, std = (np.asarray(v, np.float32)[:, None, None] for v in (self.mean, self.std))
            shown = np.clip(x * std + mean, 0.0, 1.0)
        else:
            low, high = self.limits or (float(x.min()), float(x.max()))
            shown = np.clip((x - low) / max(high - low, 1e-12), 0.0, 1.0)
        return shown[0] if len(shown) != 3 else np.moveaxis(shown, 0, -1)

    def blank(self, x: Array) -> Array | None:
        """Return a black image."""
        if not self.mean:
            return None
        black = -np.asarray(self.mean, np.float64) / np.asarray(self.std, np.float64)
        return np.broadcast_to(black[:, None, None], x.shape).astype(x.dtype)

    def bounds(self) -> tuple[float, float] | None:
        """Return the smallest and the largest value of a pixel of any channel; None where no range is known."""
        if not self.mean:
            return self.limits
        return min(-m / s for m, s in zip(self.mean, self.std)), max((1 - m) / s for m, s in zip(self.mean, self.std))

    def show(self, axes: Axes, example: Batch) -> None:
        axes.imshow(self.picture(example[0][0]), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()


@dataclass(frozen=True)
class Words:
    """Token numbers, and with them lengths where examples differ in length; `joined`: written without spaces between."""

    vocabulary: tuple[str, ...]
    joined: bool

    def words(self, ids: Array) -> list[str]:
        """Return token numbers as text; a line break and what is unknown have their own signs."""
        return [SIGNS.get(self.vocabulary[int(i)], self.vocabulary[int(i)]) for i in ids]

    def blank(self, x: Array) -> Array | None:
        return None

    def show(self, axes: Axes, example: Batch) -> None:
        ids = example[0][0]
        words = self.words(ids[: int(example[1][0])] if len(example) > 1 else ids)
        joined = ("" if self.joined else " ").join(words)
        axes.text(0, 1, "\n".join(textwrap.wrap(joined, 34)[:6]), va="top", fontsize=9, transform=axes.transAxes)
        axes.set_axis_off()


@dataclass(frozen=True)
class Curves:
    """Steps of numbers (steps, columns); `targets` are the columns that are forecast."""

    columns: tuple[str, ...]
    targets: tuple[int, ...] = ()
    standardized: bool = False
    stride: int = 1
    """Rows between the windows that follow each other."""

    def blank(self, x: Array) -> Array | None:
        return None

    def show(self, axes: Axes, example: Batch) -> None:
        for column, (name, color) in enumerate(zip(self.columns, COLORS[:7], strict=False)):
            axes.plot(example[0][0][:, column], color=color, lw=1.2, label=name)
        axes.set(xlabel="step", ylabel="value")
        axes.grid(alpha=0.25)


@dataclass(frozen=True)
class Rows:
    """Numbers in columns; a column of the user's table may have become several features."""

    features: tuple[str, ...]
    groups: tuple[tuple[str, list[int]], ...]
    """Each column with the places of its features."""
    decode: Any = None
    """(inputs (n, features)) -> the cells of each column, by name; the numbers themselves if None."""

    def cells(self, rows: Array) -> dict[str, list[str]]:
        """Return rows in the table's own words, by column."""
        if self.decode is not None:
            return {name: [cell or "(missing)" for cell in column] for name, column in self.decode(rows).items()}
        return {name: [f"{row[places[0]]:.3g}" for row in rows] for name, places in self.groups}

    def blank(self, x: Array) -> Array | None:
        return None

    def show(self, axes: Axes, example: Batch) -> None:
        flat = example[0][0].reshape(-1)
        axes.bar(range(len(flat)), flat, color=COLORS[0])
        axes.axhline(0, color=INK, lw=0.6)
        axes.set(xlabel="input feature", ylabel="value")


Look = Pictures | Words | Curves | Rows
"""The look of examples of a data set. Each can `show` the inputs of one example, a batch of one, and names the `blank`
input that shows nothing, where the mean training example need not serve."""


def numbered(count: int) -> tuple[str, ...]:
    """Return names for inputs that have none."""
    return tuple(f"input {i + 1}" for i in range(count))


def look_at(dataset: Dataset, names: Sequence[str] = ()) -> Look:
    """Return the Look of numbers that have no kind, by the shape of an example."""
    shape = dataset.input_shape
    if len(shape) == 3:
        x = dataset.train.take(np.arange(min(LOOKED_AT, len(dataset.train))))[0]
        return Pictures(limits=(float(x.min()), float(x.max())))
    named = tuple(names) or numbered(shape[-1] if shape else 1)
    return Curves(named) if len(shape) == 2 else Rows(named, tuple((name, [i]) for i, name in enumerate(named)))
