"""Each fault that users found, by its smallest input and the right answer, through the public interface alone.

So the table runs on older commits too, where each row fails: with `src` of 8486896 in PYTHONPATH,
`python -m pytest --noconftest -c /dev/null tests/faults/test_items.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import items_engine
import items_reading
import items_runs
from items import Item

ITEMS: list[Item] = [*items_reading.ITEMS, *items_runs.ITEMS, *items_engine.ITEMS]
SLOW = {15, 16, 20, 23, 25, 26}
"""These start processes."""
HELD_ELSEWHERE = {14, 17, 48}
"""Budgets, which test_budgets.py holds with a clock of its own; two evaluations of a stochastic loss, in test_run_baselines.py:
8486896 has no nn.train for a model of one's own."""


def marked(item: Item) -> object:
    marks = [pytest.mark.slow] * (item.number in SLOW) + [pytest.mark.baselines] * (item.number == 12)
    return pytest.param(item, id=f"{item.number} {item.name}", marks=marks)


def test_no_item_is_missing() -> None:
    assert {item.number for item in ITEMS} | HELD_ELSEWHERE == set(range(1, 49))


@pytest.mark.parametrize("item", [marked(item) for item in ITEMS])
def test_every_item(item: Item, tmp_path: Path) -> None:
    found = item.act(tmp_path)
    if isinstance(item.right, str):
        assert item.right in found
    else:
        np.testing.assert_allclose(found, item.right, rtol=1e-5, atol=1e-6)
