"""Neural ODEs in Keras: an independent twin, written from Chen et al. (2018), Dupont et al. (2019), Grathwohl et al. (2019).
Fixed steps, written out, and gradients through the solver; the Jacobian's trace is carried forward through the layers."""

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


def step(f: Callable[[float, Any], Any], t: float, y: Any, h: float, method: str) -> Any:
    """One step of size h from (t, y)."""
    k1 = f(t, y)
    if method == "euler":
        return y + h * k1
    if method == "midpoint":
        return y + h * f(t + h / 2, y + h / 2 * k1)
    if method == "rk4":
        k2 = f(t + h / 2, y + h / 2 * k1)
        k3 = f(t + h / 2, y + h / 2 * k2)
        k4 = f(t + h, y + h * k3)
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    k2 = f(t + h / 3, y + h / 3 * k1)
    k3 = f(t + 2 * h / 3, y + h * (k2 - k1 / 3))
    k4 = f(t + h, y + h * (k1 - k2 + k3))
    return y + h / 8 * (k1 + 3 * k2 + 3 * k3 + k4)


class Trajectory(keras.Model):
    """The last row of the past, with learned coordinates beside it, moves along the field; its values at each time."""

    def __init__(
        self, width: int, hidden: tuple[int, ...], method: str, steps: int, horizon: int, interval: float,
        targets: tuple[int, ...], extra: int, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.method, self.steps, self.horizon, self.interval, self.targets = method, steps, horizon, interval, targets
        self.dense = [layers.Dense(n, activation="tanh", dtype=dtype) for n in hidden]
        self.dense.append(layers.Dense(width, dtype=dtype))
        self.start = layers.Dense(extra, dtype=dtype, name="start") if extra else None

    def field(self, t: float, z: Any) -> Any:
        for layer in self.dense:
            z = layer(z)
        return z

    def call(self, past: Any, training: bool = False) -> Any:
        z = past[:, -1]
        if self.start is not None:
            z = ops.concatenate([z, self.start(ops.reshape(past, (-1, past.shape[1] * past.shape[2])))], axis=1)
        rows, h = [], self.interval / self.steps
        for n in range(self.horizon * self.steps):
            z = step(self.field, n * h, z, h, self.method)
            if (n + 1) % self.steps == 0:
                rows.append(ops.stack([z[:, column] for column in self.targets], axis=1))
        return ops.stack(rows, axis=1)


class ConcatSquash(layers.Layer):
    def __init__(self, outputs: int, name: str, dtype: str) -> None:
        super().__init__(dtype=dtype, name=name)
        self.layer = layers.Dense(outputs, dtype=dtype)
        self.hyper_gate = layers.Dense(outputs, dtype=dtype)
        self.hyper_bias = layers.Dense(outputs, use_bias=False, dtype=dtype)

    def call(self, t: Any, z: Any, slopes: Any) -> tuple[Any, Any]:
        """The output, and its derivatives (F, batch, outputs) by each of the F coordinates of the point."""
        gate = ops.sigmoid(self.hyper_gate(t))
        return self.layer(z) * gate + self.hyper_bias(t), ops.matmul(slopes, self.layer.kernel) * gate


class Flow(keras.Model):
    """log p(x): back from the data at t = 1 to the noise at t = 0, with the trace of the Jacobian beside the point."""

    def __init__(self, features: int, hidden: tuple[int, ...], method: str, steps: int, fine: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.features, self.method, self.steps, self.fine = features, method, steps, fine
        self.squash = [ConcatSquash(n, f"field_layers_{k}", dtype) for k, n in enumerate((*hidden, features))]

    def change(self, t: float, state: Any) -> Any:
        """The slopes of z and of ln p: f, and minus the trace of df/dz."""
        z, time = state[:, :-1], ops.full((1, 1), t, dtype=state.dtype)
        identity = ops.eye(self.features, dtype=z.dtype)
        slopes = identity[:, None, :] + ops.zeros_like(z)[None]  # of z by its own coordinates
        for k, layer in enumerate(self.squash):
            if k:
                z = ops.tanh(z)
                slopes = slopes * (1 - ops.square(z))
            z, slopes = layer(time, z, slopes)
        trace = ops.sum(slopes * identity[:, None, :], axis=(0, 2))
        return ops.concatenate([z, -trace[:, None]], axis=1)

    def call(self, x: Any, training: bool = False) -> Any:
        state = ops.concatenate([x, ops.zeros_like(x[:, :1])], axis=1)
        steps = self.steps if training else self.steps * self.fine
        for n in range(steps):
            state = step(self.change, 1 - n / steps, state, -1 / steps, self.method)
        z, gained = state[:, :-1], state[:, -1]
        return -ops.sum(ops.square(z), axis=1) / 2 - self.features / 2 * math.log(2 * math.pi) - gained


def build(
    form: str = "trajectory", features: int = 2, hidden: tuple[int, ...] = (50,), method: str = "rk4", steps: int = 1,
    gradient: str = "direct", horizon: int = 10, interval: float = 0.1, targets: tuple[int, ...] | None = None,
    window: int = 1, extra: int = 0, trace: str = "exact", rtol: float = 1e-5, atol: float = 1e-6, fine: int = 1,
) -> Trajectory | Flow:  # fmt: skip
    """The model with Keras' own initial weights.

    `gradient`, `rtol` and `atol` concern solvers that are not here; the trace is exact, which "hutchinson" estimates.
    """
    if method not in ("euler", "midpoint", "rk4", "rk4_38") or form not in ("trajectory", "flow"):
        raise ValueError(f"not in this twin: form={form!r}, method={method!r}")
    dtype = keras.config.floatx()
    if form == "flow":
        flow = Flow(features, tuple(hidden), method, steps, fine, dtype)
        flow(np.zeros((1, features), dtype))
        return flow
    columns = tuple(range(features)) if targets is None else tuple(targets)
    model = Trajectory(features + extra, tuple(hidden), method, steps, horizon, interval, columns, extra, dtype)
    model(np.zeros((1, window, features), dtype))
    return model


def loss(model: Trajectory | Flow, x: Any, *rest: Any, training: bool = True) -> Any:
    """Mean squared error of the trajectories, or minus the mean of log p in nats."""
    y = model(x, training=training)
    return -ops.mean(y) if isinstance(model, Flow) else ops.mean(ops.square(y - rest[0]))


def weight_map(model: Trajectory | Flow) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    parts: dict[str, Any] = {}
    if isinstance(model, Flow):
        for k, squash in enumerate(model.squash):
            parts |= {f"field.layers.{k}.{name}": getattr(squash, name) for name in ("layer", "hyper_gate", "hyper_bias")}
    else:
        parts |= {f"field.net.{2 * k}": layer for k, layer in enumerate(model.dense)}
        if model.start is not None:
            parts["start"] = model.start
    found = {f"{name}.weight": Weight(layer.kernel, np.transpose, np.transpose) for name, layer in parts.items()}
    return found | {f"{name}.bias": Weight(layer.bias, np.array, np.array) for name, layer in parts.items() if layer.use_bias}
