"""Errors: the worst mistakes on the test split, each as its kind is best seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.data.dataset import batches
from nnatomy.functional import log_softmax
from nnatomy.inspect.measure import text_width
from nnatomy.runs.folder import Run
from nnatomy.tasks import Classification, Forecast, Language, Reconstruction, forward
from nnatomy.views.common import (
    COLOURS,
    INK,
    QUIET,
    caption,
    cells,
    class_name,
    coloured_text,
    examples,
    groups,
    heading,
    name_lines,
    picture,
    series_names,
    short,
    spread,
    text_below,
    text_figure,
    text_lines,
    tokens,
)  # fmt: skip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared

Array = np.ndarray[Any, Any]


def unfit(prepared: Prepared, run: Run | None) -> str | None:
    """Every model makes mistakes."""
    return None


def draw(prepared: Prepared, run: Run | None) -> Figure:
    """The examples with the largest errors, the worst first."""
    kind = prepared.dataset.kind
    if isinstance(prepared.task, Language):
        return _surprises(prepared)
    order, told, title, note = worst(prepared)
    if kind == "sentences":
        return _sentences(prepared, order[:10], told, title, note)
    if kind == "image":
        return _images(prepared, order[:24], told, title, note)
    if len(prepared.dataset.input_shape) == 2:
        return _windows(prepared, order[:6], told, title, note)
    return _rows(prepared, order[:12], told, title, note)


def worst(prepared: Prepared) -> tuple[Array, dict[int, str], str, str]:
    """(test examples by falling error, what to say of each, a title, what the error is)."""
    task, dataset = prepared.task, prepared.dataset
    found = task.evaluate(prepared.model, dataset.test).arrays
    count = len(dataset.test)
    if isinstance(task, Classification):
        y, p, chosen = found["targets"], found["probabilities"], found["predictions"]
        own = p[np.arange(count), y]
        wrong = np.flatnonzero(chosen != y)
        order = np.concatenate([wrong[np.argsort(own[wrong], kind="stable")], _least_sure(own, chosen == y)])
        told = {
            int(i): f"{class_name(prepared, int(y[i]))} → {class_name(prepared, int(chosen[i]))}, {p[i, chosen[i]]:.0%} sure"
            if chosen[i] != y[i]
            else f"{class_name(prepared, int(y[i]))}: right, {own[i]:.0%} sure"
            for i in order[:24]
        }
        title = f"{len(wrong)} of {count:,} test examples are taken for another class"
        note = "“true class → predicted class” and how sure the model was, the gravest mistakes first"
        return order, told, title, note + ("; then those that are right with the least certainty" if len(wrong) < 24 else "")
    if isinstance(task, Reconstruction):
        errors = found["errors"]
        order = np.argsort(-errors, kind="stable")
        if dataset.timeline is not None:
            order = _apart(order, dataset.timeline.window // getattr(dataset.preprocessing, "stride", 1))
        title = f"What is given back worst, of {count:,} test examples (mean error {errors.mean():.3g})"
        return order, {int(i): f"error {errors[i]:.3g}" for i in order[:24]}, title, "the mean squared error of each example"
    y, guess = found["targets"].reshape(count, -1), found["predictions"].reshape(count, -1)
    errors = np.abs(y - guess).mean(axis=1)
    order = np.argsort(-errors, kind="stable")
    title = f"The largest errors, of {count:,} test examples (mean absolute error {errors.mean():.3g})"
    if isinstance(task, Forecast):
        order = _apart(order, prepared.dataset.input_shape[0])
        return order, {int(i): f"mean error {errors[i]:.3g}" for i in order[:24]}, title, "mean absolute error of the forecast"
    told = {int(i): f"true {y[i, 0]:.4g}, predicted {guess[i, 0]:.4g}" for i in order[:24]}
    return order, told, title, "true and predicted value, the largest difference first"


def _least_sure(own: Array, right: Array) -> Array:
    rows = np.flatnonzero(right)
    return rows[np.argsort(own[rows], kind="stable")]


def _apart(order: Array, steps: int) -> Array:
    """Windows that overlap one that is worse left out."""
    kept: list[int] = []
    for i in order:
        if all(abs(int(i) - k) >= steps for k in kept):
            kept.append(int(i))
        if len(kept) == 24:
            break
    return np.array(kept)


def _heading(prepared: Prepared, title: str) -> str:
    return f"{prepared.architecture.front['title']} on {prepared.dataset.name}: {title}"


def _given_back(prepared: Prepared, inputs: tuple[Array, ...]) -> Array:
    return np.asarray(prepared.recipe.decide(forward(prepared.model, inputs)).data).reshape(inputs[0].shape)


def _images(prepared: Prepared, order: Array, told: dict[int, str], title: str, note: str) -> Figure:
    from matplotlib.figure import Figure

    twice = isinstance(prepared.task, Reconstruction)
    across = 6
    down = -(-len(order) // across)
    figure = Figure(figsize=(13, (2.15 if not twice else 1.75) * down + 1.2), layout="constrained")
    heading(figure, _heading(prepared, title))
    grid: Any = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    inputs = examples(prepared, prepared.dataset.test, order)[:-1]
    back = _given_back(prepared, inputs) if twice else None
    for k, (axes, at) in enumerate(zip(grid.flat, order, strict=False)):
        shown = picture(prepared, inputs[0][k])
        if back is not None:
            gap = np.full((shown.shape[0], 1, *shown.shape[2:]), 1.0)
            shown = np.concatenate([shown, gap, picture(prepared, back[k])], axis=1)
        axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
        axes.set_title(told[int(at)].replace(", ", "\n"), fontsize=9.5, color=COLOURS[1] if "→" in told[int(at)] else INK)
    pairs = "Each pair is a test image (left) and what came back (right)" if twice else "Each picture is a test image"
    caption(figure, f"{pairs}; above it {note}.")
    return figure


def _windows(prepared: Prepared, order: Array, told: dict[int, str], title: str, note: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.1 * -(-len(order) // 3) + 1.0), layout="constrained")
    heading(figure, _heading(prepared, title))
    grid: Any = figure.subplots(-(-len(order) // 3), 3, squeeze=False)
    for axes in grid.flat[len(order) :]:
        axes.set_axis_off()
    batch = examples(prepared, prepared.dataset.test, order)
    steps, wide = prepared.dataset.input_shape
    names, kind, scaling = series_names(prepared, wide), "its input", prepared.dataset.preprocessing
    for k, (axes, at) in enumerate(zip(grid.flat, order, strict=False)):
        if isinstance(prepared.task, Reconstruction):
            back = _given_back(prepared, tuple(a[k : k + 1] for a in batch[:-1]))[0]
            axes.plot(batch[0][k, :, 0], color=QUIET, lw=1.4, label=f"given ({names[0]})")
            axes.plot(back[:, 0], color=COLOURS[1], lw=1.4, label="given back")
            kind = "what was given and what came back"
        elif isinstance(prepared.task, Forecast):
            horizon = batch[-1].shape[1]
            column = list(getattr(prepared.dataset.preprocessing, "columns", ())).index(
                getattr(prepared.dataset.preprocessing, "targets", ("",))[0]
            )
            guess = np.asarray(prepared.recipe.decide(forward(prepared.model, tuple(a[k : k + 1] for a in batch[:-1]))).data)
            axes.plot(range(-steps + 1, 1), batch[0][k, :, column], color=QUIET, lw=1.2, label=f"past of {names[column]}")
            axes.plot(range(1, horizon + 1), batch[-1][k, :, 0], color=COLOURS[0], lw=1.5, label="true")
            axes.plot(range(1, horizon + 1), guess.reshape(-1)[:horizon], color=COLOURS[1], lw=1.5, ls="--", label="forecast")
            axes.axvline(0.5, color=QUIET, lw=0.7, ls=":")
            kind = "the past, what came, and what was forecast"
        else:
            for column in range(min(wide, len(COLOURS))):
                axes.plot(batch[0][k, :, column], color=COLOURS[column], lw=1.2, label=names[column])
        axes.set_title(told[int(at)], fontsize=10)
        axes.grid(alpha=0.25)
    for axes in grid[-1]:
        axes.set_xlabel("step from now" if isinstance(prepared.task, Forecast) else "step of the window")
    for axes in grid[:, 0]:
        axes.set_ylabel("value (standardised)" if prepared.dataset.kind == "series" and hasattr(scaling, "std") else "value")
    name_lines(figure, grid[0, 0])
    caption(figure, f"Each panel is a test window ({kind}); above it {note}.")
    return figure


def _rows(prepared: Prepared, order: Array, told: dict[int, str], title: str, note: str) -> Figure:
    """Rows of a table in its own words."""
    inputs = examples(prepared, prepared.dataset.test, order)[:-1]
    words, columns = cells(prepared, inputs[0]), groups(prepared)
    back: dict[str, list[str]] = {}
    if isinstance(prepared.task, Reconstruction):
        returned = _given_back(prepared, inputs)
        odd, back = np.abs(returned - inputs[0]), cells(prepared, returned)
        what = "the columns that came back worst, as given → as they came back"
    else:
        train = spread(prepared, prepared.dataset.train, 1000)[0]
        odd = np.abs(inputs[0] - train.mean(axis=0)) / np.maximum(train.std(axis=0), 1e-6)  # in standard deviations
        what = "the columns in which it is furthest from the mean training row"
    oddness = np.array([odd[:, places].max(axis=1) for _, places in columns])  # [columns, rows]
    width, size, left = 960.0, 9.0, (14.0, 76.0, 330.0)
    figure, axes = text_figure(74 + 21 * len(order) + 46, width)
    axes.text(14, 22, _heading(prepared, title), fontsize=13)
    for at, name in zip(left, ("test row", "answer", what), strict=True):
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
    text_below(axes, f"Each line is a row of the test split: {note}; beside it {what}, in the table's own units.",
               71 + 21 * len(order) + 2, width)  # fmt: skip
    return figure


def _sentences(prepared: Prepared, order: Array, told: dict[int, str], title: str, note: str) -> Figure:
    width, size = 900.0, 9.5
    blocks = []
    for at in order:
        ids, lengths, _ = examples(prepared, prepared.dataset.test, np.array([at]))
        words = tokens(prepared, ids[0][: int(lengths[0])])
        blocks.append((told[int(at)], words, text_lines(words, width - 34, size, False)))
    height = 44 + sum(32 + len(lines) * size * 1.75 for _, _, lines in blocks) + 36
    figure, axes = text_figure(height, width)
    axes.text(14, 22, _heading(prepared, title), fontsize=13)
    at = 44.0
    for answer, words, lines in blocks:
        axes.text(14, at + 8, answer, fontsize=10, fontweight="bold", color=COLOURS[1] if "→" in answer else INK)
        moved = [[(n, a + 20, b + 20) for n, a, b in one] for one in lines]
        at = coloured_text(axes, words, [(1.0, 1.0, 1.0)] * len(words), moved, at + 18, size, False) + 14
    text_below(axes, f"Each block is a test sentence as the model reads it (□: a word that it does not know); above it {note}.",
               at + 6, width)  # fmt: skip
    return figure


def _surprises(prepared: Prepared) -> Figure:
    """Passages of the test text, each token coloured by how little it was expected."""
    from matplotlib import colormaps

    joined, width = prepared.dataset.kind == "text", 900.0
    size = 12.0 if joined else 9.5
    found: list[tuple[float, Array, Array]] = []
    for inputs, following in batches(prepared.dataset.test, 64):
        scores = prepared.recipe.decide(forward(prepared.model, (inputs,))).data.astype(np.float64)
        bits = -np.take_along_axis(np.asarray(log_softmax(scores, axis=-1)), following[..., None], -1)[..., 0] / np.log(2)
        found += [(float(b.mean()), tokens_, b) for tokens_, b in zip(following, bits, strict=True)]
    found.sort(key=lambda one: -one[0])
    blocks = []
    for mean, ids, bits in found[:8]:
        words = tokens(prepared, ids)
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
        at = coloured_text(axes, words, [shade(min(b, 12) / 14) for b in bits], moved, at + 18, size, joined) + 14
    text_below(axes, "Each block is a window of the test text. The darker a token's ground, the less the model expected it "
                     "(white: 0 bits, certain; darkest: 12 bits, a chance below 1 in 4,000).", at + 6, width)  # fmt: skip
    return figure
