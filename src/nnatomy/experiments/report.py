"""report.html: one file that tells all about a run and opens without a server or a network."""

from __future__ import annotations

import base64
import html
import json
from typing import TYPE_CHECKING, Any

from nnatomy.experiments import drawing
from nnatomy.experiments.callbacks import counted
from nnatomy.experiments.runs import write_atomically

if TYPE_CHECKING:
    from nnatomy.experiments.training import Result

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #1f2937; background: #f6f7f9; margin: 0; }
main { max-width: 1060px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.7rem; margin: 0 0 4px; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 0 0 12px; }
section { background: #fff; border: 1px solid #e3e6ea; border-radius: 10px; padding: 20px 22px; margin: 18px 0;
  overflow-x: auto; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 0; }
.card { background: #fff; border: 1px solid #e3e6ea; border-radius: 10px; padding: 10px 18px; }
.card b { display: block; font-size: 1.45rem; color: #2563a8; } .card span { color: #6b7280; font-size: .85rem; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid #eef0f2; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #f3f4f6; border-radius: 8px; padding: 12px 14px; overflow-x: auto; font-size: .88rem; white-space: pre-wrap; }
p.quiet { color: #6b7280; margin: 2px 0; }
"""


def write_report(result: Result) -> None:
    """Writes the run's report.html."""
    write_atomically(result.run.report, render(result))


def render(result: Result) -> str:
    """The whole page: scores, curves, what the test showed, the room's picture, the model, the recipe, the command."""
    prepared, run = result.prepared, result.run
    room, recipe, dataset = prepared.room, prepared.recipe, prepared.dataset
    history = run.history()
    saved = run.read_json("run.json")
    title = f"{room.front['title']} on {dataset.name}"
    sections = [_section("Learning curves", _image(drawing.curves(history, recipe.metric), "svg"))] if history else []
    found = drawing.findings(result)
    if found is not None:
        sections.append(_section("On held-out test data", _image(found, "png")))
    sample = getattr(recipe, "sample", None)
    if sample is not None:
        sections.append(_section("A sample", f"<pre>{html.escape(sample(result.model, dataset))}</pre>"))
    picture = room.module("picture").draw(result.model, dataset)
    sections.append(_section("How it works: a picture from this trained model", _image(picture, "png")))
    sections.append(_section("The model", _summary(result)))
    sections.append(_section("The data", _data(result)))
    sections.append(_section("The recipe", _table(_flat(saved["recipe"]))))
    sections.append(_section("Where it ran", _table(_flat(run.read_json("environment.json")))))
    sections.append(_section("Make it again", f"<pre>{html.escape(saved['command'])}</pre>"))
    cards = "".join(
        f'<div class="card"><b>{value:.4g}</b><span>{html.escape(name)}</span></div>' for name, value in result.metrics.items()
    )
    stopped = f" Stopped early: {html.escape(result.stopped)}." if result.stopped else ""
    best = f" Best epoch: {history[-1]['best_epoch']}." if history else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><main>
<h1>{html.escape(title)}</h1>
<p class="quiet">{html.escape(room.front["idea"])}</p>
<p class="quiet">{counted(result.epochs, "epoch")} in {result.seconds:.1f} s, {result.model.count_parameters():,} parameters,
seed {prepared.request.seed}.{best}{stopped}</p>
<div class="cards">{cards}</div>
<p class="quiet">Measured on the test split, which took no part in training or in choosing the best epoch.</p>
{"".join(sections)}
</main></body></html>
"""


def _section(title: str, body: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>\n"


def _image(figure: Any, kind: str) -> str:
    data = base64.b64encode(drawing.render(figure, kind)).decode()
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    return f'<img alt="" src="data:{mime};base64,{data}">'


def _table(rows: list[tuple[str, str]]) -> str:
    return "<table>" + "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in rows) + "</table>"


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict) and item:
            rows += _flat(item, f"{name}.")
        elif item is not None and item != {}:
            rows.append((name, item if isinstance(item, str) else json.dumps(item)))
    return rows


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

    example = [a[:1] for a in result.dataset.test.take(_first_index())[:-1]]
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


def _first_index() -> Any:
    import numpy as np

    return np.arange(1)
