"""Common parts of toy kinds of data: arrays that are used unchanged, and their splits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from nnatomy.data.dataset import ArraySplit, Preprocessing
from nnatomy.data.fields import Field

Array = np.ndarray[Any, Any]


class AsGiven(Preprocessing):
    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @classmethod
    def from_json(cls, saved: Any) -> AsGiven:
        return cls()

    def transform(self, raw: Any) -> tuple[Array, ...]:
        return (np.asarray(raw, np.float32),)


def thirds(arrays: tuple[Array, ...], named: tuple[Field, ...]) -> list[ArraySplit]:
    """The first two thirds for training, a sixth each for validation and test."""
    n = len(arrays[0])
    return [ArraySplit(tuple(a[i:j] for a in arrays), named) for i, j in pairwise((0, 2 * n // 3, 5 * n // 6, n))]
