"""BLEU of a corpus: n-gram precisions against one reference each, and a penalty for brevity."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

__all__ = ["bleu", "tokenize"]

ORDER = 4
ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
MARKS = re.compile(r"([!-&(-+/:-@\[-`{-~])")  # all of ASCII but ' , - .
BEFORE, AFTER, DASH = re.compile(r"([^0-9])([.,])"), re.compile(r"([.,])([^0-9])"), re.compile(r"([0-9])(-)")


def tokenize(text: str) -> list[str]:
    """Return the tokens of a text as mteval-v13a makes them: marks by themselves, but for . and , inside numbers."""
    text = text.replace("<skipped>", "")
    for entity, character in ENTITIES:
        text = text.replace(entity, character)
    text = MARKS.sub(r" \1 ", f" {text} ")
    text = BEFORE.sub(r"\1 \2 ", text)
    text = AFTER.sub(r" \1 \2", text)
    return DASH.sub(r"\1 \2 ", text).split()


def bleu(translations: Sequence[str], references: Sequence[str], characters: bool = False) -> float:
    """Return BLEU in percent: 100 min(1, e^(1 - r / c)) (p_1 p_2 p_3 p_4)^(1/4), with sacrebleu's default settings.

    p_n is the fraction of the n-grams of all translations that occur in their references, each at most as often as there;
    where none does, the k-th such p_n is 1 / (2^k n-grams). c and r are the tokens of translations and references.

    Args:
        translations, references: texts as a person reads them, not tokens; case counts
        characters: count n-grams of characters instead of words

    Source: Papineni et al. (2002), section 2.3; Post (2018) for the tokens.
    """
    found, total, c, r = [0] * ORDER, [0] * ORDER, 0, 0
    for translation, reference in zip(translations, references, strict=True):
        hypothesis, truth = ((list("".join(t.split())) if characters else tokenize(t)) for t in (translation, reference))
        c, r = c + len(hypothesis), r + len(truth)
        for n in range(1, ORDER + 1):
            made, wanted = (Counter(tuple(t[i : i + n]) for i in range(len(t) - n + 1)) for t in (hypothesis, truth))
            found[n - 1] += sum((made & wanted).values())
            total[n - 1] += max(len(hypothesis) - n + 1, 0)
    if not any(found) or not all(total):
        return 0.0
    log_p, nothing = 0.0, 0
    for matches, grams in zip(found, total, strict=True):
        nothing += matches == 0
        log_p += math.log(matches / grams if matches else 1 / (2**nothing * grams))
    return 100 * math.exp(min(0.0, 1 - r / c) + log_p / ORDER)
