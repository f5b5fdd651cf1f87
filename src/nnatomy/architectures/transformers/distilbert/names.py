"""Names of the parameters in the files of Hugging Face's transformers: DistilBERT's and BERT's, which starts a student."""

from __future__ import annotations

import itertools
from typing import Any

from nnatomy.architectures.transformers.distilbert.model import inherited
from nnatomy.interchange.names import Names

HEADS = {
    "none": (), "masked": ("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
    "classification": ("pre_classifier.", "classifier."),
}  # fmt: skip
"""The starts of the names of each head."""


def tables(head: str = "none", n_layers: int = 6, **_: Any) -> dict[str, Names]:
    """Return the tables of a BERT of twice as many layers, and of DistilBERT's files, of this head and of others.

    Of a file with another head the encoder alone is read. Files have a second copy of the word embedding.
    """
    bert: dict[str, str | None] = {theirs: ours for ours, theirs in inherited(n_layers).items()} | {"bert.": None, "cls.": None}
    found: dict[str, Names] = {"transformers, BERT": bert} if head == "masked" else {}
    copies = ({"vocab_projector.weight": None}, {}) if head == "masked" else ({},)
    others = [dict.fromkeys(starts) for name, starts in HEADS.items() if name != head and starts]
    for number, (copy, other) in enumerate(itertools.product(copies, (*others, {}))):
        prefix = {"distilbert.": ""} if head == "none" and other else {}
        found[f"transformers {number}"] = {**copy, **other, **prefix}
    return dict(sorted(found.items(), key=lambda entry: -len(entry[1])))
