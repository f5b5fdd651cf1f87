"""The picture of a run's report: the architecture's own, drawn from the trained model, or the model's diagram."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from nnatomy.errors import UserError
from nnatomy.inspect import diagram, trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared

WIDEST = 60
"""Inches of a diagram."""


def pictured(prepared: Prepared) -> Figure:
    """Return the architecture's own picture of a model, or its diagram where there is none.

    Own pictures are of single precision, whatever the model was trained in.
    """
    if not prepared.architecture.has("picture"):
        return diagram_of(prepared)
    model = copy.deepcopy(prepared.model).astype("float32")
    figure: Figure = prepared.architecture.module("picture").draw(model, prepared.dataset)
    return figure


def diagram_of(prepared: Prepared) -> Figure:
    """Return the diagram of a model as it runs on one training example, in its own precision.

    Raises UserError where it would be too wide to be read, as that of a solver whose steps stand next to each other.
    """
    split = prepared.dataset.train
    batch = prepared.task.precision.evaluated(split.take(np.arange(1)))
    title = f"{prepared.architecture.front['title']} for {prepared.dataset.name}"
    found = diagram(trace(prepared.model, *prepared.task.model_inputs(batch)), title=title)
    width = found.get_size_inches()[0]
    if width > WIDEST:
        raise UserError(
            f"A diagram is at most {WIDEST} inches wide, to be readable. Received a model whose calls take "
            f"{width:.0f} inches. Draw a part of it with nn.inspect.diagram(nn.inspect.trace(part, inputs))."
        )
    return found
