"""Overriding a recipe: `--set key=value`, `--lr`, `--epochs`, `--batch-size`, and the plain form that a run's folder keeps."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

from nnatomy import optim
from nnatomy.errors import UserError, unknown_name
from nnatomy.training.recipe import Recipe

FIELDS = {"clip": 1.0, "patience": 1, "plateau": 1, "average": 0.999}
"""Fields of a recipe that --set may change, each with a value of its type."""
FIELDS_BELOW = {"average": 1.0}
"""Where they end, above 0."""
FLAGS = (
    "epochs", "batch_size", "seed", "split_seed", "budget", "backend", "device", "precision", "accumulate", "devices",
    "shard", "limit", "window", "horizon", "target", "data",
)  # fmt: skip
"""What has a flag of its own."""


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
            raise UserError(f"{name} must be at least 1, received {value}; give a larger number.")
    if lr is not None and not 0 < lr < float("inf"):
        raise UserError(f"--lr must be a positive number, received {lr:g}; give one such as 0.001.")
    recipe = replace(recipe, epochs=epochs or recipe.epochs, batch_size=batch_size or recipe.batch_size)
    chosen = dict(settings or {})
    if "optimizer" in chosen:
        name = chosen.pop("optimizer")
        if name not in _optimizers():
            raise unknown_name("optimizer", name, _optimizers())
        kept = {k: v for k, v in recipe.optimizer.keywords.items() if k in _keywords(_optimizers()[name])}
        recipe = replace(recipe, optimizer=partial(_optimizers()[name], **kept))
    if "schedule" in chosen:
        name = chosen.pop("schedule")
        known = _schedules()
        if name.lower() != "none" and name not in known:
            raise unknown_name("schedule", name, ["none", *known])
        recipe = replace(recipe, schedule=None if name.lower() == "none" else partial(known[name]))
    if lr is not None:
        recipe = replace(recipe, optimizer=partial(recipe.optimizer, lr=lr))
    for key, text in chosen.items():
        recipe = _set(recipe, key, text)
    return recipe


def parse_seconds(text: str) -> float:
    """A time such as 90s, 5m or 1h in seconds; a number alone counts seconds. Raises UserError for other text."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|)", text.strip().lower())
    if match is None:
        raise UserError(f"--budget takes a time such as 90s, 5m or 1h, received {text!r}.")
    return float(match[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[match[2]]


def _set(recipe: Recipe, key: str, text: str) -> Recipe:
    options = {**_defaults(recipe.build), **recipe.options}
    rates = {k: v for k, v in _keywords(recipe.optimizer.func).items() if k not in ("params", "self")}
    if key in options:
        return replace(recipe, options={**recipe.options, key: _parse(key, text, options[key])})
    if key in FIELDS:
        value = None if text.lower() == "none" else _parse(key, text, FIELDS[key])
        if value is not None and not 0 < value < FIELDS_BELOW.get(key, math.inf):
            rule = f"between 0 and {FIELDS_BELOW[key]:g}" if key in FIELDS_BELOW else "positive"
            raise UserError(f"--set {key} must be {rule}, received {text}; give such a number or none.")
        return replace(recipe, **cast(Any, {key: value}))
    if key in rates:
        return replace(recipe, optimizer=partial(recipe.optimizer, **{key: _parse(key, text, rates[key])}))
    if key in FLAGS:
        raise UserError(f"--set changes the recipe, {key} has a flag of its own; give --{key.replace('_', '-')} {text}.")
    raise unknown_name("setting", key, [*options, *FIELDS, *rates, "optimizer", "schedule"])


def _parse(key: str, text: str, like: Any) -> Any:
    """A value of the type that the default has."""
    try:
        if isinstance(like, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        if isinstance(like, int):
            return int(text)
        if isinstance(like, float):
            return float(text)
        if isinstance(like, tuple | list):
            kind = type(like[0]) if like else int
            return tuple(kind(part) for part in text.split(",") if part)
    except (ValueError, KeyError):
        shape = "numbers with commas between them" if isinstance(like, tuple | list) else f"of type {type(like).__name__}"
        raise UserError(f"--set {key} must be {shape}, received {text!r}; for example {key}={_shown(like)}.") from None
    if like is None:
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return None if text.lower() == "none" else text
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


def _keywords(function: Callable[..., Any]) -> dict[str, Any]:
    return {p.name: p.default for p in inspect.signature(function).parameters.values() if p.name != "params"}


def _optimizers() -> dict[str, Any]:
    classes = {name: getattr(optim, name) for name in optim.__all__}
    return {
        name: c for name, c in classes.items()
        if inspect.isclass(c) and issubclass(c, optim.Optimizer) and c is not optim.Optimizer and name != "LBFGS"
    }  # fmt: skip


def _schedules() -> dict[str, Any]:
    """Schedules that need nothing but the total number of steps."""
    classes = {name: getattr(optim, name) for name in optim.__all__}
    found = {}
    for name, c in classes.items():
        if inspect.isclass(c) and issubclass(c, optim.Schedule) and c is not optim.Schedule:
            needed = [p for p in inspect.signature(c).parameters.values() if p.default is inspect.Parameter.empty]
            if [p.name for p in needed] == ["total"]:
                found[name] = c
    return found


def plain(recipe: Recipe) -> dict[str, Any]:
    """A resolved recipe in plain values, for people and for the run's folder."""

    def call(p: Any) -> dict[str, Any] | None:
        if p is None:
            return None
        return {"name": p.func.__name__, **p.keywords} if isinstance(p, partial) else {"name": p.__name__}

    return {
        "model": dict(recipe.options),
        "loss": getattr(recipe.loss, "__name__", str(recipe.loss)),
        "optimizer": call(recipe.optimizer),
        "schedule": call(recipe.schedule),
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "metric": recipe.metric,
        "clip": recipe.clip,
        "patience": recipe.patience,
        "plateau": recipe.plateau,
        "average": recipe.average,
        "augment": None if recipe.augment is None else [call(c) for c in recipe.augment.changes],
        "load": dict(recipe.load),
    }
