"""Names of the parameters in the files of Hugging Face's transformers."""

from __future__ import annotations

import itertools
from typing import Any

from nnatomy.interchange.names import Names

HEADS = {"none": "pooler.", "masked": "lm_head.", "classification": "classifier."}
"""The start of the names of each head; the pooler has the prefix of the encoder."""


def tables(head: str = "none", **_: Any) -> dict[str, Names]:
    """Return the tables of RoBERTa's files, of this head and of others, of which the encoder alone is read.

    Files have a second copy of the word embedding and of the bias next to it, some have the numbers of the positions and a
    pooler that is not used.
    """
    copies: list[dict[str, str | None]] = [{}]
    if head == "masked":
        copies = [dict.fromkeys(("lm_head.decoder.weight", "lm_head.decoder.bias")), {"lm_head.decoder.weight": None},
                  {"lm_head.decoder.bias": None}, {}]  # fmt: skip
    rest: list[dict[str, str | None]] = [{"roberta.embeddings.position_ids": None}, {}]
    pooled: list[dict[str, str | None]] = [{}] if head == "none" else [{"roberta.pooler.": None}, {}]
    others: list[dict[str, str | None]] = [{HEADS[name]: None} for name in ("masked", "classification") if name != head]
    found: dict[str, Names] = {}
    for number, (copy, place, pooler, other) in enumerate(itertools.product(copies, rest, pooled, (*others, {}))):
        prefix = {"roberta.": ""} if head == "none" and other else {}
        found[f"transformers {number}"] = {**copy, **place, **pooler, **other, **prefix}
    return dict(sorted(found.items(), key=lambda entry: -len(entry[1])))
