"""`nnatomy draw`: how an architecture or a run works, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Json, print_json
from nnatomy.printing import print_text


def draw(
    subject: Annotated[str, typer.Argument(metavar="ARCHITECTURE|RUN", help="An architecture, or the folder of a run.")],
    what: Annotated[
        str | None,
        typer.Option(help="Draw this view, such as saliency; another word lists them all."),
    ] = None,
    tsne: Annotated[bool, typer.Option("--tsne", help="Place the embedding by t-SNE, not by principal components.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write to this .png or .svg; drawings/<architecture>.png if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw how an architecture works, from a trained model.

    A run's model, or one that is trained for the first picture and kept for further ones. Without --what, the architecture's
    own picture.
    """
    import nnatomy as nn

    path, source = nn.draw(subject, out, what, tsne)
    if as_json:
        print_json({"picture": str(path), "run": source})
    else:
        print_text(f"Picture: {path}")
