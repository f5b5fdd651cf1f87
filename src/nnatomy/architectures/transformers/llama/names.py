"""Names of the parameters in the files of Hugging Face's transformers, and in Meta's own."""

from __future__ import annotations

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
    """Return the tables of a Llama's files: Meta's, whose pairs of features are neighbors, or Hugging Face's, of halves.

    A tied head may be in a file as a second copy, and Meta's early files hold the rotary frequencies; both are left out.
    Tables with more names come first: a file is read by the first table all of whose names it has.
    """
    names: dict[str, str] = {"model.": ""}
    if rotary == "pairs":
        names = {f"layers.{n}.{theirs}": f"layers.{n}.{ours}" for n in range(num_hidden_layers) for theirs, ours in META.items()}
        names |= {"tok_embeddings.": "embed_tokens."} | ({} if tie_word_embeddings else {"output.": "lm_head."})
    title, head, rope = ("Meta", "output.weight", "rope.freqs") if rotary == "pairs" else ("transformers", "lm_head.weight", "")
    found: dict[str, Names] = {}
    for without in ({rope, head} if tie_word_embeddings else {rope}, {head} if tie_word_embeddings else set(), {rope}, set()):
        left = {name: None for name in sorted(without) if name}
        found[" without ".join([title, *left])] = {**names, **left}
    return found
