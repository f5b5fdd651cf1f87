"""The architecture: the model's modules as nested boxes, with shapes, costs and the paths of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnatomy.inspect import diagram, trace
from nnatomy.runs.folder import Run
from nnatomy.views.common import inputs_of, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared


def why_unsupported(prepared: Prepared, run: Run | None) -> str | None:
    """Every model has an architecture."""
    return None


def draw(prepared: Prepared, run: Run | None) -> Figure:
    """The diagram of the model as it runs on one training example."""
    example = inputs_of(prepared, spread(prepared, prepared.dataset.train, 1))
    return diagram(trace(prepared.model, *example), title=f"{prepared.architecture.front['title']} for {prepared.dataset.name}")
