"""The error for a file of weights that cannot be read: the rule, what was received, the remedy."""

from __future__ import annotations

from pathlib import Path

from nnatomy.errors import UserError


def refusal(path: Path | str, found: str, remedy: str) -> UserError:
    """The UserError for a file that cannot be taken."""
    return UserError(f"Weights come from whole files of a known format. Received {path}, which {found}. {remedy}.")
