"""Elementary functions of float32: for a number, or for all lanes of a vector (`vexp` is `expf`, and so on).

Polynomials whose coefficients minimize the largest relative error on an interval, to which the argument is reduced. Relative
errors stay below 3e-7, infinities and NaN go where they should, tiny results are denormal. No branches: loops of them are SIMD.
"""


from __future__ import annotations

import math

from nnatomy.kernels.vectors import (
    absolute,
    add,
    below,
    divide,
    exponent,
    fma,
    inner,
    is_equal,
    is_less,
    multiply,
    nearest,
    scaled,
    select,
    subtract,
    vmax,
    vmin,
    with_sign,
)

INFINITY = float("inf")
NAN = float("nan")
PER_LN2 = 1.4426950408889634
HALF_PI_HIGH, HALF_PI_MIDDLE, HALF_PI_LOW = 1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15
TURNED = 30000.0
LN2_HIGH, LN2_LOW = 0.693145751953125, 1.4286068203094173e-06  # their sum is ln 2; n LN2_HIGH is exact for |n| < 2^9


@inner
def expf(x):
    """e^x = 2^n e^r with |r| <= ln(2) / 2."""
    x = vmin(vmax(x, -104.0), 89.0)
    n = nearest(multiply(x, PER_LN2))
    r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))
    q = fma(fma(fma(fma(0.001382104237563908, r, 0.00836867094039917), r, 0.04166826233267784), r, 0.1666652113199234), r,
            0.4999999403953552)  # fmt: skip
    return scaled(fma(multiply(r, r), q, add(r, 1.0)), n)


@inner
def expm1f(x):
    """e^x - 1, exact to rounding near 0 also."""
    x = vmin(vmax(x, -104.0), 89.0)
    n = nearest(multiply(x, PER_LN2))
    r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))
    q = fma(fma(fma(fma(0.0013870632974430919, r, 0.008366254158318043), r, 0.04166743531823158), r, 0.1666654646396637), r,
            0.4999999701976776)  # fmt: skip
    half = scaled(0.5, n)
    return multiply(fma(half, fma(multiply(r, r), q, r), subtract(half, 0.5)), 2.0)


@inner
def tanhf(x):
    """(e^2x - 1) / (e^2x + 1)."""
    x = vmin(vmax(x, -10.0), 10.0)
    n = nearest(multiply(x, 2.0 * PER_LN2))
    x2 = add(x, x)
    r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x2))
    q = fma(fma(fma(fma(0.0013870632974430919, r, 0.008366254158318043), r, 0.04166743531823158), r, 0.1666654646396637), r,
            0.4999999701976776)  # fmt: skip
    power = scaled(1.0, n)
    e = fma(power, fma(multiply(r, r), q, r), subtract(power, 1.0))
    return divide(e, add(e, 2.0))


@inner
def sigmoidf(x):
    """1 / (1 + e^-x), by the exponential of -|x| only."""
    e = expf(with_sign(x, -1.0))
    return divide(select(is_less(x, 0.0), e, 1.0), add(e, 1.0))


@inner
def erff(x):
    """x p(x^2) for |x| < 1; beyond, 1 - e^p(|x|), where p is the logarithm of 1 - erf."""
    t = vmin(absolute(x), 4.0)
    s = multiply(t, t)
    near = fma(fma(fma(fma(fma(-0.0005513452924787998, s, 0.004889927804470062), s, -0.026688847690820694), s,
                           0.1127944067120552), s, -0.3761224150657654), s, 1.1283791065216064)  # fmt: skip
    p = fma(fma(fma(fma(fma(fma(0.00018638017354533076, t, -0.002947674598544836), t, 0.021838141605257988), t,
                            -0.10310691595077515), t, -0.6381446719169617), t, -1.127089262008667), t,
            -0.00034151296131312847)  # fmt: skip
    far = with_sign(subtract(1.0, expf(p)), x)
    return select(is_less(t, 1.0), multiply(near, x), far)


@inner
def logf(x):
    """e ln 2 + ln(1 + f) with sqrt(1/2) <= 1 + f < sqrt(2)."""
    denormal = is_less(x, 1.1754943508222875e-38)
    normal = select(denormal, multiply(x, 8388608.0), x)
    e = exponent(normal)
    f = subtract(scaled(normal, subtract(0.0, e)), 1.0)
    e = select(denormal, subtract(e, 23.0), e)
    p = fma(fma(fma(fma(fma(fma(fma(-0.07636940479278564, f, 0.12762485444545746), f, -0.13159550726413727), f,
                                0.14201539754867554), f, -0.1662341058254242), f, 0.2000124305486679), f,
                -0.2500081956386566), f, 0.3333333134651184)  # fmt: skip
    s = multiply(f, f)
    small = fma(multiply(s, f), p, fma(s, -0.5, multiply(e, LN2_LOW)))
    y = fma(e, LN2_HIGH, add(f, small))
    y = select(is_equal(x, 0.0), -INFINITY, select(is_less(x, 0.0), NAN, y))
    return select(is_less(x, INFINITY), y, x)


@inner
def log1pf(x):
    """ln(1 + x), exact to rounding near 0 also: ln(u) + (1 + x - u) / u, where u is 1 + x rounded."""
    u = add(x, 1.0)
    lost = select(is_less(x, 1.0), subtract(x, subtract(u, 1.0)), subtract(1.0, subtract(u, x)))
    y = add(logf(u), divide(lost, u))
    y = select(is_equal(x, -1.0), -INFINITY, y)
    return select(is_less(x, INFINITY), y, x)


@inner
def turned(x, turns):
    """sin(x + turns pi / 2) for |x| <= TURNED: sine or cosine of the remainder of x after whole quarter turns."""
    n = nearest(multiply(x, 2.0 / math.pi))
    r = fma(n, -HALF_PI_LOW, fma(n, -HALF_PI_MIDDLE, fma(n, -HALF_PI_HIGH, x)))
    s = multiply(r, r)
    p = fma(fma(fma(2.8328061034699203e-06, s, -0.00019853078990373343), s, 0.008333379402756691), s, -0.1666666716337204)
    sine = fma(multiply(s, r), p, r)
    q = fma(fma(fma(-2.897448609928688e-07, s, 2.4822969862725586e-05), s, -0.001388898235745728), s, 0.0416666679084301)
    cosine = fma(multiply(s, s), q, fma(s, -0.5, 1.0))
    n = add(n, turns)
    quarter = fma(below(multiply(n, 0.25)), -4.0, n)
    odd = subtract(quarter, multiply(below(multiply(quarter, 0.5)), 2.0))
    y = select(is_less(odd, 0.5), sine, cosine)
    return select(is_less(quarter, 1.5), y, subtract(0.0, y))


vexp, vexpm1, vtanh, vsigmoid, verf, vlog, vlog1p = expf, expm1f, tanhf, sigmoidf, erff, logf, log1pf
