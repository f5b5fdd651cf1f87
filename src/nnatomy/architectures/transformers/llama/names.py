"""Names of the parameters in the files of Hugging Face's transformers, and in Meta's own."""

from __future__ import annotations

from itertools import product
from typing import Any

from nnatomy.interchange.names import Names

META = {
    "attention.wq.": "self_attn.q_proj.",
    "attention.wk.": "self_attn.k_proj.",
    "attention.wv.": "self_attn.v_proj.",
    "attention.wo.": "self_attn.o_proj.",
    "feed_forward.w1.": "mlp.gate_proj.",
    "feed_forward.w3.": "mlp.up_proj.",
    "feed_forward.w2.": "mlp.down_proj.",
    "attention_norm.": "input_layernorm.",
    "ffn_norm.": "post_attention_layernorm.",
}


def tables(rotary: str = "half", num_hidden_layers: int = 32, tie_word_embeddings: bool = False, **_: Any) -> dict[str, Names]:
    """Return the tables of a Llama's files: Hugging Face's for pairs of halves, Meta's for pairs of neighbors.

    Early files hold the rotary frequencies too, and a file may repeat a tied head; both are left out. Tables with more names
    come first: a file is read by the first table all of whose names it has.
    """
    layers = range(num_hidden_layers)
    names: dict[str, str] = {"model.": ""}
    title, head, angles = "transformers", "lm_head.weight", [f"model.layers.{n}.self_attn.rotary_emb.inv_freq" for n in layers]
    if rotary != "half":
        names = {f"layers.{n}.{theirs}": f"layers.{n}.{ours}" for n in layers for theirs, ours in META.items()}
        names |= {"tok_embeddings.": "embed_tokens."} | ({} if tie_word_embeddings else {"output.": "lm_head."})
        title, head, angles = "Meta", "output.weight", ["rope.freqs"]
    found: dict[str, Names] = {}
    for old, twice in product((True, False), (True, False) if tie_word_embeddings else (False,)):
        left_out = (angles if old else []) + ([head] if twice else [])
        found[f"{title}{' angles' if old else ''}{' head' if twice else ''}"] = {**names, **dict.fromkeys(left_out)}
    return found
