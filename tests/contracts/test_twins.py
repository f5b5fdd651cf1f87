"""Contract 1: from the same weights, a room and its twins give the same outputs, gradients, and weights after three steps."""

from __future__ import annotations

import pytest

from nnatomy.experiments.discovery import Room
from nnatomy.experiments.recipe import Case
from nnatomy.experiments.verification import MEASURES, compare


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("twin", ["torch", "keras"])
def test_equals_its_twin(room: Room, case: Case, twin: str, precision: str) -> None:
    (found,) = compare(room, case, precision, [twin])
    numbers = ", ".join(f"{measure} {found.differences[measure]:.1e}" for measure in MEASURES)
    assert found.passed, f"{room.name}, {case.name}, {twin}, {precision}: {found.first_bad} ({numbers}; limit {found.limit:g})"
