"""Our model and its twins behind one interface, so that they can be led through the same steps.

The comparison itself is in compare.py.
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
from nnatomy.interchange.names import LEFT_OUT
from nnatomy.tensor import Tensor, wrap
from nnatomy.training.learners import GradientDescent, LearnerSpec, Setup
from nnatomy.training.precision import PRECISIONS
from nnatomy.training.recipe import Case

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]

MOMENTUM = 0.9


class Implementation(ABC):
    """One implementation of a case in one precision; arrays go in and come out as our model names and shapes them."""

    name: str

    @abstractmethod
    def load(self, state: Arrays) -> None:
        """Take over parameters and buffers, and forgets what the optimizer remembers."""

    @abstractmethod
    def state(self) -> Arrays:
        """A copy of all parameters and buffers."""

    @abstractmethod
    def outputs(self, inputs: tuple[Array, ...]) -> list[Array]:
        """Return the model's outputs in evaluation mode."""

    @abstractmethod
    def gradients(self, batch: tuple[Array, ...]) -> tuple[float, Arrays]:
        """The loss in training mode and its gradient by each parameter."""

    @abstractmethod
    def update(self) -> None:
        """One step of SGD with momentum along the gradients that were computed last."""

    @abstractmethod
    def start(self, state: Arrays, steps: int) -> None:
        """Take over parameters and buffers, and start `steps` steps of the case's own learner.

        Raises CannotLearn where this implementation does not have that learner.
        """

    @abstractmethod
    def learn(self, batch: tuple[Array, ...], step: int) -> None:
        """Take one of these steps; after the last one an epoch ends."""

    @abstractmethod
    def stages(self, inputs: tuple[Array, ...], training: bool) -> tuple[Arrays, Exception | None]:
        """Return the output of each part of the model by path, in the order of execution, up to an exception."""


class CannotLearn(Exception):
    """An implementation without a learner, and the reason."""


def own_learner(architecture: Architecture, case: Case) -> LearnerSpec:
    """Return the learner that a case's contracts use: its own, or that of the first recipe with the case's loss."""
    learn = case.learn or architecture.recipes[0].learn
    return learn.with_loss(case.loss) if "distill" in learn.can and case.loss is not None else learn


class Ours(Implementation):
    name = "nnatomy"

    def __init__(self, architecture: Architecture, case: Case, precision: str, seed: int = 0) -> None:
        kept = random.default.state_dict()
        random.seed(seed)
        try:
            self.model = architecture.module("model").build(**case.options).astype(precision)
        finally:
            random.default.load_state_dict(kept)
        self.architecture, self.case, self.precision = architecture, case, precision
        self.parameters = dict(self.model.named_parameters())

    def load(self, state: Arrays) -> None:
        self.model.load_state_dict(state)
        self.optimizer = optim.SGD(self.model.named_parameters(), lr=self.case.lr, momentum=MOMENTUM)

    def state(self) -> Arrays:
        return dict(self.model.state_dict())

    def outputs(self, inputs: tuple[Array, ...]) -> list[Array]:
        self.model.eval()
        with no_grad():
            return [np.asarray(t.data) for t in leaves(self.model(*map(wrap, inputs)))]

    def gradients(self, batch: tuple[Array, ...]) -> tuple[float, Arrays]:
        self.model.train()
        self.model.zero_grad()
        if self.case.loss is None:
            raise CannotLearn("nothing follows a gradient")
        loss, _ = self.case.loss(self.model, *map(wrap, batch))
        loss.backward()
        found = {n: np.zeros(p.shape) if p.grad is None else np.array(p.grad.data) for n, p in self.parameters.items()}
        return float(loss.item()), found

    def update(self) -> None:
        self.optimizer.step()

    def start(self, state: Arrays, steps: int) -> None:
        self.model.load_state_dict(state)
        self.model.train()
        self._steps = steps
        setup = Setup(PRECISIONS[self.precision])
        self.learner = own_learner(self.architecture, self.case).begin(self.model, setup=setup)
        self.learner.set_total(steps)
        self.learner.begin_epoch(0)
        self._state = self.learner.state()

    def learn(self, batch: tuple[Array, ...], step: int) -> None:
        self.learner.prepare(self._state, step, 1.0)
        self._state, _ = self.learner(self._state, batch)
        if step == self._steps - 1:
            self._state = self.learner.finish_epoch(self._state)
            self.learner.bind(self._state)

    def move(self, batch: tuple[Array, ...]) -> None:
        """Take one step of the own learner, after which buffers have moved and gradients and memories exist."""
        self.start(self.state(), 1)
        self.learn(batch, 0)

    def stages(self, inputs: tuple[Array, ...], training: bool) -> tuple[Arrays, Exception | None]:
        found: Arrays = {}
        self.model.train(training)
        handles = [
            module.register_forward_hook(lambda _, args, out, path=path: record(found, path, out))
            for path, module in self.model.named_modules()
        ]
        try:
            with no_grad():
                self.model(*map(wrap, inputs))
        except Exception as problem:  # a broken model may raise anything; we want the outputs before that
            return found, problem
        finally:
            for handle in handles:
                handle.remove()
        return found, None


class Torch(Implementation):
    name, module = "torch", "torch_twin"

    def __init__(self, architecture: Architecture, case: Case, precision: str) -> None:
        self.torch = torch = pytorch()
        self.architecture = architecture
        self.twin = architecture.module(self.module)
        with torch.random.fork_rng(devices=[]):
            self.model = self.twin.build(**case.options).to(getattr(torch, precision))
        self.case = case

    def load(self, state: Arrays) -> None:
        self.model.load_state_dict({name: self.torch.tensor(a) for name, a in state.items()})
        self.optimizer = self.torch.optim.SGD(self.model.parameters(), lr=self.case.lr, momentum=MOMENTUM)

    def state(self) -> Arrays:
        state = self.model.state_dict().items()
        return {name: t.detach().numpy().copy() for name, t in state if name.rpartition(".")[2] not in LEFT_OUT}

    def outputs(self, inputs: tuple[Array, ...]) -> list[Array]:
        self.model.eval()
        with self.torch.no_grad():
            return [t.numpy() for t in leaves(self.model(*map(self.torch.tensor, inputs)))]

    def gradients(self, batch: tuple[Array, ...]) -> tuple[float, Arrays]:
        if self.case.loss is None:
            raise CannotLearn("nothing follows a gradient")
        self.model.train()
        self.model.zero_grad()
        loss = self.twin.loss(self.model, *map(self.torch.tensor, batch))
        loss.backward()
        parameters = self.model.named_parameters()
        return loss.item(), {n: np.zeros(p.shape) if p.grad is None else p.grad.numpy().copy() for n, p in parameters}

    def update(self) -> None:
        self.optimizer.step()

    def start(self, state: Arrays, steps: int) -> None:
        self.load(state)
        self.model.train()
        self._steps = steps
        self._spec = own_learner(self.architecture, self.case)
        if not isinstance(self._spec, GradientDescent):
            if not hasattr(self.twin, "learn"):
                raise CannotLearn(
                    f"torch_twin.py has no learn(model, progress, *batch), which takes a step of {type(self._spec).__name__}"
                )
            return
        rule, kind = self._spec.optimizer, getattr(self.torch.optim, self._spec.optimizer.func.__name__, None)
        if kind is None:
            raise CannotLearn(f"PyTorch has no optimizer {rule.func.__name__}")
        self._optimizer = kind(decay_groups(self.model, self._spec), **rule.keywords)
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self._schedule = None if self._spec.schedule is None else self._spec.schedule(steps)

    def learn(self, batch: tuple[Array, ...], step: int) -> None:
        tensors = tuple(map(self.torch.tensor, batch))
        if not isinstance(self._spec, GradientDescent):
            self.twin.learn(self.model, step / self._steps, *tensors)
            return
        for group, rate in zip(self._optimizer.param_groups, self._rates):
            group["lr"] = rate * (1.0 if self._schedule is None else self._schedule(step))
        self._optimizer.zero_grad()
        self.twin.loss(self.model, *tensors).backward()
        if self._spec.clip is not None:
            self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._spec.clip)
        self._optimizer.step()

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


def decay_groups(model: Any, spec: GradientDescent) -> list[dict[str, Any]]:
    """Return the parameters of a PyTorch model in groups: those that weight decay shrinks, and those that it leaves alone."""
    named = list(model.named_parameters())
    groups = [{"params": [p for name, p in named if spec.decays(name)]}]
    spared = [p for name, p in named if not spec.decays(name)]
    return [*groups, {"params": spared, "weight_decay": 0.0}] if spared else groups


class Library(Torch):
    """The network as a well-known library ships it for PyTorch; library.py says which, and how weights are named there."""

    name, module = "library", "library"

    def __init__(self, architecture: Architecture, case: Case, precision: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what libraries import
                super().__init__(architecture, case, precision)
        except ModuleNotFoundError as missing:
            raise _missing(str(missing.name)) from None
        self.name = self.twin.LIBRARY

    def start(self, state: Arrays, steps: int) -> None:
        raise CannotLearn("a library's network takes the steps of SGD alone; those of the own learner are the twin's")


class Keras(Implementation):
    name = "keras"

    def __init__(self, architecture: Architecture, case: Case, precision: str) -> None:
        self.tf, self.keras = tensorflow_and_keras()
        self.architecture, self.case, self.precision = architecture, case, precision
        self.twin = architecture.module("keras_twin")
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
        if self.case.loss is None:
            raise CannotLearn("nothing follows a gradient")
        with self._floatx():
            loss, self._found = self._compiled(*map(self.tf.constant, batch))
        arrays = zip(self.parameters, self._found, strict=True)
        return float(loss), {name: np.asarray(self.weights[name].from_keras(g.numpy())) for name, g in arrays}

    def update(self) -> None:
        """keras.optimizers.SGD, written out: that one rounds its learning rate to float32."""
        for i, (variable, g) in enumerate(zip(self.variables, self._found, strict=True)):
            self.velocities[i] = MOMENTUM * self.velocities[i] + g.numpy()
            variable.assign(variable.numpy() - self.case.lr * self.velocities[i])

    def start(self, state: Arrays, steps: int) -> None:
        """Learners other than gradient descent, by the twin's own learn(model, progress, *batch)."""
        if isinstance(own_learner(self.architecture, self.case), GradientDescent) or not hasattr(self.twin, "learn"):
            raise CannotLearn("gradient descent is compared after SGD with momentum in Keras")
        self.load(state)
        self._steps = steps

    def learn(self, batch: tuple[Array, ...], step: int) -> None:
        with self._floatx():
            self.twin.learn(self.model, step / self._steps, *map(self.tf.constant, batch))

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


class Reference(Implementation):
    """The reference.py of architectures without a twin: build(**options), load and state by our names, outputs, learn."""

    name = "reference"

    def __init__(self, architecture: Architecture, case: Case, precision: str) -> None:
        self.reference, self.precision = architecture.module("reference"), precision
        self.model = self.reference.build(**case.options)

    def load(self, state: Arrays) -> None:
        self.reference.load(self.model, {name: np.array(a) for name, a in state.items()})

    def state(self) -> Arrays:
        return {name: np.array(a) for name, a in self.reference.state(self.model).items()}

    def outputs(self, inputs: tuple[Array, ...]) -> list[Array]:
        found = self.reference.outputs(self.model, *inputs)
        return [np.asarray(a) for a in (found if isinstance(found, tuple | list) else [found])]

    def gradients(self, batch: tuple[Array, ...]) -> tuple[float, Arrays]:
        raise CannotLearn("a reference has no gradients")

    def update(self) -> None:
        raise CannotLearn("a reference has no gradients")

    def start(self, state: Arrays, steps: int) -> None:
        self.load(state)
        self._steps = steps

    def learn(self, batch: tuple[Array, ...], step: int) -> None:
        self.reference.learn(self.model, step / self._steps, *batch)
        if step == self._steps - 1 and hasattr(self.reference, "end_epoch"):
            self.reference.end_epoch(self.model)

    def stages(self, inputs: tuple[Array, ...], training: bool) -> tuple[Arrays, Exception | None]:
        return {"": self.outputs(inputs)[0]}, None


TWINS: dict[str, Callable[[Architecture, Case, str], Implementation]] = {
    "torch": Torch, "keras": Keras, "library": Library, "reference": Reference,
}  # fmt: skip
FILES = {"torch": "torch_twin.py", "keras": "keras_twin.py", "library": "library.py", "reference": "reference.py"}


def twins_of(architecture: Architecture, case: Case | None = None) -> tuple[str, ...]:
    """Return which of TWINS an architecture is compared with: twins and the library that ships it, or a reference instead.

    With a case, those that have its variant: library.py may say by `ships(**options)` that the library lacks it.
    """
    if (architecture.folder / FILES["reference"]).is_file():
        return ("reference",)
    found = tuple(twin for twin in ("torch", "keras", "library") if (architecture.folder / FILES[twin]).is_file())
    if case is None or "library" not in found or architecture.module("library").ships(**case.options):
        return found
    return found[:-1]


def leaves(value: Any) -> list[Any]:
    """Return the Tensors of a model's output, which may be nested in tuples and dictionaries."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [leaf for item in value for leaf in leaves(item)]
    return [] if value is None else [value]


def record(found: Arrays, path: str, out: Any) -> None:
    """Record the first Tensor of a part's output; a part that runs again is named by its path and a number."""
    first = next(iter(leaves(out)), None)
    if first is None:
        return
    number = 1 + sum(known.split("#")[0] == path for known in found)
    value = first.data if isinstance(first, Tensor) else first.numpy() if hasattr(first, "numpy") else None
    if value is not None:
        found[path if number == 1 else f"{path}#{number}"] = np.array(value)


@cache
def pytorch() -> Any:
    """Return the module torch. Raises UserError where it is not installed."""
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
        raise UserError(f"Keras must run on TensorFlow here. Received {keras.config.backend()}. Set KERAS_BACKEND=tensorflow.")
    return tf, keras


def _missing(what: str) -> UserError:
    return UserError(f'The comparison needs {what}. Received an environment without it. Run pip install "nnatomy[verify]".')
