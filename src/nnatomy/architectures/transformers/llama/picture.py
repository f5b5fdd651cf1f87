"""Rotary positions: pairs of features as clocks, and the distances that heads of a trained model therefore look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from nnatomy.architectures.transformers.llama.model import Llama, frequencies
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset
from nnatomy.functional import attention_weights
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = NDArray[Any]
COLORS = ("#c2410c", "#b7791f", "#2e8b57", "#2563a8")  # of the pairs, from the fast to the slow
GRAY, LIGHT, INK = "#6b7280", "#d5d9e0", "#1f2937"
PLACES, HEADS = 9, 2
SPEEDS = (1.0, 0.3, 0.1, 0.0)  # radians per place, of which the nearest pairs are drawn
LONGEST = 18  # tokens that are drawn
WINDOWS = 8
SIGNS = {"\n": "⏎", " ": "␣", "\t": "→", "\ufffd": "□"}


def draw(model: Llama, dataset: Dataset) -> Figure:
    """Clocks of four pairs; two heads: the score that a distance adds, and what a line of held-out text looks at."""
    tokens = _tokens(dataset)
    distances, weights = watch(model, tokens)
    chosen = _chosen(distances, weights)
    figure = Figure(figsize=(9, 13), layout="constrained")
    figure.suptitle("Llama: a token's place is an angle", fontsize=17, color=INK)
    clocks, *rows = np.ravel(np.array(figure.subfigures(1 + len(chosen), 1, height_ratios=[0.98] + [1] * len(chosen))))
    theta = frequencies(model.head_dim, model.theta)
    _clocks(clocks, theta)
    line = tokens[0, _start(dataset, tokens[0]) :][:LONGEST]
    names = _names(dataset, line)
    _, seen = watch(model, line[None])
    for row, (layer, head) in zip(rows, chosen):
        left, right = row.subplots(1, 2, width_ratios=(1, 1.25))
        row.suptitle(f"Block {layer + 1}, head {head + 1}", fontsize=12, color=INK, fontweight="bold")
        _curve(left, distances[layer, head], theta, len(line))
        _attention(right, seen[layer, head], names)
    return figure


def watch(model: Llama, tokens: Array) -> tuple[Array, Array]:
    """Return what a distance adds to the scores, and the mean attention weights.

    The first are q R(m) k / sqrt(d) of the mean query and the mean key of the texts, before they are rotated, for each pair of
    features and each distance m: (layers, heads, pairs, time). The weights are (layers, heads, time, time).
    """
    time, added, weights = tokens.shape[1], [], []
    angles = model.angles(time)
    with no_grad():
        x = model.embed_tokens(Tensor(B.asarray(tokens)))
        for block in model.layers:
            n, attention = block.input_layernorm(x), block.self_attn
            plain = [part.numpy() for part in attention.heads(n, np.zeros_like(angles))[:2]]
            q, k = (part.mean(axis=(0, 3)) for part in plain)  # (kv_heads, group or 1, features)
            added.append(_by_distance(q, k, angles, attention.rotary).reshape(-1, model.head_dim // 2, time))
            q, k, _ = attention.heads(n, angles)
            found = attention_weights(q, k, causal=True).numpy().mean(axis=0)
            weights.append(found.reshape(-1, time, time))
            x = block(x, angles)
    return np.array(added), np.array(weights)


def _by_distance(q: Array, k: Array, angles: Array, rotary: str) -> Array:
    """Re(q conj(k) e^(i m theta)) / sqrt(d) for each pair, its features as one complex number."""
    half = q.shape[-1] // 2
    q, k = (a[..., :half] + 1j * a[..., half:] if rotary == "half" else a[..., ::2] + 1j * a[..., 1::2] for a in (q, k))
    turned = (q * k.conj())[..., None] * np.exp(1j * angles.T)
    return np.asarray(turned.real / np.sqrt(2 * half))


def _tokens(dataset: Dataset) -> Array:
    """Some test windows."""
    rows = np.linspace(0, len(dataset.test) - 1, WINDOWS).astype(int)
    return np.asarray(dataset.test.take(rows)[0])


def _start(dataset: Dataset, tokens: Array) -> int:
    """The first line break of a window, if enough tokens follow."""
    preprocessing: Any = dataset.preprocessing
    breaks = np.flatnonzero(np.array(preprocessing.vocabulary)[tokens] == "\n")
    return int(breaks[0]) + 1 if len(breaks) and breaks[0] + 1 + LONGEST <= len(tokens) else 0


def _names(dataset: Dataset, tokens: Array) -> list[str]:
    preprocessing: Any = dataset.preprocessing
    return [SIGNS.get(preprocessing.vocabulary[t], preprocessing.vocabulary[t]) for t in tokens]


def _chosen(distances: Array, weights: Array) -> list[tuple[int, int]]:
    """The heads whose scores depend most on the distance, among those that look back, at most one for each best distance."""
    total = distances.sum(axis=2)[..., :LONGEST]  # (layers, heads, time)
    order = np.argsort(-total.std(axis=-1), axis=None)
    found: dict[int, tuple[int, int]] = {}
    for place in order:
        layer, head = int(place // total.shape[1]), int(place % total.shape[1])
        found.setdefault(int(total[layer, head].argmax()), (layer, head))
    back = [pair for distance, pair in found.items() if distance > 0]
    return sorted((back + [pair for pair in found.values() if pair not in back])[:HEADS])


def _shown(theta: Array) -> list[int]:
    """The pairs that are drawn, from the fast to the slow."""
    return sorted({int(np.abs(theta - speed).argmin()) for speed in SPEEDS})


def _clocks(figure: Any, theta: Array) -> None:
    """A row for each pair, a column for each place; a hand starts up and turns clockwise, its last way shaded."""
    title = "Each pair of features is the hand of a clock, which turns by a fixed angle from place to place"
    figure.suptitle(title, fontsize=12, color=INK)
    axes = figure.subplots()
    shown = _shown(theta)
    for row, pair in enumerate(shown):
        color = COLORS[row]
        for place in range(PLACES):
            angle = place * theta[pair]
            axes.add_patch(Circle((place, -row), 0.4, facecolor="white", edgecolor=LIGHT, lw=1.2))
            trail = np.linspace(max(0.0, angle - theta[pair]), angle, 30) if place else np.zeros(1)
            x, y = place + 0.36 * np.sin(trail), -row + 0.36 * np.cos(trail)
            axes.fill([place, *x], [-row, *y], color=color, alpha=0.22, lw=0)
            axes.plot([place, x[-1]], [-row, y[-1]], color=color, lw=2.6, solid_capstyle="round")
            axes.plot(place, -row, "o", color=color, ms=3)
        turn = 2 * np.pi / theta[pair]
        label = f"pair {pair + 1}\nonce round in\n{turn:,.{1 if turn < 100 else 0}f} places"
        axes.text(-0.62, -row, label, ha="right", va="center", fontsize=10, color=color)
    for place in range(PLACES):
        axes.text(place, 0.58, str(place), ha="center", va="bottom", fontsize=10, color=GRAY)
    axes.text(-0.62, 0.58, "place", ha="right", va="bottom", fontsize=10, color=GRAY)
    axes.set(xlim=(-2.35, PLACES - 0.5), ylim=(-len(shown) + 0.5, 0.8), aspect="equal")
    axes.axis("off")


def _curve(axes: Any, added: Array, theta: Array, longest: int) -> None:
    """What a distance adds to a head's score: the sum over the pairs, and the pairs alone."""
    distance = np.arange(longest)
    axes.axhline(0, color=LIGHT, lw=1)
    for color, pair in zip(COLORS, _shown(theta)):
        axes.plot(distance, added[pair, :longest], color=color, lw=1.6, alpha=0.8)
    total = added.sum(axis=0)[:longest]
    axes.plot(distance, total, color=INK, lw=2.6)
    best = int(total.argmax())
    axes.plot(best, total[best], "o", color=INK, ms=8)
    axes.annotate(f"{best} back", (best, total[best]), (0, 9), textcoords="offset points", ha="center", fontsize=11,
                  color=INK)  # fmt: skip
    axes.margins(y=0.16)
    axes.set_xlabel("places back", fontsize=10)
    axes.set_ylabel("added to the score", fontsize=10)
    axes.set_xticks(distance[::3])
    axes.set_title("the clocks by color, and all pairs (black)", fontsize=10, color=GRAY)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _attention(axes: Any, weights: Array, names: list[str]) -> None:
    """What each token of a row looks at."""
    seen = np.where(np.tri(len(names)) > 0, weights, np.nan)
    places = range(len(names))
    axes.imshow(seen, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(places, names, fontsize=9, family="monospace")
    axes.set_yticks(places, names, fontsize=9, family="monospace")
    axes.set_xticks(np.arange(-0.5, len(names)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(names)), minor=True)
    axes.grid(which="minor", color="#eceef2", lw=0.5)
    axes.tick_params(which="both", length=0, pad=2)
    axes.set_title("a row's token looks at the dark columns", fontsize=10, color=GRAY)
    for side in axes.spines.values():
        side.set_visible(False)
