"""A plugin of pytest: what the tests cost, in seconds of processor time, their ended child processes included."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from typing import Any

import pytest

from nnatomy.catalog import architectures

DEAREST = 10
COST = "processor seconds"
_began = pytest.StashKey[float]()
_costs: dict[str, float] = {}


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    return time.process_time() + sum(os.times()[2:4])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_began] = processor_seconds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test's cost travels with its last report: from the workers of pytest-xdist, too."""
    report = yield
    if call.when == "teardown" and _began in item.stash:
        report.user_properties.append((COST, processor_seconds() - item.stash[_began]))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, value in report.user_properties:
        if name == COST:
            _costs[report.nodeid] = float(str(value))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _costs:
        return
    terminalreporter.section(f"the ten dearest of {sum(_costs.values()):.0f} processor seconds")
    for test in sorted(_costs, key=lambda test: -_costs[test])[:DEAREST]:
        terminalreporter.write_line(f"{_costs[test]:8.2f} s  {test}")
    for name, seconds in of_contracts(_costs).items():
        terminalreporter.write_line(f"{seconds:8.2f} s  all contracts of {name} that ran")


def of_contracts(costs: dict[str, float]) -> dict[str, float]:
    """Return the cost of each architecture's contracts, by the names in their tests' identifiers."""
    found: dict[str, float] = {}
    for test, seconds in costs.items():
        path, _, identifier = test.rstrip("]").partition("[")
        for name in architectures():
            if "contracts/" in path and name == identifier.partition("-")[0]:
                found[name] = found.get(name, 0.0) + seconds
    return found
