"""The cost of training before anything runs: bytes for each parameter, operations for each token, bytes between devices.

Weights and AdamW's two moments are float32 and stay; forward and backward use bfloat16 copies; gradients arrive in bfloat16 and
are float32 for the update. A multiply-add is two operations.
"""

from __future__ import annotations

from dataclasses import dataclass

VOCABULARY, STEPS = 50257, 1024
WEIGHT, MOMENTS, COPY, GRADIENT = 4, 8, 2, 4
"""Bytes for each parameter: float32 weight, its two moments, its bfloat16 copy, its float32 gradient."""
STATE = WEIGHT + MOMENTS
"""The bytes in memory between steps."""


@dataclass(frozen=True)
class Model:
    """A GPT-2 by its sizes (Radford et al. 2019, table 2)."""

    name: str
    depth: int
    width: int
    heads: int

    @property
    def parameters(self) -> int:
        """V d + T d + L (12 d^2 + 13 d) + 2 d: embeddings, blocks, last norm; the output uses the tokens' embedding."""
        d = self.width
        return (VOCABULARY + STEPS + 2) * d + self.depth * (12 * d * d + 13 * d)

    def operations(self, tokens: int) -> int:
        """Of forward and backward: 6 (12 L d^2 + V d) + 12 L d T for each token (Chowdhery et al. 2022, appendix B)."""
        d = self.width
        products = 12 * self.depth * d * d + VOCABULARY * d
        return tokens * (6 * products + 12 * self.depth * d * STEPS)

    def activations(self, tokens: int) -> int:
        """Bytes that backward needs of forward: 34 d for each layer and token (Korthikanti et al. 2022, eq. 1), and the scores.

        The term 5 a T^2 for attention's weights is left out: they are computed again. The scores of the vocabulary are there in
        bfloat16, and once more as their gradient.
        """
        return tokens * (34 * self.depth * self.width + 2 * 2 * VOCABULARY)


MODELS = (
    Model("GPT-2 124M", 12, 768, 12), Model("GPT-2 355M", 24, 1024, 16), Model("GPT-2 774M", 36, 1280, 20),
    Model("GPT-2 1.5B", 48, 1600, 25),
)  # fmt: skip


# Memory of one device


def state_bytes(parameters: int, devices: int = 1) -> float:
    """Weights and moments on each device when they are split among n devices: 12 P / n."""
    return STATE * parameters / devices


def step_bytes(model: Model, tokens: int, devices: int = 1) -> float:
    """The most that a step needs on each device for so many tokens there: state, copies, gradients and activations.

    Shared among n devices, state and float32 gradients are divided by n; bfloat16 copies and gradients of all parameters may
    be there whole at the end of backward.
    """
    shared = (STATE + GRADIENT) * model.parameters / devices
    return shared + 2 * COPY * model.parameters + model.activations(tokens)


# Bytes that each device sends in a step; ring algorithms, of which each moves (n - 1) / n of the whole


def data_parallel_bytes(parameters: int, devices: int, width: int = GRADIENT) -> float:
    """An all-reduce of gradients of `width` bytes: a reduce-scatter and an all-gather, 2 (n - 1) / n P width."""
    return 2 * (devices - 1) / devices * parameters * width


def fully_sharded_bytes(parameters: int, devices: int, width: int = COPY) -> float:
    """Weights gathered for forward and again for backward, gradients scattered: 3 (n - 1) / n P width."""
    return 3 * (devices - 1) / devices * parameters * width


def tokens_to_hide(moved: float, parameters: int, rate: float, bandwidth: float) -> float:
    """Tokens a device and step from which computing, at 6 P operations each, takes longer than moving so many bytes.

    moved / bandwidth <= 6 P tokens / rate; `rate` in operations a second that are reached, `bandwidth` in bytes a second.
    """
    return moved / bandwidth * rate / (6 * parameters)
