"""Lines, words and the normal form of texts, by the rules of Unicode."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any, Literal

__all__ = ["NORMAL_FORM", "Form", "SOFT_HYPHEN", "common_words", "lines", "normal", "word", "words"]

SOFT_HYPHEN = "\u00ad"
Form = Literal["", "NFC", "NFD", "NFKC", "NFKD"]
"""A normal form of Unicode; "" leaves texts as they are."""
NORMAL_FORM: Form = "NFC"
_LETTER = r"[\w--[\p{Han}\p{Hiragana}]]"


def lines(text: str) -> list[str]:
    """Return the lines of a text: they end at newlines alone, not at form feeds, U+0085 or U+2028 as with `str.splitlines`."""
    found = text.split("\n")
    if not found[-1]:
        found.pop()
    return [line.removesuffix("\r") for line in found]


def normal(text: str, form: Form = NORMAL_FORM) -> str:
    """Return a text in a normal form of Unicode, in which é is one character however it was typed; "" leaves it as it is."""
    return unicodedata.normalize(form, text) if form else text


@cache
def word() -> Any:
    r"""Return the pattern of a token: a word with its marks, hyphens and apostrophes, or one other character as it is seen.

    A letter of Chinese or Japanese, which write no spaces, is a token. Python's `re` would end words at vowel signs, as its \w
    has no combining marks, and cut one emoji into several.
    """
    import regex  # here: most data have no words

    other = r"(?![\s\p{Cf}])\X"
    return regex.compile(rf"[\p{{Han}}\p{{Hiragana}}]\p{{M}}*|{_LETTER}+(?:[-'’]{_LETTER}+)*|{other}", regex.VERSION1)


def words(text: str) -> list[str]:
    """Return a text's words and marks as they are written; soft hyphens, which say where a line may end, are left out."""
    found: list[str] = word().findall(text.replace(SOFT_HYPHEN, ""))
    return found


def common_words(texts: Iterable[str], minimum: int) -> list[str]:
    """Return the words that occur `minimum` times or more, in lower case, the most frequent first."""
    counts = Counter(word for text in texts for word in words(normal(text).lower()))
    return sorted((word for word, n in counts.items() if n >= minimum), key=lambda word: (-counts[word], word))
