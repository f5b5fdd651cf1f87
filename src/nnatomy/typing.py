"""Shapes as annotations: jaxtyping's names where it is loaded (the tests check them with it), empty ones otherwise.

Importing jaxtyping costs as much time as the rest of an architecture, and outside the tests nothing reads the annotations.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool as Bool
    from jaxtyping import Float as Float
    from jaxtyping import Int as Int
    from jaxtyping import Shaped as Shaped
else:

    class Float:
        """Stands where an annotation names the shape of floating-point values."""

        def __class_getitem__(cls, shape: Any) -> Any:
            return cls

    Bool = Int = Shaped = Float
