"""Language: which token follows."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from nnatomy.backends import B, compiles_by_shape
from nnatomy.data import fields
from nnatomy.functional import cross_entropy, softmax
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tasks.forward import forward
from nnatomy.tasks.task import Answer, Array, Batch, Meter, Task, stream
from nnatomy.training.evaluation import Evaluation, Metric

WRITTEN, TEMPERATURE = 200, 0.7  # how much is written after a prompt, and how far from the likeliest it strays


class Language(Task):
    """How well the next token is predicted, in nats, bits and perplexity, against the unigram entropy of the text."""

    name = "language"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("bits_per_token", "lower", "bits", "cross-entropy of the next token"),
        Metric("perplexity", "lower", says="the number of equally likely tokens with the same cross-entropy"),
        Metric("accuracy", "higher", says="fraction of tokens that are predicted"),
        Metric("unigram_entropy", "lower", "nats", "entropy of the tokens' frequencies, which a model has to beat"),
    )
    gives = (("scores", "of the next token after each one, before the softmax"),)
    batch_size = 64

    outputs_are = "class scores"

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the mean cross-entropy of the next token, in nats."""
        return cross_entropy(outputs.reshape(-1, outputs.shape[-1]), batch[-1].reshape(-1))

    def meter(self) -> Meter:
        return _Surprise(self.dataset.outputs, self.dataset.fields)

    def answer(self, model: Module, inputs: Batch, batch_size: int = 256) -> Answer:
        """Return how the text continues: WRITTEN tokens, each drawn from the probabilities after the window before it."""
        window, generator = self.dataset.input_shape[0], Generator(0)
        tokens = inputs[0]
        for _ in range(WRITTEN):
            scores = self._next(model, tokens[:, -window:], window)
            p = np.asarray(softmax(scores.astype(np.float64) / TEMPERATURE, axis=-1))
            drawn = (p.cumsum(axis=-1) < generator.uniform((len(p), 1), dtype="float64")).sum(axis=-1)
            tokens = np.concatenate([tokens, drawn[:, None]], axis=1)
        return Answer(self.columns(tokens[:, -WRITTEN:]))

    def _next(self, model: Module, tokens: Array, window: int) -> Array:
        """The scores of the token after tokens (batch, time). Compiled backends get whole windows."""
        if not compiles_by_shape():
            return np.asarray(self.recipe.decide(forward(model, (tokens,))).data)[:, -1]
        steps = tokens.shape[1]
        whole = np.pad(tokens, ((0, 0), (0, window - steps)), mode="edge")
        once, function = self.function(model, self.dataset.input_fields, False)
        _, scores = function(once.arrays(), stream("predict", 0), (B.asarray(whole),))
        return np.asarray(self.feed.devices.to_host(scores)[:, steps - 1])

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return outputs

    def columns(self, meant: Array) -> dict[str, Array]:
        """The text of tokens (n, length)."""
        characters = np.array(getattr(self.dataset.preprocessing, "vocabulary"))  # noqa: B009
        return {"continuation": np.array(["".join(characters[row]) for row in meant])}


class _Surprise:
    """Sums of log-probabilities and hits."""

    def __init__(self, vocabulary: int, named: tuple[fields.Field, ...]) -> None:
        self._named = named
        self._total, self._hits, self._count = 0.0, 0, 0
        self._counts = np.zeros(vocabulary, np.int64)

    def add(self, outputs: Array, batch: Batch) -> None:
        (following,) = fields.select(self._named, batch, "target")
        with np.errstate(all="ignore"):
            top = outputs.max(axis=-1, keepdims=True)
            log_p = outputs - top - np.log(np.exp(outputs - top).sum(axis=-1, keepdims=True))
        self._total -= float(np.take_along_axis(log_p, following[..., None], -1).sum(dtype=np.float64))
        self._hits += int((outputs.argmax(-1) == following).sum())
        self._count += following.size
        self._counts += np.bincount(following.reshape(-1), minlength=len(self._counts))

    def result(self) -> Evaluation:
        return Evaluation(language_metrics(self._total / self._count, self._hits / self._count, self._counts))


def language_metrics(loss: float, accuracy: float, counts: Array) -> dict[str, float]:
    """Return the metrics of a mean loss in nats, the fraction of predicted tokens, and how often each token was a target."""
    fractions = counts[counts > 0] / counts.sum()
    return {
        "loss": loss,
        "bits_per_token": loss / math.log(2),
        "perplexity": math.exp(min(loss, 700.0)),
        "accuracy": accuracy,
        "unigram_entropy": float(-(fractions * np.log(fractions)).sum()),
    }
