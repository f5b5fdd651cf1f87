"""The report of a verification: differences and times, as tables, as JSON and on an architecture's page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nnatomy.errors import UserError
from nnatomy.showing import Face, Shown

LIMITS = {"float64": 1e-9, "float32": 1e-4}
"""The largest relative difference that passes."""
TITLES = {"torch": "PyTorch", "keras": "Keras"}
"""Names of the twins in tables; a reference and a library go by their own."""
MEASURES = ("outputs", "loss", "gradients", "weights", "buffers", "own steps")


@dataclass(frozen=True)
class Comparison:
    """The largest relative difference from one twin, in one precision, of each thing that is compared; see `verify`."""

    case: str
    twin: str
    precision: str
    limit: float
    differences: Mapping[str, float]
    """By what is compared, of MEASURES; infinite where it did not come to a comparison, absent where it does not apply."""
    first_bad: str = ""
    """The place of the first difference above the limit; empty where there is none."""

    @property
    def passed(self) -> bool:
        return not self.first_bad and bool(self.differences) and all(d <= self.limit for d in self.differences.values())

    def to_json(self) -> dict[str, Any]:
        finite = {measure: d if math.isfinite(d) else None for measure, d in self.differences.items()}
        return {**asdict(self), "differences": finite, "passed": self.passed}


@dataclass(frozen=True)
class Timing:
    """Median seconds of a forward and backward pass in float32 on one thread, for ours and each twin."""

    case: str
    examples: int
    seconds: dict[str, float]

    def ratio(self, twin: str = "torch") -> float:
        """The ratio of our time to the twin's."""
        return self.seconds["nnatomy"] / self.seconds[twin]


@dataclass(frozen=True, repr=False)
class Verification(Shown):
    """The result of verifying one architecture."""

    architecture: str
    comparisons: tuple[Comparison, ...]
    timings: tuple[Timing, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """True if every difference is within its limit; nothing compared is nothing proven."""
        return bool(self.comparisons) and all(comparison.passed for comparison in self.comparisons)

    def to_json(self) -> dict[str, Any]:
        """Plain values; a difference that is not finite is null."""
        comparisons = [comparison.to_json() for comparison in self.comparisons]
        return {"passed": self.passed, "comparisons": comparisons, "timings": [asdict(t) for t in self.timings]}

    def face(self) -> Face:
        equal = sum(c.passed for c in self.comparisons)
        said = f"{equal} of {len(self.comparisons)} comparisons are equal"
        return Face(f"{self.architecture} and its twins", said, self.table())

    def table(self) -> list[tuple[str, ...]]:
        """A heading and one row for each comparison, for a terminal."""
        rows: list[tuple[str, ...]] = [("architecture", "case", "twin", "precision", *MEASURES, "verdict")]
        for c in self.comparisons:
            numbers = [_short(c.differences[measure]) if measure in c.differences else "-" for measure in MEASURES]
            rows.append(
                (self.architecture, c.case, c.twin, c.precision, *numbers, "equal" if c.passed else f"DIFFERS: {c.first_bad}")
            )
        return rows

    def times(self) -> list[tuple[str, ...]]:
        """A heading and one row for each case: milliseconds of a forward and backward pass."""
        rows: list[tuple[str, ...]] = [
            ("architecture", "case", "examples", "nnatomy ms", "torch ms", "keras ms", "nnatomy / torch")
        ]
        for t in self.timings:
            times = [f"{t.seconds[side] * 1e3:.2f}" if side in t.seconds else "" for side in ("nnatomy", "torch", "keras")]
            rows.append(
                (self.architecture, t.case, str(t.examples), *times, f"{t.ratio():.1f}" if "torch" in t.seconds else "")
            )
        return rows

    def page_rows(self) -> list[tuple[str, ...]]:
        """A heading and one row for each case and twin, for the architecture's page."""
        gradients = any("gradients" in c.differences for c in self.comparisons)  # which a reference does not have
        shown = ("outputs", "gradients", "weights") if gradients else ("outputs", "own steps")
        rows: list[tuple[str, ...]] = [("Case", "Twin", *(f"{measure}, {' / '.join(LIMITS)}" for measure in shown))]
        by = {(c.case, c.twin, c.precision): c for c in self.comparisons}
        for case, twin in dict.fromkeys((c.case, c.twin) for c in self.comparisons):
            found = [by.get((case, twin, precision)) for precision in LIMITS]
            cells = [" / ".join(_short(c.differences[m]) if c and m in c.differences else "-" for c in found) for m in shown]
            rows.append((case, TITLES.get(twin, twin), *cells))
        return rows


def show(results: Sequence[Verification]) -> None:
    """Print what was found as tables."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = 160
    tables: list[tuple[str, Callable[[Verification], list[tuple[str, ...]]]]] = [
        ("Largest relative differences", Verification.table),
        ("A forward and backward pass on one thread, float32", Verification.times),
    ]
    for title, rows_of in tables:
        rows = [rows_of(result) for result in results]
        if not any(len(each) > 1 for each in rows):
            continue
        table = Table(*rows[0][0], title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for row in (row for each in rows for row in each[1:]):
            table.add_row(*row)
        console.print(table)
    limits = ", ".join(f"{limit:.0e} in {name}" for name, limit in LIMITS.items())
    failed = [result.architecture for result in results if not result.passed]
    verdict = (
        f"DIFFERENT: {', '.join(failed)}" if failed else f"{len(results)} of {len(results)} architectures equal their twins"
    )
    console.print(f"{verdict} (limits: {limits}).", highlight=False)


def fill_table(page_text: str, name: str, rows: Sequence[Sequence[str]]) -> str:
    """The page with a Markdown table of `rows`, the heading first, inside its block `<!-- table: name -->`.

    Raises UserError where the page has no such block.
    """
    block = re.compile(rf"(<!-- table: {re.escape(name)} -->).*?(<!-- /table -->)", re.DOTALL)
    if not block.search(page_text):
        raise UserError(
            f"The page must have a place for the table {name!r}. Received none. Add <!-- table: {name} --> and <!-- /table -->."
        )
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return block.sub(lambda match: "\n".join([match[1], *lines, match[2]]), page_text)


def _short(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}" if math.isfinite(value) else "infinite"
