"""nnatomy average: several runs as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Json, print_json, print_table
from nnatomy.printing import print_text


def average(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of runs on one data set and split.")],
    how: Annotated[
        str, typer.Option(help="Average weights (runs with one start) or predictions (any runs).")
    ] = "weights",
    out: Annotated[Path | None, typer.Option(help="Write to this folder; runs/<time>-average-NAME if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Average trained runs: their weights, or their predictions.

    Shows the scores of the average and of each run alone on the test split.
    """
    import nnatomy as nn

    found = nn.average(runs, how=how, out=out, progress=True)
    if as_json:
        print_json(found.to_json())
        return
    names = list(found.metrics)
    rows = [(folder, metrics) for folder, metrics in found.members.items()] + [(f"average of {how}", found.metrics)]
    print_table(("run", *names), [(name, *(f"{metrics.get(n, float('nan')):.4f}" for n in names)) for name, metrics in rows])
    print_text(f"Folder: {found.run.folder}")
