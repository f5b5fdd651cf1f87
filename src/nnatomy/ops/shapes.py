"""Rearranging without arithmetic: reshape, transpose, join, split, pad, repeat. Adjoints rearrange back."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.ops.primitive import named_as, primitive
from nnatomy.tensor import Axis

if TYPE_CHECKING:
    from typing_extensions import TypeIs


def plain(axis: Any) -> Any:
    """An axis, or several, as Python integers. Raises UserError for a value that is not an integer."""
    if axis is None or type(axis) is int:
        return axis
    if isinstance(axis, tuple | list):
        return tuple(map(plain, axis))
    try:
        if isinstance(axis, bool):  # PyTorch's std(True) has no axis, but divides by n - 1
            raise TypeError
        return operator.index(axis)
    except TypeError:
        raise UserError(f"An axis is an integer, several are a tuple of integers. Received {axis!r}. Correct it.") from None


def with_an_axis(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function along an axis accept an array without axes: it counts as one element, and axis may be 0 or -1."""

    def wrapped(a: Any, *args: Any, **kwargs: Any) -> Any:
        if a.shape:
            return function(a, *args, **kwargs)
        found = function(reshape(a, (1,)), *args, **kwargs)
        return type(found)(*(reshape(y, ()) for y in found)) if isinstance(found, tuple) else reshape(found, ())

    return named_as(function, wrapped)


def place(axis: int, n: int) -> int:
    """`axis` counted from the front. Raises UserError where an array of n axes has no such one."""
    axis = plain(axis)
    if not isinstance(axis, int):
        raise UserError(f"One axis is an integer. Received {axis!r}. Call it once for each axis.")
    if not -n <= axis < n:
        raise UserError(f"An array of {n} axes has the axes {-n} to {n - 1}. Received {axis}. Give one of those.")
    return axis % n


@primitive(lambda g, y, a, shape: reshape(g, a.shape))
def _reshape(a: Any, *, shape: tuple[int, ...]) -> Any:
    return a.reshape(shape)


def reshape(a: Any, shape: int | Sequence[int]) -> Any:
    """The same elements in another shape; one entry may be -1."""
    return _reshape(a, shape=for_each(shape, 1))


@primitive(lambda g, y, a, axes: _transpose(g, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__))))
def _transpose(a: Any, *, axes: tuple[int, ...]) -> Any:
    return a.transpose(axes)


def transpose(a: Any, *axes: Any) -> Any:
    """Axes in another order: transpose(a, (2, 0, 1)); all reversed if none is given.

    Two numbers exchange two axes, as in PyTorch: transpose(a, 0, 1).
    """
    n = len(a.shape)
    given = axes[0] if len(axes) == 1 else axes
    if not axes or given is None:
        return _transpose(a, axes=tuple(range(n))[::-1])
    if len(axes) == 2:
        return swapaxes(a, *axes)
    return permute(a, for_each(given, 1))


def permute(a: Any, axes: Sequence[int]) -> Any:
    """Axes in another order."""
    n = len(a.shape)
    order = tuple(place(i, n) for i in axes)
    if sorted(order) != list(range(n)):
        raise UserError(f"An order has each of the {n} axes of {tuple(a.shape)} once. Received {tuple(axes)}. Name them all.")
    return _transpose(a, axes=order)


def swapaxes(a: Any, first: int, second: int) -> Any:
    """Two axes exchanged."""
    n = len(a.shape)
    axes = list(range(n))
    first, second = place(first, n), place(second, n)
    axes[first], axes[second] = second, first
    return _transpose(a, axes=tuple(axes))


def moveaxis(a: Any, source: int, target: int) -> Any:
    """One axis moved to another place."""
    n = len(a.shape)
    axes = [i for i in range(n) if i != place(source, n)]
    axes.insert(place(target, n), place(source, n))
    return _transpose(a, axes=tuple(axes))


@primitive(lambda g, y, a, shape: g)  # summed back to a's shape where all broadcasting is undone
def _broadcast_to(a: Any, *, shape: tuple[int, ...]) -> Any:
    return B.broadcast_to(a, shape)


def broadcast_to(a: Any, shape: Sequence[int]) -> Any:
    """Repeat along axes of length 1, without a copy."""
    return _broadcast_to(a, shape=tuple(shape))


def expand_dims(a: Any, axis: int) -> Any:
    """A new axis of length 1 (torch.unsqueeze)."""
    shape = list(a.shape)
    shape.insert(place(axis, len(shape) + 1), 1)
    return reshape(a, shape)


unsqueeze = expand_dims


def squeeze(a: Any, axis: Axis = None) -> Any:
    """Without the axes of length 1, or those of `axis` that have length 1."""
    n = len(a.shape)
    axis = plain(axis)
    axes = range(n) if axis is None else [place(i, n) for i in ((axis,) if isinstance(axis, int) else axis)]
    return reshape(a, [size for i, size in enumerate(a.shape) if not (i in axes and size == 1)])


def flatten(a: Any, start: int = 0, end: int = -1) -> Any:
    """Axes `start` to `end` as one."""
    n = len(a.shape)
    if n == 0:
        return reshape(a, (1,))
    start, end = place(start, n), place(end, n)
    size = 1
    for length in a.shape[start : end + 1]:
        size *= length
    return reshape(a, (*a.shape[:start], size, *a.shape[end + 1 :]))


def _concatenate_vjp(needs: list[bool], g: Any, y: Any, *parts: Any, axis: int) -> tuple[Any, ...]:
    return split(g, [p.shape[axis] for p in parts], axis=axis)


@primitive(joint=_concatenate_vjp)
def _concatenate(*parts: Any, axis: int) -> Any:
    return B.concatenate(parts, axis=axis)


def _some(name: str, parts: Sequence[Any]) -> None:
    if not len(parts):
        raise UserError(f"{name}() joins at least one array. Received none. Give a list of arrays.")


def concatenate(parts: Sequence[Any], axis: int = 0) -> Any:
    """Joined along an existing axis (torch.cat)."""
    _some("concatenate", parts)
    return _concatenate(*parts, axis=axis)


cat = concatenate


@primitive(joint=lambda needs, g, y, *parts, axis: unstack(g, axis=axis))
def _stack(*parts: Any, axis: int) -> Any:
    return B.stack(parts, axis=axis)


def stack(parts: Sequence[Any], axis: int = 0) -> Any:
    """Joined along a new axis."""
    _some("stack", parts)
    return _stack(*parts, axis=axis)


@primitive(lambda gs, ys, a, axis: stack(gs, axis=axis))
def _unstack(a: Any, *, axis: int) -> Any:
    front = B.moveaxis(a, axis, 0)
    return tuple(front[i] for i in range(len(front)))


def unstack(a: Any, axis: int = 0) -> tuple[Any, ...]:
    """The slices along an axis, without it (torch.unbind)."""
    return tuple(_unstack(a, axis=axis))


@primitive(lambda gs, ys, a, sizes, axis: concatenate(gs, axis=axis))
def _split(a: Any, *, sizes: tuple[int, ...], axis: int) -> Any:
    parts, start = [], 0
    for size in sizes:
        parts.append(a[(slice(None),) * place(axis, len(a.shape)) + (slice(start, start + size),)])
        start += size
    return tuple(parts)


def split(a: Any, sections: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """Parts of the given sizes along `axis`, or of one size with a shorter last part, as torch.split does."""
    n = a.shape[axis]
    sections = plain(sections)
    if is_number(sections):
        if sections < 1:
            raise UserError(f"split() needs parts of at least 1. Received {sections}. Give a larger size.")
        sections = [builtins.min(sections, n - start) for start in range(0, n, sections)]
    if builtins.sum(sections) != n:
        raise UserError(
            f"split() sizes must add up to the length of the axis, {n}. Received {list(sections)}. "
            "Correct the sizes."
        )
    return tuple(_split(a, sizes=tuple(sections), axis=axis))


def chunk(a: Any, chunks: int, axis: int = 0) -> tuple[Any, ...]:
    """`chunks` parts of equal size along `axis`, the last possibly shorter."""
    chunks = plain(chunks) if hasattr(chunks, "__index__") else 0
    if chunks < 1:
        raise UserError(f"chunk() needs at least 1 part. Received {chunks!r}. Give a larger number.")
    return split(a, builtins.max(-(-a.shape[axis] // chunks), 1), axis)


@primitive(lambda g, y, a, axis: flip(g, axis=axis))
def _flip(a: Any, *, axis: Axis) -> Any:
    return B.flip(a, axis=axis)


@with_an_axis
def flip(a: Any, axis: Axis = None, *more: int) -> Any:
    """In reverse order along `axis`, or along several; along all if None."""
    return _flip(a, axis=plain((axis, *more) if more else axis))


def roll(a: Any, shift: int | Sequence[int], axis: Axis = None) -> Any:
    """Moved by `shift` places along `axis`, or each shift along its axis; what leaves at one end comes in at the other.

    The elements in one row if `axis` is None.
    """
    if axis is None:
        return reshape(roll(reshape(a, (-1,)), shift, 0), a.shape)
    axes = plain(axis if isinstance(axis, tuple | list) else (axis,))
    shifts = plain(shift if isinstance(shift, tuple | list) else (shift,) * len(axes))
    if len(shifts) != len(axes):
        raise UserError(f"roll() by several shifts needs as many axes. Received {shift} and axis {axis}. Give axis=(0, 1).")
    for places, along in zip(shifts, axes, strict=True):
        a = _roll(a, places, place(along, len(a.shape)))
    return a


def _roll(a: Any, shift: int, axis: int) -> Any:
    n = a.shape[axis]
    cut = -shift % n if n else 0
    first, second = split(a, [cut, n - cut], axis=axis)
    return concatenate([second, first], axis=axis)


def _crop(a: Any, widths: Sequence[tuple[int, int]]) -> Any:
    return a[tuple(slice(before, n - after) for n, (before, after) in zip(a.shape, widths, strict=True))]


@primitive(lambda g, y, a, widths, value: _crop(g, widths))
def _pad(a: Any, *, widths: tuple[tuple[int, int], ...], value: float) -> Any:
    shape = tuple(n + before + after for n, (before, after) in zip(a.shape, widths, strict=True))
    inner = tuple(slice(before, before + n) for n, (before, _) in zip(a.shape, widths, strict=True))
    return B.index_put(B.full(shape, value, dtype=a.dtype), inner, a)


def pad(a: Any, widths: Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0) -> Any:
    """Add (before, after) elements for each axis: a constant, the "edge", or a "reflect"ed or "wrap"ped copy."""
    listed = widths if isinstance(widths, list | tuple) else ()
    if not listed or not builtins.all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in listed):
        raise UserError(
            f"pad() takes (before, after) for each of {len(a.shape)} axes. Received {widths!r}. "
            f"Give {[(0, 0)] * (len(a.shape) - 1) + [(1, 1)]}, for example."
        )
    pairs = tuple((int(before), int(after)) for before, after in listed)
    if len(pairs) != len(a.shape) or builtins.any(n < 0 for pair in pairs for n in pair):
        raise UserError(
            f"pad() needs (before, after), both >= 0, for each axis of {tuple(a.shape)}. Received {list(pairs)}. "
            "Cut with a slice."
        )
    if mode == "constant":
        return _pad(a, widths=pairs, value=value)
    if mode not in ("edge", "reflect", "wrap"):
        raise UserError(
            f'pad() mode must be "constant", "edge", "reflect" or "wrap". Received {mode!r}. '
            'Use mode="constant".'
        )
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            n = a.shape[axis]
            where = B.arange(-before, n + after)
            if mode == "edge":
                where = B.clip(where, 0, n - 1)
            elif mode == "wrap":
                where = where % n
            else:
                where = B.abs((where + n - 1) % (2 * n - 2) - (n - 1)) if n > 1 else where * 0
            a = a[(slice(None),) * axis + (where,)]
    return a


def for_each(value: Any, n: int) -> tuple[Any, ...]:
    """The numbers of n axes: one that holds for all, or one for each."""
    return (operator.index(value),) * n if is_number(value) else tuple(value)


def is_number(value: Any) -> TypeIs[int]:
    """Return True for a whole number, NumPy's too."""
    return hasattr(value, "__index__") and not (hasattr(value, "shape") and value.shape)


def _count(name: str, times: Any) -> int:
    if not is_number(times) or times < 0:
        raise UserError(f"{name}() repeats a number >= 0 of times. Received {times!r}. Take elements with x[index] instead.")
    return operator.index(times)


def repeat(a: Any, times: int | Sequence[int]) -> Any:
    """Tiled `times[i]` times along axis i (torch.Tensor.repeat, numpy.tile); numpy.repeat is `repeat_interleave`."""
    counts: tuple[int, ...] = plain(for_each(times, 1))
    lead = len(counts) - len(a.shape)
    if lead < 0 or builtins.any(n < 0 for n in counts):
        raise UserError(
            f"repeat() needs a number >= 0 for each axis of {tuple(a.shape)}, or for more. Received {counts}. Add ones."
        )
    shape = (1,) * lead + tuple(a.shape)
    paired = [part for n in shape for part in (1, n)]
    wide = [part for t, n in zip(counts, shape, strict=True) for part in (t, n)]
    return reshape(broadcast_to(reshape(a, paired), wide), [t * n for t, n in zip(counts, shape, strict=True)])


def repeat_interleave(a: Any, times: int, axis: int | None = None) -> Any:
    """Each element `times` times in a row along `axis` (numpy.repeat); all elements in one row if `axis` is None."""
    times = _count("repeat_interleave", times)
    if axis is None:
        a, axis = reshape(a, (-1,)), 0
    axis = place(axis, len(a.shape))
    wide = expand_dims(a, axis + 1)
    shape = list(wide.shape)
    shape[axis + 1] = times
    return flatten(broadcast_to(wide, shape), axis, axis + 1)


@primitive(lambda g, y, a, k: tril(g, k))
def _tril(a: Any, *, k: int) -> Any:
    return B.tril(a, k=k)


@primitive(lambda g, y, a, k: triu(g, k))
def _triu(a: Any, *, k: int) -> Any:
    return B.triu(a, k=k)


def tril(a: Any, k: int = 0) -> Any:
    """The lower triangle of the last two axes, zeros above diagonal `k`."""
    return _tril(a, k=k)


def triu(a: Any, k: int = 0) -> Any:
    """The upper triangle of the last two axes, zeros below diagonal `k`."""
    return _triu(a, k=k)
