"""The Hopfield network: energies that fall, patterns at rest, capacities, and the update that is attention."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import UserError, data
from nnatomy.architectures.recurrent.hopfield import ContinuousHopfield, Hopfield, build, signs, store
from nnatomy.architectures.recurrent.hopfield.model import Network
from nnatomy.architectures.recurrent.hopfield.recipe import continuous
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]


def patterns(count: int, units: int, seed: int = 0) -> Array:
    return np.where(np.random.default_rng(seed).uniform(size=(count, units)) < 0.5, -1.0, 1.0)


def noisy(clean: Array, fraction: float = 0.2, seed: int = 1) -> Array:
    return np.where(np.random.default_rng(seed).uniform(size=clean.shape) < fraction, -clean, clean)


def memory(stored: Array, units: int, *args: Any, **options: Any) -> Network:
    """A network in float64 with the patterns stored."""
    return store(build(units, *args, **options).astype("float64"), stored)


def recalled(model: Network, x: Array) -> Array:
    with nn.no_grad():
        return np.asarray(model(Tensor(np.asarray(x, np.float64))).numpy())


def states_and_energies(model: Network, x: Array) -> tuple[Array, Array]:
    with nn.no_grad():
        path = list(model.path(Tensor(x)))
        return np.stack([s.numpy() for s in path]), np.stack([model.energy(s).numpy() for s in path])


# The network of 1982


@pytest.mark.parametrize("storage", ["hebb", "pseudo_inverse"])
def test_energy_falls_by_twice_the_field_when_a_unit_changes(storage: str) -> None:
    """Every single asynchronous step, of states that are stored, noisy and random; the formula of the energy is redone here."""
    stored = patterns(6, 30)
    model = memory(stored, 30, storage, steps=8)
    states, energies = states_and_energies(model, np.concatenate([stored, noisy(stored), patterns(20, 30, seed=3)]))
    w = model.weight.numpy() if isinstance(model, Hopfield) else None
    assert w is not None
    np.testing.assert_allclose(energies, -0.5 * np.einsum("tbi,ij,tbj->tb", states, w, states), atol=1e-9)
    change = np.diff(energies, axis=0)
    for t, (before, after) in enumerate(itertools.pairwise(states)):
        i = t % 30
        moved = before[:, i] != after[:, i]
        assert np.array_equal(np.delete(before, i, axis=1), np.delete(after, i, axis=1))
        np.testing.assert_allclose(change[t], np.where(moved, -2 * np.abs(before @ w[i]), 0), atol=1e-9)
    assert (change < -0.01).sum() > 50
    np.testing.assert_array_equal(states[-1], states[-31])  # and it has come to rest


def test_synchronous_updates_end_in_a_state_or_a_cycle_of_two() -> None:
    """The pair that swaps forever, and random symmetric weights; the energy does rise on the way."""
    pair = memory(np.array([[1.0, 1.0]]), 2, "hebb", "synchronous", steps=4)
    states, _ = states_and_energies(pair, np.array([[1.0, -1.0]]))
    np.testing.assert_array_equal(states[:, 0], [[1, -1], [-1, 1], [1, -1], [-1, 1], [1, -1]])
    model = build(40, "hebb", "synchronous", steps=100).astype("float64")
    assert isinstance(model, Hopfield)
    w = np.random.default_rng(2).normal(size=(40, 40))
    model.weight.data = (w + w.T) * (1 - np.eye(40))
    states, energies = states_and_energies(model, patterns(60, 40))
    np.testing.assert_array_equal(states[-1], states[-3])
    assert (states[-1] != states[-2]).any(axis=1).sum() > 5
    assert np.diff(energies, axis=0).max() > 0.1
    model.update = "asynchronous"
    assert np.diff(states_and_energies(model, patterns(60, 40))[1], axis=0).max() < 1e-9


def test_hebb_recalls_below_its_capacity_and_not_above() -> None:
    """Overlap with the pattern after recall from the pattern itself: nearly 1 for 0.1 N random patterns, far less for 0.2 N."""
    overlaps = {}
    for load in (0.1, 0.2):
        stored = patterns(int(400 * load), 400)
        ends = recalled(memory(stored, 400, "hebb", steps=8), stored[:20])
        overlaps[load] = float((ends * stored[:20]).mean())
    assert overlaps[0.1] > 0.98
    assert overlaps[0.2] < 0.75


def test_the_pseudo_inverse_keeps_every_pattern_at_rest() -> None:
    """The weights are the projection, with its diagonal set to 0, also where patterns repeat; the fields are (1 - d_i) p_i."""
    stored = np.concatenate([patterns(20, 60), patterns(3, 60)])  # three of them twice
    stored[:, :30] = patterns(1, 30, seed=9)  # correlated as digits are
    model = memory(stored, 60)
    assert isinstance(model, Hopfield)
    projection = np.linalg.pinv(stored) @ stored
    d = np.diag(projection)
    np.testing.assert_allclose(model.weight.numpy(), projection - np.diag(d), atol=1e-9)
    np.testing.assert_allclose(stored @ model.weight.numpy(), (1 - d) * stored, atol=1e-9)
    assert d.max() < 0.99
    np.testing.assert_array_equal(recalled(model, stored), stored)
    hebb = memory(stored, 60, "hebb")
    assert (recalled(hebb, stored) != stored).any()


def test_ten_digits_are_recalled_from_noise_and_hebb_mixes_them() -> None:
    dataset = data.load("noisy_digits")
    stored, (copies, clean) = dataset.train.all()[0], dataset.test.all()
    assert (recalled(memory(stored, 256), copies[:200]) == clean[:200]).all()
    ends = recalled(memory(stored, 256, "hebb"), stored)
    assert not (ends == stored).reshape(10, -1).all(axis=1).any()


def test_a_diagonal_freezes_the_noise() -> None:
    """Wrong signs are repaired with a diagonal of 0, and stay with one as large as the fields."""
    stored = patterns(30, 300)
    copies, right = noisy(stored, 0.1), []
    for diagonal in (0.0, 300.0):
        model = memory(stored, 300, "hebb")
        assert isinstance(model, Hopfield)
        assert (np.diag(model.weight.numpy()) == 0).all()
        model.weight.data = model.weight.numpy() + diagonal * np.eye(300)
        right.append(float((recalled(model, copies) == stored).mean()))
    assert right[0] > 0.995
    assert right[1] == pytest.approx((copies == stored).mean(), abs=0.05)


def test_a_field_of_zero_keeps_the_state() -> None:
    four = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    for update in ("asynchronous", "synchronous"):
        np.testing.assert_array_equal(recalled(memory(four[:2], 2, "hebb", update), four), four)
    stored = np.ones((3, 7))  # whole numbers: 1/7 of each would not cancel
    stored[1, 3:], stored[2, :3] = -1, -1
    model = memory(stored, 7, "hebb")
    assert isinstance(model, Hopfield)
    assert np.array_equal(model.weight.numpy(), np.rint(model.weight.numpy()))


def test_a_pattern_that_owns_a_unit_stays() -> None:
    """Where the projection has d_i = 1, the other units say nothing about unit i: its field is an exact 0, not rounding."""
    stored = np.ones((2, 9))
    stored[1, 4] = -1
    model = memory(stored, 9)
    assert isinstance(model, Hopfield)
    assert (model.weight.numpy()[4] == 0).all()
    np.testing.assert_array_equal(recalled(model, stored), stored)


def test_negatives_are_stored_too() -> None:
    stored = patterns(5, 60)
    model = memory(stored, 60, "hebb")
    np.testing.assert_array_equal(recalled(model, -stored), -recalled(model, stored))
    np.testing.assert_array_equal(recalled(model, stored), stored)


def test_states_start_at_signs() -> None:
    np.testing.assert_array_equal(signs(np.array([-2.0, -0.0, 0.0, 1e-9, 3.0])), [-1, -1, -1, 1, 1])


# The network of 2020


def test_the_update_is_attention() -> None:
    """PyTorch's attention with scale = beta, and the plain formula; free places take no part."""
    torch = pytest.importorskip("torch")
    x, stored = np.random.default_rng(0).normal(size=(4, 12)), np.random.default_rng(1).normal(size=(7, 12))
    model = memory(stored, 12, "continuous", patterns=10, beta=0.6, steps=1)
    found = recalled(model, x)
    query, keys = torch.tensor(x), torch.tensor(stored)
    attended = torch.nn.functional.scaled_dot_product_attention(query[None], keys[None], keys[None], scale=0.6)[0]
    np.testing.assert_allclose(found, attended.numpy(), rtol=1e-12)
    likeness = np.exp(0.6 * x @ stored.T)
    np.testing.assert_allclose(found, likeness / likeness.sum(axis=1, keepdims=True) @ stored, rtol=1e-10)


@pytest.mark.parametrize("beta", [0.05, 0.5, 5.0])
def test_the_continuous_energy_never_rises(beta: float) -> None:
    """From random states far and near; with the constants of the paper it is never below 0."""
    rng = np.random.default_rng(0)
    stored = rng.normal(size=(9, 8))
    model = memory(stored, 8, "continuous", patterns=12, beta=beta, steps=40)
    states, energies = states_and_energies(model, np.concatenate([stored, 3 * rng.normal(size=(30, 8))]))
    xi = states[3]
    expected = (
        -np.log(np.exp(beta * xi @ stored.T).sum(axis=1)) / beta + 0.5 * (xi**2).sum(axis=1) + np.log(9) / beta
        + 0.5 * (stored**2).sum(axis=1).max()
    )  # fmt: skip
    np.testing.assert_allclose(energies[3], expected, rtol=1e-9)
    assert np.diff(energies, axis=0).max() < 1e-9
    assert energies[0].max() > energies[-1].max() + 1
    assert energies.min() >= 0


def test_more_patterns_than_units_are_recalled_by_the_continuous_network_alone() -> None:
    stored = patterns(1000, 100)
    copies = noisy(stored, 0.1)
    model = memory(stored, 100, "continuous", patterns=1000, steps=1)
    assert (signs(recalled(model, copies)) == stored).all(axis=1).mean() > 0.99
    assert (recalled(memory(stored, 100, steps=1), copies[:20]) == stored[:20]).all(axis=1).mean() < 0.1


def test_beta_decides_between_a_pattern_and_the_mean() -> None:
    stored = patterns(5, 20)
    cold, hot = (memory(stored, 20, "continuous", patterns=5, beta=beta) for beta in (50.0, 1e-9))
    np.testing.assert_allclose(recalled(cold, noisy(stored, 0.05)), stored, atol=1e-9)
    np.testing.assert_allclose(recalled(hot, stored), np.tile(stored.mean(axis=0), (5, 1)), atol=1e-6)


def test_patterns_are_stored_batch_after_batch() -> None:
    """By the recipe's learner, which pads a short last batch where shapes are compiled."""
    stored = patterns(11, 16).astype(np.float32)
    for options in ({"storage": "hebb"}, {"storage": "pseudo_inverse"}, {"storage": "continuous", "patterns": 13}):
        model = build(16, **options)  # type: ignore[arg-type]
        learner = continuous.learn.begin(model)
        state = learner.state()
        last = np.concatenate([stored[8:], stored[:1]])
        for rows, mask in ((stored[:4], None), (stored[4:8], np.ones(4)), (last, [1, 1, 1, 0])):
            state, _ = learner(state, (rows, rows), None if mask is None else np.asarray(mask, np.float32))
        learner.bind(learner.finish_epoch(state))
        expected = memory(stored, 16, **options).state_dict()  # type: ignore[arg-type]
        for name, value in model.state_dict().items():
            np.testing.assert_allclose(value, expected[name], atol=1e-6, err_msg=f"{options} {name}")


def test_what_is_wrong_is_refused() -> None:
    with pytest.raises(UserError, match="places for 3 patterns"):
        memory(patterns(4, 5), 5, "continuous", patterns=3)
    for options, word in (
        ({"storage": "heb"}, "hebb"), ({"update": "all"}, "asynchronous"), ({"steps": 0}, "steps=5"),
        ({"storage": "continuous", "patterns": 0}, "patterns=100"), ({"storage": "continuous", "beta": 0.0}, "beta=1.0"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=word):
            build(5, **options)  # type: ignore[arg-type]


def test_a_run_recalls_pictures(tmp_path: Any) -> None:
    """Train, evaluate, predict PNG files, and read the recalled pictures: they are the stored digits."""
    from nnatomy.data.pictures import decode, write_image

    result = nn.train("hopfield", out=tmp_path / "run", baselines=False, settings={"steps": 2})
    assert result.metrics["recalled"] > 0.98
    dataset = data.load("noisy_digits")
    copies, clean = dataset.test.all()
    (tmp_path / "in").mkdir()
    for n in (3, 7):
        write_image((copies[n] + 1) / 2, tmp_path / "in" / f"{n}.png")
    answer = nn.predict(tmp_path / "run", tmp_path / "in")
    assert answer.columns["positive"] == pytest.approx([(clean[n] > 0).mean() for n in (3, 7)])
    assert list(answer.files) == ["3.png", "7.png"]
    for n in (3, 7):
        answer.files[f"{n}.png"](tmp_path / f"{n}.png")
        assert np.array_equal(decode(tmp_path / f"{n}.png", "it") > 127, clean[n] > 0)


def test_a_continuous_network_is_one_by_its_option() -> None:
    assert isinstance(build(4, "continuous"), ContinuousHopfield)
    assert isinstance(build(4), Hopfield)
