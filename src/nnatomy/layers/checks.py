"""Checks of arguments of constructors and forward passes, with errors in one form: the rule, what was received, the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from nnatomy.errors import UserError


def is_whole(value: Any) -> bool:
    """Return True if a value is an integer of Python's or NumPy's, and no boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def sizes(layer: str, **values: int) -> None:
    """Raise UserError unless every value is a whole number above 0."""
    for name, value in values.items():
        if not is_whole(value) or value < 1:
            scalar = hasattr(value, "__index__") and getattr(value, "shape", None) == ()
            remedy = "int() of it" if scalar else f"{name}=1 or more"
            raise UserError(f"{layer} needs {name} to be a whole number above 0. Received {value!r}. Use {remedy}.")


def each(layer: str, name: str, value: int | Sequence[int], axes: int, least: int = 1) -> tuple[int, ...]:
    """One number for each of `axes` axes, from one number for all or from as many as there are axes."""
    many = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if len(many) != axes or not all(is_whole(v) and v >= least for v in many):
        raise UserError(
            f"{layer} needs {name} to be one whole number, or {axes}, of at least {least}. Received {value!r}. "
            f"Use {least}, for example."
        )
    return tuple(map(int, many))


def probability(layer: str, p: float) -> None:
    """Raise UserError unless 0 <= p <= 1."""
    if not 0 <= p <= 1:
        raise UserError(f"{layer} needs a probability between 0 and 1. Received {p!r}. Use 0.5, for example.")


def positive(layer: str, name: str, value: float) -> None:
    """Raise UserError unless the value is above 0."""
    if not value > 0:
        raise UserError(f"{layer} needs {name} above 0. Received {value!r}. Use {name}=1.0, for example.")


def last_axis(layer: str, x: Any, size: int) -> None:
    """Raise UserError unless x's last axis has `size` features."""
    if not x.shape or x.shape[-1] != size:
        raise UserError(
            f"{layer} takes {size} features on the last axis. Received shape {tuple(x.shape)}. "
            "Reshape the input, or build the layer for it."
        )


def image(layer: str, x: Any, axes: int, channels: int | None = None) -> None:
    """Raise UserError unless x is (batch, channels, *space) with `axes` axes of space."""
    if len(x.shape) != axes + 2 or (channels is not None and x.shape[1] != channels):
        space = ", ".join(("length", "height, width", "depth, height, width")[axes - 1].split(", "))
        raise UserError(
            f"{layer} takes (batch, {'channels' if channels is None else channels}, {space}). "
            f"Received shape {tuple(x.shape)}. Reshape the input, or build the layer for it."
        )
