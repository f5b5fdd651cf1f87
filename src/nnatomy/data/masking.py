"""Masked language modeling: which tokens of a text are hidden, and what is in their place (Devlin et al. 2018, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.augment import BatchChange
from nnatomy.data.fields import Field, where
from nnatomy.data.wordpiece import MASK, SPECIAL

__all__ = ["IGNORED", "DynamicMasks", "mask_tokens"]

Array = npt.NDArray[Any]
IGNORED = -100
"""The label of a place whose token is not predicted."""
FRACTION = 0.15


def mask_tokens(
    tokens: Array, candidates: Array, mask: int, words: tuple[int, int], rng: np.random.Generator, fraction: float = FRACTION
) -> tuple[Array, Array]:
    """Return (masked, labels): a fraction of the candidates is to be predicted, at least one in each row that has some.

    Of those, 80% become `mask`, 10% a random token, and 10% stay as they are.

    Args:
        tokens: (n, time)
        candidates: True where a token may be chosen: not at special tokens and padding; (n, time)
        mask: the number of the mask token
        words: the first random token, and the one after the last
        rng: decides all
        fraction: of the candidates of each row, rounded
    """
    order = np.where(candidates, rng.uniform(size=tokens.shape), 2.0).argsort(axis=1).argsort(axis=1)
    count = candidates.sum(axis=1, keepdims=True)
    chosen = (order < np.maximum(1, np.rint(fraction * count))) & candidates
    fate, other = rng.uniform(size=tokens.shape), rng.integers(*words, tokens.shape)
    masked = np.where(fate < 0.8, mask, np.where(fate < 0.9, other, tokens))
    return np.where(chosen, masked, tokens), np.where(chosen, tokens, IGNORED)


@dataclass(frozen=True)
class DynamicMasks(BatchChange):
    """The masks of the texts in a batch, drawn again each time that it is read (Liu et al. 2019, section 4.1).

    The first input has the tokens and the first target the hidden ones. Random tokens are those up to the largest of the batch.
    """

    def __call__(self, named: tuple[Field, ...], batch: tuple[Array, ...], rng: np.random.Generator) -> tuple[Array, ...]:
        inputs, targets = where(named, "input")[0], where(named, "target")[0]
        tokens, labels = batch[inputs], batch[targets]
        whole = np.where(labels == IGNORED, tokens, labels)
        words = (len(SPECIAL), max(int(whole.max()), len(SPECIAL)) + 1)
        drawn = dict(zip((inputs, targets), mask_tokens(whole, whole >= len(SPECIAL), MASK, words, rng), strict=True))
        return tuple(drawn.get(place, array) for place, array in enumerate(batch))
