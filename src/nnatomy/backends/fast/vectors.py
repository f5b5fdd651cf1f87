"""Numba's missing pieces: raw pointers, SIMD vectors of float32, atomics. All kernels are written with these.

A vector has LANES lanes, as many as the machine's widest registers hold. Offsets count elements, not bytes.
"""


from __future__ import annotations

import operator

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

FEATURES = llvm.get_host_cpu_features()
LANES = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx2") else 4
REGISTERS = 32 if FEATURES.get("avx512f") or "aarch64" in llvm.get_process_triple() else 16

FAST_MATH = {"reassoc", "contract", "nsz"}  # sums may be reordered and fused; NaN and infinity keep their meaning

inner = njit(error_model="numpy", fastmath=FAST_MATH, nogil=True)
"""Decorates the functions that kernels call."""

_F32, _F64, _I32, _I64 = ir.FloatType(), ir.DoubleType(), ir.IntType(32), ir.IntType(64)
_VEC = ir.VectorType(_F32, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)


class Vector(types.Type):
    """LANES float32 in one register."""

    def __init__(self) -> None:
        super().__init__(name="float32xN")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _VEC)


# Pointers: an address (int64) as something that can be indexed.


def _pointer(kind):
    @intrinsic
    def cast(context, address):
        def code(ctx, b, sig, args):
            return b.inttoptr(args[0], ctx.get_value_type(sig.return_type))

        return types.CPointer(kind)(types.int64), code

    return cast


f32 = _pointer(types.float32)
f64 = _pointer(types.float64)
i32 = _pointer(types.int32)
i64 = _pointer(types.int64)
u8 = _pointer(types.uint8)
u32 = _pointer(types.uint32)
u64 = _pointer(types.uint64)


def _place(b, pointer, offset):
    return b.bitcast(b.gep(pointer, [offset]), _VEC.as_pointer())


def _splat(b, x):
    first = b.insert_element(ir.Constant(_VEC, ir.Undefined), x, ir.Constant(_I32, 0))
    return b.shuffle_vector(first, ir.Constant(_VEC, ir.Undefined), ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


def _mask(b, count):
    """True in the first `count` lanes."""
    wide = ir.VectorType(_I64, LANES)
    first = b.insert_element(ir.Constant(wide, ir.Undefined), count, ir.Constant(_I32, 0))
    counts = b.shuffle_vector(first, ir.Constant(wide, ir.Undefined), ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))
    return b.icmp_signed("<", ir.Constant(wide, list(range(LANES))), counts)


def _function(b, name, result, *arguments):
    return cgutils.get_or_insert_function(b.module, ir.FunctionType(result, list(arguments)), name)


_SUFFIX = f"v{LANES}f32"
_F32P = types.CPointer(types.float32)


@intrinsic
def load(context, pointer, offset):
    """LANES elements from pointer[offset]."""

    def code(ctx, b, sig, args):
        value = b.load(_place(b, *args))
        value.align = 4
        return value

    return vector(_F32P, types.int64), code


@intrinsic
def store(context, pointer, offset, value):
    """pointer[offset], ... = value."""

    def code(ctx, b, sig, args):
        b.store(args[2], _place(b, args[0], args[1])).align = 4
        return ctx.get_dummy_value()

    return types.void(_F32P, types.int64, vector), code


@intrinsic
def load_part(context, pointer, offset, count):
    """The first `count` lanes from pointer[offset], 0 in the others, whose memory is not touched."""

    def code(ctx, b, sig, args):
        where = _place(b, args[0], args[1])
        read = _function(b, f"llvm.masked.load.{_SUFFIX}.p0", _VEC, where.type, _I32, _MASK, _VEC)
        return b.call(read, [where, ir.Constant(_I32, 4), _mask(b, args[2]), ir.Constant(_VEC, [0.0] * LANES)])

    return vector(_F32P, types.int64, types.int64), code


@intrinsic
def store_part(context, pointer, offset, value, count):
    """Writes the first `count` lanes."""

    def code(ctx, b, sig, args):
        where = _place(b, args[0], args[1])
        write = _function(b, f"llvm.masked.store.{_SUFFIX}.p0", ir.VoidType(), _VEC, where.type, _I32, _MASK)
        b.call(write, [args[2], where, ir.Constant(_I32, 4), _mask(b, args[3])])
        return ctx.get_dummy_value()

    return types.void(_F32P, types.int64, vector, types.int64), code


@intrinsic
def splat(context, x):
    """The float32 x in every lane."""
    return vector(types.float32), lambda ctx, b, sig, args: _splat(b, args[0])


@intrinsic
def fma(context, a, b, c):
    """a b + c, rounded once."""

    def code(ctx, b, sig, args):
        return b.call(_function(b, f"llvm.fma.{_SUFFIX}", _VEC, _VEC, _VEC, _VEC), args)

    return vector(vector, vector, vector), code


def _pairwise(build):
    @intrinsic
    def op(context, a, b):
        return vector(vector, vector), lambda ctx, builder, sig, args: build(builder, *args)

    return op


_add = _pairwise(lambda b, x, y: b.fadd(x, y))
_sub = _pairwise(lambda b, x, y: b.fsub(x, y))
_mul = _pairwise(lambda b, x, y: b.fmul(x, y))
_div = _pairwise(lambda b, x, y: b.fdiv(x, y))
vmax = _pairwise(lambda b, x, y: b.select(b.fcmp_unordered(">=", x, y), x, y))
"""The larger; NaN where x is NaN, and y's NaN where x is a number."""
vmin = _pairwise(lambda b, x, y: b.select(b.fcmp_unordered("<=", x, y), x, y))
"""The smaller, NaN likewise."""

for _operator, _form in ((operator.add, _add), (operator.sub, _sub), (operator.mul, _mul), (operator.truediv, _div)):

    def _bind(form):
        def typed(x, y):
            if isinstance(x, Vector) and isinstance(y, Vector):
                return lambda x, y: form(x, y)
            return None

        return typed

    overload(_operator, inline="always")(_bind(_form))


def _across(name, *start):
    @intrinsic
    def op(context, a):
        def code(ctx, b, sig, args):
            fn = _function(b, f"llvm.vector.reduce.{name}.{_SUFFIX}", _F32, *([_F32] * len(start)), _VEC)
            call = b.call(fn, [*(ir.Constant(_F32, s) for s in start), *args], fastmath=["reassoc"] if start else ())
            return call

        return types.float32(vector), code

    return op


total = _across("fadd", -0.0)
"""The sum of the lanes."""
largest = _across("fmaximum")
"""The largest lane, NaN if any is."""


@inner
def share(count, grain, thread, threads):
    """The thread's part [first, end) of `count` items, in multiples of `grain`."""
    grains = (count + grain - 1) // grain
    first = grains * thread // threads * grain
    end = grains * (thread + 1) // threads * grain
    return min(first, count), min(end, count)


# Threads: what lies in memory that others write.


def _ordered(value, ordering="seq_cst"):
    value.ordering = ordering
    return value


@intrinsic
def atomic_read(context, address):
    """The int64 at an address, as other threads have written it."""

    def code(ctx, b, sig, args):
        return b.load_atomic(b.inttoptr(args[0], _I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), code


@intrinsic
def atomic_write(context, address, value):
    """Writes an int64 for other threads to read, after all that was written before."""

    def code(ctx, b, sig, args):
        b.store_atomic(args[1], b.inttoptr(args[0], _I64.as_pointer()), "release", 8)
        b.fence("seq_cst")
        return ctx.get_dummy_value()

    return types.void(types.int64, types.int64), code


@intrinsic
def pause(context):
    """Tells the processor that this is a waiting loop."""

    def code(ctx, b, sig, args):
        if "x86" in b.module.triple:
            b.call(_function(b, "llvm.x86.sse2.pause", ir.VoidType()), [])
        else:
            b.asm(ir.FunctionType(ir.VoidType(), []), "yield" if "aarch64" in b.module.triple else "", "", [], True)
        return ctx.get_dummy_value()

    return types.void(), code


def foreign(name, arguments):
    """A function of the C library that takes and returns 64-bit integers (or addresses)."""
    signature = types.int64(*([types.int64] * arguments))

    def code(ctx, b, sig, args):
        fn = _function(b, name, _I64, *([_I64] * arguments))
        return b.call(fn, args)

    forms = {
        0: lambda context: (signature, code),
        1: lambda context, p: (signature, code),
        2: lambda context, p, q: (signature, code),
    }
    return intrinsic(forms[arguments])


@intrinsic
def call_kernel(context, address, arguments, thread, threads):
    """Calls the compiled kernel at an address."""

    def code(ctx, b, sig, args):
        kind = ir.FunctionType(ir.VoidType(), [_I64.as_pointer(), _I64, _I64])
        b.call(b.inttoptr(args[0], kind.as_pointer()), [b.inttoptr(args[1], _I64.as_pointer()), args[2], args[3]])
        return ctx.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), code


@intrinsic
def as_float(context, bits):
    """The float32 whose bits an int32 has."""
    return types.float32(types.int32), lambda ctx, b, sig, args: b.bitcast(args[0], _F32)


@intrinsic
def as_bits(context, x):
    """The bits of a float32 as int32."""
    return types.int32(types.float32), lambda ctx, b, sig, args: b.bitcast(args[0], _I32)


@intrinsic
def as_double(context, bits):
    """The float64 whose bits an int64 has: how a kernel's arguments carry numbers."""
    return types.float64(types.int64), lambda ctx, b, sig, args: b.bitcast(args[0], _F64)
