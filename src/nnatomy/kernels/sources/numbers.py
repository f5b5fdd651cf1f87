"""Arithmetic on the numbers of a step (learning rates, counts of steps), which are few: float64, one by one."""

from __future__ import annotations

import math

from nnatomy.kernels.vectors import f64, i64


def arithmetic(a, thread, threads):
    """a: bank, lines; then for each line operation, result, first, second (places in the bank, an array of float64)."""
    bank = f64(a[0])
    for line in range(a[1]):
        op, to, x, y = a[2 + 4 * line], a[3 + 4 * line], bank[a[4 + 4 * line]], bank[a[5 + 4 * line]]
        if op == 0:
            bank[to] = x + y
        elif op == 1:
            bank[to] = x - y
        elif op == 2:
            bank[to] = x * y
        elif op == 3:
            bank[to] = x / y
        elif op == 4:
            bank[to] = math.pow(x, y)
        elif op == 5:
            bank[to] = -x
        elif op == 6:
            bank[to] = math.exp(x)
        elif op == 7:
            bank[to] = math.expm1(x)
        elif op == 8:
            bank[to] = math.log(x)
        elif op == 9:
            bank[to] = math.sqrt(x)
        elif op == 10:
            bank[to] = math.floor(x / y)
        elif op == 11:
            bank[to] = min(x, y)
        else:
            bank[to] = max(x, y)


def whole(a, thread, threads):
    """A float64 that is whole, as int64. a: the number's address, where to."""
    i64(a[1])[0] = int(f64(a[0])[0])
