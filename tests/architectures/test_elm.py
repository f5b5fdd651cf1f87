"""The extreme learning machine: the least squares it claims to solve, and its sequential form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import UserError
from nnatomy.architectures.feedforward.elm import ELM, OnlineELM, absorb, begin_rows, build, fit, loss
from nnatomy.architectures.feedforward.elm.model import ACTIVATIONS
from nnatomy.functional.least_squares import class_scores, target_rows
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]


def machine(hidden: int = 12, outputs: int = 2, activation: str = "tanh", bias: bool = True, features: int = 4) -> ELM:
    nn.seed(3)
    return build(features, hidden, outputs, activation, 1.0, bias).astype("float64")


def data(rows: int = 60, outputs: int = 2, features: int = 4, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features))
    return x, np.sin(x @ rng.normal(size=(features, outputs))) + 2.0


def hidden_outputs(model: ELM, x: Array) -> Array:
    return np.asarray(model.hidden(Tensor(x)).data, np.float64)


def weights(model: ELM) -> Array:
    """[beta; c] as rows."""
    beta = model.output.weight.numpy().T
    return beta if model.output.bias is None else np.vstack([beta, model.output.bias.numpy()])


# The solution


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_the_gradient_of_the_stated_objective_is_zero_at_the_solution(activation: str, bias: bool) -> None:
    """N loss + ridge |beta|^2 by our own differentiation; the constant is not penalized."""
    model, (x, t), ridge = machine(activation=activation, bias=bias), data(), 0.3
    sizes = []
    for solved in (False, True):
        if solved:
            fit(model, x, t, ridge)
        model.zero_grad()
        value, _ = loss(model, Tensor(x), Tensor(t))
        (len(x) * value + ridge * model.output.weight.square().sum()).backward()
        sizes.append(max(float(np.abs(p.grad.numpy()).max()) for p in model.parameters()))
    assert sizes[1] < 1e-10 * sizes[0]


@pytest.mark.parametrize("bias", [False, True])
def test_the_solution_is_that_of_the_normal_equations_and_of_scikit_learn(bias: bool) -> None:
    from sklearn.linear_model import Ridge

    model, (x, t) = machine(bias=bias), data()
    fit(model, x, t, ridge=0.7)
    H = hidden_outputs(model, x)
    if not bias:
        np.testing.assert_allclose(weights(model), np.linalg.solve(H.T @ H + 0.7 * np.eye(12), H.T @ t), rtol=1e-9)
    ridge = Ridge(0.7, fit_intercept=bias, solver="svd").fit(H, t)
    np.testing.assert_allclose(weights(model)[:12], ridge.coef_.T, rtol=1e-9)
    if bias:
        np.testing.assert_allclose(weights(model)[12], ridge.intercept_, rtol=1e-9)


def test_without_a_ridge_the_solution_is_the_one_of_smallest_norm() -> None:
    """Moore and Penrose's, where there are more nodes than examples; the paper's theorem 2.1 (3)."""
    model, (x, t) = machine(hidden=30, bias=False), data(rows=9)
    fit(model, x, t)
    np.testing.assert_allclose(weights(model), np.linalg.pinv(hidden_outputs(model, x)) @ t, rtol=1e-6, atol=1e-9)


def test_class_targets_are_ones_and_zeros() -> None:
    model, x = machine(outputs=3), data()[0]
    y = np.arange(len(x)) % 3
    rows = np.asarray(target_rows(y, 3, "float64"))
    np.testing.assert_array_equal(rows, np.eye(3)[y])
    fit(model, x, y, ridge=0.1)
    by_class = weights(model)
    fit(model, x, rows, ridge=0.1)
    np.testing.assert_allclose(weights(model), by_class, rtol=1e-12)
    np.testing.assert_allclose(model(Tensor(x)).numpy().sum(axis=1), 1.0, rtol=1e-9)  # as the columns of T do


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "rbf"])
def test_as_many_nodes_as_examples_fit_any_targets(activation: str) -> None:
    """Theorem 2.1 of the paper: N different examples, N random nodes, error 0; with half as many nodes it is not."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(20, 4)), rng.normal(size=(20, 1))  # noise: nothing to generalize
    errors = []
    for hidden in (20, 10):
        model = fit(machine(hidden, 1, activation, bias=False), x, t)
        errors.append(float(np.abs(model(Tensor(x)).numpy() - t).max()))
    assert errors[0] < 1e-6
    assert errors[1] > 0.1


def test_batches_give_the_solution_of_all_rows_and_padding_none() -> None:
    model, (x, t) = machine(), data()
    sums = {name: Tensor(a) for name, a in begin_rows(model).items()}
    for start in range(0, 60, 7):
        part = np.arange(start, min(start + 7, 60))
        padded = np.concatenate([part, np.full(7 - len(part), part[0], int)])
        mask = Tensor((np.arange(7) < len(part)).astype(np.float32))
        sums = dict(absorb(model, sums, Tensor(x[padded]), Tensor(t[padded]), mask=mask))
    assert float(sums["N"].data) == 60
    H = np.hstack([hidden_outputs(model, x), np.ones((60, 1)), t])
    R = np.asarray(sums["R"].data)
    np.testing.assert_allclose(R.T @ R, H.T @ H, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(R, np.triu(R), atol=0)


def test_products_lose_twice_as_many_digits_as_the_triangle() -> None:
    """Nearly equal nodes in double precision: the page's reason not to solve (H^T H) beta = H^T T."""
    nn.seed(0)
    model = build(3, 12, 1, "tanh", scale=0.03).astype("float64")
    x = np.random.default_rng(0).normal(size=(200, 3))
    H = hidden_outputs(model, x)
    t = H @ np.ones((12, 1))
    fit(model, x, t)
    products = np.linalg.solve(H.T @ H, H.T @ t)
    condition = np.linalg.cond(H)
    assert 1e4 < condition < 1e6
    ours, theirs = (float(np.abs(w - 1).max()) for w in (weights(model), products))
    assert ours < 1e-14 * condition
    assert theirs > 1e4 * ours


def test_single_precision_products_are_off_by_a_percent_on_digits() -> None:
    """The page's figures: 1,000 nodes, ridge 0.1. The recipe's way, and float32 products against the same in float64."""
    x, y = nn.data.load("digits", ("image",), seed=0).train.all()
    nn.seed(0)
    model = fit(build(64, 1000, 10, "tanh").astype("float64"), x, y, ridge=0.1)
    found = weights(model)
    H, T, ridge = hidden_outputs(model, x.reshape(len(x), -1).astype("float64")), np.eye(10)[y], 0.1 * np.eye(1000)
    products = {
        dtype: np.linalg.solve(h.T @ h + ridge.astype(dtype), h.T @ T.astype(dtype))
        for dtype, h in (("float32", H.astype(np.float32)), ("float64", H))
    }
    errors = {dtype: float(np.abs(w - found).max() / np.abs(found).max()) for dtype, w in products.items()}
    assert errors["float64"] < 1e-9
    assert 3e-3 < errors["float32"] < 1e-1


# The sequential form


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_chunk_by_chunk_is_all_at_once(bias: bool, ridge: float) -> None:
    x, t = data(rows=90)
    whole = fit(machine(bias=bias), x, t, ridge)
    model = machine(bias=bias)
    online = OnlineELM(model, ridge)
    for chunk in np.split(np.arange(90), [20, 21, 22, 50]):  # the first, single rows, and long ones
        online.learn(x[chunk], t[chunk])
        seen = slice(0, chunk[-1] + 1)
        part = fit(machine(bias=bias), x[seen], t[seen], ridge)
        np.testing.assert_allclose(weights(model), weights(part), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(weights(model), weights(whole), rtol=1e-8, atol=1e-8)


def test_a_first_chunk_that_is_too_short_is_refused_without_a_ridge() -> None:
    x, t = data()
    with pytest.raises(UserError, match=r"must determine 13 weights for each output. Received 12 examples and ridge=0"):
        OnlineELM(machine()).learn(x[:12], t[:12])
    OnlineELM(machine()).learn(x[:13], t[:13])
    OnlineELM(machine(), ridge=0.1).learn(x[:1], t[:1])


@pytest.mark.parametrize("ridge", [-1.0, float("nan"), float("inf")])
def test_a_wrong_ridge_is_refused(ridge: float) -> None:
    for use in (lambda: OnlineELM(machine(), ridge), lambda: fit(machine(), *data(), ridge)):
        with pytest.raises(UserError, match="A ridge is a number of at least 0"):
            use()


@pytest.mark.parametrize("options", [{"hidden": 0}, {"features": 0}, {"outputs": 0}, {"activation": "relu"}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        machine(**options)
    with pytest.raises(UserError, match=r"The scale of random weights is a positive number\. Received 0"):
        build(4, 3, 2, scale=0.0)


# The recipe


def test_the_recipe_learns_in_one_pass_and_further_epochs_change_nothing(tmp_path: Any) -> None:
    once, thrice = (
        nn.train("elm", epochs=n, limit=300, out=tmp_path / f"{n}", report=False, offline=True).model.state_dict()
        for n in (1, 3)
    )
    for name, value in once.items():  # the order of the rows differs, and with it the rounding
        np.testing.assert_allclose(thrice[name], value, rtol=1e-4, atol=1e-6)


def test_the_log_shows_the_loss_of_the_solution(tmp_path: Any) -> None:
    result = nn.train("elm", limit=300, out=tmp_path / "run", report=False, offline=True)
    x, y = result.prepared.dataset.train.all()
    value, _ = loss(result.model, Tensor(x), Tensor(y))
    (line,) = result.run.history()
    assert line["train_loss"] == pytest.approx(float(value.item()), rel=1e-4)


def test_scores_are_probabilities() -> None:
    from nnatomy.functional import softmax

    p = softmax(class_scores(Tensor([[0.2, 0.8, 0.0], [-0.3, 1.2, 0.1]])), axis=-1).numpy()
    np.testing.assert_allclose(p[0], [0.2, 0.8, 0.0], atol=1e-5)
    assert p[1].argmax() == 1
