"""Models that are trained for pictures: each is trained once, and its run is kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from nnatomy import __version__, backends, data
from nnatomy.errors import UserError
from nnatomy.kernels import library
from nnatomy.runs.folder import Run
from nnatomy.runs.options import to_plain
from nnatomy.runs.prepare import Prepared
from nnatomy.runs.restore import load_best
from nnatomy.runs.result import Result
from nnatomy.runs.train import train
from nnatomy.saved import read_json, typed
from nnatomy.training.settings import plain

SECONDS = 20.0
"""The time budget of a training for pictures."""
MOST_RUNS, MOST_BYTES = 24, 512 * 2**20
"""Of the cache; what was not used for the longest time is removed first."""
SEAL = "kept.json"


@dataclass(frozen=True)
class Seal:
    """What a kept run says of itself."""

    seconds: float
    """How long it was trained."""
    sha256: str
    """Of all its other files."""


@contextmanager
def trained(prepared: Prepared) -> Iterator[tuple[Prepared, Run, float]]:
    """A model of an architecture's default request with its run and its seconds of training: a kept one, or one trained now.

    The run exists inside the block only, where it cannot be kept.
    """
    place = library.usable_folder("pictures")
    kept = None if place is None else place / _key(prepared)
    if kept is not None and (seconds := _load(prepared, Run(kept))) is not None:
        print(f"Drawing the model that was trained for an earlier picture; to train again, remove {kept}.", file=sys.stderr)
        yield prepared, Run(kept), seconds
        return
    name = prepared.architecture.name
    says = f"Training {name} for its picture, {SECONDS:.0f} s at most; to draw a run of yours, give its folder."
    print(says, file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        request = prepared.request
        result = train(request.architecture, out=Path(folder) / "run", budget=SECONDS, report=False, baselines=False)
        if kept is not None and not result.interrupted:
            _keep(result, kept)
        yield result.prepared, result.run, result.seconds


def _key(prepared: Prepared) -> str:
    """Return a digest of all that decides what is learned; the picture's own code does not."""
    files = sorted(path for path in prepared.architecture.folder.glob("*.py") if path.name != "picture.py")
    known = [
        __version__, [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in files], SECONDS,
        to_plain(prepared.request), plain(prepared.recipe), data.fingerprint(prepared.dataset).to_json(),
        backends.current(), backends.device(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(known, default=str).encode(errors="backslashreplace")).hexdigest()[:32]


def _load(prepared: Prepared, run: Run) -> float | None:
    """Give the model a kept run's weights and return its seconds; None where there is no such run or it is damaged."""
    try:
        seal = typed(Seal, read_json(run.folder / SEAL), SEAL)
        if seal.sha256 != _digest(run.folder):
            return None
        load_best(prepared.model, run)
        os.utime(run.folder)  # still in use
        return seal.seconds
    except (UserError, OSError):
        return None


def _keep(result: Result, kept: Path) -> None:
    """Copy a run's folder into the cache, whole or not at all; a cache that cannot be written is not an error."""
    part = None
    with suppress(OSError):
        part = Path(tempfile.mkdtemp(dir=kept.parent))  # for this user only
        shutil.copytree(result.run.folder, part, dirs_exist_ok=True)
        seal = Seal(result.seconds, _digest(part))
        (part / SEAL).write_text(json.dumps(asdict(seal)), encoding="utf-8")
        shutil.rmtree(kept, ignore_errors=True)  # damaged
        part.rename(kept)
        _tidy(kept.parent)
    if part is not None:
        shutil.rmtree(part, ignore_errors=True)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _tidy(place: Path) -> None:
    """Remove the runs that are too many or too large."""
    runs = sorted((path for path in place.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime, reverse=True)
    size = 0
    for number, run in enumerate(runs):
        size += sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
        if number and (number >= MOST_RUNS or size > MOST_BYTES):
            shutil.rmtree(run, ignore_errors=True)
