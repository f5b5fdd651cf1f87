"""Spiking neural networks (1907, 2019)."""

from nnatomy.architectures.hybrid.snn.model import (
    LIF,
    SNN,
    STDPLayer,
    atan,
    build,
    direct,
    fast_sigmoid,
    label_neurons,
    latency,
    loss,
    rate,
    spike,
    stdp,
)

__all__ = [
    "LIF", "SNN", "STDPLayer", "atan", "build", "direct", "fast_sigmoid", "label_neurons", "latency", "loss", "rate", "spike",
    "stdp",
]  # fmt: skip
