"""The innermost loops of every product: a tile of C in registers, C = A B or C += A B. Written once, as LLVM code.

    C[i, j] (+)= sum over k of A[i, k] B[k, j],     i < rows, j < vectors LANES

A[i, k] is at A + 4 (k step_k + i step_i), so that A may be packed (step_i = 1, step_k = rows: then addresses are constants)
or read in place. Row k of B is at B + 4 k step, or, `indirect`, at B + 4 table[k]: a convolution's windows need no copies.
Only the first `columns` of the last vector are read and written.
"""


from __future__ import annotations

from functools import cache

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nnatomy.kernels.vectors import (
    _F32,
    _F32P,
    _I32,
    _I64,
    _SUFFIX,
    _VEC,
    LANES,
    _function,
    _mask,
    _splat,
)  # fmt: skip

_MASK = ir.VectorType(ir.IntType(1), LANES)


@cache
def tile(rows: int, vectors: int, packed: bool = True, indirect: bool = False):
    """The micro-kernel for one size of tile.

    packed:  tile(depth, A, B, step or table, C, row_step, columns, add)
    else:    tile(depth, A, step_i, step_k, B, step or table, C, row_step, columns, add)

    depth, steps and columns are int64 (columns: of the last vector, 1 to LANES); A, B, C float32 pointers; a table int64's.
    `add` is 0 to overwrite C, 1 to add to it. depth may be 0.
    """
    name = f"tile_{rows}x{vectors}{'_packed' if packed else ''}{'_indirect' if indirect else ''}"

    def code(ctx, builder, sig, args):
        floats = _F32.as_pointer()
        wide = _I64.as_pointer() if indirect else _I64
        kinds = [_I64, floats, *([] if packed else [_I64, _I64]), floats, wide, floats, _I64, _I64, _I64]
        fn = builder.module.globals.get(name)
        if fn is None:
            fn = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
            fn.linkage = "internal"
            fn.attributes.add("noinline")
            _body(ir.IRBuilder(fn.append_basic_block()), list(fn.args), rows, vectors, packed, indirect)
        builder.call(fn, args)
        return ctx.get_dummy_value()

    step = types.CPointer(types.int64) if indirect else types.int64
    n = types.int64
    if packed:

        @intrinsic
        def product(context, depth, A, B, step_b, C, row_step, columns, add):
            return types.void(n, _F32P, _F32P, step, _F32P, n, n, n), code
    else:

        @intrinsic
        def product(context, depth, A, step_i, step_k, B, step_b, C, row_step, columns, add):
            return types.void(n, _F32P, n, n, _F32P, step, _F32P, n, n, n), code

    return product


def _body(b, args, rows, vectors, packed, indirect):
    if packed:
        depth, A, B, step, C, row_step, columns, add = args
        a_steps = [ir.Constant(_I64, i) for i in range(rows)]
        next_a = ir.Constant(_I64, rows)
    else:
        depth, A, step_i, next_a, B, step, C, row_step, columns, add = args
        a_steps = [b.mul(step_i, ir.Constant(_I64, i)) for i in range(rows)]
    one, none = ir.Constant(_I64, 1), ir.Constant(_I64, 0)
    zero = ir.Constant(_VEC, [0.0] * LANES)
    fma = _function(b, f"llvm.fma.{_SUFFIX}", _VEC, _VEC, _VEC, _VEC)
    masked_load = _function(b, f"llvm.masked.load.{_SUFFIX}.p0", _VEC, _VEC.as_pointer(), _I32, _MASK, _VEC)
    masked_store = _function(b, f"llvm.masked.store.{_SUFFIX}.p0", ir.VoidType(), _VEC, _VEC.as_pointer(), _I32, _MASK)
    align = ir.Constant(_I32, 4)
    mask = _mask(b, columns)
    whole = b.icmp_signed("==", columns, ir.Constant(_I64, LANES))
    last = vectors - 1
    results = []
    entry, end = b.block, b.append_basic_block("end")

    def place(pointer, offset):
        return b.bitcast(b.gep(pointer, [offset]), _VEC.as_pointer())

    def loop(masked):
        """sum over k, with or without a mask on the last vector of B's rows."""
        block = b.append_basic_block("k")
        start = b.block
        b.cbranch(b.icmp_signed(">", depth, none), block, end)
        results.append((start, [zero] * (rows * vectors)))
        b.position_at_end(block)
        k, a, at = b.phi(_I64), b.phi(A.type), b.phi(step.type if indirect else A.type)
        sums = [b.phi(_VEC) for _ in range(rows * vectors)]
        k.add_incoming(depth, start)
        a.add_incoming(A, start)
        at.add_incoming(step if indirect else B, start)
        for s in sums:
            s.add_incoming(zero, start)
        row = b.gep(B, [b.load(at)]) if indirect else at
        columns_of_b = []
        for j in range(vectors):
            where = place(row, ir.Constant(_I64, j * LANES))
            if masked and j == last:
                value = b.call(masked_load, [where, align, mask, zero])
            else:
                value = b.load(where)
                value.align = 4
            columns_of_b.append(value)
        new = []
        for i in range(rows):
            x = b.load(b.gep(a, [a_steps[i]]))
            x.align = 4
            x = _splat(b, x)
            new += [b.call(fma, [x, columns_of_b[j], sums[i * vectors + j]]) for j in range(vectors)]
        left = b.sub(k, one)
        k.add_incoming(left, block)
        a.add_incoming(b.gep(a, [next_a]), block)
        at.add_incoming(b.gep(at, [one]) if indirect else b.gep(at, [step]), block)
        for s, value in zip(sums, new):
            s.add_incoming(value, block)
        b.cbranch(b.icmp_signed(">", left, none), block, end)
        results.append((block, new))

    full, part = b.append_basic_block("full"), b.append_basic_block("part")
    b.position_at_end(entry)
    b.cbranch(whole, full, part)
    b.position_at_end(full)
    loop(False)
    b.position_at_end(part)
    loop(True)
    b.position_at_end(end)
    sums = [b.phi(_VEC) for _ in range(rows * vectors)]
    for block, values in results:
        for s, value in zip(sums, values):
            s.add_incoming(value, block)
    adding, writing, done = (b.append_basic_block(n) for n in ("adding", "writing", "done"))
    places = []
    for i in range(rows):
        row = b.gep(C, [b.mul(row_step, ir.Constant(_I64, i))])
        places += [place(row, ir.Constant(_I64, j * LANES)) for j in range(vectors)]
    everything = ir.Constant(_MASK, [1] * LANES)
    b.cbranch(b.icmp_signed("!=", add, none), adding, writing)
    b.position_at_end(adding)
    for n, (where, s) in enumerate(zip(places, sums)):
        m = mask if n % vectors == last else everything
        b.call(masked_store, [b.fadd(b.call(masked_load, [where, align, m, zero]), s), where, align, m])
    b.branch(done)
    b.position_at_end(writing)
    for n, (where, s) in enumerate(zip(places, sums)):
        b.call(masked_store, [s, where, align, mask if n % vectors == last else everything])
    b.branch(done)
    b.position_at_end(done)
    b.ret_void()


@cache
def dots(rows: int, columns: int):
    """The micro-kernel of weight gradients: rows x columns dot products of long vectors, all in registers.

    out[i, j] = sum over r < runs, f < length of A[a[i] + r a_run + f] B[b[j] + r b_run + f]

    as dots(runs, length, A, a, a_run, B, b, b_run, out), with a and b tables of int64 offsets; runs is at least 1.
    """
    name = f"dots_{rows}x{columns}"
    n, table = types.int64, types.CPointer(types.int64)

    def code(ctx, builder, sig, args):
        floats, wide = _F32.as_pointer(), _I64.as_pointer()
        kinds = [_I64, _I64, floats, wide, _I64, floats, wide, _I64, floats]
        fn = builder.module.globals.get(name)
        if fn is None:
            fn = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
            fn.linkage = "internal"
            fn.attributes.add("noinline")
            _dots_body(ir.IRBuilder(fn.append_basic_block()), list(fn.args), rows, columns)
        builder.call(fn, args)
        return ctx.get_dummy_value()

    @intrinsic
    def product(context, runs, length, A, a, a_run, B, b, b_run, out):
        return types.void(n, n, _F32P, table, n, _F32P, table, n, _F32P), code

    return product


def _dots_body(b, args, rows, columns):
    runs, length, A, a_table, a_run, B, b_table, b_run, out = args
    one, none, lanes = ir.Constant(_I64, 1), ir.Constant(_I64, 0), ir.Constant(_I64, LANES)
    zero = ir.Constant(_VEC, [0.0] * LANES)
    fma = _function(b, f"llvm.fma.{_SUFFIX}", _VEC, _VEC, _VEC, _VEC)
    masked_load = _function(b, f"llvm.masked.load.{_SUFFIX}.p0", _VEC, _VEC.as_pointer(), _I32, _MASK, _VEC)
    reduce = _function(b, f"llvm.vector.reduce.fadd.{_SUFFIX}", _F32, _F32, _VEC)
    left = [b.gep(A, [b.load(b.gep(a_table, [ir.Constant(_I64, i)]))]) for i in range(rows)]
    right = [b.gep(B, [b.load(b.gep(b_table, [ir.Constant(_I64, j)]))]) for j in range(columns)]
    rest = b.and_(length, ir.Constant(_I64, LANES - 1))
    whole = b.sub(length, rest)
    mask = _mask(b, rest)
    entry = b.block
    run, step, after, part, following, done = (
        b.append_basic_block(s) for s in ("run", "step", "after", "part", "following", "done")
    )

    def phis():
        return [b.phi(_VEC) for _ in range(rows * columns)]

    def come(sums, values, block):
        for s, value in zip(sums, values):
            s.add_incoming(value, block)

    def products(a_at, b_at, read, sums):
        xs = [read(b.bitcast(b.gep(p, [a_at]), _VEC.as_pointer())) for p in left]
        ys = [read(b.bitcast(b.gep(p, [b_at]), _VEC.as_pointer())) for p in right]
        return [b.call(fma, [x, y, sums[i * columns + j]]) for i, x in enumerate(xs) for j, y in enumerate(ys)]

    def plain(where):
        value = b.load(where)
        value.align = 4
        return value

    b.branch(run)
    b.position_at_end(run)
    r, a_at, b_at = b.phi(_I64), b.phi(_I64), b.phi(_I64)
    at_run = phis()
    r.add_incoming(runs, entry)
    a_at.add_incoming(none, entry)
    b_at.add_incoming(none, entry)
    come(at_run, [zero] * (rows * columns), entry)
    b.cbranch(b.icmp_signed(">", whole, none), step, after)

    b.position_at_end(step)
    f = b.phi(_I64)
    at_step = phis()
    f.add_incoming(none, run)
    come(at_step, at_run, run)
    new = products(b.add(a_at, f), b.add(b_at, f), plain, at_step)
    further = b.add(f, lanes)
    f.add_incoming(further, step)
    come(at_step, new, step)
    b.cbranch(b.icmp_signed("<", further, whole), step, after)

    b.position_at_end(after)
    at_after = phis()
    come(at_after, at_run, run)
    come(at_after, new, step)
    b.cbranch(b.icmp_signed(">", rest, none), part, following)

    b.position_at_end(part)
    last = products(b.add(a_at, whole), b.add(b_at, whole),
                    lambda where: b.call(masked_load, [where, ir.Constant(_I32, 4), mask, zero]), at_after)  # fmt: skip
    b.branch(following)

    b.position_at_end(following)
    sums = phis()
    come(sums, at_after, after)
    come(sums, last, part)
    fewer = b.sub(r, one)
    r.add_incoming(fewer, following)
    a_at.add_incoming(b.add(a_at, a_run), following)
    b_at.add_incoming(b.add(b_at, b_run), following)
    come(at_run, sums, following)
    b.cbranch(b.icmp_signed(">", fewer, none), run, done)

    b.position_at_end(done)
    for i, s in enumerate(sums):
        value = b.call(reduce, [ir.Constant(_F32, -0.0), s], fastmath=["reassoc"])
        b.store(value, b.gep(out, [ir.Constant(_I64, i)])).align = 4
    b.ret_void()
