"""The VAE: divergence, reparameterization, bounds of known likelihoods, beta, labels, and the straight-through codebook."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data, ops
from nnatomy.architectures.autoencoders.vae import (
    VAE,
    VQVAE,
    build,
    divergence,
    log_likelihood,
    loss,
    negative_elbo,
    quantized,
    reparameterize,
)
from nnatomy.architectures.autoencoders.vae.recipe import build_for, build_vq_for, decoder_for, digits, vq
from nnatomy.cli.main import main
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.optim import Adam
from nnatomy.tensor import Parameter, Tensor
from nnatomy.training.learners import GradientDescent

pytestmark = pytest.mark.any_kernels
Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def binary() -> Dataset:
    return data.load("digits", ("image",), tasks=("density",), binary=True)


def trained(model: Any, x: Array, *others: Array, steps: int = 300, lr: float = 3e-3, rows: int = 64) -> Any:
    """The model after some steps of Adam on random batches, with noise from a fixed seed."""
    nn.seed(1)
    rng = np.random.default_rng(2)
    learner = GradientDescent(loss, optimizer=_adam(lr)).begin(model)
    learner.set_total(steps)
    state = learner.state()
    step = nn.compile(learner)
    for number in range(steps):
        learner.prepare(state, number, 1.0)
        chosen = rng.integers(0, len(x), rows)
        state, _ = step(state, tuple(a[chosen] for a in (x, *others)))
    learner.bind(state)
    return model


def _adam(lr: float) -> Any:
    from functools import partial

    return partial(Adam, lr=lr)


# The code


def test_the_divergence_equals_monte_carlo_and_torchs() -> None:
    mean, logvar = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    found = divergence(Tensor(mean), Tensor(logvar)).numpy()
    noise = RNG.normal(size=(200_000, 3, 4))
    z = mean + np.exp(logvar / 2) * noise
    ratios = 0.5 * (z**2 - noise**2 - logvar).sum(axis=2)  # ln q(z | x) - ln p(z)
    np.testing.assert_allclose(found, ratios.mean(axis=0), atol=4 * ratios.std(axis=0).max() / math.sqrt(len(noise)))
    torch = pytest.importorskip("torch")
    q = torch.distributions.Normal(torch.tensor(mean), torch.exp(torch.tensor(logvar) / 2))
    exact = torch.distributions.kl_divergence(q, torch.distributions.Normal(torch.zeros(3, 4), torch.ones(3, 4))).sum(1)
    np.testing.assert_allclose(found, exact.numpy(), rtol=1e-6)
    assert not divergence(nn.zeros(2, 3), nn.zeros(2, 3)).numpy().any()


def test_the_reparameterized_gradient_equals_the_analytic_one() -> None:
    """E z^2 = mean^2 + variance, whose derivatives are 2 mean and, by the log variance, the variance."""
    mean, logvar = Parameter(np.array([[0.7]])), Parameter(np.array([[-0.5]]))
    noise = Tensor(RNG.normal(size=(200_000, 1)))
    rows = [ops.broadcast_to(p, noise.shape) for p in (mean, logvar)]
    reparameterize(*rows, noise).square().mean().backward()
    assert mean.grad is not None
    assert logvar.grad is not None
    assert mean.grad.item() == pytest.approx(2 * 0.7, abs=0.01)
    assert logvar.grad.item() == pytest.approx(math.exp(-0.5), abs=0.01)


# Likelihoods


def test_bernoulli_outputs_are_probabilities_and_cross_entropy_on_gray_is_none() -> None:
    model = VAE((3,), latent=2, hidden=(5,))
    logits = Tensor(RNG.normal(size=(1, 3)).repeat(8, axis=0))
    every = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    nats = model.decoder.nats(logits, Tensor(every)).numpy()
    assert np.exp(-nats).sum() == pytest.approx(1)
    p = 1 / (1 + np.exp(-logits.numpy()[0]))
    np.testing.assert_allclose(nats, -np.log(np.where(every == 1, p, 1 - p)).sum(axis=1))
    gray = Tensor(np.linspace(0, 1, 2001)[:, None])
    one = VAE((1,), latent=1, hidden=(2,)).decoder.nats(Tensor(np.zeros((2001, 1))), gray).numpy()
    assert np.exp(-one).mean() == pytest.approx(0.5)  # over all gray values, p = 1/2: a density would give 1


def test_gaussian_nats_are_those_of_scipy() -> None:
    from scipy.stats import norm

    model = VAE((4,), latent=2, hidden=(5,), decoder="gaussian").astype("float64")
    model.decoder.logvar.requires_grad_(False).fill_(0.3)
    x, means = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    expected = -norm(means, math.exp(0.15)).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(model.decoder.nats(Tensor(means), Tensor(x)).numpy(), expected)


def linear_model(w: Array, sigma: float) -> tuple[VAE, Any]:
    """A Gaussian VAE with one latent number and x = w z + noise, and its exact -ln p(x); the encoder is the exact posterior."""
    numbers = len(w)
    model = VAE((numbers,), latent=1, hidden=(1,), decoder="gaussian").astype("float64")
    shrink = sigma**2 / (sigma**2 + w @ w)  # the posterior's variance
    far = 50.0  # ReLU is the identity above 0
    model.load_state_dict({
        "encoder.layers.0.weight": (w / (sigma**2 + w @ w))[None], "encoder.layers.0.bias": np.array([far]),
        "encoder.mean.weight": np.ones((1, 1)), "encoder.mean.bias": np.array([-far]),
        "encoder.logvar.weight": np.zeros((1, 1)), "encoder.logvar.bias": np.array([math.log(shrink)]),
        "decoder.layers.0.weight": np.ones((1, 1)), "decoder.layers.0.bias": np.array([far]),
        "decoder.output.weight": w[:, None], "decoder.output.bias": -far * w, "decoder.logvar": np.array([2 * math.log(sigma)]),
    })  # fmt: skip

    from scipy.stats import multivariate_normal

    return model, lambda x: -multivariate_normal(np.zeros(numbers), np.outer(w, w) + sigma**2 * np.eye(numbers)).logpdf(x)


def test_the_bound_is_the_likelihood_for_the_exact_posterior_and_above_it_for_others() -> None:
    nn.seed(0)
    model, exact = linear_model(np.array([1.0, -0.5, 0.3]), 0.6)
    x = RNG.normal(size=(4, 3))
    rows = Tensor(x.repeat(20_000, axis=0))

    def bound() -> Array:
        nats = negative_elbo(model, rows, model.draw(len(rows)))[1].numpy()
        return np.asarray(nats.reshape(4, -1).mean(axis=1))

    np.testing.assert_allclose(bound(), exact(x), atol=0.03)
    np.testing.assert_allclose(-log_likelihood(model, Tensor(x), 1).numpy(), exact(x), rtol=1e-6)  # every weight is p(x)
    with nn.no_grad():
        model.encoder.mean.bias += 0.5
        model.encoder.logvar.bias += 0.7
    worse = bound()
    assert (worse > exact(x) + 0.2).all()
    five = -log_likelihood(model, rows, 5).numpy().reshape(4, -1).mean(axis=1)
    assert (five < worse).all()
    assert (five > exact(x) - 0.03).all()


def test_more_draws_come_nearer_to_the_likelihood(binary: Dataset) -> None:
    x, held = binary.train.all()[0], Tensor(binary.test.all()[0])
    nn.seed(0)
    model = trained(VAE((1, 8, 8), latent=8, hidden=(64,)), x, steps=600)
    with nn.no_grad():
        one, fifty = (-log_likelihood(model, held, draws).numpy().mean() for draws in (1, 50))
        bound = negative_elbo(model, held, model.draw(len(held)))[1].numpy().mean()
    assert one == pytest.approx(bound, abs=0.3)  # one draw is the bound with a sampled divergence
    assert fifty < one - 0.5


# The loss


def test_sums_over_numbers_and_the_mean_over_examples() -> None:
    model = VAE((2, 3), latent=2, hidden=(4,), beta=3.0).astype("float64")
    x, noise = Tensor((RNG.uniform(size=(5, 2, 3)) < 0.5).astype(float)), Tensor(RNG.normal(size=(5, 2)))
    mean, logvar = model.encode(x)
    nats = model.decoder.nats(model.decode(reparameterize(mean, logvar, noise)), x.reshape(5, 6))
    value, each = negative_elbo(model, x, noise)
    kl = divergence(mean, logvar)
    assert value.item() == pytest.approx((nats.numpy() + 3 * kl.numpy()).mean())
    np.testing.assert_allclose(each.numpy(), nats.numpy() + kl.numpy())  # a bound, whatever beta
    reconstruction, _, _ = model(x, noise)
    assert reconstruction.shape == (5, 2, 3)
    assert nats.numpy()[0] == pytest.approx(
        -np.log(np.where(x.numpy()[0] == 1, reconstruction.numpy()[0], 1 - reconstruction.numpy()[0])).sum()
    )


def test_without_the_divergence_it_is_an_autoencoder(binary: Dataset) -> None:
    """beta = 0: the encoder makes its noise small, and the code keeps what the divergence makes it drop."""
    x = binary.train.all()[0]
    found = {}
    for beta in (0.0, 1.0, 5.0):
        nn.seed(0)
        model = trained(VAE((1, 8, 8), latent=4, hidden=(32,), beta=beta), x, steps=400)
        with nn.no_grad():
            mean, logvar = model.encode(Tensor(x))
            nats = model.decoder.nats(model.decode(mean), Tensor(x.reshape(len(x), -1))).numpy().mean()
        found[beta] = float(logvar.numpy().mean()), float(divergence(mean, logvar).numpy().mean()), float(nats)
    noise, kl, nats = zip(*found.values())
    assert noise[0] < noise[1] - 1  # variances at least e times smaller
    assert kl[0] > kl[1] > kl[2]
    assert nats[0] < nats[1] < nats[2]
    zero = VAE((1, 8, 8), latent=4, hidden=(32,), beta=0.0)
    value, _ = negative_elbo(zero, Tensor(x[:8]), nn.zeros(8, 4))
    flat = Tensor(x[:8].reshape(8, -1))
    assert value.item() == pytest.approx(zero.decoder.nats(zero.decode(zero.encode(Tensor(x[:8]))[0]), flat).numpy().mean())


def test_a_mean_over_pixels_would_turn_the_code_off(binary: Dataset) -> None:
    """Dividing the reconstruction by 64 numbers is beta = 64: the code tells nothing."""
    x = binary.train.all()[0]
    model = trained(VAE((1, 8, 8), latent=4, hidden=(32,), beta=64.0), x, steps=300)
    with nn.no_grad():
        assert divergence(*model.encode(Tensor(x))).numpy().mean() < 0.1


def test_numbers_of_the_code_that_are_not_needed_switch_off(binary: Dataset) -> None:
    x = binary.train.all()[0]
    nn.seed(0)
    model = trained(VAE((1, 8, 8), latent=16, hidden=(64,)), x, steps=1600, lr=5e-3)
    with nn.no_grad():
        mean, logvar = (t.numpy() for t in model.encode(Tensor(x)))
    nats = np.sort(-0.5 * (1 + logvar - mean**2 - np.exp(logvar)).mean(axis=0))
    assert (nats < 0.02).sum() >= 4
    assert (nats > 0.4).sum() >= 4


# Labels


def test_the_label_decides_the_digit(binary: Dataset) -> None:
    x, y = binary.train.all()
    nn.seed(0)
    model = trained(VAE((1, 8, 8), latent=4, hidden=(64,), classes=10), x, y, steps=500)
    nn.seed(3)
    labels = np.arange(200) % 10
    with nn.no_grad():
        made = model.sample(200, Tensor(labels)).numpy().reshape(200, -1)
        turns = model.sample(10).numpy()
    from sklearn.neighbors import KNeighborsClassifier

    judge = KNeighborsClassifier(5).fit(x.reshape(len(x), -1), y)
    assert (judge.predict(made) == labels).mean() > 0.9
    assert len(turns) == 10
    held, true = (a[:200] for a in binary.test.all())
    with nn.no_grad():
        found = model.recognize(Tensor(held))
        assert (found.numpy() == true).mean() > 0.85
        np.testing.assert_array_equal(model(Tensor(held))[0].numpy(), model(Tensor(held), None, found)[0].numpy())
    with pytest.raises(UserError, match="reads the label"):
        model.encode(Tensor(x[:2]))


# The codebook


def small_vq() -> VQVAE:
    nn.seed(4)
    return VQVAE((5,), codes=4, width=2, positions=3, hidden=(6,)).astype("float64")


def test_the_nearest_code_is_found_by_brute_force() -> None:
    model = small_vq()
    z = RNG.normal(size=(7, 3, 2))
    e = model.codebook.weight.numpy()
    expected = [[min(range(4), key=lambda k: ((v - e[k]) ** 2).sum()) for v in row] for row in z]
    np.testing.assert_array_equal(model.nearest(Tensor(z)).numpy(), expected)
    model.codebook.weight.requires_grad_(False).zero_()
    assert not model.nearest(Tensor(z)).numpy().any()  # ties: the first


def test_gradients_pass_straight_through_the_choice() -> None:
    """The encoder's output gets the gradient of the decoder's input and 2 commitment (z - e); a code gets 2 (e - z) alone."""
    model = small_vq()
    x = Tensor((RNG.uniform(size=(6, 5)) < 0.5).astype(float))
    with nn.no_grad():
        z, e = model.encoder(x), model.codebook(model.nearest(model.encoder(x)))
    read = Tensor(e.numpy(), requires_grad=True)
    model.decoder.nats(model.decode(read), x).mean().backward()
    assert read.grad is not None
    straight = read.grad.numpy() + 2 * 0.25 * (z - e).numpy() / 6
    model.zero_grad()
    quantized(model, x)[0].backward()
    assert model.encoder.output.bias.grad is not None
    np.testing.assert_allclose(model.encoder.output.bias.grad.numpy(), straight.sum(axis=0).reshape(-1))
    codes, pull = model.nearest(z).numpy(), 2 * (e - z).numpy() / 6
    assert model.codebook.weight.grad is not None
    for k in range(4):
        np.testing.assert_allclose(model.codebook.weight.grad.numpy()[k], pull[codes == k].sum(axis=0), atol=1e-12)


def test_the_bound_of_equally_probable_codes_is_above_the_exact_value() -> None:
    model = small_vq()
    x = Tensor((RNG.uniform(size=(6, 5)) < 0.5).astype(float))
    every = np.array(list(itertools.product(range(4), repeat=3)))  # all 64 codes of 3 positions
    with nn.no_grad():
        outputs = model.decode(model.codebook(Tensor(every)))
        exact = [
            -np.log(np.exp(-model.decoder.nats(outputs, Tensor(row[None].repeat(64, 0))).numpy()).mean()) for row in x.numpy()
        ]
        bound = quantized(model, x)[1].numpy()
    assert (bound >= np.array(exact)).all()
    assert (bound <= np.array(exact) + 3 * math.log(4) + 5).all()


def test_a_vq_vae_learns_digits(binary: Dataset) -> None:
    x, held = binary.train.all()[0], binary.test.all()[0]
    nn.seed(0)
    model = build_vq_for(binary, **{**vq.options, "hidden": (64,)})
    with nn.no_grad():
        before = quantized(model, Tensor(held))[1].numpy().mean()
    trained(model, x, steps=500)
    with nn.no_grad():
        after = quantized(model, Tensor(held))[1].numpy().mean()
        codes = model(Tensor(held))[1].numpy()
        made = model.sample(5).numpy()
    assert after < before - 15
    assert len(np.unique(codes)) >= 6  # the codebook has not collapsed
    assert made.shape == (5, 1, 8, 8)


# Sizes and files


def test_the_size_is_that_of_pytorchs_example_and_its_weights_load(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    shapes = {"fc1": (784, 400), "fc21": (400, 20), "fc22": (400, 20), "fc3": (20, 400), "fc4": (400, 784)}
    layers = {name: torch.nn.Linear(*shape) for name, shape in shapes.items()}
    weights = {f"{name}.{part}": t.detach() for name, layer in layers.items() for part, t in layer.named_parameters()}
    safetensors.save_file(weights, tmp_path / "vae.safetensors")
    model: Any = nn.interchange.load(nn.architecture("vae"), tmp_path / "vae.safetensors", shape=(1, 28, 28)).model
    assert model.count_parameters() == 652_824
    x = RNG.uniform(size=(3, 1, 28, 28)).astype(np.float32)
    h = torch.relu(layers["fc1"](torch.tensor(x).flatten(1)))
    mean, logvar = layers["fc21"](h), layers["fc22"](h)
    expected = torch.sigmoid(layers["fc4"](torch.relu(layers["fc3"](mean))))
    with nn.no_grad():
        found = model(Tensor(x))
    for ours, theirs in zip(found, (expected.reshape(3, 1, 28, 28), mean, logvar)):
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(("latent", "hidden", "classes", "gaussian"), [(2, (7,), 0, 0), (3, (8, 5), 4, 1)])
def test_parameters_are_those_of_the_formula(latent: int, hidden: tuple[int, ...], classes: int, gaussian: int) -> None:
    model = VAE((3, 4), latent, hidden, ("bernoulli", "gaussian")[gaussian], classes=classes)
    widths = (12 + classes, *hidden)
    enc = sum((a + 1) * b for a, b in itertools.pairwise(widths)) + 2 * latent * (hidden[-1] + 1)
    back = (latent + classes, *hidden[::-1], 12)
    assert model.count_parameters() == enc + sum((a + 1) * b for a, b in itertools.pairwise(back)) + gaussian


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latent": 0}, "at least 1"), ({"hidden": ()}, "one hidden layer"), ({"decoder": "poisson"}, "decoder"),
        ({"beta": -1.0}, "beta"), ({"codes": 4, "classes": 2}, "no classes"), ({"codes": 4, "commitment": -1.0}, "commitment"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build((4,), **options)


def test_the_data_decide_the_decoder(binary: Dataset) -> None:
    gray = data.load("digits", ("image",), tasks=("density",))
    assert decoder_for(binary) == "bernoulli"
    assert build_for(gray, 2, (4,)).decoder.form == "gaussian"
    assert set(np.unique(binary.train.all()[0])) == {0, 1}


# A user's run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "vae"
    settings = {"hidden": "16", "latent": "3", "conditional": "true"}
    nn.train("vae", out=folder, epochs=2, limit=80, settings=settings, report=False, baselines=False)
    return folder


def test_samples_of_a_chosen_label(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = nn.load_run(run)
    made: Any = loaded.sample(4, 7, "3")
    assert "samples.png" in made.files
    assert main(["sample", str(run), "--count", "4", "--label", "3", "--out", str(tmp_path / "s.png")]) == 0
    assert (tmp_path / "s.png").exists()
    assert main(["sample", str(run), "--label", "33", "--out", str(tmp_path / "t.png")]) == 2
    assert "Did you mean '3'?" in capsys.readouterr().err
    nn.seed(7)
    with nn.no_grad():
        expected = loaded.model.sample(4, Tensor(np.full(4, 3))).numpy()  # type: ignore[operator]
    made.files["1.png"](tmp_path / "1.png")
    from PIL import Image

    np.testing.assert_allclose(np.asarray(Image.open(tmp_path / "1.png")) / 255, expected[0, 0], atol=0.003)


def test_evaluation_repeats_and_predictions_are_codes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, again = nn.evaluate(run, baselines=False), nn.evaluate(run, baselines=False)
    assert first.metrics == again.metrics
    assert first.metrics["bits_per_dim"] == pytest.approx(first.metrics["nll"] / 64 / math.log(2))
    loaded = nn.load_run(run)
    from PIL import Image

    x = (RNG.uniform(size=(4, 1, 8, 8)) < 0.5).astype(np.float32)
    (tmp_path / "new").mkdir()
    for i, picture in enumerate(x):
        Image.fromarray((100 + 55 * picture[0]).astype(np.uint8)).save(tmp_path / "new" / f"{i}.png")  # 155 is above half
    answer = loaded.predict(tmp_path / "new")
    nn.exporting.export(run, out=tmp_path / "vae.onnx")
    exported = nn.exporting.predict_exported(tmp_path / "vae.onnx", tmp_path / "new")
    for name, column in answer.columns.items():
        assert name == "row" or exported.columns[name] == pytest.approx(column, abs=1e-4)
    with nn.no_grad():
        mean = loaded.model(Tensor(x))[1].numpy()
    assert [name for name in answer.columns if name != "row"] == ["z1", "z2", "z3"]
    np.testing.assert_allclose(np.stack([answer.columns[f"z{i}"] for i in (1, 2, 3)], axis=1), mean, atol=1e-5)


@pytest.mark.parametrize("kind", ["plane", "deep", "conditional", "vq"])
def test_the_picture_of_every_form_is_drawn(kind: str, binary: Dataset) -> None:
    from nnatomy.architectures.autoencoders.vae.picture import draw

    forms = {
        "plane": lambda: build_for(binary, 2, (8,)), "deep": lambda: build_for(binary, 5, (8,)),
        "conditional": lambda: build_for(binary, 3, (8,), conditional=True), "vq": lambda: build_vq_for(binary, 2, (8,), 6, 3),
    }  # fmt: skip
    figure = draw(forms[kind](), binary)
    assert len(figure.axes) >= 3
    assert all(axes.get_title() or axes.get_xlabel() or axes.images for axes in figure.axes)


def test_the_recipe_is_the_plain_one() -> None:
    assert digits.load == {"binary": True}
    assert digits.options["beta"] == 1.0
    assert digits.score["nll"] < 19  # independent pixels reach 24.5
