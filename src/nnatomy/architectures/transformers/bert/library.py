"""BERT from Hugging Face's transformers, which ships it with each of the heads."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIBRARY = "transformers"
KINDS = {
    "pretraining": "BertForPreTraining", "classification": "BertForSequenceClassification",
    "tokens": "BertForTokenClassification", "span": "BertForQuestionAnswering", "none": "BertModel",
}  # fmt: skip


def ships(**_: Any) -> bool:
    """Return True: all heads are there."""
    return True


class Network(nn.Module):
    """A model of the library with its parts under their names, and the outputs in our order."""

    def __init__(self, whole: Any, head: str) -> None:
        super().__init__()
        self.whole, self.head = [whole], head  # in a list: its parameters are named once, below
        if head == "pretraining":
            del whole.cls.predictions.decoder.weight, whole.cls.predictions.decoder.bias
            whole.cls.predictions.decoder = Tied(whole)
        for name, child in whole.named_children():
            self.add_module(name, child)

    def forward(self, tokens: Tensor, read: Tensor | None = None, segments: Tensor | None = None) -> Any:
        if read is not None and read.ndim == 1:
            read = (torch.arange(tokens.shape[1]) < read[:, None]).long()
        found = self.whole[0](input_ids=tokens, attention_mask=read, token_type_ids=segments)
        if self.head == "pretraining":
            return found.prediction_logits, found.seq_relationship_logits
        if self.head == "span":
            return torch.stack([found.start_logits, found.end_logits], dim=-1)
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
        return F.linear(x, whole.bert.embeddings.word_embeddings.weight, whole.cls.predictions.bias)


def build(
    vocab_size: int = 30522, hidden_size: int = 768, num_hidden_layers: int = 12, num_attention_heads: int = 12,
    intermediate_size: int = 3072, max_position_embeddings: int = 512, type_vocab_size: int = 2, dropout: float = 0.1,
    head: str = "none", num_labels: int = 2,
) -> Network:  # fmt: skip
    """The network that recipe.py's options describe."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=vocab_size, hidden_size=hidden_size, num_hidden_layers=num_hidden_layers,
        num_attention_heads=num_attention_heads, intermediate_size=intermediate_size,
        max_position_embeddings=max_position_embeddings, type_vocab_size=type_vocab_size, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout, num_labels=num_labels,
    )  # fmt: skip
    return Network(getattr(transformers, KINDS[head])(config), head)


def loss(model: Network, *batch: Tensor) -> Tensor:
    """The loss of the head, the targets last."""
    if model.head == "pretraining":
        scores, relation = model(*batch[:-2])
        return F.cross_entropy(scores.flatten(0, 1), batch[-2].flatten()) + F.cross_entropy(relation, batch[-1])
    scores = model(*batch[:-1])
    if model.head == "span":
        scores = scores.masked_fill(batch[1][:, :, None] == 0, -torch.inf).transpose(1, 2)
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), batch[-1].flatten())
