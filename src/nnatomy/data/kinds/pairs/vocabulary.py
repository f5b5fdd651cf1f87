"""From a text to numbers of its words or characters and back; fitted on training texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.lines import NORMAL_FORM, SOFT_HYPHEN, Form, normal, word, words

__all__ = ["BOS", "EOS", "PAD", "UNK", "Vocabulary"]

Array = npt.NDArray[Any]
PAD, BOS, EOS, UNK = range(4)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
LONGEST = 200  # tokens of a text that are read; the rest is cut off
SPACED = 0.5  # the fraction of texts with a space from which texts are read as words


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by their frequency in the training texts: words without regard to case, or characters.

    A word is written back as training wrote it most often inside a sentence, and a mark is joined to its neighbors as there.
    """

    tokens: tuple[str, ...]
    """PAD, BOS, EOS and UNK, then the tokens as they are written."""
    spaced: bool = True
    """True if tokens are words, False if they are characters."""
    capital: bool = False
    """True if texts start with a capital letter."""
    joined_left: tuple[str, ...] = ()
    """Marks without a space before them, such as a full stop."""
    joined_right: tuple[str, ...] = ()
    """Marks without a space after them, such as an opening bracket."""
    form: Form = NORMAL_FORM
    """The normal form of Unicode that texts take."""

    @classmethod
    def fit(cls, texts: Sequence[str], minimum: int = 1) -> Vocabulary:
        """Fit on the training texts; tokens seen fewer than `minimum` times are unknown."""
        texts = [normal(text).replace(SOFT_HYPHEN, "") for text in texts]
        if sum(" " in text.strip() for text in texts) < SPACED * len(texts):
            counts = Counter(character for text in texts for character in text)
            common = sorted((c for c, n in counts.items() if n >= minimum), key=lambda c: (-counts[c], c))
            return cls((*SPECIAL, *common), spaced=False)
        counts, inside, first = Counter[str](), Counter[str](), Counter[str]()
        left, right, seen = Counter[str](), Counter[str](), Counter[str]()
        for text in texts:
            for match in word().finditer(text):
                token, (start, end) = match.group(), match.span()
                counts[token.lower()] += 1
                (inside if start and text[:start].strip() else first)[token] += 1
                if not token[0].isalnum():
                    seen[token] += 1
                    left[token] += start > 0 and not text[start - 1].isspace()
                    right[token] += end < len(text) and not text[end].isspace()
        starts = [text.strip()[:1] for text in texts]
        capital = 2 * sum(start.isupper() for start in starts) > len(starts)
        written: dict[str, str] = {}
        for found in (first, inside):  # how a word is written inside a sentence wins over its first place
            for token, _ in sorted(found.items(), key=lambda item: (item[1], item[0])):
                written[token.lower()] = token[0].lower() + token[1:] if capital and found is first else token
        common = sorted((w for w, n in counts.items() if n >= minimum), key=lambda w: (-counts[w], w))
        return cls(
            (*SPECIAL, *(written[w] for w in common)),
            capital=capital,
            joined_left=tuple(sorted(m for m in seen if 2 * left[m] > seen[m] and m.lower() in written)),
            joined_right=tuple(sorted(m for m in seen if 2 * right[m] > seen[m] and m.lower() in written)),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.tokens)

    def split(self, text: str) -> list[str]:
        """Return the tokens of a text as they are looked up."""
        text = normal(text, self.form)
        return [token.lower() for token in words(text)] if self.spaced else list(text)

    def encode(self, texts: Sequence[str]) -> tuple[Array, ...]:
        """Return the token numbers int64 of each text, without BOS and EOS; at most LONGEST, and UNK for an empty one."""
        place = {(token.lower() if self.spaced else token): n for n, token in enumerate(self.tokens) if n > UNK}
        return tuple(np.array([place.get(t, UNK) for t in self.split(s)[:LONGEST]] or [UNK], np.int64) for s in texts)

    def decode(self, numbers: Array) -> str:
        """Return the text of token numbers up to the first EOS; PAD and BOS are passed over."""
        kept = []
        for n in np.asarray(numbers).tolist():
            if n == EOS:
                break
            if n not in (PAD, BOS):
                kept.append(self.tokens[n])
        return self.joined(kept)

    def joined(self, tokens: Sequence[str]) -> str:
        """Return tokens as one text, with spaces and the first capital where training had them."""
        if not self.spaced:
            return "".join(tokens)
        left, right, text, glued = set(self.joined_left), set(self.joined_right), "", True
        for token in tokens:
            text += token if glued or token in left else f" {token}"
            glued = token in right
        return text[:1].upper() + text[1:] if self.capital else text

