"""Training of recurrent attention on letters and on captions, and the small instances that the contracts build."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.recurrent.attention_rnn.model import AttentionRNN, build, loss
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.optim import Adam, Cosine
from nnatomy.tasks import Translation
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = NDArray[Any]


def build_for(
    dataset: Dataset, embedding: int = 64, encoder_hidden: int = 64, hidden: int = 128, score: str = "additive",
    input_feeding: bool = True, dropout: float = 0.0, beam: int = 1, length_penalty: float = 0.0,
) -> AttentionRNN:  # fmt: skip
    """Return the model whose vocabularies are those of the data."""
    saved = dataset.preprocessing.to_json()
    source, target = (len(saved[side]["tokens"]) for side in ("source", "target"))
    return build(source, target, embedding, encoder_hidden, hidden, score, input_feeding, dropout, beam, length_penalty)


letters = Recipe(
    kind="pairs",
    tasks=(Translation,),
    data="letters",
    build=build_for,
    options={"embedding": 32, "encoder_hidden": 32, "hidden": 64},
    learn=GradientDescent(loss, partial(Adam, lr=5e-3), schedule=partial(Cosine, warmup=0.02), clip=5.0),
    epochs=6,
    batch_size=64,
    metric="loss",
    score={"exact": 0.98},
)
captions = Recipe(
    kind="pairs",
    tasks=(Translation,),
    data="multi30k",
    build=build_for,
    options={"embedding": 128, "encoder_hidden": 128, "hidden": 256, "score": "general", "dropout": 0.2},
    learn=GradientDescent(loss, partial(Adam, lr=3e-3), schedule=partial(Cosine, warmup=0.05), clip=5.0),
    epochs=4,
    batch_size=128,
    metric="bleu",
)
recipes: tuple[Recipe, ...] = (letters, captions)

FIELDS = (
    Field("source", ragged=1), Field("lengths"), Field("given", role="given", ragged=1),
    Field("following", role="target", ragged=1, fill=-100),
)  # fmt: skip


def _pairs(rng: np.random.Generator) -> tuple[Array, ...]:
    """Four pairs of different lengths; 0 pads, 1 starts and 2 ends a sequence."""
    lengths, written = np.array([5, 3, 1, 4]), np.array([3, 4, 2, 1])
    source = np.where(np.arange(5) < lengths[:, None], rng.integers(3, 9, (4, 5)), 0)
    target = rng.integers(3, 8, (4, 4))
    given = np.where(np.arange(4) < written[:, None], np.concatenate([np.ones((4, 1), int), target[:, :3]], 1), 0)
    following = np.where(np.arange(4) < written[:, None] - 1, target, -100)
    following[np.arange(4), written - 1] = 2
    return source, lengths, given, following


SIZES = {"source": 9, "target": 8, "embedding": 4, "encoder_hidden": 3, "hidden": 6}
cases: tuple[Case, ...] = (
    Case("bahdanau", SIZES, _pairs, loss, fields=FIELDS),
    Case("luong", SIZES | {"score": "general"}, _pairs, loss, fields=FIELDS),
    Case("concat", SIZES | {"score": "concat", "input_feeding": False}, _pairs, loss, fields=FIELDS),
)
