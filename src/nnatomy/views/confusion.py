"""Confusion: which classes are taken for which, on the test split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnatomy.runs.folder import Run
from nnatomy.tasks.classification import confusion
from nnatomy.views.common import caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared


def why_unsupported(prepared: Prepared, run: Run | None) -> str | None:
    return None if prepared.task.drawn_as == "classes" else "needs classes to be distinguished"


def draw(prepared: Prepared, run: Run | None) -> Figure:
    """The confusion matrix; for two classes the ROC curve next to it."""
    found = prepared.task.evaluate(prepared.model, prepared.dataset.test)
    figure = confusion(found.arrays, list(prepared.dataset.classes))
    right = found.metrics["accuracy"]
    caption(
        figure,
        f"Numbers are test examples of {prepared.dataset.name}, {right:.1%} of {len(found.arrays['targets']):,} are right: "
        "those on the diagonal. Color is the fraction of the true class, so each row adds up to the whole of its class.",
    )
    return figure
