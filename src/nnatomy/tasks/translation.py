"""Translation: a text is written for a text, and measured as a person would read it."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import ArraySplit, Dataset, Split, SubsetSplit, batches
from nnatomy.errors import UserError
from nnatomy.functional import batch_mean, cross_entropy
from nnatomy.layers.module import Module
from nnatomy.tasks.baselines import Baseline, FittedBaseline
from nnatomy.tasks.bleu import bleu, installed
from nnatomy.tasks.figures import BLUE, GRAY, ORANGE, short
from nnatomy.tasks.forward import evaluating
from nnatomy.tasks.parts import Array, Batch, Meter, Mistakes
from nnatomy.tasks.search import log_softmax, search
from nnatomy.tasks.task import Predictor, Task
from nnatomy.tensor import wrap
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.data.kinds import ExportedInputs

PAD, BOS, EOS, UNK = range(4)
IGNORED = -100
ROUNDS = 5  # of expectation-maximization


def copy(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The source itself."""
    preprocessing: Any = dataset.preprocessing
    return FittedBaseline(lambda source, lengths: {"texts": [preprocessing.source.decode(row) for row in source]}, 0, 0)


def most_frequent(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The most frequent target of the training part, whatever the source."""
    (text, count), *_ = Counter(references(dataset.train)).most_common(1)
    return FittedBaseline(lambda source, lengths: {"texts": [text] * len(source)}, 0, 0, f"{short(text)!r}, {count} times")


def word_by_word(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Each source token's likeliest translation, in the source's order.

    t(e | f) are the lexical probabilities of model 1, by expectation-maximization on the training part.
    Source: Brown et al. (1993), section 4.1.
    """
    preprocessing: Any = dataset.preprocessing
    sources, targets = len(preprocessing.source), len(preprocessing.target)
    keys, groups, places = [], [], 0
    for source, lengths, _, following in batches(dataset.train, 256):
        for f, n, e in zip(source, lengths, following, strict=True):
            e = e[e > UNK]
            keys.append((f[:n, None] * targets + e[None, :]).reshape(-1))  # every pair of a sentence
            groups.append(np.tile(np.arange(places, places + len(e)), n))  # the target token that it may explain
            places += len(e)
    key, pair = np.unique(np.concatenate(keys), return_inverse=True)
    group, f = np.concatenate(groups), key // targets
    t = np.ones(len(key))
    for _ in range(ROUNDS):
        share = t[pair]
        share /= np.bincount(group, share, places)[group]
        counts = np.bincount(pair, share, len(key))
        t = counts / np.bincount(f, counts, sources)[f]
    best = np.full(sources, UNK)
    order = np.argsort(t, kind="stable")
    best[f[order]] = (key % targets)[order]  # the last one written is the likeliest
    best[[PAD, BOS, EOS]] = PAD

    def outputs(source: Array, lengths: Array) -> dict[str, Any]:
        return {"texts": [preprocessing.target.decode(row) for row in best[source]]}

    return FittedBaseline(outputs, len(key), 0)


def references(split: Split) -> list[str]:
    """Return the targets of a split as they are written."""
    if isinstance(split, SubsetSplit):
        whole = references(split.whole)
        return [whole[int(i)] for i in split.indices]
    found: Sequence[str] = getattr(split, "references", ())
    return list(found)


BLEU = Metric("bleu", "higher", "%", "n-grams that translation and reference share, of the texts as they are written")


class Translation(Task):
    """Translations compared with their references: BLEU, the fraction of exact matches, and perplexity.

    The model is a `tasks.search.Decoder`; its `beam` and `length_penalty`, where it has them, say how it is searched.
    """

    name = "translation"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *((BLEU,) if installed() else ()),
        Metric("exact", "higher", says="fraction of translations that equal the reference"),
        Metric("perplexity", "lower", says="the number of equally likely tokens with the reference's cross-entropy"),
    )
    gives = (("translation", "tokens of the target"),)
    batch_size = 128
    baselines: ClassVar[Mapping[str, Baseline]] = {
        "copied source": copy, "word by word": word_by_word, "most frequent target": most_frequent,
    }  # fmt: skip

    def metric(self, name: str) -> Metric:
        if name == BLEU.name and not installed():
            bleu([], [])  # which says what to install
        return super().metric(name)

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return -1/B sum over the B pairs of log p(target | source), in nats. Source: Sutskever et al. (2014), section 3.2."""
        following = batch[-1]
        nats = cross_entropy(
            outputs.reshape(-1, outputs.shape[-1]), following.reshape(-1), ignore_index=IGNORED, reduction="none"
        )
        return batch_mean(nats.reshape(following.shape).sum(axis=1))

    def meter(self) -> Meter:
        return _Written(self, None, None)

    def meter_for(self, model: Module | None, split: Split) -> Meter:
        written = None
        if model is not None:
            written = [self._text(row) for row in self._tokens(model, split, self.batch_size)]
        return _Written(self, written, references(split) or None)

    def predictor(self, model: Module, batch_size: int | None = None) -> Predictor:
        """Return a function from sources and lengths to the tokens of their translations."""
        rows = batch_size or self.batch_size
        return lambda inputs: self._tokens(model, ArraySplit(inputs, self.dataset.input_fields), rows)

    def _tokens(self, model: Module, split: Split, batch_size: int) -> Array:
        """The translations of a split, (examples, steps), padded with EOS."""
        decoder: Any = model
        if not (hasattr(model, "begin") and hasattr(model, "step")):
            raise UserError(
                f"To translate, a model has begin(*inputs) and step(state, tokens). Received {type(model).__name__} without "
                "them. See nnatomy.tasks.search.Decoder."
            )
        longest = getattr(self.dataset.preprocessing, "longest")  # noqa: B009
        found = np.full((len(split), longest), EOS, np.int64)
        done = 0
        with evaluating(model), closing(self.feed(split, batch_size)) as placed:
            for batch in placed:
                inputs = fields.select(split.fields, batch.batch, "input")
                rows = len(inputs[0])
                state = decoder.begin(*self.precision.evaluated(tuple(map(wrap, inputs))))
                tokens = search(
                    decoder.step, state, rows, start=BOS, end=EOS, longest=longest, beam=getattr(model, "beam", 1),
                    length_penalty=getattr(model, "length_penalty", 0.0), never=(PAD, BOS, UNK),
                ).tokens  # fmt: skip
                found[done : done + batch.examples, : tokens.shape[1]] = tokens[: batch.examples]
                done += batch.examples
        return found

    def export_inputs(self) -> ExportedInputs | None:
        raise UserError(
            "An ONNX file computes one pass, and a translation is a search of many. Received a run of translation. Use "
            "--to safetensors, or nnatomy serve."
        )

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return outputs

    def columns(self, meant: Array) -> dict[str, Array]:
        return {"translation": np.array([self._text(row) for row in meant], dtype=object)}

    def _text(self, tokens: Array) -> str:
        preprocessing: Any = self.dataset.preprocessing
        return str(preprocessing.target.decode(tokens))

    def figure(self, evaluation: Evaluation) -> Figure:
        return by_length(evaluation.arrays, self.words)

    @property
    def words(self) -> bool:
        """Return True if tokens are words; else they are characters."""
        preprocessing: Any = self.dataset.preprocessing
        return bool(preprocessing.target.spaced)

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        found = evaluation.arrays
        order = np.argsort(-found["nats"] / found["tokens"], kind="stable")
        says = {
            int(i): f"“{short(found['translations'][i], 90)}” (true: “{short(found['references'][i], 90)}”)" for i in order[:24]
        }
        title = f"The least expected translations, of {len(order):,} test examples"
        return Mistakes(order, says, title, "translation and reference, by the reference's mean surprise for each token")


class _Written:
    """The translations of a split, its references, and the log-probabilities of the references."""

    def __init__(self, task: Translation, written: list[str] | None, true: list[str] | None) -> None:
        self._task, self._written, self._true = task, written, true
        self._texts: list[str] = []
        self._references: list[str] = []
        self._nats: list[float] = []
        self._tokens: list[int] = []
        self._lengths: list[int] = []

    def add(self, outputs: Any, batch: Batch) -> None:
        """Take scores (batch, steps, vocabulary) of the references, or {"texts": translations}, with "scores" or without."""
        given = outputs if isinstance(outputs, Mapping) else {"scores": outputs}
        (following,) = self._task.targets(batch)
        here = slice(len(self._texts), len(self._texts) + len(following))
        if self._written is not None:
            self._texts += self._written[here]
        elif "texts" in given:
            self._texts += given["texts"]
        else:
            raise UserError("BLEU measures texts. Received scores of a model without a search. Use the task's evaluate().")
        kept = following != IGNORED
        if self._true is not None:
            self._references += self._true[here]
        else:
            self._references += [self._task._text(np.where(row == IGNORED, PAD, row)) for row in following]
        self._tokens += kept.sum(1).tolist()
        self._lengths += np.asarray(batch[1]).tolist()
        if "scores" in given:
            with np.errstate(all="ignore"):
                log_p = log_softmax(np.asarray(given["scores"])[:, : following.shape[1]])  # compiled batches are longer
            picked = np.take_along_axis(log_p, np.where(kept, following, 0)[..., None], -1)[..., 0]
            self._nats += (-np.where(kept, picked, 0.0).sum(1, dtype=np.float64)).tolist()

    def result(self) -> Evaluation:
        exact = np.array([a == b for a, b in zip(self._texts, self._references, strict=True)])
        metrics = {"bleu": bleu(self._texts, self._references, not self._task.words)} if installed() else {}
        metrics |= {
            "exact": float(exact.mean()),
            "perplexity": math.exp(min(sum(self._nats) / sum(self._tokens), 700.0)) if self._nats else math.nan,
        }
        arrays = {
            "exact": exact, "tokens": np.array(self._tokens), "lengths": np.array(self._lengths),
            "translations": np.array(self._texts, dtype=object), "references": np.array(self._references, dtype=object),
        }  # fmt: skip
        return Evaluation(metrics, arrays | ({"nats": np.array(self._nats)} if self._nats else {}))


def by_length(found: dict[str, Array], words: bool, groups: int = 6) -> Figure:
    """Return how well short and long sources are translated, in groups of about as many, and how long translations are."""
    from matplotlib.figure import Figure

    lengths, exact = found["lengths"], found["exact"]
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, groups + 1)).round().astype(int))
    edges[-1] += 1
    places = [np.flatnonzero((lengths >= a) & (lengths < b)) for a, b in itertools.pairwise(edges)] or [np.arange(len(lengths))]
    places = [rows for rows in places if len(rows)]
    names = [f"{lengths[rows].min()}-{lengths[rows].max()}" for rows in places]
    figure = Figure(figsize=(10, 4), layout="constrained")
    *left, right = figure.subplots(1, 2 if installed() else 1, squeeze=False)[0]
    for axes in left:
        texts = [([found["translations"][i] for i in rows], [found["references"][i] for i in rows]) for rows in places]
        axes.bar(names, [bleu(made, true, not words) for made, true in texts], color=BLUE)
        axes.set(title="Quality by the length of the source (test)", xlabel="tokens of the source", ylabel="BLEU")
    right.bar(names, [100 * exact[rows].mean() for rows in places], color=ORANGE)
    right.set(title="Translations that equal the reference", xlabel="tokens of the source", ylabel="%")
    for axes in (*left, right):
        axes.grid(alpha=0.25, axis="y", color=GRAY)
        axes.set_axisbelow(True)
    return figure
