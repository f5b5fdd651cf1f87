"""`nnatomy compare`: which architecture fits these data, and how sure is that?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nnatomy.cli.shared import Json, parse_pairs, print_json, print_table
from nnatomy.errors import UserError


def compare(
    architectures: Annotated[
        list[str] | None, typer.Argument(metavar="[ARCHITECTURE]...", help="Architectures, as nnatomy list shows them.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A data set's name, or a path: CSV, MNIST folder, image folder, text.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    cv: Annotated[int | None, typer.Option(help="Folds of the cross-validation; 5 if not given.")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How often each architecture is trained in each fold; 3 if not given.")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Fit the whole comparison into a time: 90s, 10m, 1h.")] = None,
    limit: Annotated[int | None, typer.Option(help="Let at most so many examples take part.")] = None,
    groups: Annotated[str | None, typer.Option(help="A column: rows with the same value are never parted.")] = None,
    metric: Annotated[str | None, typer.Option(help="What decides; accuracy, r2, mse ... by the task if not given.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times through the training data, for every architecture.")] = None,
    curve: Annotated[bool, typer.Option("--curve/--no-curve", help="Learning curves over smaller training sets.")] = True,
    keep: Annotated[list[str] | None, typer.Option(help="A column to keep although it gives the target away.")] = None,
    types: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=TYPE", help="What a column is: numeric, categorical ...")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="A JSON file with labelled anomalies.")] = None,
    window: Annotated[int | None, typer.Option(help="Tokens or rows that a model sees at once.")] = None,
    horizon: Annotated[int | None, typer.Option(help="Rows to forecast.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides splits, and the first of the seeds; 0 if not given.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Worker processes; one for each processor if not given.")] = None,
    backend: Annotated[str | None, typer.Option(help="What computes; numpy if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="The comparison's folder; comparisons/<time>-<data> if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the comparison in this folder.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download.")] = False,
    as_json: Json = False,
) -> None:
    """Compare architectures on your data: the same folds for all, baselines, costs and significance.

    Writes a folder with every score and a report.
    """
    import nnatomy as nn
    from nnatomy.studies.comparison.compare import legend, resume_comparison, table

    asked: dict[str, Any] = {
        "target": target, "cv": cv, "seeds": seeds, "budget": budget, "limit": limit, "groups": groups, "metric": metric,
        "epochs": epochs, "keep": keep or None, "types": parse_pairs(types, "--types") or None, "labels": labels,
        "window": window, "horizon": horizon, "seed": seed, "backend": backend,
    }  # fmt: skip
    given = {name: value for name, value in asked.items() if value is not None}
    if resume is not None:
        flags = (("--data", data), ("--out", out), ("--no-curve", not curve or None), ("--offline", offline or None))
        named = [flag for flag, value in flags if value is not None]
        others = [*(architectures or ()), *named, *(f"--{name}" for name in given)]
        if others:
            raise UserError(
                f"--resume continues a comparison as it was begun, received {others[0]} too; leave it out, or start a new one."
            )
        found = resume_comparison(resume, jobs=jobs, progress=True)
    else:
        found = nn.compare(
            *(architectures or ()), data=data, out=out, jobs=jobs, progress=True, curve=curve, offline=offline, **given
        )
    if as_json:
        print_json(found.to_json())
        return
    header, rows = table(found)
    print_table(header, rows)
    print(legend(found))
    for line in found.verdicts():
        print(line)
    for name, reason in found.refused.items():
        print(f"Left out: {name}: {reason}", file=sys.stderr)
    for notice in found.notices:
        print(f"Note: {notice}", file=sys.stderr)
    print(f"Report: {found.report}")
