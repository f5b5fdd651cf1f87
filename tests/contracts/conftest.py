"""The contracts run over every room that is discovered and every case it declares: a new room inherits them by existing."""

from __future__ import annotations

import pytest

from nnatomy.experiments.discovery import rooms


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`room` and `case` in a test's arguments make it run for each case, `room` alone for each room."""
    if "case" in metafunc.fixturenames:
        pairs = [pytest.param(room, case, id=f"{room.name}-{case.name}") for room in rooms().values() for case in room.cases]
        metafunc.parametrize(("room", "case"), pairs)
    elif "room" in metafunc.fixturenames:
        metafunc.parametrize("room", [pytest.param(room, id=room.name) for room in rooms().values()])
