"""LLaMA and PaLM in PyTorch: an independent twin, written from Touvron et al. (2023), Su et al. (2021), Shazeer (2020), Ainslie
et al. (2023) and Chowdhery et al. (2022). It shares only the names and shapes of its state with the model."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rotate(x: Tensor, theta: float, pairs: bool) -> Tensor:
    """Multiply the complex numbers a + b i that features form by e^(i t theta_i) at position t (Su et al. 2021, equation 13).

    Args:
        x: queries or keys, (batch, heads, time, features)
        theta: the base, theta_i = theta^(-2 i / features)
        pairs: True if a and b are features 2 i and 2 i + 1, False if they are features i and i + features / 2
    """
    features = x.shape[3]
    powers = torch.arange(0, features, 2, device=x.device, dtype=torch.float64) / features
    angles = torch.outer(torch.arange(x.shape[2], device=x.device, dtype=torch.float64), theta**-powers)
    turn = torch.polar(torch.ones_like(angles), angles).to(x.dtype.to_complex())
    split = x.unflatten(3, (-1, 2)) if pairs else x.unflatten(3, (2, -1)).mT  # (..., features / 2, 2)
    turned = torch.view_as_real(torch.view_as_complex(split.contiguous()) * turn)
    return (turned if pairs else turned.mT).flatten(3)


class Attention(nn.Module):
    """Causal attention whose query heads share key and value heads in groups (Ainslie et al. 2023), on rotated features."""

    def __init__(self, width: int, heads: int, groups: int, features: int, theta: float, pairs: bool) -> None:
        super().__init__()
        self.features, self.theta, self.pairs = features, theta, pairs
        self.q_proj = nn.Linear(width, heads * features, bias=False)
        self.k_proj = nn.Linear(width, groups * features, bias=False)
        self.v_proj = nn.Linear(width, groups * features, bias=False)
        self.o_proj = nn.Linear(heads * features, width, bias=False)
        self.repeats = heads // groups

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(2, (-1, self.features)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, self.theta, self.pairs), rotate(k, self.theta, self.pairs)
        k, v = k.repeat_interleave(self.repeats, 1), v.repeat_interleave(self.repeats, 1)
        return self.o_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """SwiGLU: (silu(x W_gate) * x W_up) W_down (Shazeer 2020, equation 6)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


def norm(width: int, eps: float, palm: bool) -> nn.Module:
    """RMSNorm, or PaLM's layer norm without a bias."""
    return nn.LayerNorm(width, eps, bias=False) if palm else nn.RMSNorm(width, eps)


class Layer(nn.Module):
    """LLaMA's two parts one after the other, or PaLM's side by side: y = x + attention(n) + mlp(n), n = norm(x)."""

    def __init__(self, width: int, hidden: int, attention: Attention, eps: float, palm: bool) -> None:
        super().__init__()
        self.input_layernorm = norm(width, eps, palm)
        self.self_attn = attention
        self.post_attention_layernorm = None if palm else norm(width, eps, palm)
        self.mlp = MLP(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        n = self.input_layernorm(x)
        if self.post_attention_layernorm is None:
            return x + self.self_attn(n) + self.mlp(n)
        x = x + self.self_attn(n)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """A token embedding, layers, a norm, and scores; PaLM's scores are divided by sqrt(width)."""

    def __init__(self, vocabulary: int, most: int, width: int, layers: list[Layer], eps: float, tied: bool, palm: bool) -> None:
        super().__init__()
        self.most = most
        self.scale = width**-0.5 if palm else 1.0
        self.embed_tokens = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(layers)
        self.norm = norm(width, eps, palm)
        self.lm_head = None if tied else nn.Linear(width, vocabulary, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5 if palm else 0.02)
        nn.init.normal_(self.embed_tokens.weight, std=1.0 if palm else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1] > self.most:
            raise ValueError(f"A text has at most {self.most} tokens. Received {tokens.shape[1]}. Cut it.")
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x) * self.scale
        return F.linear(x, self.embed_tokens.weight) if self.lm_head is None else self.lm_head(x)


LAYOUTS = ("half", "pairs")


def build(
    vocab_size: int = 32000,
    max_position_embeddings: int = 2048,
    hidden_size: int = 4096,
    intermediate_size: int = 11008,
    num_hidden_layers: int = 32,
    num_attention_heads: int = 32,
    num_key_value_heads: int | None = None,
    head_dim: int | None = None,
    rope_theta: float = 10000.0,
    rms_norm_eps: float = 1e-6,
    tie_word_embeddings: bool = False,
    rotary: str = "half",
    form: str = "llama",
) -> Llama:
    """The model with initial weights N(0, 0.02), or PaLM's N(0, 1 / sqrt(fan in)); the defaults are LLaMA 7B."""
    if rotary not in LAYOUTS:
        raise ValueError(f"rotary is 'half' or 'pairs'. Received {rotary!r}. Use rotary='half'.")
    if form not in ("llama", "palm"):
        raise ValueError(f"form is 'llama' or 'palm'. Received {form!r}. Use form='llama'.")
    groups = num_attention_heads if num_key_value_heads is None else num_key_value_heads
    features = hidden_size // num_attention_heads if head_dim is None else head_dim
    if num_attention_heads % groups or features % 2:
        raise ValueError(
            "num_key_value_heads divides num_attention_heads, and head_dim is even. "
            f"Received {groups}, {num_attention_heads} and {features}."
        )
    palm = form == "palm"
    layers = []
    for _ in range(num_hidden_layers):
        attention = Attention(hidden_size, num_attention_heads, groups, features, rope_theta, rotary != "half")
        layers.append(Layer(hidden_size, intermediate_size, attention, rms_norm_eps, palm))
    return Llama(vocab_size, max_position_embeddings, hidden_size, layers, rms_norm_eps, tie_word_embeddings, palm)


def loss(model: Llama, tokens: Tensor, following: Tensor) -> Tensor:
    """Mean cross-entropy of the following tokens; places of -100 do not count."""
    return F.cross_entropy(model(tokens).flatten(0, 1), following.flatten(), ignore_index=-100)
