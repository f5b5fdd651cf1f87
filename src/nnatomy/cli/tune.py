"""`nnatomy tune`: which settings of an architecture fit these data best, and how much is that worth?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nnatomy.cli.shared import Json, parse_pairs, print_json, print_table
from nnatomy.errors import UserError


def tune(
    name: Annotated[
        str | None, typer.Argument(metavar="ARCHITECTURE", help="An architecture, as nnatomy list shows it.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A data set's name, or a path: CSV, MNIST folder, image folder, text.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    trials: Annotated[int | None, typer.Option(help="Settings tried in each search; 30 if not given.")] = None,
    cv: Annotated[int | None, typer.Option(help="Outer folds, each with its own search; 3 if not given, 0 for none.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Fits for each score on an outer fold; 2 if not given.")] = None,
    how: Annotated[str | None, typer.Option(help="bayes, random or grid.")] = None,
    space: Annotated[
        list[str] | None, typer.Option(metavar="KEY=RANGE", help="What is searched: lr=1e-4..1e-1, hidden=64|128,64.")
    ] = None,
    prune: Annotated[bool, typer.Option("--prune/--no-prune", help="Give lagging trials up.")] = True,
    epochs: Annotated[int | None, typer.Option(help="Times through the training data, for every trial.")] = None,
    budget: Annotated[str | None, typer.Option(help="Fit the whole tuning into a time: 90s, 10m, 1h.")] = None,
    limit: Annotated[int | None, typer.Option(help="Let at most so many examples take part.")] = None,
    groups: Annotated[str | None, typer.Option(help="A column: rows with the same value are never parted.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column to keep although it gives the target away.")] = None,
    types: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=TYPE", help="What a column is: numeric, categorical ...")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="A JSON file with labelled anomalies.")] = None,
    window: Annotated[int | None, typer.Option(help="Tokens or rows that a model sees at once.")] = None,
    horizon: Annotated[int | None, typer.Option(help="Rows to forecast.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides folds, fits and, with --jobs 1, the search.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Fix a setting of the recipe.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes that try at once; one for each processor if not given.")] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="A database for the trials; a file in the folder if not given.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="What computes; numpy if not given.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The tuning's folder; tunings/<time>-<architecture>-<data> if not given.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the tuning in this folder, or join it while it runs.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download.")] = False,
    as_json: Json = False,
) -> None:
    """Search an architecture's settings for your data, and measure what that gains.

    Writes a folder with the best recipe, for nnatomy train --recipe, and a report.
    """
    import nnatomy as nn
    from nnatomy.studies.tuning.tune import resume_tuning

    asked: dict[str, Any] = {
        "target": target, "trials": trials, "cv": cv, "seeds": seeds, "how": how, "epochs": epochs, "budget": budget,
        "limit": limit, "groups": groups, "keep": keep or None, "types": parse_pairs(types, "--types") or None,
        "labels": labels, "window": window, "horizon": horizon, "seed": seed, "storage": storage, "backend": backend,
        "space": parse_pairs(space, "--space") or None, "settings": parse_pairs(set_, "--set") or None,
    }  # fmt: skip
    given = {key: value for key, value in asked.items() if value is not None}
    if resume is not None:
        flags = (("--data", data), ("--out", out), ("--no-prune", not prune or None), ("--offline", offline or None))
        places = [flag for flag, value in flags if value is not None]
        others = [*([name] if name else []), *places, *(f"--{'set' if key == 'settings' else key}" for key in given)]
        if others:
            raise UserError(
                f"--resume continues a tuning as it was begun, received {others[0]} too; leave it out, or start a new one."
            )
        found = resume_tuning(resume, jobs=jobs, progress=True)
    else:
        if name is None:
            raise UserError(
                "tune needs the name of an architecture, received none; nnatomy list shows them, such as nnatomy tune mlp."
            )
        found = nn.tune(name, data, out=out, jobs=jobs, progress=True, prune=prune, offline=offline, **given)
    if as_json:
        print_json(found.to_json())
        return
    rows = [(key, found.own.get(key, ""), value) for key, value in found.best.items()]
    print_table(("setting", "recipe", "best"), rows)
    print(found.verdict())
    print(f"Recipe: {found.recipe} (nnatomy train {found.plan.architecture} --recipe ...)")
    print(f"Report: {found.report}")
