"""nn.compile on the jax backend: what is compiled, what is donated, what is traced again, and what runs as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nnatomy as nn

jax = pytest.importorskip("jax", reason="the jax extra is not installed")
jnp = jax.numpy
pytestmark = pytest.mark.any_kernels


@pytest.fixture(autouse=True)
def _on_jax() -> Iterator[None]:
    with nn.backend("jax"):
        yield


def step(state: Any, x: Any) -> Any:
    new = {"w": state["w"] - state["lr"] * x, "lr": state["lr"], "t": state["t"] + 1, "kind": state["kind"]}
    return new, {"size": new["w"].sum(), "label": "norm"}


def start() -> dict[str, Any]:
    return {"w": jnp.ones(3, "float32"), "lr": 0.5, "t": 0, "kind": "sgd"}


def test_a_state_is_donated_and_the_callers_own_is_not() -> None:
    compiled, first = nn.compile(step), start()
    state, metrics = compiled(first, np.ones(3, "float32"))
    assert first["w"].tolist() == [1.0, 1.0, 1.0], "the caller's arrays are copied"
    assert (state["w"].tolist(), state["kind"], state["lr"], metrics["label"]) == ([0.5, 0.5, 0.5], "sgd", 0.5, "norm")
    used = state["w"]
    state, metrics = compiled(state, np.ones(3, "float32"))
    assert used.is_deleted(), "what a call returned is used up by the next"
    assert float(metrics["size"]) == 0.0
    assert int(state["t"]) == 2


def test_numbers_and_exchanged_arrays_compile_nothing_new() -> None:
    compiled, state = nn.compile(step), start()
    for lr in (0.5, 0.25, 3):
        state, _ = compiled(state | {"lr": float(lr)}, np.ones(3, "float32"))
    assert state["w"].tolist() == [-2.75] * 3
    assert state["w"].dtype == np.float32
    state["w"] = np.full(3, 9.0, "float32")
    state, _ = compiled(state, np.ones(3, "float32"))
    assert state["w"].tolist() == [6.0] * 3
    assert compiled.parts() == [("float32[3]", True)]
    compiled(start(), np.ones(1, "float32"))
    compiled(start() | {"kind": "other"}, np.ones(1, "float32"))
    assert compiled.parts() == [("float32[3]", True), ("float32[1]", True), ("float32[1]", True)]


def test_numpy_numbers_count_as_pythons() -> None:
    state, _ = nn.compile(step)(start() | {"lr": np.float64(0.5)}, np.ones(3, "float32"))
    assert state["w"].dtype == np.float32


def test_one_array_in_two_places_of_a_state() -> None:
    def average(state: Any, x: Any) -> Any:
        return {"w": state["w"] + x, "a": state["a"] * 0.5, "fixed": state["fixed"], "same": state["fixed"]}, x

    w, compiled = jnp.ones(2), nn.compile(average)
    state = {"w": w, "a": w, "fixed": w, "same": w}
    for _ in range(3):
        state, _ = compiled(state, np.ones(2))
    assert [state[k].tolist()[0] for k in ("w", "a", "fixed", "same")] == [4.0, 0.125, 1.0, 1.0]


def test_a_function_without_a_state_keeps_its_arguments() -> None:
    compiled = nn.compile(lambda weights, x: (weights["w"] @ x, [weights["w"].sum(), None, 3]))
    weights = {"w": jnp.ones((2, 2))}
    for _ in range(2):
        y, rest = compiled(weights, np.ones(2))
        assert (y.tolist(), float(rest[0]), rest[1:]) == ([2.0, 2.0], 4.0, [None, 3])
    assert not weights["w"].is_deleted()
    assert compiled.reason is None
    assert nn.compile(lambda: jnp.ones(2))().tolist() == [1.0, 1.0]


def asks(x: Any) -> Any:
    return x * 2 if nn.Tensor(x).sum().item() > 0 else x


def test_who_asks_for_values_runs_eagerly_and_is_told() -> None:
    compiled = nn.compile(asks)
    with pytest.warns(RuntimeWarning, match=r"not compiled: it needs the values of an array while it is traced \(tensor.py"):
        y = compiled(np.ones(2))
    assert compiled.reason is not None
    assert np.asarray(y).tolist() == [2.0, 2.0]
    assert np.asarray(compiled(-np.ones(2))).tolist() == [-1.0, -1.0]
    for asking in (lambda x: x if (nn.Tensor(x) > 0).all() else -x, lambda x: nn.Tensor(x).numpy() + 1,
                   lambda x: nn.Tensor(x)[nn.Tensor(x) > 0].data, lambda x: object()):  # fmt: skip
        other = nn.compile(asking, warn=False)
        other(jnp.ones(2))
        assert other.reason is not None


def test_other_mistakes_are_raised() -> None:
    compiled = nn.compile(lambda x: nn.Tensor(x).reshape(3).data)
    with pytest.raises(nn.UserError, match="reshape"):
        compiled(np.ones(2))
    assert compiled.reason is None


def test_a_state_keeps_its_shapes_and_types() -> None:
    for change in (lambda w: w[:1], lambda w: w.astype("float16"), lambda w: 0.5):
        compiled = nn.compile(lambda state, x, change=change: ({"w": change(state["w"])}, x), warn=False)
        compiled({"w": jnp.ones(3, "float32")}, np.ones(1))
        assert "a state whose ['w'] changes its shape or type, or becomes a constant" in str(compiled.reason)


def test_what_was_bound_to_traced_values_is_bound_to_real_ones() -> None:
    class Bound:
        def __init__(self) -> None:
            self.w: Any = None

        def bind(self, state: Any) -> None:
            self.w = state["w"]

        def __call__(self, state: Any, x: Any) -> Any:
            self.bind(state)
            return {"w": self.w + x}, x.sum()

    function = Bound()
    state, _ = nn.compile(function)({"w": jnp.zeros(2)}, np.ones(2))
    assert function.w is state["w"]


SPREAD = """
import numpy as np, jax, nnatomy as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
nn.use("jax")
mesh = Mesh(np.array(jax.devices()), ("devices",))
rows, whole = NamedSharding(mesh, P("devices")), NamedSharding(mesh, P())
def step(state, x):
    w = state["w"] - state["lr"] * (x.T @ x @ state["w"])
    return {"w": w, "m": state["m"] + w.sum(), "t": state["t"] + 1, "lr": state["lr"]}, w.sum()
compiled = nn.compile(step)
x = np.random.default_rng(0).normal(size=(8, 4))
state = {"w": jax.device_put(np.ones((4, 2)), rows), "m": jax.device_put(np.zeros(4), whole), "t": 0, "lr": 0.01}
expected = {"w": np.ones((4, 2)), "m": np.zeros(4), "t": 0, "lr": 0.01}
for i in range(3):
    state["lr"] = expected["lr"] = 0.01 + i / 1000
    state, _ = compiled(state, jax.device_put(x, rows))
    expected, _ = step(expected, x)
    assert state["w"].sharding.is_equivalent_to(rows, 2), state["w"].sharding
    assert state["m"].sharding.is_equivalent_to(whole, 1), state["m"].sharding
    assert state["w"].addressable_shards[0].data.shape == (1, 2)
    np.testing.assert_allclose(state["w"], expected["w"], rtol=1e-12)
assert int(state["t"]) == 3
assert len(compiled.parts()) == 1, "traced again"
assert compiled._jitted._newest.run._cache_size() <= 2, "compiled again"
print(compiled.parts(), compiled.reason)
"""


def test_a_state_over_several_devices_stays_where_it_is() -> None:
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-c", SPREAD], capture_output=True, text=True, env=os.environ | environment, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout == "[('float64[8, 4]', True)] None\n"
