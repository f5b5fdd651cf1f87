"""Random bits: Threefry-2x32 (Salmon et al. 2011), a vector of counters at a time."""


from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nnatomy.kernels.vectors import _I32, _I64, LANES, _function, copy_memory, i64, share, u8, u32

_WORDS = ir.VectorType(_I32, LANES)
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _every(b, value, kind):
    """The value in every lane."""
    first = b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_I32, 0))
    return b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), ir.Constant(_WORDS, [0] * LANES))


@intrinsic
def threefry(context, target, key0, key1, counter):
    """Write the 2 LANES words of the blocks `counter`, `counter` + 1, ... to an address."""

    def code(ctx, b, sig, args):
        wide = ir.VectorType(_I64, LANES)
        numbers = b.add(_every(b, args[3], wide), ir.Constant(wide, list(range(LANES))))
        x0 = b.trunc(b.lshr(numbers, ir.Constant(wide, [32] * LANES)), _WORDS)
        x1 = b.trunc(numbers, _WORDS)
        k0, k1 = b.trunc(args[1], _I32), b.trunc(args[2], _I32)
        keys = (k0, k1, b.xor(b.xor(k0, k1), ir.Constant(_I32, 0x1BD11BDA)))
        keys = [_every(b, k, _WORDS) for k in keys]
        rotate = _function(b, f"llvm.fshl.v{LANES}i32", _WORDS, _WORDS, _WORDS, _WORDS)
        x0, x1 = b.add(x0, keys[0]), b.add(x1, keys[1])
        for group in range(5):
            for r in _ROTATIONS[group % 2]:
                x0 = b.add(x0, x1)
                x1 = b.xor(b.call(rotate, [x1, x1, ir.Constant(_WORDS, [r] * LANES)]), x0)
            x0 = b.add(x0, keys[(group + 1) % 3])
            x1 = b.add(b.add(x1, keys[(group + 2) % 3]), ir.Constant(_WORDS, [group + 1] * LANES))
        for half in range(2):
            lanes = [half * LANES // 2 + i // 2 + LANES * (i % 2) for i in range(LANES)]
            place = b.inttoptr(b.add(args[0], ir.Constant(_I64, 4 * LANES * half)), _WORDS.as_pointer())
            b.store(b.shuffle_vector(x0, x1, ir.Constant(_WORDS, lanes)), place).align = 4
        return ctx.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), code


def random_bits(a, thread, threads):
    """Words of the blocks from a counter on.

    a: out, addresses of the two keys and of the counter, number of words, memory for 2 LANES words.
    """
    key0, key1, counter, count = i64(a[1])[0], i64(a[2])[0], i64(a[3])[0], a[4]
    first, last = share(count, 2 * LANES, thread, threads)
    for i in range(first, last, 2 * LANES):
        if i + 2 * LANES <= last:
            threefry(a[0] + 4 * i, key0, key1, counter + i // 2)
        else:
            threefry(a[5], key0, key1, counter + i // 2)  # the end is one thread's
            copy_memory(a[0] + 4 * i, a[5], 4 * (last - i))


def below(a, thread, threads):
    """Return True where a word is below a number. a: words, out, number of words, the number."""
    words, out, bound = u32(a[0]), u8(a[1]), a[3]
    first, end = share(a[2], 64, thread, threads)
    for i in range(first, end):
        out[i] = 1 if words[i] < bound else 0
