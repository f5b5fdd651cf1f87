"""The Transformer in Keras: an independent twin, written from Vaswani et al. (2017).
`weight_map` says which Keras variable holds each tensor of the architecture's state."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class Attention(layers.Layer):
    """softmax(q k^T / sqrt(d_k)) v in heads, without hidden keys; one kernel maps to queries, keys and values."""

    def __init__(self, width: int, heads: int, name: str, dtype: str) -> None:
        super().__init__(name=name, dtype=dtype)
        self.heads, self.width = heads, width
        self.kernel = self.add_weight(shape=(width, 3 * width), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(3 * width,), initializer="zeros", name="bias")
        self.out = layers.Dense(width, dtype=dtype, name=f"{name}_out_proj")

    def call(self, x: Any, memory: Any, visible: Any) -> Any:
        d = self.width // self.heads

        def mapped(y: Any, part: int) -> Any:
            chosen = slice(part * self.width, (part + 1) * self.width)
            return ops.reshape(ops.matmul(y, self.kernel[:, chosen]) + self.bias[chosen], (-1, y.shape[1], self.heads, d))

        scores = ops.einsum("bihd,bjhd->bhij", mapped(x, 0), mapped(memory, 1)) / math.sqrt(d)
        scores = ops.where(visible, scores, -np.inf)
        weights = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
        weights = weights / ops.sum(weights, axis=-1, keepdims=True)
        mixed = ops.einsum("bhij,bjhd->bihd", weights, mapped(memory, 2))
        return self.out(ops.reshape(mixed, (-1, x.shape[1], self.width)))


class Layer(layers.Layer):
    """Self-attention, in the decoder attention over the memory, and a feed-forward part."""

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, first: bool, decoder: bool, name: str, dtype: str
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.first, self.drop = first, layers.Dropout(dropout, dtype=dtype)
        names = ["self_attn", "multihead_attn"] if decoder else ["self_attn"]
        self.attentions = {part: Attention(width, heads, f"{name}_{part}", dtype) for part in names}
        self.inner = layers.Dense(hidden, "relu", dtype=dtype, name=f"{name}_linear1")
        self.outer = layers.Dense(width, dtype=dtype, name=f"{name}_linear2")
        self.norms = [
            layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name=f"{name}_norm{k}") for k in range(1, len(names) + 2)
        ]

    def around(self, k: int, x: Any, f: Callable[[Any], Any], training: bool) -> Any:
        """LN(x + dropout(f(x))), or x + dropout(f(LN(x)))."""
        if self.first:
            return x + self.drop(f(self.norms[k](x)), training=training)
        return self.norms[k](x + self.drop(f(x), training=training))

    def call(self, x: Any, visible: Any, memory: Any = None, source: Any = None, training: bool = False) -> Any:
        attend = self.attentions["self_attn"]
        x = self.around(0, x, lambda y: attend(y, y, visible), training)
        if memory is not None:
            remember = self.attentions["multihead_attn"]
            x = self.around(1, x, lambda y: remember(y, memory, source), training)
        return self.around(len(self.norms) - 1, x, lambda y: self.outer(self.inner(y)), training)


class Transformer(keras.Model):
    """Two stacks between embeddings with positions and scores by the output matrix."""

    def __init__(
        self,
        source: int,
        target: int,
        width: int,
        heads: int,
        depths: tuple[int, int],
        hidden: int,
        dropout: float,
        norm: str,
        tie: str,
        smoothing: float,
        dtype: str,
    ) -> None:
        super().__init__(dtype=dtype)
        self.width, self.smoothing = width, smoothing
        self.drop = layers.Dropout(dropout, dtype=dtype)

        def matrix(rows: int, name: str) -> Any:
            normal = keras.initializers.RandomNormal(stddev=width**-0.5)
            return self.add_weight(shape=(rows, width), initializer=normal, name=name)

        def stack(name: str, depth: int) -> list[Layer]:
            decoder, first = name == "decoder", norm == "pre"
            return [Layer(width, heads, hidden, dropout, first, decoder, f"{name}_{i}", dtype) for i in range(depth)]

        self.source_table = matrix(source, "source_embedding")
        self.target_table = self.source_table if tie == "all" else matrix(target, "target_embedding")
        self.score_table = matrix(target, "output") if tie == "none" else self.target_table
        self.encoder, self.decoder = stack("encoder", depths[0]), stack("decoder", depths[1])
        self.ends = []
        if norm != "post":
            self.ends = [
                layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name=f"{name}_norm") for name in ("encoder", "decoder")
            ]

    def embedded(self, tokens: Any, table: Any, training: bool) -> Any:
        """dropout(sqrt(D) E[token] + p), p[t, 2 i] = sin(t / 10000^(2 i / D)), p[t, 2 i + 1] the cosine (section 3.5)."""
        column = np.arange(self.width)
        angles = np.arange(tokens.shape[1])[:, None] / 10000.0 ** ((column - column % 2) / self.width)
        p = np.where(column % 2, np.cos(angles), np.sin(angles))
        x = math.sqrt(self.width) * ops.take(table, tokens, axis=0)
        return self.drop(x + ops.cast(p, x.dtype), training=training)

    def call(self, source: Any, lengths: Any, given: Any, training: bool = False) -> Any:
        lengths = ops.convert_to_tensor(lengths)
        real = (ops.arange(source.shape[1], dtype=lengths.dtype)[None, :] < lengths[:, None])[:, None, None, :]
        earlier = np.tri(given.shape[1], dtype=bool)
        memory = self.embedded(source, self.source_table, training)
        for layer in self.encoder:
            memory = layer(memory, real, training=training)
        if self.ends:
            memory = self.ends[0](memory)
        y = self.embedded(given, self.target_table, training)
        for layer in self.decoder:
            y = layer(y, earlier, memory=memory, source=real, training=training)
        if self.ends:
            y = self.ends[1](y)
        return ops.matmul(y, ops.transpose(self.score_table))


def build(
    source: int = 37000,
    target: int = 37000,
    d_model: int = 512,
    nhead: int = 8,
    num_encoder_layers: int = 6,
    num_decoder_layers: int = 6,
    dim_feedforward: int = 2048,
    dropout: float = 0.1,
    norm: str = "post",
    tie: str = "all",
    label_smoothing: float = 0.1,
    beam: int = 1,
    length_penalty: float = 0.0,
) -> Transformer:
    """The base model; how translations are searched concerns no gradient."""
    if norm not in ("post", "post-final", "pre"):
        raise ValueError(f"norm is 'post', 'post-final' or 'pre'. Received {norm!r}. Use norm='post'.")
    if tie not in ("all", "target", "none"):
        raise ValueError(f"tie is 'all', 'target' or 'none'. Received {tie!r}. Use tie='all'.")
    if tie == "all" and source != target:
        raise ValueError(f"One matrix for all needs one vocabulary. Received {source} and {target}. Use tie='target'.")
    depths, dtype = (num_encoder_layers, num_decoder_layers), keras.config.floatx()
    model = Transformer(
        source, target, d_model, nhead, depths, dim_feedforward, dropout, norm, tie, label_smoothing, dtype
    )  # fmt: skip
    model(np.zeros((1, 2), "int64"), np.ones(1, "int64"), np.zeros((1, 2), "int64"))
    return model


def loss(model: Transformer, source: Any, lengths: Any, given: Any, following: Any, training: bool = True) -> Any:
    """-(1 - eps) ln p(following) - eps / V sum_y ln p(y), the mean over the places that are not -100."""
    logs = ops.log_softmax(model(source, lengths, given, training=training), axis=-1)
    following = ops.convert_to_tensor(following)
    counted = following != -100
    true = ops.take_along_axis(logs, ops.where(counted, following, 0)[:, :, None], axis=2)[:, :, 0]
    nats = -(1 - model.smoothing) * true - model.smoothing * ops.mean(logs, axis=-1)
    counted = ops.cast(counted, nats.dtype)
    return ops.sum(nats * counted) / ops.sum(counted)


def weight_map(model: Transformer) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices of layers as (in, out)."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    def transposed(variable: Any) -> Weight:
        return Weight(variable, np.transpose, np.transpose)

    found = {"source_embedding.weight": same(model.source_table)}
    if model.target_table is not model.source_table:
        found["target_embedding.weight"] = same(model.target_table)
    if model.score_table is not model.target_table:
        found["output.weight"] = same(model.score_table)
    norms = {f"{name}.norm": end for name, end in zip(("encoder", "decoder"), model.ends)}
    for name, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        for i, layer in enumerate(stack):
            path = f"{name}.layers.{i}"
            for part, attention in layer.attentions.items():
                found[f"{path}.{part}.in_proj_weight"] = transposed(attention.kernel)
                found[f"{path}.{part}.in_proj_bias"] = same(attention.bias)
                found[f"{path}.{part}.out_proj.weight"] = transposed(attention.out.kernel)
                found[f"{path}.{part}.out_proj.bias"] = same(attention.out.bias)
            for part, dense in (("linear1", layer.inner), ("linear2", layer.outer)):
                found[f"{path}.{part}.weight"] = transposed(dense.kernel)
                found[f"{path}.{part}.bias"] = same(dense.bias)
            norms |= {f"{path}.norm{k}": norm for k, norm in enumerate(layer.norms, 1)}
    found |= {f"{name}.weight": same(norm.gamma) for name, norm in norms.items()}
    return found | {f"{name}.bias": same(norm.beta) for name, norm in norms.items()}
