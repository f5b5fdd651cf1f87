"""The inputs and outputs of a model's layers while it runs, and the gradients of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnatomy.errors import unknown_name
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor, grad

Array = np.ndarray[Any, Any]


@dataclass(eq=False)
class Layer:
    """The inputs and outputs of one layer, once for each of its calls, in order."""

    path: str
    module: Module
    inputs: list[tuple[Any, ...]] = field(default_factory=list)
    """The positional arguments of each call."""
    outputs: list[Any] = field(default_factory=list)
    """The result of each call: a Tensor, or whatever the layer returns."""

    @property
    def output(self) -> Any:
        """The result of the last call. Raises IndexError where the layer did not run."""
        return self.outputs[-1]

    @property
    def tensor(self) -> Tensor:
        """The last output as one Tensor: the first one, where the layer returns several."""
        return first_tensor(self.output)

    @property
    def gradient(self) -> Tensor | None:
        """After `backward()`: the loss's gradient of the last output; None before, or where none reached it."""
        return self.tensor.grad


@contextmanager
def record(model: Module, layers: Iterable[str] | None = None) -> Iterator[dict[str, Layer]]:
    """A context manager that fills a dictionary with the layers' inputs and outputs, by path ("" is the model itself).

    `layers`: the paths to watch, all if None. Outputs keep their gradients when `backward()` runs inside the block or after
    it. The model is not changed; what it computes is the same, bit for bit. Raises UserError for a path that is not there.
    """
    known = dict(model.named_modules())
    for path in layers or ():
        if path not in known:
            raise unknown_name("layer", path, known)
    seen = {path: Layer(path, module) for path, module in known.items() if layers is None or path in set(layers)}

    def watch(layer: Layer) -> Callable[[Module, tuple[Any, ...], Any], None]:
        def hook(module: Module, args: tuple[Any, ...], output: Any) -> None:
            layer.inputs.append(args)
            layer.outputs.append(output)
            for tensor in tensors(output):
                tensor.retain_grad()

        return hook

    handles = [layer.module.register_forward_hook(watch(layer)) for layer in seen.values()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """A block in which the model behaves as after training; each of its layers is left in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def activations(model: Module, *inputs: Any, layers: Iterable[str] | None = None) -> dict[str, Array]:
    """Return each layer's output for a batch, by path, in the order in which they finished; in eval mode, unrecorded.

    Of a layer that returns several Tensors the first. A layer that runs several times has an entry for each call, the second
    one named "PATH (call 2)". Layers that do not run have no entry. Raises UserError for a path that is not there.
    """
    order: list[str] = []
    with evaluating(model), no_grad(), record(model, layers) as seen:
        handles = [
            layer.module.register_forward_hook(lambda module, args, output, path=path: order.append(path))  # type: ignore[misc]
            for path, layer in seen.items()
        ]
        try:
            model(*[x if isinstance(x, Tensor) else Tensor(x) for x in inputs])
        finally:
            for handle in handles:
                handle.remove()
    found: dict[str, Array] = {}
    calls: dict[str, int] = {}
    for path in order:
        number = calls[path] = calls.get(path, 0) + 1
        output = seen[path].outputs[number - 1]
        if any(True for _ in tensors(output)):
            found[path if number == 1 else f"{path} (call {number})"] = np.asarray(first_tensor(output).data)
    return found


def gradients(model: Module, loss: Callable[..., Tensor], *batch: Any) -> dict[str, Array]:
    """d loss(model, *batch) / d parameter, by the parameter's path, in eval mode; `.grad` and the model are left alone.

    Parameters that the loss does not depend on have zeros.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    with evaluating(model):
        value = loss(model, *[x if isinstance(x, Tensor) else Tensor(x) for x in batch])
        found = grad(value, [p for _, p in named])
    return {
        name: np.zeros(p.shape, p.dtype) if g is None else np.asarray(g.data) for (name, p), g in zip(named, found, strict=True)
    }


def gradient_norms(gradients: Mapping[str, Array]) -> dict[str, float]:
    """The Euclidean norm of the gradients of each layer's parameters, by the layer's path; their sum in float64."""
    squares: dict[str, float] = {}
    for name, g in gradients.items():
        layer = name.rpartition(".")[0]
        squares[layer] = squares.get(layer, 0.0) + float(np.square(np.asarray(g, np.float64)).sum())
    return {layer: float(np.sqrt(total)) for layer, total in squares.items()}


def tensors(output: Any) -> Iterator[Tensor]:
    """The Tensors in what a layer returns."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, list | tuple):
        for part in output:
            yield from tensors(part)
    elif isinstance(output, Mapping):
        for part in output.values():
            yield from tensors(part)


def first_tensor(output: Any) -> Tensor:
    """The first Tensor in what a layer returns. Raises TypeError where there is none."""
    found = next(tensors(output), None)
    if found is None:
        raise TypeError(f"This layer returns no Tensor but {type(output).__name__}.")
    return found
