"""`nnatomy serve`: a trained run as an HTTP service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nnatomy.cli.shared import Json, print_json
from nnatomy.printing import print_text


def serve(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    port: Annotated[int, typer.Option(help="Listen on this port; 0 for any free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Listen on this address; only this machine reaches the default.")] = "127.0.0.1",
    allow: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Accept this host name, too.")] = None,
    workers: Annotated[int, typer.Option(help="Run this many processes with the model.")] = 1,
    most_bytes: Annotated[int, typer.Option(help="Accept requests of this many bytes.")] = 8 * 2**20,
    most_rows: Annotated[int, typer.Option(help="Accept requests of this many rows.")] = 4096,
    most_seconds: Annotated[float, typer.Option(help="Answer within this many seconds.")] = 30.0,
    as_json: Json = False,
) -> None:
    """Answer for a trained run over HTTP.

    GET / shows a form. POST /predict takes JSON, CSV or a picture; GET /schema, /openapi.json, /health and /metrics.
    """
    from nnatomy.serving import Limits
    from nnatomy.serving import serve as answer

    def announce(place: dict[str, Any]) -> None:
        if as_json:
            print_json(place)
        else:
            url = place["url"]
            print_text(f"Serving {place['run']}. Open {url} or POST to {url}/predict; Ctrl-C stops it.")
        sys.stdout.flush()

    limits = Limits(most_bytes, most_rows, most_seconds)
    answer(run, host, port, workers=workers, allow=allow or (), limits=limits, announce=announce)
