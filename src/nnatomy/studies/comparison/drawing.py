"""The pictures of a comparison: scores by fold, learning curves, score against cost, and which differences are shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.studies.comparison.results import Candidate, Comparison, shown_p

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#2563a8", "#d1662a", "#2e8b57", "#8e5bb5", "#b8912a", "#c2476b", "#3a9ea5", "#7a5c42")
GRAY, GRAYS = "#6b7280", ("#6b7280", "#a3a9b4", "#c3c7ce")


def colors(result: Comparison) -> dict[str, str]:
    """Each architecture's color, the same in all pictures; baselines are gray."""
    shades = {name: COLORS[i % len(COLORS)] for i, name in enumerate(result.plan.architectures)}
    grays = iter(GRAYS)
    return {c.name: shades[c.name] if c.is_architecture else next(grays) for c in result.candidates}


def _focus(result: Comparison) -> tuple[float, float]:
    """The range of scores worth looking at: that of the architectures and of the best baseline, with a margin."""
    shown = [c for c in result.candidates if c.is_architecture or c is result.best_baseline]
    values = [v for c in shown for v in (*c.scores.ravel(), c.mean - c.std, c.mean + c.std, *(p[1] for p in c.curve))]
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known), max(known)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.1
    return low - margin, high + margin


def _axis_label(result: Comparison) -> str:
    return f"{result.plan.metric} ({'higher' if result.higher else 'lower'} is better)"


def _label(candidate: Candidate) -> str:
    return candidate.name if candidate.is_architecture else f"{candidate.name} (baseline)"


def scores(result: Comparison) -> Figure:
    """One line a candidate: a dot for each fold and seed, the mean over them, and the deviation over folds as a bar."""
    from matplotlib.figure import Figure

    shade = colors(result)
    figure = Figure(figsize=(10, 1.3 + 0.55 * len(result.candidates)), layout="constrained")
    axes = figure.subplots()
    low, high = _focus(result)
    for row, c in enumerate(reversed(result.candidates)):
        if not low <= c.mean <= high:
            text = f"◂ {c.mean:.4g}" if c.mean < low else f"{c.mean:.4g} ▸"
            place, ha = (low, "left") if c.mean < low else (high, "right")
            axes.text(place, row, f" {text} ", ha=ha, va="center", color=shade[c.name], fontsize=9)
            continue
        folds, seeds = c.scores.shape
        offsets = np.linspace(-0.22, 0.22, folds)[:, None] + np.zeros((1, seeds))
        axes.scatter(c.scores, row + offsets, s=22, color=shade[c.name], alpha=0.55, linewidths=0)
        axes.errorbar(c.mean, row, xerr=c.std, fmt="D", ms=7, color=shade[c.name], capsize=5, lw=1.6, mec="white")
    axes.set_yticks(range(len(result.candidates)), [_label(c) for c in reversed(result.candidates)])
    axes.set(xlim=(low, high), ylim=(-0.6, len(result.candidates) - 0.4))
    axes.set_xlabel(_axis_label(result))
    axes.grid(axis="x", alpha=0.25)
    return figure


def curves(result: Comparison) -> Figure | None:
    """Score against the number of training examples, with the deviation over folds as a band."""
    from matplotlib.figure import Figure

    low, high = _focus(result)
    drawn = [c for c in result.candidates if len(c.curve) > 1 and low <= c.mean <= high]
    if not any(c.is_architecture for c in drawn):
        return None
    shade = colors(result)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    styles = iter(["--", ":", "-."])
    for c in drawn:
        x, y, std = (np.array(v) for v in zip(*c.curve, strict=True))
        style = "-" if c.is_architecture else next(styles)
        axes.plot(x, y, style, marker="o", ms=4, color=shade[c.name], label=_label(c))
        if c.is_architecture:
            axes.fill_between(x, y - std, y + std, color=shade[c.name], alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    sizes = sorted({round(point[0]) for c in drawn for point in c.curve})
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.minorticks_off()
    axes.set(xlabel="training examples", ylabel=_axis_label(result), ylim=(low, high))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    return figure


def costs(result: Comparison) -> Figure:
    """Score against parameters, training time and latency; what has no parameters is at the left edge."""
    from matplotlib.figure import Figure

    panels: list[tuple[str, Any]] = [
        ("parameters", lambda c: c.parameters), ("training time of one fit, s", lambda c: c.seconds),
        ("latency of one example, ms", lambda c: None if c.latency_one is None else 1000 * c.latency_one),
    ]  # fmt: skip
    shade = colors(result)
    low, high = _focus(result)
    shown = [c for c in result.candidates if low <= c.mean <= high]
    figure = Figure(figsize=(11, 4.0), layout="constrained")
    rows = figure.subplots(1, len(panels), sharey=True)
    for axes, (title, cost) in zip(rows, panels, strict=True):
        known = [(c, cost(c)) for c in shown if cost(c) is not None]
        least = min((v for _, v in known if v > 0), default=1.0)
        for c, v in known:
            x = v if v > 0 else least / 3
            axes.errorbar(
                x, c.mean, yerr=c.std, fmt="o" if c.is_architecture else "s", color=shade[c.name], ms=7, capsize=3, lw=1.2
            )
            if v == 0:
                axes.annotate("0", (x, c.mean), (8, 0), textcoords="offset points", va="center", fontsize=9, color=GRAY)
        _logarithmic(axes)
        axes.set_xlabel(title)
        axes.grid(alpha=0.25)
    rows[0].set(ylabel=_axis_label(result), ylim=(low, high))
    handles = [_handle(c, shade[c.name]) for c in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False, fontsize=9)
    return figure


def _logarithmic(axes: Any) -> None:
    """A logarithmic axis with few plain numbers, whatever its range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.margins(x=0.15)
    low, high = axes.get_xlim()
    decades = math.log10(high / low)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2 else (1.0, 3.0) if decades > 1 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, place: f"{v:,.0f}" if v >= 1 else f"{v:.1g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _handle(c: Candidate, color: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, marker="o" if c.is_architecture else "s", ls="", label=_label(c))


def significance(result: Comparison) -> Figure:
    """Each tested pair: is the row better (blue) or worse (orange) than the column, and how sure is that?"""
    from matplotlib.figure import Figure

    names = [c.name for c in result.candidates if c.is_architecture or c is result.best_baseline]
    labels = [_label(c) for c in result.candidates if c.name in names]
    n = len(names)
    figure = Figure(figsize=(3.6 + 1.3 * n, 1.5 + 0.62 * n), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            if i == j:
                continue
            pair = result.pair(row, column)
            face, text, ink = _cell(pair, row)
            axes.add_patch(_square(j, i, face))
            axes.text(j, i, text, ha="center", va="center", fontsize=9, color=ink)
    axes.set_xticks(range(n), labels, rotation=0 if n <= 4 else 30, ha="center" if n <= 4 else "right")
    axes.set_yticks(range(n), labels)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title("is the row better than the column?", fontsize=10)
    return figure


def _cell(pair: Any, row: str) -> tuple[str, str, str]:
    """The color of a cell, its text and the text's color."""
    if pair is None or math.isnan(pair.p):
        return "#f3f4f6", "no test", GRAY
    if pair.better is None:
        return "#f3f4f6", f"not shown\np = {shown_p(pair.p_holm)}", "#374151"
    won = pair.better == row
    return ("#2563a8" if won else "#d1662a"), f"{'better' if won else 'worse'}\np {_equals(pair.p_holm)}", "white"


def _equals(p: float) -> str:
    text = shown_p(p)
    return text if text.startswith("<") else f"= {text}"


def _square(x: float, y: float, face: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, facecolor=face, edgecolor="none")
