"""Evidence that the seam is right: a partial JAX backend under it, and a whole training step compiled by jax.jit.

The backend here is thrown away; what a full one needs is in docs/backends.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim, random
from nnatomy.architectures.feedforward.mlp import model as mlp
from nnatomy.backends import B, activate, interface

jax = pytest.importorskip("jax", reason="the jax extra is not installed")
jnp = jax.numpy

BORROWED = (
    "arange", "asarray", "broadcast_to", "divide", "exp", "expm1", "log", "matmul", "ones", "ones_like", "sqrt", "square",
    "tanh", "where", "zeros", "zeros_like",
)  # fmt: skip


def random_bits(key: Any, counter: Any, count: int) -> Any:
    from jax.extend.random import threefry_2x32

    blocks = (count + 1) // 2
    numbers = jnp.arange(blocks, dtype="uint64") + jnp.asarray(counter, "uint64")
    words = jnp.concatenate([(numbers >> 32).astype("uint32"), numbers.astype("uint32")])
    mixed = threefry_2x32(jnp.stack([jnp.asarray(k, "uint32") for k in key]), words)
    return jnp.stack([mixed[:blocks], mixed[blocks:]], axis=1).reshape(-1)[:count]


def softmax_cross_entropy(x: Any, labels: Any) -> Any:
    lse = jax.scipy.special.logsumexp(x, axis=1)
    return lse - jnp.take_along_axis(x, labels[:, None], axis=1)[:, 0], lse


def softmax_cross_entropy_vjp(g: Any, x: Any, labels: Any, lse: Any) -> Any:
    return g[:, None] * (jnp.exp(x - lse[:, None]) - jax.nn.one_hot(labels, x.shape[1], dtype=x.dtype))


PARTIAL = SimpleNamespace(
    name="jax",
    **{name: getattr(jnp, name) for name in BORROWED},
    scatter_add=lambda x, index, values: x.at[index].add(values),
    random_bits=random_bits,
    softmax_cross_entropy=softmax_cross_entropy,
    softmax_cross_entropy_vjp=softmax_cross_entropy_vjp,
)


@pytest.fixture
def on_jax() -> Iterator[None]:
    before = SimpleNamespace(**vars(B))
    activate(PARTIAL)
    try:
        with jax.enable_x64(True):
            yield
    finally:
        activate(before)


def make(how: str) -> tuple[Any, Any]:
    """A room's model in float64 and its optimizer."""
    nn.seed(0)
    model = mlp.build(features=6, outputs=3, hidden=(16, 16), activation="tanh", dropout=0.2).astype("float64")
    rule = optim.Adam(model.named_parameters(), lr=1e-2) if how == "adam" else optim.SGD(model.named_parameters(), 0.1, 0.9)
    return model, rule


def batches(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(32, 6)), rng.integers(0, 3, 32)) for _ in range(n)]


def train(model: Any, optimizer: Any, x: Any, target: Any) -> Any:
    """One step, as a user writes it: our forward, our backward, our update."""
    loss = mlp.loss(model, nn.Tensor(x), nn.Tensor(target))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.data


def course_in_numpy(how: str, steps: int) -> tuple[list[float], dict[str, np.ndarray]]:
    model, optimizer = make(how)
    losses = [float(train(model, optimizer, *batch)) for batch in batches(steps)]
    return losses, model.state_dict()


@pytest.mark.parametrize("how", ["sgd", "adam"])
def test_a_compiled_step_equals_numpy(how: str, request: pytest.FixtureRequest) -> None:
    steps = 6
    expected_losses, expected = course_in_numpy(how, steps)
    model, optimizer = make(how)
    tree: Any = optimizer.state_tree()
    request.getfixturevalue("on_jax")
    parameters = dict(model.named_parameters())
    traced = 0

    def step(state: Any, x: Any, target: Any) -> tuple[Any, Any]:
        nonlocal traced
        traced += 1
        for name, value in state["parameters"].items():
            parameters[name].data = value
        optimizer.bind(state["optimizer"])
        random.default.key, random.default.counter = state["key"], state["counter"]
        loss = train(model, optimizer, x, target)
        values = {name: p.data for name, p in parameters.items()}
        counter = random.default.counter
        return {"parameters": values, "optimizer": optimizer.state_tree(), "key": state["key"], "counter": counter}, loss

    state: Any = {
        "parameters": {name: jnp.asarray(p.data) for name, p in parameters.items()},
        "optimizer": tree,
        "key": tuple(jnp.asarray(k, "uint32") for k in random.default.key),
        "counter": jnp.asarray(random.default.counter, "uint64"),
    }
    compiled = jax.jit(step, donate_argnums=0)
    losses = []
    for x, target in batches(steps):
        state, loss = compiled(state, jnp.asarray(x), jnp.asarray(target))
        losses.append(float(loss))
    apart = max(
        float(np.abs(np.asarray(state["parameters"][name]) - value).max() / np.abs(value).max())
        for name, value in expected.items()
    )
    print(f"\n{how}: {steps} steps, traced {traced} time(s), weights apart by {apart:.1e}, "
          f"losses by {np.abs(np.subtract(losses, expected_losses)).max():.1e}")  # fmt: skip
    assert traced == 1
    assert apart <= 1e-9
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-9)


def test_eager_steps_equal_numpy(request: pytest.FixtureRequest) -> None:
    expected_losses, expected = course_in_numpy("adam", 2)
    model, optimizer = make("adam")
    request.getfixturevalue("on_jax")
    for p in model.parameters():
        p.data = jnp.asarray(p.data)
    losses = [float(train(model, optimizer, jnp.asarray(x), jnp.asarray(target))) for x, target in batches(2)]
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-9)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(np.asarray(p.data), expected[name], rtol=1e-9, atol=1e-12)


def test_random_words_are_the_same(on_jax: None) -> None:
    for counter, count in ((0, 7), (5, 8), (2**32 - 1, 6)):
        words = nn.backends.numpy_reference.random_bits((1, 2), counter, count)
        np.testing.assert_array_equal(np.asarray(random_bits((1, 2), counter, count)), words)


def test_second_derivatives_inside_jit(on_jax: None) -> None:
    def curvature(x: Any) -> Any:
        t = nn.Tensor(x, requires_grad=True)
        g = nn.grad((t.tanh() * t).sum(), t, create_graph=True)
        return nn.grad((g * g).sum(), t).data

    x = np.linspace(-1, 1, 5)
    expected = jax.grad(lambda v: (jax.grad(lambda u: (jnp.tanh(u) * u).sum())(v) ** 2).sum())(jnp.asarray(x))
    np.testing.assert_allclose(np.asarray(jax.jit(curvature)(x)), np.asarray(expected), rtol=1e-10)


def test_the_partial_backend_takes_part_of_the_interface() -> None:
    covered = set(vars(PARTIAL)) - {"name"}
    print(f"\n{len(covered)} of {len(interface.FUNCTIONS)} functions; the rest: {sorted(set(interface.FUNCTIONS) - covered)}")
    assert covered <= set(interface.FUNCTIONS)
