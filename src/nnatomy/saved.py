"""Plain values that were saved as JSON, read again. What a value must be is said by the dataclass that it becomes.

A file is damaged, or was changed by hand, in many more ways than it is right: every value that is used is compared with its
declared type here, so that the code that uses it need not.
"""

from __future__ import annotations

import json
import math
import types
import typing
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from nnatomy.errors import UserError, nearest_name
from nnatomy.files import open_file, read_at_most
from nnatomy.printing import shown

__all__ = ["parse_json", "RESTORE", "Count", "Natural", "Positive", "plain_values", "read_json", "read_lines", "typed"]

T = TypeVar("T")
LARGEST = 64 * 2**20  # bytes of a JSON file: more would take gigabytes of memory
WHOLE = 2**64  # whole numbers are below this, as seeds are


@dataclass(frozen=True)
class Range:
    """A rule for a number, as the second part of an Annotated type."""

    rule: str
    holds: Callable[[Any], bool]


Count = Annotated[int, Range("at least 1", lambda value: value >= 1)]
Natural = Annotated[int, Range("at least 0", lambda value: value >= 0)]
Positive = Annotated[float, Range("above 0", lambda value: value > 0)]
NOUNS = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false", types.NoneType: "null"}
RESTORE = "Restore it from a backup, or train again."


def read_json(path: Path, remedy: str = RESTORE) -> Any:
    """Return the plain values in a JSON file; `remedy` is the last sentence of the error for what is not JSON.

    Raises UserError where it is absent, unreadable, too large or not JSON.
    """
    return parse_json(_text(path, remedy), str(path), remedy)


def read_lines(path: Path, kind: type[Any], *, repair: bool = False, remedy: str = RESTORE) -> Iterator[Any]:
    """Yield the plain values in a file with one JSON value a line; a last line that was cut short is left out.

    Raises UserError for a line that is not of the type `kind`; with `repair` it is left out, too.
    """
    *lines, _ = _text(path, remedy, "replace" if repair else "strict").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            value = parse_json(line, f"{path}, line {number},", remedy)
            typed(kind, value, f"{path}, line {number}", remedy)
        except UserError:
            if not repair:
                raise
        else:
            yield value


def parse_json(text: str | bytes, where: str, remedy: str = RESTORE) -> Any:
    """Return the value of a JSON text. Raises UserError, which names `where` it was, for another text."""
    try:
        return json.loads(text)
    except RecursionError:
        problem = "brackets in brackets without end"
    except UnicodeDecodeError as error:
        problem = f"bytes that are not UTF-8, at {error.start}"
    except json.JSONDecodeError as error:
        problem = f"{shown(error.doc[error.pos : error.pos + 20]) if error.pos < len(error.doc) else 'its end'} at {error.pos}"
    except ValueError:
        problem = "a number that is too long"
    raise UserError(f"{where} must be JSON. Received {problem}. {remedy}") from None


def typed(kind: type[T], value: Any, where: str = "", remedy: str = RESTORE, *, other_keys: bool = False) -> T:
    """Return a plain value as the type that is declared: numbers, texts, tuples, mappings, unions, dataclasses of these.

    Args:
        kind: the type
        value: what JSON held
        where: the file, for the error
        remedy: the last sentence of the error
        other_keys: keys that a dataclass does not declare are passed over

    Raises UserError with file, key, rule, received and remedy where a part of the value has another type.
    """
    return _Reader(where, remedy, other_keys).read(kind, value, "")  # type: ignore[no-any-return]


def plain_values(value: Any) -> Any:
    """Return a dataclass, and all in it, in the plain values from which `typed` makes it again."""
    if is_dataclass(value) and not isinstance(value, type):
        return {declared.name: _plain(getattr(value, declared.name)) for declared in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """Return a part in plain values, in its own way if it has one."""
    return value.to_json() if hasattr(value, "to_json") else plain_values(value)


class _Reader:
    def __init__(self, where: str, remedy: str, other_keys: bool) -> None:
        self.where, self.remedy, self.other_keys = f"{where}: " if where else "", remedy, other_keys

    def read(self, kind: Any, value: Any, key: str) -> Any:
        if kind is Any or kind is object:
            return value
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            found = self.read(arguments[0], value, key)
            if not arguments[1].holds(found):
                raise self.wrong(key, arguments[1].rule, value)
            return found
        if origin in (Union, types.UnionType):
            return self._union(arguments, value, key)
        if origin is Literal:
            if value not in arguments or type(value) not in map(type, arguments):
                raise self.wrong(key, " or ".join(map(repr, arguments)), value)
            return value
        if is_dataclass(kind):
            return self._dataclass(kind, value, key)
        if origin in (tuple, list, Sequence):
            return self._list(origin, arguments, value, key)
        if origin in (dict, Mapping) or kind in (dict, Mapping):
            if not isinstance(value, dict):
                raise self.wrong(key, "an object", value)
            return {name: self.read(arguments[1] if arguments else Any, item, _at(key, name)) for name, item in value.items()}
        return self._scalar(kind, value, key)

    def _scalar(self, kind: Any, value: Any, key: str) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind is float and number and abs(value) < math.inf and (isinstance(value, float) or abs(value) < WHOLE):
            return float(value)
        if type(value) is not kind or (kind is float) or (kind is int and not -WHOLE < value < WHOLE):
            raise self.wrong(key, NOUNS[kind], value)
        return value

    def _union(self, kinds: Sequence[Any], value: Any, key: str) -> Any:
        if value is None and types.NoneType in kinds:
            return None
        left = [kind for kind in kinds if kind is not types.NoneType]
        if len(left) == 1:
            return self.read(left[0], value, key)
        for kind in left:
            try:
                return self.read(kind, value, key)
            except UserError:
                continue
        raise self.wrong(key, " or ".join(NOUNS.get(kind, "an object") for kind in kinds), value)

    def _list(self, origin: Any, arguments: Sequence[Any], value: Any, key: str) -> Any:
        if not isinstance(value, list):
            raise self.wrong(key, "a list", value)
        repeated = origin is not tuple or (len(arguments) == 2 and arguments[1] is Ellipsis)
        if not repeated and len(value) != len(arguments):
            raise self.wrong(key, f"a list of {len(arguments)}", value)
        kinds = [arguments[0]] * len(value) if repeated else arguments
        found = [self.read(kind, item, f"{key}[{n}]") for n, (kind, item) in enumerate(zip(kinds, value, strict=True))]
        return found if origin is list else tuple(found)

    def _dataclass(self, kind: Any, value: Any, key: str) -> Any:
        if not isinstance(value, dict):
            raise self.wrong(key, "an object", value)
        if key and hasattr(kind, "from_json"):
            try:
                return kind.from_json(value)
            except UserError as problem:
                raise UserError(f"{self.where}{key}: {problem}") from None
        declared = _declared(kind)
        unknown = next((name for name in value if name not in declared and not _constant(kind, name, value[name])), None)
        if unknown is not None and not self.other_keys:
            near = nearest_name(unknown, declared)
            hint = f" Did you mean {near!r}?" if near and near not in value else ""
            raise UserError(
                f"{self.where}{key or 'The object'} must have known keys only. Received {shown(unknown)}.{hint} {self.remedy}"
            )
        lacking = next((name for name, (_, needed) in declared.items() if needed and name not in value), None)
        if lacking is not None:
            raise UserError(f"{self.where}{_at(key, lacking)} must be there. Received none. {self.remedy}")
        items = {name: self.read(of, value[name], _at(key, name)) for name, (of, _) in declared.items() if name in value}
        try:
            return kind(**items)
        except UserError as problem:  # out of range
            raise UserError(f"{self.where}{problem}") from None

    def wrong(self, key: str, rule: str, value: Any) -> UserError:
        return UserError(f"{self.where}{key or 'The value'} must be {rule}. Received {shown(value)}. {self.remedy}")


@cache
def _declared(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the type of each field of a dataclass, and whether it has no default."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        found.name: (hints[found.name], found.default is MISSING and found.default_factory is MISSING)
        for found in fields(kind)
        if found.init
    }


def _constant(kind: Any, name: str, value: Any) -> bool:
    """Return True for the value of a class, such as the name of its kind."""
    known = vars(kind).get(name)
    return isinstance(known, str) and known == value


def _at(key: str, name: str) -> str:
    return f"{key}.{name[:60]}" if key else name[:60]


def _text(path: Path, remedy: str, errors: str = "strict") -> str:
    with open_file(path) as file:
        raw = bytes(read_at_most(file, LARGEST + 1))
    if len(raw) > LARGEST:
        raise UserError(f"{path} must be at most {LARGEST >> 20} MiB. Received more. {remedy}")
    try:
        return raw.removeprefix(BOM_UTF8).decode(errors=errors)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be UTF-8. Received another byte at {error.start}. {remedy}") from None
