"""Embedding: a hidden layer's activations for test examples on a plane, colored by what the examples are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.inspect import record
from nnatomy.inspect.recording import tensors
from nnatomy.runs.folder import Run
from nnatomy.tasks import forward
from nnatomy.tasks.figures import short
from nnatomy.tasks.parts import Coloring
from nnatomy.views.common import COLORS, MARKERS, caption, evenly_spaced, inputs_of, why_not_by_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.prepare import Prepared

Array = np.ndarray[Any, Any]
EXAMPLES = 1000
MOST = 30  # names of one picture


def why_unsupported(prepared: Prepared, run: Run | None) -> str | None:
    if not prepared.task.can("coloring"):
        return "needs a task that distinguishes examples"
    if reason := why_not_by_row(prepared):
        return reason
    two = inputs_of(prepared, evenly_spaced(prepared, prepared.dataset.test, 2))
    return None if hidden(prepared, two) is not None else "needs a hidden layer"


def draw(prepared: Prepared, run: Run | None, tsne: bool = False) -> Figure:
    """The map by principal components, or by t-SNE."""
    from matplotlib.figure import Figure

    batch = evenly_spaced(prepared, prepared.dataset.test, EXAMPLES)
    found = hidden(prepared, inputs_of(prepared, batch))
    assert found is not None
    name, values = found
    plane, axes_names, how = _flat(values.astype(np.float64), tsne)
    figure = Figure(figsize=(9, 6.6), layout="constrained")
    axes = figure.subplots()
    coloring = prepared.task.coloring(prepared.model, batch)
    _draw_points(figure, axes, coloring, plane)
    axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
    axes.set_title(f"{len(plane)} test examples of {prepared.dataset.name} as {name} sees them", fontsize=12.5)
    axes.grid(alpha=0.2)
    caption(
        figure,
        f"Each point is a test example: its {values.shape[1]} activations in {name}, {how}. Color is {coloring.what}; examples "
        "that are close together look alike to the network.",
    )
    return figure


def hidden(prepared: Prepared, inputs: tuple[Array, ...]) -> tuple[str, Array] | None:
    """(name, activations [examples, units]): what the last layer is given; for reconstructions the narrowest layer's output.

    Of sequences the last step. None where no layer is before the last one.
    """
    with record(prepared.model) as seen:
        forward(prepared.model, inputs)
    ran = [layer for path, layer in seen.items() if path and layer.outputs and _weighted(layer.module)]
    if len(ran) < 2:
        return None
    if prepared.task.drawn_as == "inputs":
        narrow = min(ran[:-1], key=lambda layer: int(np.prod(layer.tensor.shape[1:])))
        return f"the layer {narrow.path}", _rows(np.asarray(narrow.tensor.data), inputs)
    last = ran[-1]
    given = next((np.asarray(t.data) for t in tensors(last.inputs[-1])), None)
    if given is None or len(given) != len(inputs[0]):
        return None
    return f"the last hidden layer (before {last.path})", _rows(given, inputs)


def _weighted(module: Any) -> bool:
    """Return True if a module has its own weights, rather than modules that have."""
    return any(True for _ in module.parameters()) and all(
        m is module or not any(True for _ in m.parameters()) for m in module.modules()
    )


def _rows(values: Array, inputs: tuple[Array, ...]) -> Array:
    if values.ndim == 3:
        last = inputs[1] - 1 if len(inputs) > 1 and inputs[1].ndim == 1 else np.full(len(values), values.shape[1] - 1)
        return np.asarray(values[np.arange(len(values)), last])
    return values.reshape(len(values), -1)


def _flat(values: Array, tsne: bool) -> tuple[Array, tuple[str, str], str]:
    from sklearn.decomposition import PCA

    if tsne:
        from sklearn.manifold import TSNE

        reach = min(30.0, (len(values) - 1) / 3)
        plane = TSNE(perplexity=reach, init="pca", random_state=0).fit_transform(values)
        return (
            plane,
            ("t-SNE 1", "t-SNE 2"),
            "laid out by t-SNE, which keeps neighbors together; distances between groups mean little",
        )
    count = min(2, values.shape[1], len(values))
    pca = PCA(n_components=count, svd_solver="full", random_state=0)
    plane = pca.fit_transform(values)
    if count < 2:
        plane = np.concatenate([plane, np.zeros_like(plane)], axis=1)
    share = [*np.nan_to_num(pca.explained_variance_ratio_), 0.0]
    names = (f"first principal component ({share[0]:.0%} of the variance)", f"second ({share[1]:.0%})")
    return plane, names, f"seen along their two widest directions, which hold {share[0] + share[1]:.0%} of the variance"


def _draw_points(figure: Any, axes: Any, coloring: Coloring, plane: Array) -> None:
    """Draw the points: by name with a legend, or on a scale."""
    if not coloring.names:
        shown = axes.scatter(*plane.T, c=coloring.values, cmap="viridis", s=18, linewidths=0)
        figure.colorbar(shown, ax=axes, label=coloring.what.removeprefix("the "))
        return
    for k, name in enumerate(coloring.names[:MOST]):
        rows = coloring.values == k
        if rows.any():
            style = {"color": COLORS[k % len(COLORS)], "marker": MARKERS[(k + k // len(COLORS)) % len(MARKERS)]}
            axes.scatter(*plane[rows].T, s=26, linewidths=0.3, edgecolors="white", label=short(name), **style)
    axes.legend(
        frameon=False, title=coloring.what.removeprefix("the "), loc="center left", bbox_to_anchor=(1, 0.5),
        fontsize=9 if len(coloring.names) < 16 else 7,
    )  # fmt: skip
