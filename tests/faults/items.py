"""A row of the table of faults that users found: its item, its smallest input, and the right answer."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nnatomy as nn


class Item(NamedTuple):
    """`act(folder)` must be `right`: equal to it, or for words contain them."""

    number: int
    name: str
    act: Callable[[Path], Any]
    right: Any


def refusal(call: Callable[[], Any]) -> Callable[[Path], str]:
    """The sentence with which a call is refused."""

    def act(folder: Path) -> str:
        try:
            return f"not refused: {call()}"
        except (nn.UserError, AttributeError, TypeError) as problem:  # the words decide
            return str(problem)

    return act


def run(folder: Path, line: str) -> str:
    """Run a command line inside a folder and return its exit code and all that it said."""
    from nnatomy.cli.main import main

    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(line.split())
    return f"exit {code}\n{said.getvalue()}"


def column(path: Path, name: str) -> list[str]:
    """A column of a CSV file."""
    with path.open(newline="") as file:
        return [row[name] for row in csv.DictReader(file)]
