"""A model's decided outputs and losses for a batch, as a pure function of arrays: so that it can be compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from nnatomy import random
from nnatomy.data import fields
from nnatomy.data.fields import Field
from nnatomy.functional import masked_examples
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor, wrap
from nnatomy.training.learners.learner import Loss
from nnatomy.training.parallel.devices import Devices
from nnatomy.training.precision import FLOAT32, Precision
from nnatomy.training.recipe import Recipe

Array = np.ndarray[Any, Any]
Stream = dict[str, list[int]]
APART = 2**40  # draws between the parts of a stream that several generators take


@contextmanager
def evaluating(model: Module, gradients: bool = False) -> Iterator[None]:
    """A block in which the model is in evaluation mode, overflow is silent and, without `gradients`, nothing is recorded."""
    training = model.training
    model.eval()
    try:
        with nullcontext() if gradients else no_grad(), np.errstate(all="ignore"):
            yield
    finally:
        model.train(training)


@contextmanager
def own_stream(stream: Stream, generators: Sequence[random.Generator] = ()) -> Iterator[None]:
    """A block in which the default generator and others draw from `stream`, and after which they continue undisturbed."""
    held = [random.default, *generators]
    before = [generator.state_dict() for generator in held]
    for number, generator in enumerate(held):
        high, low = stream["key"]
        generator.load_state_dict({"key": [high, low], "counter": [stream["counter"][0] + number * APART]})
    try:
        yield
    finally:
        for generator, state in zip(held, before, strict=True):
            generator.load_state_dict(state)


def forward(model: Module, arrays: tuple[Array, ...]) -> Any:
    """Return the model's output for a batch of inputs (no targets), in evaluation mode and unrecorded."""
    with evaluating(model):
        return model(*[wrap(a) for a in arrays])


def plain(outputs: Any) -> Any:
    """Return the arrays of a Tensor, or of a tuple, list or dictionary of Tensors."""
    if isinstance(outputs, Tensor):
        return outputs.data
    if isinstance(outputs, Mapping):
        return {name: plain(part) for name, part in outputs.items()}
    return tuple(plain(part) for part in outputs) if isinstance(outputs, tuple | list) else outputs


class Forward:
    """forward(arrays, stream, batch, mask) -> (losses, decided outputs), of a batch with or without targets.

    Without `losses` the model is called on the inputs alone. `stream` is what noise is drawn from: the same noise each time.
    """

    def __init__(
        self, model: Module, recipe: Recipe, named: tuple[Field, ...], losses: bool, precision: Precision = FLOAT32,
        devices: Devices | None = None,
    ) -> None:  # fmt: skip
        self.model, self.recipe, self.named, self.precision = model, recipe, named, precision
        self.devices = devices or Devices()
        self.losses: Mapping[str, Loss] = recipe.learn.losses if losses else {}
        self.gradients = bool(self.losses) and recipe.learn.gradients_in_evaluation
        self.generators = list(random.generators_of(model).values())
        self._tensors = dict(model.named_parameters()) | dict(model.named_buffers())

    def arrays(self) -> dict[str, Array]:
        """Return the parameters and buffers as they are now."""
        return {name: t.data for name, t in self._tensors.items()}

    def bind(self, arrays: dict[str, Array]) -> None:
        """Put parameters and buffers where `arrays` says."""
        for name, t in self._tensors.items():
            t.data = arrays[name]

    def __call__(
        self, arrays: dict[str, Array], stream: Stream, batch: tuple[Array, ...], mask: Any = None
    ) -> tuple[dict[str, Any], Any]:
        self.bind(arrays)
        tensors = tuple(wrap(a) for a in self.precision.evaluated(batch))
        found: dict[str, Any] = {}
        outputs: Any = None
        with (
            own_stream(stream, self.generators), evaluating(self.model, self.gradients), self.devices.whole(self._tensors),
            masked_examples(mask),
        ):  # fmt: skip
            for name, loss in self.losses.items():
                value, given = loss(self.model, *tensors)
                found[name], outputs = value.data, given if outputs is None else outputs
            if outputs is None:
                outputs = self.model(*fields.select(self.named, tensors, "input"))
            with no_grad():
                return found, plain(self.recipe.decide(outputs))
