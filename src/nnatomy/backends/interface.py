"""The interface of a backend: a module with a `name` and these functions. tests/backends compare every backend with this list.

Names without a note mean what they mean in NumPy, on float32, float64, integer and boolean arrays. Functions are pure: they
return new arrays (or views) and change none. numpy_reference.py specifies the functions with a note, in code like the formula.

Next to the functions, ops/ use of an array its operators, `shape`, `dtype`, `ndim`, `size`, `T`, indexing by slices, integers,
arrays, None and ..., and the methods `astype`, `reshape`, `transpose`, `sum`, `prod`, `max` and `min` with axis and keepdims.
"""

from __future__ import annotations

CREATION = ("arange", "array", "asarray", "full", "ones", "ones_like", "zeros", "zeros_like")

ELEMENTWISE = (
    "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "left_shift", "right_shift",  # of integers and booleans
    "abs", "arccos", "arcsin", "arctan", "arctan2", "arctanh", "ceil", "clip", "cos", "cosh", "divide", "equal", "exp", "expm1",
    "floor", "floor_divide", "greater", "greater_equal", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log10",
    "log1p", "log2", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum",
    "not_equal", "remainder",
    "round", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "where",
    "erf", "sigmoid",  # of a real argument; without overflow
)  # fmt: skip

ALONG_AXES = (
    "all", "any", "argmax", "argmin",  # the first of ties
    "argsort",  # (a, axis=, stable=True)
    "cumprod", "cumsum", "nonzero",
)  # fmt: skip

REARRANGING = ("broadcast_to", "concatenate", "flip", "moveaxis", "stack", "tril", "triu")

PRODUCTS = (
    "matmul", "einsum",
    "qr_r",  # (a): R of a = Q R, with a diagonal of no negative numbers
    "conv", "conv_input", "conv_weight",  # cross-correlation and its two adjoints
)  # fmt: skip

FACTORIZATIONS = (  # of matrices (..., m, n), as in numpy.linalg; the lower triangle of a symmetric one is read
    "cholesky", "det", "eigh", "inv", "qr", "slogdet", "solve",
    "svd",  # (a, full_matrices=)
)  # fmt: skip

ATTENTION = (
    "attention",  # (q, k, v, causal=, scale=): the result, and ln of the sum of e^scores for each query
    "attention_vjp",  # (g, q, k, v, result, that logarithm, causal=, scale=): the gradients of q, k and v
)  # fmt: skip

RECURRENT = (  # all steps of a recurrent layer, and the gradients of what goes into them: recurrent_reference.py
    "gru_scan", "gru_scan_vjp", "lstm_scan", "lstm_scan_vjp", "rnn_scan", "rnn_scan_vjp",
)  # fmt: skip

POOLING = (
    "conv_shape",  # plain numbers: the space that a convolution or a pooling leaves
    "max_pool", "pool_gather", "pool_scatter",  # the largest and where it is; reading and writing there
    "sum_pool", "sum_pool_input",
)  # fmt: skip

WRITING = (
    "index_put",  # (x, index, values): a copy of x with x[index] = values
    "scatter_add",  # (x, index, values): a copy with values added, repeated positions adding up
    "add_rows",  # (shape, rows, values): zeros with values[i] added to row rows[i]
    "max_rows",  # (shape, rows, values): the largest of the values[i] with row rows[i], 0 in a row that has none
)  # fmt: skip

NORMALIZATION = (  # each with its adjoint, which takes the gradient g of y first
    "layer_norm", "layer_norm_vjp", "rms_norm", "rms_norm_vjp",  # over the last axis
    "batch_norm", "batch_norm_vjp",  # of each channel of axis 1, over all others
    "softmax", "softmax_vjp", "log_softmax", "log_softmax_vjp",  # (x, axis=)
    "softmax_cross_entropy", "softmax_cross_entropy_vjp",  # of rows of scores and class numbers
)  # fmt: skip

RANDOM = ("random_bits",)  # (key, counter, count): Threefry-2x32 words, the same on every backend

FUNCTIONS = (
    CREATION + ELEMENTWISE + ALONG_AXES + REARRANGING + PRODUCTS + FACTORIZATIONS + ATTENTION
    + RECURRENT + POOLING + WRITING + NORMALIZATION + RANDOM
)
