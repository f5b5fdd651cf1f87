"""What a function can reach: the variables that it closes over, the globals that it names, and what hangs on these.

They tell two things. Whether the function changed something that is no state (a list that grew, an attribute, a counter): then
it cannot be replayed. And, before a replay, whether something that a trace took for granted is still so.
"""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nnatomy.plan.trace import Unplannable
from nnatomy.plan.watch import Watch, engine

MOST = 5000
"""So many things are looked at, the nearest first."""
LONG = 100
"""Of a longer list or dictionary only the length is compared before a replay."""
_MISSING: Any = object()
Read = Callable[[], dict[Any, Any]]
Write = Callable[[dict[Any, Any]], None]
_PLAIN = (int, float, str, bool, complex, bytes, type(None))


class Place:
    """Something that holds values by key: a variable, some globals, a list, a dictionary, an object's attributes."""

    def __init__(self, what: str, read: Read, write: Write, module: Any = None) -> None:
        self.what, self.read, self.write, self.module = what, read, write, module
        self.before = read()


class Surroundings:
    """All that hangs on a function, as it is now."""

    def __init__(self, function: Any) -> None:
        self.places: list[Place] = []
        self._random: list[tuple[Any, Any]] = []
        self._known: dict[int, Any] = {}
        self._near: deque[Any] = deque([function])
        while self._near and len(self._known) < MOST:
            thing = self._near.popleft()
            if id(thing) not in self._known and not isinstance(thing, _PLAIN):
                self._known[id(thing)] = thing
                self._look(thing)

    # Looking

    def _look(self, thing: Any) -> None:
        opaque = engine("tensor", "Tensor"), engine("optim.optimizer", "Optimizer"), engine("random", "Generator")
        if isinstance(thing, types.FunctionType):
            self._function(thing)
        elif isinstance(thing, types.MethodType):
            self._near.extend((thing.__self__, thing.__func__))
        elif isinstance(thing, functools.partial):
            self._near.extend((thing.func, *thing.args, *thing.keywords.values()))
        elif isinstance(thing, dict):
            self._place("a dictionary", lambda: dict(thing), lambda before: _refill(thing, before))
        elif isinstance(thing, list | deque):
            self._place(
                f"a {type(thing).__name__}", lambda: dict(enumerate(thing)),
                lambda before: (thing.clear(), thing.extend(before.values()))[1],
            )  # fmt: skip
        elif isinstance(thing, set):
            self._place("a set", lambda: {id(v): v for v in thing}, lambda before: (thing.clear(), thing.update(before.values()))[1])
        elif isinstance(thing, tuple):
            self._near.extend(thing)
        elif isinstance(thing, np.random.Generator | np.random.RandomState):
            held = thing.bit_generator if isinstance(thing, np.random.Generator) else thing._bit_generator  # type: ignore[attr-defined]
            self._random.append((held, held.state))
        elif isinstance(thing, opaque) or isinstance(thing, type | types.ModuleType | np.ndarray):
            return
        elif hasattr(thing, "__wrapped__"):
            self._near.append(thing.__wrapped__)
        elif isinstance(getattr(thing, "__dict__", None), dict) and not _of_a_library(type(thing), but="nnatomy"):
            self._object(thing)

    def _function(self, function: types.FunctionType) -> None:
        for cell, name in zip(function.__closure__ or (), function.__code__.co_freevars):
            self._variable(cell, name)
        self._near.extend(function.__defaults__ or ())
        self._near.extend((function.__kwdefaults__ or {}).values())
        if _of_a_library(function):
            return
        named = set(_names(function.__code__))
        space = function.__globals__
        found = {name for name in named if name in space}
        self._names(space, found)
        for name in found:
            module = space[name]
            if isinstance(module, types.ModuleType) and not _library(module.__name__.partition(".")[0]):
                self._names(vars(module), {n for n in named if n in vars(module)})

    def _variable(self, cell: Any, name: str) -> None:
        def read() -> dict[Any, Any]:
            try:
                return {name: cell.cell_contents}
            except ValueError:  # it has no value yet
                return {}

        def write(before: dict[Any, Any]) -> None:
            if name in before:
                cell.cell_contents = before[name]
            else:
                del cell.cell_contents

        self._refuse_iterators(read())
        self._place(f"the variable {name!r}", read, write)

    def _names(self, space: dict[str, Any], names: set[str]) -> None:
        self._refuse_iterators({name: space[name] for name in names})
        self._place(
            "a global variable", lambda: {name: space[name] for name in names if name in space}, lambda before: space.update(before)
        )

    def _object(self, thing: Any) -> None:
        module = engine("layers.module", "Module")
        attributes = vars(thing)

        def read() -> dict[Any, Any]:
            now = dict(attributes)
            if isinstance(thing, module):
                now.setdefault("training", type(thing).training)
            return now

        what = f"of {type(thing).__name__}"
        self._place(what, read, lambda before: _refill(attributes, before), thing if isinstance(thing, module) else None)
        for kind in type(thing).__mro__:
            if not _of_a_library(kind):
                self._near.extend(value for value in vars(kind).values() if isinstance(value, types.FunctionType))

    def _place(self, what: str, read: Read, write: Write, module: Any = None) -> None:
        place = Place(what, read, write, module)
        self.places.append(place)
        self._near.extend(place.before.values())

    def _refuse_iterators(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if hasattr(type(value), "__next__"):
                raise Unplannable(f"it reads from the iterator {name!r}, which a trace would use up; give its values as arguments")

    # Comparing

    def add(self, watch: Watch) -> None:
        """Takes in the modules that were touched on ways that cannot be seen from the function, as they were before."""
        module = engine("layers.module", "Module")
        for key, kept in watch.objects.items():
            if key not in self._known and isinstance(kept.owner, module):
                self._known[key] = kept.owner
                attributes = vars(kept.owner)
                default = type(kept.owner).training

                def read(attributes: dict[str, Any] = attributes, default: bool = default) -> dict[Any, Any]:
                    return {"training": default, **attributes}

                place = Place(f"of {type(kept.owner).__name__}", read, lambda before: None, kept.owner)  # the watch restores it
                place.before = {"training": default, **kept.before}
                self.places.append(place)

    def restore(self) -> tuple[str, list[tuple[Any, bool]]]:
        """Puts all of it back; says what had been changed, in words, and which modules had been given another mode."""
        changed = ""
        modes: list[tuple[Any, bool]] = []
        for place in self.places:
            now, before = place.read(), place.before
            different = [key for key in {**now, **before} if now.get(key, _MISSING) is not before.get(key, _MISSING)]
            if different == ["training"] and place.module is not None:
                modes.append((place.module, now["training"]))
            elif different and not changed:
                changed = f"the attribute {different[0]!r} {place.what}" if place.what.startswith("of ") else place.what
            if different:
                place.write(before)
        for held, state in self._random:
            if repr(held.state) != repr(state):
                held.state = state
                changed = changed or "a NumPy generator of random numbers"
        return changed, modes

    def guard(self) -> Callable[[], bool]:
        """A test of whether what plain Python values and which objects are reached is as it was."""
        checks = [(p.read, p.before if len(p.before) <= LONG else len(p.before)) for p in self.places if p.before]
        return lambda: all(_holds(read(), before) for read, before in checks)


def _holds(now: dict[Any, Any], before: Any) -> bool:
    if isinstance(before, int):
        return len(now) == before
    return len(now) == len(before) and all(
        (w := now.get(k, _MISSING)) is v or _equal(w, v) for k, v in before.items()
    )  # fmt: skip


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and isinstance(a, _PLAIN) and a == b


def _refill(thing: dict[Any, Any], before: dict[Any, Any]) -> None:
    thing.clear()
    thing.update(before)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _of_a_library(thing: Any, but: str = "") -> bool:
    root = (getattr(thing, "__module__", None) or "").partition(".")[0]
    return root != but and _library(root)


@functools.cache
def _library(root: str) -> bool:
    """Whether a package is installed, not the user's own code."""
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    return root == "nnatomy" or (root in sys.stdlib_module_names and root != "__main__") or "-packages" in file
