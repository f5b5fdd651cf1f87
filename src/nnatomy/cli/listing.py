"""`nnatomy list`: which architectures there are."""

from __future__ import annotations

from typing import Annotated

import typer

from nnatomy.cli.shared import Json, print_json, print_table


def list_(
    family: Annotated[str | None, typer.Option(help="Show only this family.")] = None, as_json: Json = False
) -> None:
    """List the architectures, by year."""
    from nnatomy.catalog import architectures

    found = [architecture for architecture in architectures().values() if family in (None, architecture.family)]
    if family is not None and not found:
        from nnatomy.errors import unknown_name

        raise unknown_name("family", family, sorted({architecture.family for architecture in architectures().values()}))
    rows = [
        (architecture.name, str(architecture.front["year"]), architecture.family, architecture.front["idea"])
        for architecture in found
    ]
    if as_json:
        print_json({"architectures": [dict(zip(("name", "year", "family", "idea"), row, strict=True)) for row in rows]})
        return
    print_table(("architecture", "year", "family", "idea"), rows)
