"""Contract 1: from the same weights, twins give the same outputs, gradients and weights after three steps."""

from __future__ import annotations

import pytest

from nnatomy.catalog import Architecture
from nnatomy.training.recipe import Case
from nnatomy.verification.compare import MEASURES, compare


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("twin", ["torch", "keras"])
def test_equals_its_twin(architecture: Architecture, case: Case, twin: str, precision: str) -> None:
    (found,) = compare(architecture, case, precision, [twin])
    numbers = ", ".join(f"{measure} {found.differences[measure]:.1e}" for measure in MEASURES)
    assert found.passed, (
        f"{architecture.name}, {case.name}, {twin}, {precision}: {found.first_bad} ({numbers}; limit {found.limit:g})"
    )
