"""Names of PyTorch and NumPy: those that we take in their meaning, and what to use in place of the others.

Attributes of Tensors, names of `nn` and keywords that do not exist end here. tests/faults/test_foreign_names.py holds the
tables against the names of torch and of torch.Tensor.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from nnatomy.errors import nearest_name

F = TypeVar("F", bound=Callable[..., Any])

_SAME = """
    absolute abs  acos arccos  asin arcsin  atan arctan  atan2 arctan2  atanh arctanh  bmm matmul  clamp clip
    concat cat  det linalg.det  div divide  eq equal  expand broadcast_to  fix trunc  ge greater_equal
    ger outer  gt greater  index_select take  inverse linalg.inv  le less_equal  lt less
    matrix_power linalg.matrix_power  mm matmul  movedim moveaxis  mul multiply  mv matmul  ne not_equal  neg negative
    permute_dims permute  pinverse linalg.pinv  pow power  qr linalg.qr  ravel flatten  slogdet linalg.slogdet
    sub subtract  swapdims swapaxes  take_along_dim gather  take_along_axis gather
    true_divide divide  unbind unstack  view reshape  cholesky linalg.cholesky
    manual_seed seed  as_tensor tensor  asarray tensor  array tensor  from_numpy tensor  identity eye
    matrix_rank linalg.matrix_rank
"""
SAME = dict(pair.split() for pair in re.split(r"\s{2,}", _SAME.strip()))
"""Names of operations that mean what ours do."""

DTYPES = {
    "float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64", "short": "int16",
    "bool": "bool",
    "byte": "uint8", "char": "int8",
}  # fmt: skip
"""Methods that convert, and the dtype that they convert to."""

KEYWORDS = {
    "dim": ("axis", "axes"), "dims": ("axis", "axes"), "keepdim": ("keepdims",), "ddof": ("correction",),
    "unbiased": ("correction",), "end": ("stop", "high"), "steps": ("count",), "num": ("count",), "fill_value": ("value",),
    "num_classes": ("classes",), "min": ("low",), "max": ("high",), "a_min": ("low",), "a_max": ("high",),
    "shifts": ("shift",), "repeats": ("times",), "reps": ("times",), "diagonal": ("k",), "start_dim": ("start",),
    "end_dim": ("end",), "scale_factor": ("scale",), "kernel_size": ("kernel",), "output_size": ("size",), "ord": ("p",),
    "dim0": ("first",), "dim1": ("axis1", "second"), "dim2": ("axis2",), "axis0": ("first",), "split_size": ("sections",),
    "split_size_or_sections": ("sections",), "indices_or_sections": ("sections",), "exponent": ("b",), "other": ("b",),
    "src": ("values",), "indices": ("index", "rows"), "tensors": ("parts",), "arrays": ("parts",), "equation": ("formula",),
    "input": ("a", "x"), "self": ("a",), "size": ("shape",), "method": ("interpolation",), "return_inverse": (),
    "offset": ("k",),
    "rcond": ("rtol",), "val": ("value",), "a": ("low",), "b": ("high",),
}  # fmt: skip
"""Keywords of PyTorch and NumPy that mean one of ours, which is tried in this order."""

_REMEDIES = {
    "device": "Leave it out; nn.use('jax', device='gpu') chooses where to compute",
    "out": "Leave it out and use the result, or x.copy_(result)",
    "dtype": "Convert with .astype('float32')", "layout": "Leave it out; all arrays are dense",
    "pin_memory": "Leave it out; data is placed by the training loop", "alpha": "Multiply the second argument by it",
    "sorted": "Leave it out; results are sorted", "where": "Use nn.where(condition, x, 0)",
    "initial": "Combine it with the result",
    "prepend": "Join it with nn.cat() first", "append": "Join it with nn.cat() first",
    "stable": "Leave it out; sorting is stable",
    "rounding_mode": "Use nn.floor_divide(), or nn.trunc(a / b)", "order": "Leave it out; rows come first",
    "inplace": "Use the result", "non_blocking": "Leave it out", "memory_format": "Leave it out", "copy": "Use .clone()",
    "size": "Give the sizes first, such as (2, 3)", "return_index": "Use return_inverse=True",
    "bias": "Add it to the result", "kind": "Leave it out; sorting is stable",
}  # fmt: skip


def understood(function: F) -> F:
    """Return the function with keywords of PyTorch and NumPy taken as ours, and unknown ones refused in one sentence."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except AttributeError as error:
            if args and error.obj is args[0] and isinstance(args[0], list | tuple):
                raise TypeError(
                    f"{function.__name__}() takes arrays and Tensors. Received a {type(args[0]).__name__}. Use nn.tensor()."
                ) from None
            raise
        except TypeError as error:
            renamed = _renamed(function, kwargs) if kwargs else None
            if renamed is None and not _started(function, error):
                raise _unfitting(function, args) from None
            if renamed is None:
                raise
        return function(*args, **renamed)

    call.__code__ = call.__code__.replace(co_name=function.__name__)  # by which a trace names an operation
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(call, name, getattr(function, name))
    call.__wrapped__ = function  # type: ignore[attr-defined]
    return cast(F, call)


def _started(function: Callable[..., Any], error: Exception) -> bool:
    """Return False if the arguments did not even fit the function: it has no frame, and the last one is of its wrapper."""
    code, step, last = inspect.unwrap(function).__code__, error.__traceback__, None
    while step is not None:
        last = step.tb_frame.f_code
        if last is code:
            return True
        step = step.tb_next
    return last is not None and last.co_name != function.__name__


def _unfitting(function: Callable[..., Any], args: tuple[Any, ...]) -> TypeError:
    """The refusal of too many or too few arguments."""
    ours = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in ours.parameters.values()]
    name, shown = function.__name__, ours.replace(parameters=plain, return_annotation=ours.empty)
    return TypeError(f"The call is {name}{shown}. Received {len(args)} arguments in order. Give those after a * by name.")


def _renamed(function: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Keywords by our names; None where all are ours. Raises TypeError for one that has no name here."""
    ours = {n: p for n, p in inspect.signature(function).parameters.items() if p.kind is not p.VAR_POSITIONAL}
    if any(p.kind is p.VAR_KEYWORD for p in ours.values()) or all(name in ours for name in kwargs):
        return None
    made = {}
    for name, value in kwargs.items():
        own = name if name in ours else next((n for n in KEYWORDS.get(name, ()) if n in ours and n not in kwargs), None)
        if own is None:
            raise unknown_keyword(function.__name__, name, ours)
        made[own] = value
    return made


def unknown_keyword(function: str, received: str, known: Iterable[str]) -> TypeError:
    """The refusal of a keyword, with what to do."""
    names = list(known)
    near = nearest_name(received, names)
    remedy = _REMEDIES.get(received) or (f"Did you mean {near}=" if near else f"Its arguments are {', '.join(names)}")
    return TypeError(f"{function}() has no argument {received!r}. {remedy}{'?' if remedy.startswith('Did') else '.'}")


_ANSWERS = {
    "Convert with x.astype('float32'); nn.use('jax', device='gpu') chooses where to compute": "to",
    "Choose where to compute with nn.use('jax', device='gpu'), and move a model with model.to_backend()":
        "cuda cpu xpu ipu mtia device get_device set_default_device get_default_device accelerator mps pin_memory "
        "is_pinned is_cuda is_cpu is_mps is_xpu is_ipu is_mtia is_maia to_device set_default_tensor_type",
    "Convert with x.astype('bfloat16'), and train with precision='bfloat16'": "bfloat16 autocast amp GradScaler",
    "Convert with x.astype('float32')":
        "type type_as set_default_dtype get_default_dtype float_power promote_types result_type can_cast to_dense",
    "Give arrays to nn.train(model, (x, y)), which makes batches, or take rows with x[index]":
        "DataLoader Dataset TensorDataset from_file frombuffer",
    "Clip with nn.optim.clip_grad_norm(); nn.train(model, (x, y)) makes batches, and x[index] takes rows": "utils",
    "Use nn.optim, its schedules included": "lr_scheduler optimizer",
    "Use result.node, and result.is_leaf": "grad_fn output_nr retains_grad grad_dtype",
    "Use nn.no_grad()":
        "inference_mode is_inference is_inference_mode_enabled detach_ set_anomaly_enabled is_anomaly_enabled",
    "Use nn.grad() and Tensor.backward(); @primitive of nnatomy.ops.primitive defines a derivative": "autograd",
    "Use nn.grad() and Tensor.backward()": "func vmap gradient",
    "The layers are here: import nnatomy as nn": "nn",
    "Use nn.compile(function)": "jit fx cond while_loop compiler",
    "Use nn.random.default, or a generator nn.Generator(seed)":
        "default_generator initial_seed get_rng_state set_rng_state thread_safe_generator quasirandom",
    "Draw with nn.rand(), nn.randn(), nn.randint() or a nn.Generator":
        "normal bernoulli multinomial poisson binomial normal_ uniform_ random_ bernoulli_ cauchy_ exponential_ "
        "geometric_ log_normal_ rand_like randn_like randint_like distributions rrelu rrelu_",
    "Use nn.zeros() or nn.full()":
        "empty empty_like empty_strided empty_permuted new new_empty new_empty_strided new_full new_ones new_tensor "
        "new_zeros scalar_tensor",
    "Use nn.arange() or nn.linspace()": "range logspace geomspace",
    "Give the layer without Lazy the size of its input; a function of the data set can read it: lambda data: nn.Linear(...)":
        "LazyLinear LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d "
        "LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d "
        "UninitializedParameter UninitializedBuffer",
    "Use nn.BatchNorm1d, 2d or 3d: with nn.train(..., devices=) its statistics are those of the whole batch": "SyncBatchNorm",
    "Use nn.LocalResponseNorm": "CrossMapLRN2d", "Use nn.NLLLoss": "NLLLoss2d",
    "Use nn.train(..., devices=)": "distributed DataParallel multiprocessing share_memory_ is_shared is_distributed",
    "Use x.nbytes through x.numpy()":
        "element_size itemsize nbytes storage storage_offset untyped_storage storage_type stride strides data_ptr "
        "const_data_ptr is_contiguous dim_order flags base ctypes set_ is_set_to layout memory_format "
        "contiguous_format channels_last preserve_format",
    "Use nn.functional, whose names are those of torch.nn.functional":
        "adaptive_avg_pool1d adaptive_max_pool1d avg_pool1d batch_norm binary_cross_entropy_with_logits celu celu_ "
        "cosine_embedding_loss cosine_similarity ctc_loss dropout dropout_ alpha_dropout feature_dropout "
        "feature_alpha_dropout group_norm hardshrink hinge_embedding_loss instance_norm kl_div layer_norm "
        "margin_ranking_loss max_pool1d max_pool2d "
        "max_pool3d pairwise_distance pdist cdist pixel_shuffle pixel_unshuffle poisson_nll_loss prelu rms_norm selu "
        "selu_ threshold threshold_ triplet_margin_loss bilinear channel_shuffle embedding_bag",
    "Use nn.functional.conv2d(), or nn.conv(), which takes any number of axes":
        "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution conv_tbc",
    "Use nn.LSTM, nn.GRU and nn.RNN": "lstm gru lstm_cell gru_cell rnn_relu rnn_tanh rnn_relu_cell rnn_tanh_cell",
    "Use nn.matmul() or @, and +":
        "addmm addmv addbmm baddbmm addr addcdiv addcmul chain_matmul vdot inner matvec vecmat vecdot",
    "Use nn.max() and nn.min()": "aminmax fmax fmin nanmax nanmin clamp_max clamp_min ptp",
    "Use nn.nan_to_num() first": "nanmean nansum nanmedian nanquantile nanprod nanstd nanvar",
    "Use x[index], x[mask] or nn.where()":
        "masked_select select narrow narrow_copy choose compress extract slice_inverse",
    "Use nn.index_put(x, index, values) or nn.where()":
        "index_copy index_fill masked_scatter put select_scatter slice_scatter diagonal_scatter fill_diagonal_ "
        "index_reduce scatter_reduce putmask place copyto",
    "Use nn.scatter_add_at(x, index, values)": "index_add",
    "Use nn.segment_sum() or nn.segment_max()": "segment_reduce",
    "Use nn.where(condition, a, b)": "heaviside masked",
    "Use nn.cat() and nn.stack()": "hstack vstack dstack column_stack row_stack block_diag append",
    "Use nn.split()":
        "tensor_split hsplit vsplit dsplit split_with_sizes unsafe_split unsafe_chunk unsafe_split_with_sizes",
    "Use x.reshape()":
        "unflatten atleast_1d atleast_2d atleast_3d resize resize_ resize_as resize_as_ as_strided sum_to_size",
    "Use nn.flip(x, axis)": "fliplr flipud",
    "Use nn.broadcast_to()": "broadcast_tensors broadcast_shapes broadcast_arrays",
    "Use nn.mean() and nn.var()": "std_mean var_mean cov corrcoef",
    "Use nn.sort(), nn.topk() or nn.unique()":
        "msort kthvalue mode unique_consecutive argpartition partition cummax cummin",
    "Use nn.tril(nn.ones(n, n)) and nn.nonzero()": "tril_indices triu_indices diag_embed diagflat tri",
    "Use nn.meshgrid(..., indexing='ij')": "cartesian_prod combinations mgrid",
    "Use nn.linalg":
        "eig eigh solve svd lstsq logdet triangular_solve cholesky_solve cholesky_inverse lu lu_solve "
        "lu_unpack geqrf orgqr ormqr symeig lobpcg svd_lowrank pca_lowrank matrix_exp nuclear_norm frobenius_norm "
        "norm_except_dim",
    "Use nn.norm(a - b)": "dist renorm",
    "Use arithmetic with nn.abs(), nn.exp(), nn.log() and nn.sqrt()":
        "hypot lerp frac erfc xlogy logit logaddexp2 logcumsumexp rad2deg deg2rad degrees radians positive sgn "
        "signbit copysign ldexp frexp nextafter asinh acosh arcsinh arccosh sinc square_ rsub gcd lcm cbrt rint "
        "cumulative_trapezoid trapz trapezoid vander modf",
    "Use a comparison with nn.isfinite()": "isneginf isposinf isreal isin is_nonzero",
    "Use isinstance(x, nn.Tensor) and x.dtype":
        "is_tensor is_floating_point is_complex is_signed is_same_size is_storage typename FloatTensor DoubleTensor "
        "HalfTensor BFloat16Tensor LongTensor IntTensor ShortTensor CharTensor ByteTensor BoolTensor",
    "Use math.pi, math.e, math.inf, math.nan and None": "pi e inf nan newaxis",
    "Use numpy on x.numpy()":
        "histc histogram histogramdd searchsorted bucketize finfo iinfo set_printoptions unravel_index digitize "
        "interp percentile byteswap dump dumps tofile tobytes flat getfield setfield setflags",
    "Loops over elements are functions of Python": "apply_ map_ map2_ values indices",
    "Names of axes are not kept; say them in comments": "names rename align_to refine_names name",
    "Use nn.set_num_threads()": "set_num_interop_threads get_num_interop_threads",
    "Use nn.use('jax', matmul='highest')": "set_float32_matmul_precision get_float32_matmul_precision",
    "Results repeat with the seed; leave it out":
        "use_deterministic_algorithms set_deterministic_debug_mode get_deterministic_debug_mode "
        "are_deterministic_algorithms_enabled",
    "Use nn.load() and nn.save()": "serialization hub",
    "Tensors are saved and copied by copy.deepcopy()": "reinforce module_load",
    "Call the method of a Tensor": "t t_ numel detach fill fill_ zero_ index_put_",
    "Use nn.pad()": "constant_pad_nd",
    "Use register_hook() of the Tensor": "register_post_accumulate_grad_hook",
}  # fmt: skip
ANSWERS = {name: remedy for remedy, names in _ANSWERS.items() for name in names.split()}
"""What to use in place of a name that we do not have."""

NOT_OFFERED = (
    (r"sparse|c?crow_ind|c?col_ind|row_indices|coalesce|^smm|hsmm|dense_dim|sspaddmm|spmm|dsmm|saddmm|nested|jagged",
     "sparse and nested tensors"),
    (r"complex|conj|^c(float|double|half)|chalf|^imag$|^real$|^angle$|adjoint|^H$|is_neg|resolve_neg|polar|stft|^fft$|_window$|windows",
     "complex numbers and Fourier transforms"),
    (r"quant|^q_|qscheme|qint|quint|int_repr|fbgemm|fake_|choose_qparams|per_(channel|tensor)|intrinsic|qat",
    "quantized numbers"),
    (r"gamma|^i0|^erfinv|^digamma|^special|hash_tensor|float4|float8|bits|^u?int[1-7]$|^u?int\d+$|^mH$",
    "this function or dtype"),
    (r"mkldnn|miopen|cudnn|vulkan|native_|_batch_norm|batch_norm_|autocast|Storage|Type$|Script|dlpack|^is_|^has_|^set_|^get_|^sym_"
     r"|strided|channels_last|view_as_|^(AVG|SUM|PRIVATE_OPS|TYPE_CHECKING|USE_\w+|bit|fork|wait|volatile|classproperty)$"
     r"|legacy_|profiler|prepare_|compiled_with|init_num|embedding_renorm|with_indices|_copy$"
     r"|grid_sampl|affine_grid|nonzero_static|record_stream|as_subclass|to_padded|unify|parse_|merge_type|import_ir",
     "PyTorch's own machinery"),
)  # fmt: skip
"""Patterns of names, and what is not offered."""


MODULE = {
    "to": "Leave it out, or convert with .astype('float32'); nn.use('jax', device='gpu') chooses where to compute",
    **{name: f"Convert with .astype({dtype!r})" for name, dtype in
       (("float", "float32"), ("double", "float64"), ("half", "float16"), ("bfloat16", "bfloat16"), ("type", "float32"))},
    "register_full_backward_hook": "Use register_hook() of a Tensor in a forward hook",
    "register_backward_hook": "Use register_hook() of a Tensor in a forward hook",
    "register_module": "Use add_module()", "get_buffer": "Use dict(model.named_buffers())[name]",
    "share_memory": "Leave it out; nn.train(..., devices=) shares",
    "compile": "Use nn.compile() on the whole step",
}  # fmt: skip
"""What to use in place of a method of PyTorch's modules."""

CONSTRUCTORS = {
    "inplace": "Leave it out; a result never takes the place of an input",
    "device": "Leave it out; nn.use('jax', device='gpu') chooses where to compute",
    "dtype": "Leave it out and convert with .astype('float64')",
    "size_average": "Use reduction='mean' or 'sum'", "reduce": "Use reduction='none'",
    "sparse": "Leave it out; gradients are dense", "enable_nested_tensor": "Leave it out; padding is masked",
    "mask_check": "Leave it out; padding is masked", "min_value": "Use min_val", "max_value": "Use max_val",
    "recompute_scale_factor": "Leave it out, or give size=", "proj_size": "Leave it out; add a Linear",
    "foreach": "Leave it out; nn.compile() compiles a step", "fused": "Leave it out; nn.compile() compiles a step",
    "capturable": "Leave it out; nn.compile() compiles a step", "differentiable": "Leave it out",
    "decoupled_weight_decay": "Use AdamW", "_weight": "Use from_pretrained()", "_freeze": "Use from_pretrained()",
}  # fmt: skip
"""What to do about an argument of PyTorch's layers and optimizers that ours do not have."""


def check_arguments(made: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse arguments of PyTorch's constructor that `made` does not have, in one sentence. Raises TypeError."""
    bare = made.__init__ is object.__init__  # type: ignore[misc]
    for name in CONSTRUCTORS.keys() & kwargs.keys():
        known = () if bare else inspect.signature(made).parameters.values()
        if not any(p.name == name or p.kind is p.VAR_KEYWORD for p in known):
            raise TypeError(f"{made.__name__} has no argument {name!r}. {CONSTRUCTORS[name]}.")
    if args and bare:
        raise TypeError(f"{made.__name__} takes no arguments. Received {args[0]!r}. Leave it out; nothing is done in place.")


def unknown_of_module(module: str, name: str) -> AttributeError:
    """The error of an attribute that a module does not have; quick, since modules are asked for what may not be there."""
    answer = MODULE.get(name) or ANSWERS.get(name)
    return AttributeError(f"{module} has no {name!r}." + (f" {answer}." if answer else ""))


def unknown(where: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error of a name that does not exist: what to use in its place, what is not offered, or the nearest name."""
    base = name.removesuffix("_")
    answer = ANSWERS.get(name) or ANSWERS.get(base)
    if answer is None and base != name and (base in known or base in SAME):
        answer = f"Call the method of a Tensor, x.{name}()"
    if answer is not None:
        return AttributeError(f"{where} has no {name!r}. {answer}.")
    for pattern, what in NOT_OFFERED:
        if re.search(pattern, name):
            return AttributeError(f"{where} has no {name!r}: nnatomy does not offer {what}.")
    names = list(known)
    alike = [n for n in names if n[:1].isupper() == name[:1].isupper()]  # Linaer is a layer, linaer an operation
    near = nearest_name(name, alike) or nearest_name(name, names)
    return AttributeError(f"{where} has no {name!r}. {f'Did you mean {near!r}?' if near else f'dir({where}) lists its names.'}")


def face(where: str, names: list[str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module that offers `names`: an error that answers."""

    def get(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name.endswith("_") and name[:-1] in names:
            raise AttributeError(f"{where} has no {name!r}. Use the result of {name[:-1]}().")
        raise unknown(where, name, names)

    return get


def found(table: Any, name: str) -> Any:
    """The operation of ours that a foreign name means; None where there is none."""
    path = SAME.get(name)
    if path is None:
        return None
    for part in path.split("."):
        table = getattr(table, part, None)
    return table


def method(tensor: Any, name: str, table: Any) -> Any:
    """The attribute `name` of PyTorch's or NumPy's tensors, computed by our operations. Raises AttributeError."""
    operation = getattr(table, name, None) if name in table.__all__ else found(table, name)
    if operation is not None:
        if name in ("view", "expand"):
            return lambda *sizes: _resized(name, tensor, sizes, operation)
        return lambda *args, **kwargs: operation(tensor, *args, **kwargs)
    if name in DTYPES:
        return lambda: tensor.astype(DTYPES[name])
    simple = _SIMPLE.get(name)
    if simple is not None:
        return simple(tensor)
    base = name[:-1]
    if name.endswith("_") and not name.endswith("__") and (base in table.__all__ or base in SAME):
        changed = getattr(table, base, None) or found(table, base)
        return lambda *args, **kwargs: tensor.copy_(changed(tensor.detach(), *args, **kwargs))
    raise unknown("Tensor", name, dir(type(tensor)))


def _resized(name: str, tensor: Any, sizes: tuple[Any, ...], operation: Any) -> Any:
    shape = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    if name == "expand":  # -1: as it is
        lead = len(shape) - len(tensor.shape)
        shape = tuple(tensor.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape))
    elif len(shape) == 1 and not isinstance(shape[0], int):
        raise TypeError(f"view() takes a shape. Received {shape[0]!r}. Convert with .astype().")
    return operation(tensor, shape)


_SIMPLE: dict[str, Callable[[Any], Any]] = {
    "numel": lambda x: lambda: int(x.size), "nelement": lambda x: lambda: int(x.size), "dim": lambda x: lambda: x.ndim,
    "ndimension": lambda x: lambda: x.ndim, "contiguous": lambda x: lambda: x, "t": lambda x: lambda: x.T,
    "mT": lambda x: x.swapaxes(-1, -2), "expand_as": lambda x: lambda other: x.broadcast_to(other.shape),
    "view_as": lambda x: lambda other: x.reshape(other.shape), "reshape_as": lambda x: lambda other: x.reshape(other.shape),
    "copy": lambda x: x.clone,
}  # fmt: skip
"""Methods and attributes of one line, by the names of PyTorch and NumPy."""
