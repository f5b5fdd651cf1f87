"""RoBERTa from Hugging Face's transformers, which ships it with each of the heads."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIBRARY = "transformers"
KINDS = {"masked": "RobertaForMaskedLM", "classification": "RobertaForSequenceClassification", "none": "RobertaModel"}


def ships(**_: Any) -> bool:
    """Return True: all heads are there."""
    return True


class Network(nn.Module):
    """A model of the library with its parts under their names, and the outputs as we have them."""

    def __init__(self, whole: Any, head: str) -> None:
        super().__init__()
        self.whole, self.head = [whole], head  # in a list: its parameters are named once, below
        if head == "masked":
            del whole.lm_head.decoder.weight, whole.lm_head.decoder.bias
            whole.lm_head.decoder = Tied(whole)
        encoder = whole if head == "none" else whole.roberta
        for table in (encoder.embeddings.word_embeddings, encoder.embeddings.position_embeddings):
            table.padding_idx = None  # no gradient for the row of padding: of the library, not of the paper
        for name, child in whole.named_children():
            self.add_module(name, child)

    def forward(self, tokens: Tensor, read: Tensor | None = None) -> Any:
        if read is not None and read.ndim == 1:
            read = (torch.arange(tokens.shape[1]) < read[:, None]).long()
        found = self.whole[0](input_ids=tokens, attention_mask=read)
        return (found.last_hidden_state, found.pooler_output) if self.head == "none" else found.logits

    def train(self, mode: bool = True) -> "Network":
        self.whole[0].train(mode)
        return super().train(mode)


class Tied(nn.Module):
    """The output layer without parameters of its own: the embedding of the words and the bias next to it."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole = [whole]

    def forward(self, x: Tensor) -> Tensor:
        whole = self.whole[0]
        return F.linear(x, whole.roberta.embeddings.word_embeddings.weight, whole.lm_head.bias)


def build(
    vocab_size: int = 50265, hidden_size: int = 768, num_hidden_layers: int = 12, num_attention_heads: int = 12,
    intermediate_size: int = 3072, max_position_embeddings: int = 514, pad_token_id: int = 1, dropout: float = 0.1,
    head: str = "none", num_labels: int = 2,
) -> Network:  # fmt: skip
    """The network that recipe.py's options describe."""
    import transformers

    config = transformers.RobertaConfig(
        vocab_size=vocab_size, hidden_size=hidden_size, num_hidden_layers=num_hidden_layers,
        num_attention_heads=num_attention_heads, intermediate_size=intermediate_size,
        max_position_embeddings=max_position_embeddings, type_vocab_size=1, pad_token_id=pad_token_id, layer_norm_eps=1e-5,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, num_labels=num_labels, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    return Network(getattr(transformers, KINDS[head])(config), head)


def loss(model: Network, *batch: Tensor) -> Tensor:
    """The loss of the head, the targets last."""
    scores = model(*batch[:-1])
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), batch[-1].flatten())
