"""ALBERT at work: its parameters next to a BERT's, one gap after each pass through its layer, and what a pass changes."""

from __future__ import annotations

import itertools
import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnatomy.architectures.transformers.albert.model import ALBERT, Classifier, Pretraining
from nnatomy.architectures.transformers.bert.model import tokens_read
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset
from nnatomy.data.masking import IGNORED
from nnatomy.data.wordpiece import MASK, SPECIAL
from nnatomy.functional import softmax
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = NDArray[Any]
NARROW, LAYER, GREEN, GRAY, INK = "#d97706", "#2563a8", "#2e8b57", "#9ca3af", "#1f2937"
TEXTS, WORDS, PASSES, SHOWN = 96, 4, 12, 4


def draw(model: Pretraining | Classifier, dataset: Dataset) -> Figure:
    """Parameters above; in the middle the words expected at a gap after each pass; below, what each pass changes."""
    albert, masked = model.albert, isinstance(model, Pretraining)
    vocabulary = getattr(dataset.preprocessing, "vocabulary")  # noqa: B009
    figure = Figure(figsize=(9, 11 if masked else 7.5), layout="constrained")
    figure.suptitle("ALBERT goes through one layer again and again", fontsize=15, color=INK)
    parts = np.ravel(np.array(figure.subfigures(3 if masked else 2, 1)))
    _parameters(parts[0].subplots(), albert)
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, min(TEXTS, len(dataset.test))).astype(int))
    batch = dataset.test.take(rows)
    states = _states(albert, batch[: 3 if masked else 2])
    if isinstance(model, Pretraining):
        _gap(parts[1], model, states[: albert.encoder.depth + 1], batch, vocabulary)
    read = np.arange(batch[0].shape[1]) < batch[1][:, None]
    _changes(parts[-1].subplots(1, 2), [x[read] for x in states], albert.encoder.depth)
    return figure


def _states(albert: ALBERT, inputs: tuple[Array, ...]) -> list[Array]:
    """The vectors before the first pass and after each of PASSES passes: more than the model was trained with."""
    tokens, lengths, *segments = (Tensor(B.asarray(a)) for a in inputs)
    layers = albert.encoder.layers
    with no_grad():
        seen = tokens_read(tokens, lengths)[:, None, None, :]
        x = albert.encoder.embedding_hidden_mapping_in(albert.embeddings(tokens, *segments))
        found = [x.numpy()]
        for n in range(max(PASSES, len(layers))):
            x = layers[min(n, len(layers) - 1)](x, seen)
            found.append(x.numpy())
    return found


def _parameters(axes: Any, albert: ALBERT) -> None:
    """Two bars of blocks: tables of words, then layers; layers that cost nothing are outlines."""
    encoder, narrow, width = albert.encoder, albert.embedding_size, albert.hidden_size
    tables = sum(p.size for p in albert.embeddings.parameters())
    layer = sum(p.size for p in encoder.layers[0].parameters())
    mapped = sum(p.size for p in encoder.embedding_hidden_mapping_in.parameters())
    rows = (("BERT", tables * width // narrow, 0, encoder.depth), ("ALBERT", tables, mapped, len(encoder.albert_layer_groups)))
    for y, (_, embedding, extra, own) in enumerate(rows):
        axes.barh(y, embedding + extra, height=0.6, color=NARROW, edgecolor="white", linewidth=1.5)
        for n in range(encoder.depth):
            paid = n < own
            axes.barh(y, layer, left=embedding + extra + n * layer, height=0.6, linewidth=1.5, linestyle="-" if paid else "--",
                      color=LAYER if paid else "white", edgecolor="white" if paid else GRAY)  # fmt: skip
            axes.text(embedding + extra + (n + 0.5) * layer, y, f"layer {n + 1}" if paid else "the same", ha="center",
                      va="center", fontsize=10, color="white" if paid else "#6b7280")  # fmt: skip
        total = embedding + extra + own * layer
        axes.text(embedding + extra + (encoder.depth + 0.08) * layer, y, f"{total:,}", va="center", fontsize=11, color=INK)
    axes.set_yticks(range(2), [name for name, *_ in rows], fontsize=12)
    axes.invert_yaxis()
    axes.set(xticks=[], xlim=(0, (rows[0][1] + encoder.depth * layer) * 1.16))
    axes.set_title(f"Parameters of the embeddings (orange; {narrow} numbers a word, not {width}) and of the layers (blue)",
                   loc="left", fontsize=11.5, color=INK)  # fmt: skip
    _bare(axes, ("top", "right", "bottom", "left"))


def _gap(figure: Any, model: Pretraining, states: list[Array], batch: tuple[Array, ...], vocabulary: tuple[str, ...]) -> None:
    """The words that the head reads out of one gap after some of the passes: of the gaps, that which gains most."""
    tokens, lengths, _, labels, *_ = batch
    named = np.array([word.isalpha() for word in vocabulary])
    chosen = (tokens == MASK) & (labels != IGNORED) & named[np.maximum(labels, 0)]
    p = []
    with no_grad():
        for x in states:
            scores = model.predictions(Tensor(B.asarray(x)), model.albert.embeddings.word_embeddings.weight).numpy()
            p.append(np.asarray(softmax(scores.astype(np.float64), axis=-1)))
    true = [np.take_along_axis(q, np.maximum(labels, 0)[..., None], -1)[..., 0] for q in p]
    gain = np.where(chosen, true[-1] - np.max(true[:-1], axis=0), -np.inf)
    row, place = np.unravel_index(int(gain.argmax()), gain.shape)
    words = ["[?]" if n == place else vocabulary[t] for n, t in enumerate(tokens[row, : lengths[row]])]
    text = " ".join(word for word in words if word not in SPECIAL or word == "[MASK]").replace(" ##", "")
    figure.suptitle(textwrap.fill(f"What the head would say at the gap: {text}", 88), fontsize=11.5, color=INK)
    passes = np.unique(np.linspace(0, len(states) - 1, min(SHOWN, len(states))).astype(int))
    for axes, n in zip(np.ravel(figure.subplots(1, len(passes), sharex=True)), passes, strict=True):
        q = p[n][row, place]
        order = np.argsort(-q, kind="stable")[:WORDS]
        axes.barh(range(len(order)), q[order], color=[GREEN if t == labels[row, place] else "#c9ced6" for t in order])
        for y, t in enumerate(order):
            axes.text(0.02, y, vocabulary[t], va="center", fontsize=12, family="monospace", color=INK)
            covered = q[t] > 0.8 and t == labels[row, place]
            axes.text(0.98, y, f"{q[t]:.0%}", va="center", ha="right", fontsize=10, color="white" if covered else "#6b7280")
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xticks=[], yticks=[])
        axes.set_title("embedding" if n == 0 else f"pass {n}", fontsize=12, color=INK)
        _bare(axes, ("top", "right", "bottom", "left"))


def _changes(panels: Any, states: list[Array], depth: int) -> None:
    """Cosine and distance of a pass's input and output: solid as trained, dashed for the passes after."""
    pairs = list(itertools.pairwise(states))
    cosine = [float(np.mean((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1))) for a, b in pairs]
    distance = [float(np.mean(np.linalg.norm(a - b, axis=-1))) for a, b in pairs]
    steps = np.arange(1, len(pairs) + 1)
    for axes, values, name in zip(panels, (cosine, distance), ("cosine", "distance"), strict=True):
        axes.plot(steps[:depth], values[:depth], "-o", color=LAYER, lw=2.4, label="as trained")
        if len(steps) > depth:
            axes.plot(steps[depth - 1 :], values[depth - 1 :], "--o", color=GRAY, lw=1.8, ms=4, zorder=0, label="more passes")
        axes.set(xlabel="pass", xticks=steps, ylim=(min(0, *values) * 1.1, max(values) * 1.15))
        axes.set_title(f"{name} of input and output of a pass", loc="left", fontsize=11.5, color=INK)
        axes.grid(axis="y", color="#e5e7eb")
        axes.legend(frameon=False, fontsize=10, loc="lower right" if name == "cosine" else "upper right")
        _bare(axes, ("top", "right"))


def _bare(axes: Any, sides: tuple[str, ...]) -> None:
    axes.tick_params(length=0)
    for side in sides:
        axes.spines[side].set_visible(False)
