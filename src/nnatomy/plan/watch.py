"""Notices which Tensors, modules, optimizers and generators a function touches, and puts all of them back as they were.

While a Watch is entered, the engine's classes report each first access to it. So nothing needs to be found by searching a
function's closure, and nothing that was reached in a hidden way keeps a stand-in. This package is below the engine, so it
finds the engine's classes among the loaded modules: a class that is not loaded has no objects.
"""

from __future__ import annotations

import random
import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.plan.trace import Unplannable

LOCK = threading.RLock()
"""Held while a function is traced: one at a time."""
_MISSING: Any = object()


def engine(module: str, name: str) -> Any:
    """A class of the engine; where its module is not loaded one without objects."""
    return getattr(sys.modules.get(f"nnatomy.{module}"), name, _Nothing)


class _Nothing:
    """The placeholder of a class that is not loaded."""


@dataclass
class Seen:
    """A Tensor from before the function started, as it was then, and what became of it first."""

    tensor: Any
    data: Any
    grad: Any
    requires_grad: bool
    hooks: list[Any] | None
    read: bool = False  # its array, before one was written
    written: bool = False
    grad_read: bool = False
    grad_written: bool = False


def same(now: dict[Any, Any], before: dict[Any, Any]) -> bool:
    """Return True if two dictionaries hold the same objects."""
    return len(now) == len(before) and all(now.get(key, _MISSING) is value for key, value in before.items())


class Kept:
    """The attributes of a module, an optimizer or a generator as they were, with an optimizer's dictionaries opened."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.before = dict(object.__getattribute__(owner, "__dict__"))
        self.inner: list[tuple[Any, Any]] = []
        if isinstance(owner, engine("optim.optimizer", "Optimizer")):
            groups, state = self.before["param_groups"], self.before["state"]
            parts = [*groups, state, *state.values(), self.before["steps"]]
            self.inner = [(part, dict(part)) for part in parts] + [(groups, list(groups))]

    def restore(self) -> None:
        now = object.__getattribute__(self.owner, "__dict__")
        if not same(now, self.before):
            now.clear()
            now.update(self.before)
        for part, before in self.inner:
            if isinstance(part, dict):
                part.clear()
                part.update(before)
            else:
                part[:] = before


class Watch:
    """A block in which touched things are noticed; after it all of them are as they were."""

    active: Watch | None = None

    def __init__(self) -> None:
        self.tensors: dict[int, Seen] = {}
        self.objects: dict[int, Kept] = {}
        self._inside: set[int] = set()  # what the function has made itself
        self._thread = threading.get_ident()
        self._replaced: list[tuple[type, str, Any]] = []
        tensor = engine("tensor", "Tensor")
        self.data, self.grad, self.requires_grad = (vars(tensor)[name] for name in ("data", "grad", "requires_grad"))
        self._random: Any = None

    def __enter__(self) -> Watch:
        LOCK.acquire()
        Watch.active = self
        tensor = engine("tensor", "Tensor")
        for name in ("data", "grad", "requires_grad"):
            self._replace(tensor, name, _Slot(getattr(self, name), self, name))
        for module, name in (("layers.module", "Module"), ("optim.optimizer", "Optimizer"), ("random", "Generator")):
            kind = engine(module, name)
            self._replace(kind, "__getattribute__", self._getter())
            self._replace(kind, "__setattr__", self._setter())
        self._random = _others_randomness()
        return self

    def __exit__(self, *error: Any) -> None:
        for kind, name, before in reversed(self._replaced):
            if before is _MISSING:
                delattr(kind, name)
            else:
                setattr(kind, name, before)
        self._replaced.clear()
        Watch.active = None
        self._restore()
        np.random.set_state(self._random[0])
        random.setstate(self._random[1])
        LOCK.release()

    def refuse_randomness(self) -> None:
        """Raise Unplannable where the function has drawn numbers from NumPy's or Python's own generators."""
        if not _alike(_others_randomness(), self._random):
            raise Unplannable("it draws random numbers that are not nnatomy's, which a replay would repeat; use nn.Generator")

    def note(self, tensor: Any) -> Seen | None:
        """Return what is known of a Tensor; None for one that the function has made."""
        key = id(tensor)
        if key in self._inside or threading.get_ident() != self._thread:
            return None
        if key not in self.tensors:
            hooks = tensor.hooks
            self.tensors[key] = Seen(
                tensor, self.data.__get__(tensor), self.grad.__get__(tensor), self.requires_grad.__get__(tensor),
                None if hooks is None else list(hooks),
            )  # fmt: skip
        return self.tensors[key]

    def made(self, tensor: Any) -> None:
        self._inside.add(id(tensor))

    def keep(self, owner: Any) -> None:
        """Record an object's attributes before the function changes any of them."""
        key = id(owner)
        if key in self.objects or key in self._inside or threading.get_ident() != self._thread:
            return
        optimizer = engine("optim.optimizer", "Optimizer")
        if isinstance(owner, optimizer) and type(owner).state_tree is not optimizer.state_tree:
            raise Unplannable(f"{type(owner).__name__} decides its next step by the values of losses")
        self.objects[key] = Kept(owner)

    def _replace(self, kind: type, name: str, value: Any) -> None:
        self._replaced.append((kind, name, vars(kind).get(name, _MISSING)))
        setattr(kind, name, value)

    def _getter(self) -> Any:
        def getter(owner: Any, name: str) -> Any:
            if name[:2] != "__":
                self.keep(owner)
            return object.__getattribute__(owner, name)

        return getter

    def _setter(self) -> Any:
        def setter(owner: Any, name: str, value: Any) -> None:
            if not object.__getattribute__(owner, "__dict__") and name != "training":  # its constructor runs
                self._inside.add(id(owner))
            else:
                self.keep(owner)
            object.__setattr__(owner, name, value)

        return setter

    def _restore(self) -> None:
        for seen in self.tensors.values():
            t = seen.tensor
            t.data, t.grad, t.requires_grad = seen.data, seen.grad, seen.requires_grad
            if seen.hooks is None:
                t.hooks = None
            elif t.hooks != seen.hooks:
                t.hooks[:] = seen.hooks
        for kept in self.objects.values():
            kept.restore()


class _Slot:
    """Replaces `data`, `grad` or `requires_grad` of Tensors while a Watch is entered."""

    def __init__(self, slot: Any, watch: Watch, name: str) -> None:
        self.slot, self.watch, self.name = slot, watch, name

    def __get__(self, tensor: Any, owner: Any = None) -> Any:
        if tensor is None:
            return self
        value = self.slot.__get__(tensor)
        seen = self.watch.note(tensor)
        if seen is not None:
            if self.name == "data" and not seen.written:
                if tensor.node is not None and seen.requires_grad:
                    raise Unplannable("it continues the graph of a result from outside of it; give it .detach()")
                seen.read = True
            elif self.name == "grad" and not seen.grad_written:
                seen.grad_read = True
        return value

    def __set__(self, tensor: Any, value: Any) -> None:
        if self.name == "data":
            try:
                self.slot.__get__(tensor)
            except AttributeError:  # its constructor runs
                self.watch.made(tensor)
        seen = self.watch.note(tensor)
        if seen is not None:
            seen.written = seen.written or self.name == "data"
            seen.grad_written = seen.grad_written or self.name == "grad"
        self.slot.__set__(tensor, value)


def _others_randomness() -> tuple[Any, Any]:
    return np.random.get_state(legacy=True), random.getstate()


def _alike(a: tuple[Any, Any], b: tuple[Any, Any]) -> bool:
    return np.array_equal(a[0][1], b[0][1]) and a[0][2:] == b[0][2:] and a[1] == b[1]
