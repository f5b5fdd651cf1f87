"""The primitives and the functions composed of them. Each takes plain arrays or Tensors, and returns the same type."""

# ruff: noqa: I001  (names packed, not one a line)

import sys

from nnatomy import tensor as _tensor
from nnatomy.foreign import understood
from nnatomy.ops.attention import scaled_dot_product_attention
from nnatomy.ops.convolution import (
    adaptive_avg_pool, adaptive_max_pool, avg_pool, conv, conv_transpose, interpolate, max_pool, unfold,
)  # fmt: skip
from nnatomy.ops import linalg as linalg
from nnatomy.ops.counting import argwhere, bincount, count_nonzero, quantile, unique
from nnatomy.ops.creation import arange, eye, full, full_like, linspace, ones, ones_like, zeros, zeros_like
from nnatomy.ops.indexing import (
    argsort, embedding, gather, getitem, index_put, median, nonzero, one_hot, scatter, scatter_add, scatter_add_at,
    sort, take, topk,
)  # fmt: skip
from nnatomy.ops.linear import dot, einsum, linear, matmul, outer, qr_r, tensordot
from nnatomy.ops.matrices import (
    allclose, cross, diag, diagonal, diff, isclose, kron, meshgrid, nan_to_num, rot90, tile, trace,
)  # fmt: skip
from nnatomy.ops.pointwise import (
    abs, add, arccos, arcsin, arctan, arctan2, arctanh, astype, bitwise_and, bitwise_left_shift, bitwise_not,
    bitwise_or, bitwise_right_shift, bitwise_xor, ceil, clip, clone, cos, cosh, divide, equal, erf, exp,
    exp2, expm1, floor, floor_divide, fmod, greater, greater_equal, isfinite, isinf, isnan, less, less_equal, log, log10,
    log1p, log2,
    logaddexp, logical_and, logical_not, logical_or, logical_xor, masked_fill, maximum, minimum, multiply, negative,
    not_equal, power, reciprocal, relu, remainder, round, rsqrt, sigmoid, sign, sin, sinh, softplus, sqrt, square,
    subtract, tan, tanh, trunc, where,
)  # fmt: skip
from nnatomy.ops.reductions import (
    all, amax, amin, any, argmax, argmin, cumprod, cumsum, log_softmax, logsumexp, max, mean, min, norm, prod, softmax,
    std, sum,
    var,
)  # fmt: skip
from nnatomy.ops.segments import segment_max, segment_mean, segment_softmax, segment_sum
from nnatomy.ops.shapes import (
    broadcast_to, cat, chunk, concatenate, expand_dims, flatten, flip, moveaxis, pad, permute, repeat,
    repeat_interleave, reshape, roll, split, squeeze, stack, swapaxes, transpose, tril, triu, unsqueeze, unstack,
)  # fmt: skip

__all__ = [
    "abs", "adaptive_avg_pool", "adaptive_max_pool", "add", "all", "allclose", "amax", "amin", "any", "arange",
    "arccos", "arcsin", "arctan", "arctan2", "arctanh", "argmax", "argmin", "argsort", "argwhere", "astype",
    "avg_pool", "bincount", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift",
    "bitwise_xor", "broadcast_to", "cat", "ceil", "chunk", "clip", "clone", "concatenate", "conv", "conv_transpose",
    "cos", "cosh", "count_nonzero", "cross", "cumprod", "cumsum", "diag", "diagonal", "diff", "divide", "dot",
    "einsum", "embedding", "equal", "erf", "exp", "exp2", "expand_dims", "expm1", "eye", "flatten", "flip", "floor",
    "floor_divide", "fmod", "full", "full_like", "gather", "getitem", "greater", "greater_equal", "index_put",
    "interpolate", "isclose", "isfinite", "isinf", "isnan", "kron", "less", "less_equal", "linear", "linspace", "log",
    "log10", "log1p", "log2", "log_softmax", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor",
    "logsumexp", "masked_fill", "matmul", "max", "max_pool", "maximum", "mean", "median", "meshgrid", "min",
    "minimum", "moveaxis", "multiply", "nan_to_num", "negative", "nonzero", "norm", "not_equal", "one_hot", "ones",
    "ones_like", "outer", "pad", "permute", "power", "prod", "qr_r", "quantile", "reciprocal", "relu", "remainder",
    "repeat", "repeat_interleave", "reshape", "roll", "rot90", "round", "rsqrt", "scaled_dot_product_attention",
    "scatter", "scatter_add", "scatter_add_at", "segment_max", "segment_mean", "segment_softmax", "segment_sum",
    "sigmoid", "sign", "sin", "sinh", "softmax", "softplus", "sort", "split", "sqrt", "square", "squeeze", "stack",
    "std", "subtract", "sum", "swapaxes", "take", "tan", "tanh", "tensordot", "tile", "topk", "trace", "transpose",
    "tril", "triu", "trunc", "unfold", "unique", "unsqueeze", "unstack", "var", "where", "zeros", "zeros_like",
]  # fmt: skip

for _table, _names in ((globals(), __all__), (vars(linalg), linalg.__all__)):
    for _name in _names:
        if not hasattr(_table[_name], "primitive"):  # those refuse keywords themselves
            _table[_name] = understood(_table[_name])
_tensor.bind(sys.modules[__name__])
