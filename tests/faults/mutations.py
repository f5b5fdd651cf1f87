"""Every way in which one value of a JSON file is replaced by one of another type."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

DEEP = "[" * 100_000
HUGE = 10**400
WRONG: tuple[Any, ...] = (2.5, "x", 5, [1], None, HUGE, DEEP)
"""DEEP stands for 100,000 brackets, which only a text of JSON can hold."""


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value that holds no others."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place for key, item in inside for place in leaves(item, (*path, key))]
    yield from found or [path]


def mutated(value: Any, place: tuple[Any, ...], wrong: Any) -> str:
    """Return the JSON of a value with another one at a place."""
    changed = copy.deepcopy(value)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    marker = "the deep one"
    inner[place[-1]] = marker if wrong is DEEP else wrong
    return json.dumps(changed).replace(f'"{marker}"', DEEP)
