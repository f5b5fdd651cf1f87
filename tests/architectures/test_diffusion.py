"""Diffusion: the forward marginals, samplers against diffusers and each other, guidance in closed form, published sizes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.generative.diffusion.model import (
    SAMPLERS,
    SCHEDULES,
    Diffusion,
    build,
    loss,
    noise_loss,
    signal_left,
)
from nnatomy.architectures.generative.diffusion.picture import draw
from nnatomy.architectures.generative.diffusion.recipe import black_and_white, cases, image, points
from nnatomy.catalog import architecture
from nnatomy.errors import UserError
from nnatomy.layers import Linear
from nnatomy.layers.module import Module
from nnatomy.optim import Adam
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
MEAN, VARIANCE = 1.5, 0.25


class OfNormal(Module):
    """The exact noise of x_t for data from N(MEAN, VARIANCE): eps = sqrt(1 - a) (x_t - sqrt(a) MEAN) / (a VARIANCE + 1 - a)."""

    def __init__(self, alpha_bar: Array) -> None:
        self.unused, self.alpha_bar = Linear(1, 1), alpha_bar

    def forward(self, x: Tensor, t: Tensor, *_: Tensor) -> Tensor:
        a = float(self.alpha_bar[int(np.asarray(t.data)[0])])
        eps: Tensor = math.sqrt(1 - a) * (x - math.sqrt(a) * MEAN) / (a * VARIANCE + 1 - a)
        return eps


def of_normal(schedule: str = "linear", timesteps: int = 1000, **options: Any) -> Diffusion:
    network = OfNormal(signal_left(schedule, timesteps))
    options = {"steps": min(50, timesteps), **options}
    made: Diffusion = Diffusion(network, (1,), timesteps=timesteps, schedule=schedule, **options).astype("float64")
    return made


def small(**options: Any) -> Diffusion:
    nn.seed(3)
    made: Diffusion = build((2,), "mlp", width=16, blocks=1, **options).astype("float64")
    return made


def same(model: Diffusion, **changes: Any) -> Diffusion:
    """The same network with another sampler."""
    kept = {"timesteps": model.timesteps, "classes": model.classes}
    return Diffusion(model.network, model.shape, **{**kept, **changes})


def sampled(model: Diffusion, z: Array, seed: int = 7) -> Array:
    nn.seed(seed)
    with nn.no_grad():
        return np.asarray(model(Tensor(z)).data)


# The forward process


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_forward_marginals_match_the_closed_form(schedule: str) -> None:
    """Steps x <- sqrt(1 - beta) x + sqrt(beta) z, taken one by one, end at mean sqrt(a) x and variance 1 - a."""
    model = of_normal(schedule, timesteps=40)
    rng, n = np.random.default_rng(0), 40_000
    x = np.full(n, 2.0)
    betas = 1 - model.alpha_bar / np.concatenate([[1.0], model.alpha_bar[:-1]])
    for t, beta in enumerate(betas):
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * rng.normal(size=n)
        a = model.left(t)
        assert x.mean() == pytest.approx(2 * math.sqrt(a), abs=0.03)
        assert x.var() == pytest.approx(1 - a, abs=0.03)
    noise = rng.normal(size=(n, 1))
    for t in (0, 13, 39):
        made = model.noised(Tensor(np.full((n, 1), 2.0)), Tensor(np.full(n, t)), Tensor(noise)).numpy()
        np.testing.assert_allclose(made, 2 * math.sqrt(model.left(t)) + math.sqrt(1 - model.left(t)) * noise, rtol=1e-12)


def test_times_count_from_0_and_the_first_has_little_noise() -> None:
    """The index shift: alpha-bar_0 = 1 - beta_0 is not 1, and the time before it is clean."""
    model = of_normal()
    assert model.left(0) == pytest.approx(1 - 1e-4)
    assert model.left(-1) == 1.0
    assert model.left(999) == pytest.approx(4.04e-5, rel=0.01)  # Ho et al. (2020), section 4: little of the example is left


def test_schedules_are_those_of_diffusers() -> None:
    from diffusers import DDPMScheduler

    for schedule, theirs in (("linear", "linear"), ("cosine", "squaredcos_cap_v2")):
        expected = DDPMScheduler(1000, beta_schedule=theirs).alphas_cumprod.double().numpy()
        np.testing.assert_allclose(signal_left(schedule, 1000), expected, rtol=2e-3)  # theirs is a product in float32
        assert (np.diff(signal_left(schedule, 50)) < 0).all()
        assert signal_left(schedule, 50)[-1] < 2e-4  # scaled for fewer times: noise at the end


# Samplers


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers with NumPy 2
@pytest.mark.parametrize(
    ("sampler", "bounds"), [*((s, None) for s in SAMPLERS), *((s, (-1.0, 1.0)) for s in ("ddim", "ddpm"))], ids=str
)
def test_steps_equal_those_of_diffusers(sampler: str, bounds: tuple[float, float] | None) -> None:
    """With the same predictions at every step: to the precision of their table, which is a product in float32."""
    import torch
    from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler

    model = Diffusion(Linear(1, 1), (5,), sampler=sampler, steps=20, bounds=bounds)
    clip = {} if sampler == "euler" else {"clip_sample": bounds is not None}
    kind = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler, "euler": EulerDiscreteScheduler}[sampler]
    scheduler = kind(1000, beta_start=1e-4, beta_end=0.02, timestep_spacing="trailing", **clip)
    scheduler.set_timesteps(20)
    assert [int(t) for t in scheduler.timesteps] == model.times()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5))
    sigma = math.sqrt(1 / model.left(999) - 1)
    y = torch.tensor(x) * (1 / math.sqrt(model.left(999)) if sampler == "euler" else 1.0)
    assert sampler != "euler" or float(scheduler.sigmas[0]) == pytest.approx(sigma, rel=1e-3)
    ends = [*model.times()[1:], -1]
    for t, before, theirs in zip(model.times(), ends, scheduler.timesteps):
        eps = rng.normal(size=x.shape)
        if sampler == "ddpm":  # without its noise: both means
            x = _mean(model, x, eps, t, before)
            drawn = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(t))
            found = scheduler.step(torch.tensor(eps), theirs, y, generator=torch.Generator().manual_seed(t)).prev_sample
            a, b = model.left(t), model.left(before)
            y = found - math.sqrt(max((1 - a / b) * (1 - b) / (1 - a), 1e-20)) * drawn
        else:
            x = model.step(Tensor(x), Tensor(eps), t, before).numpy()
            if sampler == "euler":
                scheduler.scale_model_input(y, theirs)
                y = scheduler.step(torch.tensor(eps), theirs, y).prev_sample
            else:
                y = scheduler.step(torch.tensor(eps), int(theirs), y, use_clipped_model_output=True).prev_sample
        scale = math.sqrt(model.left(before)) if sampler == "euler" else 1.0  # theirs is x / sqrt(a)
        np.testing.assert_allclose(x, scale * y.numpy(), rtol=2e-3, atol=2e-3 * np.abs(x).max())


def _mean(model: Diffusion, x: Array, eps: Array, t: int, before: int) -> Array:
    """A step of DDPM without the noise that it adds, which is drawn again."""
    nn.seed(1)
    noisy = model.step(Tensor(x), Tensor(eps), t, before).numpy()
    if before < 0:
        return noisy
    nn.seed(1)
    z = nn.randn(x.shape, dtype="float64").numpy()
    a, b = model.left(t), model.left(before)
    return np.asarray(noisy - math.sqrt((1 - a / b) * (1 - b) / (1 - a)) * z)


def test_ddim_without_noise_is_repeatable_and_its_start_decides() -> None:
    model = small(steps=10)
    z = np.random.default_rng(0).normal(size=(6, 2))
    np.testing.assert_array_equal(sampled(model, z, seed=1), sampled(model, z, seed=2))
    noisy = same(model, steps=10, eta=0.5)
    assert np.abs(sampled(noisy, z, seed=1) - sampled(noisy, z, seed=2)).max() > 1e-3
    assert np.abs(sampled(model, z) - sampled(model, -z)).max() > 0.1


@pytest.mark.parametrize("steps", [50, 10])
def test_ddim_with_eta_1_is_ddpm(steps: int) -> None:
    """Song et al. (2021), section 4.1, with the posterior variance: with all T times and with fewer."""
    model = small(timesteps=50)
    z = np.random.default_rng(0).normal(size=(6, 2))
    first, second = (same(model, steps=steps, **how) for how in ({"sampler": "ddim", "eta": 1.0}, {"sampler": "ddpm"}))
    np.testing.assert_allclose(sampled(first, z), sampled(second, z), rtol=1e-9, atol=1e-9)
    beta = same(model, steps=steps, sampler="ddpm", variance="beta")
    assert np.abs(sampled(first, z) - sampled(beta, z)).max() > 1e-3


def test_euler_is_ddim_without_noise() -> None:
    """One Euler step of the probability flow in x / sqrt(a) and sigma is one step of DDIM with eta 0."""
    model = small()
    z = np.random.default_rng(0).normal(size=(6, 2))
    first, second = same(model, sampler="euler", steps=12), same(model, steps=12)
    np.testing.assert_allclose(sampled(first, z), sampled(second, z), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("how", [{"sampler": "ddpm", "variance": v} for v in ("posterior", "beta")] + [{"eta": 1.0}], ids=str)
def test_no_noise_is_added_at_the_last_step(how: dict[str, Any]) -> None:
    model = Diffusion(Linear(1, 1), (2,), timesteps=50, steps=10, **how)
    x, eps = (Tensor(a) for a in np.random.default_rng(0).normal(size=(2, 6, 2)))
    last = model.times()[-1]
    found = []
    for before in (-1, 1):
        for seed in (1, 2):
            nn.seed(seed)
            found.append(model.step(x, eps, last, before).numpy())
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[2] - found[3]).max() > 1e-3
    a = model.left(last)
    np.testing.assert_allclose(found[0], (x.numpy() - math.sqrt(1 - a) * eps.numpy()) / math.sqrt(a), rtol=1e-9)


@pytest.mark.parametrize(
    ("sampler", "how"), [("ddpm", {}), ("ddpm", {"variance": "beta"}), ("ddim", {}), ("euler", {}), ("ddim", {"eta": 0.5})]
)
def test_with_the_exact_noise_samples_are_the_data(sampler: str, how: dict[str, Any]) -> None:
    model = of_normal(sampler=sampler, steps=250, **how)
    x = sampled(model, np.random.default_rng(0).normal(size=(20_000, 1)))
    assert x.mean() == pytest.approx(MEAN, abs=0.02)
    assert x.var() == pytest.approx(VARIANCE, rel=0.06)


def test_the_clip_holds_samples_between_the_bounds() -> None:
    model = small(steps=5, bounds=(-0.5, 1.0))
    x = sampled(model, 3 * np.random.default_rng(0).normal(size=(200, 2)))
    assert -0.5 <= x.min() < -0.4
    assert 0.9 < x.max() <= 1.0


def test_without_a_clip_the_cosine_schedule_magnifies_errors() -> None:
    """Its last alpha-bar is 2e-9: the first prediction's error is 20,000 times as large in x0 (linear: 157 times)."""
    worst = [math.sqrt(1 / signal_left(schedule, 1000)[-1] - 1) for schedule in ("linear", "cosine")]
    assert worst[0] == pytest.approx(157, rel=0.01)
    assert worst[1] > 20_000


# Guidance


def test_guidance_weighs_two_predictions() -> None:
    model = small(classes=3, guidance=2.0, steps=5)
    x, labels = Tensor(np.random.default_rng(0).normal(size=(6, 2))), Tensor(np.arange(6) % 3)
    t = Tensor(np.full(6, 40))
    with nn.no_grad():
        given, none = model.network(x, t, labels).numpy(), model.network(x, t, Tensor(np.full(6, 3))).numpy()
        np.testing.assert_allclose(model.predict(x, 40, labels).numpy(), 3 * given - 2 * none, rtol=1e-12)
        np.testing.assert_allclose(model.predict(x, 40).numpy(), none, rtol=1e-12)
        model.guidance = 0.0
        np.testing.assert_allclose(model.predict(x, 40, labels).numpy(), given, rtol=1e-12)
    assert np.abs(given - none).max() > 1e-3


def test_a_classifier_guides_to_the_posterior() -> None:
    """Data N(m, v) with the label "y = 1" of density N(y; 2, 1) at x: with exact gradients samples follow the product."""
    model = of_normal(steps=250, sampler="ddpm")

    def classifier(x: Tensor, t: Tensor) -> Tensor:
        """log p(label 1 | x_t) up to a constant: label 1 is N(x_0; 2, 1), averaged over x_0 given x_t."""
        a = model.left(int(np.asarray(t.data)[0]))
        posterior = VARIANCE * (1 - a) / (a * VARIANCE + 1 - a)
        mean = MEAN + math.sqrt(a) * VARIANCE / (a * VARIANCE + 1 - a) * (x - math.sqrt(a) * MEAN)
        likely = -0.5 * (mean - 2).square() / (1 + posterior) - 20  # far below 0, so that 1 - p is nearly 1
        scores: Tensor = nn.concatenate([0 * likely, likely], axis=1)
        return scores

    nn.seed(5)
    with nn.no_grad():
        x = model.sample(8000, nn.tensor(np.ones(8000, np.int64)), classifier=classifier).numpy()
    variance = 1 / (1 / VARIANCE + 1)
    assert x.mean() == pytest.approx(variance * (MEAN / VARIANCE + 2), abs=0.03)
    assert x.var() == pytest.approx(variance, rel=0.08)


def test_training_drops_labels_and_evaluation_does_not() -> None:
    model = small(classes=3, drop=0.25, steps=2)
    seen: list[Array] = []
    embedding: Any = model.network.class_embedding  # type: ignore[attr-defined]
    embedding.register_forward_pre_hook(lambda _, args: seen.append(np.asarray(args[0].data)))
    x, labels = Tensor(np.zeros((4000, 2))), Tensor(np.arange(4000) % 3)
    loss(model, x, labels)
    dropped = seen[0] == 3
    assert dropped.mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(seen[0][~dropped], labels.numpy()[~dropped])
    seen.clear()
    with nn.no_grad():
        loss(model.eval(), x, labels)
    assert all((given == labels.numpy()).all() for given in seen)


def test_samples_take_classes_in_turn() -> None:
    model = small(classes=3, steps=2)
    nn.seed(1)
    with nn.no_grad():
        mine = model.sample(7).numpy()
        nn.seed(1)
        theirs = model(model.draw(7), Tensor(np.arange(7) % 3)).numpy()
    np.testing.assert_array_equal(mine, theirs)


# The network and its loss


def test_the_cifar_network_has_35_746_307_parameters() -> None:
    """Ho et al. (2020), appendix B: 35.7 million; diffusers' UNet2DModel of google/ddpm-cifar10-32 has as many."""
    assert sum(p.size for p in build((3, 32, 32)).parameters()) == 35_746_307


def test_a_file_of_diffusers_is_loaded_by_its_own_names(tmp_path: Path) -> None:
    import torch
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    theirs = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"), norm_eps=1e-6,
        attention_head_dim=None, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, num_class_embeds=4,
    ).eval()  # fmt: skip
    theirs.save_pretrained(tmp_path)
    options = {"shape": (1, 8, 8), "width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "classes": 3}
    found = nn.interchange.load(
        architecture("diffusion"), tmp_path / "diffusion_pytorch_model.safetensors", **options
    )  # fmt: skip
    model: Any = found.model.eval()
    x = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)
    t, labels = np.array([0, 500, 999]), np.array([0, 2, 3])
    with torch.no_grad(), nn.no_grad():
        expected = theirs(torch.tensor(x), torch.tensor(t), torch.tensor(labels)).sample.numpy()
        got = model.network(Tensor(x), Tensor(t), Tensor(labels)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_loss_of_the_exact_network_is_the_unknowable_part() -> None:
    """For data from N(m, v) the mean of (eps - E[eps | x_t])^2 is a v / (a v + 1 - a), and a network of zeros has 1."""
    rng, n, t = np.random.default_rng(0), 40_000, 300
    model = of_normal()
    x, noise = MEAN + math.sqrt(VARIANCE) * rng.normal(size=(n, 1)), rng.normal(size=(n, 1))
    found = noise_loss(model, Tensor(x), Tensor(noise), Tensor(np.full(n, t)))[0].item()
    a = model.left(t)
    assert found == pytest.approx(a * VARIANCE / (a * VARIANCE + 1 - a), rel=0.03)
    assert found < 0.5


def test_a_short_training_finds_two_points() -> None:
    """The data are -1 and 1: after 300 steps most samples are near one of them, about half near each."""
    nn.seed(0)
    model = build((1,), "mlp", width=32, blocks=1, timesteps=100, steps=20)
    optimizer = Adam(model.parameters(), lr=3e-3)
    x = Tensor(np.where(np.arange(128) % 2, 1.0, -1.0).astype(np.float32)[:, None])
    for _ in range(300):
        optimizer.zero_grad()
        loss(model, x)[0].backward()
        optimizer.step()
    with nn.no_grad():
        made = model.sample(1000).numpy()
    near = np.abs(np.abs(made) - 1) < 0.25
    assert near.mean() > 0.7
    assert 0.35 < (made > 0).mean() < 0.65


def test_wrong_names_and_sizes_are_refused() -> None:
    for options, said in (
        ({"network": "resnet"}, "network"), ({"schedule": "cos"}, "cosine"), ({"sampler": "dpm"}, "ddpm"),
        ({"steps": 0}, "1 to 1000"),
        ({"steps": 1001}, "1 to 1000"), ({"eta": 2.0}, "eta"), ({"drop": -0.1}, "drop"), ({"width": 7}, "even width"),
        ({"guidance": 1.0}, "conditional"), ({"variance": "learned"}, "variance"), ({"blocks": 0}, "one block"),
        ({"network": "unet", "shape": (1, 7, 7), "multipliers": (1, 2)}, "halves the sides"),
        ({"network": "unet"}, "halves the sides"),
    ):  # fmt: skip
        wrong: Any = {"shape": (2,), "network": "mlp", "width": 8} | options
        with pytest.raises(UserError, match=said):
            build(**wrong)
    flat = data.load("eight_gaussians", ("density",), tasks=("generation",), limit=40)
    with pytest.raises(UserError, match="bounded=false"):
        points.build(flat, bounded=True)


def test_bounds_of_pictures_are_black_and_white() -> None:
    dataset = data.load("digits", ("image",), tasks=("generation",))
    low, high = black_and_white(dataset)
    x = dataset.train.all()[0]
    assert (x.min(), x.max()) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


def test_a_run_is_exported_with_its_sampler(tmp_path: Path) -> None:
    """Its one input is noise of the examples' shape, its output samples in the units of the data."""
    pytest.importorskip("onnxruntime")
    from nnatomy.interchange.onnx import run, session

    made = nn.train("diffusion", epochs=1, limit=60, settings={"steps": 4, "width": 8}, out=tmp_path / "run", report=False)
    nn.export(tmp_path / "run", out=tmp_path / "d.onnx")
    (end,) = json.loads((tmp_path / "d.json").read_text())["inputs"]
    assert (end["name"], end["shape"]) == ("noise", ["batch", 2])
    z = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    with nn.no_grad():
        expected = made.dataset.preprocessing.inverse(made.model(Tensor(z)).numpy())
    np.testing.assert_allclose(run(session(tmp_path / "d.onnx"), z)[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("recipe", [points, image], ids=["points", "images"])
def test_it_is_drawn(recipe: Any) -> None:
    dataset = data.load(recipe.data, (recipe.kind,), tasks=("generation",), limit=40)
    model = recipe.build(dataset, **{**recipe.options, "width": 8, "groups": 4, "steps": 6} if recipe is image else
                         {**recipe.options, "width": 8, "steps": 6})  # fmt: skip
    before = nn.random.default.state_dict()
    assert draw(model, dataset).axes
    assert nn.random.default.state_dict() == before


def test_cases_cover_networks_schedules_and_deterministic_samplers() -> None:
    assert {case.options.get("network", "unet") for case in cases} == {"unet", "mlp"}
    assert {case.options.get("schedule", "linear") for case in cases} == set(SCHEDULES)
    assert {case.options.get("sampler", "ddim") for case in cases} == {"ddim", "euler"}
