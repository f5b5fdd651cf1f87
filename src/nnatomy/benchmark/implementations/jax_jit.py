"""JAX: the networks as pure functions of their weights, the whole training step under one `jax.jit`.

`p` holds the weights by PyTorch's names, in PyTorch's layouts. Images are NHWC inside, which XLA prefers on a CPU; recurrent
networks are `lax.scan`s with the inputs' product taken out. Batch norms put their new statistics into `new`, or use the old
ones where it is None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nnatomy.benchmark.implementation import Array, Arrays
from nnatomy.benchmark.implementations import Answering
from nnatomy.benchmark.workloads import MOBILENET, RESNET, Workload

# The parts


def linear(p: Any, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def conv(p: Any, name: str, x: Any, padding: int = 0, stride: int = 1, groups: int = 1) -> Any:
    y = lax.conv_general_dilated(
        x, p[f"{name}.weight"], (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "OIHW", "NHWC"),
        feature_group_count=groups,
    )  # fmt: skip
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def conv_transpose(p: Any, name: str, x: Any) -> Any:
    """Kernel 4, stride 2, padding 1."""
    w = p[f"{name}.weight"]
    y = lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "OIHW", "NHWC"), transpose_kernel=True)
    return y + p[f"{name}.bias"]


def blocks(x: Any) -> Any:
    """Squares of 2 x 2."""
    B, H, W, C = x.shape
    return x.reshape(B, H // 2, 2, W // 2, 2, C)


def batch_norm(p: Any, name: str, x: Any, new: Any) -> Any:
    if new is None:
        mean, var = p[f"{name}.running_mean"], p[f"{name}.running_var"]
    else:
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        n = x.size // x.shape[-1]
        new[f"{name}.running_mean"] = 0.9 * p[f"{name}.running_mean"] + 0.1 * mean
        new[f"{name}.running_var"] = 0.9 * p[f"{name}.running_var"] + 0.1 * var * (n / (n - 1))
    return (x - mean) * (lax.rsqrt(var + 1e-5) * p[f"{name}.weight"]) + p[f"{name}.bias"]


def layer_norm(p: Any, name: str, x: Any) -> Any:
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(var + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def transformer_block(p: Any, name: str, x: Any, heads: int, causal: bool) -> Any:
    B, T, C = x.shape
    qkv = linear(p, f"{name}.qkv", layer_norm(p, f"{name}.norm1", x)).reshape(B, T, 3, heads, C // heads)
    y = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], is_causal=causal)
    x = x + linear(p, f"{name}.project", y.reshape(B, T, C))
    y = jax.nn.gelu(linear(p, f"{name}.widen", layer_norm(p, f"{name}.norm2", x)), approximate=False)
    return x + linear(p, f"{name}.narrow", y)


# The networks


def mlp(p: Any, x: Any, new: Any) -> Any:
    return linear(p, "4", jax.nn.relu(linear(p, "2", jax.nn.relu(linear(p, "0", x)))))


def lenet(p: Any, x: Any, new: Any) -> Any:
    x = blocks(jnp.tanh(conv(p, "0", x, 2))).mean((2, 4))
    x = blocks(jnp.tanh(conv(p, "3", x))).mean((2, 4))
    x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return linear(p, "11", jnp.tanh(linear(p, "9", jnp.tanh(linear(p, "7", x)))))


def convnet(p: Any, x: Any, new: Any) -> Any:
    x = jax.nn.relu(batch_norm(p, "1", conv(p, "0", x, 1), new))
    x = jax.nn.relu(batch_norm(p, "4", conv(p, "3", x, 1), new))
    x = blocks(x).max((2, 4))
    x = jax.nn.relu(batch_norm(p, "8", conv(p, "7", x, 1), new))
    return linear(p, "12", x.mean((1, 2)))


def autoencoder(p: Any, x: Any, new: Any) -> Any:
    x = jax.nn.relu(conv(p, "0", x, 1, 2))
    x = jax.nn.relu(conv(p, "2", x, 1, 2))
    return conv_transpose(p, "6", jax.nn.relu(conv_transpose(p, "4", x)))


def resnet20(p: Any, x: Any, new: Any) -> Any:
    x = jax.nn.relu(batch_norm(p, "1", conv(p, "0", x, 1), new))
    for i, (_, _, stride) in enumerate(RESNET):
        name, short = f"3.{i}", x
        if stride > 1:
            short = batch_norm(p, f"{name}.downsample.1", conv(p, f"{name}.downsample.0", x, 0, stride), new)
        x = jax.nn.relu(batch_norm(p, f"{name}.bn1", conv(p, f"{name}.conv1", x, 1, stride), new))
        x = jax.nn.relu(batch_norm(p, f"{name}.bn2", conv(p, f"{name}.conv2", x, 1), new) + short)
    return linear(p, "6", x.mean((1, 2)))


def mobilenet(p: Any, x: Any, new: Any) -> Any:
    x = jax.nn.relu6(batch_norm(p, "1", conv(p, "0", x, 1), new))
    for i, (inputs, outputs, stride) in enumerate(MOBILENET):
        name = f"3.{i}.layers"
        y = jax.nn.relu6(batch_norm(p, f"{name}.1", conv(p, f"{name}.0", x), new))
        y = jax.nn.relu6(batch_norm(p, f"{name}.4", conv(p, f"{name}.3", y, 1, stride, 4 * inputs), new))
        y = batch_norm(p, f"{name}.7", conv(p, f"{name}.6", y), new)
        x = x + y if stride == 1 and inputs == outputs else y
    return linear(p, "6", x.mean((1, 2)))


def lstm(p: Any, x: Any, new: Any) -> Any:
    gates = x.swapaxes(0, 1) @ p["lstm.weight_ih_l0"].T + p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"]

    def step(state: Any, gate: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(gate + h @ p["lstm.weight_hh_l0"].T, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((len(x), 128))
    (h, _), _ = lax.scan(step, (zeros, zeros), gates)
    return linear(p, "output", h)


def bigru(p: Any, x: Any, new: Any) -> Any:
    def run(way: str) -> Any:
        gates = x.swapaxes(0, 1) @ p[f"gru.weight_ih_l0{way}"].T + p[f"gru.bias_ih_l0{way}"]

        def step(h: Any, gate: Any) -> Any:
            r, z, n = jnp.split(gate, 3, axis=-1)
            hr, hz, hn = jnp.split(h @ p[f"gru.weight_hh_l0{way}"].T + p[f"gru.bias_hh_l0{way}"], 3, axis=-1)
            z = jax.nn.sigmoid(z + hz)
            h = (1 - z) * jnp.tanh(n + jax.nn.sigmoid(r + hr) * hn) + z * h
            return h, h

        return lax.scan(step, jnp.zeros((len(x), 64)), gates, reverse=bool(way))[1]  # [T, B, H]

    return linear(p, "output", jnp.concatenate([run(""), run("_reverse")], -1).mean(0))


def encoder(p: Any, x: Any, new: Any) -> Any:
    x = p["tokens.weight"][x] + p["positions.weight"]
    for i in range(2):
        x = transformer_block(p, f"blocks.{i}", x, 4, False)
    return linear(p, "output", layer_norm(p, "norm", x).mean(1))


def gpt(p: Any, x: Any, new: Any) -> Any:
    x = p["tokens.weight"][x] + p["positions.weight"]
    for i in range(4):
        x = transformer_block(p, f"blocks.{i}", x, 4, True)
    return linear(p, "output", layer_norm(p, "norm", x)).reshape(-1, 256)


NETWORKS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "mlp": mlp, "mlp-small": mlp, "lenet": lenet, "convnet": convnet, "autoencoder": autoencoder, "resnet20": resnet20,
    "mobilenet": mobilenet, "lstm": lstm, "bigru": bigru, "encoder": encoder, "gpt": gpt,
}  # fmt: skip


def cross_entropy(y: Any, target: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(y), target[:, None], axis=1).mean()


def mse(y: Any, target: Any) -> Any:
    return jnp.square(y - target).mean()


def adam(p: Any, m: Any, v: Any, g: Any, t: Any) -> tuple[Any, Any, Any]:
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    rate, root = 1e-3 / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
    return jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), p, m, v), m, v


def prepare(threads: int) -> None:
    """XLA makes a thread for each processor that the process may use: worker.py sees to those."""


class Network(Answering):
    def __init__(self, workload: Workload, weights: Any, options: dict[str, Any]) -> None:
        network, loss = NETWORKS[workload.model], mse if workload.loss == "mse" else cross_entropy
        self.first = weights
        self.buffers = {name for name in weights if "running_" in name}
        self.batches = [(self.question(x), self.question(y)) for x, y in workload.batches()]

        def losses(p: Any, buffers: Any, x: Any, y: Any) -> Any:
            new: dict[str, Any] = {}
            return loss(network(p | buffers, x, new), y), new

        def step(state: Any, x: Any, y: Any) -> Any:
            p, buffers, m, v, t = state
            (value, buffers), g = jax.value_and_grad(losses, has_aux=True)(p, buffers, x, y)
            t = t + 1
            p, m, v = adam(p, m, v, g, t)
            return (p, buffers, m, v, t), value

        self.train = jax.jit(step, donate_argnums=0)
        self.forward = jax.jit(lambda p, x: network(p, x, None))
        self.all = {name: jnp.asarray(a) for name, a in weights.items()}
        self.restart()

    def weights(self) -> Arrays:
        return dict(self.first)

    def restart(self) -> None:
        p = {name: jnp.array(a) for name, a in self.first.items() if name not in self.buffers}
        buffers = {name: jnp.array(self.first[name]) for name in self.buffers}
        m, v = (jax.tree.map(jnp.zeros_like, p) for _ in range(2))
        self.state, self.count = (p, buffers, m, v, jnp.zeros(())), 0

    def step(self) -> float:
        self.state, loss = self.train(self.state, *self.batches[self.count % len(self.batches)])
        self.count += 1
        return float(loss)

    def synchronize(self) -> None:
        jax.block_until_ready(self.state)

    def moments(self) -> Arrays:
        return {name: np.array(m) for name, m in self.state[2].items()}

    def question(self, x: Array) -> Any:
        x = x.astype(np.int32) if x.dtype.kind == "i" else x
        return jnp.asarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)

    def answer(self, x: Any) -> Any:
        return jax.block_until_ready(self.forward(self.all, x))

    def array(self, y: Any) -> Array:
        found = np.asarray(y)
        return found.transpose(0, 3, 1, 2) if found.ndim == 4 else found

    def describe(self) -> str:
        return f"JAX {jax.__version__}"
