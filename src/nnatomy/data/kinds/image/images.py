"""Images of one class each as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Dataset
from nnatomy.data.fields import Field
from nnatomy.data.pictures import ImagePreprocessing

__all__ = ["FIELDS", "image_dataset"]

Array = npt.NDArray[Any]
FIELDS = (Field("images", like="image"), Field("labels", role="target"))


def image_dataset(
    name: str,
    parts: Sequence[tuple[Array, Array]],
    classes: Sequence[str],
    *,
    largest: float = 255.0,
    resize: tuple[int, int] | None = None,
    binary: bool = False,
    notices: Sequence[str] = (),
    description: str = "",
) -> Dataset:
    """Return the data set of three parts (images[N, C, H, W], class ids), standardized by the first, or `binary`."""
    preprocessing = ImagePreprocessing.fit(parts[0][0], classes, largest, resize, binary)
    splits = [ArraySplit((*preprocessing.transform(x), y.astype(np.int64)), FIELDS) for x, y in parts]
    shape = (parts[0][0].shape[1], *preprocessing.size)
    return Dataset(
        name, "image", "classification", splits[0], splits[1], splits[2], tuple(classes), preprocessing, tuple(notices), shape,
        description, len(classes),
    )  # fmt: skip
