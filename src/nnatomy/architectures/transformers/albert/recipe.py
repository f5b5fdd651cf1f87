"""ALBERT's recipes for passages and for labeled sentences, and the small instances for the contracts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.transformers.albert.model import Network, build, classification_loss, pretraining_loss
from nnatomy.data.augment import Augmentation, word_dropout
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.data.kinds.sentences.sentences import LONGEST
from nnatomy.optim import AdamW, Linear
from nnatomy.tasks import Classification, MaskedLanguage
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = NDArray[Any]
UNDECAYED = ("bias", "LayerNorm", "layer_norm")
WARMUP = partial(Linear, warmup=0.1)


def pretrainer(
    dataset: Dataset, embedding_size: int = 32, hidden_size: int = 64, num_hidden_layers: int = 3,
    num_attention_heads: int = 4, num_hidden_groups: int = 1, dropout: float = 0.0,
) -> Network:  # fmt: skip
    """An ALBERT with both heads of pretraining, with the vocabulary and the window of a data set."""
    return build(
        dataset.outputs, embedding_size, hidden_size, num_hidden_layers, num_attention_heads, 4 * hidden_size,
        num_hidden_groups, dataset.input_shape[0], dropout=dropout, head="pretraining",
    )  # fmt: skip


def classifier(
    dataset: Dataset, embedding_size: int = 32, hidden_size: int = 64, num_hidden_layers: int = 2,
    num_attention_heads: int = 4, num_hidden_groups: int = 1, dropout: float = 0.1,
) -> Network:  # fmt: skip
    """An ALBERT that classifies texts, with the vocabulary of a data set and a position for each token that is read."""
    vocabulary = len(dataset.preprocessing.to_json()["vocabulary"])
    return build(
        vocabulary, embedding_size, hidden_size, num_hidden_layers, num_attention_heads, 4 * hidden_size,
        num_hidden_groups, LONGEST, dropout=dropout, head="classification", num_labels=dataset.outputs,
    )  # fmt: skip


passages = Recipe(
    kind="passages",
    tasks=(MaskedLanguage,),
    data="stories",
    build=pretrainer,
    options={},
    learn=GradientDescent(
        pretraining_loss, partial(AdamW, lr=5e-3, weight_decay=0.01), schedule=WARMUP, clip=1.0, undecayed=UNDECAYED
    ),
    epochs=5,
    batch_size=32,
    metric="loss",
    score={"accuracy": 0.64},
    load={"pairs": "swapped"},
)
sentences = Recipe(
    kind="sentences",
    tasks=(Classification,),
    data="rt_polarity",
    build=classifier,
    options={},
    learn=GradientDescent(
        classification_loss, partial(AdamW, lr=1e-3, weight_decay=0.1), schedule=WARMUP, clip=1.0, undecayed=UNDECAYED
    ),
    epochs=4,
    batch_size=32,
    metric="accuracy",
    load={"tokens": 4000},
    augment=Augmentation((word_dropout,)),
)
recipes: tuple[Recipe, ...] = (passages, sentences)

SMALL = {
    "vocab_size": 13, "embedding_size": 4, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 8, "dropout": 0.0,
}  # fmt: skip
LENGTHS = np.array([6, 4, 5, 3])


def _pairs(rng: np.random.Generator) -> tuple[Array, ...]:
    """Tokens, mask, segments, labels and orders of four texts of at most six tokens."""
    read = np.arange(6) < LENGTHS[:, None]
    tokens = np.where(read, rng.integers(1, 13, (4, 6)), 0)
    segments = (read & (np.arange(6) >= LENGTHS[:, None] // 2)).astype(np.int64)
    labels = np.where(read & (np.arange(6) % 3 == 1), tokens, -100)
    return np.where(labels > 0, 4, tokens), read.astype(np.int64), segments, labels, np.array([0, 1, 0, 1])


def _texts(rng: np.random.Generator) -> tuple[Array, ...]:
    return _pairs(rng)[0], LENGTHS, np.array([0, 1, 2, 1])


PAIRED = (
    Field("tokens"), Field("mask"), Field("segments"), Field("labels", role="target"), Field("swapped", role="target"),
)  # fmt: skip
cases: tuple[Case, ...] = (
    Case("pretraining", {**SMALL, "head": "pretraining"}, _pairs, pretraining_loss, fields=PAIRED),
    Case(
        "groups",
        {**SMALL, "num_hidden_layers": 4, "num_hidden_groups": 2, "head": "classification", "num_labels": 3},
        _texts, classification_loss,
    ),
)  # fmt: skip
