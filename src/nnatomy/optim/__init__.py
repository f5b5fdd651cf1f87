"""Changes of parameters during training: update rules, learning-rate schedules, weight averages, gradient clipping."""

from nnatomy.foreign import face
from nnatomy.optim import lr_scheduler
from nnatomy.optim.adaptive import ASGD, Adamax, NAdam, RAdam, Rprop
from nnatomy.optim.averaging import EMA, SWA, WeightAverage
from nnatomy.optim.clipping import clip_grad_norm, clip_grad_value, constrain_max_norm
from nnatomy.optim.lbfgs import LBFGS
from nnatomy.optim.optimizer import Optimizer
from nnatomy.optim.rules import LAMB, SGD, Adadelta, Adafactor, Adagrad, Adam, AdamW, Lion, RMSprop
from nnatomy.optim.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseSquareRoot,
    Linear,
    MultiStep,
    OneCycle,
    Piecewise,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    Warmup,
)  # fmt: skip

__all__ = [
    "Optimizer", "SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW", "Adafactor", "Lion", "LAMB", "LBFGS",
    "Adamax", "NAdam", "RAdam", "Rprop", "ASGD", "lr_scheduler",
    "Schedule", "Constant", "StepDecay", "MultiStep", "Exponential", "Polynomial", "Linear", "Cosine", "CosineRestarts",
    "InverseSquareRoot", "OneCycle", "Warmup", "Piecewise", "ReduceOnPlateau",
    "WeightAverage", "EMA", "SWA",
    "clip_grad_norm", "clip_grad_value", "constrain_max_norm",
]  # fmt: skip

__getattr__ = face("nn.optim", __all__)
