"""Pictures of architectures and runs in files; what is drawn is in the architectures' picture.py and in views/."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nnatomy import catalog, views
from nnatomy.errors import UserError
from nnatomy.runs.drawing import save
from nnatomy.runs.folder import Run
from nnatomy.runs.picture import pictured
from nnatomy.runs.prepare import Prepared, prepare
from nnatomy.runs.request import Request, request_of
from nnatomy.runs.restore import restore_with_data
from nnatomy.views.trained import trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(subject: str, out: Path | None = None, what: str | None = None, tsne: bool = False) -> tuple[Path, str]:
    """Draw an architecture or a run's folder into a new .png or .svg file: its own picture, or the view that `what` names.

    A run's model is drawn, else one that is trained for pictures and then kept in the user's cache; the architecture needs no
    training. Returns the picture's path and where the model came from. Raises UserError for a view that does not fit, naming
    those that do. `tsne` lays the embedding out by t-SNE.
    """
    folder = Path(subject)
    other = folder.is_dir() and not (folder / "recipe.py").is_file() and subject not in catalog.architectures()
    is_run = other or (folder / "run.json").exists()
    key = request_of(Run.open(subject)).architecture if is_run else catalog.architecture(subject).key
    name = Path(key).name
    if what is not None:
        views.check_name(what)
    if tsne and what != "embedding":
        raise UserError(f"--tsne lays out the embedding. Received it with {what or 'no --what'}. Add --what embedding.")
    path = out or _free(Path("drawings") / f"{name}{f'-{what}' if what else ''}.png")
    if path.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"--out must end in .png or .svg. Received {path.name}. Use, for example, --out picture.png.")
    if path.exists():
        raise UserError(f"--out must name a new file. Received {path}, which exists. Choose another name or remove it.")
    if is_run:
        run = Run.open(subject)
        figure = _figure(restore_with_data(run), run, what, tsne)
        source = subject
    elif what == "architecture":
        figure = _figure(prepare(Request(key)), None, what, tsne)
        source = f"{name}, untrained"
    else:
        prepared = prepare(Request(key))
        if what not in (None, "gradients"):  # refused before training, which would not fix it
            views.check_fit(what, prepared, None)
        with trained(prepared) as (prepared, run, seconds):
            figure = _figure(prepared, run, what, tsne)
        source = f"{name}, trained for {seconds:.0f} s"
    save(figure, path)
    return path, source


def _figure(prepared: Prepared, run: Run | None, what: str | None, tsne: bool) -> Figure:
    if what is not None:
        return views.view(what, prepared, run, **({"tsne": True} if tsne else {}))
    return pictured(prepared)


def _free(path: Path) -> Path:
    """The path, or the first of its numbered kin that is not taken."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
