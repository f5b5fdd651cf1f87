"""The steps that a chain of elementwise operations is made of, as LLVM code: each is one loop over vectors in the first cache.

No step is fused with another or reordered, so that each rounds as NumPy's function does. Truth values are 1.0 and 0.0.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nnatomy.kernels.vectors import _I32, _I64, _SUFFIX, _VEC, LANES, _chosen, _function

_ZERO, _ONE = ir.Constant(_VEC, [0.0] * LANES), ir.Constant(_VEC, [1.0] * LANES)
_INFINITY = ir.Constant(_VEC, [float("inf")] * LANES)
_EXACT = {"flags": ("arcp",)}  # else Numba adds flags that let the compiler reorder


def _truth(b, holds):
    return b.select(holds, _ONE, _ZERO)


def _holds(b, x):
    return b.fcmp_unordered("!=", x, _ZERO)


def _llvm(b, name, x):
    return b.call(_function(b, f"llvm.{name}.{_SUFFIX}", _VEC, _VEC), [x])


def _compare(sign):
    return lambda b, x, y: _truth(b, b.fcmp_ordered(sign, x, y))


def _sign(b, x):
    down = b.select(b.fcmp_ordered("<", x, _ZERO), b.fneg(_ONE), x)
    return b.select(b.fcmp_ordered(">", x, _ZERO), _ONE, down)


_largest, _smallest = _chosen(">"), _chosen("<")

STEPS = {
    "copy": (1, lambda b, x: x),
    "add": (2, lambda b, x, y: b.fadd(x, y, **_EXACT)),
    "subtract": (2, lambda b, x, y: b.fsub(x, y, **_EXACT)),
    "multiply": (2, lambda b, x, y: b.fmul(x, y, **_EXACT)),
    "divide": (2, lambda b, x, y: b.fdiv(x, y, flags=("contract",))),
    "negative": (1, lambda b, x: b.fneg(x)),
    "abs": (1, lambda b, x: _llvm(b, "fabs", x)),
    "sqrt": (1, lambda b, x: _llvm(b, "sqrt", x)),
    "square": (1, lambda b, x: b.fmul(x, x, **_EXACT)),
    "cube": (1, lambda b, x: b.fmul(b.fmul(x, x, **_EXACT), x, **_EXACT)),
    "reciprocal": (1, lambda b, x: b.fdiv(_ONE, x, flags=("contract",))),
    "maximum": (2, _largest),
    "minimum": (2, _smallest),
    "clip": (3, lambda b, x, low, high: _smallest(b, _largest(b, x, low), high)),
    "relu": (1, lambda b, x: b.select(b.fcmp_ordered("<=", x, _ZERO), _ZERO, x)),
    "where": (3, lambda b, condition, x, y: b.select(_holds(b, condition), x, y)),
    "sign": (1, _sign),
    "floor": (1, lambda b, x: _llvm(b, "floor", x)),
    "ceil": (1, lambda b, x: _llvm(b, "ceil", x)),
    "round": (1, lambda b, x: _llvm(b, "rint", x)),
    "equal": (2, _compare("==")),
    "not_equal": (2, lambda b, x, y: _truth(b, b.fcmp_unordered("!=", x, y))),
    "less": (2, _compare("<")),
    "less_equal": (2, _compare("<=")),
    "greater": (2, _compare(">")),
    "greater_equal": (2, _compare(">=")),
    "logical_and": (2, lambda b, x, y: _truth(b, b.and_(_holds(b, x), _holds(b, y)))),
    "logical_or": (2, lambda b, x, y: _truth(b, b.or_(_holds(b, x), _holds(b, y)))),
    "logical_not": (1, lambda b, x: b.select(_holds(b, x), _ZERO, _ONE)),
    "isnan": (1, lambda b, x: _truth(b, b.fcmp_unordered("uno", x, x))),
    "isfinite": (1, lambda b, x: _truth(b, b.fcmp_ordered("<", _llvm(b, "fabs", x), _INFINITY))),
}
"""Name: number of operands, and what makes the LLVM code for one vector."""

NUMBER = {name: i for i, name in enumerate(STEPS)}
"""The name of a step in a program."""


@intrinsic
def step(context, number, target, x, x_step, y, y_step, z, z_step, vectors):
    """target[i] = step(x[i], y[i], z[i]) for `vectors` > 0 vectors; x, y, z are addresses, their steps bytes (0: the same)."""
    name = "micro_operation"
    n = types.int64

    def code(ctx, builder, sig, args):
        fn = builder.module.globals.get(name)
        if fn is None:
            fn = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [_I64] * 9), name)
            fn.linkage = "internal"
            fn.attributes.add("noinline")
            _body(ir.IRBuilder(fn.append_basic_block()), list(fn.args))
        builder.call(fn, args)
        return ctx.get_dummy_value()

    return types.void(n, n, n, n, n, n, n, n, n), code


def _body(b, args):
    number, target, *operands, vectors = args
    entry, end = b.block, b.append_basic_block("end")
    b.position_at_end(end)
    b.ret_void()
    b.position_at_end(entry)
    switch = b.switch(b.trunc(number, _I32), end)
    for at, (name, (arity, build)) in enumerate(STEPS.items()):
        block = b.append_basic_block(name)
        switch.add_case(ir.Constant(_I32, at), block)
        b.position_at_end(block)
        left, to = b.phi(_I64), b.phi(_I64)
        left.add_incoming(vectors, entry)
        to.add_incoming(target, entry)
        values, moving = [], [(to, ir.Constant(_I64, 4 * LANES))]
        for k in range(arity):
            place = b.phi(_I64)
            place.add_incoming(operands[2 * k], entry)
            moving.append((place, operands[2 * k + 1]))
        for place, _ in moving[1:]:
            value = b.load(b.inttoptr(place, _VEC.as_pointer()))
            value.align = 4
            values.append(value)
        b.store(build(b, *values), b.inttoptr(to, _VEC.as_pointer())).align = 4
        for place, by in moving:
            place.add_incoming(b.add(place, by), block)
        less = b.sub(left, ir.Constant(_I64, 1))
        left.add_incoming(less, block)
        b.cbranch(b.icmp_signed(">", less, ir.Constant(_I64, 0)), block, end)
