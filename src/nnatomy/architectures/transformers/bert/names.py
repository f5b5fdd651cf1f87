"""Names of the parameters in the files of Hugging Face's transformers."""

from __future__ import annotations

import itertools
from typing import Any

from nnatomy.interchange.names import Names

HEADS = {"pretraining": "cls.", "classification": "classifier.", "tokens": "classifier.", "span": "qa_outputs."}
"""The start of the names of each head."""


def tables(head: str = "none", num_hidden_layers: int = 12, **_: Any) -> dict[str, Names]:
    """Return the tables of BERT's files: of the same head, and of other heads, of which the encoder alone is read.

    Files have a second copy of the word embedding, files of the first years also the numbers of the positions, and "gamma" and
    "beta" for the weight and bias of a LayerNorm. A table fits a file that has all of its names, so each mixture has its own.
    """
    mine = HEADS.get(head)
    layers = [f"encoder.layer.{n}.{part}" for n in range(num_hidden_layers) for part in ("attention.output", "output")]
    norms = [f"bert.{part}.LayerNorm" for part in ("embeddings", *layers)]
    own: dict[str, str | None] = {}
    if head == "pretraining":
        own = {f"cls.predictions.decoder.{part}": None for part in ("weight", "bias")}
        norms.append("cls.predictions.transform.LayerNorm")
    of_2018 = {f"{norm}.{old}": f"{norm}.{new}" for norm in norms for old, new in (("gamma", "weight"), ("beta", "bias"))}
    bare = {"bert.pooler.": None} if head in ("tokens", "span") else {}  # these have none
    others: list[dict[str, str | None]] = [{start: None, **bare} for start in sorted(set(HEADS.values())) if start != mine]
    found: dict[str, Names] = {}
    choices = itertools.product((of_2018, {}), ({"bert.embeddings.position_ids": None}, {}), (own, {}), (*others, {}))
    for number, parts in enumerate(choices):
        table: dict[str, str | None] = {foreign: ours for part in parts for foreign, ours in part.items()}
        if head == "none":  # with the prefix, and without
            inner = {foreign: None if ours is None else ours.removeprefix("bert.") for foreign, ours in table.items()}
            found[f"transformers {number}, encoder"] = {**inner, "bert.": ""}
            table = {foreign.removeprefix("bert."): ours for foreign, ours in inner.items()}
        found[f"transformers {number}"] = table
    return dict(sorted(found.items(), key=lambda entry: -len(entry[1])))
