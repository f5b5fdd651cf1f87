"""The processes of a study, and the environment in which each starts."""

from __future__ import annotations

import os
from pathlib import Path

from nnatomy.errors import UserError
from nnatomy.runs.options import INTEGER, parse_option

THREADS = ("NNATOMY_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")  # the last is XLA's


def processes(jobs: int | None, caller: str = "compare") -> tuple[int, int]:
    """Return how many workers there are, and how many threads each has: together no more than there are processors."""
    from nnatomy.kernels.machine import processors

    jobs = parse_option(INTEGER, "jobs", processors() if jobs is None else jobs, caller)
    if not 1 <= jobs <= 256:
        raise UserError(f"--jobs must be from 1 to 256. Received {jobs}. Leave it out for one a processor.")
    return jobs, max(1, processors() // jobs)


def environment_of(threads: int) -> dict[str, str]:
    """Return the environment of a process with so many threads, which imports this package from where it is."""
    source = str(Path(__file__).parents[2])
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | dict.fromkeys(THREADS, str(threads)) | {"PYTHONPATH": path}
