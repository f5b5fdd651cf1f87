"""Messages between the service and its workers: plain values as JSON and arrays as safetensors, nothing that executes.

    two lengths (uint32, little-endian) | JSON | safetensors
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LENGTHS = struct.Struct("<II")


def pack(values: Mapping[str, Any], arrays: Sequence[Array] = ()) -> bytes:
    """One message."""
    from safetensors.numpy import save

    text = json.dumps(values).encode()
    body = save({f"{i:04d}": np.ascontiguousarray(a) for i, a in enumerate(arrays)}) if arrays else b""
    return LENGTHS.pack(len(text), len(body)) + text + body


def unpack(text: bytes, body: bytes) -> tuple[dict[str, Any], tuple[Array, ...]]:
    """The values and arrays of a message, from the two parts behind its lengths."""
    from safetensors.numpy import load

    arrays = load(body) if body else {}
    return json.loads(text), tuple(arrays[name] for name in sorted(arrays))
