"""New Tensors from nothing but a shape. Random ones are in random.py."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.tensor import Tensor, wrap

FLOAT = "float32"


def sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape given as one sequence or as its numbers. Raises UserError unless they are integers >= 0."""
    given = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    if any(not hasattr(n, "__index__") or n < 0 for n in given):
        raise UserError(f"A shape is a sequence of integers >= 0. Received {given}. Give, for example, (2, 3).")
    return tuple(int(n) for n in given)


def zeros(*shape: Any, dtype: Any = FLOAT, requires_grad: bool = False) -> Tensor:
    """Zeros: nn.zeros(2, 3) or nn.zeros((2, 3))."""
    return wrap(B.zeros(sizes(shape), dtype=dtype), requires_grad)


def ones(*shape: Any, dtype: Any = FLOAT, requires_grad: bool = False) -> Tensor:
    """Ones."""
    return wrap(B.ones(sizes(shape), dtype=dtype), requires_grad)


def full(shape: int | Sequence[int], value: float, dtype: Any = FLOAT, requires_grad: bool = False) -> Tensor:
    """`value` everywhere."""
    return wrap(B.full(sizes((shape,)), value, dtype=dtype), requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = FLOAT) -> Tensor:
    """n rows and m columns (n if None), 1 where row and column are equal, 0 elsewhere."""
    n, m = sizes((n, n if m is None else m))
    return wrap((B.arange(n)[:, None] == B.arange(m)[None, :]).astype(dtype))


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> Tensor:
    """start, start + step, ... below stop (0 up to `start` if only one is given); int64 of integers, else float32."""
    low, high = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise UserError("arange() needs a step other than 0. Received 0. Use nn.full() for equal numbers.")
    if dtype is None:
        dtype = "int64" if all(isinstance(v, Integral) for v in (low, high, step)) else FLOAT
    return wrap(B.arange(low, high, step).astype(dtype))


def linspace(start: float, stop: float, count: int, dtype: Any = FLOAT) -> Tensor:
    """`count` numbers at equal distances, from `start` to `stop` inclusive."""
    (count,) = sizes((count,))
    return wrap((start + B.arange(count) * ((stop - start) / max(count - 1, 1))).astype(dtype))


def zeros_like(a: Any, dtype: Any = None) -> Any:
    """Zeros of the same shape, and dtype unless another is given."""
    return full_like(a, 0, dtype)


def ones_like(a: Any, dtype: Any = None) -> Any:
    """Ones of the same shape, and dtype unless another is given."""
    return full_like(a, 1, dtype)


def full_like(a: Any, value: float, dtype: Any = None) -> Any:
    """`value` everywhere, in the same shape, and dtype unless another is given."""
    made = B.full(tuple(a.shape), value, dtype=a.dtype if dtype is None else dtype)
    return wrap(made) if isinstance(a, Tensor) else made
