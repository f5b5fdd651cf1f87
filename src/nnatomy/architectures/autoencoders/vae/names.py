"""Names of published weights."""

from __future__ import annotations

from typing import Any

from nnatomy.interchange.names import Names


def tables(**options: Any) -> dict[str, Names]:
    """Return the names of PyTorch's example, which has one hidden layer; a VQ-VAE and deeper networks have no table."""
    example: Names = {
        "fc1": "encoder.layers.0", "fc21": "encoder.mean", "fc22": "encoder.logvar", "fc3": "decoder.layers.0",
        "fc4": "decoder.output",
    }  # fmt: skip
    return {"pytorch examples": example}
