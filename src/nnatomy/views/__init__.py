"""The pictures of `nnatomy draw --what` of any run: one file a view, found on this package's path.

They do not depend on an architecture or a task.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnatomy.errors import UserError, unknown_name
from nnatomy.runs.folder import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared


@cache
def names() -> tuple[str, ...]:
    """Return the names of the views: the files of this package that say what they need, in alphabetical order."""
    files = [path for folder in __path__ for path in Path(folder).glob("*.py")]
    return tuple(sorted(path.stem for path in files if "\ndef why_unsupported(prepared" in path.read_text(encoding="utf-8")))


def check_name(what: str) -> None:
    """Raise UserError where no view has that name."""
    if what not in names():
        raise unknown_name("view", what, names())


def why_unsupported(what: str, prepared: Prepared, run: Run | None) -> str | None:
    """Return why a view does not fit a model, its data or its run, as "needs ..."; None where it fits."""
    reason: str | None = importlib.import_module(f"nnatomy.views.{what}").why_unsupported(prepared, run)
    return reason


def fitting(prepared: Prepared, run: Run | None) -> list[str]:
    """Return the names of the views that fit."""
    return [name for name in names() if why_unsupported(name, prepared, run) is None]


def view(what: str, prepared: Prepared, run: Run | None = None, **options: Any) -> Figure:
    """Draw a view of a prepared model, which is left as it was. Raises UserError, naming those that fit, where it does not.

    `options`: tsne=True lays the embedding out by t-SNE.
    """
    check_name(what)
    check_fit(what, prepared, run)
    figure: Figure = importlib.import_module(f"nnatomy.views.{what}").draw(prepared, run, **options)
    return figure


def check_fit(what: str, prepared: Prepared, run: Run | None) -> None:
    """Raise UserError where a view does not fit, naming those that do."""
    reason = why_unsupported(what, prepared, run)
    if reason is not None:
        raise UserError(
            f"The view {what!r} {reason}. Received {prepared.architecture.name} on {prepared.dataset.name} without it. "
            f"Choose one of {', '.join(fitting(prepared, run))}."
        )
