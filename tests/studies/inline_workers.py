"""Workers of a comparison without processes, for tests that are about what is measured and not about who does it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnatomy.runs.folder import write_atomically
from nnatomy.studies.comparison.protocol import Unit
from nnatomy.studies.comparison.work import Bench


class Inline:
    """Does in this process what workers do in theirs."""

    def __init__(self, folder: Path, jobs: int, threads: int) -> None:
        self.folder, self.bench = folder, Bench(folder)

    def run(
        self, units: Sequence[Unit], wanted: Callable[[Unit], bool] = lambda unit: True, until: float = math.inf
    ) -> Iterator[tuple[Unit, Any]]:
        for unit in units:
            if wanted(unit) and time.perf_counter() < until:
                found = self.bench.run(unit)
                write_atomically(self.folder / unit.file, json.dumps({"unit": asdict(unit), **found}))
                yield unit, found

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *problem: object) -> None:
        pass
