"""`nnatomy tune`: which settings of an architecture fit these data best, and how much is that worth?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.options import Given, refuse_beside_resume, with_options
from nnatomy.cli.shared import Json, print_json, print_table
from nnatomy.errors import UserError
from nnatomy.printing import print_text
from nnatomy.studies.tuning.plan import Plan


@with_options(Plan)
def tune(
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="ARCHITECTURE", help="A name from nnatomy list, or your folder.")
    ] = None,
    given: Given,
    jobs: Annotated[int | None, typer.Option(help="Use this many processes; one a processor if not given.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write to this folder; tunings/<time>-<architecture>-<data> if not given.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the tuning in this folder, or join it.")] = None,
    as_json: Json = False,
) -> None:
    """Search an architecture's settings for your data, and measure what that gains.

    Writes a folder with the best recipe, for nnatomy train --recipe, and a report.
    """
    import nnatomy as nn
    from nnatomy.studies.tuning.tune import NOT_TRIED, resume_tuning

    if resume is not None:
        budget = given.pop("budget", None)
        refuse_beside_resume(Plan, "a tuning", given, ARCHITECTURE=name, out=out)
        found = resume_tuning(resume, jobs=jobs, budget=budget, progress=True)
    elif name is None:
        raise UserError(
            "tune needs the name of an architecture. Received none. Run nnatomy list for the names, then, for example, "
            "nnatomy tune mlp."
        )
    else:
        found = nn.tune(name, given.pop("data", None), out=out, jobs=jobs, progress=True, **given)
    if as_json:
        print_json(found.to_json())
        return
    rows = [(key, found.own.get(key, ""), value) for key, value in found.best.items()]
    print_table(("setting", "recipe", "best"), rows)
    print_text(found.verdict())
    if left := found.trials.get(NOT_TRIED):
        tried = sum(found.trials.values()) - left
        print_text(f"The time budget ended the search after {tried} of {tried + left} trials; fits were cut short, too.")
    print_text(f"Recipe: {found.recipe} (nnatomy train {found.plan.architecture} --recipe ...)")
    print_text(f"Report: {found.report}")
