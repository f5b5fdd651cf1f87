"""The anatomy of neural networks: every architecture from scratch, on our own automatic differentiation.

`import nnatomy as nn` gives Tensors and their operations at once; layers, optimizers, data, architectures and
the functions that train them are imported when they are first used.
"""

from __future__ import annotations

from nnatomy import interrupts as interrupts  # first: it also handles Ctrl-C during the other imports

# isort: split

import importlib
import sys
from typing import Any

from nnatomy import random as random
from nnatomy.backends import backend as backend
from nnatomy.backends import use as use
from nnatomy.checking import GradientError as GradientError
from nnatomy.checking import check_gradients as check_gradients
from nnatomy.errors import UserError as UserError
from nnatomy.graph import enable_grad as enable_grad
from nnatomy.graph import is_grad_enabled as is_grad_enabled
from nnatomy.graph import no_grad as no_grad
from nnatomy.graph import set_grad_enabled as set_grad_enabled
from nnatomy.ops import *  # noqa: F403
from nnatomy.ops import linalg as linalg
from nnatomy.random import Generator as Generator
from nnatomy.random import rand as rand
from nnatomy.random import randint as randint
from nnatomy.random import randn as randn
from nnatomy.random import randperm as randperm
from nnatomy.random import seed as seed
from nnatomy.tensor import Parameter as Parameter
from nnatomy.tensor import Tensor as Tensor
from nnatomy.tensor import grad as grad
from nnatomy.tensor import tensor as tensor

__version__ = "0.1.0"

_FACE = {
    "runs.train": ("resume", "train"),
    "runs.trained": ("evaluate", "load_run", "sample"),
    "runs.saving": ("load", "save"),
    "runs.distillation": ("distill",),
    "runs.loggers": ("CSVLogger", "MLflowLogger", "TensorBoardLogger", "WandbLogger"),
    "runs.rates": ("find_learning_rate",),
    "training.callbacks": ("Callback",),
    "runs.averaging": ("average",),
    "runs.estimators": ("NeuralClassifier", "NeuralRegressor"),
    "studies.comparison.compare": ("compare",),
    "studies.tuning.tune": ("tune",),
    "exporting": ("export", "predict"),
    "verification.compare": ("verify",),
    "views.pictures": ("draw",),
    "catalog": ("architecture",),
    "plan": ("compile",),
    "kernels.machine": ("get_num_threads", "set_num_threads"),
}
"""The functions and classes of the public face, by the module that is imported when one is first used."""
_WHERE = {name: module for module, names in _FACE.items() for name in names}
_LAZY = (
    "architectures", "atlas", "benchmark", "catalog", "cli", "data", "exporting", "functional", "init", "inspect",
    "interchange", "kernels", "layers", "optim", "runs", "serving", "studies", "tasks", "training", "verification", "views",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"nnatomy.{_WHERE[name]}"), name)
    if name in _LAZY:
        return importlib.import_module(f"nnatomy.{name}")
    if not name.startswith("_"):
        layers = importlib.import_module("nnatomy.layers")
        if name in layers.__all__:
            return getattr(layers, name)
        return _foreign(name)
    raise AttributeError(f"module 'nnatomy' has no attribute {name!r}")


def _foreign(name: str) -> Any:
    """The meaning of a name of PyTorch's or NumPy's. Raises AttributeError that says what to use in its place."""
    from nnatomy import foreign

    same = foreign.found(sys.modules[__name__], name)
    if same is not None:
        return same
    dtype = foreign.DTYPES.get(name, name)
    if dtype in foreign.DTYPES.values():
        return tensor([0], dtype).dtype
    if name in importlib.import_module("nnatomy.functional").__all__:
        raise AttributeError(f"nn has no {name!r}. Use nn.functional.{name}().")
    raise foreign.unknown("nn", name, __dir__())


def __dir__() -> list[str]:
    """Return all names that are here, imported already or not, for completion."""
    own = {name for name in globals() if not name.startswith("_")} - {"annotations", "importlib", "sys", "Any"}
    layers = importlib.import_module("nnatomy.layers").__all__
    return sorted(own | set(layers) | {*_LAZY, *_WHERE, "__version__"})
