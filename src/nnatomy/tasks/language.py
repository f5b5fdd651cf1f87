"""Language: which token follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from nnatomy.backends import B, compiles_by_shape
from nnatomy.data import fields
from nnatomy.data.dataset import Dataset, Split, WindowSplit, batches
from nnatomy.functional import cross_entropy, log_softmax
from nnatomy.layers.module import Module
from nnatomy.layers.sequences import SequenceNetwork, sample_tokens
from nnatomy.random import Generator
from nnatomy.tasks.baselines import Baseline, FittedBaseline
from nnatomy.tasks.forward import forward
from nnatomy.tasks.parts import Answer, Array, Batch, Coloring, Meter, Score
from nnatomy.tasks.sampling import draw, probabilities
from nnatomy.tasks.task import Predictor, Task, stream
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

WRITTEN, TEMPERATURE = 200, 0.7  # tokens after a prompt; below 1, sampling favors likely characters


def unigrams(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The frequency of each token in the training part, one added to each count."""
    counts = np.bincount(_tokens(dataset.train), minlength=dataset.outputs) + 1.0
    log_p = np.log(counts / counts.sum())
    return FittedBaseline(lambda x: np.broadcast_to(log_p, (*x.shape, len(log_p))), len(log_p), 0)


def bigrams(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The frequency of each token after each other; p(b | a) = (n(a, b) + p(b)) / (n(a) + 1) with the unigrams' p(b)."""
    tokens, n = _tokens(dataset.train), dataset.outputs
    counts = np.zeros((n, n))
    np.add.at(counts, (tokens[:-1], tokens[1:]), 1.0)
    p = np.bincount(tokens, minlength=n) + 1.0
    log_p = np.log((counts + p / p.sum()) / (counts.sum(axis=1, keepdims=True) + 1.0))
    return FittedBaseline(lambda x: log_p[x], n * n, 0)


def _tokens(split: Split) -> Array:
    return split.tokens if isinstance(split, WindowSplit) else np.concatenate([b[0].reshape(-1) for b in batches(split, 256)])


class Language(Task):
    """The prediction of the next token, in nats, bits and perplexity, against the unigram entropy of the text."""

    name = "language"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("bits_per_token", "lower", "bits", "cross-entropy of the next token"),
        Metric("perplexity", "lower", says="the number of equally likely tokens with the same cross-entropy"),
        Metric("accuracy", "higher", says="fraction of tokens that are predicted"),
    )
    gives = (("scores", "of the next token after each one, before the softmax"),)
    batch_size = 64
    drawn_as = "tokens"
    explains = "the log-probability of the likeliest next token"
    by_row = False  # what is drawn after one prompt depends on how many prompts there are
    baselines: ClassVar[Mapping[str, Baseline]] = {"unigram counts": unigrams, "bigram counts": bigrams}

    outputs_are = "class scores"

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the mean cross-entropy of the next token, in nats."""
        return cross_entropy(outputs.reshape(-1, outputs.shape[-1]), batch[-1].reshape(-1))

    def meter(self) -> Meter:
        return _Surprise(self.dataset.outputs, self.dataset.fields)

    def answer_from(self, predictor: Predictor, inputs: Batch) -> Answer:
        """Return how the text continues: WRITTEN tokens, each drawn from the probabilities after the window before it."""
        return Answer(self.columns(self._continued(predictor, inputs[0], WRITTEN, Generator(0), TEMPERATURE)))

    def write(
        self, model: Module, prompt: str = "\n", seed: int = 0, temperature: float = 0.8, top_k: int = 0, length: int = 600
    ) -> str:
        preprocessing: Any = self.dataset.preprocessing
        (tokens,) = preprocessing.transform(prompt)
        written = self._continued(self.predictor(model), tokens, length, Generator(seed), temperature, top_k)
        return str(preprocessing.decode(written[0]))

    def _continued(
        self, predictor: Predictor, tokens: Array, length: int, generator: Generator, temperature: float, top_k: int = 0
    ) -> Array:
        """The next `length` tokens of each row, each drawn from the probabilities after the window before it."""
        window = self.dataset.input_shape[0]
        for _ in range(length):
            seen = tokens[:, -window:]
            scores = predictor((seen,))[:, seen.shape[1] - 1]  # a predictor of whole windows has further steps
            drawn = draw(probabilities(scores, temperature, top_k), generator)
            tokens = np.concatenate([tokens, drawn[:, None]], axis=1)
        return tokens[:, -length:]

    def predictor(self, model: Module, batch_size: int | None = None) -> Predictor:
        """Return a function from tokens (batch, time) to scores; compiled backends get whole windows, and one compilation."""
        if not compiles_by_shape():
            return lambda inputs: np.asarray(self.recipe.decide(forward(model, inputs)).data)
        window = self.dataset.input_shape[0]
        once, function = self.function(model, self.dataset.input_fields, False)
        arrays = once.arrays()

        def predict(inputs: Batch) -> Array:
            whole = np.pad(inputs[0], ((0, 0), (0, window - inputs[0].shape[1])), mode="edge")
            _, scores = function(arrays, stream("predict", 0), (B.asarray(whole),))
            return np.asarray(self.feed.devices.to_host(scores))

        return predict

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return outputs

    def columns(self, meant: Array) -> dict[str, Array]:
        """The text of tokens (n, length)."""
        preprocessing: Any = self.dataset.preprocessing
        return {"continuation": np.array([preprocessing.decode(row) for row in meant])}

    def saliency_score(self, outputs: Array, batch: Batch) -> Score:
        k = int(outputs[0, -1].argmax())
        likely, true = self._written(np.array([k, self.targets(batch)[0][0, -1]]))
        return Score(
            lambda out, x: log_softmax(out[:, -1], axis=-1)[:, k], f"next: “{_visible(likely)}” (true: “{_visible(true)}”)"
        )

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        """Return the token that follows an example, by name where it is one of the nine most frequent."""
        last = self.targets(batch)[0][:, -1]
        found, counts = np.unique(last, return_counts=True)
        common = np.sort(found[np.argsort(-counts, kind="stable")[:9]])
        places = np.where(np.isin(last, common), np.searchsorted(common, last), len(common))
        names = tuple("space" if t == " " else f"“{_visible(t)}”" for t in self._written(common))
        return Coloring("the token that follows", places, (*names, "another"))

    def _written(self, tokens: Array) -> list[str]:
        """The text of each token."""
        return list(np.array(getattr(self.dataset.preprocessing, "vocabulary"))[tokens])  # noqa: B009


def _visible(token: str) -> str:
    return {"\n": "⏎", "\t": "→", "\ufffd": "□"}.get(token, token)


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


def generate_text(model: SequenceNetwork, dataset: Dataset, length: int = 600, temperature: float = 0.8) -> str:
    """Return text that the model continues to write after a line break; the same each time."""
    preprocessing: Any = dataset.preprocessing
    prompt = preprocessing.encode("\n").tolist()
    return str(preprocessing.decode(np.array(sample_tokens(model, prompt, length, temperature, Generator(0)))))


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
