"""The contracts run over every architecture that is discovered and every case it declares."""

from __future__ import annotations

import pytest

from nnatomy.catalog import architectures


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`architecture` and `case` in a test's arguments make it run for each case, `architecture` alone for each architecture."""
    if "case" in metafunc.fixturenames:
        pairs = [
            pytest.param(architecture, case, id=f"{architecture.name}-{case.name}")
            for architecture in architectures().values()
            for case in architecture.cases
        ]
        metafunc.parametrize(("architecture", "case"), pairs)
    elif "architecture" in metafunc.fixturenames:
        metafunc.parametrize(
            "architecture", [pytest.param(architecture, id=architecture.name) for architecture in architectures().values()]
        )
