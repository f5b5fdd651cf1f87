"""Containers: modules and parameters in lists and dictionaries, whose keys are parts of the parameters' names."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any

from nnatomy.errors import UserError
from nnatomy.layers.module import Listed, Module
from nnatomy.tensor import Parameter, Tensor

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList"]


class ModuleList(Listed):
    """A list of modules. It has no forward: loop over it in that of the module that holds it."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _member(self, value: Any) -> Module:
        if not isinstance(value, Module):
            raise UserError(f"ModuleList takes modules. Received {type(value).__name__}. Keep other values in a plain list.")
        return value


class ParameterList(Listed):
    """A list of parameters; Tensors and arrays become parameters."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def _member(self, value: Any) -> Parameter:
        return _parameter("ParameterList", value)


class _Dict(Module):
    """Members as attributes of their keys."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    def _member(self, value: Any) -> Any:
        """A value as it is kept. Raises UserError for one of the wrong type."""
        raise NotImplementedError

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str) or not key or key.startswith("_") or "." in key or hasattr(type(self), key):
            raise UserError(
                f"A key of {type(self).__name__} is a part of its parameters' names: a text without dots or a leading "
                f"underscore, and no method. Received {key!r}. Choose another."
            )
        setattr(self, key, self._member(value))
        if key not in self._keys:
            self._keys.append(key)

    def __delitem__(self, key: str) -> None:
        self._keys.remove(key)
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def keys(self) -> KeysView[str]:
        """The keys, in the order in which they came."""
        return self._dict().keys()

    def values(self) -> ValuesView[Any]:
        """The members."""
        return self._dict().values()

    def items(self) -> ItemsView[str, Any]:
        """(key, member)."""
        return self._dict().items()

    def _dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in self._keys}

    def update(self, members: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add members, in the place of those of the same key."""
        for key, value in dict(members).items():
            self[key] = value

    def pop(self, key: str) -> Any:
        """Remove a member and return it."""
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        """Remove all members."""
        for key in list(self._keys):
            del self[key]


class ModuleDict(_Dict):
    """Modules by name. It has no forward: choose among them in that of the module that holds it."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def _member(self, value: Any) -> Module:
        if not isinstance(value, Module):
            raise UserError(f"ModuleDict takes modules. Received {type(value).__name__}. Keep other values in a plain dict.")
        return value


class ParameterDict(_Dict):
    """Parameters by name; Tensors and arrays become parameters."""

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def _member(self, value: Any) -> Parameter:
        return _parameter("ParameterDict", value)


def _parameter(name: str, value: Any) -> Parameter:
    if isinstance(value, Parameter):
        return value
    if not isinstance(value, Tensor) and not hasattr(value, "dtype"):
        raise UserError(f"{name} takes parameters. Received {type(value).__name__}. Give nn.Parameter(nn.randn(3)), ...")
    return Parameter(value)
