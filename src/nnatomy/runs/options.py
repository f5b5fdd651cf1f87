"""Options of a request: each is declared once, on a dataclass's field, and read alike from Python, a command line and a folder.

What the options are is said in `request` and by the studies.
"""

from __future__ import annotations

import operator
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nnatomy import data
from nnatomy.errors import UserError
from nnatomy.printing import shown
from nnatomy.saved import plain_values, typed
from nnatomy.training.settings import parse_seconds

LARGEST_SIDE = 4096
T = TypeVar("T")

MOST = 2**64
"""Whole numbers are below this, as seeds are."""
OPTION = "option"
"""The key of an `Option` in a field's metadata."""


@dataclass(frozen=True)
class OptionType:
    """A type of options: how a value is read, what it is called, and how a command line writes it."""

    noun: str
    """For errors: "a whole number"."""
    read: Callable[[Any], Any]
    """From a value in Python to the plain value that a folder keeps. Raises TypeError or ValueError."""
    annotation: Any
    """The type that Typer reads; lists for options that are repeated."""
    words: Callable[[Any], list[str]] = lambda value: [str(value)]
    """The words of a command line, one for each time that the flag is repeated."""
    empty: Callable[[], Any] = lambda: None
    """The value where nothing was given."""
    pairs: bool = False
    """True if each word is NAME=VALUE."""


@dataclass(frozen=True)
class Option:
    """One option: its type, its help, its range and its flag."""

    type: OptionType
    help: str
    flag: str
    least: int | None = None
    positive: bool = False
    """True if a number is above 0 and finite."""
    metavar: str | None = None
    example: str = ""
    """A value that works, for errors."""
    where: bool = False
    """True if it says where a run computes, and may change when the run is continued."""

    def words(self, value: Any) -> list[str]:
        """Return the words of a command line that give this value."""
        if isinstance(value, bool):
            return [self.flag if value else f"--no-{self.flag[2:]}"]
        return [word for text in self.type.words(value) for word in (self.flag, text)]

    def check(self, value: Any) -> None:
        """Raise UserError for a value out of range."""
        if value is None:
            return
        if self.least is not None and value < self.least:
            raise UserError(f"{self.flag} is at least {self.least}. Received {shown(value)}. Give a larger number.")
        if isinstance(value, int) and value >= MOST:
            raise UserError(f"{self.flag} is below 2^64. Received {shown(value)}. Give a smaller number.")
        if self.positive and not 0 < value < float("inf"):
            noun = "time" if self.type is SECONDS else "number"
            raise UserError(f"{self.flag} is a positive {noun}. Received {value:g}. Give one such as {self.example}.")


def _text(value: Any) -> str:
    if not isinstance(value, str | int | Path):
        raise TypeError
    return str(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool | np.bool_):
        raise TypeError
    return operator.index(value)


def _number(value: Any) -> float:
    if isinstance(value, bool | np.bool_ | str):
        raise TypeError
    return float(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError
    return bool(value)


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def absolute_path(source: str | PathLike[str]) -> str:
    """Return a path as an absolute one, so that a run can be continued from anywhere; a data set's name as it is."""
    text = str(source)
    if not text.strip():
        raise UserError("Data are named by a data set's name or a path. Received nothing. Give one, for example digits.")
    if text in data.names():
        return text
    path = Path(text).expanduser()
    return os.path.abspath(path) if os.path.lexists(path) else text


def absolute_source(given: Any) -> Any:
    """Return a path as an absolute one, and any other value, such as a data frame, as it is."""
    return absolute_path(given) if isinstance(given, str | PathLike) else given


def parse_size(value: Any) -> tuple[int, int]:
    """Return the height and width that a text such as 64x96, one number or a pair names. Raises UserError for all else."""
    found = value.lower().replace("×", "x").split("x") if isinstance(value, str) else value
    parts = (found,) if isinstance(found, int) else tuple(found)
    try:
        sides = [int(part) for part in (parts * 2 if len(parts) == 1 else parts)]
    except (TypeError, ValueError):
        sides = []
    if len(sides) != 2 or not all(1 <= side <= LARGEST_SIDE for side in sides):
        rule = f"--resize takes HEIGHTxWIDTH in pixels, from 1 to {LARGEST_SIDE}"
        raise UserError(f"{rule}. Received {value!r}. Use, for example, --resize 64x96.")
    return sides[0], sides[1]


INTEGER = OptionType("a whole number", _integer, int)
NUMBER = OptionType("a number", _number, float, lambda value: [f"{value:.12g}"])
SECONDS = OptionType(
    "seconds or a time such as 5m", lambda value: parse_seconds(value) if isinstance(value, str) else float(value), str,
    lambda value: [f"{value:g}s"],
)  # fmt: skip
TEXT = OptionType("a text", _text, str)
PATH = OptionType("a path", lambda value: str(Path(value).expanduser().resolve()), str)
SOURCE = OptionType("a name or a path", lambda value: absolute_path(_text(value)), str)
SWITCH = OptionType("True or False", _switch, bool)
NAMES = OptionType(
    "names", lambda value: (value,) if isinstance(value, str) else tuple(map(str, value)), list[str], list, tuple
)
SIZE = OptionType(
    "a height and a width", lambda value: parse_size(value), str, lambda value: [f"{value[0]}x{value[1]}"]
)
PAIRS = OptionType(
    "a dictionary", lambda value: {str(k): _listed(v) for k, v in value.items()}, list[str],
    lambda value: [f"{k}={v}" for k, v in value.items()], dict, pairs=True,
)  # fmt: skip
FACTORS = OptionType(
    "factors by pattern", lambda value: {str(k): float(v) for k, v in value.items()}, list[str],
    lambda value: [f"{k}={v:g}" for k, v in value.items()], dict, pairs=True,
)  # fmt: skip


def option(
    type: OptionType, help: str, default: Any = None, *, flag: str | None = None, least: int | None = None,
    positive: bool = False, metavar: str | None = None, example: str = "", where: bool = False,
) -> Any:  # fmt: skip
    """Declare an option as a dataclass's field; its flag is its name unless another is given."""
    declared = Option(type, help, flag or "", least, positive, metavar, example, where)
    if type.empty() is not None:
        return field(default_factory=type.empty, metadata={OPTION: declared})
    return field(default=default, metadata={OPTION: declared})


def options_of(request: Any) -> dict[str, Option]:
    """Return the options that a dataclass, or an instance of one, declares, by name."""
    found = {}
    for declared in fields(request):
        if OPTION in declared.metadata:
            known: Option = declared.metadata[OPTION]
            flag = known.flag or "--" + declared.name.replace("_", "-")
            found[declared.name] = Option(**{**vars(known), "flag": flag})
    return found


def default_of(request: Any, name: str) -> Any:
    """Return the value that an option has where it is not given."""
    declared = request.__dataclass_fields__[name]
    return declared.default if declared.default_factory is MISSING else declared.default_factory()


def parse_option(type: OptionType, name: str, value: Any, caller: str) -> Any:
    """Return a value as the plain one that a folder keeps. Raises UserError for one of another type."""
    try:
        return type.read(value)
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError):
        raise UserError(f"{caller}() takes {type.noun} for {name}. Received {shown(value)}. Convert it.") from None


def parse_options(request: type[Any], given: Mapping[str, Any], caller: str) -> dict[str, Any]:
    """Return options given in Python as a request of that class holds them; None is the default where that is nothing.

    Raises UserError for unknown names and for values of another type.
    """
    known = options_of(request)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise UserError(f"{caller}() takes {', '.join(known)}. Received {', '.join(unknown)}. Leave it out.")
    found = {}
    for name, value in given.items():
        default = default_of(request, name)
        missing = value is None and (default is None or isinstance(default, tuple | dict | bool))
        found[name] = default if missing else parse_option(known[name].type, name, value, caller)
    return found


def check_options(request: Any) -> None:
    """Raise UserError for an option of a request that is out of range."""
    for name, declared in options_of(request).items():
        declared.check(getattr(request, name))


def command_line(request: Any, verb: str, *arguments: str, without: tuple[str, ...] = ()) -> str:
    """Return the command line that requests the same as a request."""
    words = ["nnatomy", verb, *arguments]
    for name, declared in options_of(request).items():
        value = getattr(request, name)
        if name not in without and value != default_of(request, name):
            words += declared.words(value)
    return shlex.join(words)


def to_plain(request: Any) -> dict[str, Any]:
    """Return a request in plain values, which JSON keeps."""
    found: dict[str, Any] = plain_values(request)
    return found


def from_plain(request: type[T], saved: Any, where: str = "") -> T:
    """Return the request that `to_plain` wrote. Raises UserError, which names the file `where` it was, for other values."""
    return typed(request, saved, where)
