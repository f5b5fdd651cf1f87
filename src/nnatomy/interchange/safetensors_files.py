"""Safetensors: the header is checked by the format's own library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnatomy.interchange.refusal import refusal
from nnatomy.interchange.scalars import SAFETENSORS, widened


def read_safetensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of one file."""
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]  # it is Rust
    except (SafetensorError, OSError, ValueError, MemoryError, OverflowError):
        raise refusal(path, "is damaged, cut short or not safetensors", "Download or write it again") from None
    arrays = {}
    for name, entry in found:
        if entry["dtype"] not in SAFETENSORS:
            raise refusal(path, f"holds {name!r} as {entry['dtype']}, which NumPy lacks", "Convert it to F32 first")
        kind = SAFETENSORS[entry["dtype"]]
        arrays[name] = widened(np.frombuffer(entry["data"], kind.stored), kind).reshape(entry["shape"])
    return arrays
