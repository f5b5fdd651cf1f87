"""DistilBERT at work on held-out texts: teacher and student on two gaps, and how fast a student comes to agree."""

from __future__ import annotations

import copy
import textwrap
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnatomy import random
from nnatomy.architectures.transformers.distilbert.model import (
    Classifier,
    Distillation,
    distillation_loss,
    initialize,
    masked_loss,
)
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset, batches
from nnatomy.data.masking import IGNORED
from nnatomy.data.wordpiece import MASK, SPECIAL
from nnatomy.functional import softmax
from nnatomy.graph import no_grad
from nnatomy.optim import AdamW
from nnatomy.tensor import Tensor

Array = NDArray[Any]
TEACHER, STUDENT, GREEN, GRAY, INK = "#d97706", "#2563a8", "#2e8b57", "#6b7280", "#1f2937"
TEXTS, WORDS = 96, 5
STEPS, EVERY, BATCH = 32, 4, 16
"""Of the training that the curves show: its steps, the steps between two measurements, and the texts of a step."""


def draw(model: Distillation | Classifier, dataset: Dataset) -> Figure:
    """Two gaps as bars of both networks' probabilities; below, the agreement of three new students while they learn."""
    if isinstance(model, Classifier):
        return _classified(model, dataset)
    figure = Figure(figsize=(9, 9.5), layout="constrained")
    figure.suptitle("A student learns its teacher's whole distribution", fontsize=15, color=INK)
    upper, lower = np.ravel(np.array(figure.subfigures(2, 1, height_ratios=(1.15, 1))))
    rows = np.unique(np.linspace(0, len(dataset.test) - 1, min(TEXTS, len(dataset.test))).astype(int))
    batch = dataset.test.take(rows)
    v, z = (_probabilities(network, batch) for network in (_teacher(model), model))
    vocabulary = getattr(dataset.preprocessing, "vocabulary")  # noqa: B009
    upper.suptitle("What both expect at the gap [?], where several words fit; green: the hidden word", fontsize=12, color=INK)
    panels = upper.subplots(1, 2)
    for axes, (row, place) in zip(panels, _gaps(batch, v, z), strict=False):
        _bars(axes, v[row, place], z[row, place], batch, row, place, vocabulary)
    panels[0].legend(loc="lower right", frameon=False, fontsize=11)
    _curves(lower.subplots(), model, dataset, batch, v)
    return figure


def _teacher(model: Distillation) -> Any:
    return lambda *inputs: model.teach(*inputs)[0]


def _probabilities(network: Any, batch: tuple[Array, ...]) -> Array:
    """What a network expects at each place, (texts, time, vocabulary)."""
    with no_grad():
        scores = network(*(Tensor(B.asarray(a)) for a in batch[:3])).numpy()
    return np.asarray(softmax(scores.astype(np.float64), axis=-1))


def _gaps(batch: tuple[Array, ...], v: Array, z: Array) -> list[tuple[int, int]]:
    """Two masked places where the teacher hesitates most among words, and the student follows it well."""
    chosen = (batch[0] == MASK) & (batch[3] != IGNORED)
    spread = -np.sum(v * np.log(v + 1e-12), axis=-1) - 2 * np.abs(v - z).sum(axis=-1)
    order = np.argsort(np.where(chosen, -spread, np.inf), axis=None)
    found: list[tuple[int, int]] = []
    for k in order:
        row, place = divmod(int(k), chosen.shape[1])
        if not found or v[row, place].argmax() != v[found[0]].argmax():
            found.append((row, place))
        if len(found) == 2:
            break
    return found


def _bars(axes: Any, p: Array, q: Array, batch: tuple[Array, ...], row: int, place: int, vocabulary: tuple[str, ...]) -> None:
    """The teacher's likeliest words, each with both probabilities; the true one is green."""
    order = np.argsort(-p, kind="stable")[:WORDS]
    for n, (values, color, name) in enumerate(((p, TEACHER, "teacher"), (q, STUDENT, "student"))):
        places = np.arange(len(order)) + 0.4 * (n - 0.5)
        axes.barh(places, values[order], height=0.38, color=color, label=name)
        for y, value in zip(places, values[order], strict=True):
            axes.text(value + 0.01, y, f"{value:.0%}", va="center", fontsize=9, color=color)
    axes.set_yticks(range(len(order)), [vocabulary[t] for t in order], fontsize=12, family="monospace")
    for label, token in zip(axes.get_yticklabels(), order, strict=True):
        label.set_color(GREEN if token == batch[3][row, place] else INK)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.12 * max(p[order].max(), q[order].max())), xticks=[])
    tokens, length = batch[0][row], int(batch[1][row])
    words = ["[?]" if at == place else "[MASK]" if t == MASK else vocabulary[t] for at, t in enumerate(tokens[:length])]
    text = " ".join(word for word in words if word not in SPECIAL or word == "[MASK]").replace(" ##", "")
    axes.set_title(textwrap.fill(text, 40), loc="left", fontsize=10.5, family="monospace", color=INK)
    _bare(axes, ("top", "right", "bottom", "left"))


def _curves(axes: Any, model: Distillation, dataset: Dataset, batch: tuple[Array, ...], v: Array) -> None:
    """Three students of the same teacher, trained here on the same batches."""
    students = (
        ("starts from the teacher's layers, learns its distributions", STUDENT, "-", True, distillation_loss),
        ("starts from random numbers, learns the teacher's distributions", STUDENT, "--", False, distillation_loss),
        ("starts from random numbers, learns the hidden words alone", GRAY, "-", False, _by_words),
    )
    for name, color, line, inherits, loss in students:
        steps, agreement = _agreement(model, dataset, batch, v, inherits, loss)
        axes.plot(steps, agreement, line, color=color, lw=2.4, label=name)
    axes.legend(loc="upper left", frameon=False, fontsize=11, bbox_to_anchor=(0, -0.14), ncols=1)
    axes.set(xlim=(0, STEPS), ylim=(0, 1), xlabel=f"steps of {BATCH} texts", xticks=range(0, STEPS + 1, 2 * EVERY))
    axes.set_yticks(np.linspace(0, 1, 6), [f"{t:.0%}" for t in np.linspace(0, 1, 6)])
    axes.set_title("Gaps at which a new student and its teacher expect the same word first", loc="left", fontsize=12,
                   color=INK)  # fmt: skip
    axes.grid(axis="y", color="#e5e7eb")
    _bare(axes, ("top", "right"))


def _by_words(model: Distillation, *batch: Tensor) -> Any:
    tokens, read, _, labels, _ = batch
    return masked_loss(model.student, tokens, read, labels)


def _agreement(
    model: Distillation, dataset: Dataset, held: tuple[Array, ...], v: Array, inherits: bool, loss: Any
) -> tuple[list[int], list[float]]:
    """Train a new student of a copied pair for STEPS steps, and return the steps with the agreement on held-out texts."""
    before = random.default.state_dict()
    random.seed(0)
    pair = copy.deepcopy(model)
    initialize(pair.student)
    if inherits:
        pair.inherit()
    optimizer = partial(AdamW, lr=4e-3)(list(pair.student.named_parameters()))
    chosen, found, step = held[3] != IGNORED, [], 0
    while True:
        for batch in batches(dataset.train, BATCH, shuffle=step):
            if step % EVERY == 0:
                found.append(float((_probabilities(pair, held)[chosen].argmax(-1) == v[chosen].argmax(-1)).mean()))
            if step == STEPS:
                random.default.load_state_dict(before)
                return list(range(0, STEPS + 1, EVERY)), found
            pair.zero_grad()
            loss(pair, *(Tensor(B.asarray(a)) for a in batch))[0].backward()
            optimizer.step()
            step += 1


def _classified(model: Classifier, dataset: Dataset) -> Figure:
    """The probabilities of the classes of some held-out texts."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    figure.suptitle("DistilBERT judges held-out texts by the vector of [CLS]", fontsize=15, color=INK)
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
