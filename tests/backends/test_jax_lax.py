"""How JAX provides the functions that jax.numpy has no namesake of: the claims of docs/backends.md, held to the reference."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from nnatomy.backends import interface
from nnatomy.backends import numpy_reference as reference

jax = pytest.importorskip("jax", reason="the jax extra is not installed")
jnp, lax = jax.numpy, jax.lax


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def adjoint(f: Any, shape: tuple[int, ...], g: Any) -> Any:
    """What a linear f does backwards: both adjoints of convolution and of pooling come for nothing."""
    return jax.linear_transpose(f, jax.ShapeDtypeStruct(shape, g.dtype))(g)[0]


def conv(x: Any, w: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return lax.conv_general_dilated(x, w, stride, padding, rhs_dilation=dilation, feature_group_count=groups)


def sum_pool(x: Any, *, kernel: Any, stride: Any, padding: Any) -> Any:
    around = ((0, 0), (0, 0), *padding)
    return lax.reduce_window(x, np.zeros((), x.dtype)[()], lax.add, (1, 1, *kernel), (1, 1, *stride), around)


def windows(x: Any, value: float, *, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    wide = jnp.pad(x, ((0, 0), (0, 0), *padding), constant_values=value)
    out = reference.conv_shape(x.shape[2:], kernel, stride, padding, dilation)
    offsets = itertools.product(*map(range, kernel))
    axes = [list(zip(offset, stride, dilation, out, strict=True)) for offset in offsets]
    return jnp.stack([wide[(..., *(slice(o * d, o * d + s * (n - 1) + 1, s) for o, s, d, n in a))] for a in axes], -1)


def max_pool(x: Any, **how: Any) -> Any:
    seen = windows(x, -np.inf, **how)
    position = jnp.argmax(seen, -1)
    return jnp.take_along_axis(seen, position[..., None], -1)[..., 0], position


def pool_gather(x: Any, position: Any, **how: Any) -> Any:
    return jnp.take_along_axis(windows(x, 0.0, **how), position[..., None], -1)[..., 0]


def equal(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("how", [
    {"stride": (2, 1), "padding": ((1, 1), (0, 2)), "dilation": (1, 2), "groups": 2},
    {"stride": (3, 2), "padding": ((0, 0), (1, 0)), "dilation": (1, 1), "groups": 1},
])  # fmt: skip
def test_convolution(how: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 4, 9, 8)), rng.normal(size=(6, 4 // how["groups"], 3, 2))
    y = reference.conv(x, w, **how)
    equal(conv(x, w, **how), y)
    equal(adjoint(lambda x: conv(x, w, **how), x.shape, y), reference.conv_input(y, w, space=(9, 8), **how))
    equal(adjoint(lambda w: conv(x, w, **how), w.shape, y), reference.conv_weight(x, y, kernel=(3, 2), **how))


def test_pooling() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 9, 8))
    how: dict[str, Any] = {"kernel": (3, 2), "stride": (2, 1), "padding": ((1, 1), (0, 1))}
    y = reference.sum_pool(x, **how)
    equal(sum_pool(x, **how), y)
    equal(adjoint(lambda x: sum_pool(x, **how), x.shape, y), reference.sum_pool_input(y, space=(9, 8), **how))
    how["dilation"] = (1, 2)
    best, position = reference.max_pool(x, **how)
    equal(max_pool(x, **how)[0], best)
    equal(max_pool(x, **how)[1], position)
    equal(pool_gather(x, position, **how), reference.pool_gather(x, position, **how))
    back = adjoint(lambda x: pool_gather(x, position, **how), x.shape, best)
    equal(back, reference.pool_scatter(best, position, space=(9, 8), **how))


def test_the_rest() -> None:
    rng = np.random.default_rng(0)
    x, rows, values = rng.normal(size=(4, 5)), np.array([[0, 3], [3, 1]]), rng.normal(size=(2, 2, 5))
    equal(jnp.zeros((4, 5)).at[rows].add(values), reference.add_rows((4, 5), rows, values))
    equal(jnp.asarray(x).at[rows].add(values), reference.scatter_add(x, rows, values))
    equal(jnp.asarray(x).at[1:3].set(values[0]), reference.index_put(x, slice(1, 3), values[0]))
    equal(jax.scipy.special.erf(x), reference.erf(x))
    equal(jax.nn.sigmoid(x), reference.sigmoid(x))


def test_all_others_have_a_namesake() -> None:
    own = {
        "conv_shape", *interface.WRITING, *interface.RANDOM, *interface.POOLING, *interface.NORMALISATION, *interface.ATTENTION,
        *interface.PRODUCTS[2:], *interface.RECURRENT, "erf", "sigmoid",
    }  # fmt: skip
    assert {name for name in interface.FUNCTIONS if not hasattr(jnp, name)} == own
