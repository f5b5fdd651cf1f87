"""`nnatomy train`: a new run, or one that is continued."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnatomy.cli.options import Given, refuse_beside_resume, with_options
from nnatomy.cli.shared import Json, print_json, print_metrics
from nnatomy.errors import UserError
from nnatomy.printing import print_text
from nnatomy.runs.request import DISTILLATION, Request

if TYPE_CHECKING:
    from nnatomy.runs.result import Result


@with_options(Request, without=DISTILLATION)
def train(
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="ARCHITECTURE", help="A name from nnatomy list, or your folder.")
    ] = None,
    given: Given,
    hosts: Annotated[
        str | None, typer.Option(metavar="FILE|auto", help="Run on these hosts, one host[:port] a line; auto: the cluster's.")
    ] = None,
    host_index: Annotated[int | None, typer.Option(help="Number this machine among the hosts, from 0.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Use a recipe's file from nnatomy tune.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this folder; runs/<time>-<architecture> if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.")] = None,
    as_json: Json = False,
) -> int:
    """Train an architecture on its own data or on yours.

    Writes a folder with the model, its scores and a report.
    """
    import nnatomy as nn

    if resume is not None:
        refuse_beside_resume(Request, "a run", given, ARCHITECTURE=name, recipe=recipe, out=out)
        result = nn.resume(resume, progress=True, hosts=hosts, host_index=host_index, **given)
        return show(result, as_json, hosts)
    if name is None:
        raise UserError(
            "train needs the name of an architecture. Received none. Run nnatomy list for the names, then, for example, "
            "nnatomy train lenet5."
        )
    if recipe is not None:
        from nnatomy.studies.tuning.tune import read_recipe

        file = read_recipe(recipe, name)
        given = {k: v for k, v in file.items() if v is not None} | given | {
            "settings": file.get("settings", {}) | given.get("settings", {})
        }  # fmt: skip
    result = nn.train(name, given.pop("data", None), out=out, progress=True, hosts=hosts, host_index=host_index, **given)
    return show(result, as_json, hosts)


def show(result: Result, as_json: bool, hosts: str | None = None) -> int:
    """Print the result of a run, and return the exit code."""
    from nnatomy.runs.progress import counted

    if not result.hosts.first:
        return 130 if result.interrupted else 0
    if result.interrupted:
        together = f" --hosts {hosts}" if hosts else ""
        print_text(f"Stopped and saved. Continue with: nnatomy train --resume {result.run.folder}{together}", file=sys.stderr)
    if as_json:
        print_json(result.to_json())
    if as_json or result.interrupted:
        return 130 if result.interrupted else 0
    if result.stopped:
        print_text(f"Stopped after epoch {result.epochs}: {result.stopped}.")
    title = f"Test scores after {counted(result.epochs, 'epoch')} in {result.seconds:.1f} s"
    print_metrics(result.metrics, title, result.baselines)
    wanted = result.prepared.recipe.score if result.prepared.request.data is None else {}
    for metric, goal in wanted.items():
        print_text(f"The recipe's goal for {metric} is {goal:g}.")
    print_text(f"Report: {result.run.report}")
    return 0
