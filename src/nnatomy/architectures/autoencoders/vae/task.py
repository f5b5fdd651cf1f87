"""Density with a code: `predict` writes the code of each example."""

from __future__ import annotations

from typing import Any

from nnatomy.tasks import Density
from nnatomy.tasks.parts import Array


class CodedDensity(Density):
    """Bounds of -ln p(x) for held-out examples; codes for predictions."""

    gives = (("code", "the mean of q(z | x); of a VQ-VAE the numbers of the nearest rows of the codebook"),)

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """Return the codes of a model's outputs, (batch, latent)."""
        return outputs[1].astype("float32")

    def columns(self, meant: Array) -> dict[str, Array]:
        return {f"z{i + 1}": meant[:, i] for i in range(meant.shape[1])}
