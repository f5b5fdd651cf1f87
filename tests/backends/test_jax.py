"""The JAX backend: chosen by name and device, complete, with our random streams; whole training steps compiled by XLA."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim
from nnatomy.architectures.feedforward.mlp import model as mlp
from nnatomy.backends import B, interface, numpy_reference
from nnatomy.training.learners import GradientDescent
from nnatomy.training.learners.gradient_descent import GradientDescentLearner

jax = pytest.importorskip("jax", reason="the jax extra is not installed")
jnp = jax.numpy
pytestmark = pytest.mark.any_kernels


@pytest.fixture
def on_jax() -> Iterator[None]:
    with nn.backend("jax"):
        yield


def test_every_function_is_there(on_jax: None) -> None:
    assert [name for name in interface.FUNCTIONS if not callable(getattr(B, name, None))] == []
    assert nn.backends.current() == "jax"


def test_random_words_are_the_same(on_jax: None) -> None:
    drawn = (((1, 2), 0, 7), ((2**32 - 1, 5), 5, 8), ((1, 2), 2**32 - 1, 6), ((0, 9), 2**40 + 3, 5), ((0, 9), 2**63 + 1, 4))
    for key, counter, count in drawn:
        words = numpy_reference.random_bits(key, counter, count)
        np.testing.assert_array_equal(np.asarray(B.random_bits(key, counter, count)), words)
        traced = jax.jit(lambda k, c, n=count: B.random_bits(k, c, n))(key, np.uint64(counter))
        np.testing.assert_array_equal(np.asarray(traced), words)


def test_64_bits_exist_and_32_are_the_default(on_jax: None) -> None:
    assert nn.tensor([1.0, 2.0]).dtype == np.float32
    assert nn.tensor(np.arange(3.0)).dtype == np.float64
    assert (nn.tensor([1.0]) * 2.5 + np.float64(1)).dtype == np.float32
    assert nn.tensor([1, 2]).dtype == np.int64
    assert (nn.tensor([1, 2]) * 0.5).dtype == np.float32


def test_devices_are_chosen_by_name() -> None:
    with nn.backend("jax", device="cpu:0"):
        assert nn.zeros(2).data.devices() == {jax.devices("cpu")[0]}
    for wrong in ("cpu:7", "cpu:", "cpu:x", "abacus"):
        with pytest.raises(nn.UserError, match=r"device must name one of cpu:0.*Received"):
            nn.use("jax", device=wrong)
    with pytest.raises(nn.UserError, match=r'numpy backend computes on the CPU.*"jax"'):
        nn.use("numpy", device="gpu")
    assert nn.backends.current() == "numpy"


def test_a_block_puts_jax_settings_back() -> None:
    with nn.backend("jax", device="cpu"):
        inside = jax.config.jax_enable_x64, jax.config.jax_default_device
        with nn.backend("numpy"):
            pass
        assert (jax.config.jax_enable_x64, jax.config.jax_default_device) == inside == (True, jax.devices("cpu")[0])
    assert (jax.config.jax_enable_x64, jax.config.jax_default_device) == (False, None)


def test_without_jax_the_remedy_is_told() -> None:
    code = "import sys; sys.modules['jax'] = None; import nnatomy as nn\ntry: nn.use('jax')\nexcept nn.UserError as e: print(e)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 'pip install "nnatomy[jax]"' in found


def make(how: str) -> GradientDescentLearner:
    nn.seed(0)
    model = mlp.build(features=6, outputs=3, hidden=(16, 16), activation="tanh", dropout=0.2).astype("float64")
    rule = partial(optim.Adam, lr=1e-2) if how == "adam" else partial(optim.SGD, lr=0.1, momentum=0.9)
    return GradientDescent(mlp.loss, rule, clip=1.0, average=0.9).begin(model)


def course(backend: str, how: str, compiled: bool = False) -> tuple[list[float], dict[str, Any], Any]:
    """Losses and weights of six steps with dropout, clipping, an average and a learning rate that falls."""
    rng = np.random.default_rng(1)
    losses = []
    with nn.backend(backend):
        step = make(how)
        run: Any = nn.compile(step) if compiled else step
        state = step.state()
        for i in range(6):
            state["optimizers"]["all"]["factor"] = 1 - i / 10
            state, metrics = run(state, (rng.normal(size=(32, 6)), rng.integers(0, 3, 32)))
            losses.append(float(metrics["loss"]))
        step.bind(state)
        assert step.optimizer.state_tree()["steps"]["linears.0.bias"] == 6
        return losses, {name: np.array(a) for name, a in state["average"].items()}, run


@pytest.mark.parametrize("how", ["sgd", "adam"])
def test_steps_equal_numpys(how: str) -> None:
    losses, weights, _ = course("numpy", how)
    eager, compiled = course("jax", how), course("jax", how, compiled=True)
    for found_losses, found, _ in (eager, compiled):
        np.testing.assert_allclose(found_losses, losses, rtol=1e-12)
        for name, value in weights.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-11, atol=1e-13)
    assert compiled[2].reason is None
    assert compiled[2].parts() == [("float64[32, 6], int64[32]", True)], "traced once"
    assert compiled[2].memory > 0


def test_second_derivatives_inside_jit(on_jax: None) -> None:
    def curvature(x: Any) -> Any:
        t = nn.Tensor(x, requires_grad=True)
        g = nn.grad((t.tanh() * t).sum(), t, create_graph=True)
        return nn.grad((g * g).sum(), t).data

    x = np.linspace(-1, 1, 5)
    expected = jax.grad(lambda v: (jax.grad(lambda u: (jnp.tanh(u) * u).sum())(v) ** 2).sum())(jnp.asarray(x))
    np.testing.assert_allclose(np.asarray(jax.jit(curvature)(x)), np.asarray(expected), rtol=1e-10)
