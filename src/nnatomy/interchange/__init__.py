"""Models in the formats of others: their weights, read without executing anything of them, and ONNX, which others run."""

from nnatomy.interchange.files import read
from nnatomy.interchange.names import Flattened
from nnatomy.interchange.onnx import to_onnx
from nnatomy.interchange.weights import Loaded, load

__all__ = ["Flattened", "Loaded", "load", "read", "to_onnx"]
