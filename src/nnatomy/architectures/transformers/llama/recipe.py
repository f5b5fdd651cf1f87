"""Llama's recipes for sums and for texts, and the small instances for the contracts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.transformers.llama.model import Llama, build, loss
from nnatomy.data.dataset import Dataset
from nnatomy.optim import AdamW, Cosine
from nnatomy.random import Generator
from nnatomy.tasks import Completion, Language
from nnatomy.tasks.sampling import generate
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = NDArray[Any]


def fit_to(
    dataset: Dataset, hidden_size: int = 128, intermediate_size: int = 344, num_hidden_layers: int = 4,
    num_attention_heads: int = 4, num_key_value_heads: int = 2, head_dim: int | None = None, rope_theta: float = 10000.0,
    tie_word_embeddings: bool = False, form: str = "llama",
) -> Llama:  # fmt: skip
    """A Llama with the vocabulary of a data set, and as many positions as its windows have tokens."""
    return build(
        dataset.outputs, dataset.input_shape[0], hidden_size, intermediate_size, num_hidden_layers, num_attention_heads,
        num_key_value_heads, head_dim, rope_theta, 1e-5, tie_word_embeddings, form=form,
    )  # fmt: skip


def write(model: Llama, dataset: Dataset, length: int = 600, temperature: float = 0.8) -> str:
    """Text that the model writes after a line break, with the cache; the same each time."""
    preprocessing: Any = dataset.preprocessing
    written = generate(model, preprocessing.encode("\n"), length, temperature=temperature, top_p=0.95, generator=Generator(0))
    return str(preprocessing.decode(written))


sums = Recipe(
    kind="text",
    tasks=(Completion,),
    data="sums",
    build=fit_to,
    options={"hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 2, "num_key_value_heads": 4},
    learn=GradientDescent(loss, partial(AdamW, lr=5e-3, weight_decay=0.1), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=7,
    batch_size=32,
    metric="loss",
    score={"answers": 0.9},
    sample=write,
)
text = Recipe(
    kind="text",
    tasks=(Language,),
    data="tinyshakespeare",
    build=fit_to,
    options={"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 2},
    learn=GradientDescent(loss, partial(AdamW, lr=4e-3, weight_decay=0.1), schedule=partial(Cosine, warmup=0.02), clip=1.0),
    epochs=1,
    batch_size=32,
    metric="loss",
    score={"loss": 1.97},
    load={"window": 64},
    sample=write,
)
recipes: tuple[Recipe, ...] = (sums, text)

SMALL = {
    "vocab_size": 11, "max_position_embeddings": 8, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
    "num_attention_heads": 2,
}  # fmt: skip
GROUPED = {
    **SMALL, "hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
}  # fmt: skip
PALM = {**SMALL, "form": "palm", "num_key_value_heads": 1, "head_dim": 6, "tie_word_embeddings": True}


def _tokens(rng: np.random.Generator) -> tuple[Array, ...]:
    tokens = rng.integers(0, 11, (3, 7))
    return tokens[:, :-1], tokens[:, 1:]


def _answers(rng: np.random.Generator) -> tuple[Array, ...]:
    tokens, following = _tokens(rng)
    return tokens, np.where(np.arange(6) < np.array([[2], [4], [3]]), -100, following)  # questions are not predicted


cases: tuple[Case, ...] = (
    Case("llama2", SMALL, _tokens, loss),
    Case("llama3", GROUPED, _answers, loss),
    Case("pairs", {**SMALL, "rotary": "pairs", "tie_word_embeddings": True}, _tokens, loss),
    Case("palm", PALM, _tokens, loss),
)
