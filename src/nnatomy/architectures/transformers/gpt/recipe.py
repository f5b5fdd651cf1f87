"""GPT's recipes for sums and for texts, and the small instances for the contracts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.transformers.gpt.model import GPT, build, loss
from nnatomy.data.dataset import Dataset
from nnatomy.optim import AdamW, Cosine
from nnatomy.random import Generator
from nnatomy.tasks import Completion, Language
from nnatomy.tasks.sampling import generate
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = NDArray[Any]


def fit_to(
    dataset: Dataset, n_embd: int = 128, n_layer: int = 4, n_head: int = 4, dropout: float = 0.0, norm: str = "pre"
) -> GPT:
    """A GPT with the vocabulary of a data set, and as many positions as its windows have tokens."""
    return build(dataset.outputs, dataset.input_shape[0], n_embd, n_layer, n_head, dropout, norm)


def write(model: GPT, dataset: Dataset, length: int = 600, temperature: float = 0.8) -> str:
    """Text that the model writes after a line break, with the cache; the same each time."""
    preprocessing: Any = dataset.preprocessing
    written = generate(model, preprocessing.encode("\n"), length, temperature=temperature, top_p=0.95, generator=Generator(0))
    return str(preprocessing.decode(written))


sums = Recipe(
    kind="text",
    tasks=(Completion,),
    data="sums",
    build=fit_to,
    options={"n_embd": 64, "n_layer": 2},
    learn=GradientDescent(loss, partial(AdamW, lr=8e-3, weight_decay=0.1), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=6,
    batch_size=32,
    metric="loss",
    score={"answers": 0.95},
    sample=write,
)
text = Recipe(
    kind="text",
    tasks=(Language,),
    data="tinyshakespeare",
    build=fit_to,
    options={"n_embd": 96, "n_layer": 3},
    learn=GradientDescent(loss, partial(AdamW, lr=4e-3, weight_decay=0.1), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=2,
    batch_size=32,
    metric="loss",
    score={"loss": 1.95},
    load={"window": 64},
    sample=write,
)
tokens = Recipe(
    kind="text",
    tasks=(Language,),
    data="tinyshakespeare",
    build=fit_to,
    options={"n_embd": 256, "n_layer": 6, "n_head": 8, "dropout": 0.1},
    learn=GradientDescent(loss, partial(AdamW, lr=1e-3, weight_decay=0.1), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=8,
    batch_size=32,
    metric="loss",
    load={"window": 128, "tokens": 1024},
    sample=write,
    name="tokens",
)
recipes: tuple[Recipe, ...] = (sums, text, tokens)

SMALL = {"vocab_size": 11, "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2, "dropout": 0.0}


def _tokens(rng: np.random.Generator) -> tuple[Array, ...]:
    tokens = rng.integers(0, 11, (3, 7))
    return tokens[:, :-1], tokens[:, 1:]


def _answers(rng: np.random.Generator) -> tuple[Array, ...]:
    tokens, following = _tokens(rng)
    return tokens, np.where(np.arange(6) < np.array([[2], [4], [3]]), -100, following)  # questions are not predicted


cases: tuple[Case, ...] = (
    Case("gpt2", SMALL, _tokens, loss),
    Case("gpt1", {**SMALL, "norm": "post"}, _tokens, loss),
    Case("answers", SMALL, _answers, loss),
)
