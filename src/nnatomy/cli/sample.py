"""`nnatomy sample`: something that a trained run makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Backend, Device, Json, print_json


def sample(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    backend: Backend = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Make something with a trained run, such as a text."""
    import nnatomy as nn

    made = nn.sample(run, backend=backend, device=device)
    if as_json:
        print_json({"run": str(run), "sample": made})
    else:
        print(made)
