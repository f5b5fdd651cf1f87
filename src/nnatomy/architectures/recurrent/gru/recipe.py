"""The GRU's recipes for sequences, forecasts, text and sentences, and the small instances for the contracts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.recurrent.gru.model import GRUNetwork, build, loss, start_update
from nnatomy.data.augment import Augmentation, word_dropout
from nnatomy.data.dataset import Dataset
from nnatomy.layers.sequences import FromLastValue, forecast_loss
from nnatomy.optim import Adam, AdamW, Cosine
from nnatomy.tasks import Classification, Forecast, Language, Regression
from nnatomy.tasks.language import generate_text
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = NDArray[Any]


def build_for(
    dataset: Dataset, hidden: int = 128, layers: int = 1, bidirectional: bool = False, reset_after: bool = True,
    dropout: float = 0.0, embedding: int = 64, update_bias: float = 1.0,
) -> GRUNetwork:  # fmt: skip
    """Text: scores of the next character at each step. Sentences: one output for each. Series: all forecast values at the end.

    `embedding`: width of the vectors that represent tokens. `update_bias`: where the update gates start.
    """
    saved = dataset.preprocessing.to_json()
    tokens = dataset.fields[0].like == "tokens"
    model = build(
        inputs=embedding if tokens else dataset.input_shape[-1],
        hidden=hidden,
        outputs=dataset.outputs * saved.get("horizon", 1),
        layers=layers,
        bidirectional=bidirectional,
        reset_after=reset_after,
        dropout=dropout,
        vocabulary=len(saved["vocabulary"]) if tokens else None,
        readout="each" if dataset.fields[-1].like == "tokens" else "last",
    )
    return start_update(model, update_bias)


def forecaster(
    dataset: Dataset, hidden: int = 32, layers: int = 1, reset_after: bool = True, dropout: float = 0.0,
    update_bias: float = 1.0, alone: bool = True,
) -> FromLastValue:  # fmt: skip
    """All forecast values from the state after the last known one."""
    saved = dataset.preprocessing.to_json()
    inputs = 1 if alone else dataset.input_shape[-1]
    network = build(inputs, hidden, dataset.outputs * saved["horizon"], layers, False, reset_after, dropout, readout="last")
    return FromLastValue(start_update(network, update_bias), saved["columns"].index(saved["targets"][0]), alone)


sequences = Recipe(
    kind="series",
    tasks=(Regression,),
    data="adding_problem",
    build=build_for,
    options={"hidden": 32, "update_bias": 3.0},
    learn=GradientDescent(loss, partial(Adam, lr=1e-2), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=15,
    batch_size=50,
    metric="r2",
    score={"r2": 0.97},
)
text = Recipe(
    kind="text",
    tasks=(Language,),
    data="tinyshakespeare",
    build=build_for,
    options={"hidden": 256, "embedding": 64},
    learn=GradientDescent(loss, partial(Adam, lr=4e-3), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=12,
    batch_size=32,
    metric="loss",
    load={"window": 64},
    sample=generate_text,
)
sentences = Recipe(
    kind="sentences",
    tasks=(Classification,),
    data="rt_polarity",
    build=build_for,
    options={"hidden": 64, "embedding": 64, "bidirectional": True},
    learn=GradientDescent(loss, partial(AdamW, lr=2e-3, weight_decay=0.3), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=8,
    batch_size=64,
    metric="accuracy",
    augment=Augmentation((word_dropout,)),
)
forecasts = Recipe(
    kind="series",
    tasks=(Forecast,),
    data="etth1",
    build=forecaster,
    options={"hidden": 32, "alone": True},
    learn=GradientDescent(forecast_loss, partial(Adam, lr=1e-3), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=8,
    batch_size=64,
    metric="mse",
)
recipes: tuple[Recipe, ...] = (sequences, text, sentences, forecasts)


def _tokens(rng: np.random.Generator) -> tuple[Array, ...]:
    tokens = rng.integers(0, 9, (4, 4))
    return tokens[:, :-1], tokens[:, 1:]


def _numbers(rng: np.random.Generator) -> tuple[Array, ...]:
    return rng.normal(size=(5, 4, 3)), rng.normal(size=(5, 2))


def _ragged(rng: np.random.Generator) -> tuple[Array, ...]:
    lengths = np.array([5, 3, 4, 1, 2, 4])
    tokens = np.where(np.arange(5) < lengths[:, None], rng.integers(1, 9, (6, 5)), 0)
    return tokens, lengths, np.array([0, 1, 2, 0, 1, 2])


def _every_step(rng: np.random.Generator) -> tuple[Array, ...]:
    return rng.normal(size=(4, 3, 3)), rng.normal(size=(4, 3, 2))


cases: tuple[Case, ...] = (
    Case("characters", {"inputs": 5, "hidden": 8, "outputs": 9, "vocabulary": 9, "readout": "each"}, _tokens, loss),
    Case(
        "regression, reset before",
        {"inputs": 3, "hidden": 8, "outputs": 2, "reset_after": False, "readout": "last"},
        _numbers,
        loss,
    ),
    Case(
        "ragged",
        {"inputs": 4, "hidden": 6, "outputs": 3, "layers": 2, "bidirectional": True, "vocabulary": 9, "readout": "last"},
        _ragged,
        loss,
    ),
    Case(
        "every step, two layers",
        {"inputs": 3, "hidden": 6, "outputs": 2, "layers": 2, "bidirectional": True, "reset_after": False, "readout": "each"},
        _every_step,
        loss,
    ),
)
