"""The objects that a function can reach: its closed-over variables, its named globals, and the objects inside these.

They show two things: whether the function changed something that is not a state (a list that grew, an attribute, a
counter), so that it cannot be replayed; and, before a replay, whether what a trace took for granted is still so.
"""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from operator import is_, itemgetter
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
    """Something that holds values by key: a variable, some globals, a list, a dictionary, an object's attributes.

    `mapping`: the dictionary that it is. `named`: whether only keys that code names matter, before a replay.
    """

    def __init__(
        self, what: str, read: Read, write: Write, mapping: dict[Any, Any] | None = None, module: Any = None,
        named: bool = False,
    ) -> None:  # fmt: skip
        self.what, self.read, self.write, self.mapping, self.module, self.named = what, read, write, mapping, module, named
        self.before = read()


class Surroundings:
    """All that hangs on a function, as it is now."""

    def __init__(self, function: Any) -> None:
        self.places: list[Place] = []
        self._random: list[tuple[Any, Any]] = []
        self._known: dict[int, Any] = {}
        self._objects: list[Any] = []
        self._names = {"__call__", "forward"}  # those in the code that has been seen
        self._near: deque[Any] = deque([function])
        names = 0
        while self._near and len(self._known) < MOST:
            thing = self._near.popleft()
            if id(thing) not in self._known and not isinstance(thing, _PLAIN):
                self._known[id(thing)] = thing
                self._look(thing)
            if not self._near and len(self._names) > names:  # what was found before may have attributes of the new names
                names = len(self._names)
                for thing in self._objects:
                    self._near.extend(self._attributes(thing))

    # Looking

    def _look(self, thing: Any) -> None:
        opaque = engine("tensor", "Tensor"), engine("optim.optimizer", "Optimizer"), engine("random", "Generator")
        if isinstance(thing, types.FunctionType):
            self._function(thing)
        elif isinstance(thing, types.MethodType):
            self._near.extend((thing.__self__, thing.__func__))
        elif isinstance(thing, functools.partial):
            self._near.extend((thing.func, *thing.args, *thing.keywords.values()))
        elif isinstance(thing, property):
            self._near.append(thing.fget)
        elif isinstance(thing, dict):
            self._place("a dictionary", lambda: dict(thing), lambda before: _refill(thing, before), thing)
        elif isinstance(thing, list | deque):
            self._place(f"a {type(thing).__name__}", lambda: dict(enumerate(thing)), lambda before: _extend(thing, before))
        elif isinstance(thing, set):
            self._place("a set", lambda: {id(v): v for v in thing}, lambda before: _extend(thing, before))
        elif isinstance(thing, tuple):
            self._near.extend(thing)
        elif isinstance(thing, np.random.Generator):
            self._random.append((thing.bit_generator, thing.bit_generator.state))
        elif type(thing).__module__.startswith("nnatomy.plan."):  # a compiled function that is called inside
            self._near.append(getattr(thing, "function", None))
        elif isinstance(thing, (*opaque, type, types.ModuleType, np.ndarray)):
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
        self._names |= named
        space = function.__globals__
        found = {name for name in named if name in space}
        self._variables(space, found)
        for name in found:
            module = space[name]
            if isinstance(module, types.ModuleType) and not _library(module.__name__.partition(".")[0]):
                self._variables(vars(module), {n for n in named if n in vars(module)})

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

        _refuse_iterators(read())
        self._place(f"the variable {name!r}", read, write)

    def _variables(self, space: dict[str, Any], names: set[str]) -> None:
        _refuse_iterators({name: space[name] for name in names})
        self._place("a global variable", lambda: {name: space[name] for name in names if name in space}, space.update, space)

    def _object(self, thing: Any) -> None:
        attributes, kind = vars(thing), type(thing)
        module = isinstance(thing, engine("layers.module", "Module"))

        def read() -> dict[Any, Any]:
            return {"training": kind.training, **attributes} if module else dict(attributes)

        own = not _of_a_library(kind)
        self.places.append(Place(
            f"of {kind.__name__}", read, lambda before: _refill(attributes, before), attributes, thing if module else None, own
        ))  # fmt: skip
        if own:
            self._objects.append(thing)
            self._near.extend(self._attributes(thing))
        else:
            self._near.extend(attributes.values())

    def _attributes(self, thing: Any) -> list[Any]:
        """The attributes of an object, its class's among them, that the code names which has been seen."""
        found = [value for name, value in vars(thing).items() if name in self._names]
        for kind in type(thing).__mro__:
            if not _of_a_library(kind):
                found += [value for name, value in vars(kind).items() if name in self._names and not isinstance(value, _PLAIN)]
        return found

    def _place(self, what: str, read: Read, write: Write, mapping: dict[Any, Any] | None = None) -> None:
        place = Place(what, read, write, mapping)
        self.places.append(place)
        self._near.extend(place.before.values())

    # Comparing

    def add(self, watch: Watch) -> None:
        """Take in the modules that were touched on ways that cannot be seen from the function, as they were before."""
        module = engine("layers.module", "Module")
        for key, kept in watch.objects.items():
            if key not in self._known and isinstance(kept.owner, module):
                self._known[key] = kept.owner
                attributes = vars(kept.owner)
                default = type(kept.owner).training

                def read(attributes: dict[str, Any] = attributes, default: bool = default) -> dict[Any, Any]:
                    return {"training": default, **attributes}

                what = f"of {type(kept.owner).__name__}"
                place = Place(what, read, lambda before: None, attributes, kept.owner)  # the Watch restores it
                place.before = {"training": default, **kept.before}
                place.named = not _of_a_library(type(kept.owner))
                self.places.append(place)

    def restore(self) -> tuple[str, list[tuple[Any, bool]]]:
        """Restore all of it. Return a text that names the changes, and the modules whose mode was changed."""
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
        quick: list[tuple[Any, Any, tuple[Any, ...], Read, Any]] = []
        others: list[tuple[Read, Any]] = []
        for place in self.places:
            before: Any = place.before
            if place.named:
                before = {key: value for key, value in before.items() if key in self._names or key == "training"}
            if len(before) > LONG:
                others.append((place.read, len(place.before)))
            elif place.mapping is not None and before:
                keys = [*before, next(iter(before))]  # two at least, so that a tuple comes back
                quick.append((place.mapping, itemgetter(*keys), tuple(place.before[k] for k in keys), place.read, before))
            elif before:
                others.append((place.read, before))

        def holds() -> bool:
            for mapping, values, expected, read, before in quick:
                try:
                    if all(map(is_, values(mapping), expected)):
                        continue
                except KeyError:  # a mode that was never set, or an attribute that is gone
                    pass
                if not _holds(read(), before):
                    return False
            return all(_holds(read(), before) for read, before in others)

        return holds


def _holds(now: dict[Any, Any], before: Any) -> bool:
    if isinstance(before, int):
        return len(now) == before
    for key, value in before.items():
        here = now.get(key, _MISSING)
        if here is not value and not _equal(here, value):
            return False
    return True


def _refuse_iterators(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if hasattr(type(value), "__next__"):
            raise Unplannable(f"it reads from the iterator {name!r}, which a trace would use up; give its values as arguments")


def _extend(thing: Any, before: dict[Any, Any]) -> None:
    thing.clear()
    (thing.update if isinstance(thing, set) else thing.extend)(before.values())


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
    """Return True if a package is installed, not the user's own code."""
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    return root == "nnatomy" or (root in sys.stdlib_module_names and root != "__main__") or "-packages" in file
