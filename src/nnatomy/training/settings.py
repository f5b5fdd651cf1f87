"""Overriding a recipe: `--set key=value`, `--lr`, `--epochs`, `--batch-size`, and the plain form that a run's folder keeps."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from functools import partial
from typing import Any, cast

from nnatomy.data.reading import OPTIONS
from nnatomy.errors import UserError, unknown_name
from nnatomy.printing import shown
from nnatomy.training.recipe import Recipe

FIELDS = {"patience": 1, "plateau": 1}
"""Fields of a recipe that --set may change, each with a value of its type."""
MOST = 2**31
"""Whole numbers of settings are sizes and counts, and below this."""
OPTIONAL = {"clip": 1.0, "average": 0.999, "times": 1}
"""Settings of learners that may be none, each with a value of its type."""
FLAGS = (
    "epochs", "batch_size", "seed", "split_seed", "budget", "backend", "device", "precision", "accumulate", "devices",
    "shard", "limit", "window", "horizon", "target", "data",
)  # fmt: skip
"""Settings that have their own flag."""


def override(
    recipe: Recipe,
    settings: Mapping[str, str] | None = None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
) -> Recipe:
    """A recipe with the user's choices in it. Raises UserError for unknown names and values that do not fit."""
    for name, value in (("--epochs", epochs), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1. Received {value}. Use a whole number from 1.")
    if lr is not None and not 0 < lr < float("inf"):
        raise UserError(f"--lr must be a positive number. Received {lr:g}. Use, for example, --lr 0.001.")
    recipe = replace(recipe, epochs=epochs or recipe.epochs, batch_size=batch_size or recipe.batch_size)
    if lr is not None:
        if "lr" not in recipe.learn.settings():
            raise UserError(f"{type(recipe.learn).__name__} has no learning rate. Received --lr {lr:g}. Leave it out.")
        recipe = replace(recipe, learn=recipe.learn.changed("lr", lr))
    chosen = dict(settings or {})
    for key in sorted(chosen, key=lambda key: not key.endswith("optimizer")):  # its settings are those of the new one
        recipe = _set(recipe, key, chosen[key])
    return recipe


def parse_seconds(text: str) -> float:
    """A time such as 90s, 5m or 1h in seconds; a number alone counts seconds. Raises UserError for other text."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|)", text.strip().lower())
    if match is None:
        raise UserError(f"--budget takes a time such as 90s, 5m or 1h. Received {text!r}. Use, for example, --budget 5m.")
    return float(match[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[match[2]]


def _set(recipe: Recipe, key: str, text: str) -> Recipe:
    options = {**_defaults(recipe.build), **recipe.options}
    learns = recipe.learn.settings()
    if key in options:
        return replace(recipe, options={**recipe.options, key: _parse(key, text, options[key])})
    if key in FIELDS:
        value = None if text.lower() == "none" else _parse(key, text, FIELDS[key])
        if value is not None and value <= 0:
            raise UserError(f"--set {key} must be positive. Received {text}. Give such a number or none.")
        return replace(recipe, **cast(Any, {key: value}))
    if key in learns:
        like = OPTIONAL.get(key.rpartition(".")[2], learns[key]) if learns[key] is None else learns[key]
        value = None if text.lower() == "none" and not isinstance(like, str) else _parse(key, text, like)
        return replace(recipe, learn=recipe.learn.changed(key, value))
    flag = key.removeprefix("load.")  # the report names how data are read so
    if flag in (*FLAGS, *OPTIONS):
        value = f" {text}" if flag in FLAGS else ""  # an option of data may be a switch
        use = f"--{flag.replace('_', '-')}{value}"
        raise UserError(f"--set changes the recipe. Received {key}, which has its own flag. Use {use}.")
    raise unknown_name("setting", key, [*options, *FIELDS, *learns])


def _parse(key: str, text: str, like: Any) -> Any:
    """A value of the type that the default has."""
    try:
        if isinstance(like, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        if isinstance(like, int):
            return _integer(text)
        if isinstance(like, float):
            return float(text)
        if isinstance(like, tuple | list):
            kind = _integer if not like or isinstance(like[0], int) else type(like[0])
            return tuple(kind(part) for part in text.split(",") if part)
        if like is None:
            return None if text.lower() == "none" else _number(text)
    except (ValueError, KeyError):
        shape = "numbers with commas between them" if isinstance(like, tuple | list) else f"of type {type(like).__name__}"
        most = f" below {MOST}" if isinstance(like, int | tuple | list) and not isinstance(like, bool) else ""
        raise UserError(
            f"--set {key} must be {shape}{most}. Received {shown(text)}. Use, for example, {key}={_shown(like)}."
        ) from None
    return text


def _integer(text: str) -> int:
    value = int(text)
    if abs(value) >= MOST:
        raise ValueError
    return value


def _number(text: str) -> Any:
    """Return a text as the number that it means, or as it is."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _shown(value: Any) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple | list)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def _defaults(build: Callable[..., Any]) -> dict[str, Any]:
    """The keyword arguments of an architecture's `build` after the data set, with their defaults."""
    parameters = list(inspect.signature(build).parameters.values())[1:]
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def plain(recipe: Recipe) -> dict[str, Any]:
    """A resolved recipe in plain values, for people and for the run's folder."""
    return {
        "model": dict(recipe.options),
        "learn": recipe.learn.plain(),
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "metric": recipe.metric,
        "patience": recipe.patience,
        "plateau": recipe.plateau,
        "augment": None if recipe.augment is None else [call(c) for c in recipe.augment.changes],
        "load": dict(recipe.load),
    }


def call(function: Any) -> dict[str, Any]:
    """A function, a partial or a frozen dataclass in plain values: its name and its keywords."""
    if is_dataclass(function):
        return {"name": type(function).__name__, **vars(function)}
    if isinstance(function, partial):
        return {"name": function.func.__name__, **function.keywords}
    return {"name": function.__name__}
