"""The parts that models are made of. `nn.Linear` and `nnatomy.layers.Linear` are the same thing."""

from nnatomy.layers import (
    activation,
    adaptive_softmax,
    attention,
    blocks,
    containers,
    convolution,
    dropout,
    embedding,
    graph,
    linear,
    loss,
    normalization,
    padding,
    pooling,
    rearranging,
    recurrent,
    regularization,
    transformer,
)
from nnatomy.layers.activation import *  # noqa: F403
from nnatomy.layers.adaptive_softmax import *  # noqa: F403
from nnatomy.layers.attention import *  # noqa: F403
from nnatomy.layers.blocks import *  # noqa: F403
from nnatomy.layers.containers import *  # noqa: F403
from nnatomy.layers.convolution import *  # noqa: F403
from nnatomy.layers.dropout import *  # noqa: F403
from nnatomy.layers.embedding import *  # noqa: F403
from nnatomy.layers.graph import *  # noqa: F403
from nnatomy.layers.linear import *  # noqa: F403
from nnatomy.layers.loss import *  # noqa: F403
from nnatomy.layers.module import Module, Sequential
from nnatomy.layers.normalization import *  # noqa: F403
from nnatomy.layers.padding import *  # noqa: F403
from nnatomy.layers.pooling import *  # noqa: F403
from nnatomy.layers.rearranging import *  # noqa: F403
from nnatomy.layers.recurrent import *  # noqa: F403
from nnatomy.layers.regularization import *  # noqa: F403
from nnatomy.layers.transformer import *  # noqa: F403

__all__ = ["Module", "Sequential"]
__all__ += containers.__all__
__all__ += linear.__all__
__all__ += convolution.__all__
__all__ += padding.__all__
__all__ += pooling.__all__
__all__ += rearranging.__all__
__all__ += normalization.__all__
__all__ += dropout.__all__
__all__ += embedding.__all__
__all__ += recurrent.__all__
__all__ += attention.__all__
__all__ += transformer.__all__
__all__ += blocks.__all__
__all__ += graph.__all__
__all__ += activation.__all__
__all__ += loss.__all__
__all__ += adaptive_softmax.__all__
__all__ += regularization.__all__
