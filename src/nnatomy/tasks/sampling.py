"""Writing by chance: the next token drawn from a model's probabilities, for all models that write token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from nnatomy import random
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers.cache import KeyValueCache
from nnatomy.tensor import wrap

__all__ = ["Writer", "draw", "generate", "probabilities"]

Array = np.ndarray[Any, Any]


class Writer(Protocol):
    """A model that `generate` can write with: scores (batch, time, vocabulary) of the next token after each one."""

    n_positions: int
    training: bool

    def cache(self) -> KeyValueCache: ...
    def __call__(self, tokens: Any, cache: KeyValueCache | None = None) -> Any: ...
    def train(self, mode: bool = True) -> Any: ...


def probabilities(scores: Array, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Array:
    """Return p = softmax(scores / temperature) over the tokens that are kept, and 0 for the others; scores (..., vocabulary).

    Args:
        temperature: below 1 the likely become likelier; 0 keeps only the likeliest, the first of equals
        top_k: keep the k likeliest tokens; 0 keeps all (Fan et al. 2018)
        top_p: keep the fewest likeliest tokens whose probabilities sum to at least top_p (Holtzman et al. 2020)

    Raises:
        UserError: for a negative temperature or top_k, and for top_p outside (0, 1]
    """
    if not temperature >= 0 or top_k < 0 or not 0 < top_p <= 1:
        raise UserError(
            f"Sampling needs temperature >= 0, top_k >= 0 and 0 < top_p <= 1. Received {temperature}, {top_k} and {top_p}. "
            "Use, for example, temperature=0.8, top_k=0, top_p=1.0."
        )
    z = np.asarray(scores, np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    if temperature == 0:
        likeliest: Array = np.arange(z.shape[-1]) == z.argmax(axis=-1)[..., None]
        return likeliest.astype(np.float64)
    p = np.exp(z / temperature)
    p /= p.sum(axis=-1, keepdims=True)
    order = np.argsort(-p, axis=-1, kind="stable")
    ranked = np.take_along_axis(p, order, -1)
    kept = np.arange(z.shape[-1]) < (top_k or z.shape[-1])
    if top_p < 1:
        kept = kept & (ranked.cumsum(axis=-1) - ranked < top_p)  # those before it do not reach top_p yet
    kept = np.broadcast_to(kept, ranked.shape)
    p = np.where(np.take_along_axis(kept, np.argsort(order, axis=-1), -1), p, 0.0)
    left: Array = p / p.sum(axis=-1, keepdims=True)
    return left


def draw(p: Array, generator: random.Generator) -> Array:
    """Return one token for each row of probabilities (rows, vocabulary)."""
    reached = p.cumsum(axis=-1)
    at = generator.uniform((len(p), 1), dtype="float64") * reached[:, -1:]
    return np.minimum((reached <= at).sum(axis=-1), p.shape[-1] - 1)  # type: ignore[no-any-return]


def generate(
    model: Writer, prompt: Any, length: int, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0,
    generator: random.Generator | None = None, cached: bool = True, stop: Callable[[Sequence[int]], bool] | None = None,
) -> Array:  # fmt: skip
    """Return `length` tokens for each row of the prompt (rows, time), each drawn after all before it.

    With `cached`, each step reads one token, and keys and values of earlier ones are kept; without, it reads all again. The
    tokens are the same. When the model's positions are used up, it reads the last half of them again and continues.

    Args:
        temperature, top_k, top_p: as in `probabilities`
        stop: called with the tokens of the first row so far; True ends the writing

    Raises:
        UserError: for an empty prompt
    """
    tokens = np.atleast_2d(np.asarray(prompt, np.int64))
    if not tokens.size:
        raise UserError("Writing needs a prompt of at least one token. Received none. Use, for example, a line break.")
    generator = generator or random.default
    start, training, half = tokens.shape[1], model.training, max(1, model.n_positions // 2)
    first = max(0, start - model.n_positions)  # the first token in the window
    cache, read = model.cache(), first
    model.train(False)
    with no_grad():
        while tokens.shape[1] < start + length:
            if tokens.shape[1] - first > model.n_positions:
                first = tokens.shape[1] - half
                cache, read = model.cache(), first
            if not cached:
                cache, read = model.cache(), first
            scores = model(wrap(B.asarray(tokens[:, read:])), cache)
            read = tokens.shape[1]
            p = probabilities(scores.numpy()[:, -1], temperature, top_k, top_p)
            tokens = np.concatenate([tokens, draw(p, generator)[:, None]], axis=1)
            if stop is not None and stop(tokens[0, start:].tolist()):
                break
    model.train(training)
    return tokens[:, start:]
