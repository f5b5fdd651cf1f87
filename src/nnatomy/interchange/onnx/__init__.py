"""Models as ONNX, emitted from our own trace: no other framework is needed, and the batch may have any size.

`to_onnx` makes a model, `check` holds one against the function that it was made of. Which functions can be written, and how,
is the table in functions.py.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nnatomy import backends
from nnatomy.errors import UserError
from nnatomy.interchange.onnx.batch import Program, flat, program
from nnatomy.interchange.onnx.functions import FUNCTIONS
from nnatomy.interchange.onnx.graph import Graph
from nnatomy.interchange.onnx.tidy import reads, tidied
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor

__all__ = ["OPSET", "check", "run", "session", "to_onnx"]

Array = np.ndarray[Any, Any]
OPSET, IR_VERSION = 20, 9
TOLERANCE = 1e-4


def to_onnx(
    model: Module,
    *examples: Array,
    function: Callable[..., Any] | None = None,
    axes: Sequence[int | None] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Any:
    """The onnx.ModelProto (opset 20) of a model in evaluation mode, for batches of any size.

    `examples`: one array for each input, batches of one example or more. `function(*tensors)` is what is exported: `model` if
    None, else a function that calls it. `axes`: where the batch is in each input, None for an input without; the first axis
    if not given. `inputs`, `outputs`: names; the arguments' and "output" if not given. Parameters become initializers named by
    their paths. Raises UserError where the model calls what ONNX cannot say.
    """
    _installed("onnx")
    state = _state(model)
    training = model.training
    model.eval()
    try:
        with backends.backend("numpy"):
            found = program(function or model, examples, axes or (0,) * len(examples), state)
    finally:
        model.train(training)
    given = list(inputs or _argument_names(function or model.forward, len(examples)))
    answers = list(outputs or (["output"] if len(found.outputs) == 1 else [f"output_{i}" for i in range(len(found.outputs))]))
    return _model(found, given, answers, type(model).__name__, metadata or {})


def _state(model: Module) -> dict[str, Tensor]:
    """Parameters and buffers by path, each once."""
    found: dict[str, Tensor] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not any(tensor is other for other in found.values()):
            found[name] = tensor
    return found


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    names = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    return names[:count] if len(names) >= count else [f"input_{i}" for i in range(count)]


def _model(found: Program, inputs: list[str], outputs: list[str], title: str, metadata: Mapping[str, str]) -> Any:
    from onnx import helper

    from nnatomy import __version__

    g = Graph()
    for name in (*inputs, *outputs, *found.parameters):
        g.reserve(name)
    for name, value in (*found.parameters.items(), *zip(inputs, found.inputs)):
        value.name = name
    for value in found.inputs:
        g.batch_is(value)
    for node in found.nodes:
        emit = FUNCTIONS.get(node.name)
        if emit is None:
            raise UserError(
                f"A model is exported function by function. Received {node.name}(), which has no form in ONNX here. "
                "Keep it out of the model, or export to safetensors."
            )
        names = emit(g, node.outs[0], *node.args, **node.kwargs)
        for value, name in zip(node.outs, (names,) if isinstance(names, str) else names):
            value.name = name
    results = [g.name(leaf) for leaf in found.outputs]
    g.nodes += [helper.make_node("Identity", [name], [out], name=f"Identity/{out}") for name, out in zip(results, outputs)]
    known = g.initializers | found.arrays
    ranks = {v.name: v.ndim for node in found.nodes for v in node.outs} | {v.name: v.ndim for v in found.inputs}
    nodes = tidied(g.nodes, known, ranks, outputs)
    read = set(reads(nodes))
    graph = helper.make_graph(
        nodes, title, [_described(n, v.shape, v.dtype) for n, v in zip(inputs, found.inputs)],
        [_described(n, *_shape_and_dtype(v)) for n, v in zip(outputs, found.outputs)],
        [_initializer(name, known[name]) for name in known if name in read],
    )  # fmt: skip
    made = helper.make_model(
        graph, producer_name="nnatomy", producer_version=__version__, ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )  # fmt: skip
    helper.set_model_props(made, dict(metadata))
    return made


def _described(name: str, shape: Sequence[Any], dtype: Any) -> Any:
    from onnx import TensorProto, helper

    kind = TensorProto.STRING if np.dtype(dtype).kind == "U" else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, [size if isinstance(size, int) else str(size) for size in shape])


def _shape_and_dtype(leaf: Any) -> tuple[Sequence[Any], Any]:
    return (leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else ((), np.asarray(leaf).dtype)


def _initializer(name: str, array: Array) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(array.astype(object) if array.dtype.kind == "U" else np.array(array, order="C"), name)


# Checking and running


def session(model: Any) -> Any:
    """An ONNX Runtime session on the CPU for a ModelProto or the path of a file."""
    runtime = _installed("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    source = model if isinstance(model, str | bytes) else model.SerializeToString() if hasattr(model, "graph") else str(model)
    return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def run(opened: Any, *arrays: Array) -> list[Array]:
    """Return a session's outputs for the inputs, in the order in which it names them."""
    feed = {given.name: array for given, array in zip(opened.get_inputs(), arrays)}
    return [np.asarray(found) for found in opened.run(None, feed)]


def check(made: Any, expected: Callable[..., Any], *batches: tuple[Array, ...], tolerance: float = TOLERANCE) -> float:
    """Hold an ONNX model against the function it was made of, on batches; return the largest difference found.

    The checker of ONNX goes through it with full checks; then ONNX Runtime computes each batch, and |a - b| must be at most
    `tolerance` (1 + |b|) everywhere. Raises UserError where one of both does not hold.
    """
    checker = importlib.import_module(f"{_installed('onnx').__name__}.checker")
    try:
        checker.check_model(made, full_check=True)
        opened = session(made)
    except UserError:
        raise
    except Exception as problem:  # both libraries raise their own types
        raise _failed(f"it is refused: {_first_line(problem)}") from problem
    worst = 0.0
    for batch in batches:
        wanted = [np.asarray(leaf.data if isinstance(leaf, Tensor) else leaf) for leaf in flat(expected(*batch))]
        try:
            got = run(opened, *batch)
        except Exception as problem:
            raise _failed(f"a batch of {len(batch[0])} cannot be run: {_first_line(problem)}") from problem
        for a, b in zip(got, wanted, strict=True):
            worst = max(worst, _difference(a, b))
    if not worst <= tolerance:
        raise _failed(f"ONNX Runtime differs from this library by {worst:.2g}")
    return worst


def _difference(a: Array, b: Array) -> float:
    """The largest |a - b| / (1 + |b|); infinite where shapes, types or the places of NaN and infinities differ."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if b.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else float("inf")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    with np.errstate(invalid="ignore"):
        apart = np.abs(a[~same].astype(np.float64) - b[~same]) / (1 + np.abs(b[~same].astype(np.float64)))
    return float(np.where(np.isnan(apart), np.inf, apart).max())


def _failed(what: str) -> UserError:
    return UserError(
        f"An exported model must give the original's outputs. Received one where {what}, and nothing was written. "
        "Please report it."
    )


def _first_line(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0][:300]


def _installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(
            f"ONNX models need the package {name}. Received an environment without it. Run pip install 'nnatomy[onnx]'."
        ) from None

