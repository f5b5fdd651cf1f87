"""Training of the transformer on letters and on captions, and the small instances that the contracts build."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.transformers.transformer.model import Transformer, build, loss
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.errors import UserError
from nnatomy.optim import Adam, InverseSquareRoot
from nnatomy.tasks import Translation
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = NDArray[Any]


def fit_to(
    dataset: Dataset, d_model: int = 64, nhead: int = 4, layers: int = 2, dim_feedforward: int = 256, dropout: float = 0.1,
    norm: str = "post", tie: str = "target", label_smoothing: float = 0.1, beam: int = 1, length_penalty: float = 0.0,
) -> Transformer:  # fmt: skip
    """Return the model whose vocabularies are those of the data, with as many layers in the encoder as in the decoder."""
    saved = dataset.preprocessing.to_json()
    source, target = (saved[side]["tokens"] for side in ("source", "target"))
    if tie == "all" and source != target:
        raise UserError(
            'tie="all" needs one vocabulary for source and target. '
            f'Received {len(source)} tokens and {len(target)} others. Use tie="target".'
        )
    return build(
        len(source), len(target), d_model, nhead, layers, layers, dim_feedforward, dropout, norm, tie, label_smoothing, beam,
        length_penalty,
    )  # fmt: skip


def learn(d_model: int, warmup: int) -> GradientDescent:
    """Return Adam with the rate d_model^-0.5 min(s^-0.5, s warmup^-1.5) at step s = 1, 2, ... (section 5.3).

    Moving averages of the weights are evaluated, where the paper averages its last checkpoints (section 6.1).
    """
    highest = 1 / math.sqrt(d_model * warmup)  # at s = warmup
    adam = partial(Adam, lr=highest, betas=(0.9, 0.98), eps=1e-9)
    return GradientDescent(loss, adam, schedule=partial(InverseSquareRoot, warmup=warmup), average=0.99)


letters = Recipe(
    kind="pairs",
    tasks=(Translation,),
    data="letters",
    build=fit_to,
    options={"d_model": 64, "dropout": 0.0},
    learn=learn(64, 400),
    epochs=10,
    batch_size=64,
    metric="loss",
    score={"exact": 0.95},
)
captions = Recipe(
    kind="pairs",
    tasks=(Translation,),
    data="multi30k",
    build=fit_to,
    options={"d_model": 128, "nhead": 8, "dim_feedforward": 512},
    learn=learn(128, 400),
    epochs=4,
    batch_size=64,
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


SMALL = {
    "source": 9, "target": 9, "d_model": 8, "nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 1, "dim_feedforward": 12,
    "dropout": 0.0,
}  # fmt: skip
LEAST = 0.25  # of the first loss: the entropy of smoothed labels is about 0.2 of it
cases: tuple[Case, ...] = (
    Case("paper", SMALL, _pairs, loss, overfit=LEAST, fields=FIELDS),
    Case("pre", SMALL | {"target": 8, "norm": "pre", "tie": "none", "label_smoothing": 0.0}, _pairs, loss, fields=FIELDS),
    Case(
        "library", SMALL | {"target": 8, "num_decoder_layers": 2, "norm": "post-final", "tie": "target"}, _pairs, loss,
        overfit=LEAST, fields=FIELDS,
    ),
)  # fmt: skip
