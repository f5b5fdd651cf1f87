"""The RNN's recipes for sequences, forecasts, text and sentences, and the small instances that the contracts build."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.recurrent.rnn.model import RNNNetwork, build, loss, start_identity, start_orthogonal
from nnatomy.data.augment import Augmentation, word_dropout
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers.sequences import FromLastValue, SequenceNetwork, forecast_loss
from nnatomy.optim import Adam, AdamW, Cosine
from nnatomy.tasks import Classification, Forecast, Language, Regression
from nnatomy.tasks.language import generate_text
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Contract, Recipe

Array = NDArray[Any]
STARTS = {"identity": start_identity, "orthogonal": start_orthogonal}


def begin(network: SequenceNetwork, start: str) -> SequenceNetwork:
    """Start the weights of the state "uniform" as they are, as the "identity", or "orthogonal"."""
    if start == "uniform":
        return network
    if start not in STARTS:
        raise unknown_name("start", start, ("uniform", *STARTS))
    if not isinstance(network, RNNNetwork):
        raise UserError(f'Only a state that comes back itself starts so. Received start={start!r}. Use start="uniform".')
    return STARTS[start](network)


def build_for(
    dataset: Dataset, hidden: int = 128, layers: int = 1, bidirectional: bool = False, nonlinearity: str = "tanh",
    feedback: str = "state", decay: float = 0.0, truncation: int | None = None, dropout: float = 0.0, embedding: int = 64,
    start: str = "uniform",
) -> SequenceNetwork:  # fmt: skip
    """Text: scores of the next character at each step. Sentences: one output for each. Series: all forecast values at the end.

    `embedding`: width of the vectors that represent tokens. `start`: how W_hh starts, "uniform", "identity" or "orthogonal".
    """
    saved = dataset.preprocessing.to_json()
    tokens = dataset.fields[0].like == "tokens"
    model = build(
        inputs=embedding if tokens else dataset.input_shape[-1],
        hidden=hidden,
        outputs=dataset.outputs * saved.get("horizon", 1),
        layers=layers,
        bidirectional=bidirectional,
        nonlinearity=nonlinearity,
        feedback=feedback,
        decay=decay,
        truncation=truncation,
        dropout=dropout,
        vocabulary=len(saved["vocabulary"]) if tokens else None,
        readout="each" if dataset.fields[-1].like == "tokens" else "last",
    )
    return begin(model, start)


def forecaster(
    dataset: Dataset, hidden: int = 32, layers: int = 1, nonlinearity: str = "tanh", feedback: str = "state",
    decay: float = 0.0, truncation: int | None = None, dropout: float = 0.0, start: str = "uniform", alone: bool = True,
) -> FromLastValue:  # fmt: skip
    """All forecast values from the state after the last known one."""
    saved = dataset.preprocessing.to_json()
    inputs = 1 if alone else dataset.input_shape[-1]
    network = build(
        inputs, hidden, dataset.outputs * saved["horizon"], layers, False, nonlinearity, feedback, decay, truncation, dropout,
        readout="last",
    )  # fmt: skip
    return FromLastValue(begin(network, start), saved["columns"].index(saved["targets"][0]), alone)


sequences = Recipe(
    kind="series",
    tasks=(Regression,),
    data="narma10",
    build=build_for,
    options={"hidden": 32, "start": "orthogonal"},
    learn=GradientDescent(loss, partial(Adam, lr=1e-2), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=40,
    batch_size=50,
    metric="r2",
    score={"r2": 0.9},
)
text = Recipe(
    kind="text",
    tasks=(Language,),
    data="tinyshakespeare",
    build=build_for,
    options={"hidden": 256, "embedding": 64, "truncation": 32, "start": "orthogonal"},
    learn=GradientDescent(loss, partial(Adam, lr=2e-3), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=6,
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
    options={"hidden": 64, "embedding": 64, "bidirectional": True, "start": "orthogonal"},
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
    tokens = rng.integers(0, 9, (4, 6))
    return tokens[:, :-1], tokens[:, 1:]


def _every_step(rng: np.random.Generator) -> tuple[Array, ...]:
    return rng.normal(size=(5, 4, 3)), rng.normal(size=(5, 4, 2))


def _ragged(rng: np.random.Generator) -> tuple[Array, ...]:
    lengths = np.array([5, 3, 4, 1, 2, 4])
    tokens = np.where(np.arange(5) < lengths[:, None], rng.integers(1, 9, (6, 5)), 0)
    return tokens, lengths, np.array([0, 1, 2, 0, 1, 2])


cases: tuple[Case, ...] = (
    Case(
        "characters",
        {"inputs": 5, "hidden": 8, "outputs": 9, "truncation": 2, "vocabulary": 9, "readout": "each"},
        _tokens,
        loss,
        without={Contract.GRADIENTS: "a truncated gradient is not that of the loss: it leaves out what is older"},
    ),
    Case(
        "Jordan",
        {"inputs": 3, "hidden": 6, "outputs": 2, "feedback": "output", "decay": 0.5, "readout": "each"},
        _every_step,
        loss,
        overfit=0.1,
    ),
    Case(
        "ragged, relu",
        {
            "inputs": 4, "hidden": 6, "outputs": 3, "layers": 2, "bidirectional": True, "nonlinearity": "relu",
            "vocabulary": 9, "readout": "last",
        },
        _ragged,
        loss,
    ),
)  # fmt: skip
