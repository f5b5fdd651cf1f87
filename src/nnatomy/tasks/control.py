"""Control: how much reward an agent collects that always takes the action with the largest output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy.backends import B
from nnatomy.data import fields
from nnatomy.data.dataset import Dataset, Split, generator
from nnatomy.layers.module import Module
from nnatomy.tasks.baselines import Baseline, FittedBaseline
from nnatomy.tasks.figures import BLUE, GRAY, ORANGE
from nnatomy.tasks.parts import Answer, Array, Batch, Coloring, Meter, Mistakes, Score
from nnatomy.tasks.task import Task, stream
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.data.kinds.environment.environment import EnvironmentPreprocessing

EPISODES = 20
"""Episodes that are played to evaluate: the first ones of a split."""
SHOWN = 100
"""Steps of an episode that the report's figure shows."""
GAMMA = 0.99
"""The discount of value iteration where no recipe has one."""
Policy = Callable[[Array], Array]
"""From inputs (n, features) to one number an action (n, actions); the action with the largest is taken."""


@dataclass(frozen=True)
class Episode:
    """The events from the first observation to the end."""

    observations: Array  # (steps + 1, numbers), as the environment gave them
    actions: Array  # (steps,)
    rewards: Array  # (steps,)
    terminated: bool  # False: truncated, by the limit of steps


def play(policy: Policy, preprocessing: EnvironmentPreprocessing, seeds: Sequence[int] | Array) -> list[Episode]:
    """Return the episodes of these seeds, played side by side; the policy sees one row an episode, ended ones included."""
    worlds = [preprocessing.world() for _ in seeds]
    seen = [[world.reset(int(seed))] for world, seed in zip(worlds, seeds, strict=True)]
    actions: list[list[int]] = [[] for _ in worlds]
    rewards: list[list[float]] = [[] for _ in worlds]
    terminated = [False] * len(worlds)
    live = list(range(len(worlds)))
    while live:
        (inputs,) = preprocessing.prepare(np.stack([observations[-1] for observations in seen]))
        chosen = policy(inputs).argmax(axis=1)
        for n in tuple(live):
            observation, reward, terminated[n], truncated = worlds[n].step(int(chosen[n]))
            seen[n].append(observation)
            actions[n].append(int(chosen[n]))
            rewards[n].append(reward)
            if terminated[n] or truncated:
                live.remove(n)
    return [
        Episode(np.stack(o), np.array(a), np.array(r), end)
        for o, a, r, end in zip(seen, actions, rewards, terminated, strict=True)
    ]


def random_policy(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """All actions with the same probability."""
    rng = generator(0)
    return FittedBaseline(lambda x: rng.uniform(size=(len(x), dataset.outputs)), 0, 0)


def by_hand(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """A linear policy that a person wrote for the environment."""
    from nnatomy.data.kinds.environment.policies import linear_policy

    scores = linear_policy(_preprocessing(dataset))
    return FittedBaseline(scores, dataset.input_shape[0], dataset.input_shape[0])


def optimal(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Value iteration on the world's own probabilities, which no agent is given: the best that can be reached."""
    from nnatomy.data.kinds.environment.policies import exact_values

    found = [float(settings["gamma"]) for recipe in recipes if "gamma" in (settings := recipe.learn.settings())]
    values = exact_values(_preprocessing(dataset), max(found, default=GAMMA))
    return FittedBaseline(lambda x: x @ values, values.size, 0)


def _preprocessing(dataset: Dataset) -> EnvironmentPreprocessing:
    found: Any = dataset.preprocessing
    return found  # type: ignore[no-any-return]


class Control(Task):
    """The mean return of episodes in which the action with the largest output is taken; a return is the sum of rewards."""

    name = "control"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("return", "higher", "reward", "mean sum of the rewards of an episode"),
        Metric("return_sd", "lower", "reward", "standard deviation of that sum over the episodes"),
    )
    gives = (("action_values", "one number an action, in their order; the action with the largest is taken"),)
    explains = "the output for the action that is taken"
    baselines: ClassVar[Mapping[str, Baseline]] = {
        "random policy": random_policy, "policy by hand": by_hand, "value iteration": optimal,
    }  # fmt: skip

    def evaluate(self, model: Module, split: Split, batch_size: int | None = None, part: str = "test") -> Evaluation:
        """Return the metrics of the first EPISODES episodes of a split, which its seeds decide."""
        return self.measure(self.policy(model, part), split)

    def policy(self, model: Module, part: str = "predict") -> Policy:
        """Return the model as a function from inputs to one number an action."""
        once, function = self.function(model, self.dataset.input_fields, False)
        arrays, number = once.arrays(), 0

        def outputs(inputs: Array) -> Array:
            nonlocal number
            number += 1
            _, found = function(arrays, stream(part, number), (B.asarray(inputs),))
            return np.asarray(self.feed.devices.to_host(found))

        return outputs

    def score(self, outputs: Callable[..., Any], split: Split) -> Evaluation:
        """Return the metrics of a policy that no network gave."""
        return self.measure(outputs, split)

    def measure(self, policy: Policy, split: Split) -> Evaluation:
        """Return the metrics of a policy on the first EPISODES episodes of a split, and how the first one went."""
        batch = split.take(np.arange(min(EPISODES, len(split))))
        episodes = play(policy, _preprocessing(self.dataset), fields.select(split.fields, batch, "target")[0])
        meter = self.meter()
        meter.add(np.array([[episode.rewards.sum(), len(episode.rewards)] for episode in episodes]), batch)
        found, first = meter.result(), episodes[0]
        return Evaluation(found.metrics, found.arrays | {"observations": first.observations, "actions": first.actions})

    def meter(self) -> Meter:
        """Return a meter of played episodes: outputs are (episodes, 2), the return and the number of steps of each."""
        return _Outcomes()

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return outputs

    def errors(self, evaluation: Evaluation) -> Array:
        return -evaluation.arrays["returns"]

    def columns(self, meant: Array) -> dict[str, Array]:
        names = np.array(_preprocessing(self.dataset).actions)
        return {"action": names[meant.argmax(axis=1)]} | {f"value_{name}": meant[:, n] for n, name in enumerate(names)}

    def sample(self, model: Module, count: int, seed: int, label: int | None = None) -> Answer:
        """Return `count` episodes, the first one started by `seed`: a line each, and the first as animation and as picture."""
        from nnatomy.data.kinds.environment.rollouts import write_animation, write_trajectory

        preprocessing, policy = _preprocessing(self.dataset), self.policy(model, "sample")
        seeds = np.arange(seed, seed + count)
        episodes = play(policy, preprocessing, seeds)
        first = episodes[0]
        values = policy(preprocessing.prepare(first.observations[:-1])[0])
        columns = {
            "seed": seeds,
            "return": np.array([episode.rewards.sum() for episode in episodes]),
            "steps": np.array([len(episode.rewards) for episode in episodes]),
            "ended": np.array(["terminated" if episode.terminated else "truncated" for episode in episodes]),
        }
        return Answer(columns, files={
            "samples.gif": partial(
                write_animation, preprocessing=preprocessing, observations=first.observations, rewards=first.rewards
            ),
            "samples.png": partial(
                write_trajectory, preprocessing=preprocessing, observations=first.observations, values=values,
                actions=first.actions,
            ),
        })  # fmt: skip

    def figure(self, evaluation: Evaluation) -> Figure:
        preprocessing = _preprocessing(self.dataset)
        return episodes_figure(evaluation.arrays, preprocessing.columns, preprocessing.actions)

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        """Return the episodes by their return, the lowest first."""
        returns, lengths = evaluation.arrays["returns"], evaluation.arrays["lengths"]
        order = np.argsort(returns, kind="stable")
        says = {int(n): f"return {returns[n]:.3g} in {lengths[n]:g} steps" for n in order}
        title = f"How episodes with the lowest return start, of {len(returns)} (mean return {returns.mean():.3g})"
        return Mistakes(order, says, title, "the return of the episode that starts so")

    def saliency_score(self, outputs: Array, batch: Batch) -> Score:
        k = int(outputs[0].argmax())
        name = _preprocessing(self.dataset).actions[k]
        return Score(lambda out, x: out[:, k], f"{name}, {outputs[0, k]:.3g}")

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        taken = self.policy(model)(batch[0]).argmax(axis=1)
        return Coloring("the action that is taken", taken, _preprocessing(self.dataset).actions)


class _Outcomes:
    """Returns and lengths of episodes."""

    def __init__(self) -> None:
        self._outcomes: list[Array] = []

    def add(self, outputs: Array, batch: Batch) -> None:
        self._outcomes.append(outputs)

    def result(self) -> Evaluation:
        returns, lengths = np.concatenate(self._outcomes).T
        metrics = {
            "return": float(returns.mean()), "return_sd": float(returns.std()), "episode_length": float(lengths.mean()),
        }  # fmt: skip
        return Evaluation(metrics, {"returns": returns, "lengths": lengths})


def episodes_figure(arrays: dict[str, Array], columns: tuple[str, ...], actions: tuple[str, ...]) -> Figure:
    """Return the returns of all test episodes, and what the agent saw and did in the first one."""
    from matplotlib.figure import Figure

    returns, seen, taken = arrays["returns"], arrays["observations"], arrays["actions"]
    steps = min(len(taken), SHOWN)
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.bar(np.arange(1, len(returns) + 1), returns, color=BLUE)
    left.axhline(returns.mean(), color=ORANGE, lw=1.5)
    left.set(title=f"Return of each test episode (mean {returns.mean():.4g})", xlabel="episode", ylabel="return")
    for n, name in enumerate(columns[:6]):
        middle.plot(seen[: steps + 1, n], label=name, lw=1.2)
    middle.set(title="First episode: observations")
    middle.legend(frameon=False, fontsize=8)
    right.step(np.arange(steps), taken[:steps], where="mid", color=GRAY, lw=0.8)
    right.scatter(np.arange(steps), taken[:steps], s=8, color=BLUE)
    right.set(title="First episode: actions", ylim=(-0.5, len(actions) - 0.5))
    right.set_yticks(range(len(actions)), actions)
    for axes in (middle, right):
        axes.set_xlabel("step" if steps == len(taken) else f"step (the first {steps} of {len(taken)})")
    for axes in (left, middle, right):
        axes.grid(alpha=0.25)
    return figure
