"""Contract 1: from the same weights, twins give the same outputs, gradients and weights after three steps."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest

from nnatomy.catalog import Architecture, architectures
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.compare import compare
from nnatomy.verification.implementations import FILES, twins_of
from nnatomy.verification.report import Comparison


def check(architecture: Architecture, case: Case, twin: str, precision: str) -> None:
    if twin not in twins_of(architecture):
        stands_in = "reference" in twins_of(architecture) or twin == "reference"
        if stands_in and twins_of(architecture):
            return  # the other kind of twin replaces it
        pytest.fail(f"{architecture.name} has no {FILES[twin]}, and no reference.py in its place")
    found = compared(architecture.name, case.name, twin, precision)
    numbers = ", ".join(f"{measure} {value:.1e}" for measure, value in found.differences.items())
    assert found.passed, (
        f"{architecture.name}, {case.name}, {twin}, {precision}: {found.first_bad} ({numbers}; limit {found.limit:g})"
    )


@pytest.mark.contract(Contract.TORCH)
def test_equals_its_pytorch_twin(architecture: Architecture, case: Case) -> None:
    """Compare in double precision, including the steps of the architecture's learner."""
    check(architecture, case, "torch", "float64")


@pytest.mark.first_case
@pytest.mark.contract(Contract.KERAS)
def test_equals_its_keras_twin(architecture: Architecture, case: Case) -> None:
    check(architecture, case, "keras", "float32")


@pytest.mark.contract(Contract.LIBRARY)
def test_equals_the_library_that_ships_it(architecture: Architecture, case: Case) -> None:
    """Where library.py says that one does: outputs, gradients and three steps of SGD from the same weights, by name."""
    if "library" in twins_of(architecture, case):
        check(architecture, case, "library", "float64")


@pytest.mark.contract(Contract.REFERENCE)
def test_equals_its_reference(architecture: Architecture, case: Case) -> None:
    check(architecture, case, "reference", "float64")


@pytest.mark.contract(Contract.OWN_STEPS)
def test_its_own_steps_are_compared(architecture: Architecture, case: Case) -> None:
    """Against the twin or the reference, and passed; an exception that a case declares is not made here."""
    twin = "reference" if "reference" in twins_of(architecture) else "torch"
    if case.without:
        (found,) = compare(architecture, replace(case, without={}), "float64", [twin])
    else:
        found = compared(architecture.name, case.name, twin, "float64")
    assert found.differences.get("own steps", math.inf) <= found.limit, f"{architecture.name}, {case.name}: {found.first_bad}"


@cache
def compared(architecture: str, case: str, twin: str, precision: str) -> Comparison:
    known = architectures()[architecture]
    (found,) = compare(known, next(each for each in known.cases if each.name == case), precision, [twin])
    return found
