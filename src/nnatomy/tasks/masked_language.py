"""Masked language: which tokens are behind the masks of a text, and often how its second sentence belongs to the first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.data.masking import IGNORED
from nnatomy.data.wordpiece import MASK, SPECIAL
from nnatomy.functional import cross_entropy
from nnatomy.tasks.baselines import Baseline, FittedBaseline, arrays_of
from nnatomy.tasks.parts import Answer, Array, Batch, Meter
from nnatomy.tasks.search import log_softmax
from nnatomy.tasks.task import Task
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

BACKOFF = (20.0, 5.0)
"""Observations that what is known without the farther, then without the nearer neighbor weighs."""


def unigrams(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The frequency of each token among the masked ones of the training part, one added; sentences follow as often as there."""
    labels, *random = arrays_of(dataset.train, "target")
    log_p = np.log(_frequencies(labels[labels != IGNORED], dataset.outputs))
    return FittedBaseline(
        lambda x, *_: (np.broadcast_to(log_p, (*x.shape, len(log_p))), *_relation(random, len(x))), len(log_p), 0
    )


def neighbors(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The frequency of a token between its two neighbors, where these are masked or rare between fewer of them.

    p(b | a, c) = (n(a, b, c) + s p(b | a)) / (n(a, c) + s), and p(b | a) likewise, with the masked tokens written in.
    """
    tokens, lengths = arrays_of(dataset.train, "input")[:2]
    labels, *random = arrays_of(dataset.train, "target")
    n = dataset.outputs
    whole = np.where(labels == IGNORED, tokens, labels)
    read = np.arange(whole.shape[1]) < lengths[:, None]
    inner = (read[:, 1:-1] & (whole[:, 1:-1] >= len(SPECIAL))).nonzero()
    rows, places = inner[0], inner[1] + 1
    a, b, c = whole[rows, places - 1], whole[rows, places], whole[rows, places + 1]
    single = _frequencies(b, n)
    left, right = np.zeros((n, n)), np.zeros((n, n))
    np.add.at(left, (a, b), 1.0)
    np.add.at(right, (c, b), 1.0)
    between, counts = np.unique(np.stack([a, c, b], axis=1), axis=0, return_counts=True)
    table: dict[tuple[int, int], Array] = {}
    for (first, last, token), count in zip(between.tolist(), counts, strict=True):
        table.setdefault((first, last), np.zeros(n))[token] += count
    far, near = BACKOFF
    left, right = ((t + near * single) / (t.sum(axis=1, keepdims=True) + near) for t in (left, right))

    def one(before: int, after: int) -> Array:
        known = [p for p, at in ((left[before], before), (right[after], after)) if at != MASK]
        p = np.prod(known, axis=0) / single ** (len(known) - 1) if known else single
        p = p / p.sum()
        seen = table.get((before, after), np.zeros(n))
        found: Array = np.log((seen + far * p) / (seen.sum() + far))
        return found

    def outputs(x: Array, *_: Array) -> tuple[Array, ...]:
        padded = np.pad(x, ((0, 0), (1, 1)))
        sides = np.stack([padded[:, :-2], padded[:, 2:]], axis=-1).reshape(-1, 2)
        pairs, which = np.unique(sides, axis=0, return_inverse=True)
        scores = np.array([one(int(before), int(after)) for before, after in pairs])
        return scores[which.reshape(-1)].reshape(*x.shape, n), *_relation(random, len(x))

    return FittedBaseline(outputs, len(between) + 2 * n * n, 0)


def _frequencies(tokens: Array, size: int) -> Array:
    counts = np.bincount(tokens, minlength=size) + 1.0
    found: Array = counts / counts.sum()
    return found


def _relation(random: Sequence[Array], rows: int) -> list[Array]:
    """For each row the logarithms of how often a second sentence follows, and is a random one; nothing without pairs."""
    return [np.tile(np.log(_frequencies(each, 2)), (rows, 1)) for each in random]


class MaskedLanguage(Task):
    """The prediction of masked tokens from both sides, and of whether the second sentence follows the first.

    A model gives (scores (batch, time, vocabulary), relation (batch, 2)), and class 1 of the relation is a random sentence; or
    the scores alone, and the relation is not measured.
    """

    name = "masked language"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "higher", says="fraction of the chosen tokens that are predicted"),
        Metric("perplexity", "lower", says="the number of equally likely tokens with the cross-entropy of the chosen ones"),
        Metric("relation", "higher", says="fraction of pairs of which is known whether the second sentence follows"),
    )
    gives = (("scores", "of the token at each place, before the softmax"),)
    batch_size = 128
    baselines: ClassVar[Mapping[str, Baseline]] = {"unigram counts": unigrams, "counts between neighbors": neighbors}

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the mean cross-entropy of the chosen tokens plus that of the relation, if it is given, in nats."""
        scores, *relation = _parts(outputs)
        labels = batch[-1] if len(batch[-1].shape) == 2 else batch[-2]  # the relation of a pair is one number
        masked = cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.reshape(-1))
        return masked + cross_entropy(relation[0], batch[-1]) if relation else masked

    def meter(self) -> Meter:
        return _Chosen(self.dataset.fields)

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return _parts(outputs)[0]

    def present(self, meant: Any, inputs: Batch) -> Answer:
        """Return each text with its masks filled in by their likeliest tokens."""
        preprocessing: Any = self.dataset.preprocessing
        tokens, scores = inputs[0], meant.copy()
        scores[..., : len(SPECIAL)] = -np.inf
        filled = np.where(tokens == MASK, scores.argmax(axis=-1), tokens)
        texts = [preprocessing.pieces.decode(row[row >= len(SPECIAL)]) for row in filled]
        return Answer({"filled": np.array(texts, dtype=object)})


def _parts(outputs: Any) -> tuple[Any, ...]:
    """The scores and, where the model gives it, the relation."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


class _Chosen:
    """Sums over the chosen tokens and, where the relation is given, over pairs."""

    def __init__(self, named: tuple[fields.Field, ...]) -> None:
        self._named = named
        self._nats, self._hits, self._count, self._related, self._pairs = 0.0, 0, 0, 0, 0

    def add(self, outputs: Any, batch: Batch) -> None:
        scores, *relation = _parts(outputs)
        labels, *random = fields.select(self._named, batch, "target")
        chosen = labels != IGNORED
        scores, true = scores[chosen].astype(np.float64), labels[chosen]
        with np.errstate(all="ignore"):
            log_p = log_softmax(scores)
        self._nats -= float(log_p[np.arange(len(true)), true].sum())
        self._hits += int((scores.argmax(axis=-1) == true).sum()) if len(true) else 0
        self._count += len(true)
        for given, true_relation in zip(relation, random, strict=False):
            self._related += int((given.argmax(axis=-1) == true_relation).sum())
            self._pairs += len(given)

    def result(self) -> Evaluation:
        nats = self._nats / max(self._count, 1)
        related = {"relation": self._related / self._pairs} if self._pairs else {}
        found = {"accuracy": self._hits / max(self._count, 1), "perplexity": math.exp(min(nats, 700.0))}
        return Evaluation(found | related)
