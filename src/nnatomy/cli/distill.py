"""`nnatomy distill`: a student learns from a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.options import Given, with_options
from nnatomy.cli.shared import Json, print_json, print_metrics
from nnatomy.cli.train import show
from nnatomy.runs.request import OF_THE_TEACHER, Request


@with_options(Request, without=(*OF_THE_TEACHER, "teacher"))
def distill(
    *,
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="A name from nnatomy list, or your folder.")],
    teacher: Annotated[Path, typer.Option(metavar="RUN", help="Learn from this run, or from averaged predictions.")],
    given: Given,
    out: Annotated[Path | None, typer.Option(help="Write to this folder; runs/<time>-<architecture> if not given.")] = None,
    as_json: Json = False,
) -> int:
    """Train an architecture with a trained run's outputs as soft targets.

    On the teacher's data and split. Continue an interrupted run with nnatomy train --resume.
    """
    import nnatomy as nn
    from nnatomy.runs.folder import finite

    found = nn.distill(student, teacher, out=out, progress=True, **given)
    if found.interrupted:
        return show(found, as_json)
    teachers = nn.evaluate(teacher).metrics
    if as_json:
        print_json({**found.to_json(), "teacher": {"run": str(teacher), "metrics": finite(teachers)}})
        return 0
    print_metrics(teachers, "The teacher's scores on the same test split")
    return show(found, as_json)
