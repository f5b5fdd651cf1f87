"""Control: episodes are played as their seeds say, and measured by their rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.reinforcement.dqn.recipe import fit_to, recipes
from nnatomy.tasks import Control, task_for
from nnatomy.tasks.control import EPISODES, play

pytestmark = pytest.mark.any_kernels


def task() -> Control:
    found = task_for(recipes[0], data.load("grid"))
    assert isinstance(found, Control)
    return found


def test_an_episode_holds_what_happened() -> None:
    control = task()
    preprocessing: Any = control.dataset.preprocessing
    exact = control.baselines["value iteration"](control.dataset, recipes).outputs
    episodes = play(exact, preprocessing, [3, 4, 5])
    for seed, episode in zip((3, 4, 5), episodes, strict=True):
        world = preprocessing.world()
        assert np.array_equal(world.reset(seed), episode.observations[0])
        for step, action in enumerate(episode.actions):
            seen, reward, terminated, truncated = world.step(action)
            assert np.array_equal(seen, episode.observations[step + 1])
            assert reward == episode.rewards[step]
            assert (terminated or truncated) == (step == len(episode.actions) - 1)
        assert terminated == episode.terminated


def test_a_policy_that_never_arrives_is_truncated() -> None:
    control = task()
    preprocessing: Any = control.dataset.preprocessing
    (episode,) = play(lambda x: np.tile([0.0, 0.0, 1.0, 0.0], (len(x), 1)), preprocessing, [3])  # down, for ever
    assert not episode.terminated
    assert len(episode.actions) == 50


def test_baselines_are_ordered_and_measured_alike_each_time() -> None:
    control, found = task(), {}
    for name in ("random policy", "value iteration"):
        scores = [control.score(control.baselines[name](control.dataset, recipes).outputs, control.dataset.test) for _ in "ab"]
        assert scores[0].metrics == scores[1].metrics
        assert len(scores[0].arrays["returns"]) == EPISODES
        found[name] = scores[0].metrics["return"]
    assert found["value iteration"] > 0.8 > 0 > found["random policy"]
    with pytest.raises(nn.UserError, match="CartPole alone"):
        control.baselines["policy by hand"](control.dataset, recipes)


def test_the_pole_is_balanced_by_hand() -> None:
    pytest.importorskip("gymnasium")
    dataset = data.load("cartpole")
    control = task_for(recipes[0], dataset)
    metrics = control.score(control.baselines["policy by hand"](dataset, recipes).outputs, dataset.test).metrics
    assert metrics == {"return": 500.0, "return_sd": 0.0, "episode_length": 500.0}
    with pytest.raises(nn.UserError, match="world's probabilities"):
        control.baselines["value iteration"](dataset, recipes)


def test_predictions_name_the_action_with_the_largest_value(tmp_path: Path) -> None:
    control = task()
    nn.seed(0)
    model = fit_to(control.dataset)
    answer = control.answer(model, (np.eye(30, dtype=np.float32),))
    names = ("up", "right", "down", "left")
    values = np.stack([answer.columns[f"value_{name}"] for name in names], axis=1)
    np.testing.assert_allclose(values, nn.tasks.forward(model, (np.eye(30, dtype=np.float32),)).numpy(), rtol=1e-5, atol=1e-6)
    assert answer.columns["action"].tolist() == [names[n] for n in values.argmax(axis=1)]


def test_a_sample_is_episodes_with_an_animation_and_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    control = task()
    nn.seed(0)
    made = control.sample(fit_to(control.dataset), 3, seed=11)
    assert made.columns["seed"].tolist() == [11, 12, 13]
    assert set(made.columns) == {"seed", "return", "steps", "ended"}
    for name, write in made.files.items():
        write(tmp_path / name)
    with Image.open(tmp_path / "samples.gif") as animation:
        assert getattr(animation, "n_frames", 1) > 1
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.width > 800
