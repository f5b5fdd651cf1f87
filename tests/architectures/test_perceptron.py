"""The perceptron: its rule as a gradient, scikit-learn's coefficients, Novikoff's bound, XOR, the pocket, the delta rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.feedforward.perceptron import Perceptron, build, correct, delta_rule, learn, perceptron_criterion
from nnatomy.architectures.feedforward.perceptron.recipe import cases, image, table
from nnatomy.errors import UserError
from nnatomy.optim import SGD
from nnatomy.tasks import task_for
from nnatomy.tensor import Tensor
from nnatomy.training.fit import fit
from nnatomy.training.recipe import Recipe

Array = np.ndarray[Any, Any]

CORNERS = np.array([(0, 0), (0, 1), (1, 0), (1, 1)], np.float64)
XOR = np.array([0, 1, 1, 0])


def double(**options: Any) -> Perceptron:
    return build(**options).astype(np.float64)


def clouds(seed: int, classes: int, n: int = 60, features: int = 5, spread: float = 1.5) -> tuple[Array, Array]:
    """Points around one center a class, which overlap."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    return rng.normal(size=(classes, features))[y] * spread + rng.normal(size=(n, features)), y


def trained(model: Perceptron, x: Array, y: Array, epochs: int, loss: Any = perceptron_criterion, lr: float = 1) -> Perceptron:
    """Plain SGD, one example at a time, in the given order."""
    optimizer = SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for n in range(len(x)):
            optimizer.zero_grad()
            loss(model, Tensor(x[n : n + 1]), Tensor(y[n : n + 1])).backward()
            optimizer.step()
    return model


# One rule, three ways to say it


def test_the_rule_by_hand() -> None:
    """w and b after a mistake, after a correct output and after a mistake of the other class, computed on paper."""
    model = double(features=2)
    learn(model, np.array([[1.0, 2.0]]), np.array([1]), epochs=1, pocket=False)  # s = 0: a mistake, so w = (1, 2), b = 1
    assert model.weight.tolist() == [[1.0, 2.0]]
    assert model.bias.tolist() == [1.0]
    assert learn(model, np.array([[1.0, 0.0]]), np.array([1]), epochs=1, pocket=False) == [0]  # s = 2: right
    learn(model, np.array([[3.0, 1.0]]), np.array([0]), epochs=1, pocket=False)  # s = 6, but t = -1
    assert model.weight.tolist() == [[-2.0, 1.0]]
    assert model.bias.tolist() == [0.0]


@pytest.mark.parametrize("outputs, classes", [(1, 2), (3, 3)])
def test_sgd_on_the_criterion_is_rosenblatts_rule(outputs: int, classes: int) -> None:
    x, y = clouds(1, classes)
    ours = trained(double(features=5, outputs=outputs), x, y, epochs=3)
    rule = double(features=5, outputs=outputs)
    history = learn(rule, x, y, epochs=3, pocket=False)
    assert len(history) == 3
    assert min(history) > 0  # they overlap: mistakes to the end
    np.testing.assert_allclose(ours.weight.numpy(), rule.weight.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.bias.numpy(), rule.bias.numpy(), rtol=1e-12)


@pytest.mark.parametrize("outputs, classes", [(1, 2), (4, 4)])
def test_scikit_learn_finds_the_same_coefficients(outputs: int, classes: int) -> None:
    from sklearn.linear_model import Perceptron as Reference

    x, y = clouds(2, classes)
    with pytest.warns(UserWarning, match="Maximum number of iteration"):
        reference = Reference(shuffle=False, max_iter=7, tol=1e-30, n_iter_no_change=100).fit(x, y)
    model = trained(double(features=5, outputs=outputs), x, y, epochs=7)
    np.testing.assert_allclose(model.weight.numpy(), reference.coef_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(model.bias.numpy(), reference.intercept_, rtol=1e-12, atol=1e-12)
    assert (model.predict(Tensor(x)).numpy() == reference.predict(x)).all()


def test_gradients() -> None:
    x, y = clouds(3, 3, n=8)
    model = double(features=5, outputs=3)

    for loss in (perceptron_criterion, delta_rule):

        def f(weight: Tensor, bias: Tensor, loss: Any = loss) -> Tensor:
            model.weight, model.bias = weight, bias  # type: ignore[assignment]
            return loss(model, Tensor(x), Tensor(y))  # type: ignore[no-any-return]

        rng = np.random.default_rng(4)
        nn.check_gradients(f, [rng.normal(size=(3, 5)), rng.normal(size=3)])


def test_weights_of_zero_begin_to_learn() -> None:
    """At t s = 0 the gradient is -t x, not 0: the unit's mean of -t x over the batch."""
    x, y = clouds(5, 2)
    model = double(features=5)
    perceptron_criterion(model, Tensor(x), Tensor(y)).backward()
    assert model.weight.grad is not None
    np.testing.assert_allclose(model.weight.grad.numpy()[0], -((2 * y - 1)[:, None] * x).mean(axis=0), rtol=1e-12)


# What it can do


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("margin", [0.3, 0.03])
def test_mistakes_stay_within_novikoffs_bound(seed: int, margin: float) -> None:
    """At most (R / gamma)^2 mistakes in all, whatever the order, where a unit vector w* leaves the margin gamma."""
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=4)
    plane /= np.linalg.norm(plane)
    x = rng.normal(size=(400, 3))
    extended = np.hstack([x, np.ones((400, 1))])  # as the bias sees it
    clear = abs(extended @ plane) > margin
    x, extended = x[clear], extended[clear]
    y = (extended @ plane > 0).astype(np.int64)
    bound = (np.linalg.norm(extended, axis=1).max() / abs(extended @ plane).min()) ** 2

    model = double(features=3)
    history = learn(model, x, y, epochs=10_000)
    assert history[-1] == 0  # it has converged
    assert (model.predict(Tensor(x)).numpy() == y).all()
    assert 0 < sum(history) <= bound


def test_novikoffs_bound_needs_a_start_at_zero() -> None:
    """The four points of the page: 5 mistakes from zero, where 52 are allowed, and more than 52 from weights far away."""
    x, y = np.array([(1, 2), (3, 1), (2, 3), (4, 3)]), np.array([0, 1, 0, 1])
    mistakes = []
    for scale in (0.0, 300.0):
        model = double(features=2)
        model.load_state_dict({"weight": scale * np.array([[-1.0, 1.0]]), "bias": np.zeros(1)})
        history = learn(model, x, y, epochs=10_000, pocket=False)
        assert history[-1] == 0
        mistakes.append(sum(history))
    assert mistakes[0] == 5
    assert mistakes[1] > 26 * 2


@pytest.mark.parametrize("name, y", [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("nand", [1, 1, 1, 0])])
def test_separable_logic_is_learned(name: str, y: list[int]) -> None:
    model = double(features=2)
    assert learn(model, CORNERS, np.array(y))[-1] == 0
    assert model.predict(Tensor(CORNERS)).tolist() == y


def test_several_classes_one_against_the_rest() -> None:
    x, y = clouds(6, 4, n=200, features=8, spread=8.0)
    model = double(features=8, outputs=4)
    assert learn(model, x, y)[-1] == 0
    assert (model.predict(Tensor(x)).numpy() == y).all()


# What it cannot do


def test_xor_is_never_learned_and_the_weights_stay_bounded() -> None:
    """No epoch of 1,000 is without mistakes, and by the cycling theorem the weights return to where they were."""
    model = double(features=2)
    visited = []
    for _ in range(1000):
        assert learn(model, CORNERS, XOR, epochs=1, pocket=False)[0] > 0
        assert (model.predict(Tensor(CORNERS)).numpy() == XOR).sum() < 4
        visited.append((*model.weight.numpy()[0].tolist(), *model.bias.tolist()))
    assert np.abs(visited).max() <= 3
    assert len(set(visited)) < 10


def test_no_weights_at_all_solve_xor() -> None:
    """Not for lack of searching: the best of 68,921 lines gets three corners of four."""
    grid = np.linspace(-2, 2, 41)
    a, b, c = np.meshgrid(grid, grid, grid)
    fires = [(a * p + b * q + c > 0) == bool(t) for (p, q), t in zip(CORNERS, XOR)]
    assert np.sum(fires, axis=0).max() == 3


# The pocket, the Adaline


def test_the_pocket_keeps_the_best_weights_seen() -> None:
    x, y = clouds(7, 2, n=200, spread=0.4)
    accuracy = {}
    for pocket in (True, False):
        model = double(features=5)
        learn(model, x, y, epochs=30, pocket=pocket)
        accuracy[pocket] = (model.predict(Tensor(x)).numpy() == y).mean()
    assert accuracy[True] > accuracy[False] + 0.05

    followed, best = double(features=5), 0.0  # an epoch at a time: the pocket is never behind what came by
    for _ in range(30):
        learn(followed, x, y, epochs=1, pocket=False)
        best = max(best, (followed.predict(Tensor(x)).numpy() == y).mean())
    assert accuracy[True] >= best


def test_the_delta_rule_by_hand_and_at_its_end() -> None:
    """One step is w + lr (t - s) x; many small ones end at the least-squares plane."""
    model = double(features=2, rule="delta")
    trained(model, np.array([[1.0, 2.0]]), np.array([1]), 1, delta_rule, lr=0.1)
    np.testing.assert_allclose(model.weight.numpy(), [[0.1, 0.2]])
    trained(model, np.array([[1.0, 1.0]]), np.array([0]), 1, delta_rule, lr=0.1)  # s = 0.4, t = -1
    np.testing.assert_allclose(model.weight.numpy(), [[-0.04, 0.06]])

    x, y = clouds(8, 2, n=40)
    model, optimizer = double(features=5, rule="delta"), None
    optimizer = SGD(model.parameters(), lr=0.1)
    for _ in range(3000):
        optimizer.zero_grad()
        delta_rule(model, Tensor(x), Tensor(y)).backward()
        optimizer.step()
    plane = np.linalg.lstsq(np.hstack([x, np.ones((40, 1))]), 2.0 * y - 1, rcond=None)[0]
    np.testing.assert_allclose(np.append(model.weight.numpy(), model.bias.numpy()), plane, atol=1e-8)


def test_the_delta_rule_misclassifies_separable_points() -> None:
    """Two points far on their right side pull the least-squares line past a point of the other class."""
    x, y = np.array([[1.0], [2.0], [50.0], [100.0]]), np.array([0, 1, 1, 1])
    rule = double(features=1)
    assert learn(rule, x, y)[-1] == 0
    slope, offset = np.linalg.lstsq(np.hstack([x, np.ones((4, 1))]), 2.0 * y - 1, rcond=None)[0]
    delta = double(features=1, rule="delta")
    delta.load_state_dict({"weight": np.array([[slope]]), "bias": np.array([offset])})
    delta_rule(delta, Tensor(x), Tensor(y)).backward()
    assert delta.weight.grad is not None
    assert abs(delta.weight.grad.item()) < 1e-12  # the rule rests here
    assert delta.predict(Tensor(x)).tolist() == [1, 1, 1, 1]


# The rule as the recipe takes it


def test_the_learning_rate_only_scales_weights_that_start_at_zero() -> None:
    x, y = clouds(9, 2)
    state = []
    for lr in (1.0, 10.0):
        model = double(features=5)
        for n in range(len(x)):
            correct(model, 0.0, Tensor(x[n : n + 1]), Tensor(y[n : n + 1]), lr=lr)
        state.append(np.append(model.weight.numpy(), model.bias.numpy()))
    np.testing.assert_allclose(state[1], 10 * state[0], rtol=1e-12)


def test_the_divided_delta_rule_ends_at_the_weighted_plane() -> None:
    """Small steps end near the least-squares plane with weights 1 / (|x|^2 + 1), not near the plain one."""
    x, y = clouds(8, 2, n=20, features=2)
    x[0] *= 10
    extended = np.hstack([x, np.ones((20, 1))])
    length = np.linalg.norm(extended, axis=1)
    t = 2.0 * y - 1
    weighted = np.linalg.lstsq(extended / length[:, None], t / length, rcond=None)[0]
    plain = np.linalg.lstsq(extended, t, rcond=None)[0]
    model = double(features=2, rule="delta")
    for _ in range(3000):
        correct(model, 0.0, Tensor(x), Tensor(y), lr=0.02)  # all corrections of an epoch together
    found = np.append(model.weight.numpy(), model.bias.numpy())
    np.testing.assert_allclose(found, weighted, atol=1e-6)
    assert abs(plain - weighted).max() > 0.1


@pytest.mark.parametrize("classes", [2, 3])
def test_corrections_one_by_one_are_rosenblatts_loop(classes: int) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(40, 6)), rng.integers(0, classes, 40)
    ours, theirs = (build(6, 1 if classes == 2 else classes).astype("float64") for _ in range(2))
    for n in range(40):
        correct(ours, n / 40, Tensor(x[n : n + 1]), Tensor(y[n : n + 1]))
    learn(theirs, x, y, epochs=1, pocket=False)
    np.testing.assert_allclose(ours.weight.numpy(), theirs.weight.numpy(), atol=1e-12)
    np.testing.assert_allclose(ours.bias.numpy(), theirs.bias.numpy(), atol=1e-12)


@pytest.mark.parametrize("size", [1e-2, 1.0, 1e3])
@pytest.mark.parametrize("lr", [0.02, 1.0, 1.9])
def test_the_delta_rule_is_stable_whatever_the_size_of_the_inputs(size: float, lr: float) -> None:
    """A correction multiplies the example's own error by 1 - lr; the plain rule with lr = 0.01 explodes on large inputs."""
    rng = np.random.default_rng(6)
    x, y = size * rng.normal(size=(30, 4)), rng.integers(0, 2, 30)
    model = build(4, rule="delta").astype("float64")
    for n in list(range(30)) * 20:
        example, target = Tensor(x[n : n + 1]), Tensor(y[n : n + 1])
        before = 2 * y[n] - 1 - model(example).numpy()[0, 0]
        correct(model, 0.0, example, target, lr=lr)
        assert 2 * y[n] - 1 - model(example).numpy()[0, 0] == pytest.approx((1 - lr) * before, abs=1e-9)
    assert np.abs(model.weight.numpy()).max() * size < 100
    if size == 1e3:
        plain = build(4, rule="delta").astype("float64")
        with np.errstate(all="ignore"):
            trained(plain, x, y, 3, delta_rule, lr=0.01)
        assert not np.abs(plain.weight.numpy()).max() < 1e10


# As an architecture


def reached(recipe: Recipe, seed: int) -> dict[str, float]:
    dataset = data.load(recipe.data, (recipe.kind,), tasks=recipe.task_names, seed=seed)
    model = recipe.build(dataset, **recipe.options)
    fit(recipe, model, dataset, task_for(recipe, dataset), seed)
    return task_for(recipe, dataset).evaluate(model, dataset.test).metrics


def test_tumours_are_told_apart() -> None:
    assert reached(table, seed=0)["accuracy"] >= table.score["accuracy"]
    assert np.mean([reached(replace(table, epochs=8), seed)["accuracy"] for seed in (1, 2, 3)]) >= 0.95


def test_digits_are_read() -> None:
    assert reached(replace(image, epochs=5), seed=0)["accuracy"] >= image.score["accuracy"]


def test_the_picture_is_drawn_for_tables_planes_and_images() -> None:
    from nnatomy.architectures.feedforward.perceptron import picture

    for source, target in (("breast_cancer", None), ("iris", None), ("blobs", None), ("logic_xor", None), ("digits", None)):
        dataset = data.load(source, ("table", "image"), target=target)
        model = (image if dataset.kind == "image" else table).build(dataset)
        x, y = dataset.train.all()
        learn(model, x, y, epochs=3)
        before = model.state_dict()
        figure = picture.draw(model, dataset)
        assert len(figure.axes) >= 4
        assert all(axes.get_title() or axes.images for axes in figure.axes[:2])
        assert all((before[name] == value).all() for name, value in model.state_dict().items())  # looking changes nothing


def test_cases_build_what_they_say() -> None:
    for case in cases:
        x, y = case.batch(np.random.default_rng(0))
        model = double(**case.options)
        assert model(Tensor(x)).shape == (len(x), case.options.get("outputs", 1))
        assert set(y) == set(range(max(2, case.options.get("outputs", 1))))


def test_wrong_options_are_explained() -> None:
    with pytest.raises(UserError, match="at least 1 feature"):
        build(features=0)
    with pytest.raises(UserError, match="Did you mean 'delta'"):
        build(features=2, rule="dleta")
