"""Rules of the contracts: declared exceptions, unfinished folders, and how a model gets to a backend."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

import nnatomy as nn
from nnatomy.backends import B
from nnatomy.catalog import Architecture
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


def judged(item: Any) -> Generator[None, object, object]:
    """Around a test: it must pass, or fail where its case declares an exception to its contract."""
    case = getattr(item, "callspec", None) and item.callspec.params.get("case")
    if isinstance(case, Unfinished):
        pytest.fail(f"{item.callspec.params['architecture'].name} is not finished: {case.problem!r}")
    marker = item.get_closest_marker("contract")
    reason = case.without.get(marker.args[0]) if case is not None and marker is not None else None
    if reason is None:
        return (yield)
    try:
        yield
    except (Exception, pytest.fail.Exception):
        return True
    pytest.fail(f"the exception is stale: {case.name} {marker.args[0].value} after all; remove {marker.args[0]} ({reason})")


def place(model: nn.Module) -> None:
    """Move a model that was made on NumPy to the active backend: drawn there, each value would be a separate program."""
    for _, t in (*model.named_parameters(), *model.named_buffers()):
        t.data = B.asarray(t.data)
