"""The architecture: the model's modules as nested boxes, with shapes, costs and the paths of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnatomy.runs.folder import Run
from nnatomy.runs.picture import diagram_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared


def why_unsupported(prepared: Prepared, run: Run | None) -> str | None:
    """Every model has an architecture."""
    return None


def draw(prepared: Prepared, run: Run | None) -> Figure:
    """Return the diagram of the model as it runs on one training example."""
    return diagram_of(prepared)
