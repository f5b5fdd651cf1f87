"""`nnatomy bench`: this machine's speed, ours and others'."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Json, parse_names, print_json, print_table


def bench(
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="Workloads, such as lenet,gpt; all if not given.")
    ] = None,
    peers: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="Of torch, compile, jax, keras; all if not given.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Of each library; one for each processor if not given.")] = None,
    what: Annotated[str, typer.Option(help="train, infer or all.")] = "all",
    quick: Annotated[bool, typer.Option("--quick", help="Short blocks, to see that it runs.")] = False,
    eager: Annotated[bool, typer.Option("--eager", help="Time our own steps without plans, too.")] = False,
    fused_adam: Annotated[bool, typer.Option("--fused-adam", help="Let PyTorch use its fused Adam.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR|FILE.md", help="Write a page, and its picture beside it.")] = None,
    figures: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all figures to this file.")] = None,
    as_json: Json = False,
) -> int:
    """Measure our speed next to PyTorch, JAX and Keras on this machine's CPU.

    Compares answers before it times anything.
    """
    from nnatomy.benchmark import measure, page, report, tables

    settings = measure.chosen(parse_names(only), parse_names(peers), threads, what, quick, eager, fused_adam)
    places = report.places(out, figures)
    found = measure.bench(settings, log=lambda line: print(line, file=sys.stderr, flush=True))
    page.write(found, *places)
    if as_json:
        print_json(found)
        return 0 if report.agreed(found) else 1
    for title, (header, rows) in tables.sections(found):
        print(title)
        print_table(header, rows)
    for line in tables.closing(found):
        print(line)
    return 0 if report.agreed(found) else 1
