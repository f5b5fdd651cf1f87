"""A budget as epochs: each architecture gets an equal part of the time; what one does not need goes to the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nnatomy.studies.comparison.protocol import Entry, Plan, Protocol

MARGIN = 0.8
"""The part of the time left that is planned for: machines are not always as fast as in their first seconds."""
AFTER, REPORT = (10.0, 0.3), (2.5, 0.1)
"""Seconds kept for measuring costs and for the report, and those of the report; each at most this part of the budget."""
BASELINES = 0.4
"""The part of the budget after which a baseline is stopped."""
TIMING = 0.3
"""The part of the time then left after which the step costs of architectures are no longer measured."""
LEAST_STEPS = 20
"""Steps of a fit that was cut shortest; below, nothing is learned that could be compared."""


@dataclass(frozen=True)
class StepCost:
    """The time of a fit of one architecture, from its first steps."""

    step: float
    validation: float
    start: float
    steps: float
    """A pass through the training rows, averaged over the folds."""
    test: float

    @classmethod
    def of(cls, timed: Mapping[str, Any], protocol: Protocol, ordered: bool) -> StepCost:
        """From a "timing" unit of the last fold; in order of time the earlier folds have fewer rows."""
        part = (protocol.cv + 1) / (2 * protocol.cv) if ordered else 1.0
        return cls(timed["step"], timed["judging"], timed["start"], timed["steps"] * part,
                   timed["judging"] * timed["test"] / max(timed["validation"], 1))  # fmt: skip

    def epoch(self, share: float = 1.0) -> float:
        """Seconds of one epoch with its validation."""
        return self.steps * share * self.step + self.validation

    def fit(self, epochs: float, share: float = 1.0) -> float:
        """Seconds of one fit, its test included."""
        return self.start + epochs * self.epoch(share) + self.test


def reduce_to_budget(plan: Plan, protocol: Protocol, step_costs: Mapping[str, StepCost], seconds: float, jobs: int) -> Plan:
    """The plan as `seconds` allow: whole, without learning curves, or with fewer epochs, or even with part of the rows.

    Epochs are cut only where one seed of each fold does not fit, and only so far that it does: a score from one seed says more
    than three of networks that have learned nothing. Further seeds follow in the time that is left.
    """
    fits = protocol.cv
    available = max(seconds, 0.0) * jobs
    curve = sum(protocol.cv * step_costs[name].fit(entry.whole, share)
                for name, entry in plan.architectures.items() for share in plan.shares)  # fmt: skip
    wants = {name: fits * step_costs[name].fit(entry.whole) for name, entry in plan.architectures.items()}
    if protocol.seeds * sum(wants.values()) + curve <= available:
        return replace(plan, lengths_decided=True)
    notices = list(plan.notices)
    if plan.shares:
        notices.append("Learning curves were left out: the budget has no time for them.")
    level = _level(list(wants.values()), available)
    architectures = {}
    for name, entry in plan.architectures.items():
        architectures[name] = _cut(entry, step_costs[name], min(wants[name], level) / fits)
        if architectures[name].cut:
            rows = f", each of {architectures[name].share:.0%} of the training rows" if architectures[name].share < 1 else ""
            notices.append(
                f"{name} was cut short by the budget: {architectures[name].epochs} of {entry.whole} epochs{rows}; "
                "its score might be better with more time."
            )
    return replace(plan, architectures=architectures, shares=(), notices=tuple(notices), lengths_decided=True)


def _level(wants: list[float], available: float) -> float:
    """Return the largest cap such that the wants, each cut to it, sum to no more than `available`."""
    left, level = available, math.inf
    for n, want in enumerate(sorted(wants)):
        level = left / (len(wants) - n)
        if want > level:
            return level
        left -= want
    return math.inf


def _cut(entry: Entry, cost: StepCost, seconds: float) -> Entry:
    """As many epochs as fit into the seconds of one fit; where not even one does, one over a fraction of the rows."""
    left = seconds - cost.start - cost.test
    epochs = min(entry.whole, int(left / cost.epoch()))
    if epochs >= 1:
        return replace(entry, epochs=epochs)
    least = min(1.0, LEAST_STEPS / cost.steps)
    share = (left - cost.validation) / max(cost.steps * cost.step, 1e-9)
    return replace(entry, epochs=1, share=float(f"{min(1.0, max(least, share)):.3g}"))
