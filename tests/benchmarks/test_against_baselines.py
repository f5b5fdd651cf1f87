"""The second table of docs/results.md: it is read as it was written, next to the first one, and says where a network is."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from test_results_table import rows_for

from nnatomy.training.evaluation import Metric
from results import steps
from results.against import TITLE, Row, place, read, section, written
from results.table import markdown
from results.table import read as first_table

ROWS = [
    Row("mpg", "mlp", "r2", "0.8900 ± 0.0200", "mean -0.01, ridge regression 0.84", "ahead (ridge regression)", "0.70", "5"),
    Row("adult", "mlp", "auc", "0.9050 ± 0.0100", "majority class 0.5, gradient boosting 0.91", "behind", "3.00", "5"),
]


def test_both_tables_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = rows_for("mlp")
    path = tmp_path / "results.md"
    once = written(markdown(rows), ROWS)
    path.write_text(once)
    assert read(once) == ROWS
    assert first_table(path) == rows
    assert written(once, ROWS) == once
    assert read(written(once, ROWS[:1])) == ROWS[:1]
    again = markdown(rows[:1]) + section(once)  # as benchmarks/results.py writes the first table
    assert (read(again), again.count(TITLE)) == (ROWS, 1)
    assert read(markdown(rows)) == []


def test_the_third_table_leaves_the_others_and_they_leave_it() -> None:
    times = [steps.Row("mlp", "digits", "64", "1.00", "2.00", "2.00"), steps.Row("gpt", "sums", "32", "2.00", "1.00", "0.50")]
    both = written(markdown(rows_for("mlp")), ROWS)
    page = steps.written(both, times)
    assert page.startswith(both)
    assert "Ours is slower in gpt." in page
    assert (steps.read(page), read(page)) == (times, ROWS)
    assert written(page, ROWS) == page
    assert steps.written(page, times) == page
    assert steps.read(both) == []


@pytest.mark.parametrize(
    ("better", "ours", "theirs", "expected"),
    [
        ("higher", (0.9, 0.91, 0.92), (0.8, 0.82, 0.83), "ahead"),
        ("lower", (0.9, 0.91, 0.92), (0.8, 0.82, 0.83), "behind"),
        ("higher", (0.9, 0.8, 0.9), (0.8, 0.9, 0.91), "level"),
        ("higher", (0.5, 0.7, 0.9), (0.49, 0.69, 0.89), "ahead"),  # seeds differ more than the two, which are paired
        ("higher", (0.9,), (0.5,), "level"),  # one seed shows nothing
    ],
)
def test_the_network_is_where_the_seeds_show_it(
    better: str, ours: tuple[float, ...], theirs: tuple[float, ...], expected: str
) -> None:
    assert place(Metric("m", better), ours, theirs) == expected  # type: ignore[arg-type]
