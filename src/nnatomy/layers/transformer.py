"""The Transformer and its layers. Names, weights, masks and defaults are PyTorch's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from nnatomy import functional as F
from nnatomy import init
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers import checks
from nnatomy.layers.attention import MultiheadAttention
from nnatomy.layers.dropout import Dropout
from nnatomy.layers.linear import Linear
from nnatomy.layers.module import Module
from nnatomy.layers.normalization import LayerNorm
from nnatomy.ops import full, triu
from nnatomy.random import Generator
from nnatomy.tensor import Tensor

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer"]


def _activation(layer: str, given: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    if callable(given):
        return given
    if given not in ("relu", "gelu"):
        raise UserError(f'{layer} needs activation "relu", "gelu" or a function. Received {given!r}. Use activation="relu".')
    return F.relu if given == "relu" else F.gelu


class _Block(Module):
    """The common part of a Transformer's two layers: residual branches, normalized after (2017) or before (`norm_first`)."""

    attends: tuple[str, ...]
    """The names of its attentions; each is a branch, and the feed-forward part another."""

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        layer = type(self).__name__
        checks.sizes(layer, d_model=d_model, nhead=nhead, dim_feedforward=dim_feedforward)
        checks.probability(layer, dropout)
        for name in self.attends:
            attention = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, generator=generator)
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, generator=generator)
        self.dropout = Dropout(dropout, generator=generator)
        self.linear2 = Linear(dim_feedforward, d_model, bias, generator=generator)
        self.norm_first = norm_first
        branches = range(1, len(self.attends) + 2)
        for n in branches:
            setattr(self, f"norm{n}", LayerNorm(d_model, layer_norm_eps, bias=bias))
        for n in branches:
            setattr(self, f"dropout{n}", Dropout(dropout, generator=generator))
        self.activation = _activation(layer, activation)

    def _feed_forward(self, x: Any) -> Any:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def _residual(self, x: Any, norm: LayerNorm, drop: Dropout, branch: Callable[[Any], Any]) -> Any:
        """norm(x + drop(branch(x))), or x + drop(branch(norm(x)))."""
        return x + drop(branch(norm(x))) if self.norm_first else norm(x + drop(branch(x)))


class TransformerEncoderLayer(_Block):
    """x = norm1(x + attention(x)), y = norm2(x + f(x W_1^T + b_1) W_2^T + b_2) (Vaswani et al. 2017, sections 3.1 and 3.3).

    Each branch is dropped out before it is added, and so is f, which is "relu", "gelu" or a function. With `norm_first` norms
    are at the start of the branches instead: x + attention(norm1(x)) (Xiong et al. 2020). x (steps, batch, d_model), or
    (batch, steps, d_model) with `batch_first`.
    """

    attends = ("self_attn",)
    self_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        """src as the layer takes it; masks as those of MultiheadAttention."""

        def attention(x: Any) -> Any:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]

        x = self._residual(src, self.norm1, self.dropout1, attention)
        return self._residual(x, self.norm2, self.dropout2, self._feed_forward)


def _copies(layer: Module, count: int) -> list[Module]:
    """Copies with their own weights; they continue drawing from one generator, else all would drop the same places."""
    drawn_from = [getattr(module, "_generator", None) for module in layer.modules()]
    return [copy.deepcopy(layer, {id(g): g for g in drawn_from if g is not None}) for _ in range(count)]


class TransformerEncoder(Module):
    """`num_layers` copies of a layer on top of each other, which start alike, and then `norm` if it is given."""

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        checks.sizes("TransformerEncoder", num_layers=num_layers)
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        """src as the layer takes it; masks as those of MultiheadAttention, the same for all layers."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoderLayer(_Block):
    """An encoder's layer with a branch between its two, that looks at `memory` (Vaswani et al. 2017, section 3.1).

    x = norm1(x + attention(x)), x = norm2(x + attention(x, memory)), y = norm3(x + f(x W_1^T + b_1) W_2^T + b_2);
    x (steps, batch, d_model), memory (other steps, batch, d_model); with `batch_first`, batch is their first axis.
    """

    attends = ("self_attn", "multihead_attn")
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    norm3: LayerNorm
    dropout1: Dropout
    dropout2: Dropout
    dropout3: Dropout

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None, tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        """tgt and memory as the layer takes them; masks as those of MultiheadAttention."""

        def own(x: Any) -> Any:
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]

        def across(x: Any) -> Any:
            attention = self.multihead_attn
            return attention(x, memory, memory, memory_key_padding_mask, False, memory_mask, is_causal=memory_is_causal)[0]

        x = self._residual(tgt, self.norm1, self.dropout1, own)
        x = self._residual(x, self.norm2, self.dropout2, across)
        return self._residual(x, self.norm3, self.dropout3, self._feed_forward)


class TransformerDecoder(Module):
    """`num_layers` copies of a layer on top of each other, which start alike, and then `norm` if it is given."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        checks.sizes("TransformerDecoder", num_layers=num_layers)
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None, tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        """tgt and memory as the layer takes them; masks are the same for all layers."""
        for layer in self.layers:
            tgt = layer(
                tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal,
                memory_is_causal,
            )  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder that reads `src`, and a decoder that reads `tgt` and what the encoder made of src (Vaswani et al. 2017).

    Matrices start by Glorot's law. src (steps, batch, d_model), tgt (other steps, batch, d_model); with `batch_first`, batch is
    their first axis. `custom_encoder` and `custom_decoder` take the places of the two stacks.
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
        dim_feedforward: int = 2048, dropout: float = 0.1, activation: str | Callable[[Any], Any] = "relu",
        custom_encoder: Module | None = None, custom_decoder: Module | None = None, layer_norm_eps: float = 1e-5,
        batch_first: bool = False, norm_first: bool = False, bias: bool = True, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        how: tuple[Any, ...] = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias
        )
        self.encoder, self.decoder = custom_encoder, custom_decoder
        if self.encoder is None:
            layer: Module = TransformerEncoderLayer(*how, generator=generator)
            self.encoder = TransformerEncoder(layer, num_encoder_layers, LayerNorm(d_model, layer_norm_eps, bias=bias))
        if self.decoder is None:
            layer = TransformerDecoderLayer(*how, generator=generator)
            self.decoder = TransformerDecoder(layer, num_decoder_layers, LayerNorm(d_model, layer_norm_eps, bias=bias))
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        with no_grad():
            for parameter in self.parameters():
                if parameter.ndim > 1:
                    parameter.copy_(init.xavier_uniform(parameter.shape, generator=generator))

    def forward(
        self, src: Any, tgt: Any, src_mask: Any = None, tgt_mask: Any = None, memory_mask: Any = None,
        src_key_padding_mask: Any = None, tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        src_is_causal: bool = False, tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        """The decoder's outputs, shaped as tgt; masks as those of MultiheadAttention."""
        if self.encoder is None or self.decoder is None:
            raise UserError("Transformer needs both stacks. Received None for one. Give a module.")
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal, memory_is_causal
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int) -> Tensor:
        """A mask (sz, sz) that hides what comes after: -inf above the diagonal, 0 elsewhere."""
        return Tensor(triu(full((sz, sz), float("-inf")).data, 1))
