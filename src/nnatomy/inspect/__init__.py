"""Inspection of a model: the outputs of its layers, the paths of the data, and attribution of a prediction to its input.

>>> with nn.inspect.record(model) as seen:  # doctest: +SKIP
...     model(x)
>>> seen["encoder.0"].output  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnatomy.lazy import face

if TYPE_CHECKING:
    from nnatomy.inspect.attribution import Attribution, integrated_gradients, occlusion, windows
    from nnatomy.inspect.diagrams import diagram
    from nnatomy.inspect.flow import INPUT, OUTPUT, Edge, Part, trace
    from nnatomy.inspect.folding import fold
    from nnatomy.inspect.recording import Layer, activations, gradient_norms, gradients, record

__all__ = [
    "INPUT", "OUTPUT", "Attribution", "Edge", "Layer", "Part", "activations", "diagram", "fold", "gradient_norms", "gradients",
    "integrated_gradients", "occlusion", "record", "trace", "windows",
]  # fmt: skip

__getattr__ = face(
    __name__,
    {
        "attribution": ("Attribution", "integrated_gradients", "occlusion", "windows"),
        "diagrams": ("diagram",),
        "flow": ("INPUT", "OUTPUT", "Edge", "Part", "trace"),
        "folding": ("fold",),
        "recording": ("Layer", "activations", "gradient_norms", "gradients", "record"),
    },
)
