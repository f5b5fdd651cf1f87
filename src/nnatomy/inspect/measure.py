"""The width of text in a picture."""

from __future__ import annotations

from functools import cache


@cache
def text_width(words: str, size: float, bold: bool = False, family: str = "sans-serif") -> float:
    """The width of a line of text in Matplotlib's font, in points, with a little architecture."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    if not words:
        return 0.0
    font = FontProperties(size=size, weight="bold" if bold else "normal", family=family)
    width, _, _ = TextToPath().get_text_width_height_descent(words.replace("$", "S"), font, ismath=False)
    return 1.07 * float(width) + 0.5  # hinting makes some letters wider
