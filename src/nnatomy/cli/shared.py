"""Parts of several commands: common flags, and tables and JSON as they are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnatomy.errors import UserError
from nnatomy.printing import print_text, printable

if TYPE_CHECKING:
    from nnatomy.runs.baselines import Beside

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Backend = Annotated[str | None, typer.Option(help="Compute with numpy or jax; that of the training if not given.")]
Device = Annotated[str | None, typer.Option(help="Compute on this device of jax: cpu, gpu, tpu, gpu:1, ...")]


def parse_pairs(texts: list[str] | None, flag: str, example: str) -> dict[str, str]:
    """Return NAME=VALUE words as a dictionary. Raises UserError for another form."""
    pairs = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise UserError(f"{flag} takes name=value. Received {text!r}. Use, for example, {flag} {example}.")
        pairs[key] = value
    return pairs


def parse_names(texts: list[str] | None) -> list[str] | None:
    return None if texts is None else [name for text in texts for name in text.split(",") if name]


def print_metrics(metrics: dict[str, float], title: str, beside: Beside | None = None) -> None:
    """Print scores, one line each; with baselines, a column for each of them, after the sentence that compares them."""
    columns = {"": metrics} if beside is None else {"network": metrics, **beside.scores}
    width, widths = max(map(len, metrics)), [max(len(name), 8 if name else 0) for name in columns]
    if beside is not None:
        print_text(beside.headline)
    print_text(title)
    if beside is not None:
        print_text(f"  {'':<{width}}  " + "  ".join(f"{name:>{w}}" for name, w in zip(columns, widths)))
    for name in metrics:
        values = [f"{own[name]:.4f}" if name in own else "-" for own in columns.values()]
        print_text(f"  {name:<{width}}  " + "  ".join(f"{value:>{w}}" for value, w in zip(values, widths)))


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for i, column in enumerate(header):
        table.add_column(column, overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = 140
    console.print(table)


def print_json(value: Any) -> None:
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    print_text(json.dumps(value, ensure_ascii=not unicode))


def print_data(text: str, end: str = "") -> None:
    """Print data as they are; on a terminal, without the control characters that they may hold."""
    (print_text if sys.stdout.isatty() else print)(text, end=end)
