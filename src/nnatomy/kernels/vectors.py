"""Numba's missing pieces: raw pointers, SIMD vectors of float32, atomics. All kernels are written with these.

A vector has LANES lanes, as many as the machine's widest registers hold. Offsets count elements, not bytes.
"""


from __future__ import annotations

import operator

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from nnatomy.kernels.processor import LANES, REGISTERS  # noqa: F401  (kernels take both from here)

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


class Mask(types.Type):
    """LANES truth values."""

    def __init__(self) -> None:
        super().__init__(name="maskxN")


vector, mask = Vector(), Mask()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _VEC)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _MASK)


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


@intrinsic
def address_of(context, pointer):
    """The address of an int64 pointer."""
    return types.int64(types.CPointer(types.int64)), lambda ctx, b, sig, args: b.ptrtoint(args[0], _I64)


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
def load_filled(context, pointer, offset, count, fill):
    """The first `count` lanes from pointer[offset], `fill` in the others."""

    def code(ctx, b, sig, args):
        where = _place(b, args[0], args[1])
        read = _function(b, f"llvm.masked.load.{_SUFFIX}.p0", _VEC, where.type, _I32, _MASK, _VEC)
        return b.call(read, [where, ir.Constant(_I32, 4), _mask(b, args[2]), _splat(b, args[3])])

    return vector(_F32P, types.int64, types.int64, types.float32), code


@intrinsic
def store_part(context, pointer, offset, value, count):
    """Write the first `count` lanes."""

    def code(ctx, b, sig, args):
        where = _place(b, args[0], args[1])
        write = _function(b, f"llvm.masked.store.{_SUFFIX}.p0", ir.VoidType(), _VEC, where.type, _I32, _MASK)
        b.call(write, [args[2], where, ir.Constant(_I32, 4), _mask(b, args[3])])
        return ctx.get_dummy_value()

    return types.void(_F32P, types.int64, vector, types.int64), code


@intrinsic
def load_truth(context, pointer, offset):
    """LANES bytes as numbers."""

    def code(ctx, b, sig, args):
        value = b.load(b.bitcast(b.gep(args[0], [args[1]]), ir.VectorType(ir.IntType(8), LANES).as_pointer()))
        value.align = 1
        return b.uitofp(value, _VEC)

    return vector(types.CPointer(types.uint8), types.int64), code


@intrinsic
def store_truth(context, pointer, offset, value):
    """LANES truth values as bytes: 1 where the number is not 0."""

    def code(ctx, b, sig, args):
        small = ir.VectorType(ir.IntType(8), LANES)
        truth = b.zext(b.fcmp_unordered("!=", args[2], ir.Constant(_VEC, [0.0] * LANES)), small)
        b.store(truth, b.bitcast(b.gep(args[0], [args[1]]), small.as_pointer())).align = 1
        return ctx.get_dummy_value()

    return types.void(types.CPointer(types.uint8), types.int64, vector), code


@intrinsic
def copy_memory(context, target, source, count):
    """Copy `count` bytes from one address to another."""

    def code(ctx, b, sig, args):
        bytes_ = ir.IntType(8).as_pointer()
        fn = _function(b, "llvm.memcpy.p0.p0.i64", ir.VoidType(), bytes_, bytes_, _I64, ir.IntType(1))
        b.call(fn, [b.inttoptr(args[0], bytes_), b.inttoptr(args[1], bytes_), args[2], ir.Constant(ir.IntType(1), 0)])
        return ctx.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


@intrinsic
def prefetch(context, pointer, offset):
    """Has the cache line of pointer[offset] brought near. The address need not be one that can be read."""

    def code(ctx, b, sig, args):
        where = b.bitcast(b.gep(args[0], [args[1]]), ir.IntType(8).as_pointer())
        fn = _function(b, "llvm.prefetch.p0", ir.VoidType(), where.type, _I32, _I32, _I32)
        b.call(fn, [where, ir.Constant(_I32, 0), ir.Constant(_I32, 3), ir.Constant(_I32, 1)])  # to read, into all caches, data
        return ctx.get_dummy_value()

    return types.void(_F32P, types.int64), code


@intrinsic
def splat(context, x):
    """The float32 x in every lane."""
    return vector(types.float32), lambda ctx, b, sig, args: _splat(b, args[0])


@intrinsic
def transpose(context, source, source_step, target, target_step, rows, columns):
    """target[j, i] = source[i, j] for i < rows, j < columns, both at most LANES. Rows have a stride of `step` elements."""
    n = types.int64

    def code(ctx, b, sig, args):
        name, wide = "transpose", ir.FunctionType(ir.VoidType(), [_F32.as_pointer(), _I64, _F32.as_pointer(), _I64, _I64, _I64])
        fn = b.module.globals.get(name)
        if fn is None:
            fn = ir.Function(b.module, wide, name)
            fn.linkage = "internal"
            fn.attributes.add("noinline")
            _transpose(ir.IRBuilder(fn.append_basic_block()), *fn.args)
        b.call(fn, args)
        return ctx.get_dummy_value()

    return types.void(_F32P, n, _F32P, n, n, n), code


def _transpose(b, source, source_step, target, target_step, rows, columns):
    every, align, zero = ir.Constant(_I64, LANES), ir.Constant(_I32, 4), ir.Constant(_VEC, [0.0] * LANES)
    read = _function(b, f"llvm.masked.load.{_SUFFIX}.p0", _VEC, _VEC.as_pointer(), _I32, _MASK, _VEC)
    write = _function(b, f"llvm.masked.store.{_SUFFIX}.p0", ir.VoidType(), _VEC, _VEC.as_pointer(), _I32, _MASK)
    full, part = b.append_basic_block("full"), b.append_basic_block("part")
    whole = b.and_(b.icmp_signed("==", rows, every), b.icmp_signed("==", columns, every))
    b.cbranch(whole, full, part)

    def places(pointer, step, count):
        """Yield the pointer of each row. With `count`, a row beyond it gets the first row's pointer, for an empty mask."""
        for i in range(LANES):
            offset = b.mul(step, ir.Constant(_I64, i))
            if count is not None:
                offset = b.select(b.icmp_signed(">", count, ir.Constant(_I64, i)), offset, ir.Constant(_I64, 0))
            yield _place(b, pointer, offset)

    def turned(vectors):
        """In each of log2(LANES) steps, pairs of vectors exchange every second group of 1, 2, 4, ... lanes."""
        group = 1
        while group < LANES:
            lower = [i + LANES - group if i & group else i for i in range(LANES)]
            upper = [i + LANES if i & group else i + group for i in range(LANES)]
            order = [ir.Constant(ir.VectorType(_I32, LANES), lanes) for lanes in (lower, upper)]
            for i in range(LANES):
                if not i & group:
                    x, y = vectors[i], vectors[i + group]
                    vectors[i], vectors[i + group] = (b.shuffle_vector(x, y, o) for o in order)
            group *= 2
        return vectors

    def masks(count, other):
        for i in range(LANES):
            there = b.icmp_signed(">", count, ir.Constant(_I64, i))
            yield _mask(b, b.select(there, other, ir.Constant(_I64, 0)))

    b.position_at_end(full)
    values = []
    for where in places(source, source_step, None):
        values.append(b.load(where))
        values[-1].align = 4
    for value, where in zip(turned(values), list(places(target, target_step, None))):
        b.store(value, where).align = 4
    b.ret_void()
    b.position_at_end(part)
    values = [b.call(read, [where, align, m, zero])
              for where, m in zip(places(source, source_step, rows), masks(rows, columns))]  # fmt: skip
    values = turned(values)
    for value, where, m in zip(values, places(target, target_step, columns), masks(columns, rows)):
        b.call(write, [value, where, align, m])
    b.ret_void()


# Arithmetic on float32 numbers, on vectors, or on both mixed (a number then is in every lane). The compiler neither
# reorders nor fuses add, subtract, multiply and divide, unlike the operators + - * /: Numba gives the flags of fast mathematics
# to whatever has no flag, so these carry one that means nothing for them.


def _generic(count, build, truth=False):
    """An intrinsic of `count` arguments whose LLVM code `build(b, *values)` makes; `truth`: the result is a truth value."""

    def typed(*kinds):
        wide = any(isinstance(k, Vector) for k in kinds)
        result = (mask if wide else types.boolean) if truth else vector if wide else types.float32

        def code(ctx, b, sig, args):
            return build(b, *(_splat(b, v) if wide and k is types.float32 else v for v, k in zip(args, sig.args)))

        return result(*(vector if isinstance(k, Vector) else types.float32 for k in kinds)), code

    forms = {1: lambda context, x: typed(x), 2: lambda context, x, y: typed(x, y), 3: lambda context, x, y, z: typed(x, y, z)}
    return intrinsic(forms[count])


def _suffix(value):
    return _SUFFIX if value.type == _VEC else "f32"


def _llvm(name, count):
    """LLVM's own function of that name."""
    return _generic(count, lambda b, *v: b.call(_function(b, f"llvm.{name}.{_suffix(v[0])}", *([v[0].type] * (count + 1))), v))


def _like(value, number):
    """A constant of the type of a float32 value or vector, or of the integers of the same width."""
    kind = value.type
    return ir.Constant(kind, [number] * LANES if isinstance(kind, ir.VectorType) else number)


def _as_integers(b, value):
    return b.bitcast(value, ir.VectorType(_I32, LANES) if value.type == _VEC else _I32)


def _power_of_two(b, n, like):
    """2^n for an integer n, -126 <= n <= 127."""
    return b.bitcast(b.shl(b.add(n, _like(n, 127)), _like(n, 23)), like)


def _scaled(b, x, n):
    if x.type == _VEC and LANES == 16:
        name, i16 = "llvm.x86.avx512.mask.scalef.ps.512", ir.IntType(16)
        scale = _function(b, name, _VEC, _VEC, _VEC, _VEC, i16, _I32)
        return b.call(scale, [x, n, x, ir.Constant(i16, -1), ir.Constant(_I32, 4)])
    bits = _as_integers(b, b.fadd(n, _like(n, 12582912.0), flags=("arcp",)))  # 1.5 2^23 + n ends in the integer n
    whole = b.sub(bits, _like(bits, 0x4B400000))
    half = b.ashr(whole, _like(whole, 1))
    once = b.fmul(x, _power_of_two(b, half, x.type), flags=("arcp",))
    return b.fmul(once, _power_of_two(b, b.sub(whole, half), x.type), flags=("arcp",))


def _exponent(b, x):
    bits = _as_integers(b, x)
    return b.sitofp(b.ashr(b.sub(bits, _like(bits, 0x3F3504F3)), _like(bits, 23)), x.type)


fma = _llvm("fma", 3)
"""x y + z, rounded once."""
add = _generic(2, lambda b, x, y: b.fadd(x, y, flags=("arcp",)))
subtract = _generic(2, lambda b, x, y: b.fsub(x, y, flags=("arcp",)))
multiply = _generic(2, lambda b, x, y: b.fmul(x, y, flags=("arcp",)))
divide = _generic(2, lambda b, x, y: b.fdiv(x, y, flags=("contract",)))
root = _llvm("sqrt", 1)
absolute = _llvm("fabs", 1)
below = _llvm("floor", 1)
"""The largest whole number <= x."""
above = _llvm("ceil", 1)
nearest = _llvm("rint", 1)
"""The nearest whole number, the even one of two."""
with_sign = _llvm("copysign", 2)
"""The size of x with the sign of y."""
scaled = _generic(2, _scaled)
"""x 2^n for a whole number n, |n| <= 250."""
exponent = _generic(1, _exponent)
"""The whole number e with sqrt(1/2) <= x 2^-e < sqrt(2), for normal x > 0."""
is_less = _generic(2, lambda b, x, y: b.fcmp_ordered("<", x, y), truth=True)
is_equal = _generic(2, lambda b, x, y: b.fcmp_ordered("==", x, y), truth=True)
is_nan = _generic(1, lambda b, x: b.fcmp_unordered("uno", x, x), truth=True)
is_same = _generic(2, lambda b, x, y: b.icmp_signed("==", _as_integers(b, x), _as_integers(b, y)), truth=True)
"""True if the bits are equal: for int32 that travel as float32."""


@intrinsic
def select(context, condition, x, y):
    """x where the condition holds, else y."""
    if not isinstance(condition, Mask):
        return types.float32(types.boolean, types.float32, types.float32), lambda ctx, b, sig, args: b.select(*args)

    def code(ctx, b, sig, args):
        sides = [_splat(b, v) if k is types.float32 else v for v, k in zip(args[1:], sig.args[1:])]
        return b.select(args[0], *sides)

    return vector(mask, *(vector if isinstance(k, Vector) else types.float32 for k in (x, y))), code


@intrinsic
def first(context, count):
    """True in the first `count` lanes."""
    return mask(types.int64), lambda ctx, b, sig, args: _mask(b, args[0])


def _chosen(sign):
    def build(b, x, y):
        one = b.select(b.fcmp_ordered(sign, x, y), x, y)  # y where either is NaN: one instruction on x86
        return b.select(b.fcmp_unordered("uno", x, x), x, one)

    return build


vmax = _generic(2, _chosen(">"))
"""The larger; NaN where either is."""
vmin = _generic(2, _chosen("<"))
"""The smaller; NaN where either is."""

_OPERATORS = (
    (operator.add, lambda b, x, y: b.fadd(x, y)), (operator.sub, lambda b, x, y: b.fsub(x, y)),
    (operator.mul, lambda b, x, y: b.fmul(x, y)), (operator.truediv, lambda b, x, y: b.fdiv(x, y)),
)  # fmt: skip

for _operator, _build in _OPERATORS:

    def _bind(form):
        def typed(x, y):
            if isinstance(x, Vector) and isinstance(y, Vector):
                return lambda x, y: form(x, y)
            return None

        return typed

    overload(_operator, inline="always")(_bind(_generic(2, _build)))


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
smallest = _across("fminimum")
"""The smallest lane, NaN likewise."""


@inner
def share(count, grain, thread, threads):
    """The thread's part [first, end) of `count` items, in multiples of `grain`."""
    grains = (count + grain - 1) // grain
    first = grains * thread // threads * grain
    end = grains * (thread + 1) // threads * grain
    return min(first, count), min(end, count)


# Threads: what is in memory that others write.


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
    """Write an int64 for other threads to read, after all that was written before."""

    def code(ctx, b, sig, args):
        b.store_atomic(args[1], b.inttoptr(args[0], _I64.as_pointer()), "release", 8)
        b.fence("seq_cst")
        return ctx.get_dummy_value()

    return types.void(types.int64, types.int64), code


@intrinsic
def pause(context):
    """Mark a waiting loop for the processor."""

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
    """Call the compiled kernel at an address."""

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
