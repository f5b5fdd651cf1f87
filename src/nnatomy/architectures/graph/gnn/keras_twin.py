"""Graph neural networks in Keras: an independent twin, written from Kipf and Welling (2017), Velickovic et al. (2018),
Hamilton et al. (2017), Xu et al. (2019) and Gilmer et al. (2017), with sums over edges by one-hot matrices."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


def same(variable: Any) -> Weight:
    return Weight(variable, np.array, np.array)


def turned(variable: Any) -> Weight:
    return Weight(variable, np.transpose, np.transpose)


def gather(x: Any, rows: Any) -> Any:
    return ops.take(x, rows, axis=0)


def scatter(values: Any, rows: Any, n: Any) -> Any:
    """Sums of the values that go to each of n rows, by a product with a one-hot matrix."""
    hot = ops.cast(ops.equal(ops.arange(n)[:, None], ops.cast(rows, "int32")[None, :]), values.dtype)
    return ops.matmul(hot, values)


def dense(units: int, dtype: str, bias: bool = True) -> keras.layers.Dense:
    return keras.layers.Dense(units, use_bias=bias, dtype=dtype)


class Graph(NamedTuple):
    """A layer's view of a graph: sources, targets, which edges are loops, and the number of nodes."""

    source: Any
    target: Any
    n: Any

    def with_loops(self, dtype: str) -> tuple[Any, Any, Any]:
        """Sources and targets with a loop for each node, and 1 where an edge counts: earlier loops do not."""
        loops = ops.arange(self.n)
        counts = ops.cast(ops.not_equal(self.source, self.target), dtype)
        return (
            ops.concatenate([self.source, loops]), ops.concatenate([self.target, loops]),
            ops.concatenate([counts, ops.ones((self.n,), dtype)]),
        )  # fmt: skip


def graph_of(x: Any, edges: Any) -> Graph:
    edges = ops.cast(edges, "int32")
    return Graph(edges[:, 0], edges[:, 1], ops.shape(x)[0])


class GCN(keras.layers.Layer):
    def __init__(self, outputs: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.lin = dense(outputs, dtype, bias=False)
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")

    def call(self, x: Any, edges: Any, described: Any = None, training: bool = False) -> Any:
        graph = graph_of(x, edges)
        source, target, counts = graph.with_loops(x.dtype)
        degree = scatter(counts[:, None], target, graph.n)[:, 0]
        weight = counts * ops.rsqrt(gather(degree, source)) * ops.rsqrt(gather(degree, target))
        return scatter(gather(self.lin(x), source) * weight[:, None], target, graph.n) + self.bias

    def named(self) -> dict[str, Weight]:
        return {"bias": same(self.bias), "lin.weight": turned(self.lin.kernel)}


class GAT(keras.layers.Layer):
    def __init__(self, outputs: int, heads: int, average: bool, dropout: float, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.heads, self.outputs, self.average = heads, outputs, average
        self.lin = dense(heads * outputs, dtype, bias=False)
        self.att_src = self.add_weight(shape=(1, heads, outputs), initializer="glorot_uniform", name="att_src")
        self.att_dst = self.add_weight(shape=(1, heads, outputs), initializer="glorot_uniform", name="att_dst")
        self.bias = self.add_weight(shape=(outputs if average else heads * outputs,), initializer="zeros", name="bias")
        self.drop = keras.layers.Dropout(dropout, dtype=dtype)

    def call(self, x: Any, edges: Any, described: Any = None, training: bool = False) -> Any:
        graph = graph_of(x, edges)
        source, target, counts = graph.with_loops(x.dtype)
        h = ops.reshape(self.lin(x), (-1, self.heads, self.outputs))
        scores = gather(ops.sum(h * self.att_src, axis=-1), source) + gather(ops.sum(h * self.att_dst, axis=-1), target)
        scores = ops.maximum(scores, 0.2 * scores)  # LeakyReLU; TensorFlow's own rounds its slope to float32
        e = ops.exp(scores) * counts[:, None]
        weights = self.drop(e / gather(scatter(e, target, graph.n), target), training=training)
        messages = ops.reshape(gather(h, source) * weights[:, :, None], (-1, self.heads * self.outputs))
        y = scatter(messages, target, graph.n)
        if self.average:
            y = ops.mean(ops.reshape(y, (-1, self.heads, self.outputs)), axis=1)
        return y + self.bias

    def named(self) -> dict[str, Weight]:
        found = {name: same(getattr(self, name)) for name in ("att_src", "att_dst", "bias")}
        return found | {"lin.weight": turned(self.lin.kernel)}


class SAGE(keras.layers.Layer):
    def __init__(self, outputs: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.lin_l, self.lin_r = dense(outputs, dtype), dense(outputs, dtype, bias=False)

    def call(self, x: Any, edges: Any, described: Any = None, training: bool = False) -> Any:
        graph = graph_of(x, edges)
        one = ops.ones((ops.shape(graph.source)[0], 1), x.dtype)
        count = ops.maximum(scatter(one, graph.target, graph.n), 1)
        return self.lin_l(scatter(gather(x, graph.source), graph.target, graph.n) / count) + self.lin_r(x)

    def named(self) -> dict[str, Weight]:
        left = {"lin_l.weight": turned(self.lin_l.kernel), "lin_l.bias": same(self.lin_l.bias)}
        return left | {"lin_r.weight": turned(self.lin_r.kernel)}


class Perceptron(keras.layers.Layer):
    def __init__(self, hidden: int, outputs: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.first, self.second = dense(hidden, dtype), dense(outputs, dtype)

    def call(self, x: Any) -> Any:
        return self.second(ops.relu(self.first(x)))

    def named(self) -> dict[str, Weight]:
        return {
            "0.weight": turned(self.first.kernel), "0.bias": same(self.first.bias),
            "2.weight": turned(self.second.kernel), "2.bias": same(self.second.bias),
        }  # fmt: skip


class GIN(keras.layers.Layer):
    def __init__(self, hidden: int, outputs: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.net = Perceptron(hidden, outputs, dtype)
        self.eps = self.add_weight(shape=(1,), initializer="zeros", name="eps")

    def call(self, x: Any, edges: Any, described: Any = None, training: bool = False) -> Any:
        graph = graph_of(x, edges)
        return self.net((1 + self.eps) * x + scatter(gather(x, graph.source), graph.target, graph.n))

    def named(self) -> dict[str, Weight]:
        return {"eps": same(self.eps)} | {f"nn.{name}": weight for name, weight in self.net.named().items()}


class MPNN(keras.layers.Layer):
    def __init__(self, hidden: int, outputs: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.message, self.last = Perceptron(hidden, hidden, dtype), dense(outputs, dtype)

    def call(self, x: Any, edges: Any, described: Any = None, training: bool = False) -> Any:
        graph = graph_of(x, edges)
        seen = [gather(x, graph.target), gather(x, graph.source)] + ([] if described is None else [described])
        messages = self.message(ops.concatenate(seen, axis=-1))
        return self.last(ops.concatenate([x, scatter(messages, graph.target, graph.n)], axis=-1))

    def named(self) -> dict[str, Weight]:
        found = {f"message.{name}": weight for name, weight in self.message.named().items()}
        return found | {"update.weight": turned(self.last.kernel), "update.bias": same(self.last.bias)}


class Network(keras.Model):
    """Layers with dropout before each; scores of chosen nodes, or of graphs from the readouts of all layers."""

    def __init__(
        self, layers: list[Any], kind: str, dropout: float, readout: str | None, outputs: int, edge_features: int,
        decay: float, decayed: int, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.convs, self.kind, self.readout = layers, kind, readout
        self.edge_features, self.decay, self.decayed = edge_features, decay, decayed
        self.drops = [keras.layers.Dropout(dropout, dtype=dtype) for _ in layers]
        self.last = dense(outputs, dtype) if readout is not None else None

    def call(self, x: Any, edges: Any, first: Any, second: Any = None, third: Any = None, training: bool = False) -> Any:
        described = (second if third is None else third) if self.edge_features else None
        seen = [x]
        for k, (conv, drop) in enumerate(zip(self.convs, self.drops, strict=True)):
            x = conv(drop(x, training=training), edges, described, training=training)
            if self.readout is not None or k < len(self.convs) - 1:
                x = ops.elu(x) if self.kind == "gat" else ops.relu(x)
            seen.append(x)
        if self.readout is None or self.last is None:
            return gather(x, first)
        h, graphs = ops.concatenate(seen, axis=-1), ops.shape(second)[0]
        total = scatter(h, first, graphs)
        if self.readout == "mean":
            total = total / ops.maximum(scatter(ops.ones((ops.shape(h)[0], 1), h.dtype), first, graphs), 1)
        elif self.readout == "max":
            own = ops.equal(ops.cast(first, "int32")[None, :], ops.arange(graphs)[:, None])
            total = ops.max(ops.where(own[:, :, None], h[None], -np.inf), axis=1)
        return self.last(total)


def build(
    features: int, outputs: int, layer: str = "gcn", hidden: int = 16, layers: int = 2, heads: int = 8, dropout: float = 0.0,
    attention_dropout: float = 0.0, readout: str | None = None, edge_features: int = 0, decay: float = 0.0, decayed: int = 1,
) -> Network:  # fmt: skip
    """The network with Keras' own initial weights."""
    dtype = keras.config.floatx()
    convs: list[Any] = []
    for k in range(layers):
        last = readout is None and k == layers - 1
        width = outputs if last else hidden
        if layer == "gcn":
            convs.append(GCN(width, dtype))
        elif layer == "gat":
            convs.append(GAT(width if last else width // heads, 1 if last else heads, last, attention_dropout, dtype))
        elif layer == "sage":
            convs.append(SAGE(width, dtype))
        elif layer == "gin":
            convs.append(GIN(hidden, width, dtype))
        elif layer == "mpnn":
            convs.append(MPNN(hidden, width, dtype))
        else:
            raise ValueError(f"unknown layer {layer!r}")
    model = Network(convs, layer, dropout, readout, outputs, edge_features, decay, decayed, dtype)
    of_examples = [np.zeros(1, "int64")] if readout is None else [np.zeros(2, "int64"), np.array([2])]
    described = [np.zeros((2, edge_features), dtype)] if edge_features else []
    model(np.zeros((2, features), dtype), np.array([[0, 1], [1, 0]]), *of_examples, *described)
    return model


def loss(model: Network, *batch: Any, training: bool = True) -> Any:
    """Mean cross-entropy; in training, decay / 2 times the squared weights of the first layers more."""
    scores = model(*batch[:-1], training=training)
    targets = ops.convert_to_tensor(batch[-1])
    value = ops.mean(keras.losses.sparse_categorical_crossentropy(targets, scores, from_logits=True))
    if training and model.decay:
        for conv in model.convs[: model.decayed]:
            value = value + model.decay / 2 * sum(ops.sum(ops.square(w)) for w in conv.trainable_variables)
    return value


def weight_map(model: Network) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    found = {f"convs.{k}.{name}": weight for k, conv in enumerate(model.convs) for name, weight in conv.named().items()}
    if model.last is not None:
        found |= {"output.weight": turned(model.last.kernel), "output.bias": same(model.last.bias)}
    return found
