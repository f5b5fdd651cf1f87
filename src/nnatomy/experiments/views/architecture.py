"""The architecture: the model's modules as nested boxes, with shapes, costs and the paths of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnatomy.experiments.runs import Run
from nnatomy.experiments.views.common import spread
from nnatomy.inspect import diagram, trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.experiments.training import Prepared


def unfit(prepared: Prepared, run: Run | None) -> str | None:
    """Every model has an architecture."""
    return None


def draw(prepared: Prepared, run: Run | None) -> Figure:
    """The diagram of the model as it runs on one training example."""
    example = spread(prepared, prepared.dataset.train, 1)[:-1]
    return diagram(trace(prepared.model, *example), title=f"{prepared.room.front['title']} for {prepared.dataset.name}")
