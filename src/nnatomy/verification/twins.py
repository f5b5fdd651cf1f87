"""Our model and its twins behind one interface, so that they can be led through the same steps.

What is compared on the way stands in verification.py.
"""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from nnatomy import optim, random
from nnatomy.catalog import Architecture
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor
from nnatomy.training.recipe import Case

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]

MOMENTUM = 0.9


class Side(ABC):
    """One implementation of a case in one precision; arrays go in and come out as our model names and shapes them."""

    name: str

    @abstractmethod
    def load(self, state: Arrays) -> None:
        """Takes over parameters and buffers, and forgets what the optimizer remembers."""

    @abstractmethod
    def state(self) -> Arrays:
        """A copy of all parameters and buffers."""

    @abstractmethod
    def outputs(self, inputs: tuple[Array, ...]) -> list[Array]:
        """What the model answers in evaluation mode."""

    @abstractmethod
    def gradients(self, batch: tuple[Array, ...]) -> tuple[float, Arrays]:
        """The loss in training mode and its gradient by each parameter."""

    @abstractmethod
    def update(self) -> None:
        """One step of SGD with momentum along the gradients that were computed last."""

    @abstractmethod
    def stages(self, inputs: tuple[Array, ...], training: bool) -> tuple[Arrays, Exception | None]:
        """What each part of the model gave, by its path and in the order of execution, up to an exception if there is one."""


class Ours(Side):
    name = "nnatomy"

    def __init__(self, architecture: Architecture, case: Case, precision: str, seed: int = 0) -> None:
        kept = random.default.state_dict()
        random.seed(seed)
        try:
            self.model = architecture.module("model").build(**case.options).astype(precision)
        finally:
            random.default.load_state_dict(kept)
        self.case = case
        self.parameters = dict(self.model.named_parameters())

    def load(self, state: Arrays) -> None:
        self.model.load_state_dict(state)
        self.optimizer = optim.SGD(self.model.named_parameters(), lr=self.case.lr, momentum=MOMENTUM)

    def state(self) -> Arrays:
        return dict(self.model.state_dict())

    def outputs(self, inputs: tuple[Array, ...]) -> list[Array]:
        self.model.eval()
        with no_grad():
            return [np.asarray(t.data) for t in leaves(self.model(*map(Tensor, inputs)))]

    def gradients(self, batch: tuple[Array, ...]) -> tuple[float, Arrays]:
        self.model.train()
        self.model.zero_grad()
        loss, _ = self.case.loss(self.model, *map(Tensor, batch))
        loss.backward()
        found = {n: np.zeros(p.shape) if p.grad is None else np.array(p.grad.data) for n, p in self.parameters.items()}
        return float(loss.item()), found

    def update(self) -> None:
        self.optimizer.step()

    def stages(self, inputs: tuple[Array, ...], training: bool) -> tuple[Arrays, Exception | None]:
        found: Arrays = {}
        self.model.train(training)
        removers = [
            module.register_forward_hook(lambda _, args, out, path=path: record(found, path, out))
            for path, module in self.model.named_modules()
        ]
        try:
            with no_grad():
                self.model(*map(Tensor, inputs))
        except Exception as problem:  # a broken model may raise anything; what it did before is what we are after
            return found, problem
        finally:
            for remove in removers:
                remove()
        return found, None


class Torch(Side):
    name = "torch"

    def __init__(self, architecture: Architecture, case: Case, precision: str) -> None:
        self.torch = torch = pytorch()
        self.twin = architecture.module("torch_twin")
        with torch.random.fork_rng(devices=[]):
            self.model = self.twin.build(**case.options).to(getattr(torch, precision))
        self.case = case

    def load(self, state: Arrays) -> None:
        self.model.load_state_dict({name: self.torch.tensor(a) for name, a in state.items()})
        self.optimizer = self.torch.optim.SGD(self.model.parameters(), lr=self.case.lr, momentum=MOMENTUM)

    def state(self) -> Arrays:
        return {name: t.detach().numpy().copy() for name, t in self.model.state_dict().items()}

    def outputs(self, inputs: tuple[Array, ...]) -> list[Array]:
        self.model.eval()
        with self.torch.no_grad():
            return [t.numpy() for t in leaves(self.model(*map(self.torch.tensor, inputs)))]

    def gradients(self, batch: tuple[Array, ...]) -> tuple[float, Arrays]:
        self.model.train()
        self.model.zero_grad()
        loss = self.twin.loss(self.model, *map(self.torch.tensor, batch))
        loss.backward()
        parameters = self.model.named_parameters()
        return loss.item(), {n: np.zeros(p.shape) if p.grad is None else p.grad.numpy().copy() for n, p in parameters}

    def update(self) -> None:
        self.optimizer.step()

    def stages(self, inputs: tuple[Array, ...], training: bool) -> tuple[Arrays, Exception | None]:
        found: Arrays = {}
        rnn = self.torch.nn.utils.rnn
        steps = inputs[0].shape[1] if inputs[0].ndim > 1 else None

        def hook(path: str) -> Callable[..., None]:
            def keep(module: Any, args: Any, out: Any) -> None:
                first = out[0] if isinstance(out, tuple) else out
                packed = isinstance(first, rnn.PackedSequence)
                record(found, path, rnn.pad_packed_sequence(first, batch_first=True, total_length=steps)[0] if packed else out)

            return keep

        handles = [module.register_forward_hook(hook(path)) for path, module in self.model.named_modules()]
        self.model.train(training)
        with self.torch.no_grad():
            self.model(*map(self.torch.tensor, inputs))
        for handle in handles:
            handle.remove()
        return found, None


class Keras(Side):
    name = "keras"

    def __init__(self, architecture: Architecture, case: Case, precision: str) -> None:
        self.tf, self.keras = tensorflow_and_keras()
        self.twin, self.case, self.precision = architecture.module("keras_twin"), case, precision
        with self._floatx():
            self.model = self.twin.build(**case.options)
        self.weights = self.twin.weight_map(self.model)
        self.parameters = [name for name, weight in self.weights.items() if weight.variable.trainable]
        self.variables = [self.weights[name].variable for name in self.parameters]
        self._compiled = self.tf.function(self._loss_and_gradients, reduce_retracing=True)

    @contextmanager
    def _floatx(self) -> Iterator[None]:
        before = self.keras.config.floatx()
        self.keras.config.set_floatx(self.precision)
        try:
            yield
        finally:
            self.keras.config.set_floatx(before)

    def load(self, state: Arrays) -> None:
        with self._floatx():
            for name, weight in self.weights.items():
                weight.variable.assign(weight.to_keras(state[name]))
        self.velocities = [np.zeros(v.shape, self.precision) for v in self.variables]

    def state(self) -> Arrays:
        return {name: np.array(weight.from_keras(weight.variable.numpy())) for name, weight in self.weights.items()}

    def outputs(self, inputs: tuple[Array, ...]) -> list[Array]:
        with self._floatx():
            return [np.asarray(t) for t in leaves(self.model(*map(self.tf.constant, inputs), training=False))]

    def _loss_and_gradients(self, *batch: Any) -> Any:
        with self.tf.GradientTape() as tape:
            loss = self.twin.loss(self.model, *batch)
        found = tape.gradient(loss, [v.value for v in self.variables])
        return loss, [
            self.tf.zeros_like(v.value) if g is None else self.tf.convert_to_tensor(g)  # an embedding's are IndexedSlices
            for v, g in zip(self.variables, found, strict=True)
        ]

    def gradients(self, batch: tuple[Array, ...]) -> tuple[float, Arrays]:
        with self._floatx():
            loss, self._found = self._compiled(*map(self.tf.constant, batch))
        arrays = zip(self.parameters, self._found, strict=True)
        return float(loss), {name: np.asarray(self.weights[name].from_keras(g.numpy())) for name, g in arrays}

    def update(self) -> None:
        """keras.optimizers.SGD, written out: that one rounds its learning rate to float32."""
        for i, (variable, g) in enumerate(zip(self.variables, self._found, strict=True)):
            self.velocities[i] = MOMENTUM * self.velocities[i] + g.numpy()
            variable.assign(variable.numpy() - self.case.lr * self.velocities[i])

    def stages(self, inputs: tuple[Array, ...], training: bool) -> tuple[Arrays, Exception | None]:
        """Layers go by their Keras names; maps may come with channels last."""
        found: Arrays = {}

        def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
            def watching(*args: Any, **kwargs: Any) -> Any:
                out = call(*args, **kwargs)
                record(found, name, out)
                return out

            return watching

        layers = [layer for layer in self.model._flatten_layers(include_self=False) if hasattr(layer, "call")]
        calls = [layer.call for layer in layers]
        try:
            for layer, call in zip(layers, calls, strict=True):
                layer.call = watched(layer.name, call)
            with self._floatx():
                record(found, "", self.model(*map(self.tf.constant, inputs), training=training))
        finally:
            for layer, call in zip(layers, calls, strict=True):
                layer.call = call
        return found, None


TWINS: dict[str, Callable[[Architecture, Case, str], Side]] = {"torch": Torch, "keras": Keras}


def leaves(value: Any) -> list[Any]:
    """The Tensors of a model's answer, which may be nested in tuples and dictionaries."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [leaf for item in value for leaf in leaves(item)]
    return [] if value is None else [value]


def record(found: Arrays, path: str, out: Any) -> None:
    """Notes the first Tensor of a part's answer; a part that runs again goes by its path and a number."""
    first = next(iter(leaves(out)), None)
    if first is None:
        return
    number = 1 + sum(known.split("#")[0] == path for known in found)
    value = first.data if isinstance(first, Tensor) else first.numpy() if hasattr(first, "numpy") else None
    if value is not None:
        found[path if number == 1 else f"{path}#{number}"] = np.array(value)


@cache
def pytorch() -> Any:
    """PyTorch, once it is known that it is there. Raises UserError otherwise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torch
    except ImportError:
        raise _missing("PyTorch") from None
    return torch


@cache
def tensorflow_and_keras() -> tuple[ModuleType, ModuleType]:
    """TensorFlow and Keras on it, without their noise and with one thread. Raises UserError where they are not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its kernels round otherwise from run to run
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow as tf

            tf.get_logger().setLevel("ERROR")
            with suppress(RuntimeError):  # already running: then it stays as its owner wants it
                tf.config.set_visible_devices([], "GPU")
                tf.config.threading.set_intra_op_parallelism_threads(1)
                tf.config.threading.set_inter_op_parallelism_threads(1)
            import keras
    except ImportError:
        raise _missing("TensorFlow and Keras") from None
    if keras.config.backend() != "tensorflow":
        raise UserError(f"Keras must run on TensorFlow here, received {keras.config.backend()}; set KERAS_BACKEND=tensorflow.")
    return tf, keras


def _missing(what: str) -> UserError:
    return UserError(f'The twins need {what}, which this environment lacks; install it with: pip install "nnatomy[verify]"')
