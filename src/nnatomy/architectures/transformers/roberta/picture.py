"""RoBERTa at work: one held-out text under static and under changing masks, with what it expects behind them."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnatomy.architectures.transformers.roberta.model import Classifier, MaskedLM
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset
from nnatomy.data.masking import IGNORED, DynamicMasks
from nnatomy.data.wordpiece import SPECIAL
from nnatomy.functional import softmax
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = NDArray[Any]
STATIC, DYNAMIC, GREEN, GRAY, INK = "#d97706", "#2563a8", "#2e8b57", "#9ca3af", "#1f2937"
TEXTS, EPOCHS, LONGEST = 64, 8, 24


def draw(model: MaskedLM | Classifier, dataset: Dataset) -> Figure:
    """Two tables of one text, a row for each epoch; below, the part of all tokens that was hidden at least once."""
    if isinstance(model, Classifier):
        return _classified(model, dataset)
    figure = Figure(figsize=(9, 10.5), layout="constrained")
    figure.suptitle("RoBERTa hides other words in each epoch", fontsize=15, color=INK)
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, min(TEXTS, len(dataset.test))).astype(int))
    batch = dataset.test.take(rows)
    named, change = dataset.fields, DynamicMasks()
    drawn = [change(named, batch, np.random.Generator(np.random.Philox(epoch))) for epoch in range(EPOCHS)]
    fits = np.where(batch[1] <= LONGEST, batch[1], 0)
    row = int(fits.argmax()) if fits.any() else 0
    length = int(min(batch[1][row], LONGEST))
    vocabulary = getattr(dataset.preprocessing, "vocabulary")  # noqa: B009
    upper, lower = np.ravel(np.array(figure.subfigures(2, 1, height_ratios=(2, 1))))
    tables = (("static: hidden once, as in BERT's data", [batch] * EPOCHS, STATIC),
              ("dynamic: hidden again each time the text is read", drawn, DYNAMIC))  # fmt: skip
    for axes, (name, epochs, color) in zip(upper.subplots(2, 1), tables, strict=True):
        one = [tuple(array[row : row + 1] for array in each) for each in epochs]
        _table(axes, model, one, length, vocabulary, name, color)
    _coverage(lower.subplots(), [batch] * EPOCHS, drawn)
    return figure


def _table(
    axes: Any, model: MaskedLM, epochs: list[tuple[Array, ...]], length: int, vocabulary: tuple[str, ...], name: str, color: str
) -> None:
    """A row for each epoch: hidden tokens in color, the more of it the more the model expects the true one."""
    whole = np.where(epochs[0][2] == IGNORED, epochs[0][0], epochs[0][2])[0, :length]
    for y, (tokens, lengths, labels) in enumerate(epochs):
        with no_grad():
            scores = model(Tensor(B.asarray(tokens)), Tensor(B.asarray(lengths))).numpy()[0]
        p = np.asarray(softmax(scores.astype(np.float64), axis=-1))
        for place in range(length):
            hidden = labels[0, place] != IGNORED
            expected = p[place, whole[place]]
            axes.add_patch(_cell(place, y, color if hidden else "#eef1f5", 0.3 + 0.7 * expected if hidden else 1.0))
            if hidden:
                axes.text(place, y, f"{100 * expected:.0f}", ha="center", va="center", fontsize=9,
                          color="white" if expected > 0.4 else INK)  # fmt: skip
    axes.set(xlim=(-0.5, length - 0.5), ylim=(len(epochs) - 0.5, -0.5), ylabel="epoch")
    axes.set_xticks(range(length), [vocabulary[t] for t in whole], rotation=60, ha="right", rotation_mode="anchor", fontsize=10,
                    family="monospace")  # fmt: skip
    axes.set_yticks(range(len(epochs)), [str(n + 1) for n in range(len(epochs))], fontsize=9)
    axes.set_title(f"{name} (numbers: the chance of the hidden word in %)", loc="left", fontsize=11.5, color=INK)
    axes.plot([], [])
    _bare(axes, ("top", "right", "bottom", "left"))


def _cell(x: float, y: float, color: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, facecolor=color, alpha=alpha, edgecolor="none")


def _coverage(axes: Any, static: list[tuple[Array, ...]], dynamic: list[tuple[Array, ...]]) -> None:
    """The part of the tokens of all texts that was hidden in some epoch up to each."""
    candidates = np.where(static[0][2] == IGNORED, static[0][0], static[0][2]) >= len(SPECIAL)
    steps = np.arange(1, EPOCHS + 1)
    for name, epochs, color in (("static masks", static, STATIC), ("dynamic masks", dynamic, DYNAMIC)):
        seen = np.cumsum([labels != IGNORED for _, _, labels in epochs], axis=0) > 0
        part = [float(each[candidates].mean()) for each in seen]
        axes.plot(steps, part, "-o", color=color, lw=2.4, label=name)
        axes.text(EPOCHS + 0.1, part[-1], f"{part[-1]:.0%}", va="center", fontsize=11, color=color)
    rate = float((static[0][2] != IGNORED)[candidates].mean())
    axes.plot(steps, 1 - (1 - rate) ** steps, "--", color=GRAY, label=f"1 - (1 - {rate:.2f})ⁿ after n epochs")
    axes.set(xlabel="epochs", xlim=(1, EPOCHS + 0.6), ylim=(0, 1), xticks=steps)
    axes.set_yticks(np.linspace(0, 1, 6), [f"{t:.0%}" for t in np.linspace(0, 1, 6)])
    axes.set_title(f"Tokens of {len(static[0][0])} texts that were hidden at least once", loc="left", fontsize=12, color=INK)
    axes.grid(axis="y", color="#e5e7eb")
    axes.legend(frameon=False, fontsize=11, loc="upper left")
    _bare(axes, ("top", "right"))


def _classified(model: Classifier, dataset: Dataset) -> Figure:
    """The probabilities of the classes of some held-out texts."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    figure.suptitle("RoBERTa judges held-out texts by the vector of their first token", fontsize=15, color=INK)
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, 6).astype(int))
    tokens, lengths, labels = dataset.test.take(rows)
    with no_grad():
        scores = model(Tensor(B.asarray(tokens)), Tensor(B.asarray(lengths))).numpy()
    p = np.asarray(softmax(scores.astype(np.float64), axis=-1))
    vocabulary = getattr(dataset.preprocessing, "vocabulary")  # noqa: B009
    for n, axes in enumerate(figure.subplots(len(rows), 1)):
        order = np.argsort(-p[n], kind="stable")[:2]
        axes.barh(range(len(order)), p[n][order], color=[GREEN if k == labels[n] else "#c9ced6" for k in order])
        axes.set_yticks(range(len(order)), [dataset.classes[k] for k in order], fontsize=11)
        axes.invert_yaxis()
        text = " ".join(vocabulary[t] for t in tokens[n][1 : lengths[n]]).replace(" ##", "").replace(" [SEP]", "")
        axes.set_title(textwrap.shorten(text, 90, placeholder=" ..."), loc="left", fontsize=10.5, color=INK)
        axes.set(xlim=(0, 1), xticks=[])
        _bare(axes, ("top", "right", "bottom", "left"))
    return figure


def _bare(axes: Any, sides: tuple[str, ...]) -> None:
    axes.tick_params(length=0)
    for side in sides:
        axes.spines[side].set_visible(False)
