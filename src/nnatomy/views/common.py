"""What views share: examples, their names and looks by kind of data, colours that all can tell apart, captions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.data.dataset import Split
from nnatomy.inspect.measure import text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared

Array = np.ndarray[Any, Any]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6b6b6b", "#b8a800", "#7a4f2a", "#000000")
"""Okabe and Ito's, told apart by people who do not see red or green as others do, and a few more; markers differ as well."""
MARKERS = "os^vDPX<>h"
SIGNED, ACTIVE = "RdBu_r", "cividis"
INK, QUIET = "#1f2937", "#5b6472"
LONGEST = 24  # letters of a name that are shown


def examples(prepared: Prepared, split: Split, places: Array) -> tuple[Array, ...]:
    """Examples of a split as one batch, in the precision of the model."""
    return tuple(prepared.task.precision.evaluated(split.take(places)))


def spread(prepared: Prepared, split: Split, count: int) -> tuple[Array, ...]:
    """Up to `count` examples, evenly spaced over a split, as one batch."""
    return examples(prepared, split, np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int)))


def of_each_class(prepared: Prepared, count: int, look: int = 500) -> tuple[Array, ...]:
    """Up to `count` test examples, of as many classes as there are; evenly spaced ones where there are no classes."""
    split = prepared.dataset.test
    if not prepared.dataset.classes:
        return spread(prepared, split, count)
    seen = np.unique(np.linspace(0, len(split) - 1, min(look, len(split))).round().astype(int))
    labels = split.take(seen)[-1]
    firsts = [seen[labels == k] for k in range(len(prepared.dataset.classes))]
    turns = [rows[turn] for turn in range(count) for rows in firsts if len(rows) > turn]
    return examples(prepared, split, np.array(turns[:count]))


def heading(figure: Figure, words: str) -> None:
    """A title at the left, broken before it meets the names of lines at the right."""
    letters = int(figure.get_size_inches()[0] * 72 / 8.8)
    figure.suptitle("\n".join(textwrap.wrap(words, letters)), x=0.01, ha="left", fontsize=13)


def caption(figure: Figure, words: str) -> None:
    """One or two sentences under a figure that say what is seen."""
    letters = int(figure.get_size_inches()[0] * 72 / 4.6)
    figure.supxlabel("\n".join(textwrap.wrap(words, letters)), x=0.01, ha="left", fontsize=9, color=QUIET)


def short(name: Any, longest: int = LONGEST) -> str:
    """A name with its end cut off where it is long."""
    text = str(name)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def class_name(prepared: Prepared, k: int) -> str:
    return short(prepared.dataset.classes[k])


def picture(prepared: Prepared, image: Array) -> Array:
    """A model's input image [channels, height, width] as it looks: [height, width] or [height, width, 3], in [0, 1]."""
    turned = getattr(prepared.dataset.preprocessing, "to_images", None)
    if turned is not None:
        shown = np.asarray(turned(image[None])[0])
    else:
        shown = (image - image.min()) / max(float(np.ptp(image)), 1e-12)
    return shown[0] if shown.shape[0] != 3 else np.moveaxis(shown, 0, -1)


def groups(prepared: Prepared) -> list[tuple[str, list[int]]]:
    """The columns of a table, each with the places of the features that it became."""
    found, start = [], 0
    for field in getattr(prepared.dataset.preprocessing, "fields", ()):
        width = len(field.features())
        found.append((field.name, list(range(start, start + width))))
        start += width
    return found or [(f"input {i + 1}", [i]) for i in range(prepared.dataset.input_shape[0])]


def cells(prepared: Prepared, rows: Array) -> dict[str, list[str]]:
    """A table's rows in its own words, by column."""
    decode = getattr(prepared.dataset.preprocessing, "decode", None)
    if decode is not None:
        return {name: [cell or "(missing)" for cell in column] for name, column in decode(rows).items()}
    return {name: [f"{row[places[0]]:.3g}" for row in rows] for name, places in groups(prepared)}


def series_names(prepared: Prepared, count: int) -> list[str]:
    """What the columns of a series are called."""
    names = getattr(prepared.dataset.preprocessing, "columns", ())
    return [short(n) for n in names] if len(names) == count else [f"input {i + 1}" for i in range(count)]


def tokens(prepared: Prepared, ids: Array) -> list[str]:
    """Token numbers as words or characters; a line break and what is unknown have signs of their own."""
    vocabulary = getattr(prepared.dataset.preprocessing, "vocabulary")  # noqa: B009
    signs = {"\n": "⏎", "\t": "→", "\ufffd": "□", "<unk>": "□", "<pad>": ""}
    return [signs.get(vocabulary[int(i)], vocabulary[int(i)]) for i in ids]


def name_lines(figure: Figure, axes: Axes) -> None:
    """The names of the lines in `axes` beside the figure's panels, where there are several."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(handles, names, loc="outside right upper", fontsize=9, frameon=False)


def show_example(axes: Axes, prepared: Prepared, inputs: Sequence[Array], at: int) -> None:
    """Draws one example's input as its kind is best seen."""
    kind, x = prepared.dataset.kind, inputs[0][at]
    if kind == "image" and x.ndim == 3:
        axes.imshow(picture(prepared, x), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    elif kind in ("text", "sentences"):
        words = tokens(prepared, x[: int(inputs[1][at])] if len(inputs) > 1 else x)
        joined = ("" if kind == "text" else " ").join(words)
        axes.text(0, 1, "\n".join(textwrap.wrap(joined, 34)[:6]), va="top", fontsize=9, transform=axes.transAxes)
        axes.set_axis_off()
    elif x.ndim == 2:
        for k, name in enumerate(series_names(prepared, x.shape[1])[:7]):
            axes.plot(x[:, k], color=COLOURS[k], lw=1.2, label=name)
        axes.set(xlabel="step", ylabel="value" if at == 0 else "")
        axes.grid(alpha=0.25)
    else:
        flat = x.reshape(-1)
        axes.bar(range(len(flat)), flat, color=COLOURS[0])
        axes.axhline(0, color=INK, lw=0.6)
        axes.set(xlabel="input feature", ylabel="value" if at == 0 else "")


def text_lines(words: Sequence[str], width: float, size: float, joined: bool) -> list[list[tuple[int, float, float]]]:
    """Words, or characters that stand side by side where `joined`, broken into lines: (number, left, right) in points.

    Lines of characters break after a space where they can.
    """
    lines: list[list[tuple[int, float, float]]] = [[]]
    at, gap, family = 0.0, 0.0 if joined else 3.0, "monospace" if joined else "sans-serif"
    for number, word in enumerate(words):
        wide = text_width(word, size, family=family) if word.strip() else size * 0.6
        if at + wide > width and lines[-1]:
            lines.append([])
            at = 0.0
        lines[-1].append((number, at, at + wide))
        at += wide + gap
    return lines


def coloured_text(
    axes: Axes, words: Sequence[str], colours: Sequence[Any], lines: list[list[tuple[int, float, float]]], top: float,
    size: float, joined: bool,
) -> float:  # fmt: skip
    """Draws words on coloured grounds into axes whose units are points, y downwards; returns where the next line begins."""
    from matplotlib.patches import Rectangle

    height = size * 1.75
    for line in lines:
        for number, left, right in line:
            colour = colours[number]
            dark = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] < 0.5
            axes.add_patch(Rectangle((left, top), right - left, height - 2, color=colour, lw=0))
            family = "monospace" if joined else "sans-serif"
            axes.text((left + right) / 2, top + height / 2 - 1, words[number], fontsize=size, family=family, ha="center",
                      va="center_baseline", color="white" if dark else INK)  # fmt: skip
        top += height
    return top


def text_figure(height: float, width: float) -> tuple[Figure, Axes]:
    """A figure for text: its axes' units are points, y downwards."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def text_below(axes: Axes, words: str, top: float, width: float) -> None:
    """A caption in a figure for text."""
    axes.text(14, top, "\n".join(textwrap.wrap(words, int(width / 4.6))), fontsize=9, color=QUIET, va="top")
