"""RoBERTa's recipes for passages and for labeled sentences, and the small instances for the contracts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.transformers.roberta.model import Network, build, classification_loss, masked_loss
from nnatomy.data.augment import Augmentation, word_dropout
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.sentences.sentences import LONGEST
from nnatomy.data.masking import DynamicMasks
from nnatomy.optim import AdamW, Linear
from nnatomy.tasks import Classification, MaskedLanguage
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = NDArray[Any]
UNDECAYED = ("bias", "LayerNorm", "layer_norm")
WARMUP = partial(Linear, warmup=0.1)
PAD = 0  # the token that pads in our data; 1 in the published vocabulary


def pretrainer(
    dataset: Dataset, hidden_size: int = 64, num_hidden_layers: int = 2, num_attention_heads: int = 4, dropout: float = 0.0
) -> Network:
    """A RoBERTa that fills in words, with the vocabulary of a data set and a position for each token of its window."""
    return build(
        dataset.outputs, hidden_size, num_hidden_layers, num_attention_heads, 4 * hidden_size,
        PAD + 1 + dataset.input_shape[0], PAD, dropout, head="masked",
    )  # fmt: skip


def classifier(
    dataset: Dataset, hidden_size: int = 64, num_hidden_layers: int = 2, num_attention_heads: int = 4, dropout: float = 0.1
) -> Network:
    """A RoBERTa that classifies texts, with the vocabulary of a data set and a position for each token that is read."""
    vocabulary = len(dataset.preprocessing.to_json()["vocabulary"])
    return build(
        vocabulary, hidden_size, num_hidden_layers, num_attention_heads, 4 * hidden_size, PAD + 1 + LONGEST, PAD, dropout,
        head="classification", num_labels=dataset.outputs,
    )  # fmt: skip


passages = Recipe(
    kind="passages",
    tasks=(MaskedLanguage,),
    data="stories",
    build=pretrainer,
    options={},
    learn=GradientDescent(
        masked_loss, partial(AdamW, lr=6e-3, betas=(0.9, 0.98), weight_decay=0.01), schedule=WARMUP, clip=1.0,
        undecayed=UNDECAYED,
    ),
    epochs=5,
    batch_size=32,
    metric="loss",
    score={"accuracy": 0.85},
    load={"pairs": "none"},
    augment=Augmentation((DynamicMasks(),)),
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
    "vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 8, "pad_token_id": 1, "dropout": 0.0,
}  # fmt: skip
LENGTHS = np.array([6, 4, 5, 3])


def _masked(rng: np.random.Generator, pad: int = 1) -> tuple[Array, ...]:
    """Tokens, lengths and labels of four texts of at most six tokens."""
    read = np.arange(6) < LENGTHS[:, None]
    tokens = np.where(read, rng.integers(2, 13, (4, 6)), pad)
    labels = np.where(read & (np.arange(6) % 3 == 1), tokens, -100)
    return np.where(labels > 0, 4, tokens), LENGTHS, labels


def _texts(rng: np.random.Generator) -> tuple[Array, ...]:
    return *_masked(rng, 0)[:2], np.array([0, 1, 2, 1])


cases: tuple[Case, ...] = (
    Case("masked", {**SMALL, "head": "masked"}, _masked, masked_loss),
    Case(
        "classification",
        {**SMALL, "num_hidden_layers": 2, "pad_token_id": 0, "head": "classification", "num_labels": 3},
        _texts, classification_loss,
    ),
)  # fmt: skip
