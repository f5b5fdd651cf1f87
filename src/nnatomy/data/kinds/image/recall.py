"""Black and white pictures to be stored, and noisy copies of them from which a memory recalls them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Dataset, generator
from nnatomy.data.fields import Field
from nnatomy.data.kinds.image.idx import idx_files
from nnatomy.data.pictures import ImagePreprocessing, resize_images
from nnatomy.data.reading import Reading, Source

__all__ = ["noisy_digits", "noisy_mnist"]

Array = npt.NDArray[Any]
FIELDS = (Field("images", like="image"), Field("patterns", role="target", like="image"))
NOISE = 0.2
"""The probability with which each pixel of a copy is flipped."""


def noisy_digits(reading: Reading) -> Dataset:
    """Return one digit of each class, the one nearest to the mean of its class, at 16 x 16, and noisy copies of them."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    ink = resize_images(digits.images.astype(np.float32), (16, 16)) > 8
    chosen = []
    for digit in range(10):
        rows = np.flatnonzero(digits.target == digit)
        chosen.append(rows[np.square(ink[rows] - ink[rows].mean(axis=0)).sum(axis=(1, 2)).argmin()])
    text = f"10 digits of 16 x 16 pixels, one a class, and copies of them with each pixel flipped at {NOISE:.0%}"
    return _dataset("noisy_digits", ink[chosen], (20, 50), text, reading)


def noisy_mnist(source: Source, reading: Reading) -> Dataset:
    """Return the first 100 of MNIST's training images of each class in black and white, and noisy copies of them."""
    arrays = idx_files(source.path)
    labels = arrays["train-labels"]
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == digit)[:100] for digit in range(10)]))
    text = f"{len(chosen):,} of MNIST's digits, and copies of them with each pixel flipped at {NOISE:.0%}"
    return _dataset("noisy_mnist", arrays["train-images"][chosen] > 127, (1, 1), text, reading)


def _dataset(name: str, ink: Array, copies: tuple[int, int], text: str, reading: Reading) -> Dataset:
    """Return patterns of -1 and 1 as training examples, and so many noisy copies of each for validation and for the test.

    `ink`: booleans (patterns, height, width).
    """
    reading.whole(len(ink), f"Every pattern of {name} is stored. Received a fold, which holds some out. Leave out the folds.")
    size = (ink.shape[1], ink.shape[2])
    preprocessing = ImagePreprocessing(size, (0.5,), (0.5,), (), 255.0)  # black is -1, white is 1
    patterns = np.where(ink[:, None], 1, -1).astype(np.float32)
    rng = generator(reading.seed)

    def noisy(count: int) -> ArraySplit:
        clean = np.tile(patterns, (count, 1, 1, 1))
        return ArraySplit((np.where(rng.uniform(size=clean.shape) < NOISE, -clean, clean), clean), FIELDS)

    validation, test = (noisy(count) for count in copies)
    return Dataset(
        name, "image", "recall", ArraySplit((patterns, patterns), FIELDS), validation, test, (), preprocessing, (),
        (1, *size), text, ink[0].size,
    )  # fmt: skip
