"""Names of the parameters in the files of Hugging Face's transformers."""

from __future__ import annotations

import itertools
from typing import Any

from nnatomy.interchange.names import Names

HEADS = {"none": (), "pretraining": ("predictions.", "sop_classifier."), "classification": ("classifier.",)}
"""The starts of the names of each head."""
MASKED = ("predictions.",)  # AlbertForMaskedLM has this head of the two alone


def tables(head: str = "none", **_: Any) -> dict[str, Names]:
    """Return the tables of ALBERT's files, of this head and of others, of which the encoder alone is read.

    Files have a second copy of the word embedding and of the bias next to it, and some have the numbers of the positions.
    """
    copies: list[dict[str, str | None]] = [{}]
    if head == "pretraining":
        both = {f"predictions.decoder.{part}": None for part in ("weight", "bias")}
        copies = [{**both}, {"predictions.decoder.weight": None}, {"predictions.decoder.bias": None}, {}]
    others = [dict.fromkeys(starts) for name, starts in HEADS.items() if name != head and starts]
    others += [] if head == "pretraining" else [dict.fromkeys(MASKED)]
    places: tuple[dict[str, str | None], ...] = ({"albert.embeddings.position_ids": None}, {})
    found: dict[str, Names] = {}
    for number, (copy, place, other) in enumerate(itertools.product(copies, places, (*others, {}))):
        prefix = {"albert.": ""} if head == "none" and other else {}
        found[f"transformers {number}"] = {**copy, **place, **other, **prefix}
    return dict(sorted(found.items(), key=lambda entry: -len(entry[1])))
