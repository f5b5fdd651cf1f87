"""The parts of self-contained pages: one HTML file with its style and pictures inside, for a browser without a network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnatomy.runs import drawing

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
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>\n"


def cards(values: Iterable[tuple[str, str]]) -> str:
    """Figures in large type, (figure, label) each."""
    inside = "".join(f'<div class="card"><b>{html.escape(v)}</b><span>{html.escape(name)}</span></div>' for v, name in values)
    return f'<div class="cards">{inside}</div>'


def image(figure: Any, kind: str, alt: str = "") -> str:
    """A figure inside the page, as "svg" or "png"."""
    data = base64.b64encode(drawing.render(figure, kind)).decode()
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    return f'<img alt="{html.escape(alt)}" src="data:{mime};base64,{data}">'


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
