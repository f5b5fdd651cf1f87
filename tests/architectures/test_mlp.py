"""The multi-layer perceptron: its equations, back-propagation by hand, XOR, universal approximation, scikit-learn, scores."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnatomy import data, random
from nnatomy.architectures.feedforward.mlp import ACTIVATIONS, MLP, build, loss
from nnatomy.architectures.feedforward.mlp.recipe import image, recipes
from nnatomy.errors import UserError
from nnatomy.optim import SGD, Adam, AdamW
from nnatomy.runs.train import train
from nnatomy.runs.trained import load_run
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
CORNERS = np.array([(0, 0), (0, 1), (1, 0), (1, 1)], np.float64)
XOR = np.array([0, 1, 1, 0])


def double(**options: Any) -> MLP:
    return build(**options).astype(np.float64)


def fitted(model: MLP, x: Array, y: Array, steps: int, lr: float = 0.01) -> float:
    """Adam on all of the data; the last loss."""
    optimizer = Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        value, _ = loss(model, Tensor(x), Tensor(y))
        value.backward()
        optimizer.step()
    return float(value.item())


# The equations


def test_forward_is_the_equations() -> None:
    model = double(features=3, outputs=2, hidden=(5, 4), activation="tanh")
    x = np.random.default_rng(0).normal(size=(7, 3))
    w = model.state_dict()
    assert list(w) == [f"linears.{i}.{name}" for i in range(3) for name in ("weight", "bias")]
    h = np.tanh(x @ w["linears.0.weight"].T + w["linears.0.bias"])
    h = np.tanh(h @ w["linears.1.weight"].T + w["linears.1.bias"])
    np.testing.assert_allclose(model(Tensor(x)).numpy(), h @ w["linears.2.weight"].T + w["linears.2.bias"], rtol=1e-12)


def test_the_order_is_linear_norm_activation_dropout() -> None:
    rng = np.random.default_rng(1)
    model = double(features=3, outputs=2, hidden=(4,), batch_norm=True, dropout=0.5)
    state = {name: abs(rng.normal(size=value.shape)) if value.dtype.kind == "f" else value
             for name, value in model.state_dict().items()}  # fmt: skip
    model.load_state_dict(state)
    model.eval()
    x = rng.normal(size=(6, 3))
    z = x @ state["linears.0.weight"].T + state["linears.0.bias"]
    z = (z - state["norms.0.running_mean"]) / np.sqrt(state["norms.0.running_var"] + 1e-5)
    h = np.maximum(z * state["norms.0.weight"] + state["norms.0.bias"], 0)  # no dropout after training
    expected = h @ state["linears.1.weight"].T + state["linears.1.bias"]
    np.testing.assert_allclose(model(Tensor(x)).numpy(), expected, rtol=1e-12)

    model.train()  # dropout sets exact zeros behind the activation and doubles the rest
    seen: list[Array] = []
    model.dropout.register_forward_hook(lambda module, args, out: seen.append(out.numpy() / np.maximum(args[0].numpy(), 1e-30)))
    model(Tensor(rng.normal(size=(200, 3))))
    factors = np.unique(np.round(seen[0][seen[0] > 0], 9))
    assert factors.tolist() == [2.0]


def test_numbers_are_encoded_by_their_bins() -> None:
    """Each number's place among the edges, by hand, for values inside, on, below and above the edges."""
    model = double(features=3, outputs=2, hidden=(4,), numbers=(0, 2), bins=3, embedding=2)
    state = model.state_dict()
    state["numbers.edges"] = np.array([[0.0, 1.0, 3.0, 4.0], [-1.0, 0.0, 0.5, 2.0]])
    model.load_state_dict(state)
    x = np.array([[2.0, 7.0, -5.0], [1.0, 7.0, 0.25], [9.0, 7.0, 1.25]])
    pieces = np.array([
        [[1, 0.5, 0], [1, 0, 0], [1, 1, 1]],  # 2 is in the middle of the second bin, 1 at its start, 9 beyond all
        [[0, 0, 0], [1, 0.5, 0], [1, 1, 0.5]],
    ])  # fmt: skip
    w, c = state["numbers.weight"], state["numbers.bias"]
    features = [np.maximum(pieces[j] @ w[j] + c[j], 0) for j in range(2)]
    h = np.concatenate([x, *features], axis=1)
    np.testing.assert_allclose(model.first(Tensor(x)).numpy(), h, rtol=1e-12)
    h = np.maximum(h @ state["linears.0.weight"].T + state["linears.0.bias"], 0)
    np.testing.assert_allclose(model(Tensor(x)).numpy(), h @ state["linears.1.weight"].T + state["linears.1.bias"], rtol=1e-12)


def test_edges_are_quantiles_of_the_training_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{a:.4f},{g},{b},{a + b:.3f}" for a, g, b in zip(rng.normal(size=400), rng.choice(["x", "y"], 400),
                                                               np.arange(400) % 4 // 3)]  # fmt: skip
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a,g,b,y", *rows]), encoding="utf-8")
    result = train("mlp", path, target="y", types={"b": "numeric"}, epochs=1, out=tmp_path / "run", report=False)
    model, x = result.model, result.dataset.train.all()[0]
    assert model.numbers.columns.tolist() == [0, 3]  # g has the features 1 and 2
    edges, bins = model.numbers.edges.numpy(), model.numbers.edges.shape[1] - 1
    np.testing.assert_allclose(edges[0], np.quantile(x[:, 0], np.linspace(0, 1, bins + 1)), atol=0.01 * bins)
    counts = np.histogram(x[:, 0], edges[0])[0]
    assert counts.max() < 3 * len(x) / bins
    assert (np.diff(edges, axis=1) > 0.0099).all()  # also of a column with two values
    again = load_run(tmp_path / "run")
    assert (again.model.numbers.edges.numpy() == edges).all()
    assert again.evaluate(path).metrics["r2"] == pytest.approx(nn_r2(again, path))


def nn_r2(run: Any, path: Path) -> float:
    """R2 of a run's predictions for a file, by scikit-learn."""
    from sklearn.metrics import r2_score

    truth = [float(line.split(",")[-1]) for line in path.read_text().splitlines()[1:]]
    return float(r2_score(truth, run.predict(path).columns["prediction"]))


def test_images_are_flattened() -> None:
    model = double(features=32, outputs=3, hidden=(6,))
    x = np.random.default_rng(2).normal(size=(5, 2, 4, 4))
    assert (model(Tensor(x)).numpy() == model(Tensor(x.reshape(5, 32))).numpy()).all()


def test_back_propagation_by_hand() -> None:
    """The page's three lines, from the last layer to the first, against Tensor.backward()."""
    model = double(features=4, outputs=3, hidden=(6, 5), activation="sigmoid")
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(8, 4)), rng.integers(3, size=8)
    loss(model, Tensor(x), Tensor(y))[0].backward()

    W = [linear.weight.numpy() for linear in model.linears]
    h = [x]
    for linear in model.linears[:-1]:
        h.append(1 / (1 + np.exp(-(h[-1] @ linear.weight.numpy().T + linear.bias.numpy()))))
    scores = h[-1] @ W[-1].T + model.linears[-1].bias.numpy()
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    delta = (p - np.eye(3)[y]) / len(x)
    for i in (2, 1, 0):
        np.testing.assert_allclose(model.linears[i].weight.grad.numpy(), delta.T @ h[i], rtol=1e-10)
        np.testing.assert_allclose(model.linears[i].bias.grad.numpy(), delta.sum(axis=0), rtol=1e-10)
        delta = (delta @ W[i]) * h[i] * (1 - h[i])


def test_losses_and_the_l1_penalty() -> None:
    rng = np.random.default_rng(4)
    x, numbers = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    plain, penalized = double(features=3, outputs=2, hidden=(4,)), double(features=3, outputs=2, hidden=(4,), l1=0.1)
    penalized.load_state_dict(plain.state_dict())
    squared = ((plain(Tensor(x)).numpy() - numbers) ** 2).mean()
    assert loss(plain, Tensor(x), Tensor(numbers))[0].item() == pytest.approx(squared, rel=1e-12)
    weights = sum(abs(linear.weight.numpy()).sum() for linear in plain.linears)
    assert loss(penalized, Tensor(x), Tensor(numbers))[0].item() == pytest.approx(squared + 0.1 * weights, rel=1e-12)

    x = rng.normal(size=(200, 10))  # nine of ten inputs mean nothing: L1 closes them
    y = x[:, :1]
    small = {}
    for l1 in (0.0, 1e-3):
        model = double(features=10, outputs=1, hidden=(8,), l1=l1)
        fitted(model, x, y, 1500)
        small[l1] = (abs(model.linears[0].weight.numpy()[:, 1:]) < 1e-2).mean()
    assert small[1e-3] > 0.9
    assert small[0.0] < 0.7


def test_weight_decay_is_an_l2_penalty_for_sgd_and_not_for_adamw() -> None:
    """Least squares with the penalty weight_decay / 2 |w|^2: where each optimizer ends."""
    rng = np.random.default_rng(0)
    x, decay = rng.normal(size=(40, 3)), 0.5
    y = x @ np.array([[1.0], [-2.0], [0.2]])
    gram = 2 * x.T @ x / 40
    ridge = np.linalg.solve(gram + decay * np.eye(3), 2 * x.T @ y / 40)[:, 0]
    ends = {}
    for optimizer, lr in ((SGD, 0.05), (Adam, 0.02), (AdamW, 0.02)):
        model = double(features=3, outputs=1, hidden=())
        model.load_state_dict({**model.state_dict(), "linears.0.bias": np.zeros(1)})
        steps: Any = optimizer([model.linears[0].weight], lr=lr, weight_decay=decay)
        for _ in range(1500):
            model.zero_grad()
            loss(model, Tensor(x), Tensor(y))[0].backward()
            steps.step()
        ends[optimizer] = model.linears[0].weight.numpy()[0]
    np.testing.assert_allclose(ends[SGD], ridge, atol=1e-6)
    np.testing.assert_allclose(ends[Adam], ridge, atol=1e-4)
    assert abs(ends[AdamW] - ridge).max() > 0.1


# What depth and bends are for


def test_two_units_solve_xor() -> None:
    """y = relu(a + b) - 2 relu(a + b - 1) is XOR, exactly."""
    model = double(features=2, outputs=1, hidden=(2,))
    model.load_state_dict({
        "linears.0.weight": np.ones((2, 2)), "linears.0.bias": np.array([0.0, -1.0]),
        "linears.1.weight": np.array([[1.0, -2.0]]), "linears.1.bias": np.zeros(1),
    })  # fmt: skip
    assert model(Tensor(CORNERS)).numpy()[:, 0].tolist() == XOR.tolist()


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_xor_is_learned_with_every_activation(activation: str) -> None:
    model = double(features=2, outputs=2, hidden=(16,), activation=activation)
    assert fitted(model, CORNERS, XOR, 800, lr=0.05) < 0.05
    assert model(Tensor(CORNERS)).numpy().argmax(axis=1).tolist() == XOR.tolist()


def test_without_hidden_layer_or_bend_xor_is_not_learned() -> None:
    """A linear model, and a deep one whose activation does not bend, which is the same: the loss stays at ln 2."""
    for model in (MLP(2, 2, hidden=()), MLP(2, 2, hidden=(16, 16), activation=lambda z: z)):
        assert fitted(model.astype(np.float64), CORNERS, XOR, 800, lr=0.05) == pytest.approx(np.log(2), abs=1e-3)


def test_equal_weights_stay_equal() -> None:
    """Units that start alike receive the same gradients: without random weights a layer is a single unit."""
    model = double(features=2, outputs=2, hidden=(5,), activation="tanh")
    model.load_state_dict({name: np.full(value.shape, 0.3) for name, value in model.state_dict().items()})
    fitted(model, CORNERS, np.array([0, 1, 1, 1]), 50)
    units = np.hstack([model.linears[0].weight.numpy(), model.linears[0].bias.numpy()[:, None]])
    assert np.ptp(units, axis=0).max() < 1e-12
    assert abs(units - 0.3).max() > 0.05


def test_initial_variance_decides_the_size_of_the_signal() -> None:
    """Linear's 1 / (3 m) leaves a sixth of the second moment after a ReLU layer, He's 2 / m all of it."""
    x = Tensor(np.random.default_rng(0).normal(size=(200, 256)))
    for gain, ratio in ((None, 1 / 6), (2.0, 1.0), (1.0, 1 / 2)):
        model = double(features=256, outputs=1, hidden=(256,) * 4)
        factor = 1.0 if gain is None else np.sqrt(3 * gain)
        model.load_state_dict({name: a * factor if "weight" in name else 0 * a for name, a in model.state_dict().items()})
        z = [model.linears[0](x)]
        for linear in model.linears[1:4]:
            z.append(linear(model.activation(z[-1])))
        moments = [float((a.numpy() ** 2).mean()) for a in z]
        assert moments[3] / moments[0] == pytest.approx(ratio**3, rel=0.3)


def test_parameters_are_those_of_the_formula() -> None:
    for sizes in ((64, 256, 128, 10), (5, 3), (2, 2, 1)):
        model = build(features=sizes[0], outputs=sizes[-1], hidden=sizes[1:-1])
        assert model.count_parameters() == sum(n * (m + 1) for m, n in pairwise(sizes))
    assert build(features=64, outputs=10, hidden=(256, 128)).count_parameters() == 50_826


@pytest.mark.parametrize("width", [4, 16, 64, 256])
def test_universal_approximation_by_construction(width: int) -> None:
    """`width` units that fold at equal distances interpolate f, so that the error is at most max |f''| / (8 width^2)."""

    def f(t: Array) -> Array:
        return np.sin(9 * t) + t

    folds = np.arange(width) / width
    slopes = np.diff(f(np.arange(width + 1) / width)) * width
    model = double(features=1, outputs=1, hidden=(width,))
    model.load_state_dict({
        "linears.0.weight": np.ones((width, 1)), "linears.0.bias": -folds,
        "linears.1.weight": np.diff(slopes, prepend=0.0)[None], "linears.1.bias": f(np.zeros(1)),
    })  # fmt: skip
    x = np.linspace(0, 1, 5001)
    error = abs(model(Tensor(x[:, None])).numpy()[:, 0] - f(x)).max()
    assert error <= 81 / (8 * width**2)
    assert error > 81 / (100 * width**2)  # the error is within a factor of 12.5 of the bound


@pytest.mark.parametrize("width", [4, 16, 64])
def test_interpolation_is_slower_where_the_second_derivative_is_not_bounded(width: int) -> None:
    """The error for sqrt is 1 / (4 sqrt(width)), in the first interval."""
    knots = np.sqrt(np.arange(width + 1) / width)
    model = double(features=1, outputs=1, hidden=(width,))
    model.load_state_dict({
        "linears.0.weight": np.ones((width, 1)), "linears.0.bias": -np.arange(width) / width,
        "linears.1.weight": np.diff(np.diff(knots) * width, prepend=0.0)[None], "linears.1.bias": np.zeros(1),
    })  # fmt: skip
    x = np.linspace(0, 1, 40001)
    error = abs(model(Tensor(x[:, None])).numpy()[:, 0] - np.sqrt(x)).max()
    assert error == pytest.approx(1 / (4 * np.sqrt(width)), rel=1e-3)


def test_universal_approximation_is_learned_in_one_dimension() -> None:
    """A wave and a kink: the error of the better of two networks falls as their hidden layer grows."""
    x = np.linspace(-3, 3, 100)[:, None]
    for y in (np.sin(3 * x) * x + 0.3 * x, abs(x) - 0.5 * abs(x - 1.2)):
        errors = []
        for width in (1, 3, 24):
            tried = []
            for seed in range(2):
                random.seed(seed)
                tried.append(fitted(double(features=1, outputs=1, hidden=(width,), activation="tanh"), x, y, 1000, lr=0.03))
            errors.append(min(tried))
        assert errors[0] > errors[1] > 5 * errors[2]
        assert errors[2] < 1e-2 * y.var()


# Held against scikit-learn: the same weights, the same steps


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_scikit_learn_takes_the_same_steps(task: str, activation: str) -> None:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 4))
    y = rng.integers(3, size=60) if task == "classification" else rng.normal(size=60)
    options: dict[str, Any] = {
        "hidden_layer_sizes": (7, 5), "activation": activation, "solver": "sgd", "alpha": 0.0, "batch_size": 20,
        "learning_rate_init": 0.1, "momentum": 0.0, "shuffle": False, "random_state": 0,
    }  # fmt: skip
    reference = MLPClassifier(**options) if task == "classification" else MLPRegressor(**options)
    reference.partial_fit(x, y, **({"classes": [0, 1, 2]} if task == "classification" else {}))

    name = {"logistic": "sigmoid"}.get(activation, activation)
    model = double(features=4, outputs=3 if task == "classification" else 1, hidden=(7, 5), activation=name)
    weights = {f"linears.{i}.weight": w.T for i, w in enumerate(reference.coefs_)}
    model.load_state_dict(weights | {f"linears.{i}.bias": b for i, b in enumerate(reference.intercepts_)})
    targets = y if task == "classification" else y[:, None]
    optimizer = SGD(model.parameters(), lr=0.1 if task == "classification" else 0.05)  # scikit-learn halves squared errors
    for _ in range(10):
        reference.partial_fit(x, y)
        for start in range(0, 60, 20):
            optimizer.zero_grad()
            loss(model, Tensor(x[start : start + 20]), Tensor(targets[start : start + 20]))[0].backward()
            optimizer.step()
    for linear, w, b in zip(model.linears, reference.coefs_, reference.intercepts_):
        np.testing.assert_allclose(linear.weight.numpy(), w.T, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(linear.bias.numpy(), b, rtol=1e-9, atol=1e-12)
    out = model(Tensor(x)).numpy()
    if isinstance(reference, MLPClassifier):
        assert (out.argmax(axis=1) == reference.predict(x)).all()
    else:
        np.testing.assert_allclose(out[:, 0], reference.predict(x), rtol=1e-8)


# As an architecture


def test_digits_are_read_as_well_as_scikit_learn_reads_them(tmp_path: Path) -> None:
    from sklearn.neural_network import MLPClassifier

    result = train("mlp", out=tmp_path / "run", report=False)
    assert result.metrics["accuracy"] >= image.score["accuracy"]
    (x, y), (held, truth) = result.dataset.train.all(), result.dataset.test.all()
    reference = MLPClassifier((256, 128), random_state=0, max_iter=60, early_stopping=True).fit(x.reshape(len(x), -1), y)
    assert result.metrics["accuracy"] >= reference.score(held.reshape(len(held), -1), truth) - 0.01


def test_tables_of_both_tasks(tmp_path: Path) -> None:
    cancer = train("mlp", "breast_cancer", out=tmp_path / "a", report=False)
    assert cancer.metrics["accuracy"] >= 0.95
    diabetes = train("mlp", "diabetes", out=tmp_path / "b", report=False)
    assert diabetes.metrics["r2"] >= 0.35


def test_titanic(real_data: Path, tmp_path: Path) -> None:
    auc = [
        train("mlp", real_data / "tabular/titanic.csv", target="survived", out=tmp_path / f"{seed}", seed=seed, report=False)
        .metrics["auc"] for seed in range(3)
    ]  # fmt: skip
    assert auc[0] >= 0.83
    assert np.mean(auc) >= 0.84


def test_california_housing(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "tabular/california_housing.csv"
    result = train("mlp", path, target="median_house_value", out=tmp_path / "run", epochs=25, report=False)
    assert result.metrics["r2"] >= 0.78


@pytest.mark.parametrize("source", ["digits", "breast_cancer", "iris", "moons", "diabetes", "logic_xor"])
@pytest.mark.parametrize("hidden", [(8, 6), ()])
def test_the_picture_is_drawn(source: str, hidden: tuple[int, ...]) -> None:
    from nnatomy.architectures.feedforward.mlp import picture

    dataset = data.load(source, ("image", "table"))
    recipe = next(r for r in recipes if r.does(dataset) is not None)
    model = recipe.build(dataset, hidden=hidden, batch_norm=bool(hidden), dropout=0.3)
    before, training = model.state_dict(), model.training
    figure = picture.draw(model, dataset)
    assert len([axes for axes in figure.axes if axes.has_data()]) >= (5 if hidden else 3)
    assert all((before[name] == value).all() for name, value in model.state_dict().items())  # looking changes nothing
    assert model.training == training
    figure.canvas.draw()


def test_wrong_options_are_explained() -> None:
    with pytest.raises(UserError, match="Did you mean 'relu'"):
        build(features=2, outputs=2, activation="rleu")
    with pytest.raises(UserError, match="at least 1 unit"):
        build(features=2, outputs=2, hidden=(4, 0))
    with pytest.raises(UserError, match="l1 must be 0 or more"):
        build(features=2, outputs=2, l1=-1.0)
