"""BERT's recipes for passages and for labeled sentences, and the small instances for the contracts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.transformers.bert.model import Network, build, classification_loss, pretraining_loss, span_loss
from nnatomy.data.augment import Augmentation, word_dropout
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.data.kinds.sentences.sentences import LONGEST
from nnatomy.optim import AdamW, Linear
from nnatomy.tasks import Classification, MaskedLanguage
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = NDArray[Any]
UNDECAYED = ("bias", "LayerNorm")  # as in the paper's code


def pretrainer(
    dataset: Dataset, hidden_size: int = 128, num_hidden_layers: int = 2, num_attention_heads: int = 4, dropout: float = 0.1
) -> Network:
    """A BERT with both heads of pretraining, with the vocabulary and the window of a data set."""
    return build(
        dataset.outputs, hidden_size, num_hidden_layers, num_attention_heads, 4 * hidden_size, dataset.input_shape[0],
        dropout=dropout, head="pretraining",
    )  # fmt: skip


def classifier(
    dataset: Dataset, hidden_size: int = 128, num_hidden_layers: int = 2, num_attention_heads: int = 4, dropout: float = 0.1
) -> Network:
    """A BERT that classifies texts, with the vocabulary of a data set and a position for each token that is read."""
    vocabulary = len(dataset.preprocessing.to_json()["vocabulary"])
    return build(
        vocabulary, hidden_size, num_hidden_layers, num_attention_heads, 4 * hidden_size, LONGEST, dropout=dropout,
        head="classification", num_labels=dataset.outputs,
    )  # fmt: skip


passages = Recipe(
    kind="passages",
    tasks=(MaskedLanguage,),
    data="stories",
    build=pretrainer,
    options={"hidden_size": 64, "dropout": 0.0},
    learn=GradientDescent(
        pretraining_loss, partial(AdamW, lr=6e-3, weight_decay=0.01), schedule=partial(Linear, warmup=0.1),
        clip=1.0, undecayed=UNDECAYED,
    ),
    epochs=8,
    batch_size=32,
    metric="loss",
    score={"accuracy": 0.82},
)
sentences = Recipe(
    kind="sentences",
    tasks=(Classification,),
    data="rt_polarity",
    build=classifier,
    options={"hidden_size": 64},
    learn=GradientDescent(
        classification_loss, partial(AdamW, lr=1e-3, weight_decay=0.1), schedule=partial(Linear, warmup=0.1),
        clip=1.0, undecayed=UNDECAYED,
    ),
    epochs=4,
    batch_size=32,
    metric="accuracy",
    score={"accuracy": 0.7},
    load={"tokens": 4000},
    augment=Augmentation((word_dropout,)),
)
recipes: tuple[Recipe, ...] = (passages, sentences)

SMALL = {
    "vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 8, "dropout": 0.0,
}  # fmt: skip
LENGTHS = np.array([6, 4, 5, 3])


def _inputs(rng: np.random.Generator) -> tuple[Array, ...]:
    """Tokens, mask and segments of four texts of at most six tokens."""
    read = np.arange(6) < LENGTHS[:, None]
    tokens = np.where(read, rng.integers(1, 13, (4, 6)), 0)
    return tokens, read.astype(np.int64), (read & (np.arange(6) >= LENGTHS[:, None] // 2)).astype(np.int64)


def _pairs(rng: np.random.Generator) -> tuple[Array, ...]:
    tokens, read, segments = _inputs(rng)
    labels = np.where(np.arange(6) % 3 == 1, tokens, -100)
    return np.where(labels > 0, 4, tokens), read, segments, np.where(read > 0, labels, -100), np.array([0, 1, 0, 1])


def _texts(rng: np.random.Generator) -> tuple[Array, ...]:
    return _inputs(rng)[0], LENGTHS, np.array([0, 1, 2, 1])


def _each(rng: np.random.Generator) -> tuple[Array, ...]:
    tokens, read, segments = _inputs(rng)
    return tokens, read, segments, np.where(read > 0, tokens % 3, -100)


def _answers(rng: np.random.Generator) -> tuple[Array, ...]:
    return *_inputs(rng), np.stack([rng.integers(0, LENGTHS), rng.integers(0, LENGTHS)], axis=1)


PAIRED = (
    Field("tokens"), Field("mask"), Field("segments"), Field("labels", role="target"), Field("random", role="target"),
)  # fmt: skip
cases: tuple[Case, ...] = (
    Case("pretraining", {**SMALL, "num_hidden_layers": 1, "head": "pretraining"}, _pairs, pretraining_loss, fields=PAIRED),
    Case("classification", {**SMALL, "head": "classification", "num_labels": 3}, _texts, classification_loss),
    Case("tokens", {**SMALL, "head": "tokens", "num_labels": 3}, _each, classification_loss),
    Case("span", {**SMALL, "head": "span"}, _answers, span_loss),
)
