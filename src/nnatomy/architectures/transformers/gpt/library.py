"""GPT from Hugging Face's transformers, which ships GPT-2 as GPT2LMHeadModel and GPT-1 as OpenAIGPTLMHeadModel."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

LIBRARY = "transformers"


def ships(**_: Any) -> bool:
    """Return True: both norms are there."""
    return True


class Network(nn.Module):
    """A language model of the library whose parts have the names of GPT-2's, without the prefix."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole = [whole]  # in a list: its parameters are named once, below
        for name, child in whole.transformer.named_children():
            self.add_module({"tokens_embed": "wte", "positions_embed": "wpe"}.get(name, name), child)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.whole[0](input_ids=tokens).logits
        return scores

    def train(self, mode: bool = True) -> "Network":
        self.whole[0].train(mode)
        return super().train(mode)


def build(
    vocab_size: int = 50257, n_positions: int = 1024, n_embd: int = 768, n_layer: int = 12, n_head: int = 12,
    dropout: float = 0.1, norm: str = "pre",
) -> Network:  # fmt: skip
    """The network that recipe.py's options describe."""
    import transformers

    of_2018 = norm == "post"
    config = (transformers.OpenAIGPTConfig if of_2018 else transformers.GPT2Config)(
        vocab_size=vocab_size, n_positions=n_positions, n_embd=n_embd, n_layer=n_layer, n_head=n_head, resid_pdrop=dropout,
        embd_pdrop=dropout, attn_pdrop=dropout, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return Network((transformers.OpenAIGPTLMHeadModel if of_2018 else transformers.GPT2LMHeadModel)(config))


def loss(model: Network, tokens: Tensor, following: Tensor) -> Tensor:
    """Mean cross-entropy of the next token where it is not -100."""
    return F.cross_entropy(model(tokens).flatten(0, 1), following.flatten())
