"""DistilBERT's recipes: a teacher and its student on passages, labeled sentences; and the small instances for the contracts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.transformers.bert.model import build as build_bert
from nnatomy.architectures.transformers.distilbert.learner import TeacherFirst
from nnatomy.architectures.transformers.distilbert.model import (
    Distillation,
    MaskedLM,
    Network,
    build,
    classification_loss,
    distillation_loss,
    masked_loss,
    student_loss,
    teacher_loss,
)
from nnatomy.data.augment import Augmentation, word_dropout
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.data.kinds.sentences.sentences import LONGEST
from nnatomy.data.masking import DynamicMasks
from nnatomy.optim import AdamW, Linear
from nnatomy.tasks import Classification, MaskedLanguage
from nnatomy.training.learners import GradientDescent, Stages
from nnatomy.training.recipe import Case, Recipe

Array = NDArray[Any]
UNDECAYED = ("bias", "LayerNorm", "layer_norm")
ADAMW, WARMUP = partial(AdamW, lr=6e-3, weight_decay=0.01), partial(Linear, warmup=0.1)


def pair(dataset: Dataset, dim: int = 64, n_layers: int = 1, n_heads: int = 4, dropout: float = 0.0) -> Distillation:
    """A student and a teacher of twice its layers, with the vocabulary and the window of a data set."""
    sizes = (n_heads, 4 * dim, dataset.input_shape[0])
    student = build(dataset.outputs, dim, n_layers, *sizes, dropout, head="masked")
    teacher: Any = build_bert(dataset.outputs, dim, 2 * n_layers, *sizes, dropout=dropout, head="pretraining")
    assert isinstance(student, MaskedLM)
    return Distillation(student, teacher)


def classifier(dataset: Dataset, dim: int = 64, n_layers: int = 1, n_heads: int = 4, dropout: float = 0.1) -> Network:
    """A DistilBERT that classifies texts, with the vocabulary of a data set and a position for each token that is read."""
    vocabulary = len(dataset.preprocessing.to_json()["vocabulary"])
    return build(
        vocabulary, dim, n_layers, n_heads, 4 * dim, LONGEST, dropout, head="classification", num_labels=dataset.outputs
    )


passages = Recipe(
    kind="passages",
    tasks=(MaskedLanguage,),
    data="stories",
    build=pair,
    options={},
    learn=Stages(
        (TeacherFirst(teacher_loss, partial(ADAMW, lr=4e-3), schedule=WARMUP, clip=1.0, undecayed=UNDECAYED), 5),
        (GradientDescent(distillation_loss, ADAMW, schedule=WARMUP, clip=1.0, undecayed=UNDECAYED), 3),
    ),
    epochs=8,
    batch_size=32,
    metric="accuracy",
    score={"accuracy": 0.72},
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
    "vocab_size": 13, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 8, "dropout": 0.0,
}  # fmt: skip
LENGTHS = np.array([6, 4, 5, 3])
STUDENT = GradientDescent(masked_loss, ADAMW, undecayed=UNDECAYED)


def _masked(rng: np.random.Generator) -> tuple[Array, ...]:
    """Tokens, mask and labels of four texts of at most six tokens."""
    read = np.arange(6) < LENGTHS[:, None]
    tokens = np.where(read, rng.integers(1, 13, (4, 6)), 0)
    labels = np.where(read & (np.arange(6) % 3 == 1), tokens, -100)
    return np.where(labels > 0, 4, tokens), read.astype(np.int64), labels


def _taught(rng: np.random.Generator) -> tuple[Array, ...]:
    """The same, with the scores and the vectors of a teacher."""
    return *_masked(rng), rng.normal(size=(4, 6, 13)), rng.normal(size=(4, 6, 8))


def _texts(rng: np.random.Generator) -> tuple[Array, ...]:
    return _masked(rng)[0], LENGTHS, np.array([0, 1, 2, 1])


TAUGHT = (
    Field("tokens"), Field("mask"), Field("labels", role="target"), Field("scores", role="target"),
    Field("vectors", role="target"),
)  # fmt: skip
cases: tuple[Case, ...] = (
    Case("masked", {**SMALL, "head": "masked"}, _masked, masked_loss, learn=STUDENT),
    Case(
        "distillation", {**SMALL, "head": "masked"}, _taught, student_loss, learn=STUDENT, fields=TAUGHT, overfit=0.6
    ),
    Case(
        "classification", {**SMALL, "n_layers": 2, "head": "classification", "num_labels": 3}, _texts, classification_loss,
        learn=STUDENT,
    ),
)  # fmt: skip
