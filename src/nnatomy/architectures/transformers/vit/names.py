"""Names of the parameters in the files of Hugging Face's transformers."""

from __future__ import annotations

from typing import Any

from nnatomy.architectures.transformers.vit.model import SIZES
from nnatomy.interchange.names import Names


def tables(size: str = "base", depth: int | None = None, **_: Any) -> dict[str, Names]:
    """Return the tables of published files, of transformers 5's own names, and of ViTModel, whose pooler is left out."""
    parts = {
        **{f"attention.attention.{part}": f"attention.{part[0]}_proj" for part in ("query", "key", "value")},
        "attention.output.dense": "attention.o_proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
        "layernorm_before": "layernorm_before",
        "layernorm_after": "layernorm_after",
    }
    layers = range(SIZES[size][1] if depth is None else depth)
    published = {f"encoder.layer.{n}.{theirs}": f"layers.{n}.{ours}" for n in layers for theirs, ours in parts.items()}
    return {
        "transformers": {**{f"vit.{theirs}": ours for theirs, ours in published.items()}, "vit.": ""},
        "transformers 5": {"vit.": ""},
        "transformers ViTModel": {**published, "pooler.": None},
    }
