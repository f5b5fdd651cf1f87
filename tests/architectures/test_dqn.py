"""The deep Q-network: a table converges to value iteration; what double, dueling, replay and the target network are for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.reinforcement.dqn import DQN, QNetwork, loss
from nnatomy.architectures.reinforcement.dqn.learner import DQNAgent, Memory
from nnatomy.architectures.reinforcement.dqn.model import tensors
from nnatomy.architectures.reinforcement.dqn.recipe import recipes
from nnatomy.data.kinds.environment.grid import GRIDS, GridWorld, Layout, value_iteration
from nnatomy.optim import SGD
from nnatomy.runs.checkpoints import flatten, unflatten
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.folder import load_arrays
from nnatomy.tensor import Tensor
from nnatomy.training.loop import Callback, Loop

Array = np.ndarray[Any, Any]
GAMMA = 0.99


class Line:
    """Five places; action 1 goes right, 0 stays. The right end gives 1 and ends; after four steps the episode is cut."""

    observation_space = type("Box", (), {"shape": (2,), "low": np.zeros(2), "high": np.array([4.0, 1.0])})()
    action_space = type("Discrete", (), {"n": 2})()

    def reset(self, *, seed: int | None = None) -> tuple[list[float], dict[str, Any]]:
        self.rng = np.random.default_rng(seed)
        self.at, self.steps = int(self.rng.integers(0, 3)), 0
        return [self.at, self.rng.uniform()], {}

    def step(self, action: int) -> tuple[list[float], float, bool, bool, dict[str, Any]]:
        self.at, self.steps = self.at + action, self.steps + 1
        done = self.at == 4
        return [self.at, self.rng.uniform()], float(done), done, not done and self.steps == 4, {}


class Last(Callback):
    """Keeps the last weights, where a fit returns those of the best epoch."""

    def end(self, loop: Loop) -> None:
        self.weights = {name: np.array(a) for name, a in loop.state["model"].items()}


def agent_of(environment: Any, **options: Any) -> tuple[DQNAgent, DQN, Any]:
    dataset = data.from_value(environment)
    assert dataset is not None
    nn.seed(0)
    model = DQN(dataset.input_shape[0], dataset.outputs, (8,))
    return DQNAgent(model, dataset, **({"warmup": 5, "memory": 64} | options)), model, dataset


def noise(rng: np.random.Generator, *shape: int) -> Array:
    return rng.normal(size=shape).astype(np.float32)


# The fixed point


def test_a_table_converges_to_value_iteration() -> None:
    """With all steps of a world in the batch and the target copied each time, an update is a sweep of value iteration."""
    world = GridWorld(GRIDS["cliff"])
    exact, (p, rewards, ends) = value_iteration(world, GAMMA), world.dynamics()
    free = np.array(world.layout.cells(".", "S"))
    states, actions = (a.ravel() for a in np.meshgrid(free, np.arange(4), indexing="ij"))
    following = p[states, actions].argmax(axis=1)  # nothing slips
    eye = np.eye(len(exact), dtype=np.float32)
    batch = (
        eye[states], actions, rewards[following].astype(np.float32), eye[following],
        np.where(ends[following], 0, GAMMA).astype(np.float32),
    )  # fmt: skip
    model = DQN(len(exact), 4, (), dueling=False)
    model.load_state_dict({name: np.zeros_like(a) for name, a in model.state_dict().items()})
    table: Any = model.online.values[0].weight  # (actions, states)
    optimizer = SGD([table], lr=len(states))  # the mean over the batch divides by as many
    for _ in range(60):
        optimizer.zero_grad()
        value, _ = loss(model, *map(Tensor, batch))
        value.backward()
        optimizer.step()
        model.move_target(tau=1.0, every=1)
    np.testing.assert_allclose(table.numpy().T[free], exact[free], atol=1e-5)
    assert np.abs(exact[free]).max() > 0.5


def test_each_copy_looks_one_step_further_ahead() -> None:
    """With reward 1 in every step and no end, k copies give 1 + gamma + ... + gamma^k, long before it is 1 / (1 - gamma)."""
    model = DQN(1, 2, (), dueling=False)
    model.load_state_dict({name: np.zeros_like(a) for name, a in model.state_dict().items()})
    one = np.ones((2, 1), np.float32)
    batch = tuple(map(Tensor, (one, np.arange(2), one[:, 0], one, np.full(2, 0.9, np.float32))))
    optimizer = SGD([model.online.values[0].weight], lr=2)  # type: ignore[attr-defined]
    for copies in range(4):
        for _ in range(3):
            optimizer.zero_grad()
            value, _ = loss(model, *batch)
            value.backward()
            optimizer.step()
        np.testing.assert_allclose(model(batch[0]).numpy(), sum(0.9**k for k in range(copies + 1)), rtol=1e-6)
        model.move_target(tau=1.0, every=1)


def test_an_agent_with_a_table_finds_the_exact_values_from_random_play() -> None:
    """Q-learning is off-policy: steps of a policy that never looks at the values teach the best ones."""
    world = GridWorld(Layout(("...G", ".#.P", "....")))
    dataset = data.from_value(world)
    assert dataset is not None
    options = {"gamma": GAMMA, "epsilon": 1.0, "explore": 1, "memory": 20_000, "warmup": 2000, "acts": 2, "every": 25}
    learn = replace(recipes[0].learn, optimizer=partial(SGD, lr=1.0), options=options)
    table = {"hidden": (), "dueling": False, "double": True}
    recipe = replace(recipes[0], learn=learn, options=table, epochs=20, patience=None)
    last = Last()
    fitted = fit_recipe(recipe, dataset, 0, callbacks=[last])
    weight, bias = (last.weights[f"online.values.0.{name}"] for name in ("weight", "bias"))
    learned = weight.T + bias
    free, exact = world.layout.cells("."), value_iteration(world, GAMMA)
    np.testing.assert_allclose(learned[free], exact[free], atol=0.01)
    best = fitted.task.score(fitted.task.baselines["value iteration"](dataset, [recipe]).outputs, dataset.test)
    assert fitted.test().metrics["return"] == pytest.approx(best.metrics["return"])


# Over-estimation


def test_the_largest_of_noisy_values_is_too_large_and_double_is_not() -> None:
    """All true values are 0, the estimates standard normal: max_a Q has the mean 1.539 of 10 normals, double's mean is 0."""
    rng, n, actions = np.random.default_rng(0), 4000, 10
    batch = Tensor(np.zeros(n, np.float32)), Tensor(np.eye(n, dtype=np.float32)), Tensor(np.ones(n, np.float32))
    means = {}
    for double in (False, True):
        model = DQN(n, actions, (), dueling=False, double=double)
        state = model.state_dict()
        for network in ("online", "target"):
            state[f"{network}.values.0.weight"] = noise(rng, actions, n)
            state[f"{network}.values.0.bias"] = np.zeros(actions, np.float32)
        model.load_state_dict(state)
        means[double] = float(model.targets(*batch).numpy().mean())
    assert means[False] == pytest.approx(1.539, abs=3 * 0.6 / n**0.5)
    assert means[True] == pytest.approx(0.0, abs=3 / n**0.5)


def test_double_values_the_online_networks_choice_by_the_target_network() -> None:
    for double, expected in ((False, 0.5 + 0.9 * 7.0), (True, 0.5 + 0.9 * 2.0)):
        model = DQN(1, 2, (), dueling=False, double=double)
        weights = {"online.values.0.weight": [[3.0], [1.0]], "target.values.0.weight": [[2.0], [7.0]]}
        zeros = {name: np.zeros_like(a) for name, a in model.state_dict().items()}
        model.load_state_dict(zeros | {name: np.array(a, np.float32) for name, a in weights.items()})
        found = model.targets(*(Tensor(np.array(a, np.float32)) for a in ([0.5], [[1.0]], [0.9])))
        assert float(found.item()) == pytest.approx(expected)


# Dueling


def test_dueling_splits_a_value_and_advantages_whose_mean_is_zero() -> None:
    nn.seed(0)
    network = QNetwork(4, 3, (16, 16))
    s = Tensor(noise(np.random.default_rng(1), 20, 4))
    before = network(s).numpy()
    h = nn.relu(network.common(s))
    np.testing.assert_allclose(before.mean(axis=1), network.value(h).numpy()[:, 0], rtol=1e-5, atol=1e-6)
    advantage: Any = network.advantage[2]
    with nn.no_grad():
        advantage.bias.copy_(advantage.bias + 5.0)  # without the mean taken off, V and A could trade such a constant
    np.testing.assert_allclose(network(s).numpy(), before, atol=1e-5)


# The loss


def test_errors_are_clipped() -> None:
    """The gradient by Q(s, a) of one error is the error itself, but never beyond 1; other actions have none."""
    model = DQN(3, 2, (), dueling=False)
    model.load_state_dict({name: np.zeros_like(a) for name, a in model.state_dict().items()})
    rewards = np.array([0.25, -40.0, 3.0], np.float32)
    eye = np.eye(3, dtype=np.float32)
    value, _ = loss(model, *map(Tensor, (eye, np.array([0, 1, 1]), rewards, eye, np.zeros(3, np.float32))))
    value.backward()
    table: Any = model.online.values[0].weight
    np.testing.assert_allclose(3 * table.grad.numpy(), [[-0.25, 0, 0], [0, 1, -1]], atol=1e-6)


def test_the_target_network_gets_no_gradient_and_is_no_parameter() -> None:
    model = DQN(4, 2, (8,))
    assert all(name.startswith("online.") for name, _ in model.named_parameters())
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(tensors(model.target), tensors(model.online), strict=True))
    rng = np.random.default_rng(0)
    value, _ = loss(model, *map(Tensor, (noise(rng, 5, 4), np.arange(5) % 2, noise(rng, 5), noise(rng, 5, 4), noise(rng, 5))))
    value.backward()
    assert all(t.grad is None for t in tensors(model.target))


@pytest.mark.parametrize("tau, every", [(1.0, 3), (0.1, 1), (0.5, 2)])
def test_the_target_network_moves_only_when_it_is_due(tau: float, every: int) -> None:
    model = DQN(3, 2, (5,))
    rng = np.random.default_rng(0)
    old = [t.numpy().copy() for t in tensors(model.target)]
    for step in range(1, 8):
        with nn.no_grad():
            for t in tensors(model.online):
                t.copy_(Tensor(noise(rng, *t.shape)))
        model.move_target(tau, every)
        new = [t.numpy() for t in tensors(model.target)]
        if step % every:
            assert all(np.array_equal(a, b) for a, b in zip(new, old, strict=True))
        else:
            for a, b, fresh in zip(new, old, tensors(model.online), strict=True):
                np.testing.assert_allclose(a, tau * fresh.numpy() + (1 - tau) * b, rtol=1e-6)
                assert not np.array_equal(a, b)
        old = [a.copy() for a in new]


# The agent


def test_replay_is_uniform_and_forgets_the_oldest() -> None:
    memory = Memory(50, 1)
    for n in range(30):
        memory.add(np.array([n]), n % 2, float(n), np.array([n + 1]), 0.9)
    rng = np.random.default_rng(0)
    assert set(memory.sample(5000, rng)[2].tolist()) == set(range(30))
    for n in range(30, 90):
        memory.add(np.array([n]), n % 2, float(n), np.array([n + 1]), 0.9)
    state, action, reward, following, _ = memory.sample(50_000, rng)
    counts = np.bincount(reward.astype(int), minlength=90)
    assert not counts[:40].any()
    chi_squared = ((counts[40:] - 1000) ** 2 / 1000).sum()  # 49 degrees of freedom
    assert 20 < chi_squared < 95
    assert np.array_equal(state[:, 0], reward)
    assert np.array_equal(following[:, 0], reward + 1)
    assert np.array_equal(action, reward.astype(int) % 2)


def test_only_a_true_end_stops_the_bootstrap() -> None:
    """An end has discount 0; a cut keeps gamma, and its next state is the one that was seen last, not a new start."""
    agent, model, _ = agent_of(Line, gamma=0.9, warmup=300, memory=400)
    agent.collect(model, (np.zeros((16, 2)), np.arange(16)))
    rows = np.arange(len(agent.memory))
    here, there = (np.round(a[rows, 0] * 2 + 2) for a in (agent.memory.state, agent.memory.following))  # scaled from 0 to 4
    ended = agent.memory.reward[rows] == 1
    assert np.array_equal(agent.memory.discount[rows], np.where(ended, np.float32(0), np.float32(0.9)))
    assert np.array_equal(there, here + agent.memory.action[rows])
    starts = np.flatnonzero(~np.isclose(agent.memory.state[rows[1:], 1], agent.memory.following[rows[:-1], 1])) + 1
    cut = [row for row in starts - 1 if not ended[row]]
    assert len(cut) > 10
    assert ended.sum() > 10
    assert all(agent.memory.discount[row] == np.float32(0.9) for row in cut)


def test_exploration_falls_linearly_from_1() -> None:
    agent, _, _ = agent_of(Line, warmup=100, explore=1000, epsilon=0.1)
    rates = []
    for agent.memory.added in (0, 100, 600, 1100, 5000):
        rates.append(agent.rate())
    np.testing.assert_allclose(rates, [1.0, 1.0, 0.55, 0.1, 0.1])


def test_without_exploration_the_best_action_is_taken() -> None:
    agent, model, dataset = agent_of(Line, warmup=1, explore=1, epsilon=0.0, acts=40)
    batch = (np.zeros((4, 2)), np.arange(4))
    agent.collect(model, batch)
    agent.collect(model, batch)
    rows = np.arange(45, 60)
    best = model(Tensor(agent.memory.state[rows])).numpy().argmax(axis=1)
    assert np.array_equal(agent.memory.action[rows], best)
    assert dataset.outputs == 2


def test_an_agent_continues_from_its_saved_state() -> None:
    agent, model, dataset = agent_of(Line, explore=20)
    seeds = np.arange(8)
    for k in range(7):
        agent.collect(model, (np.zeros((8, 2)), seeds + k))
    arrays, plain = flatten(agent.external_state())
    saved = unflatten({name: a.copy() for name, a in arrays.items()}, json.loads(json.dumps(plain)))
    again = DQNAgent(model, dataset, warmup=5, memory=64, explore=20)
    again.restore_external_state(saved)
    for k in range(20):
        batch = (np.zeros((8, 2)), seeds + 100 + k)
        for a, b in zip(agent.collect(model, batch), again.collect(model, batch), strict=True):
            assert np.array_equal(a, b)


def test_a_world_that_its_seed_does_not_decide_is_not_continued() -> None:
    class Wild(Line):
        def reset(self, *, seed: int | None = None) -> tuple[list[float], dict[str, Any]]:
            return super().reset(seed=None)

    agent, model, dataset = agent_of(Wild)
    while agent.state is None or not agent.memory.added:
        agent.collect(model, (np.zeros((8, 2)), np.arange(8)))
    saved = agent.external_state()
    again = DQNAgent(model, dataset, warmup=5, memory=64)
    with pytest.raises(nn.UserError, match="playing it again from its seed"):
        again.restore_external_state(saved)


@pytest.mark.parametrize("name, value", [("memory", 0), ("every", 0), ("acts", -1), ("gamma", 1.5), ("epsilon", -0.1)])
def test_wrong_settings_of_the_agent_are_refused(name: str, value: float) -> None:
    with pytest.raises(nn.UserError, match=f"--set {name}"):
        agent_of(Line, **{name: value})


# In use


def test_a_world_of_your_own_trains_predicts_and_is_evaluated_again(tmp_path: Path) -> None:
    result = nn.train("dqn", Line, out=tmp_path / "run", epochs=2, limit=200, report=False, settings={"warmup": 50})
    run = nn.load_run(result.run.folder, data=Line)
    assert run.evaluate().metrics == result.metrics
    answer = run.predict([[0.0, 0.5], [3.0, 0.5]])
    assert set(answer.columns) == {"row", "action", "value_action_1", "value_action_2"}
    with pytest.raises(nn.UserError, match=r"an environment or a Dataset\. Received int"):
        nn.train("dqn", 3)


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch, and of an episode; memory, world and random streams are in the checkpoint."""
    code = (
        "import sys, nnatomy as nn; from nnatomy.runs import checkpoints; checkpoints.EVERY = 0.02\n"
        "nn.train('dqn', 'grid', out=sys.argv[1], epochs=4, seed=5, report=False, settings={'warmup': 100})"
    )
    broken = tmp_path / "broken"
    process = subprocess.Popen([sys.executable, "-c", code, str(broken)])
    deadline = time.monotonic() + 60
    while not (broken / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (broken / "result.json").exists(), "the run was over before it was killed"
    again = nn.resume(broken, report=False)
    calm = nn.train("dqn", "grid", out=tmp_path / "calm", epochs=4, seed=5, report=False, settings={"warmup": 100})
    assert again.metrics == calm.metrics
    expected, found = (load_arrays(folder / "last.safetensors")[0] for folder in (tmp_path / "calm", broken))
    assert expected.keys() == found.keys()
    assert not [name for name, a in expected.items() if a.tobytes() != found[name].tobytes()]
