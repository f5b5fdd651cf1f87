"""The transformer at work: which tokens of the source its decoder reads while it writes, and the sinusoids that order them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnatomy.architectures.transformers.transformer.model import Transformer, sinusoids
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.pairs.vocabulary import BOS, EOS, PAD, UNK
from nnatomy.functional import attention_weights
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tasks.search import search
from nnatomy.tasks.translation import references
from nnatomy.tensor import Tensor

Array = NDArray[Any]
BLUE, ORANGE, GRAY, INK = "#1d4e89", "#c8553d", "#6b7280", "#1f2937"
LOOKS = LinearSegmentedColormap.from_list("looks", ["#f7f8fa", "#bcd3ea", "#4f8cc4", BLUE])
WAVES = LinearSegmentedColormap.from_list("waves", [BLUE, "#8db4d9", "#f7f8fa", "#e8b09f", ORANGE])
MOST, WIDEST = 200, 13  # test examples that are tried; tokens of a source that is drawn
PLACES = 48


def draw(model: Transformer, dataset: Dataset) -> Figure:
    """One alignment of words, or two of characters, and the sinusoids of the first places."""
    preprocessing: Any = dataset.preprocessing
    words = preprocessing.target.spaced
    examples = _examples(model, dataset, 1 if words else 2)
    looked = [watch(model, source, target) for source, target in examples]
    layer, head = _sharpest(looked)

    figure = Figure(figsize=(8, 11 if words else 9), layout="constrained")
    top, bottom = np.ravel(np.array(figure.subfigures(2, 1, height_ratios=(2.2, 1) if words else (1.4, 1), hspace=0.04)))
    top.suptitle("Where the decoder looks while it writes", fontsize=19, color=INK, weight="bold")
    for axes, (source, target), weights in zip(np.ravel(top.subplots(1, len(examples))), examples, looked, strict=True):
        read = [preprocessing.source.tokens[t] for t in source]
        written = [*(preprocessing.target.tokens[t] for t in target), "end"]
        _alignment(axes, weights[layer, head], read, written, words)
        made = preprocessing.target.decode(target)
        axes.set_title(f"it writes “{made}”", fontsize=13, color=ORANGE, y=-0.1) if not words else None
    said = f"Each row is one step: dark where head {head + 1} of decoder layer {layer + 1} reads the source."
    top.supxlabel(said, fontsize=12, color=GRAY)
    _waves(bottom, model.d_model)
    return figure


def watch(model: Transformer, source: Array, target: Array) -> Array:
    """Return the weights (layers, heads, T, S) with which the decoder reads the source as it writes the target and ends it."""
    found: list[Array] = []

    def keep(attention: Module, given: tuple[Any, ...]) -> None:
        q, k, _, seen = given
        found.append(attention_weights(q, k, mask=seen).numpy()[0])

    handles = [layer.multihead_attn.register_forward_pre_hook(keep) for layer in model.decoder.layers]
    given = np.concatenate([[BOS], target]).astype(np.int64)
    with no_grad():
        model(*(Tensor(B.asarray(a)) for a in (source[None], np.array([len(source)]), given[None])))
    for handle in handles:
        handle.remove()
    return np.array(found)


def _examples(model: Transformer, dataset: Dataset, count: int) -> list[tuple[Array, Array]]:
    """Test sources, and the tokens that are written for them: long ones that are written well, with different first tokens."""
    preprocessing: Any = dataset.preprocessing
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, MOST).astype(int))
    source, lengths, _, _ = dataset.test.take(rows)
    with no_grad():
        found = search(
            model.step, model.begin(Tensor(B.asarray(source)), Tensor(B.asarray(lengths))), len(rows), start=BOS, end=EOS,
            longest=preprocessing.longest, beam=model.beam, length_penalty=model.length_penalty, never=(PAD, BOS, UNK),
        ).tokens  # fmt: skip
    true = [references(dataset.test)[int(row)] for row in rows]
    worth = []
    for row, n, tokens, reference in zip(source, lengths, found, true, strict=True):
        made, wanted = (set(preprocessing.target.split(text)) for text in (preprocessing.target.decode(tokens), reference))
        close = len(made & wanted) / max(len(made | wanted), 1) + (preprocessing.target.decode(tokens) == reference)
        worth.append((close + n / 20) * (n <= WIDEST) * (UNK not in row[:n]))
    chosen: list[int] = []
    for i in np.argsort(-np.array(worth), kind="stable"):
        if len(chosen) < count and all(source[i, 0] != source[j, 0] for j in chosen):
            chosen.append(int(i))
    return [(source[i, : lengths[i]], found[i][: int((found[i] != EOS).sum())]) for i in chosen]


def _sharpest(looked: list[Array]) -> tuple[int, int]:
    """The layer and head that looks at single tokens, at different ones for different steps."""
    worth = np.zeros(looked[0].shape[:2])
    for weights in looked:
        places = weights.argmax(axis=-1)  # (layers, heads, T)
        different = np.array([[len(set(row)) / len(row) for row in heads] for heads in places.tolist()])
        worth += weights.max(axis=-1).mean(axis=-1) * different
    layer, head = np.unravel_index(int(worth.argmax()), worth.shape)
    return int(layer), int(head)


def _alignment(axes: Any, weights: Array, read: list[str], written: list[str], words: bool) -> None:
    """A row for each token that is written, a column for each token of the source."""
    size = 14 if words else 22
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
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xticks(np.arange(0.5, len(read) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(written) - 1), minor=True)
    axes.grid(which="minor", color="white", lw=3)
    axes.tick_params(which="minor", length=0)
    for (row, column), weight in np.ndenumerate(weights):
        if weight > 0.15:
            axes.text(column, row, f"{100 * weight:.0f}%", ha="center", va="center", fontsize=11 if words else 13,
                      color="white" if weight > 0.5 else INK)  # fmt: skip


def _waves(figure: Any, width: int) -> None:
    """The sines of the sinusoids: a column for each place, a row for each wave, the shortest on top."""
    axes, bar = figure.subplots(1, 2, width_ratios=(50, 1))
    sines = sinusoids(0, PLACES, width)[:, ::2].T
    image = axes.imshow(sines, cmap=WAVES, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    figure.colorbar(image, cax=bar, ticks=(-1, 0, 1)).ax.tick_params(labelsize=11, length=0)
    axes.set_title("What tells a token its place", fontsize=19, color=INK, weight="bold", pad=10)
    axes.set_xlabel(f"place: each one has its own column of {len(sines)} sines, and as many cosines", fontsize=12, color=GRAY)
    axes.set_yticks([0, len(sines) - 1], ["short\nwaves", "long\nwaves"], fontsize=12, color=GRAY)
    axes.tick_params(labelsize=12, length=0, labelcolor=GRAY)
    for side in (*axes.spines.values(), *bar.spines.values()):
        side.set_visible(False)
