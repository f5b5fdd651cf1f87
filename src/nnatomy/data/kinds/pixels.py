"""Pixels as they reach a model from outside, for the kinds that hold pictures: in a request, and in an exported model."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch, Dataset
from nnatomy.data.kinds.kind import ExportedInputs, InputSpec
from nnatomy.data.pictures import ImagePreprocessing, decode, in_channels
from nnatomy.data.requests import BODY, JSON, RequestError, RequestReader, member, numbers_of
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

PICTURES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif", "image/tiff")
LARGEST_SIDE = 4096  # of a picture, in pixels


class PixelReader(RequestReader):
    """A picture's file, or pixels as JSON; `transform` makes the arrays of a batch of them, the preprocessing if None."""

    accepts = (JSON, *PICTURES)

    def __init__(self, preprocessing: ImagePreprocessing, transform: Callable[[Array], Batch] | None = None) -> None:
        self.preprocessing = preprocessing
        self.transform = transform or preprocessing.transform

    def describe(self) -> dict[str, Any]:
        p = self.preprocessing
        height, width = p.size
        shape = f"[image][{'' if len(p.mean) == 1 else 'red, green, blue]['}row][column]"
        inputs = [{"name": "images", "type": f"numbers from 0 to {p.largest:g}, {shape}", "size": [height, width]}]
        plane = [[0] * width for _ in range(height)]
        return {"inputs": inputs, "example": {"images": [plane if len(p.mean) == 1 else [plane] * len(p.mean)]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        p = self.preprocessing
        images = numbers_of(member(value, "images"), "images")
        if images.ndim == 3 and len(p.mean) == 1:
            images = images[:, None]
        if images.ndim != 4 or images.shape[1] != len(p.mean) or 0 in images.shape:
            raise RequestError(
                "unprocessable",
                f"'images' must be numbers {self.describe()['inputs'][0]['type'].partition(', ')[2]}. Received the shape "
                f"{list(images.shape)}. Nest them so.",
            )
        self.check_rows(len(images))
        if max(images.shape[2:]) > LARGEST_SIDE:
            raise RequestError(
                "unprocessable",
                f"A picture's sides are at most {LARGEST_SIDE} pixels. Received {max(images.shape[2:])}. Make it smaller.",
            )
        if images.min() < 0 or images.max() > p.largest:
            raise RequestError(
                "unprocessable",
                f"Pixels are between 0 and {p.largest:g}. Received {images.min():g} to {images.max():g}. Scale them so.",
            )
        return self.transform(images), []

    def from_other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        p = self.preprocessing
        pixels = in_channels([decode(io.BytesIO(body), BODY, LARGEST_SIDE)], len(p.mean))
        return self.transform(pixels * np.float32(p.largest / 255.0)), []


class PixelInputs(ExportedInputs):
    """Pixels, which are scaled inside the model; resizing stays outside."""

    def __init__(self, dataset: Dataset, preprocessing: ImagePreprocessing) -> None:
        holds = f"channels, height, width; values from 0 to {preprocessing.largest:g}"
        super().__init__(dataset, InputSpec("pixels", dataset.input_shape, "float32", holds))
        self.largest, self.binary = preprocessing.largest, preprocessing.binary
        self.scale, self.shift = preprocessing.scale_and_shift()

    def encode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        if self.binary:
            return ((raw[0] > self.largest / 2).astype("float32"),)
        return (raw[0] * self.scale.astype(np.float32) - self.shift.astype(np.float32),)

    def decode(self, *inputs: Array) -> Batch:
        return (np.clip((inputs[0] + self.shift) / self.scale, 0, self.largest).round().astype(np.float32),)
