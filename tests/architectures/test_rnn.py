"""The RNN: PyTorch's layer, Jordan's equations, truncation, and how gradients fade with distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sequence_parts import LENGTHS, close, numbers

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.recurrent.gru import GRU
from nnatomy.architectures.recurrent.lstm import LSTM
from nnatomy.architectures.recurrent.rnn import RNN, Jordan, build, cell, loss, start_identity, start_orthogonal
from nnatomy.architectures.recurrent.rnn.picture import bound, draw, influence, untrained
from nnatomy.architectures.recurrent.rnn.recipe import build_for, forecasts, sequences
from nnatomy.errors import UserError
from nnatomy.layers.sequences import FromLastValue
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]


def double(*args: Any, **options: Any) -> RNN:
    return RNN(*args, **options).astype(np.float64)


def scaled(rnn: RNN, norm: float) -> RNN:
    """The network with W_hh scaled to a spectral norm."""
    w = rnn.state_dict()
    rnn.load_state_dict(w | {"weight_hh_l0": w["weight_hh_l0"] * norm / np.linalg.norm(w["weight_hh_l0"], 2)})
    return rnn


def jacobian(rnn: RNN, x: Tensor, t: int) -> Array:
    """dh_T / dh_t of one sequence, (hidden, hidden), row by row of the end state."""
    start = np.zeros((1, 1, rnn.hidden)) if t == 0 else rnn(x[:, :t])[1].numpy()
    rows = []
    for unit in range(rnn.hidden):
        h = Tensor(start, requires_grad=True)
        rnn(x[:, t:], state=h)[1][0, 0, unit].backward()
        assert h.grad is not None
        rows.append(h.grad.numpy()[0, 0])
    return np.array(rows)


# The equations, and other libraries


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["even", "ragged"])
@pytest.mark.parametrize("options", [{}, {"layers": 2, "bidirectional": True, "nonlinearity": "relu"}])
def test_equals_torch_rnn(options: dict[str, Any], lengths: Array | None) -> None:
    """The same names, shapes and two biases; the same outputs, final states and gradients."""
    torch = pytest.importorskip("torch")
    rnn = torch.nn.utils.rnn
    ours = double(3, 5, **options)
    theirs = torch.nn.RNN(
        3, 5, options.get("layers", 1), batch_first=True, bidirectional="bidirectional" in options,
        nonlinearity=options.get("nonlinearity", "tanh"),
    ).double()  # fmt: skip
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({name: torch.tensor(a) for name, a in ours.state_dict().items()})
    x, k = numbers(4, 6, 3), numbers(4, 6, 10 if "bidirectional" in options else 5, seed=1).data
    y, h = ours(x, None if lengths is None else Tensor(lengths))
    ((y * k).sum() + h.square().sum()).backward()
    their_x = torch.tensor(x.data)
    if lengths is None:
        their_y, their_h = theirs(their_x)
    else:
        packed = rnn.pack_padded_sequence(their_x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        packed, their_h = theirs(packed)
        their_y, _ = rnn.pad_packed_sequence(packed, batch_first=True)
    ((their_y * torch.tensor(k)).sum() + (their_h**2).sum()).backward()
    close(y, their_y.detach())
    close(h, their_h.detach())
    for name, p in ours.named_parameters():
        assert p.grad is not None
        close(p.grad, dict(theirs.named_parameters())[name].grad)


def test_equals_our_own_layer() -> None:
    ours = double(3, 5, layers=2, bidirectional=True, nonlinearity="relu")
    layer = nn.RNN(3, 5, 2, "relu", batch_first=True, bidirectional=True).astype(np.float64)
    layer.load_state_dict(ours.state_dict())
    for a, b in zip(ours(numbers(4, 6, 3), Tensor(LENGTHS)), layer(numbers(4, 6, 3), lengths=Tensor(LENGTHS)), strict=True):
        close(a, b.data)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_jordan_feeds_back_its_output_and_elman_its_state(decay: float) -> None:
    """Jordan's equations step by step in NumPy: what comes back is y, not h."""
    model = build(3, 5, 2, feedback="output", decay=decay).astype(np.float64)
    w = model.state_dict()
    assert w["rnn.weight_hh_l0"].shape == (5, 2)
    x, c, found = numbers(4, 6, 3).numpy(), np.zeros((4, 2)), []
    for t in range(6):
        a = x[:, t] @ w["rnn.weight_ih_l0"].T + w["rnn.bias_ih_l0"]
        h = np.tanh(a + c @ w["rnn.weight_hh_l0"].T + w["rnn.bias_hh_l0"])
        y = h @ w["output.weight"].T + w["output.bias"]
        c = decay * c + y
        found.append(y)
    close(model(Tensor(x)), np.stack(found, axis=1))
    elman = build(3, 5, 2).astype(np.float64)
    last = numbers(4, 6, 3).numpy().copy()
    last[:, 0] += 1
    for network, remembers in ((model, False), (elman, True)):  # an output that is 0 tells Jordan's network nothing
        network.load_state_dict(network.state_dict() | {"output.weight": np.zeros((2, 5)), "output.bias": np.zeros(2)})
        states = [np.asarray(v.data) for v in _last_states(network, (Tensor(x), Tensor(last)))]
        assert (not np.allclose(*states)) is remembers


def _last_states(network: Any, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    rnn = network.rnn
    return [(rnn.trace(x, network.output) if isinstance(rnn, Jordan) else rnn.trace(x))[-1] for x in inputs]


@pytest.mark.parametrize("options", [{"layers": 2, "bidirectional": True}, {"feedback": "output", "decay": 0.5}])
@pytest.mark.parametrize("readout", ["each", "last"])
def test_ragged_batches_equal_single_runs(options: dict[str, Any], readout: str) -> None:
    """Each sequence alone, cut to its length, has the same output as in the padded batch, for any values in the padding."""
    model = build(3, 5, 2, readout=readout, **options).astype(np.float64)
    x = numbers(4, 6, 3)
    answers = model(x, Tensor(LENGTHS))
    for b, n in enumerate(LENGTHS):
        alone = model(x[b : b + 1, :n])
        close(answers[b, :n] if readout == "each" else answers[b], alone[0].data)
    noise = Tensor(np.where(np.arange(6)[:, None] < LENGTHS[:, None, None], x.data, 1e6))
    close(model(noise, Tensor(LENGTHS)), answers.data)


# Truncated backpropagation through time


@pytest.mark.parametrize("options", [{}, {"feedback": "output", "decay": 0.5}])
def test_a_state_carried_and_detached_is_truncation(options: dict[str, Any]) -> None:
    """Chunks of 3 steps whose states are passed on, detached, have the outputs and gradients of truncation=3."""
    model: Any = build(3, 5, 2, truncation=3, **options).astype(np.float64)
    x, k = numbers(4, 8, 3), numbers(4, 8, 2, seed=1).data
    y = model(x)
    (y * k).sum().backward()
    truncated = {name: p.grad.numpy().copy() for name, p in model.named_parameters()}
    model.zero_grad()
    model.rnn.truncation = None
    state = None
    for start in (0, 3, 6):
        chunk, state = model.run(x[:, start : start + 3], state=state)
        close(chunk, y.numpy()[:, start : start + 3])
        (chunk * k[:, start : start + 3]).sum().backward()
        state = state.detach()
    for name, p in model.named_parameters():
        close(p.grad, truncated[name])
    model.zero_grad()
    whole = model(x)
    close(whole, y.data)
    (whole * k).sum().backward()
    assert max(np.abs(p.grad.numpy() - truncated[name]).max() for name, p in model.named_parameters()) > 1e-3


def test_no_gradient_crosses_a_truncation() -> None:
    for truncation, reached in ((None, [True] * 8), (3, [False] * 6 + [True] * 2), (1, [False] * 7 + [True])):
        x = Tensor(numbers(2, 8, 3).data, requires_grad=True)
        double(3, 5, truncation=truncation)(x)[1].sum().backward()
        assert x.grad is not None
        assert (np.abs(x.grad.numpy()).max(axis=(0, 2)) > 0).tolist() == reached


def test_two_halves_with_the_state_passed_on_equal_the_whole() -> None:
    for options in ({"layers": 2}, {"feedback": "output", "decay": 0.3}):
        model = build(3, 5, 2, **options).astype(np.float64)
        x = numbers(4, 7, 3)
        first, state = model.run(x[:, :3])
        second, _ = model.run(x[:, 3:], state=state)
        close(np.concatenate([first.data, second.data], axis=1), model(x).data)
        assert not np.allclose(model(x[:, 3:]).data, second.data)


# How gradients fade


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("norm", [0.5, 0.9, 1.5])
def test_the_product_of_norms_bounds_the_jacobian(nonlinearity: str, norm: float) -> None:
    """|dh_T / dh_t| <= (|W_hh| gamma)^(T - t), gamma = 1, and also with the largest slope that occurred."""
    rnn = scaled(double(3, 8, nonlinearity=nonlinearity), norm)
    x = numbers(1, 12, 3)
    states = np.array([h.numpy()[0] for h in rnn.trace(x)])
    slopes = 1 - states**2 if nonlinearity == "tanh" else (states > 0).astype(float)
    for t in (0, 4, 8, 11):
        found = np.linalg.norm(jacobian(rnn, x, t), 2)
        assert 0 < found <= (norm * slopes[t:].max()) ** (12 - t) * (1 + 1e-9) <= norm ** (12 - t) * (1 + 2e-9)


def test_a_norm_below_one_makes_gradients_vanish_and_one_above_need_not_explode() -> None:
    """The bound is sufficient for vanishing only: W_hh of norm 1.5 and large inputs still has a vanishing gradient."""
    x = numbers(1, 40, 3)
    assert np.linalg.norm(jacobian(scaled(double(3, 8), 0.8), x, 0), 2) < 0.8**40 * 1.001
    assert np.linalg.norm(jacobian(scaled(double(3, 8), 1.5), Tensor(30 * x.data), 0), 2) < 1e-6
    big = double(3, 8, nonlinearity="relu")
    big.load_state_dict(
        {n: np.zeros_like(a) for n, a in big.state_dict().items()} | {"weight_hh_l0": 1.5 * np.eye(8), "bias_ih_l0": np.ones(8)}
    )
    assert np.linalg.norm(jacobian(big, x, 0), 2) == pytest.approx(1.5**40)


def test_the_gradient_decays_geometrically_with_distance() -> None:
    """By about the same factor at each step: the logarithm of its norm is close to a line."""
    rnn = double(2, 32)
    x = Tensor(numbers(8, 60, 2).data, requires_grad=True)
    rnn(x)[0][:, -1].sum().backward()
    assert x.grad is not None
    logs = np.log(np.sqrt(np.square(x.grad.numpy()).sum(axis=(0, 2))))[::-1]
    slope, start = np.polyfit(np.arange(60), logs, 1)
    assert 0.2 < np.exp(slope) < 0.75
    residual = logs - (slope * np.arange(60) + start)
    assert 1 - residual.var() / logs.var() > 0.98
    assert logs[-1] - logs[0] < np.log(1e-8)


def test_identity_and_orthogonal_starts_keep_the_gradient() -> None:
    """Over 100 steps, of an untrained network: below 1e-10 from uniform weights; kept by both other starts."""
    x = Tensor(0.1 * numbers(1, 100, 3).data)
    ratios = {}
    for name in ("uniform", "identity", "orthogonal"):
        model: Any = build(3, 16, 1, nonlinearity="relu" if name == "identity" else "tanh").astype(np.float64)
        if name != "uniform":
            model = {"identity": start_identity, "orthogonal": start_orthogonal}[name](model)
        if name == "identity":  # every unit is active: the bias is a start above 0
            model.rnn.load_state_dict(model.rnn.state_dict() | {"bias_ih_l0": np.full(16, 0.01)})
            close(jacobian(model.rnn, x, 0), np.eye(16))
        ratios[name] = np.linalg.norm(jacobian(model.rnn, x, 0), 2)
    assert ratios["uniform"] < 1e-10
    assert ratios["orthogonal"] > 1e-3
    assert ratios["identity"] == pytest.approx(1)


def test_starts_set_what_the_page_says() -> None:
    model: Any = start_identity(build(3, 4, 1, layers=2, bidirectional=True), scale=0.5)
    for name, p in model.rnn.named_parameters():
        if name.startswith("weight_hh"):
            np.testing.assert_array_equal(p.numpy(), 0.5 * np.eye(4))
        else:
            assert np.abs(p.numpy()).max() < 5e-3
    w = start_orthogonal(build(3, 6, 1)).rnn.weight_hh_l0.numpy()  # type: ignore[arg-type]
    np.testing.assert_allclose(w @ w.T, np.eye(6), atol=1e-5)


@pytest.mark.parametrize("inputs, hidden, layers, bidirectional", [(64, 256, 1, False), (3, 5, 3, True)])
def test_parameters_are_those_of_the_formula(inputs: int, hidden: int, layers: int, bidirectional: bool) -> None:
    """H (D + H + 2) a direction and layer: a quarter of an LSTM, a third of a GRU."""
    rnn, gru, lstm = (kind(inputs, hidden, layers, bidirectional) for kind in (RNN, GRU, LSTM))
    widths = [inputs] + [hidden * (1 + bidirectional)] * (layers - 1)
    assert rnn.count_parameters() == (1 + bidirectional) * sum(hidden * (d + hidden + 2) for d in widths)
    assert 12 * rnn.count_parameters() == 4 * gru.count_parameters() == 3 * lstm.count_parameters()
    assert Jordan(inputs, hidden, 7).count_parameters() == hidden * (inputs + 7 + 2)


def test_only_the_sum_of_the_biases_acts() -> None:
    rnn = double(3, 5)
    y, w = rnn(numbers(4, 6, 3))[0].numpy(), rnn.state_dict()
    rnn.load_state_dict(w | {"bias_ih_l0": w["bias_ih_l0"] + w["bias_hh_l0"], "bias_hh_l0": np.zeros(5)})
    close(rnn(numbers(4, 6, 3))[0], y)


def test_dropout_acts_between_layers_only() -> None:
    x = numbers(4, 6, 3)
    single, two = double(3, 5, dropout=0.5), double(3, 5, layers=2, dropout=1.0)
    close(single(x)[0], single(x)[0].data)
    zeros = double(5, 5)
    zeros.load_state_dict({name.replace("l1", "l0"): a for name, a in two.state_dict().items() if "l1" in name})
    close(two(x)[0], zeros(Tensor(np.zeros((4, 6, 5))))[0].data)


def test_one_step_by_hand() -> None:
    h, W, b = Tensor(np.array([[1.0]])), Tensor(np.array([[0.5]])), Tensor(np.array([0.25]))
    assert cell(Tensor(np.array([[0.25]])), h, W, b).item() == pytest.approx(np.tanh(1.0))
    assert cell(Tensor(np.array([[-2.0]])), h, W, b, "relu").item() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build(0, 4, 1), r"at least 1 input, hidden unit and layer\. Received 0, 4 and 1"),
        (lambda: build(2, 4, 1, nonlinearity="sigmoid"), "nonlinearity"),
        (lambda: build(2, 4, 1, feedback="input"), "feedback"),
        (lambda: build(2, 4, 1, truncation=0), r"Received truncation=0"),
        (lambda: build(2, 4, 1, decay=0.5), r"Received decay=0\.5"),
        (lambda: build(2, 4, 1, feedback="output", decay=1.0), r"Received decay=1\.0"),
        (lambda: build(2, 4, 1, feedback="output", layers=2), "one layer, one direction"),
        (lambda: build(2, 4, 1, readout="both"), "readout"),
        (lambda: build(2, 4, 1)(numbers(5, 6, 3)), r"\(batch, time, 2\)\. Received shape \(5, 6, 3\)"),
        (lambda: double(2, 4)(numbers(2, 3, 2), state=numbers(1, 1, 4)), r"state has shape \(1, 2, 4\)"),
    ],
)
def test_errors_say_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


# Recipes and pictures


@pytest.mark.parametrize("options", [{}, {"feedback": "output", "start": "uniform"}])
def test_picture_shows_a_gradient_below_its_bound(options: dict[str, Any]) -> None:
    dataset = data.load(sequences.data, ("series",), tasks=("regression",), window=12)
    model = sequences.build(dataset, **(sequences.options | {"hidden": 8} | options))
    titles = [axes.get_title(loc="left")[:10] for axes in draw(model, dataset).axes if axes.get_title(loc="left")]
    assert titles == ["What the n", "The states", "How much t"]
    x = Tensor(dataset.test.take(np.arange(1))[0])
    for network in (model, untrained(model)):
        limit = bound(network, x)
        assert (limit is None) is bool(options)
        if limit is not None:
            assert (influence(network, x) <= limit * (1 + 1e-5)).all()


def test_the_picture_shows_the_gradient_that_truncation_leaves_out() -> None:
    model = build(3, 5, 2, truncation=2)
    assert (influence(model, Tensor(numbers(1, 8, 3).data.astype(np.float32))) > 0).all()
    assert model.rnn.truncation == 2  # type: ignore[attr-defined]


def test_starts_reach_the_recipe() -> None:
    dataset = data.load("narma10", ("series",), limit=50)
    model: Any = build_for(dataset, hidden=8, nonlinearity="relu", start="identity")
    np.testing.assert_array_equal(model.rnn.weight_hh_l0.numpy(), np.eye(8))
    with pytest.raises(UserError, match="start"):
        build_for(dataset, start="zeros")
    with pytest.raises(UserError, match="start"):
        build_for(dataset, feedback="output", start="identity")


def test_forecasts_move_with_the_level() -> None:
    """A series lifted by a constant is predicted lifted by it; the options reach the model."""
    dataset = data.load("mackey_glass", ("series",), tasks=("forecast",))
    model: Any = forecasts.build(dataset, **{**forecasts.options, "hidden": 4, "nonlinearity": "relu"})
    assert isinstance(model, FromLastValue)
    assert model.network.recurrent.nonlinearity == "relu"
    x = dataset.test.take(np.arange(3))[0]
    close(model(Tensor(x + np.float32(3))), model(Tensor(x)).numpy() + 3, atol=1e-5)
    assert draw(model, dataset).axes


def test_loss_is_the_mean_over_steps() -> None:
    model = build(3, 5, 4).astype(np.float64)
    x, targets = numbers(2, 3, 3), numbers(2, 3, 4, seed=1)
    value, outputs = loss(model, x, targets)
    assert value.item() == pytest.approx(float(np.square(outputs.numpy() - targets.numpy()).mean()))
