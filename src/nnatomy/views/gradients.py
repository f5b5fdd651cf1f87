"""Gradients: how strong the learning signal is in each layer, epoch by epoch, from the record that training keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnatomy.runs.drawing import NAMED, draw_signal
from nnatomy.runs.folder import Run
from nnatomy.runs.gradients import read_gradients
from nnatomy.views.common import COLORS, MARKERS, caption, heading, name_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared


def why_unsupported(prepared: Prepared, run: Run | None) -> str | None:
    return None if run is not None and read_gradients(run) else "needs the record of gradients that training writes"


def draw(prepared: Prepared, run: Run | None) -> Figure:
    """Norms of the gradients (left), and of the gradients against the weights (right), over the epochs."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    assert run is not None
    lines = read_gradients(run)
    layers = list(lines[0]["gradients"])
    figure = Figure(figsize=(11.5, 4.6), layout="constrained")
    heading(figure, f"The learning signal in the layers of {prepared.architecture.front['title']} on {prepared.dataset.name}")
    left, right = figure.subplots(1, 2, sharex=True)
    marked = len(layers) <= NAMED and len(lines) <= 30
    styles: list[dict[str, Any]] = [
        {"color": COLORS[k], "ms": 5, "marker": MARKERS[k] if marked else None}
        if len(layers) <= NAMED
        else {"color": colormaps["viridis"](k / (len(layers) - 1))}
        for k in range(len(layers))
    ]
    draw_signal(left, lines, False, styles)
    draw_signal(right, lines, True, styles)
    left.set(title="Norm of the gradient", xlabel="epoch", ylabel="‖ dL / dw ‖")
    right.set(title="Relative to the weights", xlabel="epoch", ylabel="‖ dL / dw ‖ / ‖ w ‖")
    if len(layers) <= NAMED:
        name_lines(figure, left)
    else:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        bar = figure.colorbar(ScalarMappable(Normalize(0, len(layers) - 1), "viridis"), ax=[left, right], shrink=0.85)
        bar.set_ticks([0, len(layers) - 1], labels=[layers[0], layers[-1]])
    caption(
        figure,
        f"Measured after each epoch on the same {lines[0]['examples']} training examples, without dropout. Lines that are "
        "close together learn at one pace; a layer whose line is far below the others hardly learns (a vanishing gradient).",
    )
    return figure
