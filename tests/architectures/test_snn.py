"""Spiking neurons against closed forms and snntorch; the codes; surrogate gradients; spike timing by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.architectures.hybrid.snn import (
    LIF,
    SNN,
    STDPLayer,
    build,
    direct,
    label_neurons,
    latency,
    loss,
    rate,
    spike,
    stdp,
)
from nnatomy.architectures.hybrid.snn.recipe import digits, unsupervised
from nnatomy.data.dataset import ArraySplit
from nnatomy.functional import masked_examples
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]


def run(lif: LIF, currents: Any, start: float | None = None) -> tuple[Array, Array]:
    """Spikes and membranes (time,) of one neuron; `start`: its membrane before the first step, without a spike."""
    state = None if start is None else (nn.tensor([[0.0]], dtype="float64"), nn.tensor([[start]], dtype="float64"))
    found = []
    for current in currents:
        state = lif(nn.tensor([[float(current)]], dtype="float64"), state)
        found.append([float(part.numpy()[0, 0]) for part in state])
    spikes, membranes = np.array(found).T
    return spikes, membranes


def neuron(beta: float, threshold: float = 1.0, reset: str = "subtract") -> LIF:
    return LIF(beta, threshold, reset).astype("float64")


# The neuron


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_without_input_the_membrane_decays_as_beta_to_the_t(reset: str) -> None:
    lif = neuron(0.75, reset=reset)  # exact in binary: so are its powers
    _, membranes = run(lif, np.zeros(20), start=1.0)
    np.testing.assert_array_equal(membranes, 0.75 ** np.arange(1, 21))


@pytest.mark.parametrize("beta", [0.5, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("over", [0.05, 0.4, 1.5, 7.0])
def test_the_firing_period_has_a_closed_form(beta: float, over: float) -> None:
    lif = neuron(beta, 1.3, "zero")
    beta, threshold = float(lif.beta.numpy()), float(lif.threshold.numpy())
    current = threshold * (1 - beta) * (1 + over)  # above the rheobase
    period = math.ceil(math.log(1 - threshold * (1 - beta) / current) / math.log(beta))
    spikes, membranes = run(lif, [current] * (5 * period))
    np.testing.assert_array_equal(np.flatnonzero(spikes) + 1, period * np.arange(1, 6))
    step = np.arange(1, period + 1)
    np.testing.assert_allclose(membranes[:period], current * (1 - beta**step) / (1 - beta), rtol=1e-12)


def test_at_the_rheobase_a_neuron_never_fires() -> None:
    lif = neuron(0.75)
    spikes, membranes = run(lif, [0.25] * 500)  # the membrane tends to 0.25 / (1 - 0.75) = 1, the threshold
    assert not spikes.any()
    assert 0.999 < membranes[-1] <= 1
    assert run(lif, [0.2501] * 500)[0].any()


def test_subtraction_keeps_the_charge_above_the_threshold() -> None:
    rng = np.random.default_rng(0)
    currents = rng.uniform(0, 1.5, 400)
    lif = neuron(1.0)  # without a leak, nothing is lost: all charge is in spikes or in the membrane
    spikes, membranes = run(lif, currents)
    assert spikes.sum() + membranes[-1] - spikes[-1] == pytest.approx(currents.sum())
    zero, _ = run(neuron(1.0, reset="zero"), currents)
    assert zero.sum() < spikes.sum()


def test_the_reset_is_one_threshold_and_not_beta_times_one() -> None:
    _, membranes = run(neuron(0.5), [1.25, 0.0])
    assert membranes[1] == 0.5 * 1.25 - 1.0


def test_after_a_spike_the_zero_reset_leaves_the_input() -> None:
    spikes, membranes = run(neuron(0.5, reset="zero"), [1.25, 0.5])
    assert spikes[0] == 1
    assert membranes[1] == 0.5


def test_a_membrane_at_the_threshold_does_not_fire() -> None:
    assert run(neuron(0.5), [1.0])[0][0] == 0
    assert run(neuron(0.5), [np.nextafter(1.0, 2)])[0][0] == 1


def test_the_membrane_that_is_shown_is_the_one_before_the_reset() -> None:
    _, membranes = run(neuron(0.5), [1.25])
    assert membranes[0] == 1.25


# The surrogate


@pytest.mark.parametrize("name", ["atan", "fast_sigmoid"])
def test_the_backward_pass_has_the_surrogates_slope_and_the_forward_pass_is_a_step(name: str) -> None:
    surrogate = pytest.importorskip("snntorch.surrogate")
    torch = pytest.importorskip("torch")
    u = np.array([-3.0, -1.0, -0.1, 0.0, 1e-6, 0.1, 1.0, 3.0])
    for k in (0.5, 2.0, 25.0):
        x = nn.tensor(u, requires_grad=True)
        y = spike(x, name, k)
        np.testing.assert_array_equal(y.numpy(), u > 0)
        y.sum().backward()
        slope = k / 2 / (1 + (np.pi / 2 * k * u) ** 2) if name == "atan" else 1 / (1 + k * np.abs(u)) ** 2
        np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-12)
        theirs = torch.tensor(u, requires_grad=True)
        getattr(surrogate, name)(k)(theirs).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), theirs.grad.numpy(), rtol=1e-6)


def test_no_gradient_goes_through_the_reset() -> None:
    lif = LIF(0.5, 1.0, slope=4.0).astype("float64")
    first = nn.tensor([[1.25]], dtype="float64", requires_grad=True)
    _, second = lif(nn.tensor([[0.0]], dtype="float64"), lif(first))
    second.sum().backward()
    assert first.grad.numpy()[0, 0] == 0.5  # through the leak alone


def test_a_gradient_fades_by_the_leak_alone() -> None:
    lif = neuron(0.75, threshold=100.0)
    first = nn.tensor([[1.0]], dtype="float64", requires_grad=True)
    state = lif(first)
    for _ in range(8):
        state = lif(nn.tensor([[0.0]], dtype="float64"), state)
    state[1].sum().backward()
    assert first.grad.numpy()[0, 0] == 0.75**8


def test_the_steps_own_gradient_would_be_zero() -> None:
    x = nn.tensor(np.linspace(-1, 1, 8), requires_grad=True)
    h = 1e-6
    assert not ((spike(x + h).numpy() - spike(x - h).numpy()) / (2 * h)).any()


# The codes


def test_the_rate_code_has_p_spikes_a_step() -> None:
    nn.seed(0)
    p = nn.tensor(np.array([[0.0, 0.04, 0.5, 0.9, 1.0]] * 40))
    drawn = np.stack([s.numpy() for s in rate(p, 50, True)])
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=(0, 1)), p.numpy()[0], atol=0.03)
    even = np.stack([s.numpy() for s in rate(p, 50, False)])
    assert set(np.unique(even)) == {0.0, 1.0}
    np.testing.assert_allclose(even.sum(axis=0)[0], 50 * p.numpy()[0], atol=1)
    np.testing.assert_array_equal(np.flatnonzero(even[:, 0, 2]), np.arange(1, 50, 2))


def test_a_prediction_with_the_rate_code_is_the_same_each_time_and_in_training_it_is_drawn() -> None:
    model = small("rate")
    x = nn.tensor(np.random.default_rng(0).uniform(size=(6, 5)).astype("float32"))
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())
    model.train()
    nn.seed(3)
    first, second = model(x).numpy(), model(x).numpy()
    assert (first != second).any()
    nn.seed(3)
    np.testing.assert_array_equal(model(x).numpy(), first)


def test_rows_that_fill_up_a_batch_do_not_change_the_draws_of_others() -> None:
    model = small("rate")
    x = np.random.default_rng(0).uniform(size=(8, 5)).astype("float32")
    nn.seed(4)
    whole = model(nn.tensor(x)).numpy()
    nn.seed(4)
    np.testing.assert_array_equal(model(nn.tensor(x[:5])).numpy(), whole[:5])


def test_latency_sends_one_spike_and_larger_numbers_first() -> None:
    p = nn.tensor(np.array([[0.0, 0.01, 0.25, 0.5, 0.75, 1.0]]))
    spikes = np.stack([s.numpy()[0] for s in latency(p, 9, False)])
    np.testing.assert_array_equal(spikes.sum(axis=0), [0, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(spikes[:, 1:].argmax(axis=0), [8, 6, 4, 2, 0])


def test_direct_is_the_input_at_every_step() -> None:
    p = nn.tensor([[-3.0, 0.5]])
    assert [s is p for s in direct(p, 4, True)] == [True] * 4


def small(coding: str, readout: str = "count") -> SNN:
    nn.seed(1)
    model = build(features=5, classes=3, hidden=16, steps=12, coding=coding, readout=readout)
    assert isinstance(model, SNN)
    return model


@pytest.mark.parametrize("readout", ["count", "membrane"])
def test_scores_are_spike_counts_or_greatest_membranes(readout: str) -> None:
    model = small("direct", readout)
    x = nn.tensor(2 * np.random.default_rng(0).normal(size=(7, 5)).astype("float32"))
    moments = list(model.path(x))
    assert len(moments) == 12
    if readout == "count":
        expected = np.sum([m.output.numpy() for m in moments], axis=0)
        assert expected.max() > 0
    else:
        expected = np.max([m.output_membrane.numpy() for m in moments], axis=0)
        assert model.lif2.reset == "none"
    np.testing.assert_array_equal(model(x).numpy(), expected)


def test_pixels_are_brought_back_to_their_intensities() -> None:
    dataset = nn.data.load("digits")
    x = dataset.test.take(np.arange(3))[0]
    model = digits.build(dataset, **digits.options)
    model.eval()
    moments = list(model.path(nn.tensor(x)))
    pixels = x.reshape(3, -1) * dataset.preprocessing.std[0] + dataset.preprocessing.mean[0]
    np.testing.assert_allclose(np.sum([m.inputs.numpy() for m in moments], axis=0), model.steps * pixels, atol=1.001)


@pytest.mark.parametrize("coding", ["rate", "latency"])
def test_eager_plans_and_jax_train_alike(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax")
    monkeypatch.setenv("NNATOMY_KERNELS", "auto")  # the reference has no plans
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(8, 5)).astype("float32"), rng.integers(0, 3, 8)

    def trained(compiled: bool) -> list[Array]:
        model = small(coding)
        optimizer = nn.optim.SGD(model.parameters(), lr=0.1)

        def step(x: Tensor, y: Tensor) -> Tensor:
            optimizer.zero_grad()
            found, _ = loss(model, x, y)
            found.backward()
            optimizer.step()
            return found

        nn.seed(2)
        run = nn.compile(step) if compiled else step
        for _ in range(3):
            run(nn.tensor(x), nn.tensor(y))
        return [np.asarray(p.numpy()) for p in model.parameters()]

    eager, planned = trained(False), trained(True)
    with nn.backend("jax"):
        traced = trained(True)
    for one, two, three in zip(eager, planned, traced, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(three, one, rtol=1e-5, atol=1e-6)


# snntorch


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_membranes_and_spikes_are_those_of_snntorch(reset: str) -> None:
    snntorch = pytest.importorskip("snntorch")
    torch = pytest.importorskip("torch")
    currents = np.random.default_rng(0).uniform(0, 1.2, 60)
    lif, theirs = neuron(0.875, 1.0, reset), snntorch.Leaky(0.875, reset_mechanism=reset)
    spikes, membranes = run(lif, currents)
    mem, found = theirs.reset_mem(), []
    for current in currents:
        spk, mem = theirs(torch.tensor([[current]]), mem)
        found.append((float(spk), float(mem)))
    np.testing.assert_array_equal(spikes, [s for s, _ in found])
    np.testing.assert_allclose(membranes, [m for _, m in found], rtol=1e-12)


def test_a_file_of_snntorchs_tutorial_network_loads(tmp_path: Path) -> None:
    snntorch = pytest.importorskip("snntorch")
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    net = torch.nn.Module()
    net.fc1, net.lif1 = torch.nn.Linear(6, 9), snntorch.Leaky(0.7, threshold=0.5)
    net.fc2, net.lif2 = torch.nn.Linear(9, 4), snntorch.Leaky(0.7, threshold=0.5)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    found = nn.interchange.load(nn.architecture("snn"), tmp_path / "net.safetensors", features=6, classes=4, hidden=9, steps=15)
    assert len(found.left_out) == 4
    x = torch.randn(5, 6)
    first, second, counts = net.lif1.reset_mem(), net.lif2.reset_mem(), 0
    with torch.no_grad():
        for _ in range(15):
            fired, first = net.lif1(net.fc1(x), first)
            out, second = net.lif2(net.fc2(fired), second)
            counts = counts + out
    assert counts.max() > 3
    np.testing.assert_allclose(found.model(nn.tensor(x.numpy())).numpy(), counts.numpy(), atol=1e-4)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("surrogate", ["atan", "fast_sigmoid"])
def test_a_network_whose_outputs_fire_equals_its_twin(reset: str, surrogate: str) -> None:
    torch = pytest.importorskip("torch")
    options = {"features": 5, "classes": 3, "hidden": 12, "steps": 8, "beta": 0.75, "threshold": 0.25}
    twin_module = nn.architecture("snn").module("torch_twin")
    twin = twin_module.build(**options, reset=reset, surrogate=surrogate).double()
    nn.seed(0)
    model = build(**options, reset=reset, surrogate=surrogate).astype("float64")
    twin.load_state_dict({name: torch.tensor(a) for name, a in model.state_dict().items()})
    rng = np.random.default_rng(0)
    x, y = 2 * rng.normal(size=(9, 5)), np.arange(9) % 3
    found, counts = loss(model, nn.tensor(x), nn.tensor(y))
    assert len(np.unique(counts.numpy())) > 3  # outputs fire, and not alike often
    np.testing.assert_array_equal(counts.numpy(), twin(torch.tensor(x)).detach().numpy())
    found.backward()
    theirs = twin_module.loss(twin, torch.tensor(x), torch.tensor(y))
    theirs.backward()
    assert found.item() == pytest.approx(theirs.item(), rel=1e-12)
    for (name, mine), parameter in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert np.abs(mine.grad.numpy()).max() > 0
        np.testing.assert_allclose(mine.grad.numpy(), parameter.grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def test_size_is_that_of_its_two_linear_layers() -> None:
    assert build().count_parameters() == 784 * 100 + 100 + 100 * 10 + 10
    assert build(hidden=1000).count_parameters() == 795_010
    assert build("stdp").count_parameters() == 100 * 2 * 784


# Spike timing


def present(model: Any, *batch: Any, **settings: float) -> None:
    """A step of the rule, at the start of training."""
    with nn.no_grad():
        stdp(model, 0.0, *batch, **settings)


def layer(steps: int = 12, weight: float = 0.5, threshold: float = 0.4) -> STDPLayer:
    """One neuron with an ON and an OFF input of one number; it fires at the first spike of the ON or OFF input."""
    model = build("stdp", features=1, classes=2, hidden=1, steps=steps, beta=0.5, threshold=threshold)
    assert isinstance(model, STDPLayer)
    model.weight.data = np.full((1, 2), weight, np.float32)
    return model


@pytest.mark.parametrize("gap", [0, 1, 3, 5])
def test_a_pair_of_spikes_changes_the_weight_by_its_window(gap: int) -> None:
    steps = 12
    p = 0.5 + gap / (2 * (steps - 1))  # ON spikes at step 11 (1 - p) + 1/2, OFF at 11 p + 1/2, rounded down
    on, off = (math.floor((1 - q) * (steps - 1) + 0.5) for q in (p, 1 - p))
    x = nn.tensor(np.array([[p]], np.float32))
    model = layer(steps)
    present(model, x, nn.tensor([0]), a_plus=0.3, a_minus=0.2, trace=0.9, homeostasis=0.0)
    potentiated, other = model.weight.numpy()[0]
    assert potentiated == pytest.approx(0.5 + 0.3 * 0.5)  # fires with its own cause
    if on == off:
        assert other == pytest.approx(0.65)
    else:
        assert other == pytest.approx(0.5 - 0.2 * 0.9 ** (off - on - 1) * 0.5)
    late = layer(steps, threshold=0.55)  # one spike is too weak: the neuron waits for the second
    late.lif.beta.data = np.float32(1.0) * np.ones((), np.float32)
    present(late, x, nn.tensor([0]), a_plus=0.3, a_minus=0.2, trace=0.9, homeostasis=0.0)
    assert late.weight.numpy()[0, 0] == pytest.approx(0.5 + 0.3 * 0.9 ** (off - on) * 0.5)
    assert late.weight.numpy()[0, 1] == pytest.approx(0.65)


def test_one_neuron_wins_and_weights_stay_between_0_and_1() -> None:
    nn.seed(0)
    rng = np.random.default_rng(0)
    model = build("stdp", features=6, classes=3, hidden=5, steps=8, beta=0.9, threshold=2.0)
    thresholds = model.lif.threshold.numpy().copy()
    for _ in range(5):
        x = nn.tensor(rng.uniform(size=(16, 6)).astype("float32"))
        present(model, x, nn.tensor(rng.integers(0, 3, 16)), a_plus=0.9, a_minus=0.9)
        w = model.weight.numpy()
        assert w.min() >= 0
        assert w.max() <= 1
    assert np.ptp(w) > 0.9
    moved = model.lif.threshold.numpy() - thresholds
    assert moved.sum() == pytest.approx(0, abs=1e-5)  # all examples were won, each once
    assert (moved != 0).any()


def test_thresholds_fall_where_nothing_fires() -> None:
    model = layer(threshold=50.0)
    w = model.weight.numpy().copy()
    present(model, nn.tensor(np.array([[0.3]], np.float32)), nn.tensor([0]), homeostasis=2.0)
    assert model.lif.threshold.numpy()[0] == 48
    np.testing.assert_array_equal(model.weight.numpy(), w)


def test_copies_that_fill_a_batch_do_not_learn() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(6, 4)).astype("float32"), rng.integers(0, 3, 6)

    def learned(rows: int, mask: Any) -> dict[str, Array]:
        nn.seed(0)
        model = build("stdp", features=4, classes=3, hidden=5, steps=8, beta=0.9, threshold=2.0)
        with masked_examples(mask):
            present(model, nn.tensor(x[:rows]), nn.tensor(y[:rows]))
        return dict(model.state_dict())

    expected, found = learned(4, None), learned(6, np.arange(6) < 4)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_labels_are_the_classes_that_neurons_win_most() -> None:
    model = build("stdp", features=2, classes=3, hidden=3, steps=6, beta=0.9, threshold=0.5)
    model.weight.data = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]], np.float32)
    x = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    label_neurons(model, ArraySplit((x, np.array([2, 2, 1, 0]))))
    np.testing.assert_array_equal(model.labels.numpy()[:, 0], [2, 0, -1])
    np.testing.assert_array_equal(model(nn.tensor(x)).numpy().argmax(axis=1), [2, 2, 2, 0])


@pytest.mark.slow
def test_spike_timing_finds_the_digits_and_k_means_finds_them_better(tmp_path: Path) -> None:
    from sklearn.cluster import KMeans

    result = nn.train("snn", data="digits", variant="stdp", baselines=False, out=tmp_path / "run")
    dataset = nn.data.load("digits")
    (x, y), (held, truth) = (part.take(np.arange(len(part)))[:2] for part in (dataset.train, dataset.test))
    centers = KMeans(100, n_init=1, random_state=0).fit(x.reshape(len(x), -1))
    votes = np.zeros((100, 10))
    np.add.at(votes, (centers.labels_, y), 1)
    purity = (votes.argmax(axis=1)[centers.predict(held.reshape(len(held), -1))] == truth).mean()
    assert unsupervised.options["hidden"] == 100
    assert 0.8 < result.metrics["accuracy"] < purity


# What users may get wrong


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"coding": "rates"}, "No coding has this name"),
        ({"readout": "counts"}, "No readout has this name"),
        ({"reset": "soft"}, "No reset has this name"),
        ({"surrogate": "arctan"}, "No surrogate has this name"),
        ({"learning": "hebb"}, "No kind of learning has this name"),
        ({"beta": 1.5}, "beta is a number from 0 to 1"),
        ({"threshold": 0.0}, "are positive"),
        ({"slope": -1.0}, "are positive"),
        ({"steps": 0}, "at least 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(nn.UserError, match=says):
        build(**options)


def test_a_wrong_trace_is_refused() -> None:
    with pytest.raises(nn.UserError, match="trace is from 0 to 1"):
        present(layer(), nn.tensor(np.array([[0.3]], np.float32)), nn.tensor([0]), trace=2.0)
