"""Whether the data that a room's default recipe needs are on this machine."""

from __future__ import annotations

import pytest

from nnatomy.data.named import NAMED, locate
from nnatomy.errors import UserError
from nnatomy.experiments.discovery import Room


def skip_without_data(room: Room) -> None:
    """Skips the test where the recipe's data set is a public one that is not on this machine."""
    known = NAMED.get(room.recipes[0].data)
    try:
        _ = known and locate(known, offline=True)
    except UserError as problem:
        pytest.skip(f"needs the data of {room.name}'s recipe: {problem}")
