"""`nnatomy draw`: how an architecture or a run works, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Json, print_json


def draw(
    subject: Annotated[str, typer.Argument(metavar="ARCHITECTURE|RUN", help="An architecture, or the folder of a run.")],
    what: Annotated[
        str | None,
        typer.Option(help="A view: architecture, activations, filters, saliency, gradients, confusion, errors or embedding."),
    ] = None,
    tsne: Annotated[bool, typer.Option("--tsne", help="Lay the embedding out by t-SNE, not by principal components.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="The picture's file: .png or .svg; drawings/<architecture>.png if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw how an architecture works, from a trained model.

    A run's model, or one that is trained for the picture now. Without --what, the architecture's own picture.
    """
    import nnatomy as nn

    path, source = nn.draw(subject, out, what, tsne)
    if as_json:
        print_json({"picture": str(path), "run": source})
    else:
        print(f"Picture: {path}")
