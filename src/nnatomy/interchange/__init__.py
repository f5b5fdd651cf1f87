"""Models in the formats of others: their weights, read without executing anything of them, and ONNX, which others run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnatomy.lazy import face

if TYPE_CHECKING:
    from nnatomy.interchange.files import read
    from nnatomy.interchange.names import Depthwise, Flattened, Pointwise
    from nnatomy.interchange.onnx import to_onnx
    from nnatomy.interchange.weights import Loaded, load

__all__ = ["Depthwise", "Flattened", "Loaded", "Pointwise", "load", "read", "to_onnx"]

__getattr__ = face(
    __name__,
    {
        "files": ("read",),
        "names": ("Depthwise", "Flattened", "Pointwise"),
        "onnx": ("to_onnx",),
        "weights": ("Loaded", "load"),
    },
)
