"""How a file of weights is refused: one sentence with the rule, what was found, and what to do."""

from __future__ import annotations

from pathlib import Path

from nnatomy.errors import UserError


def refusal(path: Path | str, found: str, remedy: str) -> UserError:
    """The UserError for a file that cannot be taken."""
    return UserError(f"Weights come from whole files of a known format. Received {path}, which {found}. {remedy}.")
