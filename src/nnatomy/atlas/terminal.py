"""A room's page in the terminal."""

from __future__ import annotations

import re

from nnatomy.experiments.discovery import Room


def show_page(room: Room) -> None:
    """Prints the front matter and the ten lenses of a room."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    width = min(console.width, 100) if console.is_terminal else 100
    front = room.front
    console.print(f"[bold]{front['title']}[/bold] ({front['year']}), {room.family}", highlight=False)
    console.print(front["idea"], highlight=False, width=width)
    console.print(f"Paper: {front['paper']}", highlight=False, markup=False, width=width)
    for key in ("predecessors", "successors", "builds_on"):
        if front.get(key):
            console.print(f"{key.replace('_', ' ').capitalize()}: {', '.join(front[key])}", highlight=False)
    console.print(Markdown(readable(room.page)), width=width)
    console.print(f"Train it: nnatomy train {room.name}    Prove it: nnatomy verify {room.name}", highlight=False)


def readable(page: str) -> str:
    """Markdown whose display formulas stand in blocks of their own and whose comments are gone."""
    page = re.sub(r"<!--.*?-->\n?", "", page, flags=re.S)
    return re.sub(r"\$\$(.+?)\$\$", lambda m: "\n```\n" + m[1].strip() + "\n```\n", page, flags=re.S)
