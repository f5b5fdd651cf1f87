"""Pictures of runs: the architecture's own, learning curves, and what the task measured."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.training.evaluation import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.runs.train import Result

BLUE, ORANGE, GREEN, GREY = "#2563a8", "#d1662a", "#2e8b57", "#6b7280"


def save(figure: Figure, path: Path) -> None:
    """Writes a figure whole or not at all, as its name's ending says."""
    from nnatomy.runs.folder import write_atomically

    write_atomically(path, render(figure, path.suffix.lower().lstrip(".")))


def render(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a png or svg; dollars in users' names stay dollars and begin no formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text) and r"\mathdefault" not in text.get_text():  # Matplotlib's own, on logarithmic axes
            text.set_parse_math("$" not in text.get_text())
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # characters that the font lacks and margins that long names overrun: nothing to mend
        warnings.simplefilter("ignore")
        figure.savefig(buffer, format=kind, dpi=110, bbox_inches="tight", metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def curves(history: list[dict[str, Any]], metric: Metric, telling: Metric) -> Figure:
    """Training and validation loss by epoch, the telling metric beside them, and the best epoch marked."""
    from matplotlib.figure import Figure

    epochs = [line["epoch"] for line in history]
    best = history[-1]["best_epoch"]
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    marker = "o" if len(epochs) < 12 else None
    left.plot(
        epochs, [line["train_loss"] for line in history], color=BLUE, label="training (while learning)", marker=marker, ms=4
    )
    if "loss" in history[-1]["validation"]:
        held = [line["validation"]["loss"] for line in history]
        left.plot(epochs, held, color=ORANGE, label="validation", marker=marker, ms=4)
    left.set(title="Loss", xlabel="epoch")
    shown = telling if metric.name == "loss" and telling.name in history[-1]["validation"] else metric
    right.plot(epochs, [line["validation"].get(shown.name, math.nan) for line in history], color=GREEN, marker=marker, ms=4)
    right.set(title=f"Validation {shown.name} ({shown.better} is better)", xlabel="epoch")
    for axes in (left, right):
        axes.axvline(best, color=GREY, ls="--", lw=1, label=f"best epoch: {best}")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def findings(result: Result) -> Figure | None:
    """What the test split showed: a confusion matrix, residuals, anomaly scores, or a forecast."""
    evaluation = result.evaluation
    if evaluation is None:
        return None
    arrays = evaluation.arrays
    if "probabilities" in arrays:
        return confusion(arrays, list(result.dataset.classes))
    if "scores" in arrays:
        return anomalies(arrays)
    if "errors" in arrays:
        return None
    if "predictions" in arrays:
        return residuals(arrays) if arrays["targets"].ndim == 2 else forecasts(arrays)
    return None


def confusion(arrays: dict[str, Any], classes: list[str]) -> Figure:
    """How often each class (row) was taken for each other (column); for two classes also the ROC curve."""
    from matplotlib.figure import Figure
    from sklearn.metrics import confusion_matrix, roc_curve

    n = len(classes)
    counts = confusion_matrix(arrays["targets"], arrays["predictions"], labels=range(n))
    size = min(4 + 0.35 * n, 12)
    figure = Figure(figsize=(10, 4.2) if n == 2 else (size, size * 0.9), layout="constrained")
    axes, roc = figure.subplots(1, 2) if n == 2 else (figure.subplots(), None)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set(title="Confusion matrix: test examples", xlabel="predicted", ylabel="true")
    names = [c if len(c) < 18 else c[:16] + "…" for c in classes]
    axes.set_xticks(range(n), names, rotation=0 if n <= 10 and max(map(len, names)) < 6 else 90, fontsize=9 if n < 20 else 6)
    axes.set_yticks(range(n), names, fontsize=9 if n < 20 else 6)
    for i in range(n if n <= 20 else 0):
        for j in range(n):
            if counts[i, j]:
                axes.text(
                    j,
                    i,
                    str(counts[i, j]),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if share[i, j] > 0.5 else "black",
                )
    if roc is not None and len(np.unique(arrays["targets"])) == 2:
        x, y, _ = roc_curve(arrays["targets"], arrays["probabilities"][:, 1])
        roc.plot(x, y, color=BLUE)
        roc.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1)
        roc.set(title=f"ROC curve for “{classes[1]}”", xlabel="false positive rate", ylabel="true positive rate")
        roc.grid(alpha=0.25)
    return figure


def residuals(arrays: dict[str, Any]) -> Figure:
    """Predicted against true values, and what is left over."""
    from matplotlib.figure import Figure

    y, guess = arrays["targets"][:, 0], arrays["predictions"][:, 0]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.scatter(y, guess, s=8, alpha=0.35, color=BLUE, linewidths=0)
    ends = [min(y.min(), guess.min()), max(y.max(), guess.max())]
    left.plot(ends, ends, color=GREY, ls="--", lw=1)
    left.set(title="Predicted against true (test)", xlabel="true", ylabel="predicted")
    right.hist(guess - y, bins=50, color=BLUE, alpha=0.8)
    right.axvline(0, color=GREY, ls="--", lw=1)
    right.set(title="Residuals: predicted - true", xlabel="residual", ylabel="examples")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    return figure


def forecasts(arrays: dict[str, Any]) -> Figure:
    """Three test windows forecast, and how the error grows with the horizon."""
    from matplotlib.figure import Figure

    y, guess = arrays["targets"][..., 0], arrays["predictions"][..., 0]
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, at in zip(panels[:2], (len(y) // 4, 3 * len(y) // 4), strict=True):
        axes.plot(range(1, y.shape[1] + 1), y[at], color=GREY, label="true", marker="o", ms=3)
        axes.plot(range(1, y.shape[1] + 1), guess[at], color=BLUE, label="forecast", marker="o", ms=3)
        axes.set(title=f"Test window {at}", xlabel="steps ahead")
        axes.legend(frameon=False, fontsize=9)
    panels[2].plot(range(1, y.shape[1] + 1), np.abs(y - guess).mean(axis=0), color=ORANGE, marker="o", ms=3)
    panels[2].set(title="Mean absolute error", xlabel="steps ahead", ylim=(0, None))
    for axes in panels:
        axes.grid(alpha=0.25)
    return figure


def anomalies(arrays: dict[str, Any]) -> Figure:
    """The scores of ordinary and of labelled test windows, and what each threshold would find and wrongly report."""
    from matplotlib.figure import Figure
    from sklearn.metrics import roc_curve

    scores, labels = np.maximum(arrays["scores"], 1e-12), arrays["labels"]
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = np.geomspace(scores.min(), max(scores.max(), 1.01 * scores.min()), 40)
    for label, color, name in ((0, BLUE, "not labelled"), (1, ORANGE, "labelled an anomaly")):
        left.hist(scores[labels == label], bins=bins, color=color, alpha=0.65, label=f"{name}: {(labels == label).sum()}")
    left.set(title="Scores of the test windows", xlabel="reconstruction error", ylabel="windows", xscale="log")
    left.legend(frameon=False, fontsize=9)
    if len(np.unique(labels)) == 2:
        wrong, found, _ = roc_curve(labels, scores)
        right.plot(wrong, found, color=BLUE)
        right.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1)
        right.set(title="ROC curve over all thresholds", xlabel="ordinary windows reported", ylabel="labelled windows found")
    else:
        right.set_axis_off()
        right.text(0.5, 0.5, "No labelled anomalies among the test windows:\nscores can be drawn, not judged.", ha="center")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    return figure
