"""The parts of self-contained pages: one HTML file with its style and pictures inside, for a browser without a network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnatomy.runs import drawing

STYLE = """
:root { color-scheme: light dark; --ink: #1f2937; --quiet: #5b6472; --paper: #f6f7f9; --card: #fff; --line: #e3e6ea;
  --code: #f3f4f6; --figure: #2057a0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --quiet: #a3abb6; --paper: #14171c; --card: #1d2229;
  --line: #39414c; --code: #14171c; --figure: #82b4f5; } }
body { font: 16px/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0; }
main { max-width: 1060px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.7rem; margin: 0 0 4px; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 0 0 12px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 20px 22px; margin: 18px 0; }
.wide { overflow-x: auto; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 18px; }
.card b { display: block; font-size: 1.45rem; color: var(--figure); } .card span { color: var(--quiet); font-size: .85rem; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; background: #fff; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
pre { background: var(--code); border-radius: 8px; padding: 12px 14px; overflow-x: auto; font-size: .88rem;
  white-space: pre-wrap; }
p.quiet { color: var(--quiet); margin: 2px 0; }
p.headline { font-weight: 600; font-size: 1.08rem; margin: 10px 0; }
@media (max-width: 700px) {
  main { padding: 18px 12px 40px; } section { padding: 14px 12px; } .card { padding: 8px 12px; }
  .wide img { max-width: none; width: 760px; } .wide table { min-width: 460px; }
}
"""


def page(title: str, body: str) -> str:
    """The whole file around a page's body."""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><main>
{body}
</main></body></html>
"""


def section(title: str, body: str) -> str:
    """A box with a heading."""
    name = "-".join(title.lower().split())
    head = f'<h2 id="{html.escape(name)}">{html.escape(title)}</h2>'
    return f'<section aria-labelledby="{html.escape(name)}">{head}<div class="wide" tabindex="0">{body}</div></section>\n'


def cards(values: Iterable[tuple[str, str]]) -> str:
    """Figures in large type, (figure, label) each."""
    inside = "".join(f'<div class="card"><b>{html.escape(v)}</b><span>{html.escape(name)}</span></div>' for v, name in values)
    return f'<div class="cards">{inside}</div>'


def image(figure: Any, kind: str, alt: str = "") -> str:
    """A figure inside the page, as "svg" or "png"; without `alt`, its titles and axes are its alternative text."""
    alt = alt or described(figure)
    data = base64.b64encode(drawing.render(figure, kind)).decode()
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    return f'<img alt="{html.escape(alt)}" src="data:{mime};base64,{data}">'


def described(figure: Any) -> str:
    """Return what a figure says of itself: its title, and each panel's title and axes."""
    texts = [figure._suptitle.get_text() if getattr(figure, "_suptitle", None) else ""]
    for axes in figure.axes:
        names = [name for name in (axes.get_xlabel(), axes.get_ylabel()) if name]
        texts.append(axes.get_title() + (f" ({' against '.join(reversed(names))})" if names and axes.get_title() else ""))
    found = ". ".join(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))
    return f"Figure. {found}." if found else "Figure."


def pairs_table(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values, two columns."""
    return "<table>" + "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in rows) + "</table>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """A table with a header; the columns in `numeric` are aligned right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=n' * (i in numeric)}>{html.escape(v)}</{tag}>" for i, v in enumerate(row))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', header)}</tr>{body}</table>"


def flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested plain values as (path, text) rows; what is None or empty is left out."""
    rows = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict) and item:
            rows += flat(item, f"{name}.")
        elif item is not None and item != {}:
            rows.append((name, item if isinstance(item, str) else json.dumps(item)))
    return rows
