"""BLEU of a corpus, by sacrebleu, which fixes its tokens so that papers can be compared (Post 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from nnatomy.errors import UserError

__all__ = ["bleu", "installed"]


def installed() -> bool:
    """Return True if BLEU can be measured here."""
    return find_spec("sacrebleu") is not None


def bleu(translations: Sequence[str], references: Sequence[str], characters: bool = False) -> float:
    """Return BLEU in percent: 100 min(1, e^(1 - r / c)) (p_1 p_2 p_3 p_4)^(1/4).

    p_n is the fraction of the n-grams of all translations that occur in their references, each at most as often as there.
    c and r are the tokens of translations and references.

    Args:
        translations, references: texts as a person reads them, not tokens; case counts
        characters: count n-grams of characters instead of words

    Raises:
        UserError: sacrebleu is not installed

    Source: Papineni et al. (2002), section 2.3.
    """
    if not installed():
        raise UserError('BLEU is measured by sacrebleu. Received none. Install it: pip install "nnatomy[text]"')
    import sacrebleu

    tokens = "char" if characters else "13a"
    return float(sacrebleu.corpus_bleu(list(translations), [list(references)], tokenize=tokens).score)
