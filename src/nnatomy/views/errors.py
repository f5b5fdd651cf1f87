"""Errors: the worst mistakes on the test split, each as its kind is best seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.data.dataset import batches
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import Curves, Pictures, Rows, Words
from nnatomy.functional import log_softmax
from nnatomy.inspect.measure import text_width
from nnatomy.runs.folder import Run
from nnatomy.tasks import Mistakes, forward
from nnatomy.tasks.figures import short
from nnatomy.views.common import (
    COLORS,
    INK,
    QUIET,
    caption,
    colored_text,
    evenly_spaced,
    examples,
    heading,
    input_names,
    inputs_of,
    look,
    name_lines,
    text_below,
    text_figure,
    text_lines,
    why_not_by_row,
    words_of,
)  # fmt: skip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared

Array = np.ndarray[Any, Any]


def why_unsupported(prepared: Prepared, run: Run | None) -> str | None:
    task = prepared.task
    return None if task.can("mistakes") or task.drawn_as == "tokens" else "needs a task that says how wrong an example is"


def draw(prepared: Prepared, run: Run | None) -> Figure:
    """The examples with the largest errors, the worst first."""
    if prepared.task.drawn_as == "tokens":
        return _surprises(prepared)
    found = worst(prepared)
    order, told, title, note = found.order, dict(found.says), found.title, found.note
    if why_not_by_row(prepared):
        return _one_by_one(prepared, order[:8], told, title, note)
    match look(prepared):
        case Words() as seen:
            return _sentences(prepared, seen, order[:10], told, title, note)
        case Pictures() as seen:
            return _images(prepared, seen, order[:24], told, title, note)
        case Curves() as seen:
            return _windows(prepared, seen, order[:6], told, title, note)
        case Rows() as seen:
            return _rows(prepared, seen, order[:12], told, title, note)


def worst(prepared: Prepared) -> Mistakes:
    """The test examples by falling error, and what the task says of them."""
    return prepared.task.mistakes(prepared.task.evaluate(prepared.model, prepared.dataset.test))


def _heading(prepared: Prepared, title: str) -> str:
    return f"{prepared.architecture.front['title']} on {prepared.dataset.name}: {title}"


def _given_back(prepared: Prepared, inputs: tuple[Array, ...]) -> Array:
    return np.asarray(prepared.recipe.decide(forward(prepared.model, inputs)).data).reshape(inputs[0].shape)


def _one_by_one(prepared: Prepared, order: Array, told: dict[int, str], title: str, note: str) -> Figure:
    """Each example as its kind shows it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.0 * -(-len(order) // 4) + 1.0), layout="constrained")
    heading(figure, _heading(prepared, title))
    grid: Any = figure.subplots(-(-len(order) // 4), 4, squeeze=False)
    for axes in grid.flat[len(order) :]:
        axes.set_axis_off()
    for axes, at in zip(grid.flat, order, strict=False):
        example = inputs_of(prepared, examples(prepared, prepared.dataset.test, np.array([at])))
        kind_of(prepared.dataset).show(axes, example, prepared.dataset)
        axes.set_title(told[int(at)].replace(", ", "\n"), fontsize=9.5, color=COLORS[1] if "→" in told[int(at)] else INK)
    caption(figure, f"Each picture is a test example; above it {note}.")
    return figure


def _images(prepared: Prepared, seen: Pictures, order: Array, told: dict[int, str], title: str, note: str) -> Figure:
    from matplotlib.figure import Figure

    twice = prepared.task.drawn_as == "inputs"
    across = 6
    down = -(-len(order) // across)
    figure = Figure(figsize=(13, (2.15 if not twice else 1.75) * down + 1.2), layout="constrained")
    heading(figure, _heading(prepared, title))
    grid: Any = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    inputs = inputs_of(prepared, examples(prepared, prepared.dataset.test, order))
    back = _given_back(prepared, inputs) if twice else None
    for k, (axes, at) in enumerate(zip(grid.flat, order, strict=False)):
        shown = seen.picture(inputs[0][k])
        if back is not None:
            gap = np.full((shown.shape[0], 1, *shown.shape[2:]), 1.0)
            shown = np.concatenate([shown, gap, seen.picture(back[k])], axis=1)
        axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
        axes.set_title(told[int(at)].replace(", ", "\n"), fontsize=9.5, color=COLORS[1] if "→" in told[int(at)] else INK)
    pairs = "Each pair is a test image (left) and its reconstruction (right)" if twice else "Each picture is a test image"
    caption(figure, f"{pairs}; above it {note}.")
    return figure


def _windows(prepared: Prepared, seen: Curves, order: Array, told: dict[int, str], title: str, note: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.1 * -(-len(order) // 3) + 1.0), layout="constrained")
    heading(figure, _heading(prepared, title))
    grid: Any = figure.subplots(-(-len(order) // 3), 3, squeeze=False)
    for axes in grid.flat[len(order) :]:
        axes.set_axis_off()
    batch = examples(prepared, prepared.dataset.test, order)
    steps, wide = prepared.dataset.input_shape
    names, kind = input_names(seen, wide), "its input"
    for k, (axes, at) in enumerate(zip(grid.flat, order, strict=False)):
        if prepared.task.drawn_as == "inputs":
            back = _given_back(prepared, inputs_of(prepared, tuple(a[k : k + 1] for a in batch)))[0]
            axes.plot(batch[0][k, :, 0], color=QUIET, lw=1.4, label=f"given ({names[0]})")
            axes.plot(back[:, 0], color=COLORS[1], lw=1.4, label="given back")
            kind = "the input and its reconstruction"
        elif prepared.task.drawn_as == "future":
            horizon = batch[-1].shape[1]
            column = seen.targets[0] if seen.targets else 0
            given = inputs_of(prepared, tuple(a[k : k + 1] for a in batch))
            guess = np.asarray(prepared.recipe.decide(forward(prepared.model, given)).data)
            axes.plot(range(-steps + 1, 1), batch[0][k, :, column], color=QUIET, lw=1.2, label=f"past of {names[column]}")
            axes.plot(range(1, horizon + 1), batch[-1][k, :, 0], color=COLORS[0], lw=1.5, label="true")
            axes.plot(range(1, horizon + 1), guess.reshape(-1)[:horizon], color=COLORS[1], lw=1.5, ls="--", label="forecast")
            axes.axvline(0.5, color=QUIET, lw=0.7, ls=":")
            kind = "the past, the true future, and the forecast"
        else:
            for column in range(min(wide, len(COLORS))):
                axes.plot(batch[0][k, :, column], color=COLORS[column], lw=1.2, label=names[column])
        axes.set_title(told[int(at)], fontsize=10)
        axes.grid(alpha=0.25)
    for axes in grid[-1]:
        axes.set_xlabel("step from now" if prepared.task.drawn_as == "future" else "step of the window")
    for axes in grid[:, 0]:
        axes.set_ylabel("value (standardized)" if seen.standardized else "value")
    name_lines(figure, grid[0, 0])
    caption(figure, f"Each panel is a test window ({kind}); above it {note}.")
    return figure


def _rows(prepared: Prepared, seen: Rows, order: Array, told: dict[int, str], title: str, note: str) -> Figure:
    """Rows of a table in its own words."""
    inputs = inputs_of(prepared, examples(prepared, prepared.dataset.test, order))
    words, columns = seen.cells(inputs[0]), seen.groups
    back: dict[str, list[str]] = {}
    if prepared.task.drawn_as == "inputs":
        returned = _given_back(prepared, inputs)
        odd, back = np.abs(returned - inputs[0]), seen.cells(returned)
        what = "the columns that came back worst, as given → as they came back"
    else:
        train = evenly_spaced(prepared, prepared.dataset.train, 1000)[0]
        odd = np.abs(inputs[0] - train.mean(axis=0)) / np.maximum(train.std(axis=0), 1e-6)  # in standard deviations
        what = "the columns in which it is furthest from the mean training row"
    oddness = np.array([odd[:, places].max(axis=1) for _, places in columns])  # [columns, rows]
    width, size, left = 960.0, 9.0, (14.0, 76.0, 330.0)
    figure, axes = text_figure(74 + 21 * len(order) + 46, width)
    axes.text(14, 22, _heading(prepared, title), fontsize=13)
    for at, name in zip(left, ("test row", "prediction", what), strict=True):
        axes.text(at, 50, name, fontsize=size, fontweight="bold", color=INK)
    for k, row in enumerate(order):
        y = 71 + 21 * k
        axes.plot([14, width - 14], [y - 14, y - 14], color="#d1d5db", lw=0.8)
        axes.text(left[0], y, str(int(row) + 1), fontsize=size, color=QUIET)
        axes.text(left[1], y, told[int(row)], fontsize=size, color=INK)
        shown: list[str] = []
        for i in np.argsort(-oddness[:, k], kind="stable"):
            name = columns[i][0]
            cell = f"{short(name, 22)} = {short(words[name][k], 14)}"
            cell += f" → {short(back[name][k], 10)}" if back else ""
            if text_width(",   ".join([*shown, cell]), size) > width - 14 - left[2]:
                break
            shown.append(cell)
        axes.text(left[2], y, ",   ".join(shown), fontsize=size, color=INK)
    text_below(axes, f"Each line is a row of the test split: {note}; next to it {what}, in the table's own units.",
               71 + 21 * len(order) + 2, width)  # fmt: skip
    return figure


def _sentences(prepared: Prepared, seen: Words, order: Array, told: dict[int, str], title: str, note: str) -> Figure:
    width, size = 900.0, 9.5
    blocks = []
    for at in order:
        ids, lengths, *_ = examples(prepared, prepared.dataset.test, np.array([at]))
        words = seen.words(ids[0][: int(lengths[0])])
        blocks.append((told[int(at)], words, text_lines(words, width - 34, size, seen.joined)))
    height = 44 + sum(32 + len(lines) * size * 1.75 for _, _, lines in blocks) + 36
    figure, axes = text_figure(height, width)
    axes.text(14, 22, _heading(prepared, title), fontsize=13)
    at = 44.0
    for answer, words, lines in blocks:
        axes.text(14, at + 8, answer, fontsize=10, fontweight="bold", color=COLORS[1] if "→" in answer else INK)
        moved = [[(n, a + 20, b + 20) for n, a, b in one] for one in lines]
        at = colored_text(axes, words, [(1.0, 1.0, 1.0)] * len(words), moved, at + 18, size, seen.joined) + 14
    text_below(axes, f"Each block is a test sentence as the model reads it (□: a word that it does not know); above it {note}.",
               at + 6, width)  # fmt: skip
    return figure


def _surprises(prepared: Prepared) -> Figure:
    """Passages of the test text, each token colored by how little it was expected."""
    from matplotlib import colormaps

    seen, width = look(prepared), 900.0
    joined = isinstance(seen, Words) and seen.joined
    size = 12.0 if joined else 9.5
    found: list[tuple[float, Array, Array]] = []
    for inputs, following in batches(prepared.dataset.test, 64):
        scores = prepared.recipe.decide(forward(prepared.model, (inputs,))).data.astype(np.float64)
        bits = -np.take_along_axis(np.asarray(log_softmax(scores, axis=-1)), following[..., None], -1)[..., 0] / np.log(2)
        found += [(float(b.mean()), tokens_, b) for tokens_, b in zip(following, bits, strict=True)]
    found.sort(key=lambda one: -one[0])
    blocks = []
    for mean, ids, bits in found[:8]:
        words = words_of(prepared, ids)
        blocks.append((f"{mean:.2f} bits a token", words, bits, text_lines(words, width - 34, size, joined)))
    width = max(700.0, min(width, 34 + max(right for *_, lines in blocks for one in lines for _, _, right in one)))
    height = 44 + sum(32 + len(lines) * size * 1.75 for *_, lines in blocks) + 40
    figure, axes = text_figure(height, width)
    overall = float(np.mean([mean for mean, *_ in found]))
    axes.text(14, 22, _heading(prepared, f"the passages it expected least (mean {overall:.2f} bits a token)"), fontsize=13)
    at, shade = 44.0, colormaps["Oranges"]
    for answer, words, bits, lines in blocks:
        axes.text(14, at + 8, answer, fontsize=10, fontweight="bold", color=INK)
        moved = [[(n, a + 20, b + 20) for n, a, b in one] for one in lines]
        at = colored_text(axes, words, [shade(min(b, 12) / 14) for b in bits], moved, at + 18, size, joined) + 14
    text_below(axes, "Each block is a window of the test text. The darker a token's ground, the less the model expected it "
                     "(white: 0 bits, certain; darkest: 12 bits, a chance below 1 in 4,000).", at + 6, width)  # fmt: skip
    return figure
