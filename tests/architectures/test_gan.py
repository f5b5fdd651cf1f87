"""The GAN: the theory of 2014 at fixed densities, the slopes of 2017, and players that change their own parameters only."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.generative.gan import model as architecture
from nnatomy.architectures.generative.gan.model import GAN, OBJECTIVES, critic_objective, generator_objective, gradient_norms
from nnatomy.architectures.generative.gan.picture import draw
from nnatomy.architectures.generative.gan.recipe import black_and_white, cases, image, points
from nnatomy.data.dataset import SubsetSplit
from nnatomy.data.kinds.density.sets import SPREAD, ring
from nnatomy.errors import UserError
from nnatomy.layers import Identity
from nnatomy.layers.module import Module
from nnatomy.optim import Adam
from nnatomy.runs.fitting import fit_recipe
from nnatomy.tensor import Parameter, Tensor
from nnatomy.training.learners import Alternating

Array = np.ndarray[Any, Any]
BOTH = ("minimax", "non-saturating")
WASSERSTEIN = ("wgan", "wgan-gp")


class Table(Module):
    """A critic of four places that may score each of them as it likes; a place is a row of the identity matrix."""

    def __init__(self) -> None:
        self.scores = Parameter(np.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.scores


def at_places(objective: str) -> GAN:
    """A GAN whose noise is its samples, and whose critic is a table."""
    model = GAN(4, (4,), (1,), objective).astype("float64")
    model.generator, model.critic = Identity(), Table()
    return model


def rows(counts: list[int]) -> Tensor:
    """Each place as often as `counts` says."""
    return Tensor(np.repeat(np.eye(4), counts, axis=0))


P, Q = [1, 2, 3, 4], [4, 3, 2, 1]
MIX = Tensor(np.zeros(10))


def solved(p: list[int], q: list[int]) -> tuple[GAN, float]:
    """The best critic for places with these frequencies, by plain gradient descent, and its loss."""
    model = at_places("minimax")
    for _ in range(2000):
        loss, _ = critic_objective(model, rows(p), rows(q), MIX)
        (slope,) = nn.grad(loss, [model.critic.scores])
        model.critic.scores.data = model.critic.scores.data - 2.0 * np.asarray(slope.data)
    return model, float(loss.item())


def test_the_best_discriminator_is_p_over_p_plus_q() -> None:
    model, _ = solved(P, Q)
    probability = 1 / (1 + np.exp(-model.critic.scores.numpy()))
    expected = architecture.optimal_discriminator(np.array(P), np.array(Q))
    np.testing.assert_allclose(expected, [0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(probability, expected, atol=1e-6)


def test_at_the_best_discriminator_the_loss_is_log_4_less_twice_the_divergence() -> None:
    """Theorem 1 of Goodfellow et al.: the value is -log 4 + 2 JS(p, q), and the critic's loss is its negative."""
    p, q = np.array(P) / 10, np.array(Q) / 10
    m = (p + q) / 2
    divergence = float((p * np.log(p / m)).sum() + (q * np.log(q / m)).sum()) / 2
    assert divergence > 0.1
    assert solved(P, Q)[1] == pytest.approx(math.log(4) - 2 * divergence, abs=1e-9)
    assert solved(P, P)[1] == pytest.approx(math.log(4), abs=1e-12)


@pytest.mark.parametrize("score", [-6.0, -2.0, 0.0, 3.0])
def test_the_non_saturating_gradient_is_larger_by_1_minus_d_over_d(score: float) -> None:
    """Of one sample with probability D of being real: large where the discriminator rejects it, small where it is fooled."""
    slopes = []
    for objective in BOTH:
        model = at_places(objective)
        model.critic.scores.data = np.full(4, score)
        z = Tensor(np.eye(4)[:1], requires_grad=True)
        model.critic.scores.data = np.array([score, 1.0, 2.0, 3.0])
        (slope,) = nn.grad(generator_objective(model, z)[0], [z])
        slopes.append(np.asarray(slope.data))
    d = 1 / (1 + math.exp(-score))
    np.testing.assert_allclose(slopes[1], slopes[0] * (1 - d) / d, rtol=1e-12)
    assert (np.abs(slopes[1]).max() > np.abs(slopes[0]).max()) == (d < 0.5 - 1e-12)


def test_wasserstein_losses_ignore_a_constant_added_to_all_scores() -> None:
    """Why a critic's last bias has no gradient: the declared exception, by its reason."""
    rng = np.random.default_rng(0)
    for objective in WASSERSTEIN:
        model = GAN(3, (2,), (6,), objective).astype("float64")
        x, z, mix = Tensor(rng.normal(size=(5, 2))), Tensor(rng.normal(size=(5, 3))), Tensor(rng.uniform(size=5))
        before = critic_objective(model, x, z, mix)[0].item()
        model.critic.layers[-1].bias.data = model.critic.layers[-1].bias.data + 7.0
        assert critic_objective(model, x, z, mix)[0].item() == pytest.approx(before, rel=1e-12)


def test_gradient_norms_are_of_each_example_by_itself() -> None:
    """The norm over a whole batch, or a critic that normalizes over it, would change with the other examples."""
    nn.seed(1)
    critic = GAN(2, (3,), (16, 16)).astype("float64").critic
    x = np.random.default_rng(0).normal(size=(6, 3))
    together = gradient_norms(critic, Tensor(x)).numpy()
    for n in range(6):
        step = 1e-6 * np.eye(3)
        ends = critic(Tensor(np.concatenate([x[n] + step, x[n] - step]))).numpy()
        assert together[n] == pytest.approx(np.linalg.norm((ends[:3] - ends[3:]) / 2e-6), rel=1e-5)
    np.testing.assert_allclose(gradient_norms(critic, Tensor(x[:1])).numpy(), together[:1], rtol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_of_each_player_equal_central_differences(objective: str) -> None:
    """Gradients of each player's loss along a random direction of that player's parameters, with the noise of the learner."""
    model = GAN(3, (2,), (6, 5), objective).astype("float64")
    learner = replace(points.learn, average=None).begin(model)
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(8, 2)))
    objectives = learner.objectives()
    assert len(objectives) == 2
    assert set.union(*(set(names) for _, names in objectives)) == {name for name, _ in model.named_parameters()}
    for loss, names in objectives:
        own = {name: p for name, p in model.named_parameters() if name in names}
        start = {name: np.array(p.data) for name, p in own.items()}
        way = {name: rng.normal(size=p.shape) for name, p in own.items()}

        def value(step: float, loss: Any = loss, own: Any = own, start: Any = start, way: Any = way) -> Tensor:
            for name, p in own.items():
                p.data = start[name] + step * way[name]
            nn.seed(5)  # the same noise each time
            found: Tensor = loss(model, x)[0]
            return found

        slopes = nn.grad(value(0.0), list(own.values()))
        got = sum(float((np.asarray(g.data) * way[name]).sum()) for name, g in zip(own, slopes) if g is not None)
        expected = (value(1e-6).item() - value(-1e-6).item()) / 2e-6
        value(0.0)
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_player_changes_its_own_parameters_and_takes_its_turns() -> None:
    """Five updates of the critic, each on a fifth of the batch, then one of the generator."""
    turns: list[tuple[str, int]] = []

    def noted(name: str, loss: Any) -> Any:
        def called(model: GAN, x: Tensor, *rest: Tensor) -> Any:
            turns.append((name, x.shape[0]))
            return loss(model, x, *rest)

        return called

    players = tuple(replace(p, loss=noted(p.name, p.loss)) for p in points.learn.players)
    for frozen in ("generator", "critic"):
        model = GAN(2, (2,), (8,))
        learn = Alternating(tuple(
            replace(p, optimizer=partial(Adam, lr=0.0 if p.name == frozen else 0.01)) for p in players
        ))  # fmt: skip
        before = model.state_dict()
        turns.clear()
        learner = learn.begin(model)
        state, _ = learner(learner.state(), (np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32),))
        assert turns == [("critic", 4)] * 5 + [("generator", 20)]
        for name, value in state["model"].items():
            silent = name == "critic.layers.1.bias"
            assert np.array_equal(value, before[name]) == (name.startswith(frozen) or silent), name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_clipping_holds_the_critic_alone(objective: str) -> None:
    model = GAN(2, (2,), (8,), objective, clip=0.05)
    learner = replace(points.learn, average=None).begin(model)
    state, _ = learner(learner.state(), (np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32),))
    sizes = {player: max(float(np.abs(a).max()) for n, a in state["model"].items() if n.startswith(player))
             for player in ("critic", "generator")}  # fmt: skip
    assert (sizes["critic"] <= 0.0501) == (objective == "wgan")
    assert sizes["generator"] > 0.0501


def critic_against_the_middle(objective: str) -> Array:
    """Slopes at interpolates, after 300 updates of a critic whose generator makes the middle of the ring only."""
    rng = np.random.default_rng(0)
    x = ring()[rng.integers(0, 8, 512)] + SPREAD * rng.normal(size=(512, 2))
    fake = 0.5 * rng.normal(size=(512, 2))
    nn.seed(2)
    model = GAN(2, (2,), (32, 32), objective, clip=0.01)
    model.generator = Identity()
    optimizer = Adam(model.critic.parameters(), lr=5e-3, betas=(0.5, 0.9))
    for _ in range(300):
        chosen, others = rng.integers(0, 512, (2, 64))
        optimizer.zero_grad()
        batch = (Tensor(a.astype(np.float32)) for a in (x[chosen], fake[others], rng.uniform(size=64)))
        critic_objective(model, *batch)[0].backward()
        optimizer.step()
        with nn.no_grad():
            architecture.clip_weights(model)
    mix = rng.uniform(size=(512, 1))
    return gradient_norms(model.critic, Tensor((mix * x + (1 - mix) * fake).astype(np.float32))).numpy()


def test_the_penalty_makes_the_critic_nearly_1_lipschitz_and_a_clip_of_001_flat() -> None:
    held, clipped = critic_against_the_middle("wgan-gp"), critic_against_the_middle("wgan")
    assert 0.9 < np.median(held) < 1.1
    assert np.mean(np.abs(held - 1) < 0.2) > 0.9
    assert np.median(clipped) < 0.05  # three layers of weights up to 0.01: gradients vanish


def test_a_short_run_finds_all_eight_modes() -> None:
    """Counted with the true centers: at least 10 of 2,000 samples within three deviations of each."""
    dataset = data.load("eight_gaussians", ("density",), tasks=("generation",))
    dataset = replace(dataset, validation=SubsetSplit(dataset.validation, np.arange(300)))  # judged faster
    short = replace(points, epochs=20, options={**points.options, "hidden": (48, 48)})
    fitted = fit_recipe(short, dataset, 0)
    nn.seed(3)
    with nn.no_grad():
        samples = dataset.preprocessing.inverse(fitted.model.sample(2000).numpy().astype(np.float64))  # type: ignore[operator]
    far = np.linalg.norm(samples[:, None] - ring(), axis=2)
    found = np.bincount(far.argmin(axis=1)[far.min(axis=1) < 3 * SPREAD], minlength=8)
    assert (found >= 10).all(), found


def test_bounds_hold_samples_between_them() -> None:
    model = GAN(2, (1, 3, 3), (8,), bounds=(-0.5, 2.0))
    for p in model.generator.parameters():
        p.data = p.data * 50
    made = model.sample(200).numpy()
    assert made.shape == (200, 1, 3, 3)
    assert -0.5 <= made.min() < -0.4
    assert 1.9 < made.max() <= 2.0


def test_bounds_of_pictures_are_black_and_white() -> None:
    dataset = data.load("digits", ("image",), tasks=("generation",))
    low, high = black_and_white(dataset)
    x = dataset.train.all()[0]
    assert (x.min(), x.max()) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))
    with pytest.raises(UserError, match="bounded=false"):
        points.build(data.load("eight_gaussians", ("density",), tasks=("generation",)), bounded=True)


def test_wrong_sizes_and_names_are_refused() -> None:
    for options, said in (
        ({"noise": 0}, "at least 1"), ({"hidden": (4, 0)}, "at least 1"), ({"objective": "wgangp"}, "wgan-gp"),
        ({"penalty": 0.0}, "positive"), ({"clip": float("nan")}, "positive"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            GAN(**({"noise": 2, "shape": (2,), "hidden": (4,)} | options))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("recipe", [points, image], ids=["points", "images"])
def test_it_is_drawn_for_all_objectives(objective: str, recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnatomy.architectures.generative.gan import picture

    monkeypatch.setattr(picture, "STEPS", 2)
    dataset = data.load(recipe.data, (recipe.kind,), tasks=("generation",), limit=40)
    model = recipe.build(dataset, **{**recipe.options, "objective": objective, "hidden": (8,)})
    before = nn.random.default.state_dict()
    figure = draw(model, dataset)
    assert nn.random.default.state_dict() == before
    assert objective in figure.get_suptitle()


def test_cases_cover_every_objective() -> None:
    assert {case.options["objective"] for case in cases} == set(OBJECTIVES)
