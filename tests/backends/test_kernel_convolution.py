"""The kernels of convolution and of its adjoints compute what the reference does."""

import numpy as np
import pytest

from nnatomy.backends import numpy_reference as reference
from nnatomy.kernels import arrays, machine
from nnatomy.kernels.lowering import allocate

ONE = (1, 1)
SAME = ((1, 1), (1, 1))
# batch, channels in and out, space, kernel, stride, padding, dilation, groups
SHAPES = [
    (16, 16, 16, (8, 8), (3, 3), ONE, SAME, ONE, 1),
    (7, 3, 17, (9, 11), (3, 3), ONE, ((1, 0), (2, 1)), ONE, 1),
    (1, 3, 5, (9, 11), (3, 2), (2, 3), ((1, 0), (2, 1)), ONE, 1),
    (33, 6, 4, (9, 11), (3, 2), (2, 3), ((1, 0), (2, 1)), (2, 1), 2),
    (64, 1, 6, (28, 28), (5, 5), ONE, ((2, 2), (2, 2)), ONE, 1),
    (64, 6, 16, (14, 14), (5, 5), ONE, ((0, 0), (0, 0)), ONE, 1),
    (5, 4, 8, (3, 3), (5, 5), ONE, ((2, 2), (2, 2)), ONE, 1),
    (5, 4, 4, (13, 13), (3, 3), (2, 2), SAME, ONE, 4),
    (5, 4, 8, (13,), (3,), (2,), ((1, 1),), (1,), 4),
    (64, 17, 3, (20,), (4,), (1,), ((3, 0),), (2,), 1),
    (3, 4, 8, (13, 12), (1, 1), (3, 2), ((0, 0), (0, 0)), ONE, 1),
    (3, 4, 8, (7, 7), (3, 3), ONE, ((4, 4), (5, 3)), ONE, 1),
    (1, 64, 33, (14, 14), (3, 3), ONE, SAME, ONE, 1),
    (2, 1, 1, (1, 1), (1, 1), ONE, ((0, 0), (0, 0)), ONE, 1),
    (16, 64, 17, (6, 5), (3, 3), (2, 2), SAME, ONE, 1),
    (33, 16, 16, (5, 7), (3, 3), ONE, SAME, ONE, 1),
    (7, 17, 64, (4, 4), (3, 3), ONE, ((2, 0), (0, 2)), ONE, 1),
    (16, 128, 128, (14, 14), (3, 3), ONE, SAME, ONE, 1),
    (48, 130, 24, (6, 4), (3, 3), ONE, ((2, 1), (0, 2)), ONE, 1),
    (2, 32, 16, (1, 9), (3, 3), ONE, ((1, 1), (0, 0)), ONE, 1),
    (5, 32, 64, (13, 18), (3, 3), ONE, ((0, 0), (0, 0)), ONE, 1),
    (33, 30, 65, (14, 11), (3, 3), ONE, SAME, ONE, 1),
    (80, 32, 16, (8, 4), (3, 3), ONE, ((1, 1), (1, 0)), ONE, 1),
    (64, 32, 64, (28, 28), (3, 3), ONE, SAME, ONE, 1),
    (64, 64, 128, (14, 14), (3, 3), ONE, SAME, ONE, 1),
]


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = machine.get_num_threads()
    machine.set_num_threads(request.param)
    yield request.param
    machine.set_num_threads(before)


@pytest.fixture
def one_thread():
    before = machine.get_num_threads()
    machine.set_num_threads(1)
    yield
    machine.set_num_threads(before)


def batch_last(values):
    """The values in an array whose batch is innermost in memory, as kernels store images."""
    out = allocate(values.shape, np.float32, (*range(1, values.ndim), 0))
    out[...] = values
    return out


def strided(values):
    """The values in an array none of whose axes is contiguous."""
    wide = np.full(tuple(2 * n for n in values.shape), np.nan, np.float32)
    view = wide[tuple(slice(None, None, 2) for _ in values.shape)]
    view[...] = values
    return view


def cropped(values):
    """The values as a part of larger images."""
    return batch_last(np.pad(values, [(0, 0), (0, 0), *[(1, 2)] * (values.ndim - 2)], constant_values=np.nan))[
        (..., *[slice(1, -2)] * (values.ndim - 2))
    ]


LAYOUTS = {"batch last": batch_last, "as in PyTorch": lambda a: np.ascontiguousarray(a, np.float32), "strided": strided,
           "cropped": cropped, "backwards": lambda a: batch_last(a[..., ::-1])[..., ::-1]}  # fmt: skip


def make(shape, layout="batch last", seed=0):
    return LAYOUTS[layout](np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def calls(case, layout="batch last"):
    """(function, arguments, options) of a convolution and its two adjoints."""
    n, channels, outputs, space, kernel, stride, padding, dilation, groups = case
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w = make((n, channels, *space), layout), make((outputs, channels // groups, *kernel), "as in PyTorch", 1)
    g = make((n, outputs, *reference.conv_shape(space, kernel, stride, padding, dilation)), layout, 2)
    if layout in ("strided", "cropped", "backwards"):
        w = LAYOUTS[layout](w)
    yield "conv", (x, w), how
    yield "conv_input", (g, w), how | {"space": space}
    yield "conv_weight", (x, g), how | {"kernel": kernel}


def agrees(name, args, how, tolerance=1e-5):
    got = arrays.call(name, args, how, 0.0)
    assert got is not None, f"{name} has no kernel here"
    expected = getattr(reference, name)(*(a.astype(np.float64) for a in args), **how)
    assert got.shape == expected.shape
    assert got.dtype == np.float32
    usual = np.isfinite(expected)
    np.testing.assert_array_equal(got[~usual], expected[~usual].astype(np.float32), err_msg=name)
    largest = np.abs(expected[usual]).max(initial=1e-30)
    np.testing.assert_allclose(got[usual] / largest, expected[usual] / largest, atol=tolerance, rtol=0, err_msg=name)
    return got


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_kernels_equal_the_reference(case, one_thread):
    for call in calls(case):
        agrees(*call)


@pytest.mark.parametrize("case", [SHAPES[i] for i in (0, 3, 5, 8, 12, 18, 20, 21, 22)], ids=str)
def test_any_number_of_threads_gives_the_same_result_twice(case, threads):
    for call in calls(case):
        np.testing.assert_array_equal(agrees(*call), arrays.call(*call, 0.0))


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("case", [SHAPES[i] for i in (1, 3, 8, 20)], ids=str)
def test_operands_may_stand_in_memory_as_they_like(case, layout, one_thread):
    for call in calls(case, layout):
        agrees(*call)


def test_random_geometries(one_thread):
    rng = np.random.default_rng(0)
    tried = 0
    while tried < 40:
        axes = [(int(rng.integers(1, 12)), int(rng.integers(1, 5)), int(rng.integers(1, 4)),
                 (int(rng.integers(0, 4)), int(rng.integers(0, 4))), int(rng.integers(1, 3))) for _ in range(2)]  # fmt: skip
        space, kernel, stride, padding, dilation = zip(*axes)
        if min(reference.conv_shape(space, kernel, stride, padding, dilation)) < 1:
            continue
        groups = int(rng.choice([1, 1, 2, 3]))
        n, channels, outputs = (int(rng.integers(1, 20)), groups * int(rng.integers(1, 6)), groups * int(rng.integers(1, 10)))
        for call in calls((n, channels, outputs, space, kernel, stride, padding, dilation, groups)):
            agrees(*call)
        tried += 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_goes_where_it_does_in_the_reference(value, one_thread):
    for name, args, how in calls((7, 3, 5, (9, 8), (3, 3), (2, 1), SAME, ONE, 1)):
        args[0][2, 1, 0, 3] = value
        with np.errstate(invalid="ignore"):
            agrees(name, args, how)


def test_winograd_spreads_what_is_no_number_over_its_tiles_only(one_thread):
    name, args, how = next(calls(SHAPES[0]))
    args[0][2, 1, 0, 0] = np.nan
    got = np.isnan(arrays.call(name, args, how, 0.0))
    assert got[2, :, :2, :2].all()  # the outputs that meet it
    got[2, :, :4, :4] = False  # its tile
    assert not got.any()


def test_winograd_spreads_what_is_no_number_over_the_weights_of_its_channel_only(one_thread):
    name, args, how = list(calls(SHAPES[20]))[2]
    args[0][2, 7, 1, 1] = np.nan  # direct sums would have it in four of the nine weights
    got = np.isnan(arrays.call(name, args, how, 0.0))
    assert got[:, 7].all()
    got[:, 7] = False
    assert not got.any()


@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
@pytest.mark.parametrize("case", [SHAPES[i] for i in (0, 4, 8, 10, 15)], ids=str)
def test_bias_and_activation_are_applied_to_the_result(case, activation, one_thread):
    name, args, how = next(calls(case))
    bias = make((case[2],), "as in PyTorch", 5)
    got = arrays.call(name, args, how | {"bias": bias, "activation": activation}, 0.0)
    y = reference.conv(*args, **how) + bias.reshape(-1, *[1] * len(case[3]))
    expected = {None: y, "relu": np.maximum(y, 0), "tanh": np.tanh(y)}[activation]
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(y).max())


def test_relu_keeps_nan(one_thread):
    name, args, how = next(calls(SHAPES[1]))
    args[0][3, 1, 4, 4] = np.nan
    got = arrays.call(name, args, how | {"activation": "relu"}, 0.0)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(reference.conv(*args, **how)))


@pytest.mark.parametrize("kind", ["float64", "volume", "empty", "activation"])
def test_what_has_no_kernel_is_left_to_the_reference(kind, one_thread):
    name, args, how = next(calls(SHAPES[0]))
    if kind == "float64":
        args = (args[0], args[1].astype(np.float64))
    elif kind == "volume":
        args = (make((2, 3, 4, 4, 4), "as in PyTorch"), make((2, 3, 2, 2, 2), "as in PyTorch"))
        how = {"stride": (1,) * 3, "padding": ((0, 0),) * 3, "dilation": (1,) * 3, "groups": 1}
    elif kind == "empty":
        args = (args[0][:0], args[1])
    else:
        how = how | {"activation": "gelu"}
    assert arrays.call(name, args, how, 0.0) is None


def test_results_stand_batch_last_in_memory(one_thread):
    name, args, how = next(calls(SHAPES[0]))
    assert arrays.call(name, args, how, 0.0).transpose(1, 2, 3, 0).flags.c_contiguous
