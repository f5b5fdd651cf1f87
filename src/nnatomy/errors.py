"""The error that a user can correct: bad input, a bad option, a missing file. Programming errors stay plain exceptions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from nnatomy.printing import listed, one_line, shown

__all__ = ["UserError", "nearest_name", "unknown_name"]


class UserError(ValueError):
    """Bad input from the user, in three short sentences: the rule, what was received, the remedy.

    Control characters in what was received are escaped, and what is too long loses its middle.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(one_line(sentence))


def nearest_name(received: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` most like `received` (case, "-" and "_" aside), or None when nothing else is close."""
    plain = {name.lower().replace("-", "_").replace(" ", "_"): name for name in known if name != received}
    if len(received) > LONGEST_NAME:
        return None
    found = difflib.get_close_matches(received.lower().replace("-", "_").replace(" ", "_"), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


LONGEST_NAME = 300  # characters of a name that is compared with others: the comparison takes their square


def unknown_name(kind: str, received: str, known: Iterable[str]) -> UserError:
    """Return the UserError for a name that is not in `known`, with the nearest known name as the remedy."""
    names = list(known)
    near = nearest_name(str(received), names)
    if near is not None:
        return UserError(f"No {kind} has this name. Received {shown(received)}. Did you mean {near!r}?")
    return UserError(f"No {kind} has this name. Received {shown(received)}. Choose one of: {listed(names) or 'none is known'}.")
