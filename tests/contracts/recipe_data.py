"""A check that the data of an architecture's default recipe are on this machine."""

from __future__ import annotations

import pytest

from nnatomy.catalog import Architecture
from nnatomy.data.kinds import public
from nnatomy.data.sets import locate
from nnatomy.errors import UserError


def skip_without_data(architecture: Architecture) -> None:
    """Skip the test where the recipe's data set is a public one that is not on this machine."""
    known = public().get(architecture.recipes[0].data)
    try:
        _ = known and locate(known, offline=True)
    except UserError as problem:
        pytest.skip(f"needs the data of {architecture.name}'s recipe: {problem}")
