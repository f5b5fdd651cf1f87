"""What changes parameters during training: update rules, learning-rate schedules, weight averages, gradient clipping."""

from nnatomy.optim.optimizer import Optimizer
from nnatomy.optim.rules import LAMB, SGD, Adadelta, Adafactor, Adagrad, Adam, AdamW, Lion, RMSprop

__all__ = ["Optimizer", "SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW", "Adafactor", "Lion", "LAMB"]
