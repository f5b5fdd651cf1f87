"""Reading, commands and messages are the same whichever kernels run, so the judge runs the tests of these once."""

from __future__ import annotations

from pathlib import Path

import pytest

COMPUTE = {"test_layers.py", "test_foreign_names.py"}
"""These compare numbers, so they run with and without the fast kernels."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and item.path.name not in COMPUTE:
            item.add_marker(pytest.mark.any_kernels)
