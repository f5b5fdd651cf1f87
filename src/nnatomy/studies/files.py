"""Plain values in the files of a study's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from nnatomy.runs.folder import write_atomically
from nnatomy.saved import read_json, typed

T = TypeVar("T")
AGAIN = "Remove it and continue with --resume."
"""The remedy for a result that is computed again where it is absent."""


def read_values(path: Path, kind: type[T], remedy: str = AGAIN, other_keys: bool = False) -> T:
    """Return the values in a file as a type. Raises UserError, which ends with `remedy`, where they are others."""
    return typed(kind, read_json(path, remedy), str(path), remedy, other_keys=other_keys)


def write_json(path: Path, value: Any) -> None:
    """Write plain values whole or not at all."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
