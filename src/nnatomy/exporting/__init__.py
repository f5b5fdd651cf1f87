"""A trained run made ready for others: as one ONNX or safetensors file, with what is needed to use it and a model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnatomy.lazy import face

if TYPE_CHECKING:
    from nnatomy.exporting.answering import predict
    from nnatomy.exporting.exporting import Exported, export
    from nnatomy.exporting.predicting import predict_exported

__all__ = ["Exported", "export", "predict", "predict_exported"]

__getattr__ = face(
    __name__,
    {
        "answering": ("predict",),
        "exporting": ("Exported", "export"),
        "predicting": ("predict_exported",),
    },
)
