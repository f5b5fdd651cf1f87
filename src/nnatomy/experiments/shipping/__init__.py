"""A trained run made ready for others: as one ONNX or safetensors file, with what is needed to use it and a model card."""

from nnatomy.experiments.shipping.exporting import Exported, export
from nnatomy.experiments.shipping.predicting import predict_exported

__all__ = ["Exported", "export", "predict_exported"]
