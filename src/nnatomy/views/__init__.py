"""The pictures of `nnatomy draw --what` of any run: one file a view. They know no architecture."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nnatomy.errors import UserError, unknown_name
from nnatomy.runs.folder import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared

VIEWS = ("architecture", "activations", "filters", "saliency", "gradients", "confusion", "errors", "embedding")


def check_name(what: str) -> None:
    """Raises UserError where there is no view of that name."""
    if what not in VIEWS:
        raise unknown_name("view", what, VIEWS)


def unfit(what: str, prepared: Prepared, run: Run | None) -> str | None:
    """Why a view does not fit a model, its data or its run, as "it needs ..."; None where it fits."""
    reason: str | None = importlib.import_module(f"nnatomy.views.{what}").unfit(prepared, run)
    return reason


def fitting(prepared: Prepared, run: Run | None) -> list[str]:
    """The names of the views that fit."""
    return [name for name in VIEWS if unfit(name, prepared, run) is None]


def view(what: str, prepared: Prepared, run: Run | None = None, **options: Any) -> Figure:
    """Draws a view of a prepared model, which is left as it was. Raises UserError, naming those that fit, where it does not.

    `options`: tsne=True lays the embedding out by t-SNE.
    """
    check_name(what)
    check_fit(what, prepared, run)
    figure: Figure = importlib.import_module(f"nnatomy.views.{what}").draw(prepared, run, **options)
    return figure


def check_fit(what: str, prepared: Prepared, run: Run | None) -> None:
    """Raises UserError where a view does not fit, naming those that do."""
    reason = unfit(what, prepared, run)
    if reason is not None:
        raise UserError(
            f"The view {what!r} {reason}, which {prepared.architecture.name} on {prepared.dataset.name} has not; "
            f"choose one of {', '.join(fitting(prepared, run))}."
        )
