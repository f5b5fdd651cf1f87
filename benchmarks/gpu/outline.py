"""Models whose arrays are shapes without values: to count their parameters, to compile their steps, to fill them later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

import nnatomy as nn


def tensors(model: nn.Module) -> dict[str, nn.Tensor]:
    """The parameters and buffers of a model by name, each once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def outline(build: Callable[[], Any]) -> Any:
    """The model that `build` makes, with a jax.ShapeDtypeStruct where each array would be: nothing is drawn or allocated."""
    made: list[Any] = []

    def make() -> dict[str, Any]:
        made.append(build())
        return {name: t.data for name, t in tensors(made[0]).items()}

    with nn.backend("jax"):
        shapes = jax.eval_shape(make)
    for name, t in tensors(made[0]).items():
        t.data = shapes[name]
    return made[0]
