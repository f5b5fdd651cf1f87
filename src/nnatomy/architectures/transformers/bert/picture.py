"""BERT at work on a held-out text: what it expects behind a mask from the left, the right and both sides, and its attention."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnatomy.architectures.transformers.bert.model import BERT, Classifier, Pretraining, tokens_read
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset
from nnatomy.data.masking import IGNORED
from nnatomy.data.wordpiece import MASK, SPECIAL
from nnatomy.functional import softmax
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = NDArray[Any]
LEFT, RIGHT, GREEN, GRAY, INK = "#2563a8", "#d97706", "#2e8b57", "#6b7280", "#1f2937"
LONGEST = 34  # tokens that are drawn
TEXTS, LIKELIEST, HEADS = 96, 3, 4
SIDES = ("only what is on the left", "only what is on the right", "both sides")


def draw(model: Pretraining | Classifier, dataset: Dataset) -> Figure:
    """What is predicted at one place, as bars; below, the four heads that look from there to other tokens most sharply."""
    masked = isinstance(model, Pretraining)
    figure = Figure(figsize=(9, 11 if masked else 8), layout="constrained")
    upper, lower = np.ravel(np.array(figure.subfigures(2, 1, height_ratios=(1, 1 if masked else 2))))
    preprocessing: Any = dataset.preprocessing
    vocabulary = preprocessing.vocabulary
    if isinstance(model, Pretraining):
        inputs, place, true, p = _masked(model, dataset)
        figure.suptitle("BERT fills in a word from both sides", fontsize=15, color=INK)
        _sides(upper, p, inputs, place, true, vocabulary)
        viewed = "the masked word"
    else:
        inputs, p, label = _classified(model, dataset)
        place, viewed = 0, "[CLS]"
        figure.suptitle("BERT reads a sentence and judges it by the vector of [CLS]", fontsize=15, color=INK)
        _classes(upper, p, label, dataset.classes, _words(inputs, vocabulary))
    names = _words(inputs, vocabulary)
    _heads(lower, attention(model.bert, *inputs), place, names, viewed)
    return figure


def attention(model: BERT, *inputs: Array) -> Array:
    """Return the weights of all heads for one text: (layers, heads, tokens, tokens)."""
    tokens, *rest = (Tensor(B.asarray(a)) for a in inputs)
    found = []
    with no_grad():
        seen = tokens_read(tokens, rest[0] if rest else None)
        seen = None if seen is None else seen[:, None, None, :]
        x = model.embeddings(tokens, rest[1] if len(rest) > 1 else None)
        for layer in model.encoder.layer:
            found.append(layer.attention.self.weights(x, seen).numpy()[0])
            x = layer(x, seen)
    return np.array(found)


def _masked(model: Pretraining, dataset: Dataset) -> tuple[tuple[Array, ...], int, int, Array]:
    """One text with one mask: of held-out ones, that which both sides together decide most; and p of its word by side."""
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, min(TEXTS, len(dataset.test))).astype(int))
    tokens, lengths, segments, labels, random = dataset.test.take(rows)
    tokens = np.where(labels == IGNORED, tokens, labels)
    best: tuple[float, Any] = (-np.inf, None)
    for row in np.flatnonzero((random == 0) & (lengths <= LONGEST)) if (random == 0).any() else range(len(rows)):
        n = min(int(lengths[row]), LONGEST)
        places = np.flatnonzero(tokens[row, :n] >= len(SPECIAL))
        places = places[(places >= n // 5) & (places < n - n // 3)]  # with enough to look at on both sides
        if not len(places):
            continue
        x = np.tile(tokens[row, :n], (len(places), 1))
        x[np.arange(len(places)), places] = MASK
        away = np.arange(n)[None] - places[:, None]
        masks = [(away <= 0) | (away == -places[:, None]), (away >= 0) | (away == -places[:, None]), np.ones_like(x, bool)]
        p = np.stack([_filled(model, x, mask, np.tile(segments[row, :n], (len(places), 1)), places) for mask in masks], axis=1)
        truth = p[np.arange(len(places)), :, tokens[row, places]]
        gain = truth[:, 2] - truth[:, :2].max(axis=1)
        k = int(gain.argmax())
        if gain[k] > best[0]:
            inputs = (x[k : k + 1], np.array([n]), segments[row : row + 1, :n])
            best = float(gain[k]), (inputs, int(places[k]), int(tokens[row, places[k]]), p[k])
    found: tuple[tuple[Array, ...], int, int, Array] = best[1]
    return found


def _filled(model: Pretraining, tokens: Array, mask: Array, segments: Array, places: Array) -> Array:
    """Probabilities of the token at one place of each text."""
    with no_grad():
        scores, _ = model(*(Tensor(B.asarray(a)) for a in (tokens, mask.astype(np.int64), segments)))
    return np.asarray(softmax(scores.numpy()[np.arange(len(places)), places].astype(np.float64), axis=-1))


def _classified(model: Classifier, dataset: Dataset) -> tuple[tuple[Array, ...], Array, int]:
    """Of some held-out texts the one whose class is most certain, among those that are short enough to be read here."""
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, min(TEXTS, len(dataset.test))).astype(int))
    tokens, lengths, labels = dataset.test.take(rows)
    with no_grad():
        scores = model(Tensor(B.asarray(tokens)), Tensor(B.asarray(lengths))).numpy()
    p = np.asarray(softmax(scores.astype(np.float64), axis=-1))
    fits = (lengths >= min(12, lengths.max())) & (lengths <= LONGEST)
    certain = np.where(fits, p[np.arange(len(rows)), labels], -lengths.astype(float))
    row = int(certain.argmax())
    n = min(int(lengths[row]), LONGEST)
    return (tokens[row : row + 1, :n], np.array([n])), p[row], int(labels[row])


def _words(inputs: tuple[Array, ...], vocabulary: tuple[str, ...]) -> list[str]:
    return ["[?]" if t == MASK else vocabulary[t] for t in inputs[0][0]]


def _sides(figure: Any, p: Array, inputs: tuple[Array, ...], place: int, true: int, vocabulary: tuple[str, ...]) -> None:
    """A row for each side: the text as it is read, and the likeliest words; green is the true one."""
    words = _words(inputs, vocabulary)
    for n, (axes, side) in enumerate(zip(figure.subplots(3, 1), SIDES, strict=True)):
        order = np.argsort(-p[n], kind="stable")[:LIKELIEST]
        for row, token in enumerate(order):
            color = GREEN if token == true else "#c9ced6"
            axes.barh(row, p[n][token], color=color, height=0.78)
            inside = p[n][token] > 0.8
            axes.text(p[n][token] + (-0.012 if inside else 0.012), row, f"{p[n][token]:.0%}", va="center", fontsize=11,
                      ha="right" if inside else "left", color="white" if inside and token == true else INK)  # fmt: skip
        axes.set_yticks(range(len(order)), [vocabulary[t] for t in order], fontsize=12, family="monospace")
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xticks=[])
        hidden = [(n == 0 and i > place) or (n == 1 and i < place) for i in range(len(words))]
        shown = " ".join("·" * len(w) if h else w for w, h in zip(words[1:], hidden[1:], strict=True)).replace(" ##", "")
        axes.set_title(f"{side}\n" + textwrap.fill(shown, 84, break_on_hyphens=False), loc="left", fontsize=10.5,
                       color=(LEFT, RIGHT, GREEN)[n], family="monospace")  # fmt: skip
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)


def _classes(figure: Any, p: Array, label: int, classes: tuple[str, ...], words: list[str]) -> None:
    """The text, and the probability of its likeliest classes; green is the true one."""
    axes, order = figure.subplots(), np.argsort(-p, kind="stable")[:6]
    axes.barh(range(len(order)), p[order], color=[GREEN if k == label else "#c9ced6" for k in order], height=0.6)
    axes.set_yticks(range(len(order)), [classes[k] for k in order], fontsize=12)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="probability; green is the true class")
    text = " ".join(words[1:]).replace(" ##", "").replace(" [SEP]", "")
    axes.set_title(textwrap.fill(text, 70), loc="left", fontsize=12, color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _heads(figure: Any, weights: Array, place: int, names: list[str], viewed: str) -> None:
    """For each chosen head, arcs from one token to those that it takes from: to the left in blue, to the right in orange."""
    figure.suptitle(f"Where {viewed} looks: four heads, a thicker arc for more attention", fontsize=12, color=INK)
    away = np.arange(len(names)) != place
    sharp = np.where(away, weights[:, :, place], 0).max(axis=-1)  # (layers, heads)
    chosen = sorted(divmod(int(k), sharp.shape[1]) for k in np.argsort(-sharp, axis=None)[:HEADS])
    panels, t = np.ravel(figure.subplots(len(chosen), 1, sharex=True, squeeze=False)), np.linspace(0, 1, 40)
    for axes, (layer, head) in zip(panels, chosen, strict=True):
        row = weights[layer, head, place]
        for target, weight in enumerate(row):
            if target == place or weight < 0.02:
                continue
            color = LEFT if target < place else RIGHT
            height = 0.95 * (abs(target - place) / len(names)) ** 0.6
            axes.plot(place + (target - place) * t, 4 * height * t * (1 - t), color=color, lw=0.6 + 7 * weight,
                      alpha=0.25 + 0.7 * float(weight), solid_capstyle="round")  # fmt: skip
            if weight > 0.12:
                axes.text(target, -0.06, f"{weight:.0%}", ha="center", va="top", fontsize=8, color=color)
        axes.plot(np.arange(len(names)), np.zeros(len(names)), ".", color=GRAY, ms=3)
        axes.plot(place, 0, "s", color=GREEN, ms=8)
        axes.set(xlim=(-0.8, len(names) - 0.2), ylim=(-0.32, 1.0), yticks=[])
        axes.set_ylabel(f"layer {layer + 1}\nhead {head + 1}", rotation=0, ha="right", va="center", fontsize=10, color=INK)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0)
    panels[-1].set_xticks(range(len(names)), names, rotation=90, fontsize=10, family="monospace")
