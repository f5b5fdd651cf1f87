"""Four ways of learning that live in the tests alone: a WGAN-GP, a self-organizing map, an extreme learning machine, a DQN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from toy_data import AsGiven, thirds

import nnatomy as nn
from nnatomy import ops
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset, Split
from nnatomy.data.fields import Field
from nnatomy.layers import LeakyReLU, Linear, ReLU, Sequential
from nnatomy.layers.module import Module
from nnatomy.ops.indexing import one_hot
from nnatomy.optim import Adam
from nnatomy.tasks import Classification, Evaluation, Metric, Task
from nnatomy.tensor import Parameter, Tensor
from nnatomy.training.learners import (
    Agent,
    Alternating,
    ClosedForm,
    GradientDescent,
    Interaction,
    LearnerSpec,
    LocalRule,
    Player,
    Stages,
)
from nnatomy.training.recipe import Recipe

Array = np.ndarray[Any, Any]


class Points(AsGiven):
    kind = "points"


def dataset_of(task: str, arrays: tuple[Array, ...], named: tuple[Field, ...], outputs: int, classes: int = 0) -> Dataset:
    names = tuple(map(str, range(classes)))
    parts = thirds(arrays, named)
    return Dataset("toy", "points", task, *parts, names, Points(), (), arrays[0].shape[1:], "toy points", outputs)


def blobs(rng: np.random.Generator, n: int = 240) -> tuple[Array, Array]:
    labels = rng.integers(0, 4, n)
    centers = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)
    return (centers[labels] + 0.1 * rng.normal(size=(n, 2))).astype(np.float32), labels


# Alternating: WGAN-GP (Gulrajani et al. 2017)


class Pair(Module):
    def __init__(self, width: int = 32) -> None:
        self.generator = Sequential(Linear(2, width), ReLU(), Linear(width, width), ReLU(), Linear(width, 2))
        self.critic = Sequential(Linear(2, width), LeakyReLU(0.2), Linear(width, width), LeakyReLU(0.2), Linear(width, 1))

    def forward(self, z: Tensor) -> Tensor:
        return self.generator(z)


def critic_loss(model: Pair, x: Tensor) -> tuple[Tensor, Any]:
    """E D(G(z)) - E D(x) + 10 E (|dD/dx'| - 1)^2 at points x' between both."""
    fake = model.generator(nn.randn(x.shape[0], 2)).detach()
    mix = nn.rand(x.shape[0], 1)
    between = (mix * x + (1 - mix) * fake).detach()
    between.requires_grad = True
    (slope,) = nn.grad(model.critic(between).sum(), [between], create_graph=True)
    penalty = ((slope.square().sum(axis=1) + 1e-12).sqrt() - 1).square().mean()
    return model.critic(fake).mean() - model.critic(x).mean() + 10 * penalty, fake


def generator_loss(model: Pair, x: Tensor) -> tuple[Tensor, Any]:
    fake = model.generator(nn.randn(x.shape[0], 2))
    return -model.critic(fake).mean(), fake


class Generation(Task):
    """The energy distance between a split and as many samples."""

    name = "toy generation"
    needs_targets = False
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("energy_distance", "lower"),)

    def meter(self) -> Any:
        return _Energy()

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return outputs

    def columns(self, meant: Array) -> dict[str, Array]:
        return {"x": meant[:, 0], "y": meant[:, 1]}


class _Energy:
    def __init__(self) -> None:
        self.real: list[Array] = []
        self.made: list[Array] = []

    def add(self, outputs: Array, batch: tuple[Array, ...]) -> None:
        self.made.append(outputs)
        self.real.append(batch[0])

    def result(self) -> Evaluation:
        x, y = np.concatenate(self.real), np.concatenate(self.made)

        def apart(a: Array, b: Array) -> float:
            return float(np.linalg.norm(a[:, None] - b[None], axis=-1).mean())

        return Evaluation({"energy_distance": 2 * apart(x, y) - apart(x, x) - apart(y, y)})


# LocalRule: a self-organizing map (Kohonen 1982)


class Map(Module):
    def __init__(self, side: int = 4) -> None:
        self.codebook = Parameter(B.asarray(np.random.default_rng(0).normal(scale=0.1, size=(side * side, 2)), dtype="float32"))
        self.register("places", np.stack(np.divmod(np.arange(side * side), side), axis=1).astype(np.float32))

    def register(self, name: str, value: Array) -> None:
        setattr(self, name, Tensor(B.asarray(value)))

    def forward(self, x: Tensor) -> Tensor:
        """Squared distances to all units, negative: the nearest has the largest score."""
        return -(x[:, None, :] - self.codebook[None]).square().sum(axis=2)


def kohonen(model: Map, progress: Any, x: Tensor, labels: Tensor, lr: float = 0.5, radius: float = 2.0) -> Tensor:
    scores = model(x)
    winners = one_hot(scores.argmax(axis=1), scores.shape[1], dtype="float32")
    where = winners @ model.places
    sigma = radius * (0.1 / radius) ** progress
    near = ops.exp(-(where[:, None, :] - model.places[None]).square().sum(axis=2) / (2 * sigma * sigma))
    pull = lr * (1.0 - progress) * near
    change = (pull[:, :, None] * (x[:, None, :] - model.codebook[None])).mean(axis=0)
    model.codebook.copy_((model.codebook + change).astype("float32"))
    return -scores.max(axis=1).mean()


class Quantization(Task):
    name = "toy clustering"
    needs_targets = False
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("quantization_error", "lower"),)

    def meter(self) -> Any:
        return _Quantization()

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return outputs

    def columns(self, meant: Array) -> dict[str, Array]:
        return {"unit": meant.argmax(axis=1)}


class _Quantization:
    def __init__(self) -> None:
        self.errors: list[Array] = []

    def add(self, outputs: Array, batch: tuple[Array, ...]) -> None:
        self.errors.append(np.sqrt(-outputs.max(axis=1)))

    def result(self) -> Evaluation:
        return Evaluation({"quantization_error": float(np.concatenate(self.errors).mean())})


# ClosedForm: an extreme learning machine (Huang, Zhu and Siew 2006)


class ELM(Module):
    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        rng = np.random.default_rng(1)
        self.weight = Tensor(B.asarray(rng.normal(size=(inputs, hidden)), dtype="float32"))
        self.bias = Tensor(B.asarray(rng.normal(size=hidden), dtype="float32"))
        self.readout = Parameter(B.zeros((hidden, outputs), dtype="float32"))

    def features(self, x: Tensor) -> Tensor:
        return (x @ self.weight + self.bias).tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x) @ self.readout


def elm_sums(model: ELM, ridge: float) -> dict[str, Array]:
    hidden, outputs = model.readout.shape
    return {"HH": np.zeros((hidden, hidden)), "HY": np.zeros((hidden, outputs))}


def elm_absorb(model: ELM, sums: dict[str, Tensor], x: Tensor, labels: Tensor, mask: Any = None) -> dict[str, Tensor]:
    h = model.features(x).astype("float64")
    y = 2 * one_hot(labels, model.readout.shape[1], dtype="float64") - 1
    h = h if mask is None else h * mask.astype("float64")[:, None]
    return {"HH": sums["HH"] + h.T @ h, "HY": sums["HY"] + h.T @ y}


def elm_solve(model: ELM, sums: dict[str, Array], ridge: float) -> None:
    solution = np.linalg.solve(sums["HH"] + ridge * np.eye(len(sums["HH"])), sums["HY"])
    model.readout.data = B.asarray(solution, dtype="float32")


# Interaction: a deep Q-network (Mnih et al. 2015) on a corridor


class Corridor:
    """Seven cells; action 1 goes right, 0 left; the right end gives 1 and ends the walk, which starts at the left end."""

    cells = 7

    def __init__(self) -> None:
        self.at, self.steps = 0, 0

    def act(self, action: int) -> tuple[float, bool]:
        self.at = min(max(self.at + (1 if action else -1), 0), self.cells - 1)
        self.steps += 1
        done = self.at == self.cells - 1
        return float(done), done or self.steps >= 40

    def reset(self) -> None:
        self.at, self.steps = 0, 0


class Q(Module):
    def __init__(self) -> None:
        self.online = Sequential(Linear(Corridor.cells, 16), ReLU(), Linear(16, 2))
        self.target = Sequential(Linear(Corridor.cells, 16), ReLU(), Linear(16, 2))
        self.target.load_state_dict(self.online.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        return self.online(x)


def seen(cell: int) -> Array:
    return np.eye(Corridor.cells, dtype=np.float32)[cell]


class Walker(Agent):
    """Epsilon-greedy steps, a replay memory, and a target network that follows slowly."""

    def __init__(self, model: Q, dataset: Dataset, memory: int = 200, batch: int = 32) -> None:
        self.world, self.rng, self.batch = Corridor(), np.random.Generator(np.random.PCG64(5)), batch
        self.memory = {
            "state": np.zeros((memory, Corridor.cells), np.float32), "action": np.zeros(memory, np.int64),
            "reward": np.zeros(memory, np.float32), "next": np.zeros((memory, Corridor.cells), np.float32),
            "live": np.zeros(memory, np.float32),
        }  # fmt: skip
        self.count = 0

    def collect(self, model: Q, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        for _ in range(4):
            self._step(model)
        rows = self.rng.integers(0, min(self.count, len(self.memory["action"])), self.batch)
        return tuple(a[rows] for a in self.memory.values())

    def _step(self, model: Q) -> None:
        state = seen(self.world.at)
        greedy = self.rng.uniform() > 0.3
        with nn.no_grad():
            scores = np.asarray(model.online(Tensor(B.asarray(state[None]))).data)[0]
        action = int(scores.argmax()) if greedy else int(self.rng.integers(2))
        reward, ended = self.world.act(action)
        values = state, action, reward, seen(self.world.at), float(self.world.at != Corridor.cells - 1)
        for name, value in zip(self.memory, values):
            self.memory[name][self.count % len(self.memory[name])] = value
        self.count += 1
        if ended:
            self.world.reset()

    def after_update(self, model: Q) -> None:
        with nn.no_grad():
            for slow, fast in zip(model.target.parameters(), model.online.parameters()):
                slow.copy_(0.95 * slow + 0.05 * fast)

    def external_state(self) -> dict[str, Any]:
        return {
            "memory": {name: a.copy() for name, a in self.memory.items()}, "count": self.count,
            "world": [self.world.at, self.world.steps], "rng": _stream(self.rng),
        }  # fmt: skip

    def restore_external_state(self, saved: dict[str, Any]) -> None:
        if not saved:
            return
        self.memory = {name: np.array(saved["memory"][name]) for name in self.memory}
        self.count, (self.world.at, self.world.steps) = saved["count"], saved["world"]
        self.rng.bit_generator.state = {
            "bit_generator": "PCG64", "state": {k: int(v) for k, v in saved["rng"]["state"].items()},
            "has_uint32": saved["rng"]["has_uint32"], "uinteger": saved["rng"]["uinteger"],
        }  # fmt: skip


def _stream(rng: np.random.Generator) -> dict[str, Any]:
    """The whole state of a NumPy stream, in values that JSON holds."""
    state: Any = rng.bit_generator.state
    words = {k: str(v) for k, v in state["state"].items()}
    return {"state": words, "has_uint32": state["has_uint32"], "uinteger": state["uinteger"]}


def bellman(model: Q, state: Tensor, action: Tensor, reward: Tensor, following: Tensor, live: Tensor) -> tuple[Tensor, Any]:
    """Mean of (Q(s, a) - r - 0.9 max_a' Q'(s', a'))^2."""
    value = (model.online(state) * one_hot(action, 2, dtype="float32")).sum(axis=1)
    goal = (reward + 0.9 * live * model.target(following).max(axis=1)).detach()
    return (value - goal).square().mean(), value


class Control(Task):
    """The mean reward of a greedy walk per step, which is highest on the shortest way."""

    name = "toy control"
    needs_targets = False
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("reward", "higher"),)

    def meter(self) -> Any:
        raise AssertionError("an agent is measured by walking")

    def evaluate(self, model: Module, split: Split, batch_size: int | None = None, part: str = "test") -> Evaluation:
        world, gained = Corridor(), 0.0
        while True:
            scores = np.asarray(nn.tasks.forward(model, (seen(world.at)[None],)).data)[0]
            reward, ended = world.act(int(scores.argmax()))
            gained += reward
            if ended:
                return Evaluation({"reward": gained / world.steps})

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return outputs

    def columns(self, meant: Array) -> dict[str, Array]:
        return {"action": meant.argmax(axis=1)}


# All of them


@dataclass(frozen=True)
class LearnerCase:
    name: str
    recipe: Recipe
    dataset: Callable[[], Dataset]
    goal: float


def _points(task: str, labels: bool) -> Callable[[], Dataset]:
    def make() -> Dataset:
        x, y = blobs(np.random.default_rng(4))
        if not labels:
            return dataset_of(task, (x,), (Field("points"),), 2)
        return dataset_of(task, (x, y), (Field("points"), Field("labels", role="target")), 4, 4)

    return make


def _clock() -> Dataset:
    """The input of an agent: the number of the tick, which it does not use."""
    return dataset_of("toy control", (np.arange(240, dtype=np.float32)[:, None],), (Field("tick"),), 2)


def _recipe(task: type[Task], build: Callable[..., Module], learn: LearnerSpec, metric: str, **options: Any) -> Recipe:
    return Recipe("points", (task,), "toy", lambda dataset: build(), {}, learn, options.pop("epochs", 6),
                  options.pop("batch_size", 32), metric, **options)  # fmt: skip


WGAN = Alternating(
    (
        Player("critic", critic_loss, partial(Adam, lr=2e-3, betas=(0.5, 0.9)), times=4),
        Player("generator", generator_loss, partial(Adam, lr=2e-3, betas=(0.5, 0.9))),
    )
)
SOM = LocalRule(partial(kohonen, lr=0.5))
CLOSED = ClosedForm(elm_sums, elm_absorb, elm_solve, options={"ridge": 1e-3})
DQN = Interaction(Walker, bellman, partial(Adam, lr=1e-2), parts=("online",), options={"memory": 200})
STAGED = Stages((CLOSED, 1), (GradientDescent(lambda m, x, y: (nn.functional.cross_entropy(m(x), y), m(x))), 3))

CASES = [
    LearnerCase("WGAN-GP", _recipe(Generation, Pair, WGAN, "energy_distance", epochs=100),
                _points("toy generation", False), 0.3),
    LearnerCase("SOM", _recipe(Quantization, Map, SOM, "quantization_error", batch_size=8),
                _points("toy clustering", True), 0.25),
    LearnerCase("ELM", _recipe(Classification, lambda: ELM(2, 24, 4), CLOSED, "accuracy", epochs=1),
                _points("classification", True), 0.98),
    LearnerCase("DQN", _recipe(Control, Q, DQN, "reward", epochs=60), _clock, 1 / 6),
    LearnerCase("stages", _recipe(Classification, lambda: ELM(2, 24, 4), STAGED, "accuracy", epochs=4),
                _points("classification", True), 0.98),
]  # fmt: skip
