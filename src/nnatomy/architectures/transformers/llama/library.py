"""Llama from Hugging Face's transformers, LlamaForCausalLM, in the precision of its weights."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIBRARY = "transformers"


def ships(rotary: str = "half", form: str = "llama", **_: Any) -> bool:
    """Return True for a Llama whose pairs are halves: PaLM was not published, and Meta's order is not the library's."""
    return rotary == "half" and form == "llama"


class Angles(nn.Module):
    """Cosines and sines as the library gives them, but not by way of float32."""

    def __init__(self, head_dim: int, theta: float) -> None:
        super().__init__()
        self.head_dim, self.theta = head_dim, theta

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        theta = self.theta ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim)
        angles = (position_ids[..., None] * theta).repeat(1, 1, 2)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class Network(nn.Module):
    """A language model of the library whose parts have their names without the prefix.

    The library rounds inside of its norms and its angles to float32, whatever the weights are. Both are replaced here, so that
    all else is compared in double precision; the library's own are compared in float32 by the test of a loaded file.
    """

    def __init__(self, whole: Any, tied: bool) -> None:
        super().__init__()
        config = whole.config
        whole.model.rotary_emb = Angles(config.head_dim, config.rope_parameters["rope_theta"])
        for name, part in list(whole.named_modules()):
            if name.endswith("norm"):
                place = whole.get_submodule(name.rpartition(".")[0])
                setattr(place, name.rpartition(".")[2], nn.RMSNorm(config.hidden_size, part.variance_epsilon))
        self.whole = [whole]  # in a list: its parameters are named once, below
        for name, child in whole.model.named_children():
            self.add_module(name, child)
        if not tied:
            self.lm_head = whole.lm_head

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.whole[0](input_ids=tokens).logits
        return scores

    def train(self, mode: bool = True) -> "Network":
        self.whole[0].train(mode)
        return super().train(mode)


def configuration(
    vocab_size: int = 32000, max_position_embeddings: int = 2048, hidden_size: int = 4096, intermediate_size: int = 11008,
    num_hidden_layers: int = 32, num_attention_heads: int = 32, num_key_value_heads: int | None = None,
    head_dim: int | None = None, rope_theta: float = 10000.0, rms_norm_eps: float = 1e-6, tie_word_embeddings: bool = False,
    **_: Any,
) -> Any:  # fmt: skip
    """Return the library's configuration of model.py's options."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocab_size, max_position_embeddings=max_position_embeddings, hidden_size=hidden_size,
        intermediate_size=intermediate_size, num_hidden_layers=num_hidden_layers, num_attention_heads=num_attention_heads,
        num_key_value_heads=num_key_value_heads, head_dim=head_dim, rms_norm_eps=rms_norm_eps,
        tie_word_embeddings=tie_word_embeddings, rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip


def build(tie_word_embeddings: bool = False, **options: Any) -> Network:
    """Return the network that model.py's options describe."""
    from transformers import LlamaForCausalLM

    config = configuration(tie_word_embeddings=tie_word_embeddings, **options)
    return Network(LlamaForCausalLM(config), tie_word_embeddings)


def loss(model: Network, tokens: Tensor, following: Tensor) -> Tensor:
    """Mean cross-entropy of the next token where it is not -100."""
    return F.cross_entropy(model(tokens).flatten(0, 1), following.flatten())
