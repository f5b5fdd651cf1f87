"""Element by element: each primitive's derivatives are directly above its formula. g is the gradient of y."""

from __future__ import annotations

import math
from typing import Any

from nnatomy.backends import B, known
from nnatomy.backends.dtypes import is_floating
from nnatomy.errors import UserError
from nnatomy.ops.primitive import primitive
from nnatomy.tensor import Tensor

# Arithmetic


@primitive(lambda g, y, a, b: g, lambda g, y, a, b: g)
def add(a: Any, b: Any) -> Any:
    """y = a + b."""
    return a + b


@primitive(lambda g, y, a, b: g, lambda g, y, a, b: -g)
def subtract(a: Any, b: Any) -> Any:
    """y = a - b."""
    return a - b


@primitive(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
def multiply(a: Any, b: Any) -> Any:
    """y = a b."""
    return a * b


@primitive(lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b)
def divide(a: Any, b: Any) -> Any:
    """y = a / b."""
    return B.divide(a, b)


@primitive(lambda g, y, a: -g)
def negative(a: Any) -> Any:
    """y = -a."""
    return -a


def _power_slope(a: Any, b: Any) -> Any:
    """b a^(b - 1), and 0 for b = 0 even where a = 0 or a is infinite."""
    if isinstance(b, int | float):
        return b * power(a, b - 1) if b != 0 else B.zeros(a.shape, dtype=a.dtype)
    flat = equal(b, 0)
    return where(flat, 0.0, b * power(where(flat, 1.0, a), where(flat, 1.0, b - 1)))


def _power_growth(y: Any, a: Any) -> Any:
    """y ln a, and 0 where a = 0 and y is not infinite."""
    if isinstance(a, int | float):
        return y * math.log(a) if a > 0 else y * math.nan if a else where(isinf(y), -math.inf, 0.0 * y)
    none = logical_and(equal(a, 0), isfinite(y))
    return where(none, 0.0, y * log(where(none, 1.0, a)))


@primitive(
    lambda g, y, a, b: g * _power_slope(a, b),
    lambda g, y, a, b: g * _power_growth(y, a),
)
def power(a: Any, b: Any) -> Any:
    """y = a^b; with respect to b where a > 0, and 0 where a = 0."""
    return a**b


@primitive(lambda g, y, a: 2 * g * a)
def square(a: Any) -> Any:
    """y = a^2."""
    return B.square(a)


@primitive(lambda g, y, a: g / (2 * y), real=True)
def sqrt(a: Any) -> Any:
    """y = sqrt(a)."""
    return B.sqrt(a)


def reciprocal(a: Any) -> Any:
    """y = 1 / a."""
    return divide(1.0, a)


@primitive(lambda g, y, a, b: g, lambda g, y, a, b: -g * trunc(a / b))
def _fmod(a: Any, b: Any) -> Any:
    return B.sign(a) * B.remainder(B.abs(a), B.abs(b))


def fmod(a: Any, b: Any) -> Any:
    """y = a - b trunc(a / b), with the sign of a."""
    _divisible(a, b)
    return _fmod(*_like(a, b))


@primitive(lambda g, y, a, b: g, lambda g, y, a, b: -g * floor(a / b))
def remainder(a: Any, b: Any) -> Any:
    """y = a - b floor(a / b), with the sign of b."""
    _divisible(a, b)
    return B.remainder(a, b)


# Exponentials and logarithms


@primitive(lambda g, y, a: g * y, real=True)
def exp(a: Any) -> Any:
    """y = e^a."""
    return B.exp(a)


@primitive(lambda g, y, a: g * (y + 1), real=True)
def expm1(a: Any) -> Any:
    """y = e^a - 1, exact near 0."""
    return B.expm1(a)


@primitive(lambda g, y, a: g / a, real=True)
def log(a: Any) -> Any:
    """y = ln a."""
    return B.log(a)


@primitive(lambda g, y, a: g / (a + 1), real=True)
def log1p(a: Any) -> Any:
    """y = ln(1 + a), exact near 0."""
    return B.log1p(a)


@primitive(lambda g, y, a: g / (a * math.log(2)), real=True)
def log2(a: Any) -> Any:
    """y = ln a / ln 2."""
    return B.log2(a)


@primitive(lambda g, y, a: g / (a * math.log(10)), real=True)
def log10(a: Any) -> Any:
    """y = ln a / ln 10."""
    return B.log10(a)


def exp2(a: Any) -> Any:
    """y = 2^a."""
    return power(2.0, real(a))


def _weight(a: Any, b: Any) -> Any:
    """e^a / (e^a + e^b), 1/2 where both are infinite with one sign."""
    a, b = _like(a, b)
    return sigmoid(where(equal(a, b), 0.0, a - b))


@primitive(lambda g, y, a, b: g * _weight(a, b), lambda g, y, a, b: g * _weight(b, a), real=True)
def logaddexp(a: Any, b: Any) -> Any:
    """y = ln(e^a + e^b), without overflow."""
    return B.logaddexp(a, b)


@primitive(lambda g, y, a: g * y * (1 - y), real=True)
def sigmoid(a: Any) -> Any:
    """y = 1 / (1 + e^-a)."""
    return B.sigmoid(a)


@primitive(lambda g, y, a: g * sigmoid(a), real=True)
def softplus(a: Any) -> Any:
    """y = ln(1 + e^a), without overflow."""
    return B.maximum(a, 0) + B.log1p(B.exp(-B.abs(a)))


@primitive(lambda g, y, a: g * (2 / math.sqrt(math.pi)) * exp(-square(a)), real=True)
def erf(a: Any) -> Any:
    """y = 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to a."""
    return B.erf(a)


def rsqrt(a: Any) -> Any:
    """y = 1 / sqrt(a)."""
    return divide(1.0, sqrt(a))


# Trigonometry and hyperbolics


@primitive(lambda g, y, a: g * cos(a), real=True)
def sin(a: Any) -> Any:
    """y = sin a, in radians."""
    return B.sin(a)


@primitive(lambda g, y, a: -g * sin(a), real=True)
def cos(a: Any) -> Any:
    """y = cos a, in radians."""
    return B.cos(a)


@primitive(lambda g, y, a: g * (1 + square(y)), real=True)
def tan(a: Any) -> Any:
    """y = tan a, in radians."""
    return B.tan(a)


@primitive(lambda g, y, a: g / sqrt(1 - square(a)), real=True)
def arcsin(a: Any) -> Any:
    """y with sin y = a."""
    return B.arcsin(a)


@primitive(lambda g, y, a: -g / sqrt(1 - square(a)), real=True)
def arccos(a: Any) -> Any:
    """y with cos y = a."""
    return B.arccos(a)


@primitive(lambda g, y, a: g / (1 + square(a)), real=True)
def arctan(a: Any) -> Any:
    """y with tan y = a."""
    return B.arctan(a)


@primitive(lambda g, y, a: g * cosh(a), real=True)
def sinh(a: Any) -> Any:
    """y = (e^a - e^-a) / 2."""
    return B.sinh(a)


@primitive(lambda g, y, a: g * sinh(a), real=True)
def cosh(a: Any) -> Any:
    """y = (e^a + e^-a) / 2."""
    return B.cosh(a)


@primitive(lambda g, y, a: g * (1 - square(y)), real=True)
def tanh(a: Any) -> Any:
    """y = sinh a / cosh a."""
    return B.tanh(a)


def _turn(a: Any, b: Any) -> Any:
    """b / (a^2 + b^2), without overflow; 0 at the origin, which has no angle, and at infinity."""
    a, b = _like(a, b)
    size = maximum(abs(a), abs(b))
    none = logical_or(equal(size, 0), isinf(size))
    size = where(none, 1.0, size)
    a, b = where(none, 1.0, a) / size, where(none, 0.0, b) / size
    return b / (a * a + b * b) / size


@primitive(lambda g, y, a, b: g * _turn(a, b), lambda g, y, a, b: -g * _turn(b, a), real=True)
def arctan2(a: Any, b: Any) -> Any:
    """y, the angle of the point (b, a), in (-pi, pi]."""
    return B.arctan2(a, b)


@primitive(lambda g, y, a: g / (1 - square(a)), real=True)
def arctanh(a: Any) -> Any:
    """y with tanh y = a."""
    return B.arctanh(a)


# Choices. At a tie of maximum and minimum each side takes half; |a| and relu have slope 0 at 0, as in PyTorch.


@primitive(lambda g, y, a: g * sign(a))
def abs(a: Any) -> Any:
    """y = |a|."""
    return B.abs(a)


@primitive(lambda g, y, a: where(greater(y, 0), g, 0.0))  # y says as much as a, and is kept anyway
def relu(a: Any) -> Any:
    """y = max(a, 0)."""
    return B.maximum(a, 0)


def _share(g: Any, a: Any, b: Any) -> Any:
    """g where a > b, half of it where they are equal."""
    return g * (astype(greater(a, b), g.dtype) + 0.5 * astype(equal(a, b), g.dtype))


@primitive(lambda g, y, a, b: _share(g, a, b), lambda g, y, a, b: _share(g, b, a))
def maximum(a: Any, b: Any) -> Any:
    """y = the larger of a and b."""
    return B.maximum(a, b)


@primitive(lambda g, y, a, b: _share(g, b, a), lambda g, y, a, b: _share(g, a, b))
def minimum(a: Any, b: Any) -> Any:
    """y = the smaller of a and b."""
    return B.minimum(a, b)


def _inside(g: Any, a: Any, low: Any, high: Any) -> Any:
    inside = None if low is None else greater_equal(a, low)
    if high is not None:
        below = less_equal(a, high)
        inside = below if inside is None else logical_and(inside, below)
    return g if inside is None else where(inside, g, 0.0)


@primitive(lambda g, y, a, low, high: _inside(g, a, low, high))
def _clip(a: Any, low: Any, high: Any) -> Any:
    return B.clip(a, low, high)


def clip(a: Any, low: Any = None, high: Any = None) -> Any:
    """y = a clipped to [low, high] (torch.clamp); either may be None, or a Tensor that gradients flow to."""
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        a = a if low is None else maximum(a, low)
        return a if high is None else minimum(a, high)
    return _clip(a, low, high)


@primitive(None, lambda g, y, c, a, b: where(c, g, 0.0), lambda g, y, c, a, b: where(c, 0.0, g))
def _where(condition: Any, a: Any, b: Any) -> Any:
    return B.where(condition, a, b)


def where(condition: Any, a: Any = None, b: Any = None) -> Any:
    """y = a where the condition holds, else b; of a condition alone its positions, one array for each axis."""
    if a is None and b is None:
        from nnatomy.ops.indexing import nonzero

        return nonzero(condition, as_tuple=True)
    return _where(condition, *_like(a, b))


def _like(a: Any, b: Any) -> tuple[Any, Any]:
    """Python numbers as arrays of the other's dtype, where it can hold them: NumPy's where would make them float64."""
    if isinstance(a, float | int) and _holds(b, a):
        a = B.asarray(a, dtype=b.dtype)
    elif isinstance(b, float | int) and _holds(a, b):
        b = B.asarray(b, dtype=a.dtype)
    return a, b


def _holds(array: Any, number: float) -> bool:
    return hasattr(array, "dtype") and (is_floating(array.dtype) or (array.dtype.kind == "i" and isinstance(number, int)))


def masked_fill(a: Any, mask: Any, value: float) -> Any:
    """y = `value` where the mask holds, else a."""
    return where(mask, value, a)


@primitive(lambda g, y, a, dtype: _astype(g, dtype=a.dtype))
def _astype(a: Any, *, dtype: Any) -> Any:
    return a.astype(dtype)


def astype(a: Any, dtype: Any) -> Any:
    """y = a in another dtype."""
    return _astype(a, dtype=dtype)


def real(a: Any) -> Any:
    """y = a, integers and booleans as float32."""
    return a if is_floating(a.dtype) else astype(a, "float32")


@primitive(lambda g, y, a: g)
def clone(a: Any) -> Any:
    """y = a, in its own memory."""
    return B.array(a)


# Piecewise constant: the gradient is 0


def _is_whole(value: Any) -> bool:
    """Return True for integers and booleans, Python's and arrays."""
    return value.dtype.kind in "biu" if hasattr(value, "dtype") else isinstance(value, int)


def _divisible(a: Any, b: Any) -> None:
    """Raises UserError where integers are divided by 0; of floating-point numbers the result is infinite or NaN."""
    if _is_whole(a) and _is_whole(b):
        found = None if isinstance(b, int) else known(b)
        if b == 0 if isinstance(b, int) else found is not None and not found.all():
            raise UserError("Integers cannot be divided by 0. Received a 0 as divisor. Convert with .astype('float32').")


def _flat(g: Any, y: Any, a: Any) -> Any:
    return B.zeros(a.shape, dtype=a.dtype)


@primitive(_flat)
def sign(a: Any) -> Any:
    """-1, 0 or 1."""
    return B.sign(a)


@primitive(_flat)
def floor(a: Any) -> Any:
    """The largest integer that is not above a."""
    return B.floor(a)


@primitive(_flat)
def ceil(a: Any) -> Any:
    """The smallest integer that is not below a."""
    return B.ceil(a)


@primitive(_flat)
def trunc(a: Any) -> Any:
    """The nearest integer that is not further from 0."""
    return B.trunc(a)


@primitive(_flat)
def _round(a: Any) -> Any:
    return B.round(a)


def round(a: Any, decimals: int = 0) -> Any:
    """The nearest number of so many decimals, halves to even."""
    return _round(a) if decimals == 0 else _round(a * 10.0**decimals) / 10.0**decimals


# Comparisons and logic: no gradient


@primitive()
def floor_divide(a: Any, b: Any) -> Any:
    """floor(a / b)."""
    _divisible(a, b)
    return B.floor_divide(a, b)


@primitive()
def equal(a: Any, b: Any) -> Any:
    """a == b."""
    return B.equal(a, b)


@primitive()
def not_equal(a: Any, b: Any) -> Any:
    """a != b."""
    return B.not_equal(a, b)


@primitive()
def less(a: Any, b: Any) -> Any:
    """a < b."""
    return B.less(a, b)


@primitive()
def less_equal(a: Any, b: Any) -> Any:
    """a <= b."""
    return B.less_equal(a, b)


@primitive()
def greater(a: Any, b: Any) -> Any:
    """a > b."""
    return B.greater(a, b)


@primitive()
def greater_equal(a: Any, b: Any) -> Any:
    """a >= b."""
    return B.greater_equal(a, b)


@primitive()
def logical_and(a: Any, b: Any) -> Any:
    """Both."""
    return B.logical_and(a, b)


@primitive()
def logical_or(a: Any, b: Any) -> Any:
    """Either."""
    return B.logical_or(a, b)


@primitive()
def logical_xor(a: Any, b: Any) -> Any:
    """One but not the other."""
    return B.logical_xor(a, b)


@primitive()
def logical_not(a: Any) -> Any:
    """Not."""
    return B.logical_not(a)


def _whole(name: str, *values: Any) -> None:
    """Raises UserError unless all are integers or booleans."""
    for value in values:
        if not _is_whole(value):
            raise UserError(
                f"{name}() takes integers or booleans. Received {getattr(value, 'dtype', value)}. Compare first, "
                "or convert with .astype()."
            )


@primitive()
def bitwise_and(a: Any, b: Any) -> Any:
    """The bits that both have; of booleans, both."""
    _whole("bitwise_and", a, b)
    return B.bitwise_and(a, b)


@primitive()
def bitwise_or(a: Any, b: Any) -> Any:
    """The bits that either has; of booleans, either."""
    _whole("bitwise_or", a, b)
    return B.bitwise_or(a, b)


@primitive()
def bitwise_xor(a: Any, b: Any) -> Any:
    """The bits that one but not the other has."""
    _whole("bitwise_xor", a, b)
    return B.bitwise_xor(a, b)


@primitive()
def bitwise_not(a: Any) -> Any:
    """The bits that a does not have: -a - 1 of integers; of booleans, not a."""
    _whole("bitwise_not", a)
    return B.bitwise_not(a)


@primitive()
def bitwise_left_shift(a: Any, b: Any) -> Any:
    """a 2^b."""
    _whole("bitwise_left_shift", a, b)
    return B.left_shift(a, b)


@primitive()
def bitwise_right_shift(a: Any, b: Any) -> Any:
    """floor(a / 2^b)."""
    _whole("bitwise_right_shift", a, b)
    return B.right_shift(a, b)


@primitive()
def isnan(a: Any) -> Any:
    """Return True where an element is NaN."""
    return B.isnan(a)


@primitive()
def isinf(a: Any) -> Any:
    """Return True where an element is infinite."""
    return B.isinf(a)


@primitive()
def isfinite(a: Any) -> Any:
    """Return True where an element is neither NaN nor infinite."""
    return B.isfinite(a)
