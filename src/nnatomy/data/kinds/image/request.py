"""Requests to a model of images: a picture's file, or pixels as JSON."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.image.images import ImagePreprocessing, decode_image
from nnatomy.data.requests import BODY, JSON, RequestError, RequestReader, member, numbers_of

PICTURES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif", "image/tiff")
LARGEST_SIDE = 4096  # of a picture, in pixels


class ImageReader(RequestReader):
    """A picture's file, or pixels as JSON."""

    accepts = (JSON, *PICTURES)

    def __init__(self, preprocessing: ImagePreprocessing) -> None:
        self.preprocessing = preprocessing

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
                f"Pixels lie between 0 and {p.largest:g}. Received {images.min():g} to {images.max():g}. Scale them so.",
            )
        return p.transform(images), []

    def from_other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        p = self.preprocessing
        pixels = decode_image(io.BytesIO(body), len(p.mean) == 1, BODY, LARGEST_SIDE, p.deepest)
        return p.transform(pixels[None] * (p.largest / 255.0)), []
