"""nn.compile: a function of arrays is traced once for each shape of its arguments and then replayed as a plan."""

from nnatomy.plan.compiled import Compiled, compile
from nnatomy.plan.trace import Unplannable

__all__ = ["Compiled", "Unplannable", "compile"]
