"""`nnatomy compare`: which architecture fits these data, and how sure is that?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.options import Given, refuse_beside_resume, with_options
from nnatomy.cli.shared import Json, print_json, print_table
from nnatomy.printing import print_text
from nnatomy.studies.comparison.protocol import Protocol


@with_options(Protocol)
def compare(
    *,
    architectures: Annotated[
        list[str] | None, typer.Argument(metavar="[ARCHITECTURE]...", help="Names from nnatomy list, or your folders.")
    ] = None,
    given: Given,
    jobs: Annotated[int | None, typer.Option(help="Use this many worker processes; one a processor if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this folder; comparisons/<time>-<data> if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the comparison in this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Compare architectures on your data: the same folds for all, baselines, costs and significance.

    Writes a folder with every score and a report.
    """
    import nnatomy as nn
    from nnatomy.studies.comparison.compare import legend, resume_comparison, table

    if resume is not None:
        budget = given.pop("budget", None)
        refuse_beside_resume(Protocol, "a comparison", given, ARCHITECTURE=architectures, out=out)
        found = resume_comparison(resume, jobs=jobs, budget=budget, progress=True)
    else:
        found = nn.compare(*(architectures or ()), data=given.pop("data", None), out=out, jobs=jobs, progress=True, **given)
    if as_json:
        print_json(found.to_json())
        return
    header, rows = table(found)
    print_table(header, rows)
    print_text(legend(found))
    for line in found.verdicts():
        print_text(line)
    for name, reason in found.refused.items():
        print_text(f"Left out: {name}: {reason}", file=sys.stderr)
    for notice in found.notices:
        print_text(f"Note: {notice}", file=sys.stderr)
    print_text(f"Report: {found.report}")
