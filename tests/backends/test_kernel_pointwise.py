"""Chains of elementwise operations in one instruction equal NumPy's operations one after another."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import THREADS, layouts, on_threads, run
from scipy.special import erf

from nnatomy.kernels.lowering import Emitter, find
from nnatomy.kernels.machine import Program

F = np.float32
SPECIAL = np.array(
    [0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-38, -1e-39, 3.4e38, -3.4e38, 88.7,
     88.8, -87.4, -103.9, -104.1, 1e-8, -1e-8, 20.0, -20.0, 1e30, 0.69, 4.0, -4.0], F,
)  # fmt: skip
NUMBERS = np.concatenate(
    [SPECIAL, np.random.default_rng(0).normal(size=3001).astype(F), np.random.default_rng(1).normal(size=500).astype(F) * 30]
)

UNARY = {
    "negative": np.negative, "abs": np.abs, "sqrt": np.sqrt, "square": np.square, "reciprocal": lambda x: F(1) / x,
    "relu": lambda x: np.maximum(x, F(0)), "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "round": np.round,
    "logical_not": lambda x: np.logical_not(x).astype(F), "isnan": lambda x: np.isnan(x).astype(F),
    "isfinite": lambda x: np.isfinite(x).astype(F), "copy": lambda x: x, "astype": lambda x: x,
}  # fmt: skip
BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
    "greater": np.greater, "greater_equal": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
}  # fmt: skip
FUNCTIONS = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh, "erf": erf, "sin": np.sin,
    "cos": np.cos, "sigmoid": lambda x: np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x))),
}  # fmt: skip
TRUTHS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_not",
          "isnan", "isfinite"}  # fmt: skip


def tmp(j: int) -> tuple[str, int]:
    return ("tmp", j)


def arg(i: int) -> tuple[str, int]:
    return ("in", i)


def const(x: float) -> tuple[str, float]:
    return ("const", x)


def chain(args: list[Any], code: list[Any], results: list[Any] | None = None, **options: Any) -> Any:
    return run("pointwise", args, {"code": code, "results": results or [tmp(len(code) - 1)]}, **options)


def in_numpy(args: list[Any], code: list[Any], results: list[Any] | None = None) -> list[Any]:
    """Return a chain's result by NumPy."""
    values: list[Any] = []

    def value(ref: Any) -> Any:
        kind, i = ref
        return F(i) if kind == "const" else args[i].astype(F) if kind == "in" else values[i]

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for op, *refs in code:
            x = [value(r) for r in refs]
            if op in UNARY or op in BINARY:
                values.append((UNARY.get(op) or BINARY[op])(*x).astype(F))
            elif op in FUNCTIONS:
                values.append(FUNCTIONS[op](x[0].astype(np.float64)).astype(F))
            elif op == "where":
                values.append(np.where(x[0] != 0, x[1], x[2]))
            elif op == "clip":
                values.append(np.minimum(np.maximum(x[0], x[1]), x[2]))
            else:
                values.append(np.power(x[0], x[1]))
        shape = np.broadcast_shapes(*(a.shape for a in args))
        return [np.broadcast_to(value(r), shape) for r in results or [tmp(len(code) - 1)]]


@pytest.mark.parametrize("name", sorted(UNARY))
def test_operations_of_one_number(name: str) -> None:
    found = chain([NUMBERS], [(name, arg(0))])
    assert found.dtype == (np.bool_ if name in TRUTHS else F)
    np.testing.assert_array_equal(found, in_numpy([NUMBERS], [(name, arg(0))])[0])


@pytest.mark.parametrize("name", sorted(BINARY))
def test_operations_of_two_numbers(name: str) -> None:
    x, y = np.repeat(SPECIAL, len(SPECIAL)), np.tile(SPECIAL, len(SPECIAL))
    found = chain([x, y], [(name, arg(0), arg(1))])
    np.testing.assert_array_equal(found, in_numpy([x, y], [(name, arg(0), arg(1))])[0])
    for refs in ((arg(0), const(0.3)), (const(-1.7), arg(0)), (arg(0), arg(0))):
        np.testing.assert_array_equal(chain([x], [(name, *refs)]), in_numpy([x], [(name, *refs)])[0])


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_have_six_digits_everywhere(name: str) -> None:
    x = np.concatenate([NUMBERS, np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32).view(F)])
    found, wanted = chain([x], [(name, arg(0))]), in_numpy([x], [(name, arg(0))])[0]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_allclose(found, wanted, rtol=4e-7, atol=2e-45 if name not in ("sin", "cos") else 1e-7)
    one = np.array([0.3], F)
    found = chain([one, x[40:99]], [(name, arg(0)), ("multiply", tmp(0), arg(1))])  # of one number for all
    np.testing.assert_allclose(found, FUNCTIONS[name](F(0.3)) * x[40:99], rtol=1e-6)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, -1.0, 1.0, 2.5, -0.5, 0.0])
def test_powers(exponent: float) -> None:
    with np.errstate(all="ignore"):
        wanted = np.power(NUMBERS.astype(np.float64), exponent).astype(F)
    if exponent == 0.5:
        wanted = in_numpy([NUMBERS], [("sqrt", arg(0))])[0]
    np.testing.assert_allclose(chain([NUMBERS], [("power", arg(0), const(exponent))]), wanted, rtol=1e-6, atol=1e-44)
    x = np.abs(NUMBERS[NUMBERS == NUMBERS])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(chain([x, x[::-1]], [("power", arg(0), arg(1))]), np.power(x, x[::-1]), rtol=1e-6)


def test_choices_of_three() -> None:
    x, y, z = NUMBERS, NUMBERS[::-1], np.roll(NUMBERS, 7)
    for line in (("where", *map(arg, range(3))), ("clip", arg(0), const(-0.5), const(1.0)), ("clip", *map(arg, range(3)))):
        code = [line]
        np.testing.assert_array_equal(chain([x, y, z], code), in_numpy([x, y, z], code)[0])


SHAPES = [
    (), (1,), (5,), (16,), (1023,), (1025,), (4000,), (3, 5), (100, 10), (40, 1500), (130, 70), (6, 7, 49), (2, 3, 4, 5),
    (1, 33, 1),
]  # fmt: skip


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", [*SHAPES, (300, 401)], ids=str)
def test_all_layouts_and_broadcasts(shape: tuple[int, ...], threads: int) -> None:
    rng = np.random.default_rng(0)
    x = np.asarray(rng.normal(size=shape)).astype(F)
    code = [("multiply", arg(0), const(2.0)), ("add", tmp(0), arg(1)), ("greater", tmp(1), const(0.0)), ("exp", tmp(1))]
    results = [tmp(1), tmp(2), tmp(3)]
    whole = np.asarray(rng.integers(-9, 9, shape))
    others = [*layouts(x).values(), x[..., :1] if shape else x, np.array(0.7), np.array(3), np.asarray(x > 0), whole]
    for axis in range(len(shape)):
        part = np.asarray(rng.normal(size=[n if i == axis else 1 for i, n in enumerate(shape)])).astype(F)
        others += [part, np.broadcast_to(part, shape)]
    if len(shape) > 1:
        others += [x[0], np.asarray(x[0] > 0), rng.integers(0, 5, shape[1:]).astype(np.int32)]
    for name, first in layouts(x).items():
        for second in others:
            found, wanted = chain([first, second], code, results, threads=threads), in_numpy([first, second], code, results)
            what = f"{name}, {second.dtype} {second.shape} {second.strides}"
            np.testing.assert_array_equal(found[0], wanted[0], err_msg=what)
            np.testing.assert_array_equal(found[1], wanted[1], err_msg=what)
            np.testing.assert_allclose(found[2], wanted[2], rtol=4e-7, err_msg=what)
            if threads > 1:
                break


@pytest.mark.parametrize("shape", [(37,), (64, 31), (9, 8, 50)], ids=str)
def test_outs_in_any_layout_and_nothing_beside_them(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(F)
    code = [("add", arg(0), const(1.0)), ("less", arg(0), const(0.0))]
    truths = layouts(np.zeros(shape, bool))
    for name, out in layouts(np.zeros(shape, F)).items():
        truth = truths[name]
        assert chain([x], code, [tmp(0), tmp(1)], outs=[out, truth]) is not None
        np.testing.assert_array_equal(out, x + F(1), err_msg=name)
        np.testing.assert_array_equal(truth, x < 0, err_msg=name)
        for array in (out, truth):
            whole = array if array.base is None else array.base
            array[...] = 0
            assert not whole.any(), name


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("n", [1, 15, 16, 1000, 50_001])
def test_in_place_and_what_is_read_after_it_was_written(n: int, threads: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=n).astype(F), rng.normal(size=n).astype(F)
    code = [("add", arg(0), arg(1)), ("multiply", arg(0), tmp(0)), ("subtract", tmp(1), arg(1)), ("copy", tmp(0))]
    results = [tmp(0), tmp(2), tmp(3), tmp(0)]
    wanted = in_numpy([x.copy(), y.copy()], code, results)
    spare = [np.empty(n, F), np.empty(n, F)]
    found = chain([x, y], code, results, outs=[x, y, *spare], threads=threads)
    for a, b in zip(found, wanted):
        np.testing.assert_array_equal(a, b)


def test_results_that_are_inputs_constants_or_one_number() -> None:
    x, s = np.arange(5, dtype=F), np.array(3.0)
    code = [("sqrt", arg(1)), ("multiply", tmp(0), const(2.0))]
    found = chain([x, s], code, [arg(0), arg(1), const(-1.5), tmp(1), tmp(0)])
    wanted = [x, np.full(5, 3, F), np.full(5, -1.5, F), np.full(5, np.sqrt(F(3)) * 2), np.full(5, np.sqrt(F(3)))]
    for a, b in zip(found, wanted):
        np.testing.assert_array_equal(a, b)


def test_numbers_are_read_when_it_runs() -> None:
    x, rate, out = np.ones(40, F), np.array(2.0), np.zeros(40, F)
    lowering = find("pointwise")
    assert lowering is not None
    program = Program()
    with on_threads(1):
        assert lowering.emit(Emitter(program), [out], [x, rate], {"code": [("multiply", arg(0), arg(1))], "results": [tmp(0)]})
        for value in (2.0, 0.1):
            rate[...] = value
            program.run()
            np.testing.assert_array_equal(out, np.full(40, value, F))


def test_adam() -> None:
    rng = np.random.default_rng(0)
    p, m, g = (rng.normal(size=10_007).astype(F) for _ in range(3))
    v = rng.random(10_007).astype(F)
    rate, c1, c2 = np.array(1e-3), np.array(0.1), np.array(0.001)
    code = [
        ("multiply", arg(1), const(0.9)), ("multiply", arg(3), const(0.1)), ("add", tmp(0), tmp(1)),
        ("multiply", arg(2), const(0.999)), ("square", arg(3)), ("multiply", tmp(4), const(0.001)), ("add", tmp(3), tmp(5)),
        ("divide", tmp(2), arg(5)), ("divide", tmp(6), arg(6)), ("sqrt", tmp(8)), ("add", tmp(9), const(1e-8)),
        ("multiply", arg(4), tmp(7)), ("divide", tmp(11), tmp(10)), ("subtract", arg(0), tmp(12)),
    ]  # fmt: skip
    args, results = [p, m, v, g, rate, c1, c2], [tmp(13), tmp(2), tmp(6)]
    wanted = in_numpy(args, code, results)
    for a, b in zip(chain(args, code, results, outs=[p, m, v], threads=2), wanted):
        np.testing.assert_array_equal(a, b)


def test_many_operands_and_long_chains() -> None:
    rng = np.random.default_rng(0)
    args = [rng.normal(size=(30, 41)).astype(F) for _ in range(12)]
    code: list[Any] = [("add", arg(i), arg((i + 5) % 12)) for i in range(12)]
    code += [("multiply", tmp(i), tmp(11 - i)) for i in range(12)]
    code += [("subtract", tmp(12 + i), tmp(i)) for i in range(12)]
    code += [("maximum", tmp(24 + i), tmp(35 - i)) for i in range(6)]
    results = [tmp(i) for i in range(30, 42)]
    for a, b in zip(chain(args, code, results), in_numpy(args, code, results)):
        np.testing.assert_array_equal(a, b)


@st.composite
def programs(draw: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """Random code on random inputs."""
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    args = []
    for _ in range(draw(st.integers(1, 4))):
        lengths = [n if draw(st.integers(0, 3)) else 1 for n in shape]
        args.append(list(layouts(rng.normal(size=lengths).astype(F)).values())[draw(st.integers(0, 5))])
    args.append(rng.normal(size=shape).astype(F))
    code: list[Any] = []
    for j in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from([*sorted(UNARY), *sorted(BINARY), "where", "clip"]))
        count = 1 if name in UNARY else 2 if name in BINARY else 3
        kinds = [arg(i) for i in range(len(args))] + [tmp(i) for i in range(j)] + [const(0.75), const(-2.0)]
        code.append((name, *(draw(st.sampled_from(kinds)) for _ in range(count))))
    results = [tmp(draw(st.integers(0, len(code) - 1))) for _ in range(draw(st.integers(1, 3)))]
    return args, code, results


@settings(max_examples=200, deadline=None)
@given(programs())
def test_random_programs(program: tuple[list[Any], list[Any], list[Any]]) -> None:
    args, code, results = program
    found = chain(args, code, results)
    for a, b in zip([found] if len(results) == 1 else found, in_numpy(args, code, results)):
        np.testing.assert_array_equal(a, b)


def test_what_is_not_supported_is_refused() -> None:
    x = np.zeros(8, F)
    add = [("add", arg(0), arg(1))]
    assert chain([x, np.zeros(8)], add, outs=[np.zeros(8, F)]) is None  # float64
    assert chain([np.zeros(0, F), np.zeros(0, F)], add) is None
    assert chain([x, x], [("arctan", arg(0))]) is None
    whole = np.zeros(9, F)
    assert chain([whole[1:], x], add, outs=[whole[:-1]]) is None  # an out shifted against an input
    assert chain([x, x], [*add, ("negative", tmp(0))], [tmp(0), tmp(1)], outs=[whole[:-1], whole[1:]]) is None
