"""`nnatomy export`: a trained run as a file for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Json, print_json


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    to: Annotated[str, typer.Option(help="onnx or safetensors.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="The model's file; RUN/onnx/model.onnx or RUN/safetensors/model.safetensors if not given."),
    ] = None,
    comparison: Annotated[
        Path | None,
        typer.Option(help="A finished comparison with this architecture on the same data: the card tells its spread."),
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
        print(f"ONNX Runtime agrees on batches of 1 and 7 ({found.checked_on}): largest difference {found.difference:.1e}.")
    for path in found.files:
        print(path)
