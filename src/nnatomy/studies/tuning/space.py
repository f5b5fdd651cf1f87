"""The settings that a search may change: ranges and choices, by the names of `--set`, and lr, batch_size and epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnatomy.errors import UserError
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import override

Settings = dict[str, str]
"""Values as text, as `--set` takes them."""
INTEGER_OPTIONS = ("epochs", "batch_size")
"""Settings with their own flag that count something; lr is the third."""
STEPS = 3  # of a grid over a range
ABOUT = {"lr": (10, 10), "weight_decay": (100, 10)}
"""Settings of learners that are usually searched, from their value over the first factor to their value times the second."""


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; evenly in their logarithm where high is at least ten times low."""

    low: float
    high: float
    whole: bool

    @property
    def log(self) -> bool:
        return self.low > 0 and self.high >= 10 * self.low

    def suggest(self, trial: Any, name: str) -> str:
        """The value that an Optuna trial chooses."""
        if self.whole:
            return str(trial.suggest_int(name, int(self.low), int(self.high), log=self.log))
        return written(trial.suggest_float(name, self.low, self.high, log=self.log))

    def grid(self) -> list[Any]:
        """STEPS values over the range."""
        shares = [i / (STEPS - 1) for i in range(STEPS)]
        if self.log:
            values = [self.low * (self.high / self.low) ** s for s in shares]
        else:
            values = [self.low + (self.high - self.low) * s for s in shares]
        return list(dict.fromkeys(round(v) for v in values)) if self.whole else values

    def holds(self, value: str) -> Any:
        """The number that a text means, if it is in the range; else None."""
        try:
            number = int(value) if self.whole else float(value)
        except ValueError:
            return None
        return number if self.low <= number <= self.high else None

    def __str__(self) -> str:
        return f"{written(self.low)}..{written(self.high)}"


@dataclass(frozen=True)
class Choices:
    """Some values, of which one is taken."""

    values: tuple[str, ...]

    def suggest(self, trial: Any, name: str) -> str:
        """The value that an Optuna trial chooses."""
        return str(trial.suggest_categorical(name, list(self.values)))

    def grid(self) -> list[Any]:
        """All of them."""
        return list(self.values)

    def holds(self, value: str) -> Any:
        """The value, if it is one of them; else None."""
        return value if value in self.values else None

    def __str__(self) -> str:
        return "|".join(self.values)


Space = dict[str, Range | Choices]


def written(value: float) -> str:
    """A number as recipes keep it: four digits, so that what is written is what was tried."""
    return f"{value:.4g}"


def read_space(pairs: Mapping[str, str]) -> Space:
    """Ranges and choices from text: `lr=1e-4..1e-1`, `hidden=64,64|128,128`. Raises UserError where a text is neither."""
    return {name: _read(name, text) for name, text in pairs.items()}


def _read(name: str, text: str) -> Range | Choices:
    rule = f"--space {name} must be LOW..HIGH or CHOICE|CHOICE. Received {text!r}. Use, for example, lr=1e-4..1e-1."
    if ".." in text:
        ends = text.split("..")
        try:
            low, high = (float(end) for end in ends)
        except ValueError:
            raise UserError(rule) from None
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UserError(f"--space {name} must go from a lower number to a higher one. Received {text!r}. Exchange the two.")
        return Range(low, high, name in INTEGER_OPTIONS or all(end.strip().lstrip("-").isdigit() for end in ends))
    values = tuple(dict.fromkeys(value.strip() for value in text.split("|")))
    if len(values) < 2 or "" in values:
        raise UserError(rule)
    return Choices(values)


def usual_space(recipe: Recipe) -> Space:
    """Return the usual search around the recipe's values: learning rates, weight decay, batch size, sizes of the model.

    Of several optimizers that share a setting, that setting is searched; otherwise each one's own.
    """
    size, settings = recipe.batch_size, recipe.learn.settings()
    space: Space = {}
    for name, value in settings.items():
        last = name.rpartition(".")[2]
        if last in ABOUT and isinstance(value, int | float) and value > 0 and (name == last or last not in settings):
            below, above = ABOUT[last]
            space[name] = Range(value / below, value * above, False)
    space["batch_size"] = Choices(tuple(str(b) for b in dict.fromkeys((max(1, size // 2), size, 2 * size))))
    for name, value in recipe.options.items():
        found = _about(value)
        if found is not None:
            space[name] = found
    return space


def _about(value: Any) -> Range | Choices | None:
    """Return a range or choices around an option's value; None where there is no usual one."""
    if isinstance(value, bool):
        return Choices(("false", "true"))
    if isinstance(value, int) and value >= 1:
        return Range(max(1, value // 2), 2 * value, True) if value >= 8 else Range(max(1, value - 1), value + 1, True)
    if isinstance(value, float) and 0 <= value < 1:
        return Range(0.0, max(0.5, value), False)
    if isinstance(value, tuple | list) and value and all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        sizes = [tuple(max(1, v // 2) for v in value), tuple(value), tuple(2 * v for v in value), (*value, value[-1])]
        return Choices(tuple(",".join(map(str, s)) for s in dict.fromkeys(sizes)))
    return None


def own_settings(recipe: Recipe, space: Space) -> Settings:
    """The recipe's own values of what the space changes; where it has none, or one outside, that setting is left out."""
    own: dict[str, Any] = {**recipe.learn.settings(), **recipe.options}
    own |= {"batch_size": recipe.batch_size, "epochs": recipe.epochs}
    texts = {name: _text(own[name]) for name in space if name in own}
    return {name: text for name, text in texts.items() if space[name].holds(text) is not None}


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def applied(recipe: Recipe, settings: Mapping[str, str]) -> Recipe:
    """The recipe with these settings. Raises UserError for names and values that do not fit."""
    rest = dict(settings)
    counts = {name: _number(name, rest.pop(name), int) for name in INTEGER_OPTIONS if name in rest}
    rate = _number("lr", rest.pop("lr"), float) if "lr" in rest else None
    return override(recipe, rest, lr=rate, **counts)


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        noun = "a whole number" if kind is int else "a number"
        raise UserError(f"{name} must be {noun}. Received {text!r}. Correct it.") from None
