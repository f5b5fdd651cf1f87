"""Common parts of views: examples, their names and looks by kind of data, colors that all can distinguish, captions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import Split
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import COLORS, INK, Curves, Look, Rows, Words, numbered
from nnatomy.inspect.measure import text_width
from nnatomy.tasks.figures import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared

Array = np.ndarray[Any, Any]

__all__ = [
    "ACTIVE", "COLORS", "INK", "MARKERS", "QUIET", "SIGNED", "caption", "class_name", "colored_text", "examples", "heading",
    "input_names", "look", "name_lines", "of_each_class", "short", "show_example", "evenly_spaced", "text_below", "text_figure",
    "text_lines", "why_not_by_row", "words_of",
]  # fmt: skip
MARKERS = "os^vDPX<>h"
SIGNED, ACTIVE = "RdBu_r", "cividis"
QUIET = "#5b6472"
LONGEST = 24  # letters of a name that are shown


def examples(prepared: Prepared, split: Split, places: Array) -> tuple[Array, ...]:
    """Examples of a split as one batch, in the precision of the model."""
    return tuple(prepared.task.precision.evaluated(split.take(places)))


def evenly_spaced(prepared: Prepared, split: Split, count: int) -> tuple[Array, ...]:
    """Up to `count` examples, evenly spaced over a split, as one batch."""
    return examples(prepared, split, np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int)))


def of_each_class(prepared: Prepared, count: int, look: int = 500) -> tuple[Array, ...]:
    """Up to `count` test examples, of as many classes as there are; evenly spaced ones where an example has not one class."""
    split = prepared.dataset.test
    if not prepared.dataset.classes:
        return evenly_spaced(prepared, split, count)
    seen = np.unique(np.linspace(0, len(split) - 1, min(look, len(split))).round().astype(int))
    (labels,) = fields.select(split.fields, split.take(seen), "target")
    if labels.ndim > 1:
        return evenly_spaced(prepared, split, count)
    firsts = [seen[labels == k] for k in range(len(prepared.dataset.classes))]
    turns = [rows[turn] for turn in range(count) for rows in firsts if len(rows) > turn]
    return examples(prepared, split, np.array(turns[:count]))


def inputs_of(prepared: Prepared, batch: tuple[Array, ...]) -> tuple[Array, ...]:
    """The arrays that a model is called with for a batch."""
    return prepared.task.model_inputs(batch)


def why_not_by_row(prepared: Prepared) -> str | None:
    """Return why a view of examples row by row does not fit data whose examples are not rows of arrays; else None."""
    return None if fields.per_row(prepared.dataset.fields) else "needs examples that are rows of arrays, one each"


def heading(figure: Figure, words: str) -> None:
    """A title at the left, broken before it meets the names of lines at the right."""
    letters = int(figure.get_size_inches()[0] * 72 / 8.8)
    figure.suptitle("\n".join(textwrap.wrap(words, letters)), x=0.01, ha="left", fontsize=13)


def caption(figure: Figure, words: str) -> None:
    """One or two sentences under a figure that say what is seen."""
    letters = int(figure.get_size_inches()[0] * 72 / 4.6)
    figure.supxlabel("\n".join(textwrap.wrap(words, letters)), x=0.01, ha="left", fontsize=9, color=QUIET)


def class_name(prepared: Prepared, k: int) -> str:
    return short(prepared.dataset.classes[k])


def look(prepared: Prepared) -> Look:
    """Return the look of the run's examples."""
    return kind_of(prepared.dataset).look(prepared.dataset)


def words_of(prepared: Prepared, ids: Array) -> list[str]:
    """Token numbers as words or characters."""
    seen = look(prepared)
    return seen.words(ids) if isinstance(seen, Words) else [str(int(i)) for i in ids]


def input_names(seen: Look, count: int) -> list[str]:
    """Return the name of so many inputs of a network."""
    names = seen.columns if isinstance(seen, Curves) else seen.features if isinstance(seen, Rows) else ()
    return [short(name) for name in (names if len(names) == count else numbered(count))]


def name_lines(figure: Figure, axes: Axes) -> None:
    """The names of the lines in `axes` next to the figure's panels, where there are several."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(handles, names, loc="outside right upper", fontsize=9, frameon=False)


def show_example(axes: Axes, prepared: Prepared, inputs: Sequence[Array], at: int) -> None:
    """Draw one example's input as its kind is best seen; what the values are is written next to the first alone."""
    kind_of(prepared.dataset).show(axes, tuple(array[at : at + 1] for array in inputs), prepared.dataset)
    if at:
        axes.set_ylabel("")


def text_lines(words: Sequence[str], width: float, size: float, joined: bool) -> list[list[tuple[int, float, float]]]:
    """Words, or characters that are side by side where `joined`, broken into lines: (number, left, right) in points.

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


def colored_text(
    axes: Axes, words: Sequence[str], colors: Sequence[Any], lines: list[list[tuple[int, float, float]]], top: float,
    size: float, joined: bool,
) -> float:  # fmt: skip
    """Draw words on colored backgrounds into axes whose units are points, y downwards; return where the next line starts."""
    from matplotlib.patches import Rectangle

    height = size * 1.75
    for line in lines:
        for number, left, right in line:
            color = colors[number]
            dark = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] < 0.5
            axes.add_patch(Rectangle((left, top), right - left, height - 2, color=color, lw=0))
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
