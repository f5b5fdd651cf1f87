"""The face of a result: one line in a console, a table in a notebook. Each class says what is on it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROWS = 20  # of a table in a notebook
LETTERS = 60  # of a value in a console
SHORT = {"auc": "AUC", "r2": "R²", "mse": "MSE", "rmse": "RMSE", "mae": "MAE", "bleu": "BLEU", "f1": "F1", "miou": "mean IoU"}


def label(name: str) -> str:
    """Return the name of a metric or a setting for people: "balanced accuracy", "RMSE in units"."""
    return " ".join(SHORT.get(word, word) for word in name.split("_"))


def number(value: Any) -> str:
    """Return a value as a reader wants it: four digits of a float, everything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Face:
    """What a result shows: a title, a sentence, and a table whose first row is its header."""

    title: str
    sentence: str = ""
    table: Sequence[Sequence[Any]] = ()
    note: str = ""
    text: str = ""
    """Shown as it is, line by line."""

    @classmethod
    def of(cls, title: str, values: Mapping[str, Any] | Iterable[tuple[str, Any]], sentence: str = "", note: str = "") -> Face:
        """Return a face with two columns: names and values."""
        pairs = values.items() if isinstance(values, Mapping) else values
        return cls(title, sentence, [("", ""), *((label(name), value) for name, value in pairs)], note)

    def html(self) -> str:
        """Return the face as HTML."""
        text = [f"<p><b>{html.escape(self.title)}</b></p>"]
        if self.sentence:
            text.append(f"<p>{html.escape(self.sentence)}</p>")
        if self.table:
            head, *rows = self.table
            cells = [*([("th", head)] if any(head) else []), *(("td", row) for row in rows[:ROWS])]
            lines = ["".join(f"<{tag}>{html.escape(number(value))}</{tag}>" for value in row) for tag, row in cells]
            text.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
            if len(rows) > ROWS:
                text.append(f"<p>and {len(rows) - ROWS:,} more rows</p>")
        if self.text:
            text.append(f"<pre>{html.escape(self.text)}</pre>")
        if self.note:
            text.append(f"<p>{html.escape(self.note)}</p>")
        return "".join(text)


class Shown:
    """A result that shows its `face`; the class itself defines no repr."""

    def face(self) -> Face:
        """Return what is shown."""
        raise NotImplementedError(f"{type(self).__name__} has no face().")

    def __repr__(self) -> str:
        face = self.face()
        wide = bool(face.table) and len(face.table[0]) != 2
        shown = "" if wide else ", ".join(f"{row[0]} {number(row[1])[:LETTERS]}" for row in face.table[1:] if row[0])
        return f"<{type(self).__name__}: {'; '.join(filter(None, (face.title, face.sentence, shown, face.note)))}>"

    def _repr_html_(self) -> str:
        """Return the face for a notebook."""
        return self.face().html()
