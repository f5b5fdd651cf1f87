"""`nnatomy predict`: a trained run, or an exported file, on new data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Backend, Device, Json, print_data, print_json
from nnatomy.errors import UserError
from nnatomy.printing import print_text

SHOWN = 3
"""Files that are named of those that were written."""


def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="The folder of a run, or a .onnx file that nnatomy export wrote.")
    ],
    data: Annotated[str, typer.Option(help="Read a file like the training data; targets are not needed.")],
    out: Annotated[Path | None, typer.Option(help="Write the predictions to this new CSV file or folder.")] = None,
    backend: Backend = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Answer for new data with a trained run, or with the file it was exported to."""
    import nnatomy as nn
    from nnatomy.runs import answers

    if out is not None and out.exists():
        raise UserError(f"--out must name a new file. Received {out}, which exists. Choose another name or remove it.")
    answer = nn.predict(run, data, backend=backend, device=device, progress=True)
    answers.check_out(answer, out)
    if as_json:
        print_json({"run": str(run), "predictions": answers.lines(answer)})
    if out is not None:
        written = answers.write_answer(answer, out)
        more = f" and {len(written) - SHOWN} more next to it" if len(written) > SHOWN else ""
        print_text(f"Predictions written: {', '.join(map(str, written[:SHOWN]))}{more}.", file=sys.stderr)
    elif not as_json:
        print_data(answers.as_csv(answer))
