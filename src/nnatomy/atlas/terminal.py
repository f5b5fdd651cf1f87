"""An architecture's page in the terminal."""

from __future__ import annotations

import re

from nnatomy.atlas.formulas import to_unicode
from nnatomy.catalog import Architecture


def show_page(architecture: Architecture) -> None:
    """Print the front matter and the ten lenses of an architecture."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    width = min(console.width, 100) if console.is_terminal else 100
    console.width = width
    front = architecture.front
    year = f" ({front['year']})" if front["year"] else ""
    console.print(f"[bold]{front['title']}[/bold]{year}, {architecture.family}", highlight=False)
    if front["idea"]:
        console.print(front["idea"], highlight=False)
    if front["paper"]:
        console.print(f"Paper: {front['paper']}", highlight=False, markup=False)
    for key in ("predecessors", "successors", "builds_on"):
        if front.get(key):
            console.print(f"{key.replace('_', ' ').capitalize()}: {', '.join(front[key])}", highlight=False)
    console.print(Markdown(readable(architecture.page)))
    key = architecture.key
    console.print(f"Train it: nnatomy train {key}    Prove it: nnatomy verify {key}", highlight=False, soft_wrap=True)


FENCE = re.compile(r"(^```\w*\n.*?^```$)", re.DOTALL | re.MULTILINE)


def readable(page: str) -> str:
    """Return Markdown for a terminal: Unicode formulas, exercise answers visible, links to pages as commands, no comments."""
    parts = FENCE.split(page)
    return "".join(part if FENCE.fullmatch(part) else _readable_prose(part) for part in parts)


def _readable_prose(text: str) -> str:
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r"<details>\s*<summary>(.*?)</summary>", r"\n   *\1:*", text)
    text = re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?:\w+/)*(\w+)/page\.md\)", r"\1 (`nnatomy info \2`)", text)
    text = re.sub(r"^ *</details>\n?", "", text, flags=re.MULTILINE)
    text = re.sub(r"\$\$(.+?)\$\$", lambda m: "\n```text\n" + to_unicode(m[1]) + "\n```\n", text, flags=re.DOTALL)
    return re.sub(r"\$([^$\n]+?)\$", lambda m: to_unicode(m[1]).replace("*", "\\*").replace("_", "\\_"), text)
