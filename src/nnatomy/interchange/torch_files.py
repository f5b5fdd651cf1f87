"""PyTorch's zip files: our own small interpreter reads the pickle inside; it supports state dicts only.

Python's unpickler calls anything that a file names. This one imports and calls nothing: it reads the opcodes and the few
names of which a state dict consists, and refuses every other by its name.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.interchange.archives import Archive
from nnatomy.interchange.refusal import refusal
from nnatomy.interchange.scalars import TORCH, widened

Array = np.ndarray[Any, Any]

RESAVE = "Save it again with torch.save(model.state_dict(), path)"
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
KNOWN = frozenset(
    {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.Size"}
    | {f"torch.{name}" for name in (*TORCH, *DTYPES)}
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS_AND_TEXT = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE")
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
DEEPEST = 32
"""The largest depth of nested dictionaries."""


@dataclass(frozen=True)
class Name:
    """Something of a Python module that a pickle refers to. It is only ever compared, never looked up."""

    path: str


def read_state_dict(archive: Archive) -> dict[str, Array]:
    """The tensors of a file that torch.save wrote, by their keys; keys of nested dictionaries are joined with dots.

    Strides are kept, and tensors that share a storage share memory here.
    """
    pickles = [name for name in archive.names if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) > 1:
        raise refusal(archive.path, "holds two pickles", RESAVE)
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in archive.names:
        raise refusal(archive.path, "is a TorchScript program, not a state dict", RESAVE)
    found = dict(_tensors(_Reader(archive, root).value(archive.read(pickles[0])), archive))
    if not found:
        raise refusal(archive.path, "holds no tensors", RESAVE)
    return found


def _tensors(value: Any, archive: Archive) -> Iterator[tuple[str, Array]]:
    """All arrays with their names; a container that appears twice, or in itself, counts where it is met first."""
    todo, seen = [("", value, 0)], set()
    while todo:
        name, value, depth = todo.pop()
        if isinstance(value, np.ndarray):
            yield name or "tensor", value
        elif isinstance(value, dict | list) and id(value) not in seen:
            if depth > DEEPEST:
                raise refusal(archive.path, f"nests dictionaries more than {DEEPEST} deep", RESAVE)
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            todo += [(f"{name}.{key}" if name else str(key), item, depth + 1) for key, item in items][::-1]


class _Reader:
    """A stack machine for the pickles of state dicts."""

    def __init__(self, archive: Archive, root: str) -> None:
        self.archive, self.root = archive, root
        order = archive.read(f"{root}byteorder") if f"{root}byteorder" in archive.names else b"little"
        self.swapped = order.strip() == b"big"
        self.storages: dict[tuple[str, str], Array] = {}

    def value(self, pickle: bytes) -> Any:
        """Return the content of the pickle: dictionaries, lists and tuples of arrays, numbers and text."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        memo: dict[int, Any] = {}
        try:
            for opcode, argument, _ in pickletools.genops(pickle):
                if opcode.name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
                    memo[len(memo) if argument is None else int(argument)] = self.stack[-1]
                elif opcode.name in ("BINGET", "LONG_BINGET") and argument is not None:
                    self.stack.append(memo[argument])
                elif opcode.name == "STOP":
                    return self.stack.pop()
                else:
                    self._take(opcode.name, argument)
        except UserError:
            raise
        except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError):
            pass  # it ends, or takes from the stack, where no pickle of a state dict does
        raise refusal(self.archive.path, "has a damaged pickle inside", RESAVE)

    def _take(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in NUMBERS_AND_TEXT:
            stack.append(argument)
        elif opcode in CONSTANTS:
            stack.append(CONSTANTS[opcode])
        elif opcode in TUPLES:
            stack.append(tuple(self._pop(TUPLES[opcode])))
        elif opcode == "MARK":
            self.marks.append(len(stack))
        elif opcode == "TUPLE":
            stack.append(tuple(self._to_mark()))
        elif opcode in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if opcode == "EMPTY_DICT" else [])
        elif opcode in ("APPEND", "APPENDS"):
            items = self._pop(1) if opcode == "APPEND" else self._to_mark()
            self._top(list).extend(items)
        elif opcode in ("SETITEM", "SETITEMS"):
            items = self._pop(2) if opcode == "SETITEM" else self._to_mark()
            if len(items) % 2 or not all(isinstance(key, str | int) for key in items[::2]):
                raise ValueError
            self._top(dict).update(zip(items[::2], items[1::2], strict=True))
        elif opcode == "GLOBAL":
            stack.append(self._name(argument.replace(" ", ".", 1)))
        elif opcode == "STACK_GLOBAL":
            stack.append(self._name(".".join(self._pop(2))))
        elif opcode == "BINPERSID":
            stack.append(self._storage(*self._pop(1)))
        elif opcode == "REDUCE":
            stack.append(self._made(*self._pop(2)))
        elif opcode == "BUILD":  # attributes of a dictionary, such as a state dict's versions: nothing that is needed
            (state,) = self._pop(1)
            if not (isinstance(state, dict) and isinstance(stack[-1], dict)):
                raise ValueError
        elif opcode not in ("PROTO", "FRAME"):
            raise refusal(self.archive.path, f"needs {opcode}, which no state dict needs", RESAVE)

    def _pop(self, n: int) -> list[Any]:
        """The last n values, none of them below the last mark."""
        if len(self.stack) - n < (self.marks[-1] if self.marks else 0):
            raise IndexError
        taken = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return taken

    def _to_mark(self) -> list[Any]:
        """All values above the last mark, which goes too."""
        taken = self._pop(len(self.stack) - self.marks[-1])
        self.marks.pop()
        return taken

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise ValueError
        return self.stack[-1]

    def _name(self, path: str) -> Name:
        if path not in KNOWN:
            raise refusal(self.archive.path, f"wants to run {path[:60]!r}, which no state dict needs", RESAVE)
        return Name(path)

    def _made(self, function: Any, arguments: Any) -> Any:
        """Return the result of calling a known name with these arguments."""
        path = function.path
        if path == "collections.OrderedDict" and arguments == ():
            return {}
        if path == "torch.Size" and len(arguments) == 1:
            return tuple(arguments[0])
        if path == "torch._utils._rebuild_parameter" and isinstance(arguments[0], np.ndarray):
            return arguments[0]
        if path == "torch._utils._rebuild_tensor_v2" and isinstance(arguments[0], np.ndarray):
            return self._tensor(*arguments[:4])
        raise ValueError

    def _storage(self, identity: Any) -> Array:
        """("storage", type, key, device, count) -> its numbers; read once, however many tensors look into it."""
        word, kind, key, _, count = identity
        name = kind.path.removeprefix("torch.")
        if word != "storage" or name not in TORCH or type(count) is not int or not isinstance(key, str):
            raise ValueError
        if (name, key) not in self.storages:
            number, member = np.dtype(TORCH[name].stored), f"{self.root}data/{key}"
            if self.archive.size_of(member) != count * number.itemsize:
                raise refusal(self.archive.path, f"claims a wrong size for its storage {key[:20]!r}", "Download it again")
            stored = number.newbyteorder(">") if self.swapped else number
            numbers = np.frombuffer(self.archive.read(member), stored).astype(number, copy=False)
            self.storages[name, key] = widened(numbers, TORCH[name])
        return self.storages[name, key]

    def _tensor(self, storage: Array, offset: Any, shape: Any, strides: Any) -> Array:
        """A view: element (i, j, ...) is storage[offset + i * strides[0] + j * strides[1] + ...]."""
        numbers = (offset, *shape, *strides)
        if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError
        if 0 in shape and max(numbers) <= self.archive.size:
            return np.zeros(shape, storage.dtype)
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if last >= len(storage) or math.prod(shape) > self.archive.size or 0 in shape:
            raise refusal(self.archive.path, "has a tensor that reaches beyond its storage", "Download it again")
        steps = [stride * storage.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
