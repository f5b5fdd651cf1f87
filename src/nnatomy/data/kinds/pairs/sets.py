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
DIGESTS = {  # of the texts, unpacked
    ("train", "de"): "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
    ("train", "en"): "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
    ("train", "fr"): "5925a3c18f1587b6b54b87743106e6e8ab93618edb6f65d19eac0621f853a10d",
    ("val", "de"): "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
    ("val", "en"): "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
    ("val", "fr"): "5304e444d842e962b2dda4d816b70b22a1765b15401642b7ca37a67477e708dc",
    ("test_2016_flickr", "de"): "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
    ("test_2016_flickr", "en"): "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
    ("test_2016_flickr", "fr"): "cb3160d69b002bb638e66cc7612fcd56cb0af82eadc9c142dedc438afb885ef6",
}


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
        files={f"multi30k.{part}.{language}.gz": DIGESTS[part, language] for part in PARTS for language in (source, target)},
        read=lambda found, reading: _multi30k(found.path, source, target, reading),
    )


SETS: dict[str, Named] = {
    "letters": Made(_letters),
    "multi30k": _direction("de", "en"),
    "multi30k_fr": _direction("fr", "en"),
}
