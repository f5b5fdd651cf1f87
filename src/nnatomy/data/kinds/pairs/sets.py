"""Pairs of texts that have names: strings of letters to copy or to reverse, and Multi30k."""

from __future__ import annotations

from pathlib import Path

from nnatomy.data.dataset import Dataset, generator
from nnatomy.data.kinds.pairs.pairs import Parallel, pair_dataset
from nnatomy.data.reading import Reading
from nnatomy.data.sets import Made, Named, Public

__all__ = ["SETS"]

LETTERS, STRINGS, LONGEST = "abcdefgh", 8000, 4
COPY, REVERSE = "=", "<"
PARTS = ("train", "val", "test_2016_flickr")


def _letters(reading: Reading) -> Dataset:
    """Return distinct strings, each to be copied ("=abc" gives "abc") or reversed ("<abc" gives "cba")."""
    rng = generator(reading.seed)
    strings: dict[str, str] = {}
    while len(strings) < STRINGS:
        text = "".join(LETTERS[i] for i in rng.integers(0, len(LETTERS), int(rng.integers(1, LONGEST + 1))))
        back = bool(rng.integers(2))
        strings[(REVERSE if back else COPY) + text] = text[::-1] if back else text
    return pair_dataset("letters", (list(strings), list(strings.values())), reading)


def _multi30k(folder: Path, source: str, target: str, reading: Reading) -> Dataset:
    files = {part: tuple(folder / f"multi30k.{part}.{language}.gz" for language in (source, target)) for part in PARTS}
    texts, official = Parallel((source, target), {part: (a, b) for part, (a, b) in files.items()}).read()
    return pair_dataset("multi30k", texts, reading, official, language=target)


def _direction(source: str, target: str) -> Public:
    return Public(
        "translation",
        f"31,014 captions of photos, {source} to {target}, in official parts (Elliott et al. 2016)",
        files=tuple(f"multi30k.{part}.{language}.gz" for part in PARTS for language in (source, target)),
        read=lambda found, reading: _multi30k(found.path, source, target, reading),
    )


SETS: dict[str, Named] = {
    "letters": Made(_letters),
    "multi30k": _direction("de", "en"),
    "multi30k_fr": _direction("fr", "en"),
}
