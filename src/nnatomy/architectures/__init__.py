"""The architectures, by family; `nn.architectures()` returns them all by name."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnatomy.catalog import Architecture


class _Architectures(ModuleType):
    """The package itself, which is called as a function: `nn.architectures` names both."""

    def __call__(self) -> dict[str, Architecture]:
        """Return all architectures by name, in the order of their years."""
        from nnatomy import catalog

        return catalog.architectures()


sys.modules[__name__].__class__ = _Architectures
