"""The error that a user can correct: bad input, a bad option, a missing file. Programming errors stay plain exceptions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest_name", "unknown_name"]


class UserError(ValueError):
    """Bad input from the user, in three short sentences: the rule, what was received, the remedy."""


def nearest_name(received: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` most like `received` (case, "-" and "_" aside), or None when nothing is close."""
    plain = {name.lower().replace("-", "_").replace(" ", "_"): name for name in known}
    found = difflib.get_close_matches(received.lower().replace("-", "_").replace(" ", "_"), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def unknown_name(kind: str, received: str, known: Iterable[str], shown: int = 12) -> UserError:
    """Return the UserError for a name that is not in `known`, with the nearest known name as the remedy."""
    names = list(known)
    near = nearest_name(str(received), names)
    if near is not None:
        return UserError(f"No {kind} has this name. Received {received!r}. Did you mean {near!r}?")
    listed = ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
    return UserError(f"No {kind} has this name. Received {received!r}. Choose one of: {listed or 'none is known'}.")
