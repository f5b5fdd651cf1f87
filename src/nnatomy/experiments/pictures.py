"""A room's picture, drawn from a run or from a model that is trained for it; what the plots themselves are is in drawing.py."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from nnatomy.errors import UserError
from nnatomy.experiments import discovery, training
from nnatomy.experiments.drawing import save
from nnatomy.experiments.runs import Run


def draw(what: str, out: Path | None) -> tuple[Path, str]:
    """Draws a room's picture from a run, or from a model trained for it now, into a new .png or .svg file.

    Returns the picture's path and where the model came from.
    """
    is_run = Path(what).is_dir()
    name = training.request_of(Run.open(what)).room if is_run else discovery.room(what).name
    path = out or _free(Path("drawings") / f"{name}.png")
    if path.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"--out must end in .png or .svg, received {path.name}; choose one of them.")
    if path.exists():
        raise UserError(f"--out must name a new file, {path} exists; choose another name or remove it.")
    if is_run:
        run = Run.open(what)
        prepared = training.prepare(training.request_of(run))
        training.load_best(prepared.model, run)
        figure = prepared.room.module("picture").draw(prepared.model, prepared.dataset)
        source = what
    else:
        print(f"Training {name} for its picture, 20 s at most; to draw a run of yours, give its folder.", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            result = training.train(name, out=Path(folder) / "run", budget=20.0, report=False)
        figure = result.prepared.room.module("picture").draw(result.model, result.dataset)
        source = f"{name}, trained for {result.seconds:.0f} s"
    save(figure, path)
    return path, source


def _free(path: Path) -> Path:
    """The path, or the first of its numbered kin that is not taken."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
