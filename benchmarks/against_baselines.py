"""Networks next to the baselines of their tasks on tables, series and texts: the second table of docs/results.md.

    python benchmarks/against_baselines.py               # all rows, five seeds each, which also decide the splits
    python benchmarks/against_baselines.py adult mpg     # their rows alone
    python benchmarks/against_baselines.py adult --architecture tabm

It needs, in NNATOMY_DATA, the data sets that it names.
"""

from __future__ import annotations

import argparse
import sys
from statistics import mean, stdev

from nnatomy.benchmark.report import number
from nnatomy.catalog import architecture
from nnatomy.runs import baselines
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.folder import write_atomically
from nnatomy.runs.prepare import choose
from nnatomy.tasks import task_for
from results.against import Row, place, read, written
from results.table import PAGE

SEEDS = 5
TABLES = ("mlp", "tabm")
ROWS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "adult": (TABLES, ("accuracy", "auc")), "titanic": (TABLES, ("accuracy", "auc")), "penguins": (("mlp",), ("accuracy",)),
    "california_housing": (TABLES, ("r2",)), "mpg": (TABLES, ("r2",)), "etth1": (("lstm",), ("mse",)),
    "opsd_germany": (("lstm",), ("rmse_in_units",)), "rt_polarity": (("lstm",), ("accuracy",)),
}  # fmt: skip
"""By data set: the architectures and the metrics."""


def rows_of(data: str, name: str, seeds: int) -> list[Row]:
    """Train an architecture on a data set from each seed, and fit the baselines of its task on the same splits."""
    metrics = ROWS[data][1]
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, dict[str, float]]] = []
    seconds: list[float] = []
    for seed in range(seeds):
        recipe, dataset = choose(architecture(name), data, seed=seed, offline=True)
        fitted = fit_recipe(recipe, dataset, seed)
        ours.append(fitted.test().metrics)
        seconds.append(fitted.position.seconds)
        found = baselines.measure(task_for(recipe, dataset), dataset.test)
        theirs.append({} if found is None else {key: dict(own) for key, own in found.scores.items()})
        print(f"{name} on {data}, seed {seed}: {ours[-1]}", file=sys.stderr)
    rows = []
    for wanted in metrics:
        metric = task_for(recipe, dataset).metric(wanted)
        simple = {key: [own[key][wanted] for own in theirs] for key in theirs[0] if all(key in own for own in theirs)}
        best = max(simple, key=lambda key: mean(simple[key]) * (1 if metric.better == "higher" else -1))
        own = [scores[wanted] for scores in ours]
        deviation = stdev(own) if seeds > 1 else 0.0
        shown = ", ".join(f"{key} {mean(values):.4f}" for key, values in simple.items())
        rows.append(Row(
            data, name, wanted, f"{mean(own):.4f} ± {deviation:.4f}", shown, f"{place(metric, own, simple[best])} ({best})",
            number(mean(seconds)), str(seeds),
        ))  # fmt: skip
    return rows


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", choices=[[], *ROWS], metavar="DATA", help=f"some of {', '.join(ROWS)}; all if none")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    parser.add_argument("--architecture", help="its rows alone; all architectures of a data set if not given")
    given = parser.parse_args(words)
    for data in given.data or ROWS:
        names = ROWS[data][0]
        for name in (name for name in names if given.architecture in (None, name)):
            new = rows_of(data, name, given.seeds)
            page = PAGE.read_text(encoding="utf-8")
            rows = [row for row in read(page) if (row.data, row.architecture) != (data, name)] + new
            rows.sort(key=lambda row: (list(ROWS).index(row.data), ROWS[row.data][0].index(row.architecture)))
            write_atomically(PAGE, written(page, rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
