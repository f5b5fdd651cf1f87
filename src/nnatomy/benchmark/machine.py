"""The conditions of a measurement: the machine, and the load of other processes."""

from __future__ import annotations

import datetime
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nnatomy
from nnatomy.benchmark.worker import Worker
from nnatomy.kernels.machine import processors


class Others:
    """Return the cores that other processes used since this was made; None where the system does not report it."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = list(workers)
        self.began, self.start = time.perf_counter(), self._seconds()

    def _seconds(self) -> float | None:
        stat = Path("/proc/stat")
        if not stat.exists():
            return None
        own = time.process_time() + sum(w.ask("processor_seconds") for w in self.workers)
        user, nice, system, _, _, irq, soft, steal = map(int, stat.read_text().split()[1:9])
        all_ = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
        return all_ - float(own)

    def cores(self) -> float | None:
        now = self._seconds()
        return None if now is None or self.start is None else max(0.0, now - self.start) / (time.perf_counter() - self.began)


def machine() -> dict[str, Any]:
    """Return the conditions of the figures, without the machine's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return {
        "date": datetime.date.today().isoformat(),
        "processor": fields.get("model name", platform.machine()),
        "instruction_sets": [s for s in ("avx2", "fma", "avx512f") if s in fields.get("flags", "").split()],
        "cores": processors(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
        "nnatomy": nnatomy.__version__,
    }
