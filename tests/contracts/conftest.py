"""The contracts run over every architecture that is discovered and every case it declares.

A test marked `contract(Contract.X)` must fail for a case that declares an exception to X: a stale exception is a failure. A
folder that is not finished fails by its own name and disturbs no other.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest
from contract_rules import cases_of, judged

from nnatomy.catalog import architectures


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
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    return (yield from judged(pyfuncitem))
