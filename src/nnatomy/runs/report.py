"""report.html: one file with everything about a run, which opens without a server or a network."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from nnatomy.runs import drawing
from nnatomy.runs.folder import write_atomically
from nnatomy.runs.gradients import read_gradients
from nnatomy.runs.page import cards, flat, image, page, pairs_table, section, table
from nnatomy.runs.progress import counted
from nnatomy.showing import label

if TYPE_CHECKING:
    from nnatomy.runs.baselines import Beside
    from nnatomy.runs.result import Result
    from nnatomy.tasks import Task


def write_report(result: Result) -> None:
    """Write the run's report.html."""
    write_atomically(result.run.report, render(result))


def render(result: Result) -> str:
    """The whole page: scores, curves, what the test showed, the architecture's picture, the model, the recipe, the command."""
    from nnatomy.runs.picture import pictured

    prepared, run = result.prepared, result.run
    architecture, recipe, dataset = prepared.architecture, prepared.recipe, prepared.dataset
    history = run.history()
    saved = run.record()
    title = f"{architecture.front['title']} on {dataset.name}"
    task, sections = prepared.task, []
    if result.baselines is not None:
        sections.append(section("Next to predictors without a network", _baselines(result.metrics, result.baselines)))
    if history:
        curves = drawing.curves(history, task.metric(recipe.metric), task.metrics[0])
        sections.append(section("Learning curves", image(curves, "svg")))
    if (gradients := read_gradients(run)) and len(gradients) > 1:
        sections.append(section("The learning signal in each layer", image(drawing.signal(gradients), "svg")))
    found = None if result.evaluation is None else task.figure(result.evaluation)
    if found is not None:
        sections.append(section("On held-out test data", image(found, "png")))
    sample = getattr(recipe, "sample", None)
    if sample is not None:
        sections.append(section("A sample", f"<pre>{html.escape(sample(result.model, dataset))}</pre>"))
    sections.append(section("How it works: a picture from this trained model", image(pictured(prepared), "png")))
    sections.append(section("The model", _summary(result)))
    sections.append(section("The data", _data(result)))
    sections.append(section("The recipe", pairs_table(flat(saved.recipe))))
    sections.append(section("Where it ran", pairs_table(flat(run.read_json("environment.json")))))
    sections.append(section("What next", _next(result)))
    sections.append(section("Make it again", f"<pre>{html.escape(saved.command)}</pre>"))
    stopped = f" Stopped early: {html.escape(result.stopped)}." if result.stopped else ""
    best = f" Best epoch: {history[-1]['best_epoch']}." if history else ""
    headline = "" if result.baselines is None else f'<p class="headline">{html.escape(result.baselines.headline)}</p>\n'
    return page(
        title,
        f"""<h1>{html.escape(title)}</h1>
{headline}<p class="quiet">{html.escape(architecture.front["idea"])}</p>
<p class="quiet">{counted(result.epochs, "epoch")} in {result.seconds:.1f} s, {result.model.count_parameters():,} parameters,
seed {prepared.request.seed}.{best}{stopped}</p>
{cards(_figures(task, result.metrics))}
<p class="quiet">Measured on the test split, which took no part in training or in choosing the best epoch.</p>
{"".join(sections)}""",
    )


def _figures(task: Task, metrics: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """The metrics with their names for people; the loss only where no metric is the same number."""
    says = {metric.name: metric for metric in task.metrics}
    for name, value in metrics.items():
        if name == "loss" and value in [other for own, other in metrics.items() if own != "loss"]:
            continue
        unit = says[name].unit if name in says else ""
        yield f"{value:.4g}" + (f" {unit}" if unit and unit not in ("1", "target") else ""), label(name)


def _next(result: Result) -> str:
    """Commands that a user of this run would take next, and first the one that its scores suggest."""
    folder, command = html.escape(str(result.run.folder)), result.prepared.request
    data = "" if command.data is None else f" --data {html.escape(str(command.data))}"
    target = "" if command.target is None else f" --target {html.escape(str(command.target))}"
    found, name = result.baselines, html.escape(str(command.architecture))
    steps = [
        (f"nnatomy draw {folder}", "list the pictures of this run and draw one"),
        (f"nnatomy evaluate {folder}", "measure it again, or on new data with --data"),
        (f"nnatomy export {folder} --to onnx", "write it as ONNX with its preprocessing"),
        (f"nnatomy serve {folder}", "use it in a browser or over HTTP"),
    ]
    if result.prepared.task.takes_data:
        steps.insert(0, (f"nnatomy predict {folder} NEW_DATA", "predict new examples"))
    if found is not None and found.verdict != "ahead" and data:
        steps.insert(0, (f"nnatomy compare{data}{target}", "compare architectures and baselines by cross-validation"))
        steps.insert(1, (f"nnatomy tune {name}{data}{target}", "search settings"))
    rows = "".join(f"<tr><td><code>{words}</code></td><td>{why}</td></tr>" for words, why in steps)
    return f"<table>{rows}</table>"


def _baselines(metrics: Mapping[str, float], found: Beside) -> str:
    """One row a metric, one column for the network and for each baseline; then what they are and what was left out."""
    columns = {"the network": metrics, **found.scores}
    shown = [[label(name), *(f"{own[name]:.4g}" if name in own else "" for own in columns.values())] for name in metrics]
    notes = [f"{name}: {text}" for name, text in (*found.chosen.items(), *found.left_out.items()) if text]
    listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return (
        table(["", *columns], [row for row in shown if any(row[2:])], range(1, 1 + len(columns)))
        + "<p class=quiet>Fitted on the same training rows, measured on the same test rows.</p>"
        + (f"<ul>{listed}</ul>" if listed else "")
    )


def _data(result: Result) -> str:
    dataset = result.dataset
    sizes = f"{len(dataset.train):,} training, {len(dataset.validation):,} validation and {len(dataset.test):,} test examples"
    notes = "".join(f"<li>{html.escape(n)}</li>" for n in dataset.notices)
    columns = ""
    if dataset.columns:
        head = "<tr><th>column</th><th>type</th><th>role</th><th class=n>missing</th><th class=n>outliers</th>"
        head += "<th>examples</th></tr>"
        columns = "<table>" + head + "".join(
            f"<tr><td>{html.escape(c.name)}</td><td>{c.type}</td><td>{c.role}</td><td class=n>{c.missing}</td>"
            f"<td class=n>{c.outliers}</td><td>{html.escape(', '.join(c.examples))}</td></tr>"
            for c in dataset.columns
        ) + "</table>"  # fmt: skip
    return f"<p>{html.escape(dataset.description)}. {sizes}.</p>" + (f"<ul>{notes}</ul>" if notes else "") + columns


def _summary(result: Result) -> str:
    """One row a layer: its place, its output's shape, its parameters and multiply-adds, for one example."""
    from nnatomy.layers.summary import summary

    inputs = result.prepared.task.model_inputs(result.dataset.test.take(np.arange(1)))
    example = result.prepared.task.precision.evaluated(inputs)
    found = summary(result.model, *example)
    head = "<tr><th>layer</th><th>what</th><th>output</th><th class=n>parameters</th><th class=n>multiply-adds</th></tr>"
    rows = "".join(
        f"<tr><td>{html.escape(r.path)}</td><td>{html.escape(r.layer)}</td><td>{' × '.join(map(str, r.output_shape))}</td>"
        f"<td class=n>{r.parameters:,}</td><td class=n>{r.multiply_adds:,}</td></tr>"
        for r in found.rows
    )
    sums = f"<th class=n>{found.parameters:,}</th><th class=n>{found.multiply_adds:,}</th>"
    total = f"<tr><th>in all</th><td></td><td></td>{sums}</tr>"
    return f"<table>{head}{rows}{total}</table><p class=quiet>Output shapes and multiply-adds are for one example.</p>"
