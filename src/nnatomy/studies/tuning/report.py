"""report.html of a tuning: whether it helped, what was found, and what the trials show; one file, no network."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.runs.folder import write_atomically
from nnatomy.runs.page import cards, flat, image, page, pairs_table, section, table
from nnatomy.runs.progress import clock
from nnatomy.studies.tuning.search import Search
from nnatomy.studies.tuning.space import Range
from nnatomy.studies.tuning.tune import Tuning
from nnatomy.tasks.figures import BLUE, GRAY, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(result: Tuning, whole: Search) -> None:
    """Write the tuning's report.html."""
    write_atomically(result.report, render(result, whole))


def render(result: Tuning, whole: Search) -> str:
    """The whole page: the verdict, the settings, the outer folds, pictures of the trials, the command."""
    plan = result.plan
    title = f"Tuning {plan.architecture} on {whole.dataset.name}"
    figures = [(f"{result.value:.4g}", f"validation {result.searched_by.name} of the best trial, which was optimized")]
    if result.outer:
        (tuned, _), (own, _) = result.scores("tuned"), result.scores("own")
        where = f"{result.metric.name} tuned, on outer folds"
        figures = [(f"{tuned:.4g}", where), (f"{own:.4g}", "with the recipe's own settings")]
    figures += [(str(sum(result.trials.values())), "trials"), (clock(result.seconds), "in all")]
    settings = [(name, result.own.get(name, ""), value, str(whole.space[name])) for name, value in result.best.items()]
    sections = [
        section("Verdict", f"<p>{html.escape(result.verdict())}</p>" + _counts(result)),
        section("Settings", table(("setting", "recipe", "best", "searched"), settings)
                + "<p class=quiet>Best: of the search on all data.</p>"),
    ]  # fmt: skip
    if result.outer:
        sections.append(section("Outer folds", _outer(result)))
    done = [t for t in whole.finished() if t.state.name == "COMPLETE"]
    if len(done) > 1:
        sections.append(section("Trials", image(history(whole, done), "svg", "Score by trial")
                                + "<p class=quiet>The search on all data: each trial's score on the validation part, and the "
                                "best so far.</p>"))  # fmt: skip
        sections.append(section("All settings together", image(parallel(whole, done), "svg", "Parallel coordinates")
                                + "<p class=quiet>A line is a trial: it crosses each axis at the value that was tried. Dark "
                                "lines have the best scores.</p>"))  # fmt: skip
    if result.importance:
        sections.append(section("Which settings matter", image(bars(result.importance), "svg", "Importance of each setting")
                                + "<p class=quiet>Fraction of the spread of scores that a setting alone explains (fANOVA, "
                                "Hutter et al. 2014), in the search on all data.</p>"))  # fmt: skip
    train = f"nnatomy train {plan.architecture} --data {plan.data} --recipe {result.recipe}"
    train += f" --target {plan.target}" if plan.target else ""
    sections += [
        section("How it was measured", pairs_table(_method(result))),
        section("Use it, or make it again", f"<pre>{html.escape(train)}\n\n{html.escape(plan.command())}</pre>"),
    ]
    quiet = html.escape(f"{whole.dataset.task.capitalize()}. {whole.dataset.description}.")
    return page(title, f"<h1>{html.escape(title)}</h1>\n<p class=quiet>{quiet}</p>\n{cards(figures)}\n{''.join(sections)}")


def _counts(result: Tuning) -> str:
    told = ", ".join(f"{count} {what}" for what, count in result.trials.items() if count)
    return f"<p class=quiet>Trials of all searches: {told}.</p>"


def _outer(result: Tuning) -> str:
    rows = [
        (str(i + 1), f"{np.mean(o.tuned):.4g}", f"{np.mean(o.own):.4g}", ", ".join(f"{n}={v}" for n, v in o.settings.items()))
        for i, o in enumerate(result.outer)
    ]
    name = result.metric.name
    header = ("fold", f"{name} tuned", f"{name} of the recipe", "settings that the fold's own search found")
    return table(header, rows, (1, 2))


def _method(result: Tuning) -> list[tuple[str, str]]:
    plan = result.plan
    given_up = "; trials that lag behind the median are given up" if plan.prune else ""
    rows = [
        ("search", f"{plan.trials} trials each, {plan.how}{given_up}"),
        ("judged by", f"{result.searched_by.name} of the best epoch on a validation part"),
        ("seed", str(plan.seed)),
    ]
    if plan.cv:
        rows.append(("outer folds", f"{plan.cv}, each with its own search; {plan.seeds} seeds for each score"))
    return rows + flat({"fixed": dict(plan.settings)})


def history(search: Search, done: list[Any]) -> Figure:
    """Scores by trial, and the best so far."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots()
    values = np.array([t.value for t in done])
    best = (np.maximum if search.metric.better == "higher" else np.minimum).accumulate(values)
    numbers = [t.number + 1 for t in done]
    axes.plot(numbers, values, "o", color=BLUE, ms=5, label="trial")
    axes.step(numbers, best, where="post", color=ORANGE, label="best so far")
    given_up = [t.number + 1 for t in search.finished() if t.state.name == "PRUNED"]
    if given_up:
        foot = axes.get_xaxis_transform()
        axes.plot(given_up, np.full(len(given_up), 0.03), "|", color=GRAY, ms=8, transform=foot, label="given up")
    low, high = np.quantile(values, [0.05, 0.95])
    reach = max(high - low, 1e-9)
    axes.set_ylim(max(values.min(), low - reach) - 0.1 * reach, min(values.max(), high + reach) + 0.1 * reach)
    axes.set(xlabel="trial", ylabel=f"validation {search.metric.name} ({search.metric.better} is better)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def parallel(search: Search, done: list[Any]) -> Figure:
    """Parallel coordinates: an axis for each setting, a line for each trial, dark where its score is good."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    names = list(search.space)
    values = np.array([t.value for t in done])
    rank = values.argsort().argsort() / max(1, len(values) - 1)
    good = rank if search.metric.better == "higher" else 1 - rank
    figure = Figure(figsize=(max(7.0, 1.7 * len(names)), 3.9), layout="constrained")
    axes = figure.subplots()
    places: dict[str, Any] = {}
    for x, name in enumerate(names):
        part = search.space[name]
        if isinstance(part, Range):
            to = (lambda v, p=part: math.log(v / p.low) / math.log(p.high / p.low)) if part.log else (
                lambda v, p=part: (v - p.low) / (p.high - p.low))  # fmt: skip
            middle = math.sqrt(part.low * part.high) if part.log else (part.low + part.high) / 2
            marks = [(0.0, part.low), (0.5, middle), (1.0, part.high)]
            labels = [(y, f"{v:.3g}") for y, v in marks]
            places[name] = to
        else:
            labels = [(i / max(1, len(part.values) - 1), v) for i, v in enumerate(part.values)]
            places[name] = lambda v, p=part: p.values.index(v) / max(1, len(p.values) - 1)
        axes.axvline(x, color=GRAY, lw=1, zorder=1)
        for y, label in labels:
            axes.annotate(label, (x, y), (5, 0), textcoords="offset points", fontsize=8, va="center", color="#374151", zorder=3,
                          bbox={"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.8})  # fmt: skip
    order = np.argsort(good)
    for i in order:
        line = [places[name](done[i].params[name]) for name in names]
        axes.plot(range(len(names)), line, color=colormaps["Blues"](0.15 + 0.85 * good[i]), lw=1 + good[i], zorder=2)
    axes.set(xlim=(-0.2, len(names) - 0.4), ylim=(-0.06, 1.06), yticks=[])
    axes.set_xticks(range(len(names)), names)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)
    return figure


def bars(importance: dict[str, float]) -> Figure:
    """A bar for each setting."""
    from matplotlib.figure import Figure

    names = list(importance)[::-1]
    figure = Figure(figsize=(8, 0.8 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    found = axes.barh(names, [importance[name] for name in names], color=BLUE)
    axes.bar_label(found, [f"{importance[name]:.0%}" for name in names], padding=4, fontsize=9)
    axes.set(xlabel="fraction of the spread of scores", xlim=(0, 1.08 * max(importance.values()) or 1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure
