"""`nnatomy evaluate`: a trained run on held-out data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Backend, Device, Json, print_json, print_metrics
from nnatomy.errors import UserError


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    data: Annotated[str | None, typer.Option(help="Evaluate on this file with targets; the test data if not given.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Evaluate on train, validation or test; test if not given.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Measure predictors without a network on the same data.")
    ] = True,
    backend: Backend = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure a trained run on held-out data."""
    import nnatomy as nn
    from nnatomy.runs.folder import finite

    if data is not None and split is not None:
        raise UserError(f"--split names a part of the run's own data. Received it with --data {data}. Leave one of them out.")
    split = "test" if split is None else split
    found = nn.evaluate(run, data, split, baselines=baselines, backend=backend, device=device, progress=True)
    beside = found.baselines
    if as_json:
        where = {"run": str(run), "data": data, "split": split if data is None else None}
        compared = {} if beside is None else {"baselines": beside.to_json()}
        print_json({**where, "metrics": finite(found.metrics), **compared})
        return
    print_metrics(found.metrics, f"Scores on {data or 'the run’s ' + split + ' data'}", beside)
