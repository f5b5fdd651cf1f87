"""Module: a thing with parameters. They are found by walking its attributes, and named by the path that leads to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from nnatomy import foreign
from nnatomy.backends import B
from nnatomy.backends.dtypes import is_floating
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import RemovableHandle
from nnatomy.tensor import Parameter, Tensor, sealed

if TYPE_CHECKING:
    from nnatomy.layers.summary import Summary

ForwardHook = Callable[["Module", tuple[Any, ...], Any], Any]
ForwardPreHook = Callable[["Module", tuple[Any, ...]], Any]


class Module:
    """The base of layers and models: assign Parameters, Tensors (buffers) and Modules to attributes, define `forward`.

    Lists, tuples and dictionaries of them count too. Attributes that start with "_" or are None do not.
    """

    training: bool = True
    _optional: ClassVar[tuple[str, ...]] = ()
    """Names that a saved state of PyTorch's layer has, and ours only in some cases."""
    _hooks: dict[int, ForwardHook] | None = None
    _pre_hooks: dict[int, ForwardPreHook] | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if args or kwargs:
            foreign.check_arguments(cls, args, kwargs)
        return super().__new__(cls)

    if not TYPE_CHECKING:  # where an attribute that is nowhere assigned is an error

        def __getattr__(self, name: str) -> Any:
            raise foreign.unknown_of_module(type(self).__name__, name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward().")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._pre_hooks:
            for pre_hook in list(self._pre_hooks.values()):
                changed = pre_hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        out = self.forward(*args, **kwargs) if kwargs else self.forward(*args)
        if self._hooks:
            for hook in list(self._hooks.values()):
                replacement = hook(self, args, out)
                out = out if replacement is None else replacement
        return out

    def register_forward_hook(self, hook: ForwardHook) -> RemovableHandle:
        """Call `hook(module, args, output)` after each forward; what it returns replaces the output. `.remove()` ends it."""
        self._hooks = self._hooks or {}
        key = max(self._hooks, default=0) + 1
        self._hooks[key] = hook
        return RemovableHandle(lambda: (self._hooks or {}).pop(key, None))

    def register_forward_pre_hook(self, hook: ForwardPreHook) -> RemovableHandle:
        """Call `hook(module, args)` before each forward; what it returns replaces the arguments. `.remove()` ends it."""
        self._pre_hooks = self._pre_hooks or {}
        key = max(self._pre_hooks, default=0) + 1
        self._pre_hooks[key] = hook
        return RemovableHandle(lambda: (self._pre_hooks or {}).pop(key, None))

    # Walking

    def _walk(self) -> Iterator[tuple[str, Any]]:
        """(path, value) for each Tensor and Module of this module's own attributes, lists and dictionaries opened."""
        for name, value in vars(self).items():
            if not name.startswith("_"):
                yield from _open(name, value)

    def named_modules(self, prefix: str = "", _seen: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with its path ("" for itself)."""
        seen = set() if _seen is None else _seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for path, value in self._walk():
            if isinstance(value, Module):
                yield from value.named_modules(f"{prefix}.{path}" if prefix else path, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in self.named_modules():
            for path, value in module._walk():
                if isinstance(value, Tensor):
                    yield (f"{prefix}.{path}" if prefix else path), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter), each once: one that is shared goes by its first name."""
        seen: set[int] = set()
        for path, value in self._tensors():
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield path, value

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (value for _, value in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """(path, Tensor) of what is saved but not learned."""
        return ((path, value) for path, value in self._tensors() if not isinstance(value, Parameter))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(path, module) of the modules that are this one's own, each once."""
        seen: set[int] = set()
        for path, value in self._walk():
            if isinstance(value, Module) and id(value) not in seen:
                seen.add(id(value))
                yield path, value

    def children(self) -> Iterator[Module]:
        """The modules that are this one's own, each once."""
        return (module for _, module in self.named_children())

    def buffers(self) -> Iterator[Tensor]:
        """All Tensors that are saved but not learned."""
        return (value for _, value in self.named_buffers())

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as "blocks.0.norm"; "" is this one."""
        found = dict(self.named_modules())
        if target not in found:
            raise unknown_name("submodule", target, [path for path in found if path])
        return found[target]

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as "blocks.0.norm.weight"."""
        found = dict(self.named_parameters())
        if target not in found:
            raise unknown_name("parameter", target, found)
        return found[target]

    def add_module(self, name: str, module: Module | None) -> None:
        """Assign a module to the attribute `name`, which is all that registers it."""
        setattr(self, name, module)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Assign a parameter to the attribute `name`, which is all that registers it."""
        setattr(self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None) -> None:
        """Assign a Tensor that is saved but not learned to the attribute `name`; one with a leading "_" is not saved either."""
        setattr(self, name, tensor)

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on every module."""
        for module in list(self.modules()):
            function(module)
        return self

    # State

    def train(self, training: bool = True) -> Self:
        """Choose the behavior during training (dropout, batch statistics) for this module and all below it."""
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> Self:
        """Choose the behavior after training."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or thaw all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients; with `set_to_none=False` those that there are become zeros."""
        for parameter in self.parameters():
            parameter.grad = None if set_to_none or parameter.grad is None else Tensor(B.zeros_like(parameter.grad.data))

    def astype(self, dtype: Any) -> Self:
        """Convert all floating-point parameters and buffers."""
        for _, value in self._tensors():
            if is_floating(value.data.dtype):
                value.data = sealed(value.data.astype(dtype))
                value.grad = None
        return self

    def to_backend(self) -> Self:
        """Move all parameters and buffers to the active backend and its device, where what was made before is not yet."""
        for _, value in self._tensors():
            value.data = sealed(B.array(value.data, dtype=value.dtype))
            value.grad = None
        return self

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """A copy of every parameter and buffer by its path; one that is shared is under each of its names."""
        return {path: np.array(value.data) for path, value in self._tensors()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Take the values of `state`; with `strict`, raise UserError naming what is missing, unexpected or misshapen.

        Values are arrays, Tensors, or PyTorch's tensors: `model.load_state_dict(torch_model.state_dict())`. Returns the names
        that were missing and unexpected, which only `strict=False` leaves. What is shared may be under any of its names.
        """
        if not isinstance(state, Mapping):
            raise UserError(
                f"A state is a dictionary of arrays by name. Received {type(state).__name__}. Give what state_dict() returned."
            )
        own = dict(self._tensors())
        optional = {f"{path}.{name}" if path else name for path, module in self.named_modules() for name in module._optional}
        state = {name: _values(value) for name, value in state.items() if name in own or name not in optional}
        found = {id(value) for name, value in own.items() if name in state}  # one of the names of what is shared is enough
        missing = [name for name, value in own.items() if id(value) not in found]
        unexpected = [name for name in state if name not in own]
        misshapen = [
            f"{name} is {tuple(state[name].shape)}, expected {value.shape}"
            for name, value in own.items()
            if name in state and tuple(state[name].shape) != value.shape
        ]
        problems = [
            f"{what}: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"
            for what, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
            if names and (strict or what == "misshapen")
        ]
        problems += [
            f"{name} {why}" for name, value in own.items() if name in state and (why := unusable(state[name], value.dtype))
        ]
        if problems:
            raise UserError(
                f"Weights fit {type(self).__name__} by name and shape. Received others: {'; '.join(problems)}. Load those of "
                "the same model."
            )
        for name, value in own.items():
            if name in state:
                given = state[name]
                value.data = sealed(B.array(given.data if isinstance(given, Tensor) else given, dtype=value.dtype))
        return IncompatibleKeys(missing, unexpected)

    def count_parameters(self) -> int:
        """Return the number of learned numbers."""
        return sum(parameter.size for parameter in self.parameters())

    def summary(self, *example: Any) -> Summary:
        """Layers, output shapes, parameters and multiply-adds for one example input; print it for a table."""
        from nnatomy.layers.summary import summary

        return summary(self, *example)

    def __repr__(self) -> str:
        lines = [
            f"  ({path}): " + repr(value).replace("\n", "\n  ") for path, value in self._walk() if isinstance(value, Module)
        ]
        inner = self.extra_repr()
        return f"{type(self).__name__}({inner}" + ("\n" + "\n".join(lines) + "\n)" if lines else ")")

    def extra_repr(self) -> str:
        """Return the text that distinguishes this layer from another of its class: by default its plain numbers."""
        plain = (int, float, bool, str, tuple, np.integer)
        skip = {"training"}
        return ", ".join(
            f"{k}={v}" for k, v in vars(self).items() if isinstance(v, plain) and k not in skip and not k.startswith("_")
            and not (isinstance(v, tuple) and any(isinstance(e, Module | Tensor) for e in v))
        )  # fmt: skip


class IncompatibleKeys(NamedTuple):
    """The names that `load_state_dict` did not find, and those that it did not need."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def _values(given: Any) -> Any:
    """Values with a type of NumPy's: those of other frameworks, such as PyTorch's tensors on a CPU, as arrays."""
    return given if hasattr(getattr(given, "dtype", None), "kind") else np.asarray(given)


def unusable(given: Any, dtype: Any) -> str:
    """Return why values cannot become values of `dtype` without a loss that was not requested; "" where they can."""
    kind = given.dtype.kind
    if kind == "c" or kind in "OUS" or (kind == "b" and dtype.kind != "b"):
        return f"holds {given.dtype}, expected {dtype}"
    if kind == "f" and dtype.kind == "f" and dtype.itemsize < given.dtype.itemsize:
        values = np.abs(np.asarray(given))
        if (np.isfinite(values) & (values > np.finfo(dtype).max)).any():
            return f"holds values beyond {np.finfo(dtype).max:.3g}, the largest of {dtype}"
    return ""


class Listed(Module):
    """Members in an order, as attributes of the names in `_names`: "0", "1", ... unless others are given."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def _member(self, value: Any) -> Any:
        """A value as it is kept. Raises UserError for one of the wrong type."""
        raise NotImplementedError

    def _fill(self, members: Iterable[tuple[str | None, Any]]) -> None:
        """Put (name, member) in the places of all before; without a name, the place is the name."""
        kept = [(str(i) if name is None else name, self._member(value)) for i, (name, value) in enumerate(members)]
        for name in self._names:
            delattr(self, name)
        self._names = [name for name, _ in kept]
        for name, value in kept:
            setattr(self, name, value)

    def _pairs(self) -> list[tuple[str | None, Any]]:
        """The members with the names that are not their place's number."""
        return [(None if name.isdigit() else name, getattr(self, name)) for name in self._names]

    def _name(self, i: int) -> str:
        n = len(self._names)
        if not -n <= i < n:
            raise IndexError(f"{type(self).__name__} has {n} members. Received index {i}.")
        return self._names[i]

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, name) for name in self._names])

    def __getitem__(self, i: Any) -> Any:
        if not isinstance(i, slice):
            return getattr(self, self._name(i.__index__()))
        part = type(self).__new__(type(self))
        Listed.__init__(part)
        part._fill((None if name.isdigit() else name, getattr(self, name)) for name in self._names[i])
        return part

    def __setitem__(self, i: int, value: Any) -> None:
        setattr(self, self._name(i.__index__()), self._member(value))

    def __delitem__(self, i: int | slice) -> None:
        pairs = self._pairs()
        del pairs[i]
        self._fill(pairs)

    def append(self, value: Any) -> Self:
        """Add a member at the end."""
        return self.extend([value])

    def extend(self, values: Iterable[Any]) -> Self:
        """Add several members at the end."""
        self._fill([*self._pairs(), *((None, value) for value in values)])
        return self

    def insert(self, i: int, value: Any) -> Self:
        """Add a member before place i."""
        pairs = self._pairs()
        pairs.insert(i, (None, value))
        self._fill(pairs)
        return self


class Sequential(Listed):
    """Modules one after the other: y = m_n(... m_1(x)). Given as arguments, or as a dictionary with their names."""

    def __init__(self, *args: Callable[..., Any] | Mapping[str, Any]) -> None:
        super().__init__()
        given = args[0] if len(args) == 1 and isinstance(args[0], Mapping) else None
        self._fill(given.items() if given is not None else ((None, module) for module in args))

    def _member(self, value: Any) -> Any:
        if not callable(value):
            raise UserError(f"Sequential takes modules or functions. Received {type(value).__name__}. Give nn.Linear(...), ...")
        return value

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input


def _open(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor | Module):
        yield path, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _open(f"{path}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _open(f"{path}.{key}", item)
