"""GPT at work on a line of held-out text: which tokens each token looks at, and what it expects to come next."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnatomy.architectures.transformers.gpt.model import GPT
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset
from nnatomy.functional import attention_weights
from nnatomy.graph import no_grad
from nnatomy.tasks.sampling import probabilities
from nnatomy.tensor import Tensor

Array = NDArray[Any]
BLUE, GREEN, GRAY, INK = "#2563a8", "#2e8b57", "#6b7280", "#1f2937"
LONGEST = 21  # tokens that are drawn
LIKELIEST, HEADS = 3, 4
SIGNS = {"\n": "⏎", " ": "␣", "\t": "→", "\ufffd": "□"}


def draw(model: GPT, dataset: Dataset) -> Figure:
    """The four sharpest heads, a row for each token; and the likeliest tokens after each place, next to the true one."""
    tokens, following = _line(dataset)
    weights, p = watch(model, tokens)
    chosen = _chosen_heads(weights)
    preprocessing: Any = dataset.preprocessing
    vocabulary = preprocessing.vocabulary
    names = [SIGNS.get(vocabulary[t], vocabulary[t]) for t in tokens]
    after = [SIGNS.get(vocabulary[t], vocabulary[t]) for t in following]
    hits = int((p.argmax(axis=-1) == following).sum())

    figure = Figure(figsize=(9, 12), layout="constrained")
    figure.suptitle(f"GPT reads {len(tokens)} tokens of held-out text; its first guess of the next one is right {hits} times",
                    fontsize=13)  # fmt: skip
    maps, chances = np.ravel(np.array(figure.subfigures(2, 1, height_ratios=(2, 1))))
    _attention(maps, weights, chosen, names)
    _expected(chances, p, following, names, after, vocabulary)
    return figure


def watch(model: GPT, tokens: Array) -> tuple[Array, Array]:
    """Return the attention weights (layers, heads, time, time), and the probabilities of the next token (time, vocabulary)."""
    found = []
    with no_grad():
        x = model.embed(Tensor(B.asarray(tokens[None])))
        for block in model.h:
            q, k, _ = block.attn.heads(x if block.norm == "post" else block.ln_1(x))
            found.append(attention_weights(q, k, causal=True).numpy()[0])
            x = block(x)
        scores = model.scores(x).numpy()[0]
    return np.array(found), probabilities(scores)


def _line(dataset: Dataset) -> tuple[Array, Array]:
    """Part of a test window, from a line break on where there is one early, and the tokens that follow each."""
    tokens, following = (a[0] for a in dataset.test.take(np.array([len(dataset.test) // 2])))
    preprocessing: Any = dataset.preprocessing
    breaks = np.flatnonzero(np.array(preprocessing.vocabulary)[tokens] == "\n")
    start = int(breaks[0]) if len(breaks) and breaks[0] + LONGEST <= len(tokens) else 0
    return tokens[start : start + LONGEST], following[start : start + LONGEST]


def _chosen_heads(weights: Array) -> list[tuple[int, int]]:
    """The four heads of all blocks that look back with the sharpest focus, in the order of blocks."""
    time = weights.shape[-1]
    back = np.arange(time)[:, None] > np.arange(time)[None]  # at an earlier token, not at itself
    sharp = (weights * back).max(axis=-1).mean(axis=-1)  # (layers, heads)
    order = np.argsort(-sharp, axis=None)[:HEADS]
    return sorted((int(place // sharp.shape[1]), int(place % sharp.shape[1])) for place in order)


def _attention(figure: Any, weights: Array, chosen: list[tuple[int, int]], names: list[str]) -> None:
    figure.suptitle("What each token looks at: the token of a row, at the tokens of the dark columns", fontsize=12, color=INK)
    places = range(len(names))
    panels = np.ravel(figure.subplots(2, 2, squeeze=False))
    for axes in panels[len(chosen) :]:
        axes.axis("off")
    for axes, (layer, head) in zip(panels, chosen):
        seen = np.where(np.tri(len(names)) > 0, weights[layer, head], np.nan)
        axes.imshow(seen, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.set_xticks(places, names, fontsize=9, family="monospace")
        axes.set_yticks(places, names, fontsize=9, family="monospace")
        axes.set_xticks(np.arange(-0.5, len(names)), minor=True)
        axes.set_yticks(np.arange(-0.5, len(names)), minor=True)
        axes.grid(which="minor", color="#e5e7eb", lw=0.5)
        axes.tick_params(which="both", length=0, pad=2)
        axes.xaxis.tick_top()
        axes.set_xlabel(f"block {layer + 1}, head {head + 1}", fontsize=11, color=BLUE)
        for side in axes.spines.values():
            side.set_visible(False)


def _expected(figure: Any, p: Array, following: Array, names: list[str], after: list[str], vocabulary: tuple[str, ...]) -> None:
    """A column for each place: the likeliest tokens as bars from the most probable on, the true one in color."""
    axes = figure.subplots()
    order = np.argsort(-p, axis=-1, kind="stable")[:, :LIKELIEST]
    for place, (row, true) in enumerate(zip(p, following)):
        bottom = 0.0
        for token in order[place]:
            color = GREEN if token == true else "#c9ced6"
            axes.bar(place, row[token], bottom=bottom, width=0.86, color=color, edgecolor="white", lw=1)
            if row[token] > 0.07:
                sign = SIGNS.get(vocabulary[token], vocabulary[token])
                axes.text(place, bottom + row[token] / 2, sign, ha="center", va="center", fontsize=11, family="monospace",
                          color="white" if token == true else INK)  # fmt: skip
            bottom += row[token]
    labels = [f"{name}\n{true}" for name, true in zip(names, after)]
    axes.set_xticks(range(len(names)), labels, fontsize=11, family="monospace")
    axes.tick_params(axis="x", length=0)
    axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(0, 1), ylabel="probability")
    title = f"The {LIKELIEST} likeliest next tokens after each place; green: the one that comes"
    axes.set_title(title, loc="left", fontsize=11)
    axes.text(-0.012, -0.035, "read", transform=axes.transAxes, ha="right", va="top", fontsize=8, color=GRAY)
    axes.text(-0.012, -0.085, "true next", transform=axes.transAxes, ha="right", va="top", fontsize=8, color=GRAY)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
