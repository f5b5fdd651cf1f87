"""The picture of the multi-layer perceptron: how its layers separate what its inputs mix, and the boundary that this draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from nnatomy.architectures.feedforward.mlp.model import MLP
from nnatomy.data.dataset import Dataset
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

COLORS = ("#2563a8", "#d1662a", "#2e8b57", "#8b5fbf", "#b8860b", "#c2356b", "#1f9aa8", "#7a5230", "#6b7280", "#9bb51f")
EXAMPLES = 1000  # of the test split, at most
SHOWN = 12  # columns of a table, most important first
LINES = 24  # of first units, at most: more would hide the plane
FEW = 10  # values of a column whose points are scattered
ROWS = 10_000  # of the training split, at most: those whose mean is taken


def draw(model: MLP, dataset: Dataset) -> Figure:
    """The layers of `model` at work on the test split; what is drawn depends on the kind of data."""
    x, y = dataset.test.take(np.arange(min(EXAMPLES, len(dataset.test))))
    layers = _activations(model, x)
    images = len(dataset.input_shape) == 3
    figure = Figure(figsize=(12 if images else 15, 9), layout="constrained")
    sizes = " → ".join(str(layer.shape[1]) for layer in (x.reshape(len(x), -1), *layers))
    figure.suptitle(f"Multi-layer perceptron on {dataset.name}: {sizes} units, from input to output", fontsize=14)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.25, 0.75) if images else (1, 1.05), hspace=0.04)
    above, below = halves
    if images:
        _layers(above, layers, dataset, x, y)
        _first_weights(below, model, dataset)
        return figure
    if dataset.input_shape == (2,) and dataset.classes:
        left, right = above.subplots(1, 2)
        _boundary(left, model, dataset, x, y, (0, 1))
        _folds(right, model, dataset, x, y)
    else:
        groups = _groups(dataset)
        whole, drops = _losses(model, dataset, x, y, groups)
        panels = list(above.subplots(1, 3 if dataset.classes and x.shape[1] > 1 else 2))
        if len(panels) == 3:
            _boundary(panels.pop(0), model, dataset, x, y, _telling(groups, drops, x))
        _importance(panels[0], dataset, whole, drops, groups)
        _outputs(panels[1], layers[-1], dataset, y)
    _layers(below, layers, dataset, x, y)
    return figure


def _layers(figure: SubFigure, layers: list[Array], dataset: Dataset, x: Array, y: Array) -> None:
    """The examples as they enter and as the last hidden layer represents them: what a perceptron without one cannot do."""
    left, middle, right = figure.subplots(1, 3)
    first = "The inputs" if len(layers) < 2 else "Before: the inputs"
    _map(left, x.reshape(len(x), -1), dataset, y, f"{first},\nflattened to the two widest directions")
    if len(layers) > 1:
        units = layers[-2].shape[1]
        _map(middle, layers[-2], dataset, y, f"After: the last hidden layer,\nits {units} units flattened likewise")
        _activity(right, layers[-2], dataset, y)
    else:
        for axes in (middle, right):
            axes.axis("off")


def _activations(model: MLP, x: Array) -> list[Array]:
    """Return the output of each hidden layer and of the network for a batch; the model is not changed."""
    found: list[Array] = []
    handle = model.dropout.register_forward_hook(lambda module, args, out: found.append(np.array(out.data)))
    try:
        out = _forward(model, x)
    finally:
        handle.remove()
    return [*found, out]


def _forward(model: MLP, x: Array) -> Array:
    training = model.training
    model.eval()
    try:
        with no_grad():
            return np.array(model(Tensor(x)).data)
    finally:
        model.train(training)


# Images: what the first layer looks at


def _first_weights(figure: SubFigure, model: MLP, dataset: Dataset) -> None:
    channels, height, width = dataset.input_shape
    weights = model.linears[0].weight.numpy()
    strongest = np.argsort(np.linalg.norm(weights, axis=1), kind="stable")[::-1][:20]
    pictures = weights[strongest].reshape(-1, channels, height, width).mean(axis=1)
    grid = figure.subplots(2, 10, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture in zip(grid.flat, pictures):
        reach = float(np.abs(picture).max()) or 1.0
        shown = axes.imshow(picture / reach, cmap="RdBu_r", vmin=-1, vmax=1)
    bar = figure.colorbar(shown, ax=grid, shrink=0.8, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["quietens", "0", "excites"])
    many = f"the {len(pictures)} strongest of {len(weights)}" if len(weights) > len(pictures) else f"all {len(weights)}"
    figure.suptitle(f"The weights of the first layer as images ({many} units): "
                    "a bright pixel excites the unit where red, quietens it where blue", fontsize=11)  # fmt: skip


# The plane of two inputs


def _grid(x: Array) -> tuple[Array, Array, Array]:
    low, high = x.min(axis=0) - 0.4, x.max(axis=0) + 0.4
    across, up = np.meshgrid(np.linspace(low[0], high[0], 160), np.linspace(low[1], high[1], 160))
    return across, up, np.stack([across, up], axis=-1).reshape(-1, 2).astype(np.float32)


def _points(axes: Axes, x: Array, dataset: Dataset, y: Array, pair: tuple[int, int] = (0, 1)) -> None:
    shown = x[:, pair] + (0 if x.shape[1] == 2 else _scattered(x[:, pair]))
    for i, name in enumerate(dataset.classes):
        across, up = shown[y == i].T
        size = 14 if len(x) > 8 else 90
        axes.scatter(across, up, size, color=COLORS[i % 10], label=name, edgecolors="white", linewidths=0.3)
    features = _features(dataset)
    axes.set(xlabel=features[pair[0]], ylabel=features[pair[1]])


def _scattered(values: Array) -> Array:
    """Small offsets of points whose columns have few values: they would hide each other."""
    offsets = np.zeros(values.shape)
    for k, column in enumerate(values.T):
        found = np.unique(column)
        if 1 < len(found) <= FEW:
            offsets[:, k] = 0.2 * np.diff(found).min() * np.random.default_rng(k).uniform(-1, 1, len(values))
    return offsets


def _plane(model: MLP, dataset: Dataset, places: Array, pair: tuple[int, int]) -> Array:
    """The probabilities of the classes at places of the plane of two inputs; the others are at their training mean."""
    train = dataset.train
    rows = train.take(np.unique(np.linspace(0, len(train) - 1, min(len(train), ROWS)).astype(int)))[0]
    inputs = np.tile(rows.mean(axis=0, dtype=np.float64).astype(np.float32), (len(places), 1))
    inputs[:, pair] = places
    return _softmax(_forward(model, inputs))


def _softmax(scores: Array) -> Array:
    p = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _boundary(axes: Axes, model: MLP, dataset: Dataset, x: Array, y: Array, pair: tuple[int, int]) -> None:
    """Which class is chosen where; the paler, the less sure."""
    from matplotlib.colors import to_rgb

    shown = x[:, pair]
    if x.shape[1] > 2 and len(x) > 50:  # a few far rows would leave little of the plane to the others
        shown = np.clip(shown, *np.quantile(shown, (0.01, 0.99), axis=0))
    across, up, places = _grid(shown)
    p = _plane(model, dataset, places, pair)
    colors = np.array([to_rgb(COLORS[i % 10]) for i in range(p.shape[1])])
    shade = 0.45 * (p.max(axis=1, keepdims=True) - 1 / p.shape[1]) / (1 - 1 / p.shape[1])
    image = (1 - shade + shade * colors[p.argmax(axis=1)]).reshape(*across.shape, 3)
    axes.imshow(image, origin="lower", extent=(across.min(), across.max(), up.min(), up.max()), aspect="auto", zorder=0)
    chosen = p.argmax(axis=1).reshape(across.shape)
    for i in np.unique(chosen)[1:]:
        axes.contour(across, up, chosen == i, levels=[0.5], colors="black", linewidths=0.8)
    _points(axes, x, dataset, y, pair)
    axes.set(xlim=(across.min(), across.max()), ylim=(up.min(), up.max()))
    _ticks(axes, dataset, pair)
    right = f"{(_forward(model, x).argmax(axis=1) == y).mean():.1%} of the test right"
    rest = "" if x.shape[1] == 2 else "by the two numbers that matter most,\nthe others at their mean "
    axes.set_title(f"The boundary it draws {rest}(pale: unsure); {right}", fontsize=11)
    if len(dataset.classes) <= 10:
        axes.legend(fontsize=8, title="true class", loc="upper right", framealpha=0.9)


def _ticks(axes: Axes, dataset: Dataset, pair: tuple[int, int]) -> None:
    """Label the axes in the table's own units, where an input is a column's number."""
    from matplotlib.ticker import MaxNLocator

    columns = {features[0]: field for field, (_, features) in zip(_fields(dataset), _groups(dataset))}
    for axis, feature in zip((axes.xaxis, axes.yaxis), pair):
        field = columns.get(feature)
        if field is not None and field.type == "numeric":
            ends = axis.get_view_interval()
            cells = [field.decode(np.array([[end, *[0] * field.indicator]]))[0] for end in ends]
            ticks = np.array(MaxNLocator(6).tick_values(*map(float, cells)))
            places = field.prepare(ticks[:, None])[:, 0]
            inside = (places >= ends[0]) & (places <= ends[1])
            axis.set_ticks(places[inside], [f"{tick:g}" for tick in ticks[inside]])


def _folds(axes: Axes, model: MLP, dataset: Dataset, x: Array, y: Array) -> None:
    """The line on which each first unit's weighted sum is 0: the folds from which the boundary is made."""
    across, up, places = _grid(x)
    with no_grad():
        z = model.linears[0](model.first(Tensor(places))).numpy()
    strength = np.linalg.norm(model.linears[1].weight.numpy(), axis=0) if len(model.linears) > 1 else np.ones(z.shape[1])
    crossing = np.flatnonzero((z.min(axis=0) < 0) & (z.max(axis=0) > 0))
    drawn = crossing[np.argsort(-strength[crossing], kind="stable")][:LINES]
    for k in drawn:
        axes.contour(across, up, z[:, k].reshape(across.shape), levels=[0], colors="black", linewidths=0.8, alpha=0.45)
    _points(axes, x, dataset, y)
    axes.set(xlim=(across.min(), across.max()), ylim=(up.min(), up.max()))
    _ticks(axes, dataset, (0, 1))
    shape = "straight lines" if model.numbers is None else "lines"
    many = f"the {len(drawn)} strongest of {z.shape[1]}" if len(drawn) < z.shape[1] else str(z.shape[1])
    axes.set_title(f"The {shape} it is made of: w · h₀ + b = 0 of {many} first units", fontsize=11)


# Tables: what the network relies on, and how well it does


def _features(dataset: Dataset) -> list[str]:
    """The name of each input of the network."""
    names = tuple(getattr(dataset.preprocessing, "feature_names", ()))
    return list(names) or [f"input {i}" for i in range(int(np.prod(dataset.input_shape)))]


def _fields(dataset: Dataset) -> tuple[Any, ...]:
    return tuple(getattr(dataset.preprocessing, "fields", ()))


def _groups(dataset: Dataset) -> list[tuple[str, list[int]]]:
    """The columns of the user's table, each with the features that it became."""
    groups, start = [], 0
    for field in _fields(dataset):
        width = len(field.features())
        groups.append((field.name, list(range(start, start + width))))
        start += width
    return groups or [(f"input {i}", [i]) for i in range(int(np.prod(dataset.input_shape)))]


def _losses(model: MLP, dataset: Dataset, x: Array, y: Array, groups: list[tuple[str, list[int]]]) -> tuple[float, Array]:
    """Return the test score, and its drops when a column's values are shuffled among the rows (Breiman 2001), 10 a column."""
    rng = np.random.default_rng(0)

    def score(inputs: Array) -> float:
        out = _forward(model, inputs)
        if dataset.classes:
            return float((out.argmax(axis=1) == y).mean())
        return float(1 - ((out - y) ** 2).sum() / max(((y - y.mean(axis=0)) ** 2).sum(), 1e-12))

    whole, drops = score(x), np.zeros((len(groups), 10))
    for k, (_, features) in enumerate(groups):
        for turn in range(10):
            mixed = x.copy()
            mixed[:, features] = x[rng.permutation(len(x))][:, features]
            drops[k, turn] = whole - score(mixed)
    return whole, drops


def _telling(groups: list[tuple[str, list[int]]], drops: Array, x: Array) -> tuple[int, int]:
    """The two inputs that matter most: of columns that are numbers where there are two of them, since a plane is of numbers."""
    ranked = [groups[k][1][0] for k in np.argsort(-drops.mean(axis=1), kind="stable")]
    numbers = [feature for feature in ranked if len(np.unique(x[:, feature])) > 2]
    others = [feature for _, features in groups for feature in features]
    first, second, *_ = dict.fromkeys([*(numbers if len(numbers) > 1 else ranked), *others])
    return first, second


def _importance(axes: Axes, dataset: Dataset, whole: float, drops: Array, groups: list[tuple[str, list[int]]]) -> None:
    """How much of the test score is lost without each column."""
    names = [name if len(name) <= 24 else name[:23] + "…" for name, _ in groups]
    means, spreads = drops.mean(axis=1), drops.std(axis=1)
    order = np.argsort(means, kind="stable")[::-1][:SHOWN][::-1]
    axes.barh(range(len(order)), means[order], xerr=spreads[order], color=COLORS[0], ecolor="#6b7280", height=0.7)
    axes.set_yticks(range(len(order)), [names[i] for i in order], fontsize=9)
    axes.axvline(0, color="black", lw=0.8)
    measure = "accuracy" if dataset.classes else "R²"
    axes.set_xlabel(f"loss of {measure} when the column is shuffled (undisturbed: {whole:.3f})")
    many = f"first {len(order)} of {len(names)} columns" if len(names) > len(order) else "columns"
    axes.set_title(f"What it relies on:\nthe {many}, most important first", fontsize=11)


def _outputs(axes: Axes, out: Array, dataset: Dataset, y: Array) -> None:
    """Classification: the probability given to the true class. Regression: predicted against true values."""
    if dataset.classes:
        own = _softmax(out)[np.arange(len(y)), y]
        shown = [own[y == i] for i in range(len(dataset.classes))]
        axes.hist(shown, bins=20, range=(0, 1), stacked=True, color=[COLORS[i % 10] for i in range(len(shown))],
                  label=[f"truly “{name}”" for name in dataset.classes])  # fmt: skip
        axes.set(xlabel="probability that the network gives to the true class", ylabel="test examples")
        axes.set_title(f"How sure it is of the truth;\n{(out.argmax(axis=1) == y).mean():.1%} of the test right", fontsize=11)
        if len(shown) <= 10:
            axes.legend(fontsize=9, loc="upper left")
        return
    true, predicted = (dataset.preprocessing.inverse_targets(values)[:, 0] for values in (y, out))
    ends = [float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))]
    axes.plot(ends, ends, color="black", lw=1, ls="--", label="perfect")
    axes.scatter(true, predicted, 10, color=COLORS[0], alpha=0.5, linewidths=0, label="test examples")
    axes.set(xlabel="true value", ylabel="predicted value")
    axes.set_title("Predicted against true values", fontsize=11)
    axes.legend(fontsize=9, loc="upper left")


# All data: the layers as maps


def _map(axes: Axes, values: Array, dataset: Dataset, y: Array, title: str) -> None:
    """Examples by their two first principal components, colored by class or target."""
    centered = values - values.mean(axis=0)
    _, widths, directions = np.linalg.svd(centered, full_matrices=False)
    place = np.zeros((len(values), 2))
    count = min(2, len(directions))
    place[:, :count] = centered @ directions[:count].T
    size = 9 if len(values) > 8 else 60
    kept = (widths[:2] ** 2).sum() / max((widths**2).sum(), 1e-12)
    if dataset.classes:
        few = len(dataset.classes) <= 10
        for i, name in enumerate(dataset.classes):
            across, up = place[y == i].T
            axes.scatter(across, up, size, color=COLORS[i % 10], label=name if few else None, linewidths=0)
        if few:
            axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=min(5, len(dataset.classes)),
                        frameon=False, handletextpad=0.1, columnspacing=0.8, markerscale=1.8 if size < 20 else 1)  # fmt: skip
    else:
        values = dataset.preprocessing.inverse_targets(y)[:, 0]
        shown = axes.scatter(place[:, 0], place[:, 1], s=size, c=values, cmap="viridis", linewidths=0)
        axes.figure.colorbar(shown, ax=axes, location="bottom", label="true value", shrink=0.9, pad=0.08)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(f"(shows {kept:.0%} of the spread)", fontsize=9)


def _activity(axes: Axes, hidden: Array, dataset: Dataset, y: Array) -> None:
    """Mean activity of the hidden units for each class, or for each fifth of the target's values."""
    if dataset.classes:
        groups, names = y, [name if len(name) <= 12 else name[:11] + "…" for name in dataset.classes]
    else:
        edges = np.quantile(y[:, 0], (0.2, 0.4, 0.6, 0.8))
        groups, names = np.searchsorted(edges, y[:, 0]), ["lowest", "low", "middle", "high", "highest"]
    present = [i for i in range(len(names)) if (groups == i).any()][:20]
    means = np.stack([hidden[groups == i].mean(axis=0) for i in present])
    means /= np.maximum(np.abs(means).max(axis=0), 1e-12)
    units = np.argsort(hidden.var(axis=0), kind="stable")[::-1][:64]
    means = means[:, units]
    means = means[:, np.lexsort((-means.max(axis=0), means.argmax(axis=0)))]
    shown = axes.imshow(means, aspect="auto", cmap="magma" if means.min() >= 0 else "RdBu_r",
                        vmin=0 if means.min() >= 0 else -1, vmax=1, interpolation="nearest")  # fmt: skip
    axes.set_yticks(range(len(present)), [names[i] for i in present], fontsize=9)
    axes.set_xticks([])
    many = f"{len(units)} of {hidden.shape[1]} units" if hidden.shape[1] > len(units) else f"{len(units)} units"
    axes.set_xlabel(f"columns: {many} of the last hidden\nlayer, grouped by what excites them most", fontsize=9)
    what = "class" if dataset.classes else "fifth of the targets"
    axes.set_title(f"Each hidden unit's mean activity\nfor each {what} (1: its own largest)", fontsize=11)
    axes.figure.colorbar(shown, ax=axes, shrink=0.9)
