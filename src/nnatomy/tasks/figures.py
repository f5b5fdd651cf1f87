"""Colors and names that the figures of all tasks and reports share."""

from __future__ import annotations

from typing import Any

BLUE, ORANGE, GREEN, GRAY = "#2563a8", "#d1662a", "#2e8b57", "#6b7280"
LONGEST = 24  # letters of a name that are shown


def short(name: Any, longest: int = LONGEST) -> str:
    """Return a name with its end cut off where it is long."""
    text = str(name)
    return text if len(text) <= longest else text[: longest - 1] + "…"
