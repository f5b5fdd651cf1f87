"""The primitives and what is spelled with them. Each takes plain arrays or Tensors, and answers in kind."""

import sys

from nnatomy import tensor as _tensor
from nnatomy.ops.convolution import (
    adaptive_avg_pool, adaptive_max_pool, avg_pool, conv, conv_transpose, interpolate, max_pool, unfold,
)  # fmt: skip
from nnatomy.ops.indexing import (
    argsort, embedding, gather, getitem, index_put, median, nonzero, one_hot, scatter, scatter_add, scatter_add_at, sort,
    take, topk,
)  # fmt: skip
from nnatomy.ops.linear import dot, einsum, linear, matmul, outer, tensordot
from nnatomy.ops.pointwise import (
    abs, add, arccos, arcsin, arctan, arctanh, astype, ceil, clip, cos, cosh, divide, equal, erf, exp, expm1, floor,
    floor_divide, greater, greater_equal, isfinite, isinf, isnan, less, less_equal, log, log1p, log2, logaddexp, logical_and,
    logical_not, logical_or, masked_fill, maximum, minimum, multiply, negative, not_equal, power, reciprocal, relu, remainder,
    round, sigmoid, sign, sin, sinh, softplus, sqrt, square, subtract, tan, tanh, where,
)  # fmt: skip
from nnatomy.ops.reductions import (
    all, any, argmax, argmin, cumprod, cumsum, log_softmax, logsumexp, max, mean, min, norm, prod, softmax, std, sum, var,
)  # fmt: skip
from nnatomy.ops.shapes import (
    broadcast_to, cat, chunk, concatenate, diagonal, expand_dims, flatten, flip, moveaxis, pad, repeat, repeat_interleave,
    reshape, roll, split, squeeze, stack, swapaxes, transpose, tril, triu, unsqueeze, unstack,
)  # fmt: skip

_tensor.bind(sys.modules[__name__])

__all__ = [name for name in dir() if not name.startswith("_") and name not in ("sys",)]
