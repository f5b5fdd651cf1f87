"""WordPiece: words as the longest known pieces, "playing" as "play ##ing". Vocabularies of pieces are learned by tokenizers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nnatomy.data.lines import NORMAL_FORM, Form, common_words, normal, words
from nnatomy.errors import UserError

__all__ = ["CLS", "MASK", "PAD", "SEP", "SPECIAL", "UNKNOWN", "WordPieces", "frequent_words", "learn"]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNKNOWN, CLS, SEP, MASK = range(len(SPECIAL))
"""Numbers of the tokens with which every vocabulary starts."""
INSIDE = "##"
"""What a piece starts with that does not start a word."""
_MARKED = re.compile("(" + "|".join(map(re.escape, SPECIAL)) + ")")


class WordPieces:
    """A vocabulary, and the greedy cutting of words into its pieces: each time the longest that fits (Wu et al. 2016)."""

    def __init__(self, vocabulary: Sequence[str], form: Form = NORMAL_FORM) -> None:
        self.vocabulary, self.form = tuple(vocabulary), form
        self.place = {piece: number for number, piece in enumerate(vocabulary)}
        self.longest = max(map(len, vocabulary))
        self.pieces = lru_cache(maxsize=100_000)(self._cut)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Return the token ids of a text in lower case; special tokens that are written in it, such as [MASK], are kept."""
        found: list[int] = []
        for part in _MARKED.split(normal(text, self.form)):
            if part in SPECIAL:
                found.append(self.place[part])
            else:
                found += [self.place[piece] for word in words(part.lower()) for piece in self.pieces(word)]
        return np.array(found, np.int64)

    def _cut(self, word: str) -> tuple[str, ...]:
        """The pieces of a word; the unknown token where a rest of it starts with no piece."""
        found, start = list[str](), 0
        while start < len(word):
            prefix = INSIDE if start else ""
            for end in range(min(len(word), start + self.longest), start, -1):
                if prefix + word[start:end] in self.place:
                    break
            else:
                return (SPECIAL[UNKNOWN],)
            found.append(prefix + word[start:end])
            start = end
        return tuple(found)

    def decode(self, ids: Iterable[int]) -> str:
        """Return token ids as text: pieces joined to words, words with spaces between, padding left out."""
        return " ".join(self.vocabulary[int(i)] for i in ids if int(i) != PAD).replace(f" {INSIDE}", "")


def frequent_words(texts: Iterable[str], minimum: int = 2) -> tuple[str, ...]:
    """Return the vocabulary of the words that occur `minimum` times or more, the most frequent first; others are unknown."""
    return (*SPECIAL, *common_words(texts, minimum))


def learn(texts: Iterable[str], size: int) -> tuple[str, ...]:
    """Return a vocabulary of at most `size` pieces: all characters, then the most frequent pairs of pieces, joined.

    Raises UserError for a size without place for the characters, and where the library is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise UserError(
            'Word pieces are learned by the library tokenizers. Received none. Install it: pip install "nnatomy[text]"'
        ) from None
    split = [" ".join(words(normal(text).lower())) for text in texts]
    inside = sorted({INSIDE + character for text in split for word in text.split() for character in word[1:]})
    least = len({character for text in split for character in text if character != " "}) + len(inside) + len(SPECIAL)
    if size < least:
        raise UserError(
            f"Word pieces are at least the characters of the texts, {least} with the special ones. Received {size} tokens. "
            f"Use --tokens {2 * least}."
        )
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token=SPECIAL[UNKNOWN]))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    # the library numbers inner characters in the order of a hash table, which differs from run to run: they are named first
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=size, special_tokens=[*SPECIAL, *inside], show_progress=False)
    made.train_from_iterator(split, trainer)
    numbers: dict[str, int] = made.get_vocab()
    return tuple(sorted(numbers, key=numbers.__getitem__))
