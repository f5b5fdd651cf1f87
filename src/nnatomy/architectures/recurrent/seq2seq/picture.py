"""Sequence to sequence at work: the state while a source is read and its translation written, and what the one vector holds."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nnatomy.architectures.recurrent.seq2seq.model import Seq2Seq
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.pairs.vocabulary import BOS, EOS, PAD, UNK
from nnatomy.graph import no_grad
from nnatomy.tasks.bleu import bleu, installed
from nnatomy.tasks.figures import fit_colors
from nnatomy.tasks.search import search
from nnatomy.tasks.translation import references
from nnatomy.tensor import Tensor

Array = NDArray[Any]
BLUE, ORANGE, GRAY = "#2563a8", "#d1662a", "#6b7280"
MOST = 300  # test examples
UNITS = 24
LABELED = 9


def draw(model: Seq2Seq, dataset: Dataset) -> Figure:
    """One source read and its translation written, token by token; the vectors of test sources; quality by length."""
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, MOST).astype(int))
    source, lengths, _, _ = dataset.test.take(rows)
    vectors, written = _translated(model, dataset, source, lengths)
    true = [references(dataset.test)[int(row)] for row in rows]
    preprocessing: Any = dataset.preprocessing
    texts = [preprocessing.target.decode(row) for row in written]

    figure = Figure(figsize=(12.5, 10), layout="constrained")
    top, bottom = np.ravel(np.array(figure.subfigures(2, 1)))
    chosen = _example(source, lengths, texts, true, preprocessing.target.spaced)
    figure.suptitle(_title(preprocessing.source.decode(source[chosen]), texts[chosen], true[chosen]), fontsize=13)
    _course(top, model, dataset, source[chosen, : lengths[chosen]], texts[chosen])
    left, right = bottom.subplots(1, 2)
    _plane(bottom, left, vectors, lengths, [preprocessing.source.decode(row) for row in source])
    _quality(right, lengths, texts, true, preprocessing.target.spaced)
    return figure


def _translated(model: Seq2Seq, dataset: Dataset, source: Array, lengths: Array) -> tuple[Array, Array]:
    """The vectors v of sources, (n, numbers), and the tokens of their translations."""
    preprocessing: Any = dataset.preprocessing
    with no_grad():
        state = model.begin(Tensor(B.asarray(source)), Tensor(B.asarray(lengths)))
        found = search(
            model.step, state, len(source), start=BOS, end=EOS, longest=preprocessing.longest, beam=model.beam,
            length_penalty=model.length_penalty, never=(PAD, BOS, UNK),
        )  # fmt: skip
    return np.concatenate([part.numpy().reshape(len(source), -1) for part in state[1]], axis=1), found.tokens


def _example(source: Array, lengths: Array, texts: list[str], true: list[str], words: bool) -> int:
    """A source of 12 tokens at most, all known, whose translation is close to the reference; the longest of these."""
    scores = []
    for row, n, text, reference in zip(source, lengths, texts, true, strict=True):
        a, b = (side.lower().split() if words else [side] for side in (text, reference))
        close = len(set(a) & set(b)) / max(len(set(a) | set(b)), 1)
        scores.append(close * (n <= 12) * (UNK not in row) + n * (n <= 12) / 100)
    return int(np.argmax(scores))


def _course(figure: Any, model: Seq2Seq, dataset: Dataset, source: Array, text: str) -> None:
    """The top layer's hidden state after each token: the encoder reads, hands over one column, and the decoder writes."""
    preprocessing: Any = dataset.preprocessing
    read = source[::-1] if model.reverse else source
    target = np.concatenate([[BOS], preprocessing.target.encode([text])[0]]) if text else np.array([BOS])
    h = []
    with no_grad():
        for n in range(1, len(source) + 1):  # a source of the n tokens that are read first
            part = source[-n:] if model.reverse else source[:n]
            v = model.encode(Tensor(B.asarray(part[None])), Tensor(B.asarray([n])))
            h.append(v[0].numpy()[-1, 0])
        state = v
        for token in target:
            _, state = model.decode(Tensor(B.asarray([[int(token)]])), state, v)
            h.append(state[0].numpy()[-1, 0])
    values = np.array(h).T  # (hidden, steps)
    units = np.argsort(-values.std(axis=1))[:UNITS]
    values = values[units[np.argsort(values[units, len(source) - 1])]]
    axes, bar = figure.subplots(1, 2, width_ratios=(60, 1))
    image = axes.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    figure.colorbar(image, cax=bar, extend=fit_colors(image))
    border = len(source) - 0.5
    axes.axvline(border, color="black", lw=2)
    axes.axvspan(border - 1, border, fill=False, ec="black", lw=2)
    names = [preprocessing.source.tokens[t] for t in read]
    answers = [*(preprocessing.target.tokens[t] for t in target[1:]), "end"]
    turned = max(map(len, [*names, *answers])) > 4
    axes.set_xticks(range(len(names) + len(answers)), names + answers, fontsize=11, rotation=35 if turned else 0,
                    ha="right" if turned else "center")  # fmt: skip
    for place, label in enumerate(axes.get_xticklabels()):
        label.set_color(BLUE if place < len(names) else ORANGE)
    axes.set_yticks([])
    axes.set_ylabel(f"{len(values)} units")
    order = "from its last token to its first" if model.reverse else "from left to right"
    axes.text(0, 1.02, f"the encoder reads {order}", color=BLUE, fontsize=11, transform=axes.transAxes)
    axes.text(1, 1.02, "the decoder writes", color=ORANGE, fontsize=11, ha="right", transform=axes.transAxes)
    axes.set_xlabel("The framed column is the vector v: all that the decoder knows of the source", fontsize=11)


def _title(source: str, text: str, true: str) -> str:
    """Return the title: the source, its translation and the reference."""
    verdict = "as the reference" if text == true else f"reference: “{_cut(true)}”"
    lines = f"“{_cut(source, 90)}” is translated as", f"“{_cut(text)}” ({verdict})"
    return (" " if len("".join(lines)) < 90 else "\n").join(lines)


def _plane(figure: Any, axes: Any, vectors: Array, lengths: Array, sources: list[str]) -> None:
    """The vectors of the sources in the plane of their two main directions."""
    centered = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centered.astype(np.float64), full_matrices=False)
    x, y = (centered @ directions[:2].T).T if len(directions) > 1 else (centered[:, 0], centered[:, 0])
    points = axes.scatter(x, y, c=lengths, cmap="viridis", s=18)
    figure.colorbar(points, ax=axes, label="tokens of the source", fraction=0.04, ticks=MaxNLocator(integer=True))
    far = [int(np.argmax(np.hypot(x - x.mean(), y - y.mean())))]
    while len(far) < min(LABELED, len(sources)):  # labels that are far from each other
        gaps = np.min([np.hypot((x - x[i]) / (np.ptp(x) or 1), (y - y[i]) / (np.ptp(y) or 1)) for i in far], axis=0)
        far.append(int(np.argmax(gaps)))
    for i in far:
        side = "right" if x[i] > np.median(x) else "left"
        axes.annotate(_cut(sources[i], 20), (x[i], y[i]), xytext=(-5 if side == "right" else 5, 4), textcoords="offset points",
                      fontsize=9, ha=side)  # fmt: skip
    axes.set_title("The vectors v of test sources, in the plane of their two main directions", loc="left", fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])


def _quality(axes: Any, lengths: Array, texts: list[str], true: list[str], words: bool) -> None:
    """Draw the quality of translation by length of the source: one vector of fixed size must hold every length."""
    words = words and installed()
    edges = np.unique(lengths)
    if len(edges) > LABELED:
        edges = np.unique(np.quantile(lengths, np.linspace(0, 1, 7)).round().astype(int))[:-1]
    edges = np.append(edges, lengths.max() + 1)
    names, scores = [], []
    for low, high in itertools.pairwise(edges):
        rows = np.flatnonzero((lengths >= low) & (lengths < high))
        names.append((f"{low}" if high == low + 1 else f"{low}-{high - 1}") + f"\n({len(rows)})")
        made, wanted = ([side[i] for i in rows] for side in (texts, true))
        exact = 100 * float(np.mean([a == b for a, b in zip(made, wanted, strict=True)]))
        scores.append(bleu(made, wanted) if words else exact)
    axes.bar(names, scores, color=BLUE)
    measure = "BLEU" if words else "translations that equal the reference, %"
    axes.set(xlabel="tokens of the source, and how many sources", ylabel=measure)
    axes.set_ylim(0, max(100 if not words else 1, *scores) * 1.05)
    axes.set_title(f"Quality by length, on {len(texts)} test examples: one vector must hold them all", loc="left", fontsize=11)
    axes.grid(alpha=0.25, axis="y", color=GRAY)
    axes.set_axisbelow(True)


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
