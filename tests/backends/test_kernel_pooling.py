"""The kernels of pooling compute exactly what the reference does."""

import numpy as np
import pytest

from nnatomy.backends import numpy_reference as reference
from nnatomy.kernels import arrays, machine
from nnatomy.kernels.lowering import allocate

ONCE = (1, 1)
NONE = ((0, 0), (0, 0))
# channels, space, kernel, stride, padding, dilation
CASES = [
    (3, (8, 8), (2, 2), (2, 2), NONE, ONCE),
    (2, (9, 7), (3, 2), (2, 1), ((1, 0), (0, 1)), ONCE),
    (2, (9, 7), (3, 2), (2, 1), ((1, 0), (0, 1)), (2, 3)),
    (3, (9,), (3,), (2,), ((1, 1),), (1,)),
    (1, (5, 5), (5, 5), ONCE, NONE, ONCE),
    (2, (7, 8), (2, 2), (3, 3), NONE, ONCE),
    (1, (3, 3), (3, 3), ONCE, ((1, 1), (1, 1)), ONCE),
]


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = machine.get_num_threads()
    machine.set_num_threads(request.param)
    yield request.param
    machine.set_num_threads(before)


def stored(values, layout):
    if layout == "batch first":
        return np.ascontiguousarray(values)
    out = allocate(values.shape, values.dtype, (*range(1, values.ndim), 0))
    out[...] = values
    return out


def numbers(shape, layout, rough, seed=0):
    """Whole numbers, so that there are ties and that sums are exact; rough: with NaN and infinities."""
    rng = np.random.default_rng(seed)
    x = np.round(2 * rng.standard_normal(shape)).astype(np.float32)
    if rough:
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.4] = -np.inf
        x[rng.random(shape) < 0.05] = np.inf
    return stored(x, layout)


def same(name, args, how):
    got = arrays.call(name, args, how, 0.0)
    assert got is not None, f"{name} has no kernel here"
    with np.errstate(invalid="ignore"):
        expected = getattr(reference, name)(*args, **how)
    for a, b in zip(got, expected, strict=True) if isinstance(got, tuple) else [(got, expected)]:
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b, err_msg=name)
    return got


@pytest.mark.parametrize("layout", ["batch last", "batch first"])
@pytest.mark.parametrize("rough", [False, True])
@pytest.mark.parametrize("batch", [1, 7, 16, 33, 64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_equal_the_reference(case, batch, rough, layout):
    channels, space, kernel, stride, padding, dilation = case
    how = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    x = numbers((batch, channels, *space), layout, rough)
    y, position = same("max_pool", (x,), how)
    position, g = stored(position, layout), numbers(y.shape, layout, rough, 1)
    same("pool_gather", (x, position), how)
    same("pool_scatter", (g, position), how | {"space": space})
    del how["dilation"]
    sums = reference.conv_shape(space, kernel, stride, padding, (1,) * len(space))
    same("sum_pool", (x,), how)
    same("sum_pool_input", (numbers((batch, channels, *sums), layout, rough, 2),), how | {"space": space})


def test_any_number_of_threads_gives_the_same(threads):
    how = {"kernel": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1)), "dilation": ONCE}
    x = numbers((32, 5, 20, 20), "batch last", rough=False)
    y, position = same("max_pool", (x,), how)
    same("pool_scatter", (y, position), how | {"space": (20, 20)})


def test_the_gradient_may_stand_in_memory_otherwise_than_the_positions():
    how = {"kernel": (2, 2), "stride": (2, 2), "padding": NONE, "dilation": ONCE}
    x = numbers((7, 3, 8, 6), "batch last", rough=False)
    y, position = same("max_pool", (x,), how)
    same("pool_scatter", (np.broadcast_to(np.float32(1), y.shape), position), how | {"space": (8, 6)})
    same("pool_scatter", (np.ascontiguousarray(y), position), how | {"space": (8, 6)})


def test_other_types_and_volumes_are_left_to_the_reference():
    how = {"kernel": (2, 2), "stride": (2, 2), "padding": NONE}
    assert arrays.call("sum_pool", (np.zeros((1, 1, 4, 4)),), how, 0.0) is None
    how = {"kernel": (2,) * 3, "stride": (2,) * 3, "padding": ((0, 0),) * 3}
    assert arrays.call("sum_pool", (np.zeros((1, 1, 4, 4, 4), np.float32),), how, 0.0) is None
