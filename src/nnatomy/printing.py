"""Text for people: names and values from files are shortened, and cannot control the terminal that shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TextIO

__all__ = ["listed", "print_text", "printable", "shown"]

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and line feed, marks that reverse text, and bytes of file names that are not UTF-8."""
LONGEST_VALUE, LONGEST_LIST, LONGEST_SENTENCE = 120, 500, 4000  # characters


def printable(text: str) -> str:
    """Return a text with escapes such as \\u001b, which JSON has too, in place of control characters."""
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """Return a sentence of any length as one printable line of at most LONGEST_SENTENCE characters, without its middle."""
    text = printable(text.replace("\r\n", "\n").replace("\n", "\\n"))
    if len(text) <= LONGEST_SENTENCE:
        return text
    half = LONGEST_SENTENCE // 2 - 30
    return f"{text[:half]} ... ({len(text) - 2 * half:,} characters) ... {text[-half:]}"


def shown(value: Any) -> str:
    """Return the repr of a value that was received, shortened."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits, lists in lists in lists
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 40]} ... ({len(text):,} characters)"


def listed(names: Iterable[Any], most: int = LONGEST_LIST) -> str:
    """Return names with commas between them: all where that is short, else the first of them and how many follow."""
    texts = [text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..." for text in map(str, names)]
    kept, length = 0, 0
    while kept < len(texts) and (length := length + len(texts[kept]) + 2) <= most:
        kept += 1
    return ", ".join(texts[:kept]) + (f" and {len(texts) - kept:,} more" if kept < len(texts) else "")


def print_text(text: object = "", *, file: TextIO | None = None, end: str = "\n", flush: bool = False) -> None:
    """Print what may hold names from a file."""
    print(printable(str(text)), file=file, end=end, flush=flush)
