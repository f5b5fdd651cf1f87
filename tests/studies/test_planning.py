"""A budget becomes epochs that fit into it, shared fairly; what is cut is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nnatomy.studies.comparison.planning import StepCost, reduce_to_budget
from nnatomy.studies.comparison.protocol import Entry, Plan, Protocol

pytestmark = pytest.mark.any_kernels

PROTOCOL = Protocol(("fast", "slow"), data="digits", cv=3, seeds=2, budget=100.0)
ARCHITECTURES = {"fast": Entry(10, 10), "slow": Entry(20, 20)}
PLAN = Plan("image", "classification", "accuracy", ARCHITECTURES, {}, (0.1, 0.3), 1, "", "d", "")
COSTS = {"fast": StepCost(0.001, 0.1, 0.5, 100, 0.1), "slow": StepCost(0.01, 0.1, 0.5, 200, 0.1)}


def taken(plan: Plan, seeds: int = PROTOCOL.seeds) -> float:
    """Seconds of all fits of a plan from so many seeds, on one worker."""
    whole = sum(PROTOCOL.cv * seeds * COSTS[n].fit(e.epochs, e.share) for n, e in plan.architectures.items())
    return whole + sum(
        PROTOCOL.cv * COSTS[n].fit(e.epochs, share) for n, e in plan.architectures.items() for share in plan.shares
    )


def test_enough_time_changes_nothing() -> None:
    found = reduce_to_budget(PLAN, PROTOCOL, COSTS, taken(PLAN) + 1, 1)
    assert (found.architectures, found.shares, found.notices) == (PLAN.architectures, PLAN.shares, ())


def test_curves_go_first_then_seeds_and_then_epochs_of_the_slow_architecture_alone() -> None:
    without = reduce_to_budget(PLAN, PROTOCOL, COSTS, taken(PLAN) - 1, 1)
    assert (without.architectures, without.shares) == (PLAN.architectures, ())
    one = reduce_to_budget(PLAN, PROTOCOL, COSTS, taken(replace(PLAN, shares=()), 1) + 0.1, 1)
    assert (one.architectures, one.shares) == (PLAN.architectures, ())
    for seconds in (20.0, 40.0, 100.0):
        found = reduce_to_budget(PLAN, PROTOCOL, COSTS, seconds, 1)
        assert 0.6 * seconds < taken(found, 1) <= seconds
        assert found.architectures["fast"] == Entry(10, 10)
        assert 1 <= found.architectures["slow"].epochs < 20
        assert any(
            f"slow was cut short by the budget: {found.architectures['slow'].epochs} of 20 epochs" in n for n in found.notices
        )


def test_two_workers_take_half_the_time() -> None:
    two, one = (reduce_to_budget(PLAN, PROTOCOL, COSTS, 40.0 / workers, workers) for workers in (2, 1))
    assert two.architectures == one.architectures


def test_where_no_epoch_fits_part_of_the_rows_does() -> None:
    found = reduce_to_budget(PLAN, PROTOCOL, COSTS, 9.5, 1)
    assert found.architectures["slow"].epochs == 1
    assert 0.1 <= found.architectures["slow"].share < 1
    assert "of the training rows" in " ".join(found.notices)
    least = reduce_to_budget(PLAN, PROTOCOL, COSTS, 0.0, 1)
    assert (least.architectures["slow"].epochs, least.architectures["slow"].share) == (1, 0.1)  # twenty steps of two hundred
