"""The GRU: PyTorch's and both of Keras's layers, the meanings of its gates, the average that a state is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sequence_parts import LENGTHS, close, numbers

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.recurrent.gru import GRU, build, cell, start_update
from nnatomy.architectures.recurrent.gru.picture import draw, weights_of_steps
from nnatomy.architectures.recurrent.gru.recipe import forecasts, sentences, sequences, text
from nnatomy.architectures.recurrent.lstm import LSTM
from nnatomy.errors import UserError
from nnatomy.layers.sequences import FromLastValue, sequence_mask
from nnatomy.tasks import task_for
from nnatomy.tensor import Tensor
from nnatomy.training.fit import fit

Array = np.ndarray[Any, Any]


def double(*args: Any, **options: Any) -> GRU:
    return GRU(*args, **options).astype(np.float64)


def changed(model: GRU, change: Any) -> GRU:
    """The model with each of its arrays passed through change(name, array)."""
    model.load_state_dict({name: change(name, a.copy()) for name, a in model.state_dict().items()})
    return model


# The equations, and other libraries


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["even", "ragged"])
@pytest.mark.parametrize("options", [{}, {"layers": 3, "bidirectional": True}])
def test_equals_torch_gru(options: dict[str, Any], lengths: Array | None) -> None:
    """The same names and shapes, and with the same weights the same outputs, final states and gradients."""
    torch = pytest.importorskip("torch")
    rnn = torch.nn.utils.rnn
    ours = double(3, 5, **options)
    theirs = torch.nn.GRU(3, 5, options.get("layers", 1), batch_first=True, bidirectional="bidirectional" in options).double()
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


@pytest.mark.parametrize("reset_after", [True, False])
def test_equals_keras_gru(reset_after: bool) -> None:
    """Keras keeps matrices as (in, out) and gates as z, r, n; two biases where the reset is after the product, else one."""
    keras = pytest.importorskip("keras")
    ours = double(3, 5, reset_after=reset_after)
    layer = keras.layers.GRU(5, return_sequences=True, return_state=True, reset_after=reset_after, dtype="float64")
    layer.build((4, 6, 3))
    order = np.r_[5:10, 0:5, 10:15]
    w = {name: a[order] for name, a in ours.state_dict().items()}
    biases = [w["bias_ih_l0"], w["bias_hh_l0"]]
    layer.set_weights([w["weight_ih_l0"].T, w["weight_hh_l0"].T, np.stack(biases) if reset_after else sum(biases)])
    y, h = ours(numbers(4, 6, 3))
    for a, b in zip((y, h[0]), layer(numbers(4, 6, 3).data), strict=True):
        close(a, keras.ops.convert_to_numpy(b))


@pytest.mark.parametrize("options", [{"layers": 2, "bidirectional": True}, {"reset_after": False}])
def test_equals_our_own_layer(options: dict[str, Any]) -> None:
    """nn.GRU, which other architectures use, takes this architecture's weights and gives its outputs."""
    ours = double(3, 5, **options)
    layer = nn.GRU(3, 5, options.pop("layers", 1), batch_first=True, **options).astype(np.float64)
    layer.load_state_dict(ours.state_dict())
    y, h = ours(numbers(4, 6, 3), Tensor(LENGTHS))
    y2, h2 = layer(numbers(4, 6, 3), lengths=Tensor(LENGTHS))
    close(y, y2.data)
    close(h, h2.data)


def test_the_two_conventions_agree_only_where_the_reset_gate_is_the_same_for_all_units() -> None:
    """A number r can be taken out of a product with W_hn, a vector cannot; and only if b_hn = 0."""
    x, outputs = numbers(4, 6, 3), {}
    for kind in ("alike", "different"):
        for after in (True, False):
            nn.seed(0)

            def change(name: str, a: Array, kind: str = kind) -> Array:
                if kind == "alike":
                    a[:5] = 0.5 if name == "bias_ih_l0" else 0.0  # r = sigmoid(0.5) in all units
                a[10:] *= name != "bias_hh_l0"
                return a

            outputs[kind, after] = changed(double(3, 5, reset_after=after), change)(x)[0].numpy()
    close(outputs["alike", True], outputs["alike", False])
    assert np.abs(outputs["different", True] - outputs["different", False]).max() > 1e-3


def test_biases_may_be_added_only_where_the_reset_is_before_the_product() -> None:
    for after in (True, False):
        model = double(3, 5, reset_after=after)
        y = model(numbers(4, 6, 3))[0].numpy()
        total = model.state_dict()["bias_ih_l0"] + model.state_dict()["bias_hh_l0"]
        changed(model, lambda name, a, t=total: t if name == "bias_ih_l0" else 0 * a if name == "bias_hh_l0" else a)
        assert np.allclose(model(numbers(4, 6, 3))[0].numpy(), y, atol=1e-12) is (not after)


@pytest.mark.parametrize("reset_after", [True, False])
def test_the_other_meaning_of_z_is_a_change_of_sign(reset_after: bool) -> None:
    """Chung et al.: h' = (1 - z) h + z n. With the weights of z negated, ours is this, step by step in NumPy."""
    model = double(3, 5, reset_after=reset_after)
    w = model.state_dict()
    x, h = numbers(2, 4, 3).numpy(), np.zeros((2, 5))

    def sigmoid(a: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-a)))

    for t in range(4):
        a = x[:, t] @ w["weight_ih_l0"].T + w["bias_ih_l0"]
        b = h @ w["weight_hh_l0"].T + w["bias_hh_l0"]
        r, z = sigmoid(a[:, :5] + b[:, :5]), sigmoid(a[:, 5:10] + b[:, 5:10])
        seen = r * b[:, 10:] if reset_after else (r * h) @ w["weight_hh_l0"][10:].T + w["bias_hh_l0"][10:]
        h = (1 - z) * h + z * np.tanh(a[:, 10:] + seen)

    def negate(name: str, a: Array) -> Array:
        a[5:10] *= -1
        return a

    close(changed(model, negate)(Tensor(x))[1][0], h)


# Ragged batches, carried state, dropout


@pytest.mark.parametrize("readout", ["each", "last"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_ragged_batches_equal_single_runs(readout: str, bidirectional: bool) -> None:
    """Each sequence alone, cut to its length, has the same output as in the padded batch, for any values in the padding."""
    model = build(3, 5, 2, layers=2, bidirectional=bidirectional, readout=readout).astype(np.float64)
    x = numbers(4, 6, 3)
    answers = model(x, Tensor(LENGTHS))
    for b, n in enumerate(LENGTHS):
        alone = model(x[b : b + 1, :n])
        close(answers[b, :n] if readout == "each" else answers[b], alone[0].data)
    noise = Tensor(np.where(np.arange(6)[:, None] < LENGTHS[:, None, None], x.data, 1e6))
    close(model(noise, Tensor(LENGTHS)), answers.data)


def test_two_halves_with_the_state_passed_on_equal_the_whole() -> None:
    model = build(3, 5, 2, layers=2, readout="each").astype(np.float64)
    x = numbers(4, 7, 3)
    whole, h = model.run(x)
    first, state = model.run(x[:, :3])
    second, h2 = model.run(x[:, 3:], state=state)
    close(np.concatenate([first.data, second.data], axis=1), whole.data)
    close(h2, h.data)
    assert not np.allclose(model(x[:, 3:]).data, second.data)
    both = build(3, 5, 2, bidirectional=True, readout="each").astype(np.float64)
    assert not np.allclose(both.run(x[:, :3])[0].data, both(x).numpy()[:, :3])


def test_dropout_acts_between_layers_only() -> None:
    x = numbers(4, 6, 3)
    single, two = double(3, 5, dropout=0.5), double(3, 5, layers=2, dropout=1.0)
    close(single(x)[0], single(x)[0].data)
    zeros = double(5, 5)
    zeros.load_state_dict({name.replace("l1", "l0"): a for name, a in two.state_dict().items() if "l1" in name})
    close(two(x)[0], zeros(Tensor(np.zeros((4, 6, 5))))[0].data)  # all of layer 1's input is dropped, none of its output


# What a state is made of


@pytest.mark.parametrize("reset_after", [True, False])
def test_the_state_is_a_weighted_average_of_candidates(reset_after: bool) -> None:
    model = double(3, 5, reset_after=reset_after)
    model = changed(model, lambda name, a: 4 * a)
    x = numbers(2, 20, 3)
    steps = model.trace(x)
    w = weights_of_steps(steps.z.numpy())
    close((w * steps.n.numpy()).sum(axis=0), model(x)[1][0].data)
    close(w.sum(axis=0), 1 - steps.z.numpy().prod(axis=0))
    assert (w > 0).all()


def test_an_lstm_counts_and_a_gru_stays_within_one() -> None:
    """Ones are read 50 times: gates fully open let the LSTM's cell add up tanh(1) each time; no GRU leaves (-1, 1)."""
    lstm = LSTM(1, 1).astype(np.float64)
    lstm.load_state_dict({
        "weight_ih_l0": np.array([[0.0], [0], [1], [0]]), "weight_hh_l0": np.zeros((4, 1)),
        "bias_ih_l0": np.array([40.0, 40, 0, 40]), "bias_hh_l0": np.zeros(4),
    })  # fmt: skip
    _, (_, c) = lstm(Tensor(np.ones((1, 50, 1))))
    assert c.item() == pytest.approx(50 * np.tanh(1), rel=1e-12)
    gru = changed(double(3, 5, layers=2), lambda name, a: 30 * a)
    y, _ = gru(10 * numbers(8, 50, 3))
    assert 0.9 < np.abs(y.numpy()).max() <= 1


def test_the_product_of_update_gates_is_the_derivative_only_where_nothing_reads_the_state() -> None:
    for reads in (0.0, 1.0):
        model = changed(double(3, 5), lambda name, a, reads=reads: a * reads if name == "weight_hh_l0" else a)
        x, h0 = numbers(2, 10, 3), nn.tensor(np.zeros((1, 2, 5)), requires_grad=True)
        model(x, state=h0)[1].sum().backward()
        assert h0.grad is not None
        ratio = h0.grad.numpy()[0] / model.trace(x).z.numpy().prod(axis=0)
        assert bool(np.abs(ratio - 1).max() < 1e-12) is (reads == 0.0)


@pytest.mark.parametrize("beta, steps", [(0.0, 1.0), (1.0, 2.2), (3.0, 14.3)])
def test_the_bias_of_the_update_gate_decides_how_long_half_is_kept(beta: float, steps: float) -> None:
    """With nothing but this bias, z is sigmoid(beta) and the candidate 0."""
    assert np.log(2) / np.log1p(np.exp(-beta)) == pytest.approx(steps, rel=0.01)
    model = start_update(build(1, 1, 1), keep=beta).gru.astype(np.float64)
    changed(model, lambda name, a: a * [0, 1, 0] if a.ndim == 1 else 0 * a)
    _, h = model(numbers(1, 100, 1), state=Tensor(np.ones((1, 1, 1))))
    assert h.item() == pytest.approx(0.5 ** (100 / (np.log(2) / np.log1p(np.exp(-beta)))), rel=1e-6)


def test_start_update_sets_the_sum_of_both_biases_of_z_alone() -> None:
    before = build(3, 4, 2, layers=2, bidirectional=True)
    state = before.gru.state_dict()
    after = start_update(before, keep=2.0).gru.state_dict()
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        assert (after[f"bias_ih_{suffix}"][4:8] + after[f"bias_hh_{suffix}"][4:8] == 2).all()
        for name in (f"bias_ih_{suffix}", f"bias_hh_{suffix}"):
            others = np.r_[0:4, 8:12]
            np.testing.assert_array_equal(after[name][others], state[name][others])


def test_gradients_vanish_in_a_plain_rnn_and_stay_where_update_gates_keep() -> None:
    """Over 100 steps: below 1e-10 of the last step's in a plain RNN and in a GRU whose z starts at 1/2, above 0.1 near 1."""

    def ratio(network: Any, x: Array) -> float:
        t = Tensor(x, requires_grad=True)
        network(t)[0][:, -1].sum().backward()
        assert t.grad is not None
        norms = np.sqrt((t.grad.numpy() ** 2).sum(axis=(0, 2)))
        return float(norms[0] / norms[-1])

    x = numbers(8, 100, 2).data
    network = build(2, 32, 1, readout="last").astype(np.float64)
    assert ratio(nn.RNN(2, 32, batch_first=True).astype(np.float64), x) < 1e-10
    assert ratio(network.gru, x) < 1e-10
    start_update(network, keep=6.0)
    assert ratio(network.gru, x) > 0.1


@pytest.mark.parametrize("inputs, hidden, layers, bidirectional", [(64, 256, 1, False), (10, 20, 1, True), (3, 5, 3, True)])
def test_parameters_are_those_of_the_formula(inputs: int, hidden: int, layers: int, bidirectional: bool) -> None:
    """3 H (D + H + 2) a direction and layer: three quarters of an LSTM."""
    model, lstm = (kind(inputs, hidden, layers, bidirectional) for kind in (GRU, LSTM))
    widths = [inputs] + [hidden * (1 + bidirectional)] * (layers - 1)
    assert model.count_parameters() == (1 + bidirectional) * sum(3 * hidden * (d + hidden + 2) for d in widths)
    assert 4 * model.count_parameters() == 3 * lstm.count_parameters()


def test_a_step_shows_its_parts() -> None:
    """The state is (1 - z) n + z h of the parts that a step returns; z near 1 keeps, z near 0 replaces."""
    h, W, b = numbers(2, 3), numbers(9, 3, seed=1), Tensor(np.zeros(9))
    for z_sum, kept in ((40.0, True), (-40.0, False)):
        a = np.concatenate([np.zeros((2, 3)), np.full((2, 3), z_sum), np.ones((2, 3))], axis=1)
        step = cell(Tensor(a), h, W, b)
        close(step.h, h.data if kept else step.n.data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build(0, 4, 1), r"at least 1 input, hidden unit and layer\. Received 0, 4 and 1"),
        (lambda: build(2, 4, 1, readout="both"), "readout"),
        (lambda: build(2, 4, 1)(numbers(5, 6, 3)), r"\[batch, time, 2\]. Received shape \(5, 6, 3\)"),
        (lambda: sequence_mask(numbers(2, 3, 2), Tensor(np.array([3]))), "one length for each of 2"),
        (lambda: double(2, 4)(numbers(2, 3, 2), state=numbers(1, 1, 4)), r"state has shape \(1, 2, 4\)"),
    ],
)
def test_errors_say_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


# Recipes and pictures


def test_picture_of_marked_numbers_shows_what_the_last_state_is_made_of() -> None:
    dataset = data.load(sequences.data, ("series",), tasks=("regression",), window=12)
    figure = draw(sequences.build(dataset, **sequences.options), dataset)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert [title[:8] for title in titles] == ["What the", "The gate", "Update g", "The stat", "What the"]
    made = np.asarray(figure.axes[8].images[0].get_array())
    assert made.shape == (10, len(dataset.test.take(np.array([0]))[0][0]))
    assert made.sum(axis=1).max() <= 1


def test_learns_the_order_of_characters(real_data: Path, tmp_path: Path) -> None:
    """On a twentieth of tinyshakespeare, well below the entropy of characters without their order."""
    file = tmp_path / "part.txt"
    file.write_text((real_data / "text" / "tinyshakespeare.txt").read_text()[:60_000])
    dataset = data.load(str(file), ("text",), window=32)
    nn.seed(0)
    model = text.build(dataset, hidden=64, embedding=16)
    recipe = replace(text, epochs=6, batch_size=16)
    task = task_for(recipe, dataset)
    fit(recipe, model, dataset, task)
    metrics = task.evaluate(model, dataset.test).metrics
    assert metrics["loss"] < metrics["unigram_entropy"] - 0.6
    assert text.sample is not None
    assert len(text.sample(model, dataset)) == 600
    assert draw(model, dataset).axes


def test_forecasts_move_with_the_level() -> None:
    """A series lifted by a constant is predicted lifted by it; the options reach the model."""
    dataset = data.load("mackey_glass", ("series",), tasks=("forecast",))
    model = forecasts.build(dataset, **{**forecasts.options, "hidden": 4, "reset_after": False})
    assert isinstance(model, FromLastValue)
    assert model.network.recurrent.reset_after is False
    x = dataset.test.take(np.arange(3))[0]
    close(model(Tensor(x + np.float32(3))), model(Tensor(x)).numpy() + 3, atol=1e-5)
    assert draw(model, dataset).axes


def test_sentences_are_read_both_ways_up_to_their_lengths(real_data: Path) -> None:
    dataset = data.load(str(real_data / "text" / "rt-polarity.pos.txt"), ("sentences",))
    model = sentences.build(dataset, **{**sentences.options, "hidden": 8})
    tokens, lengths, _ = dataset.test.take(np.arange(6))
    scores = model(Tensor(tokens), Tensor(lengths)).numpy()
    assert scores.shape == (6, 2)
    padded = np.concatenate([tokens, np.ones((6, 3), tokens.dtype)], axis=1)
    close(model(Tensor(padded), Tensor(lengths)), scores, atol=1e-6)
    assert draw(model, dataset).axes
