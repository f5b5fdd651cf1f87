"""The learning-rate finder: a short training of a copy, in which the rate grows until the loss breaks."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy import backends, random
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.printing import shown
from nnatomy.runs import transfer
from nnatomy.runs.options import INTEGER, NUMBER, parse_option
from nnatomy.runs.prepare import Prepared, prepare
from nnatomy.runs.train import requested_by
from nnatomy.training.fit import fit
from nnatomy.training.loop import Callback, Loop

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DECAY = 0.9  # of the moving average of the losses
BROKEN = 4.0  # a loss this many times the first one ends the search
LEAST = 10  # steps
FIXED = ("epochs", "budget", "lr", "log", "baselines", "devices", "shard", "teacher", "freeze")
"""Options of training that a search decides itself, or has not."""


@dataclass(frozen=True)
class LearningRates:
    """The losses of a training whose learning rate grew by a constant factor at each step."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """The loss of the batch before the step at that rate."""
    smoothed: tuple[float, ...]
    """Their exponential moving average, corrected for its start."""
    suggestion: float | None
    """The rate where `smoothed` falls most by log(rate); None where it never falls."""

    def figure(self) -> Figure:
        """Draw the losses by rate, and the suggestion."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, alpha=0.3, label="loss of a batch")
        axes.plot(self.rates, self.smoothed, label="moving average")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, linestyle="--", color="gray", label=f"suggestion: {self.suggestion:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
        axes.legend()
        return figure


def find_learning_rate(
    model: Any, data: Any = None, *, lowest: float = 1e-6, highest: float = 10.0, steps: int = 100, task: Any = None,
    loss: Any = None, optimizer: Any = None, **options: Any,
) -> LearningRates:  # fmt: skip
    """Train a copy of a model while its learning rate grows from `lowest` to `highest`; nothing is written or changed.

    >>> found = nn.find_learning_rate("mlp", "iris")  # doctest: +SKIP
    >>> nn.train("mlp", "iris", lr=found.suggestion)  # doctest: +SKIP

    Args:
        model, data, task, loss, optimizer, options: those of `train`; not its length, rates or devices
        steps: batches; the search ends sooner where the loss breaks

    Raises UserError for bad input, and for a learner without a single learning rate and loss.

    Source: Smith (2017), section 3.3.
    """
    steps, lowest, highest = (
        parse_option(kind, name, value, "find_learning_rate")
        for kind, name, value in ((INTEGER, "steps", steps), (NUMBER, "lowest", lowest), (NUMBER, "highest", highest))
    )
    if not 0 < lowest < highest < math.inf:
        raise UserError(
            f"Learning rates grow from a positive one to a larger one. Received {lowest:g} and {highest:g}. Give, for example, "
            "lowest=1e-6, highest=10."
        )
    if steps < LEAST:
        raise UserError(f"A learning rate is found in at least {LEAST} steps. Received {shown(steps)}. Use steps=100.")
    if given := [name for name in FIXED if options.get(name) is not None]:
        raise UserError(f"find_learning_rate() has its own length and rates. Received {given[0]}. Leave it out.")
    trained = copy.deepcopy(model) if isinstance(model, Module) else model
    request, own = requested_by("find_learning_rate", trained, data, task, loss, optimizer, options)
    kept = random.default.state_dict()
    try:
        with backends.backend(request.backend, request.device):
            prepared = prepare(request, own)
            if own.model is not None and trained is model:  # a function, which may return a model that is the user's
                prepared.model = copy.deepcopy(prepared.model)
            transfer.begin(prepared)
            growth = _grow(prepared, np.geomspace(lowest, highest, steps))
    finally:
        random.default.load_state_dict(kept)
    losses = growth.losses
    rates = growth.rates[: len(losses)].tolist()
    smoothed = moving_average(losses)
    return LearningRates(tuple(rates), tuple(losses), tuple(smoothed), steepest(rates, smoothed))


class _Growth(Callback):
    """Gives each step its rate, by the factor of an optimizer's rate of 1, and keeps the losses."""

    def __init__(self, rates: np.ndarray[Any, Any]) -> None:
        self.rates, self.losses = rates, list[float]()
        self._before = 0.0, 0

    def begin(self, loop: Loop) -> None:
        loop.scale = float(self.rates[0])

    def before_epoch(self, loop: Loop) -> None:
        self._before = 0.0, 0

    def after_step(self, loop: Loop) -> None:
        loop.read_losses()
        total, examples = loop.position.loss_sum, loop.position.examples
        self.losses.append((total - self._before[0]) / (examples - self._before[1]))
        self._before = total, examples
        if len(self.losses) == len(self.rates) or self.losses[-1] > BROKEN * abs(self.losses[0]):
            loop.interrupted = True
        else:
            loop.scale = float(self.rates[len(self.losses)])


def _grow(prepared: Prepared, rates: np.ndarray[Any, Any]) -> _Growth:
    """Train a model with growing rates until the last one, or until the loss breaks."""
    recipe, growth = prepared.recipe, _Growth(rates)
    learn, epochs = recipe.learn, len(rates)  # an epoch has at least one step
    if not {"lr", "schedule"} <= learn.settings().keys() or len(learn.losses) != 1:
        raise UserError(
            f"A learning rate is found for a learner that has one, and one loss. Received {prepared.architecture.name}, which "
            f"learns by {type(learn).__name__}. Choose an architecture that learns by GradientDescent."
        )
    learn = learn.changed("schedule", "none").changed("lr", 1.0)
    recipe = replace(recipe, learn=learn, epochs=epochs, patience=None, plateau=None)
    setup = transfer.setup(prepared, None)
    try:
        fit(recipe, prepared.model, prepared.dataset, prepared.task, prepared.request.seed, setup=setup, callbacks=[growth])
    except UserError:  # the loss is not finite: that is where the search ends
        if len(growth.losses) < LEAST:
            raise
    return growth


def moving_average(losses: Sequence[float]) -> list[float]:
    """Return m_k = sum_j DECAY^(k - j) losses_j / sum_j DECAY^(k - j)."""
    found, total, weight = list[float](), 0.0, 0.0
    for loss in losses:
        total, weight = DECAY * total + loss, DECAY * weight + 1
        found.append(total / weight)
    return found


def steepest(rates: Sequence[float], smoothed: Sequence[float]) -> float | None:
    """Return the rate where the average falls most by log(rate), before its minimum; None where it never falls."""
    first, last = len(smoothed) // 10, int(np.argmin(smoothed)) + 1  # the average of the first few losses is mostly noise
    if last - first < 2:
        return None
    slopes = np.gradient(smoothed, np.log(rates))[first:last]
    best = int(np.argmin(slopes))
    return float(rates[first + best]) if slopes[best] < 0 else None
