"""nnatomy distill: a student learns from a trained run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Json, parse_pairs, print_json, print_metrics


def distill(
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="An architecture, as nnatomy list shows it.")],
    teacher: Annotated[Path, typer.Option(metavar="RUN", help="The folder of a run, or of averaged predictions.")],
    temperature: Annotated[float, typer.Option(help="How far the answers are softened.")] = 4.0,
    soft: Annotated[float, typer.Option(help="The teacher's share of the loss, from 0 to 1.")] = 0.9,
    epochs: Annotated[int | None, typer.Option(help="Times through the training data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples in one step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="Decides initial weights and order.")] = 0,
    budget: Annotated[str | None, typer.Option(help="Fit the work into a time: 90s, 5m, 1h.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/<time>-<architecture> if not given.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. hidden=64,32.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Train an architecture with a trained run's answers as soft targets.

    On the teacher's data and split. Continue an interrupted run with nnatomy train --resume.
    """
    import nnatomy as nn
    from nnatomy.runs.folder import finite
    from nnatomy.runs.progress import counted

    found = nn.distill(
        student, teacher, temperature=temperature, soft=soft, out=out, progress=True, epochs=epochs, batch_size=batch_size,
        lr=lr, seed=seed, budget=budget, settings=parse_pairs(set_, "--set"),
    )  # fmt: skip
    if found.interrupted:
        print(f"Stopped and saved. Continue with: nnatomy train --resume {found.run.folder}", file=sys.stderr)
        if as_json:
            print_json(found.to_json())
        return 130
    teachers = nn.evaluate(teacher).metrics
    if as_json:
        print_json({**found.to_json(), "teacher": {"run": str(teacher), "metrics": finite(teachers)}})
        return 0
    print_metrics(teachers, "The teacher's scores on the same test split")
    print_metrics(found.metrics, f"The student's after {counted(found.epochs, 'epoch')} in {found.seconds:.1f} s")
    print(f"Report: {found.run.report}")
    return 0
