"""Contract 4: docs/results.md says what each architecture reaches now: its goals, and what its twin reaches."""

from __future__ import annotations

from nnatomy.catalog import Architecture
from results.table import problems, read


def test_results_are_there_and_good(architecture: Architecture) -> None:
    found = problems(architecture, read())
    assert not found, "\n".join([*found, f"Measure it again: python benchmarks/results.py {architecture.name}"])
