"""DistilBERT in PyTorch: an independent twin, written from Sanh et al. (2019), on the encoder of Vaswani et al. (2017).
It shares nothing with the architecture's model but the names and shapes of its state."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS, TEMPERATURE = 1e-12, 2.0


class Embeddings(nn.Module):
    """dropout(LayerNorm(word + position)): of BERT's three, the segments are gone."""

    def __init__(self, vocabulary: int, positions: int, width: int, dropout: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.LayerNorm = nn.LayerNorm(width, EPS)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.drop(self.LayerNorm(self.word_embeddings(tokens) + self.position_embeddings(places)))


class Attention(nn.Module):
    """softmax(q k^T / sqrt(D / H)) v over the keys that are read, by torch's scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q_lin, self.k_lin, self.v_lin, self.out_lin = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q_lin, self.k_lin, self.v_lin))
        p = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, read[:, None, None, :], p)
        return self.out_lin(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """dropout(W_2 gelu(W_1 x))"""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.lin2(F.gelu(self.lin1(x))))


class Layer(nn.Module):
    """Attention and a feed-forward part, each normalized after its sum."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.sa_layer_norm = nn.LayerNorm(width, EPS)
        self.ffn = FeedForward(width, hidden, dropout)
        self.output_layer_norm = nn.LayerNorm(width, EPS)

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        x = self.sa_layer_norm(x + self.attention(x, read))
        return self.output_layer_norm(x + self.ffn(x))


class DistilBert(nn.Module):
    """Embeddings and layers: the last hidden states."""

    def __init__(
        self, vocabulary: int, width: int, depth: int, heads: int, hidden: int, positions: int, dropout: float
    ) -> None:  # fmt: skip
        super().__init__()
        self.embeddings = Embeddings(vocabulary, positions, width, dropout)
        layers = nn.ModuleList(Layer(width, heads, hidden, dropout) for _ in range(depth))
        self.transformer = nn.ModuleDict({"layer": layers})

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        x, read = self.embeddings(tokens), tokens_read(tokens, mask)
        for layer in self.transformer["layer"]:
            x = layer(x, read)
        return x


def tokens_read(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return (batch, time), True where a token is read; the mask is of that shape, or it has the lengths."""
    if mask is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    if mask.ndim == 1:
        return torch.arange(tokens.shape[1], device=tokens.device) < mask[:, None]
    return mask != 0


class Masked(nn.Module):
    """Scores of all words at each place, by their own embeddings."""

    def __init__(self, encoder: DistilBert, vocabulary: int, width: int) -> None:
        super().__init__()
        self.distilbert = encoder
        self.vocab_transform = nn.Linear(width, width)
        self.vocab_layer_norm = nn.LayerNorm(width, EPS)
        self.vocab_projector = nn.ParameterDict({"bias": nn.Parameter(torch.zeros(vocabulary))})

    def scores(self, x: Tensor) -> Tensor:
        x = self.vocab_layer_norm(F.gelu(self.vocab_transform(x)))
        return F.linear(x, self.distilbert.embeddings.word_embeddings.weight, self.vocab_projector["bias"])

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.scores(self.distilbert(tokens, mask))


class Classification(nn.Module):
    """Scores of a text by the state of its first token."""

    def __init__(self, encoder: DistilBert, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.distilbert = encoder
        self.pre_classifier, self.classifier = nn.Linear(width, width), nn.Linear(width, classes)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        first = self.distilbert(tokens, mask)[:, 0]
        return self.classifier(self.drop(F.relu(self.pre_classifier(first))))


def build(
    vocab_size: int = 30522,
    dim: int = 768,
    n_layers: int = 6,
    n_heads: int = 12,
    hidden_dim: int = 3072,
    max_position_embeddings: int = 512,
    dropout: float = 0.1,
    head: str = "none",
    num_labels: int = 2,
) -> nn.Module:
    """The encoder alone, or with a head, with initial weights N(0, 0.02)."""
    if head not in ("none", "masked", "classification"):
        raise ValueError(f"head is 'none', 'masked' or 'classification'. Received {head!r}. Use head='none'.")
    model: nn.Module = DistilBert(vocab_size, dim, n_layers, n_heads, hidden_dim, max_position_embeddings, dropout)
    if isinstance(model, DistilBert) and head != "none":
        model = Masked(model, vocab_size, dim) if head == "masked" else Classification(model, dim, num_labels, dropout)
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
    return model


def loss(model: nn.Module, tokens: Tensor, mask: Tensor, labels: Tensor, *teacher: Tensor) -> Tensor:
    """Cross-entropy in nats; with the teacher's scores and states, 5 L_ce + 2 L_mlm + L_cos of distillation."""
    if not isinstance(model, Masked):
        return F.cross_entropy(model(tokens, mask), labels)
    states = model.distilbert(tokens, mask)
    scores = model.scores(states)
    words = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=-100)
    if not teacher:
        return words
    read = tokens_read(tokens, mask)
    wanted, theirs = (part[read] for part in teacher)
    ours, softened = (scores[read] / TEMPERATURE).log_softmax(1), (wanted / TEMPERATURE).log_softmax(1)
    divergence = TEMPERATURE**2 * F.kl_div(ours, softened, reduction="batchmean", log_target=True)
    angle = (1 - F.cosine_similarity(states[read], theirs, dim=1)).mean()
    return 5 * divergence + 2 * words + angle
