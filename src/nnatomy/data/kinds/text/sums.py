"""A generated text of sums, one a line: the addition table of the numbers 0 to 99, of which a model sees nine tenths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Dataset, WindowSplit, generator
from nnatomy.data.kinds.text.text import CharacterPreprocessing
from nnatomy.data.reading import Reading

__all__ = ["sums"]

WINDOW, LARGEST = 32, 99
STRIDE = 7
"""Of the windows for training: lines have 10 characters, so that windows start at all places of a line."""


def sums(reading: Reading) -> Dataset:
    """Return lines such as "27+58=085" in random order, all of one length.

    a+b and b+a are in one part, so that no sum of the test was seen the other way round.
    """
    rng, window = generator(reading.seed), int(reading.use("window", WINDOW))
    pairs = np.array([(a, b) for a in range(LARGEST + 1) for b in range(a, LARGEST + 1)])
    parts = reading.part(len(pairs), fractions=(0.05, 0.05))
    pieces = [_lines(pairs[rows], rng) for rows in parts]
    preprocessing = replace(CharacterPreprocessing.fit(pieces[0], window), answer="=")
    encoded = [preprocessing.encode(piece) for piece in pieces]
    train = WindowSplit(encoded[0], window, STRIDE)
    validation, test = (WindowSplit(tokens, window, window) for tokens in encoded[1:])
    described = f"the sums of all numbers from 0 to {LARGEST}, {len(pieces[0].splitlines()):,} of them for training"
    return Dataset(
        "sums", "text", "completion", train, validation, test, (), preprocessing, (), (window,), described,
        len(preprocessing.vocabulary),
    )  # fmt: skip


def _lines(pairs: npt.NDArray[Any], rng: np.random.Generator) -> str:
    """Each pair in both orders, in random order."""
    both = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    return "".join(f"{a:02}+{b:02}={a + b:03}\n" for a, b in rng.permutation(both))
