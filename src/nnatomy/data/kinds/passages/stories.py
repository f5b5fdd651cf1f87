"""Generated stories of two sentences, in which many words follow from words on both sides, and the second from the first."""

from __future__ import annotations

import itertools

from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.passages.passages import PassagePreprocessing, pairs_of, passage_dataset
from nnatomy.data.reading import Reading
from nnatomy.data.wordpiece import SPECIAL

__all__ = ["VOCABULARY", "stories"]

WINDOW = 32
SUBJECTS = (  # as it is written, its pronoun, the number of its verbs
    ("anna", "she", 1), ("emma", "she", 1), ("the girl", "she", 1), ("the queen", "she", 1),
    ("ben", "he", 1), ("tom", "he", 1), ("the boy", "he", 1), ("the king", "he", 1),
    ("the girls", "they", 2), ("the boys", "they", 2), ("the kings", "they", 2), ("anna and tom", "they", 2),
)  # fmt: skip
NEAR = ("", "near the tree", "near the trees", "near the house", "near the houses")
"""What stands between a subject and its verb, of either number."""
PLACES = {  # where a person is, and what is done there
    "in the garden": ("plant", "flower"), "in the kitchen": ("cook", "egg"), "at the lake": ("follow", "duck"),
    "in the forest": ("pick", "apple"), "at the market": ("want", "orange"), "at school": ("paint", "picture"),
}  # fmt: skip
FORMS = {("now", 1): "is", ("now", 2): "are", ("yesterday", 1): "was", ("yesterday", 2): "were"}
ENDINGS = {("now", 1): "s", ("now", 2): "", ("yesterday", 1): "ed", ("yesterday", 2): "ed"}
VOCABULARY = (
    *SPECIAL, ".", "the", "a", "an", "and", "two", "is", "are", "was", "were", "##s", "##ed", "now", "yesterday", "she", "he",
    "they", "anna", "emma", "ben", "tom", "girl", "boy", "queen", "king", "near", "tree", "house", "in", "at", "garden",
    "kitchen", "lake", "forest", "market", "school", "plant", "cook", "follow", "pick", "want", "paint", "flower", "egg",
    "duck", "apple", "orange", "picture",
)  # fmt: skip


def stories(reading: Reading) -> Dataset:
    """Return stories such as "the girls near the house were in the garden yesterday. they planted two flowers."

    The verb's number follows from the subject on its left, its tense from the time on its right, the pronoun from the first
    sentence, its end from both, the object from the place, and "a" or "an" from the word after it. No story is in two parts.
    """
    preprocessing = PassagePreprocessing(VOCABULARY, int(reading.use("window", WINDOW)), pairs=pairs_of(reading))
    documents = [[preprocessing.pieces.encode(sentence) for sentence in story] for story in _all()]
    parts = [[documents[i] for i in rows] for rows in reading.part(len(documents), fractions=(0.15, 0.15))]
    described = f"{len(documents):,} generated stories of two sentences, {len(VOCABULARY)} tokens"
    return passage_dataset("stories", parts, preprocessing, reading.seed, described)


def _all() -> list[tuple[str, str]]:
    """Every story, in order."""
    found = []
    for (subject, pronoun, number), near, (place, (verb, noun)), time, many in itertools.product(
        SUBJECTS, NEAR, PLACES.items(), ("now", "yesterday"), (False, True)
    ):
        things = f"two {noun}s" if many else f"{'an' if noun[0] in 'aeo' else 'a'} {noun}"
        first = f"{subject} {near} {FORMS[time, number]} {place} {time}."
        found.append((first.replace("  ", " "), f"{pronoun} {verb}{ENDINGS[time, number]} {things}."))
    return found
