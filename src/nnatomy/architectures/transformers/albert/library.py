"""ALBERT from Hugging Face's transformers, which ships it with each of the heads."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIBRARY = "transformers"
KINDS = {"pretraining": "AlbertForPreTraining", "classification": "AlbertForSequenceClassification", "none": "AlbertModel"}


def ships(**_: Any) -> bool:
    """Return True: all heads are there."""
    return True


class Network(nn.Module):
    """A model of the library with its parts under their names, and the outputs in our order."""

    def __init__(self, whole: Any, head: str) -> None:
        super().__init__()
        self.whole, self.head = [whole], head  # in a list: its parameters are named once, below
        if head == "pretraining":
            whole.predictions.bias = whole.predictions.bias  # the decoder's bias under its own name
            del whole.predictions.decoder.weight, whole.predictions.decoder.bias
            whole.predictions.decoder = Tied(whole)
        for name, child in whole.named_children():
            if name != "pooler_activation":
                self.add_module(name, child)

    def forward(self, tokens: Tensor, read: Tensor | None = None, segments: Tensor | None = None) -> Any:
        if read is not None and read.ndim == 1:
            read = (torch.arange(tokens.shape[1]) < read[:, None]).long()
        found = self.whole[0](input_ids=tokens, attention_mask=read, token_type_ids=segments)
        if self.head == "pretraining":
            return found.prediction_logits, found.sop_logits
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
        return F.linear(x, whole.albert.embeddings.word_embeddings.weight, whole.predictions.bias)


def build(
    vocab_size: int = 30000, embedding_size: int = 128, hidden_size: int = 768, num_hidden_layers: int = 12,
    num_attention_heads: int = 12, intermediate_size: int = 3072, num_hidden_groups: int = 1,
    max_position_embeddings: int = 512, type_vocab_size: int = 2, dropout: float = 0.0, head: str = "none",
    num_labels: int = 2,
) -> Network:  # fmt: skip
    """The network that recipe.py's options describe."""
    import transformers

    config = transformers.AlbertConfig(
        vocab_size=vocab_size, embedding_size=embedding_size, hidden_size=hidden_size, num_hidden_layers=num_hidden_layers,
        num_hidden_groups=num_hidden_groups, num_attention_heads=num_attention_heads, intermediate_size=intermediate_size,
        max_position_embeddings=max_position_embeddings, type_vocab_size=type_vocab_size, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout, classifier_dropout_prob=dropout, num_labels=num_labels,
    )  # fmt: skip
    return Network(getattr(transformers, KINDS[head])(config), head)


def loss(model: Network, *batch: Tensor) -> Tensor:
    """The loss of the head, the targets last."""
    if model.head == "pretraining":
        scores, order = model(*batch[:-2])
        return F.cross_entropy(scores.flatten(0, 1), batch[-2].flatten()) + F.cross_entropy(order, batch[-1])
    return F.cross_entropy(model(*batch[:-1]), batch[-1])
