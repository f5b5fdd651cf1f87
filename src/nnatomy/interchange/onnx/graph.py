"""A graph of ONNX nodes as it grows: names, constants, and sizes that are known only when the model runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.interchange.onnx.batch import Follows, Repeated, Shape, Size, Value

Array = np.ndarray[Any, Any]
Operand = Value | Array | Repeated | Follows | float
"""An argument of a function: a computed value, a constant, or a number."""


class Graph:
    """Nodes in order and the constants they use. What is emitted twice is kept once."""

    def __init__(self, parent: Graph | None = None) -> None:
        self.nodes: list[Any] = []
        self.parent = parent
        self.initializers: dict[str, Array] = {} if parent is None else parent.initializers
        self._names: Counter[str] = Counter() if parent is None else parent._names
        self._taken: set[str] = set() if parent is None else parent._taken
        self._known: dict[Any, tuple[str, ...]] = {}
        self._batch: tuple[str, int] | None = None if parent is None else parent._batch

    def batch_is(self, value: Value) -> None:
        """Note an input whose shape says how many examples there are."""
        for axis, size in enumerate(value.shape):
            if self._batch is None and size == Follows(1, 0):
                self._batch = value.name, axis

    def reserve(self, name: str) -> None:
        """Keep a name for an input, an output or a parameter."""
        self._taken.add(name)

    def fresh(self, word: str) -> str:
        """A name that nothing has yet."""
        self._names[word] += 1
        name = f"{word}_{self._names[word]}"
        return name if name not in self._taken else self.fresh(word)

    def nodes_of(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> tuple[str, ...]:
        """The names of what a node gives; an input "" is left out."""
        from onnx import helper

        key = (op, inputs, outputs, repr(sorted(attributes.items())))
        if key not in self._known or "body" in attributes:
            names = tuple(self.fresh(op.lower()) for _ in range(outputs))
            self.nodes.append(helper.make_node(op, list(inputs), list(names), name=f"{op}/{names[0]}", **attributes))
            self._known[key] = names
        return self._known[key]

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The name of the one thing that a node gives."""
        return self.nodes_of(op, *inputs, **attributes)[0]

    def constant(self, array: Any, dtype: Any = None) -> str:
        """The name of a constant."""
        array = np.asarray(array, dtype)
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        owner = self
        while owner.parent is not None:
            owner = owner.parent
        if key not in owner._known:
            name = owner.fresh("constant")
            owner.initializers[name] = array
            owner._known[key] = (name,)
        return owner._known[key][0]

    def ints(self, *numbers: int) -> str:
        """A constant list of whole numbers, as axes, starts and ends are given."""
        return self.constant(np.array(numbers, np.int64))

    def sizes(self, shape: Sequence[Size]) -> str:
        """A shape as ONNX takes it, computed where it follows the batch."""
        if not any(isinstance(size, Follows) for size in shape):
            return self.ints(*(size for size in shape if isinstance(size, int)))
        parts = [self._size(size) if isinstance(size, Follows) else self.ints(size) for size in shape]
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def _size(self, size: Follows) -> str:
        if self._batch is None:
            raise UserError(
                "An exported model with batches needs an input that has the batch among its axes. Received none. Give it one."
            )
        name, axis = self._batch
        found = self.node("Shape", name, start=axis, end=axis + 1)
        if size.times != 1:
            found = self.node("Mul", found, self.ints(size.times))
        return found if size.plus == 0 else self.node("Add", found, self.ints(size.plus))

    def operand(self, given: Operand, dtype: Any) -> str:
        """The name of an argument in a dtype."""
        dtype = np.dtype(dtype)
        if isinstance(given, Value):
            if not given.name:
                raise UserError(
                    "Export to ONNX has only the first result of such a function. Received a model that uses another. "
                    "Export to safetensors instead."
                )
            return given.name if given.dtype == dtype or dtype.kind == "U" else self.cast(given.name, dtype)
        if isinstance(given, Repeated):
            return self._repeated(given, dtype)
        if isinstance(given, Follows):
            scalar = self.node("Squeeze", self._size(given), self.ints(0))
            return scalar if dtype == np.int64 else self.cast(scalar, dtype)
        return self.constant(given, None if dtype.kind == "U" else dtype)

    def cast(self, name: str, dtype: Any) -> str:
        from onnx import helper

        return self.node("Cast", name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def _repeated(self, given: Repeated, dtype: Any) -> str:
        if given.axis is None:
            return self.node("Expand", self.constant(given.base, dtype), self.sizes(given.shape))
        size = given.shape[given.axis]
        assert isinstance(size, Follows)
        zero, one = self.constant(0, np.int64), self.constant(1, np.int64)
        places = self.node("Range", zero, self.node("Squeeze", self._size(size), self.ints(0)), one)
        places = self.node("Unsqueeze", places, self.ints(*(i for i in range(given.ndim) if i != given.axis)))
        counted = self.node("Mul", places, self.constant(given.step, np.int64)) if given.step != 1 else places
        return self.cast(self.node("Add", counted, self.constant(given.base, np.int64)), dtype)

    def name(self, value: Any) -> str:
        """The name of an argument as it is."""
        return self.operand(value, value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype)

    def reshaped(self, name: str, shape: Shape) -> str:
        """The same elements in another shape; one size that follows the batch is worked out by ONNX."""
        follows = [i for i, size in enumerate(shape) if isinstance(size, Follows)]
        if len(follows) == 1 and 0 not in shape:
            return self.node("Reshape", name, self.ints(*(-1 if isinstance(s, Follows) else s for s in shape)))
        return self.node("Reshape", name, self.sizes(shape), **({"allowzero": 1} if 0 in shape else {}))
