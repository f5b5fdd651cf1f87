"""`nnatomy export`: a trained run as a file for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Json, print_json
from nnatomy.printing import print_text


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    to: Annotated[str, typer.Option(help="Write onnx or safetensors.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="Write to this file; RUN/FORMAT/model.FORMAT if not given."),
    ] = None,
    comparison: Annotated[
        Path | None,
        typer.Option(help="Show the deviations of this comparison's folder in the model card."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a trained model as one file for use elsewhere, checked, with a model card next to it."""
    from nnatomy.exporting import export as exported

    found = exported(run, to, out, comparison)
    if as_json:
        print_json(found.to_json())
        return
    if to == "onnx":
        agrees = f"ONNX Runtime agrees on batches of 1 and 7 ({found.checked_on})"
        print_text(f"{agrees}: largest difference {found.difference:.1e}.")
    for path in found.files:
        print_text(path)
