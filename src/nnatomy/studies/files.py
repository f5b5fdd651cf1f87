"""Plain values in the files of a study's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nnatomy.errors import UserError
from nnatomy.runs.folder import write_atomically


def read_json(path: Path, remedy: str = "Remove it and continue with --resume") -> Any:
    """Return the plain values in a file. Raises UserError, which ends with `remedy`, where it is damaged or absent."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path} is damaged or absent: it must hold JSON. {remedy}.") from None


def write_json(path: Path, value: Any) -> None:
    """Write plain values whole or not at all."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
