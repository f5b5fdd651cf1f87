"""Models in the formats of others: ONNX, which other programs run."""

from __future__ import annotations
