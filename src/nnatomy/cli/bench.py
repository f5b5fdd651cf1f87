"""`nnatomy bench`: this machine's speed, ours and others'."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Json, parse_names, print_json, print_table
from nnatomy.printing import print_text


def bench(
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="Measure these workloads, such as lenet,gpt; all if not given.")
    ] = None,
    peers: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="Measure torch, compile, jax, keras; all if not given.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each library; one a processor if not given.")] = None,
    what: Annotated[str, typer.Option(help="Measure train, infer or all.")] = "all",
    quick: Annotated[bool, typer.Option("--quick", help="Time short blocks, only to see that it runs.")] = False,
    eager: Annotated[bool, typer.Option("--eager", help="Also time our own steps without plans.")] = False,
    fused_adam: Annotated[bool, typer.Option("--fused-adam", help="Let PyTorch use its fused Adam.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR|FILE.md", help="Write a page, with its picture next to it.")] = None,
    figures: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all figures to this file.")] = None,
    as_json: Json = False,
) -> int:
    """Measure our speed next to PyTorch, JAX and Keras on this machine's CPU.

    Compares outputs before it times anything.
    """
    from nnatomy.benchmark import measure, page, report, tables

    settings = measure.chosen(parse_names(only), parse_names(peers), threads, what, quick, eager, fused_adam)
    places = report.places(out, figures)
    found = measure.bench(settings, log=lambda line: print_text(line, file=sys.stderr, flush=True))
    page.write(found, *places)
    if as_json:
        print_json(found)
        return 0 if report.agreed(found) else 1
    for title, (header, rows) in tables.sections(found):
        print_text(title)
        print_table(header, rows)
    for line in tables.closing(found):
        print_text(line)
    return 0 if report.agreed(found) else 1
