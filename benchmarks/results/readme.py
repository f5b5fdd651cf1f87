"""README's tables, made of what they are about: the architectures, the commands, and the rows of docs/results.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import getdoc

from nnatomy.benchmark.report import in_markdown
from nnatomy.catalog import architectures
from nnatomy.cli.main import COMMANDS
from results.table import ROOT, Row, measured

README = ROOT / "README.md"
END = "<!-- end of table -->"


def filled(readme: str, rows: Sequence[Row]) -> str:
    """Return README's text with its tables made again. Raises ValueError where a table has no place in it."""
    for name, table in (("architectures", of_architectures()), ("commands", of_commands()), ("results", of_results(rows))):
        begin = f"<!-- table: {name} -->"
        before, _, rest = readme.partition(begin)
        _, end, after = rest.partition(END)
        if not end:
            raise ValueError(f"README.md must have {begin}, and {END} after it. Received a text without them. Restore both.")
        readme = f"{before}{begin}\n\n{table}\n\n{END}{after}"
    return readme


def of_architectures() -> str:
    """Year, name, family and idea of each architecture."""
    rows: list[tuple[str, ...]] = [
        (str(a.front["year"]), f"`{a.name}`", a.family, a.front["idea"]) for a in architectures().values()
    ]
    return in_markdown((("year", "architecture", "family", "idea"), rows))


def of_commands() -> str:
    """The first sentence of each command's help."""
    rows: list[tuple[str, ...]] = [(f"`nnatomy {c.__name__.rstrip('_')}`", sentence(c)) for c in COMMANDS]
    return in_markdown((("command", "what it does"), rows))


def sentence(command: Callable[..., object]) -> str:
    """The first paragraph of a command's help, on one line."""
    return " ".join((getdoc(command) or "").partition("\n\n")[0].split())


def of_results(rows: Sequence[Row]) -> str:
    """The table of the score that each command reaches, and of the time it takes."""
    defaults = {name: next(iter(measured(architectures()[name])))[1] for name in {row.architecture for row in rows}}
    header = ("command", "metric", "test score", "its PyTorch twin", "best without a network", "seconds")
    table: list[tuple[str, ...]] = []
    for row in rows:
        source, _, variant = row.recipe.partition("/")[2].partition(" ")
        data = "" if row.recipe == defaults[row.architecture] else f" --variant {variant}" if variant else f" --data {source}"
        cells = row.cells()
        table.append((f"`nnatomy train {row.architecture}{data}`", row.metric, cells[3], cells[4], cells[6], cells[7]))
    return in_markdown((header, table))
