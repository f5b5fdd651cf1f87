"""The state of an ordinary function: what it reads and writes next to its arguments, found in a first trace."""

from __future__ import annotations

from typing import Any

from nnatomy.plan.trace import Unplannable
from nnatomy.plan.watch import Watch, engine


class Place:
    """Where one array or number of a state is. `put` and `take` are for use while a trace runs.

    `number`: its type, None for an array. `shared`: nothing else holds the array, so that a program may update it in place.
    """

    number: type | None = None
    shared = False

    def get(self) -> Any:
        raise NotImplementedError

    def set(self, value: Any) -> None:
        raise NotImplementedError

    def put(self, watch: Watch, value: Any) -> None:
        self.set(value)

    def take(self, watch: Watch) -> Any:
        return self.get()


class Data(Place):
    """The array of a Tensor."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def get(self) -> Any:
        return self.tensor.data

    def set(self, value: Any) -> None:
        self.tensor.data = value

    def put(self, watch: Watch, value: Any) -> None:
        watch.data.__set__(self.tensor, value)

    def take(self, watch: Watch) -> Any:
        return watch.data.__get__(self.tensor)


class Gradient(Place):
    """The gradient that a Tensor has already, to which more is added."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self._value: Any = None

    def get(self) -> Any:
        return None if self.tensor.grad is None else self.tensor.grad.data

    def put(self, watch: Watch, value: Any) -> None:
        self._value = value
        watch.grad.__set__(self.tensor, engine("tensor", "Tensor")(value))

    def take(self, watch: Watch) -> Any:  # a new one comes back as a result
        return self._value


class Moment(Place):
    """An array that an optimizer keeps of a parameter."""

    shared = True

    def __init__(self, optimizer: Any, name: str, key: str) -> None:
        self.optimizer, self.name, self.key = optimizer, name, key

    def get(self) -> Any:
        return self.optimizer.state[self.name].get(self.key)

    def set(self, value: Any) -> None:
        self.optimizer.state[self.name][self.key] = value


class Entry(Place):
    """A number among an optimizer's: how often a parameter was updated, or a group's learning rate."""

    def __init__(self, optimizer: Any, attribute: str, key: Any, inner: str | None, number: type) -> None:
        self.optimizer, self.attribute, self.key, self.inner, self.number = optimizer, attribute, key, inner, number

    def _holder(self) -> tuple[Any, Any]:
        held = getattr(self.optimizer, self.attribute)
        return (held, self.key) if self.inner is None else (held[self.key], self.inner)

    def get(self) -> Any:
        holder, key = self._holder()
        return holder[key]

    def set(self, value: Any) -> None:
        holder, key = self._holder()
        holder[key] = value


class Attribute(Place):
    """A number that is an attribute: an optimizer's factor, a generator's counter."""

    def __init__(self, owner: Any, name: str, number: type) -> None:
        self.owner, self.name, self.number = owner, name, number

    def get(self) -> Any:
        return getattr(self.owner, self.name)

    def set(self, value: Any) -> None:
        setattr(self.owner, self.name, value)


class Half(Place):
    """One of the two numbers of a generator's key."""

    number = int

    def __init__(self, generator: Any, index: int) -> None:
        self.generator, self.index = generator, index

    def get(self) -> Any:
        return self.generator.key[self.index]

    def set(self, value: Any) -> None:
        key = list(self.generator.key)
        key[self.index] = value
        self.generator.key = tuple(key)


class Found:
    """The Tensors, optimizers and generators that traces have touched so far, and the places of what they hold."""

    def __init__(self) -> None:
        self.tensors: dict[int, Any] = {}
        self.gradients: dict[int, Any] = {}
        self.optimizers: dict[int, tuple[Any, list[str]]] = {}  # with the parameters that are updated
        self.generators: dict[int, Any] = {}
        self.read = False  # whether any value counts, or all are only written

    def grow(self, watch: Watch) -> bool:
        """Add everything that a trace touched. Return True if any of it is new."""
        before = self._size()
        theirs = {id(seen.grad) for seen in watch.tensors.values() if seen.grad is not None}
        for key, seen in watch.tensors.items():
            if (seen.read or seen.written) and key not in theirs:
                self.tensors.setdefault(key, seen.tensor)
            if seen.grad_read and seen.grad is not None:
                self.gradients.setdefault(key, seen.tensor)
        for key, kept in watch.objects.items():
            if isinstance(kept.owner, engine("random", "Generator")):
                self.generators.setdefault(key, kept.owner)
            elif isinstance(kept.owner, engine("optim.optimizer", "Optimizer")):
                _, names = self.optimizers.setdefault(key, (kept.owner, []))
                names += [name for name in stepped(kept) if name not in names]
        self.read = self.read or bool(self.gradients or self.optimizers or self.generators) or any(
            seen.read for key, seen in watch.tensors.items() if key not in theirs
        )
        return self._size() != before

    def _size(self) -> tuple[int, ...]:
        updated = sum(len(names) for _, names in self.optimizers.values())
        return len(self.tensors), len(self.gradients), len(self.optimizers), updated, len(self.generators)

    def prepare(self) -> list[tuple[Any, str]]:
        """Make the state that optimizers would make at their first step, and return their parameters."""
        made = []
        for optimizer, names in self.optimizers.values():
            for group in optimizer.param_groups:
                for name, parameter in zip(group["names"], group["params"]):
                    if name in names and name not in optimizer.state:
                        optimizer._prepare(name, parameter, group)
                        made.append((optimizer, name))
        return made

    def places(self) -> list[Place]:
        """The places of everything, in a fixed order."""
        found: list[Place] = [Data(t) for t in self.tensors.values()]
        found += [Gradient(t) for t in self.gradients.values() if t.grad is not None]
        for optimizer, names in self.optimizers.values():
            for name in names:
                found += [Moment(optimizer, name, key) for key in optimizer.state[name]]
                found.append(Entry(optimizer, "steps", name, None, int))
            found += [Entry(optimizer, "param_groups", i, "lr", float) for i in range(len(optimizer.param_groups))]
            found.append(Attribute(optimizer, "factor", float))
        for generator in self.generators.values():
            found += [Half(generator, 0), Half(generator, 1), Attribute(generator, "counter", int)]
        return found


def stepped(kept: Any) -> list[str]:
    """The parameters that an optimizer has updated since it was taken down."""
    before = next(saved for part, saved in kept.inner if part is kept.before["steps"])
    now = kept.owner.steps
    return [name for name in now if name not in before or now[name] is not before[name]]


def settings(optimizer: Any) -> list[dict[str, Any]]:
    """Return the settings on which an optimizer relies: all of its groups' settings but the learning rate."""
    return [{k: v for k, v in group.items() if k not in ("params", "names", "lr")} for group in optimizer.param_groups]


def refuse_new_settings(watch: Watch) -> None:
    """Raise Unplannable where the function changed a setting of an optimizer that is not a state."""
    for kept in watch.objects.values():
        groups = kept.before.get("param_groups")
        for part, before in kept.inner:
            if groups and any(part is group for group in groups):
                for key, value in before.items():
                    if key != "lr" and part.get(key) is not value and part.get(key) != value:
                        raise Unplannable(f"it changes {key!r} of an optimizer; change it between two calls")
