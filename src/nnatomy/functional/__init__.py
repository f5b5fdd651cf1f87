"""Activations, losses, normalization and dropout, composed of operations; plain arrays and Tensors alike."""

from nnatomy.foreign import face, understood
from nnatomy.functional import (
    activations,
    attention,
    images,
    inputs,
    likelihoods,
    losses,
    margins,
    masking,
    noise,
    normalization,
    odes,
)
from nnatomy.functional.activations import *  # noqa: F403
from nnatomy.functional.attention import *  # noqa: F403
from nnatomy.functional.images import *  # noqa: F403
from nnatomy.functional.inputs import *  # noqa: F403
from nnatomy.functional.likelihoods import *  # noqa: F403
from nnatomy.functional.losses import *  # noqa: F403
from nnatomy.functional.margins import *  # noqa: F403
from nnatomy.functional.masking import *  # noqa: F403
from nnatomy.functional.noise import *  # noqa: F403
from nnatomy.functional.normalization import *  # noqa: F403
from nnatomy.functional.odes import *  # noqa: F403

__all__: list[str] = []
__all__ += activations.__all__
__all__ += attention.__all__
__all__ += images.__all__
__all__ += inputs.__all__
__all__ += likelihoods.__all__
__all__ += losses.__all__
__all__ += margins.__all__
__all__ += masking.__all__
__all__ += normalization.__all__
__all__ += noise.__all__
__all__ += odes.__all__

for _name in __all__:
    if {"axis", "keepdims"} & set(globals()[_name].__code__.co_varnames):  # which PyTorch names dim and keepdim
        globals()[_name] = understood(globals()[_name])

__getattr__ = face("nn.functional", __all__)
