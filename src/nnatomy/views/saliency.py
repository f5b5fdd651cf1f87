"""Saliency: the parts of the input that a prediction depends on, by integrated gradients and occlusion, for any data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.data.kinds.looks import Curves, Pictures, Rows, Words
from nnatomy.graph import no_grad
from nnatomy.inspect import Attribution, integrated_gradients, occlusion, record, windows
from nnatomy.inspect.recording import evaluating
from nnatomy.runs.folder import Run
from nnatomy.tasks.figures import short
from nnatomy.tensor import Tensor
from nnatomy.training.recipe import Contract
from nnatomy.views.common import (
    COLORS,
    INK,
    SIGNED,
    caption,
    colored_text,
    evenly_spaced,
    heading,
    input_names,
    inputs_of,
    look,
    name_lines,
    of_each_class,
    text_below,
    text_figure,
    text_lines,
    why_not_by_row,
)  # fmt: skip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Question:
    """A score of one example, as a function of its input (of its tokens' vectors, where it is made of tokens)."""

    score: Callable[[Tensor], Tensor]
    x: Array
    baseline: Array
    title: str
    """The prediction, for people."""

    def attributed(self) -> Attribution:
        """Integrated gradients, complete to 1 % of the change of the score."""
        return integrated_gradients(self.score, self.x, self.baseline)

    def hidden(self, masks: list[Array]) -> Array:
        """The fall of the score where each mask hides the input."""
        return occlusion(self.score, self.x, self.baseline, masks)


def why_unsupported(prepared: Prepared, run: Run | None) -> str | None:
    if not prepared.task.can("saliency_score"):
        return "needs a task with one number to explain"
    if not any(parameter.requires_grad for parameter in prepared.model.parameters()):
        return "needs outputs with a slope, which thresholds do not have"
    cases = prepared.architecture.cases if prepared.architecture.has("recipe") else ()
    if cases and all(Contract.GRADIENTS in case.without for case in cases):
        return "needs gradients that are the slopes of the outputs"
    if reason := why_not_by_row(prepared):
        return reason
    inputs = inputs_of(prepared, evenly_spaced(prepared, prepared.dataset.test, 1))
    return None if inputs[0].dtype.kind == "f" or _vectors(prepared, inputs) else "needs numbers or embedded tokens as input"


def draw(prepared: Prepared, run: Run | None) -> Figure:
    """Draw the attributions for a few test examples; the form depends on the kind of data."""
    with evaluating(prepared.model):
        match look(prepared):
            case Words() as seen:
                return _text(prepared, seen)
            case Pictures() as seen:
                return _images(prepared, seen)
            case Curves() as seen:
                return _series(prepared, seen)
            case Rows() as seen:
                return _table(prepared, seen)


def question(prepared: Prepared, batch: tuple[Array, ...]) -> Question:
    """The score that is explained for one example, a batch of one: its class, its value, its next token, its error."""
    inputs, model = inputs_of(prepared, batch), prepared.model
    vectors = _vectors(prepared, inputs) if inputs[0].dtype.kind in "iu" else None

    def run(x: Tensor) -> Tensor:
        rest = [Tensor(np.repeat(a, x.shape[0], axis=0)) for a in inputs[1:]]
        if vectors is None:
            return prepared.recipe.decide(model(x, *rest))  # type: ignore[no-any-return]
        handle = vectors[0].register_forward_hook(lambda module, args, output: x)
        try:
            return prepared.recipe.decide(model(Tensor(np.repeat(inputs[0], x.shape[0], axis=0)), *rest))  # type: ignore[no-any-return]
        finally:
            handle.remove()

    x = inputs[0][0] if vectors is None else vectors[1]
    answer = np.asarray(run(Tensor(x[None])).data, np.float64)
    found = prepared.task.saliency_score(answer, batch)
    baseline = _baseline(prepared, x) if vectors is None else _mean_vector(prepared, vectors[0], x)
    return Question(lambda x: found.of(run(x), x), x, baseline, found.says)


def _vectors(prepared: Prepared, inputs: tuple[Array, ...]) -> tuple[Any, Array] | None:
    """Return the module that maps tokens to vectors and the first example's vectors [steps, width]; None if there is none."""
    with record(prepared.model) as seen, evaluating(prepared.model):
        prepared.model(*[Tensor(a) for a in inputs])
    for layer in seen.values():
        if layer.inputs and isinstance(layer.output, Tensor) and isinstance(layer.inputs[0][0], Tensor):
            given, made = layer.inputs[0][0], layer.output
            if given.dtype.kind in "iu" and made.shape[:-1] == inputs[0].shape == given.shape and layer.path:
                return layer.module, np.asarray(made.data)[0]
    return None


def _baseline(prepared: Prepared, x: Array) -> Array:
    """A black image; for other numbers the mean of training examples."""
    blank = look(prepared).blank(x)
    if blank is not None:
        return blank
    return np.asarray(evenly_spaced(prepared, prepared.dataset.train, 1000)[0].mean(axis=0), x.dtype).reshape(x.shape)


def _mean_vector(prepared: Prepared, embedding: Any, x: Array) -> Array:
    """The mean vector of the tokens of training examples at each step.

    Zeros are no baseline where a norm without a mean follows: RMSNorm jumps there, and no number of steps finds the integral.
    """
    (tokens, *_) = inputs_of(prepared, evenly_spaced(prepared, prepared.dataset.train, 100))
    with evaluating(prepared.model), no_grad():
        made = np.asarray(embedding(Tensor(tokens)).data)
    return np.broadcast_to(made.mean(axis=(0, 1), dtype=np.float64), x.shape).astype(x.dtype)


def complete(found: Attribution) -> str:
    """Completeness in numbers: the sum of the attributions next to the change of the score."""
    before = f"{found.baseline_score:.3g}".replace("-", "−")
    told = f"sum {found.values.sum():.3g} = {found.score:.3g} − {f'({before})' if found.baseline_score < 0 else before}"
    return told.replace("-", "−")


TOLD = (
    "Integrated gradients add up to the change of the score from the baseline to the example (within 1 %, checked: the sums "
    "are given); occlusion is how far the score falls when a part is hidden."
)


def _images(prepared: Prepared, seen: Pictures) -> Figure:
    from matplotlib.figure import Figure

    what = prepared.task.explains
    batch = of_each_class(prepared, 5)
    count = len(batch[0])
    figure = Figure(figsize=(2.45 * count + 1.4, 8.6), layout="constrained")
    heading(figure, f"What the predictions of {prepared.architecture.front['title']} depend on: {count} test images")
    rows: Any = figure.subplots(3, count, squeeze=False)
    for axes in rows.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    height, width = prepared.dataset.input_shape[1:]
    size = max(1, round(min(height, width) / 6))
    masks = windows(prepared.dataset.input_shape, size, max(1, size // 2))
    maps: list[list[Array]] = [[], []]
    for k in range(count):
        asked = question(prepared, tuple(a[k : k + 1] for a in batch))
        shown = seen.picture(asked.x)
        rows[0, k].imshow(shown, cmap="gray", vmin=0, vmax=1)
        rows[0, k].set_title(asked.title, fontsize=10)
        found = asked.attributed()
        rows[1, k].set_xlabel(complete(found), fontsize=9)
        falls = asked.hidden(masks)
        covered = sum(m[0].astype(float) for m in masks)
        maps[0].append(found.values.sum(axis=0))
        maps[1].append(sum(fall * m[0] for fall, m in zip(falls, masks, strict=True)) / covered)
    for row, found_maps, name in zip(
        rows[1:], maps, ("integrated\ngradients", f"occlusion by\n{size} × {size} squares"), strict=True
    ):
        for axes, one in zip(row, found_maps, strict=True):
            reach = float(np.quantile(np.abs(one), 0.995)) or 1.0
            image = axes.imshow(one / reach, cmap=SIGNED, vmin=-1, vmax=1)
        row[0].set_ylabel(name, fontsize=10)
        bar = figure.colorbar(image, ax=row, shrink=0.8, ticks=[-1, 0, 1])
        bar.ax.set_yticklabels(["lowers it", "0", "raises it"])
    rows[0, 0].set_ylabel("input and prediction", fontsize=10)
    caption(
        figure,
        f"Red pixels raise {what}, blue ones lower it, against a black image; each map has its own scale. {TOLD}",
    )
    return figure


def _table(prepared: Prepared, seen: Rows) -> Figure:
    from matplotlib.figure import Figure

    what = prepared.task.explains
    batch = of_each_class(prepared, 4)
    count, columns = len(batch[0]), seen.groups
    figure = Figure(figsize=(13, 3.9 * -(-count // 2) + 0.9), layout="constrained")
    heading(figure, f"What the predictions of {prepared.architecture.front['title']} depend on: {count} rows of the test split")
    grid: Any = figure.subplots(-(-count // 2), min(count, 2), squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    words = seen.cells(batch[0])
    for k in range(count):
        asked = question(prepared, tuple(a[k : k + 1] for a in batch))
        found = asked.attributed()
        sums = np.array([found.values[places].sum() for _, places in columns])
        masks = [np.isin(np.arange(len(asked.x)), places) for _, places in columns]
        falls = asked.hidden(masks)
        top = np.argsort(-np.abs(sums), kind="stable")[:10][::-1]
        axes, at = grid.flat[k], np.arange(len(top))
        axes.barh(at + 0.2, sums[top], 0.38, color=COLORS[0], label="integrated gradients")
        axes.barh(at - 0.2, falls[top], 0.38, color=COLORS[4], label="occlusion")
        names = [f"{short(columns[i][0])} = {short(words[columns[i][0]][k], 12)}" for i in top]
        axes.set_yticks(at, names, fontsize=9)
        axes.axvline(0, color=INK, lw=0.8)
        axes.grid(axis="x", alpha=0.25)
        axes.set_title(f"{asked.title}   ·   {complete(found)}", fontsize=10)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2, fontsize=9, frameon=False)  # above the panels' titles
    for axes in grid[-1]:
        axes.set_xlabel(
            "for (right of 0) or against (left)" if prepared.dataset.classes else "raises (right of 0) or lowers (left)"
        )
    caption(figure, f"The ten columns that matter most for each row: bars to the right raise {what}, others lower "
                    f"it, against the mean training row. {TOLD}")  # fmt: skip
    return figure


def _series(prepared: Prepared, seen: Curves) -> Figure:
    from matplotlib.figure import Figure

    what = prepared.task.explains
    batch = of_each_class(prepared, 3)
    count = len(batch[0])
    steps, wide = prepared.dataset.input_shape
    names = input_names(seen, wide)
    figure = Figure(figsize=(4.6 * count + 0.8, 3.4 + 2 * (0.9 + 0.14 * wide)), layout="constrained")
    heading(figure, f"What the predictions of {prepared.architecture.front['title']} depend on: {count} test windows")
    rows: Any = figure.subplots(3, count, squeeze=False, height_ratios=(2.4, 0.7 + 0.14 * wide, 0.7 + 0.14 * wide))
    size = max(1, steps // 24)
    masks = []
    for column in range(wide):
        for start in range(0, steps, size):
            mask = np.zeros((steps, wide), bool)
            mask[start : start + size, column] = True
            masks.append(mask)
    for k in range(count):
        asked = question(prepared, tuple(a[k : k + 1] for a in batch))
        found = asked.attributed()
        falls = sum(fall * mask / size for fall, mask in zip(asked.hidden(masks), masks, strict=True))
        for column in range(min(wide, len(COLORS))):
            rows[0, k].plot(asked.x[:, column], color=COLORS[column], lw=1.3, label=names[column])
        rows[0, k].set_title(f"{asked.title}\n{complete(found)}", fontsize=10)
        rows[0, k].grid(alpha=0.25)
        rows[0, k].set_xlim(-0.5, steps - 0.5)
        for row, one in ((1, found.values), (2, falls)):
            reach = float(np.abs(one).max()) or 1.0
            image = rows[row, k].imshow(one.T / reach, cmap=SIGNED, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
            rows[row, k].set_yticks(range(wide), names if k == 0 else [""] * wide, fontsize=8)
        rows[2, k].set_xlabel("step of the window")
    name_lines(figure, rows[0, 0])
    rows[0, 0].set_ylabel("input", fontsize=9)
    rows[1, 0].set_ylabel("integrated\ngradients", fontsize=9)
    rows[2, 0].set_ylabel(f"occlusion\n({size} step{'s' * (size > 1)})", fontsize=9)
    bar = figure.colorbar(image, ax=rows[1:], shrink=0.9, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["lowers", "0", "raises"])
    caption(figure, f"Red steps raise {what}, blue ones lower it, against the mean training window; each strip has "
                    f"its own scale. {TOLD}")  # fmt: skip
    return figure


def _text(prepared: Prepared, seen: Words) -> Figure:
    from matplotlib import colormaps

    joined, width = seen.joined, 860.0
    size = 12.0 if joined else 9.5
    what = prepared.task.explains
    batch = of_each_class(prepared, 4)
    blocks: list[tuple[str, list[str], list[Array], list[Any]]] = []
    for k in range(len(batch[0])):
        one = tuple(a[k : k + 1] for a in batch)
        length = int(one[1][0]) if len(one) > 2 else one[0].shape[1]
        if len(one) > 2:
            one = (one[0][:, :length], *one[1:])
        asked = question(prepared, one)
        found = asked.attributed()
        masks = [np.broadcast_to((np.arange(length) == t)[:, None], asked.x.shape) for t in range(length)]
        words = seen.words(one[0][0])
        lines = text_lines(words, width - 28, size, joined)
        blocks.append((f"{asked.title}    {complete(found)}", words, [found.values.sum(axis=1), asked.hidden(masks)], lines))
    line = size * 1.75
    width = max(680.0, min(width, 28 + max(right for *_, lines in blocks for one in lines for _, _, right in one)))
    height = 44 + sum(30 + 2 * (len(lines) * line + 18) for *_, lines in blocks) + 50
    figure, axes = text_figure(height, width)
    axes.text(
        14, 22, f"What the predictions of {prepared.architecture.front['title']} depend on: {len(blocks)} examples", fontsize=13
    )
    at, middle = 44.0, colormaps[SIGNED]
    for title, words, both, lines in blocks:
        axes.text(14, at + 10, title, fontsize=10, fontweight="bold", color=INK)
        at += 22
        for name, values in zip(("integrated gradients", "occlusion, token by token"), both, strict=True):
            axes.text(14, at + 6, name, fontsize=8, color=INK)
            reach = float(np.abs(values).max()) or 1.0
            colors = [middle(0.5 + 0.42 * v / reach) for v in values]
            moved = [[(n, a + 14, b + 14) for n, a, b in one] for one in lines]
            at = colored_text(axes, words, colors, moved, at + 12, size, joined) + 6
        at += 8
    text_below(axes, f"Red tokens raise {what}, blue ones lower it, against tokens whose vectors are 0; each block "
                     f"has its own scale. {TOLD}", at + 4, width)  # fmt: skip
    return figure


__all__ = ["Question", "complete", "draw", "question", "why_unsupported"]
