"""Names of the parameters in the files of Hugging Face's transformers, GPT-2's and GPT-1's."""

from __future__ import annotations

from typing import Any

from nnatomy.interchange.names import Names


def tables(norm: str = "pre", n_layer: int = 12, **_: Any) -> dict[str, Names]:
    """Return the tables of a GPT's files: with and without the prefix, the second copy of wte, and GPT-2's masks of 2019.

    Tables with more names come first: a file is read by the first table all of whose names it has.
    """
    embeddings = {} if norm == "pre" else {"tokens_embed.": "wte.", "positions_embed.": "wpe."}
    found: dict[str, Names] = {}
    for prefix in ("transformer.", ""):
        named = {prefix + foreign: ours for foreign, ours in embeddings.items()} | ({prefix: ""} if prefix else {})
        masks = {f"{prefix}h.{layer}.attn.bias": None for layer in range(n_layer)}
        for masked in (masks, {}):
            for head in ({"lm_head.weight": None}, {}):
                title = f"transformers{' ' + prefix if prefix else ''}{' masks' if masked else ''}{' head' if head else ''}"
                found[title] = {**named, **masked, **head}
    return found
