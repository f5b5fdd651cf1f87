"""Weights in one safetensors file: `nn.save` and `nn.load`. Nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.runs.folder import load_arrays, save_arrays


def save(model: Module | Mapping[str, Any], path: str | Path) -> Path:
    """Write a model's parameters and buffers, or a state dict, to a new safetensors file, and return its path.

    >>> nn.save(model, "model.safetensors")  # doctest: +SKIP

    Raises UserError for another value, and where the file exists or cannot be written.
    """
    file = Path(path).expanduser()
    if not isinstance(model, Module | Mapping):
        raise UserError(f"A Module or a state dict is saved. Received {type(model).__name__}. Give model.state_dict().")
    if file.exists():
        raise UserError(f"Nothing is overwritten. Received {file}, which exists. Choose another name or remove it.")
    state = model.state_dict() if isinstance(model, Module) else {name: np.asarray(a) for name, a in model.items()}
    save_arrays(file, state, {"format": "nnatomy state dict"})
    return file


def load(path: str | Path, model: Module) -> Module:
    """Give a model the weights in a file that `save` wrote, and return it; they must fit it name by name and shape by shape.

    >>> model = nn.load("model.safetensors", Net())  # doctest: +SKIP

    Raises UserError where the file is missing or damaged, and, naming what differs, where it does not fit.
    """
    if not isinstance(model, Module):
        raise UserError(f"Weights are loaded into a Module. Received {type(model).__name__}. Give the model as it was built.")
    model.load_state_dict(load_arrays(Path(path).expanduser())[0])
    return model
