"""A trained run made ready for others: as one ONNX or safetensors file, with what is needed to use it and a model card."""

from nnatomy.exporting.exporting import Exported, export
from nnatomy.exporting.predicting import predict_exported

__all__ = ["Exported", "export", "predict_exported"]
