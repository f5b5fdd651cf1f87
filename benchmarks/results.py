"""Scores of each architecture's recipes, next to its PyTorch twin: writes docs/results.md and README's tables.

    python benchmarks/results.py                           # all architectures, three seeds each
    python benchmarks/results.py lstm mlp                  # replaces their rows alone
    python benchmarks/results.py mlp --seeds 1 --limit 200 # a rehearsal, which writes nothing
    python benchmarks/results.py --tables                  # README's tables alone, of what was measured before

It needs `pip install -e ".[verify]"`, and in NNATOMY_DATA the data sets that recipes name.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch

from nnatomy.benchmark.report import in_markdown
from nnatomy.catalog import architecture, architectures
from nnatomy.errors import UserError
from nnatomy.runs.folder import write_atomically
from results.against import section
from results.measure import rows_of
from results.readme import README, filled
from results.table import HEADER, PAGE, SEEDS, markdown, problems, read, replaced


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures; all if not given")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    parser.add_argument("--limit", type=int, help="examples of each data set: a rehearsal")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's: a rehearsal")
    parser.add_argument("--tables", action="store_true", help="measure nothing; write README's tables again")
    given = parser.parse_args(words)
    if given.tables:
        write_atomically(README, filled(README.read_text(encoding="utf-8"), read()))
        return 0
    began, rehearsal = time.perf_counter(), given.limit is not None or given.epochs is not None
    said = []
    torch.set_num_threads(1)  # a second one gains nothing in such small networks, and spins where others want the core
    try:
        if given.seeds < 1:
            raise UserError(f"--seeds must be 1 or more. Received {given.seeds}. Use --seeds 3.")
        for wanted in [architecture(name) for name in given.names or architectures()]:
            rows = rows_of(wanted, range(given.seeds), given.limit, given.epochs, lambda line: print(line, file=sys.stderr))
            print(in_markdown((HEADER, [row.cells() for row in rows])))
            if not rehearsal:  # one architecture at a time: what is measured is not lost when the next one fails
                everything = replaced(read(), rows, [wanted.name])
                kept = section(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else ""
                write_atomically(PAGE, markdown(everything) + kept)
                write_atomically(README, filled(README.read_text(encoding="utf-8"), everything))
                said += problems(wanted, everything)
    except UserError as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 2
    print("\n".join([*said, f"{time.perf_counter() - began:.0f} seconds"]))
    return 1 if said else 0


if __name__ == "__main__":
    raise SystemExit(main())
