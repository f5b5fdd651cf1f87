"""Environments as data: grid worlds, gymnasium's, a user's own; their observations, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnatomy import UserError
from nnatomy.data import Dataset, Fold, from_value, load, load_inputs
from nnatomy.data.kinds.environment.grid import ACTIONS, GRIDS, GridWorld, Layout, value_iteration
from nnatomy.data.kinds.environment.worlds import LONGEST, World, open_world

pytestmark = pytest.mark.any_kernels

OWN = """
import numpy as np

class Space:
    def __init__(self, **values):
        self.__dict__.update(values)

class Corridor:
    observation_space = Space(shape=(2,), low=np.array([0.0, -np.inf]), high=np.array([4.0, np.inf]))
    action_space = Space(n=3)
    action_names = ("back", "wait", "ahead")

    def reset(self, *, seed=None, options=None):
        self.rng, self.at = np.random.default_rng(seed), 2
        return self._seen(), {}

    def step(self, action):
        self.at += action - 1
        return self._seen(), 1.0, self.at in (0, 4), False, {}

    def _seen(self):
        return np.array([self.at, self.rng.normal(7.0, 3.0)])
"""


def own(folder: Path, text: str = OWN) -> str:
    (folder / "corridor.py").write_text(text)
    return str(folder / "corridor.py")


# Grid worlds


def test_a_grid_moves_and_rewards_as_its_layout_says() -> None:
    world = GridWorld(Layout((".G", "#P", "S."), cost=0.5))
    assert world.reset(seed=0) == (4, {})
    assert world.step(ACTIONS.index("left"))[:4] == (4, -0.5, False, False)  # the border
    assert world.step(ACTIONS.index("up"))[:4] == (4, -0.5, False, False)  # a wall
    assert world.step(ACTIONS.index("right"))[:4] == (5, -0.5, False, False)
    assert world.step(ACTIONS.index("up"))[:4] == (3, -1.5, True, False)  # the pit
    assert world.step(ACTIONS.index("up"))[:4] == (1, 0.5, True, False)  # the goal


def test_the_limit_truncates_and_an_end_at_the_limit_terminates() -> None:
    world = GridWorld(Layout(("S.G",), limit=2))
    world.reset(seed=0)
    world.step(3)
    assert world.step(3)[2:4] == (False, True)
    world.reset(seed=0)
    world.step(1)
    assert world.step(1)[2:4] == (True, False)


def test_moves_slip_as_often_as_the_dynamics_say() -> None:
    world = GridWorld(Layout(("...", "...", "..."), slip=0.4))
    p, _, _ = world.dynamics()
    np.testing.assert_allclose(p.sum(axis=2), 1)
    world.reset(seed=1)
    counts = np.zeros(9)
    for _ in range(4000):
        world._at = 4
        counts[world.step(0)[0]] += 1
    np.testing.assert_allclose(counts / 4000, p[4, 0], atol=0.025)
    assert p[4, 0, 1] == pytest.approx(0.6)


def test_value_iteration_solves_the_bellman_equation_and_beats_random_play() -> None:
    for name, layout in GRIDS.items():
        world = GridWorld(layout)
        q, (p, rewards, ends) = value_iteration(world, 0.95), world.dynamics()
        np.testing.assert_allclose(q, p @ (rewards + 0.95 * ~ends * q.max(axis=1)), atol=1e-10, err_msg=name)
    corridor = GridWorld(Layout(("S..G",), cost=0.0))
    np.testing.assert_allclose(value_iteration(corridor, 0.9)[:3].max(axis=1), [0.81, 0.9, 1.0])


# Worlds as data


@pytest.mark.parametrize("name", ["grid", "cartpole"])
def test_examples_are_the_starts_of_episodes_whose_seeds_no_two_splits_share(name: str) -> None:
    pytest.importorskip("gymnasium")
    found = load(name)
    assert len(found.validation) == len(found.test) == 20
    seeds = [split.all()[1] for split in (found.train, found.validation, found.test)]
    assert len(np.unique(np.concatenate(seeds))) == sum(map(len, seeds))
    preprocessing: Any = found.preprocessing
    world = preprocessing.world()
    x, seed = found.test.take(np.array([3]))
    assert np.array_equal(preprocessing.transform(world.reset(int(seed[0]))[None])[0], x)


def test_states_are_one_hot_and_numbers_are_scaled() -> None:
    pytest.importorskip("gymnasium")
    grid: Any = load("grid").preprocessing
    assert grid.transform([[7]])[0].tolist() == [[float(n == 7) for n in range(30)]]
    pole: Any = load("cartpole").preprocessing
    assert pole.columns == ("position", "velocity", "angle", "angular_velocity")
    inputs = pole.transform([[4.8, 0.0, -0.41887903, 0.0]])[0][0]
    assert inputs[[0, 2]] == pytest.approx([1.0, -1.0], rel=1e-5)  # by their bounds
    assert 0.1 < pole.scale[1] < 2  # by random play
    np.testing.assert_allclose(pole.inverse(pole.transform([[1.0, 2.0, 0.1, -3.0]])[0]), [[1.0, 2.0, 0.1, -3.0]], rtol=1e-5)


def test_random_play_scales_by_training_seeds_alone(tmp_path: Path) -> None:
    source = own(tmp_path)
    scales = [tuple(load(source, fold=Fold(n, 3)).preprocessing.to_json()["scale"]) for n in (0, 1)]
    assert scales[0] != scales[1]
    assert scales[0][0] == 2.0  # a bound


def test_an_episode_is_restored_by_playing_it_again() -> None:
    world, again = open_world("grid"), open_world("grid")
    world.reset(5)
    for action in (0, 1, 1, 0, 3):
        seen, *_ = world.step(action)
    assert np.array_equal(again.restore(world.state()), seen)
    for action in range(4):
        mine, other = world.step(action), again.step(action)
        assert np.array_equal(mine[0], other[0])
        assert mine[1:] == other[1:]


def test_any_environment_of_gymnasium_by_its_id() -> None:
    pytest.importorskip("gymnasium")
    found = load("gymnasium:FrozenLake-v1")
    assert (found.input_shape, found.outputs, found.task) == ((16,), 4, "control")
    for name, says in (
        ("Nonsense-v0", "Received 'Nonsense-v0'"),
        ("Pendulum-v1", "action_space"),
        ("Blackjack-v1", "flat|Box"),
    ):
        with pytest.raises(UserError, match=says):
            load(f"gymnasium:{name}")


def test_without_gymnasium_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(UserError, match=r'pip install "nnatomy\[rl\]"'):
        load("cartpole")
    assert load("grid").outputs == 4


# A user's own


def test_a_class_in_a_file_is_an_environment(tmp_path: Path) -> None:
    found = load(own(tmp_path))
    assert (found.name, found.kind, found.input_shape, found.outputs) == ("corridor", "environment", (2,), 3)
    assert "back, wait, ahead" in found.description


def test_a_class_or_an_object_given_in_python(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "own"}
    exec(OWN, names)
    for given in (names["Corridor"], names["Corridor"]()):
        found = from_value(given)
        assert isinstance(found, Dataset)
        assert found.name == "Corridor"
    assert from_value(3) is None


def test_an_episode_without_an_end_is_cut(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "own"}
    exec(OWN, names)
    world = World(names["Corridor"](), "own")
    world.reset(0)
    cuts = [world.step(1)[2:] for _ in range(LONGEST)]
    assert cuts[-2:] == [(False, False), (False, True)]


@pytest.mark.parametrize("change, says", [
    (("class Corridor:", "class Corridor:\n    boom = 1 / 0"), "ZeroDivisionError"),
    (("def step(self, action)", "def stop(self, action)"), "one class with reset and step. Received none"),
    (("return self._seen(), {}", "return self._seen()"), "reset.seed=. returns"),
    (("return self._seen(), 1.0, self.at in (0, 4), False, {}", "return self._seen(), 1.0, False, {}"), "Received 4"),
    (("Space(n=3)", "Space(shape=(1,))"), "Discrete"),
    (("Space(n=3)", "Space(n=1)"), "at least 2"),
    (("np.array([self.at, self.rng.normal(7.0, 3.0)])", "np.zeros(3)"), "has 2 numbers"),
])  # fmt: skip
def test_what_is_no_environment_is_refused_in_one_sentence(change: tuple[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says) as caught:
        load(own(tmp_path, OWN.replace(*change)))
    assert "\n" not in str(caught.value)


# Observations to predict for


def test_observations_come_from_a_csv_file_by_their_names(tmp_path: Path) -> None:
    found = load("grid")
    (tmp_path / "states.csv").write_text("note,cell\na,3\nb,0\n")
    inputs = load_inputs(tmp_path / "states.csv", found.preprocessing)
    assert inputs.arrays[0].argmax(axis=1).tolist() == [3, 0]
    for text, says in (("cell\n30\n", "from 0 to 29. Received 30"), ("cell\n1.5\n", "Received 1.5"), ("x\n1\n", "without cell"),
                       ("cell\nleft\n", "Received 'left'"), ("cell\nnan\n", "NaN|Received")):  # fmt: skip
        (tmp_path / "states.csv").write_text(text)
        with pytest.raises(UserError, match=says):
            load_inputs(tmp_path / "states.csv", found.preprocessing)
    with pytest.raises(UserError, match=r"shape \(n, 1\)"):
        load_inputs([[1, 2]], found.preprocessing)
