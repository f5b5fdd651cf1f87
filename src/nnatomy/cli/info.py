"""`nnatomy info`: the page of an architecture."""

from __future__ import annotations

from typing import Annotated

import typer

from nnatomy.cli.shared import Json, print_json


def info(
    name: Annotated[str, typer.Argument(help="A name from nnatomy list.")], as_json: Json = False
) -> None:
    """Show an architecture's page: what it is, why, how, when, sources."""
    from nnatomy.atlas.terminal import show_page
    from nnatomy.catalog import architecture

    found = architecture(name)
    if as_json:
        print_json({"name": found.name, "family": found.family, **found.front, "page": found.page})
        return
    show_page(found)
