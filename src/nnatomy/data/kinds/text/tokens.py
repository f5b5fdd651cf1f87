"""Byte-level byte-pair encoding, learned by the library tokenizers: tokens that can write every text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.errors import UserError
from nnatomy.printing import shown

__all__ = ["SMALLEST", "decode", "encode", "learn", "texts"]

SMALLEST = 257
"""One token for each of the 256 bytes, and the unknown one."""


def learn(text: str, size: int, unknown: str) -> str:
    """Return a tokenizer of `size` tokens, as JSON: the bytes, and the pairs of tokens that are joined, most frequent first.

    Token 0 is `unknown`, which stands in a text only where it is written. Words keep the space before them.

    Raises:
        UserError: for a size below 257, and where the library is not installed

    Source: Sennrich, Haddow and Birch (2016), section 3.2; on bytes: Radford et al. (2019), section 2.2.
    """
    if size < SMALLEST:
        raise UserError(f"Tokens of bytes are at least {SMALLEST}: all bytes and an unknown one. Received {size}. Use 512.")
    library = _library()
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = library.decoders.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size, special_tokens=[unknown], initial_alphabet=sorted(alphabet), show_progress=False
    )
    made.train_from_iterator([text], trainer)
    return str(made.to_str())


def encode(tokenizer: str, text: str) -> npt.NDArray[np.int64]:
    """Return the token ids of a text."""
    return np.array(_made(tokenizer).encode(text).ids, np.int64)


def decode(tokenizer: str, ids: npt.NDArray[Any]) -> str:
    """Return the text of token ids; bytes that are no UTF-8 become the sign of an unknown character."""
    return str(_made(tokenizer).decode([int(i) for i in np.ravel(ids)], skip_special_tokens=False))


def texts(tokenizer: str) -> tuple[str, ...]:
    """Return each token as text, in the order of ids."""
    made = _made(tokenizer)
    return tuple(str(made.decode([i], skip_special_tokens=False)) for i in range(made.get_vocab_size()))


@lru_cache(maxsize=8)
def _made(tokenizer: str) -> Any:
    try:
        return _library().Tokenizer.from_str(tokenizer)
    except UserError:
        raise
    except Exception as problem:  # the library raises nothing more precise
        raise UserError(
            f"A saved tokenizer is the JSON of the tokenizers library. Received {shown(tokenizer)}: {problem}. Train again."
        ) from problem


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise UserError(
            'Tokens of bytes are learned by the library tokenizers. Received none. Install it: pip install "nnatomy[text]"'
        ) from None
    return tokenizers
