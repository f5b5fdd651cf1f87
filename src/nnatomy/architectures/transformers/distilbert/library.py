"""DistilBERT from Hugging Face's transformers, whose authors wrote it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIBRARY = "transformers"
KINDS = {
    "masked": "DistilBertForMaskedLM", "classification": "DistilBertForSequenceClassification", "none": "DistilBertModel",
}  # fmt: skip


def ships(**_: Any) -> bool:
    """Return True: all heads are there."""
    return True


class Network(nn.Module):
    """A model of the library with its parts under their names, and the outputs as we have them."""

    def __init__(self, whole: Any, head: str) -> None:
        super().__init__()
        self.whole, self.head = [whole], head  # in a list: its parameters are named once, below
        if head == "masked":
            bias = whole.vocab_projector.bias
            del whole.vocab_projector
            whole.vocab_projector = Tied(whole, bias)
        for name, child in whole.named_children():
            if name != "mlm_loss_fct":
                self.add_module(name, child)

    def forward(self, tokens: Tensor, read: Tensor | None = None, hidden: bool = False) -> Any:
        if read is not None and read.ndim == 1:
            read = (torch.arange(tokens.shape[1]) < read[:, None]).long()
        found = self.whole[0](input_ids=tokens, attention_mask=read, output_hidden_states=hidden)
        if hidden:
            return found.logits, found.hidden_states[-1]
        return found.last_hidden_state if self.head == "none" else found.logits

    def train(self, mode: bool = True) -> "Network":
        self.whole[0].train(mode)
        return super().train(mode)


class Tied(nn.Module):
    """The output layer with the embedding of the words as its matrix."""

    def __init__(self, whole: Any, bias: nn.Parameter) -> None:
        super().__init__()
        self.whole, self.bias = [whole], bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.whole[0].distilbert.embeddings.word_embeddings.weight, self.bias)


def build(
    vocab_size: int = 30522, dim: int = 768, n_layers: int = 6, n_heads: int = 12, hidden_dim: int = 3072,
    max_position_embeddings: int = 512, dropout: float = 0.1, head: str = "none", num_labels: int = 2,
) -> Network:  # fmt: skip
    """The network that recipe.py's options describe."""
    import transformers

    config = transformers.DistilBertConfig(
        vocab_size=vocab_size, dim=dim, n_layers=n_layers, n_heads=n_heads, hidden_dim=hidden_dim,
        max_position_embeddings=max_position_embeddings, dropout=dropout, attention_dropout=dropout,
        seq_classif_dropout=dropout, num_labels=num_labels,
    )  # fmt: skip
    return Network(getattr(transformers, KINDS[head])(config), head)


def loss(model: Network, *batch: Tensor) -> Tensor:
    """The loss of the head; of masked words with what a teacher gave, if the batch has it."""
    if model.head == "classification":
        return F.cross_entropy(model(*batch[:-1]), batch[-1])
    tokens, read, labels, *teacher = batch
    if not teacher:
        return F.cross_entropy(model(tokens, read).flatten(0, 1), labels.flatten())
    z, x = model(tokens, read, hidden=True)
    v, h = teacher
    kept = read > 0
    soft = F.kl_div((z[kept] / 2).log_softmax(-1), (v[kept] / 2).softmax(-1), reduction="batchmean") * 2**2
    cosine = F.cosine_embedding_loss(x[kept], h[kept], torch.ones(int(kept.sum()), dtype=x.dtype))
    return 5 * soft + 2 * F.cross_entropy(z.flatten(0, 1), labels.flatten()) + cosine
