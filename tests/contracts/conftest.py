"""The contracts run over every architecture that is discovered and every case it declares.

A test marked `contract(Contract.X)` must fail for a case that declares an exception to X: a stale exception is a failure. A
folder that is not finished fails by its own name and disturbs no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from nnatomy.catalog import Architecture, architectures
from nnatomy.training.recipe import Case


class Unfinished:
    """In place of a case: why an architecture's folder has none."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem
        self.name = "unfinished"


def cases_of(architecture: Architecture) -> list[Case | Unfinished]:
    try:
        return list(architecture.cases) or [Unfinished(AssertionError("recipe.py lists no cases"))]
    except Exception as problem:  # whatever an unfinished folder raises concerns that folder alone
        return [Unfinished(problem)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`architecture` and `case` in a test's arguments make it run for each case, `architecture` alone for each one."""
    found = architectures().values()
    if "case" in metafunc.fixturenames:
        one = metafunc.definition.get_closest_marker("first_case") and not metafunc.config.getoption("--all-cases")
        pairs = [
            pytest.param(each, case, id=f"{each.name}-{case.name}")
            for each in found
            for case in cases_of(each)[: 1 if one else None]
        ]
        metafunc.parametrize(("architecture", "case"), pairs)
    elif "architecture" in metafunc.fixturenames:
        metafunc.parametrize("architecture", [pytest.param(each, id=each.name) for each in found])


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[Any]:
    case = getattr(pyfuncitem, "callspec", None) and pyfuncitem.callspec.params.get("case")
    if isinstance(case, Unfinished):
        pytest.fail(f"{pyfuncitem.callspec.params['architecture'].name} is not finished: {case.problem!r}")
    marker = pyfuncitem.get_closest_marker("contract")
    reason = case.without.get(marker.args[0]) if case is not None and marker is not None else None
    if reason is None:
        return (yield)
    try:
        yield
    except (Exception, pytest.fail.Exception):
        return True
    pytest.fail(f"the exception is stale: {case.name} {marker.args[0].value} after all; remove {marker.args[0]} ({reason})")
