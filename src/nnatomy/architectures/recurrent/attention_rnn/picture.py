"""Recurrent attention at work: which tokens of the source the decoder reads at each step, and quality by length."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnatomy.architectures.recurrent.attention_rnn.model import AttentionRNN
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.pairs.vocabulary import BOS, EOS, PAD, UNK
from nnatomy.graph import no_grad
from nnatomy.tasks.bleu import bleu, installed
from nnatomy.tasks.figures import BLUE, GRAY, ORANGE
from nnatomy.tasks.search import search
from nnatomy.tasks.translation import references
from nnatomy.tensor import Tensor

Array = NDArray[Any]
LOOKS = LinearSegmentedColormap.from_list("looks", ["#f7f8fa", "#bcd3ea", "#4f8cc4", "#1d4e89"])
MOST, WIDEST = 200, 13  # test examples that are tried; tokens of a source that is drawn


def draw(model: AttentionRNN, dataset: Dataset) -> Figure:
    """One alignment of words, or two of characters; and how well test sources of each length are written."""
    preprocessing: Any = dataset.preprocessing
    words = bool(preprocessing.target.spaced)
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, MOST).astype(int))
    source, lengths, _, _ = dataset.test.take(rows)
    found = _written(model, source, lengths, preprocessing.longest)
    true = [references(dataset.test)[int(row)] for row in rows]
    made = [preprocessing.target.decode(row) for row in found]
    chosen = _examples(source, lengths, made, true, words)

    figure = Figure(figsize=(8, 11 if words else 9), layout="constrained")
    top, bottom = np.ravel(np.array(figure.subfigures(2, 1, height_ratios=(2.2, 1) if words else (1.5, 1), hspace=0.04)))
    top.suptitle("Where the decoder looks while it writes", fontsize=18, weight="bold")
    for axes, i in zip(np.ravel(top.subplots(1, len(chosen))), chosen, strict=True):
        read, target = source[i, : lengths[i]], found[i][: int((found[i] != EOS).sum())]
        names = [preprocessing.source.tokens[t] for t in read], [*(preprocessing.target.tokens[t] for t in target), "end"]
        _alignment(axes, align(model, read, target), *names, words)
        if not words:
            axes.set_title(f"it writes “{made[i]}”", fontsize=13, color=ORANGE, y=-0.1)
    asks = "before" if model.attention.score == "additive" else "after"
    top.supxlabel(
        f"Dark where it reads the source. A row is a step; it looks {asks} its state moves on.", fontsize=12, color=GRAY
    )
    _quality(bottom.subplots(), lengths, made, true, words)
    return figure


def align(model: AttentionRNN, source: Array, target: Array) -> Array:
    """Return the weights (T + 1, S) with which the decoder reads the source as it writes the target and ends it."""
    given = np.concatenate([[BOS], target]).astype(np.int64)
    with no_grad():
        alpha = model.align(*(Tensor(B.asarray(a)) for a in (source[None], np.array([len(source)]), given[None])))
    return np.asarray(alpha.numpy()[0])


def _written(model: AttentionRNN, source: Array, lengths: Array, longest: int) -> Array:
    with no_grad():
        return search(
            model.step, model.begin(Tensor(B.asarray(source)), Tensor(B.asarray(lengths))), len(source), start=BOS, end=EOS,
            longest=longest, beam=model.beam, length_penalty=model.length_penalty, never=(PAD, BOS, UNK),
        ).tokens  # fmt: skip


def _examples(source: Array, lengths: Array, made: list[str], true: list[str], words: bool) -> list[int]:
    """Long sources that are written well; of characters two, with different first tokens: one copied and one reversed."""
    worth = []
    for row, n, text, reference in zip(source, lengths, made, true, strict=True):
        a, b = (set(side.lower().split() if words else side) for side in (text, reference))
        close = len(a & b) / max(len(a | b), 1) + (text == reference)
        distinct = len(set(row[:n].tolist())) / n  # repeated letters do not show where the decoder looks
        worth.append((close + n / 20 + distinct) * (n <= WIDEST) * (UNK not in row[:n]))
    chosen: list[int] = []
    for i in np.argsort(-np.array(worth), kind="stable"):
        if len(chosen) < (1 if words else 2) and all(source[i, 0] != source[j, 0] for j in chosen):
            chosen.append(int(i))
    return chosen


def _alignment(axes: Any, weights: Array, read: list[str], written: list[str], words: bool) -> None:
    """A row for each token that is written, a column for each token of the source."""
    size = 14 if words else 20
    axes.imshow(weights, cmap=LOOKS, vmin=0, vmax=1, interpolation="nearest", aspect="auto" if words else "equal")
    axes.set_xticks(range(len(read)), read, fontsize=size, rotation=40 if words else 0, ha="left" if words else "center")
    axes.set_yticks(range(len(written)), written, fontsize=size)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=6)
    for label in axes.get_xticklabels():
        label.set_color(BLUE)
    for label in axes.get_yticklabels():
        label.set_color(ORANGE)
    axes.get_yticklabels()[-1].set(color=GRAY, fontsize=13, style="italic")
    if not words:
        for (row, column), weight in np.ndenumerate(weights):
            if weight >= 0.1:
                axes.text(column, row, f"{weight:.1f}", ha="center", va="center", color="white" if weight > 0.5 else "black")
    for side in axes.spines.values():
        side.set_visible(False)


def _quality(axes: Any, lengths: Array, made: list[str], true: list[str], words: bool) -> None:
    """Draw how well sources are written, by their length."""
    words = words and installed()
    edges = np.unique(lengths)
    if len(edges) > 8:
        edges = np.unique(np.quantile(lengths, np.linspace(0, 1, 7)).round().astype(int))[:-1]
    names, scores = [], []
    for low, high in zip(edges, [*edges[1:], lengths.max() + 1], strict=True):
        rows = np.flatnonzero((lengths >= low) & (lengths < high))
        a, b = ([side[i] for i in rows] for side in (made, true))
        names.append((f"{low}" if high == low + 1 else f"{low}-{high - 1}") + f"\n({len(rows)})")
        scores.append(bleu(a, b) if words else 100 * float(np.mean([x == y for x, y in zip(a, b, strict=True)])))
    axes.bar(names, scores, color=BLUE)
    axes.set(xlabel="tokens of the source, and how many sources", ylabel="BLEU" if words else "exact, %")
    axes.set_title(f"Quality by length, on {len(made)} test examples", loc="left", fontsize=12)
    axes.grid(alpha=0.25, axis="y", color=GRAY)
    axes.set_axisbelow(True)
