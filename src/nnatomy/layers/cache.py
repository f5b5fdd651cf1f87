"""Keys and values that attention has computed, so that a model that writes does not compute them again."""

from __future__ import annotations

from typing import Any

from nnatomy import ops

__all__ = ["KeyValueCache"]


class KeyValueCache:
    """The keys and values (batch, heads, places, features) of all places that were read, one pair for each attention layer."""

    def __init__(self, layers: int) -> None:
        self.pairs: list[tuple[Any, Any] | None] = [None] * layers

    @property
    def length(self) -> int:
        """The number of places that the last layer has read."""
        last = self.pairs[-1]
        return 0 if last is None else int(last[0].shape[-2])

    def extend(self, layer: int, keys: Any, values: Any) -> tuple[Any, Any]:
        """Append the keys and values of new places, and return those of all."""
        before = self.pairs[layer]
        if before is not None:
            keys, values = (ops.concatenate([old, new], -2) for old, new in zip(before, (keys, values), strict=True))
        self.pairs[layer] = keys, values
        return keys, values
