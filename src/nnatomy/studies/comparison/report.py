"""report.html of a comparison: the ranking and its uncertainty, one file that opens without a network."""

from __future__ import annotations

import html

from nnatomy.runs.folder import write_atomically
from nnatomy.runs.page import cards, flat, image, page, pairs_table, section
from nnatomy.runs.page import table as html_table
from nnatomy.runs.progress import clock, counted
from nnatomy.studies.comparison import drawing
from nnatomy.studies.comparison.compare import legend, table
from nnatomy.studies.comparison.results import Candidate, Comparison

SPLITTERS = {
    "groups": "rows of one group are never split (GroupKFold, stratified for classes)",
    "time": "each fold's test part is later than all that was learned from (TimeSeriesSplit)",
    "classes": "each fold has the classes in proportion (StratifiedKFold)",
    "rows": "rows are dealt at random (KFold)",
}


def write_report(result: Comparison) -> None:
    """Write the comparison's report.html."""
    write_atomically(result.report, render(result))


def render(result: Comparison) -> str:
    """The whole page: the verdict, the table, pictures, how it was measured, what was left out, the command."""
    plan = result.plan
    shown = [c.name for c in result.candidates if c.is_architecture] or plan.architectures
    title = f"{', '.join(shown)} on {plan.name}"
    header, rows = table(result)
    best = result.candidates[0]
    examples = f"{result.sizes[0] + result.sizes[1]:,.0f} / {result.sizes[2]:,.0f}"
    figures = [
        (f"{best.mean:.4g}", f"{plan.metric} of {best.name}, the best"), (f"{result.folds} × {result.seeds}", "folds × seeds"),
        (examples, "learned from / tested on, a fold"), (clock(result.seconds), "for all fits"),
    ]  # fmt: skip
    sections = [
        section("Verdict", (_list(result.verdicts()) if result.pairs else "") + _notes(result)),
        section("Scores and costs", html_table(header, rows, range(1, len(header))) + _explained(result)),
        section("Scores by fold", image(drawing.scores(result), "svg", "Scores of each candidate by fold and seed")
                + "<p class=quiet>Dots: one fold and seed each. Diamond and bar: mean and standard deviation over folds. "
                "A baseline far from all others is at the edge with its score, and is left out below.</p>"),
    ]  # fmt: skip
    curves = drawing.curves(result)
    if curves is not None:
        sections.append(section("Learning curves: would more data help?", image(curves, "svg", "Score by training examples")
                                + "<p class=quiet>First seed only; the band is the deviation over folds. Every point has "
                                "the recipe's epochs, so smaller parts also take fewer steps.</p>"))  # fmt: skip
    sections += [
        section("What the score costs", image(drawing.costs(result), "svg", "Score against parameters, time and latency")),
        section("Which differences are shown", image(drawing.significance(result), "svg", "Significance of each pair")),
        section("How it was measured", _method(result)),
        section("All metrics", _metrics(result)),
        section("Where it ran", pairs_table(flat(result.environment))),
        section("Make it again", f"<pre>{html.escape(result.protocol.command())}</pre>"),
    ]
    return page(
        title,
        f"""<h1>{html.escape(title)}</h1>
<p class="quiet">{html.escape(f"{plan.task.capitalize()}, compared by {plan.metric}. {plan.description}.")}</p>
{cards(figures)}
{"".join(sections)}""",
    )


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _notes(result: Comparison) -> str:
    left_out = [f"{name} was left out: {reason}" for name, reason in result.refused.items()]
    lines = [*left_out, *result.notices]
    return f"<p class=quiet>Also to know:</p>{_list(lines)}" if lines else ""


def _explained(result: Comparison) -> str:
    chosen = [f"{c.name}: {c.chosen}" for c in result.candidates if c.chosen]
    settings = f" Chosen on the validation parts: {'; '.join(chosen)}." if chosen else ""
    return f"<p class=quiet>{html.escape(legend(result) + settings)}</p>"


def _method(result: Comparison) -> str:
    protocol, plan = result.protocol, result.plan
    how = "groups" if protocol.groups else "time" if plan.ordered else "classes" if plan.stratified else "rows"
    lengths = ", ".join(f"{c.name} {c.epochs} epochs" for c in result.candidates if c.is_architecture)
    lines = [
        f"Splits: {protocol.cv} folds, the same for all: {SPLITTERS[how]}. Within a fold, a sixth of what is learned from is "
        "held out to choose the best epoch. The test part chooses nothing.",
        "Preprocessing is fitted again in each fold, on its training rows alone.",
        f"Each architecture has its own recipe: {lengths}. Seeds decide initial weights, order and noise.",
        "Variance: one-way random effects analysis of variance, folds as groups, seeds within them, method of moments "
        "(Searle, Casella and McCulloch 1992).",
        "Tests: corrected resampled t-test on the folds' differences, each averaged over seeds (Nadeau and Bengio 2003), "
        f"two-sided; Holm's correction (1979) for {counted(len(result.pairs), 'test')}: architectures against each other and "
        "the best baseline. "
        "“Not shown” does not mean equal: with few folds only large differences can be shown."
        + (" Folds in order of time differ in size, for which the correction is only approximate." if plan.ordered else ""),
        f"Workers had {counted(plan.threads, 'thread')} each.",
    ]  # fmt: skip
    return _list(lines)


def _metrics(result: Comparison) -> str:
    keys = list(dict.fromkeys(key for c in result.candidates for key in c.metrics))

    def row(c: Candidate) -> list[str]:
        return [c.name, *(f"{c.metrics[key]:.4g}" if key in c.metrics else "-" for key in keys)]

    return html_table(["mean over folds", *keys], [row(c) for c in result.candidates], range(1, len(keys) + 1))
