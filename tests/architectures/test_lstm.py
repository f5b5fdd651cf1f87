"""The LSTM: its equations by hand, PyTorch's and Keras's layers, the carousel of errors, memory that a plain RNN lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sequence_parts import LENGTHS, close, numbers

import nnatomy as nn
from nnatomy import data
from nnatomy import functional as F
from nnatomy.architectures.recurrent.lstm import LSTM, LSTMNetwork, build, cell, loss, start_gates
from nnatomy.architectures.recurrent.lstm.picture import draw
from nnatomy.architectures.recurrent.lstm.recipe import forecasts, sentences, sequences, text
from nnatomy.errors import UserError
from nnatomy.layers.sequences import FromLastValue, sample_tokens, sequence_mask
from nnatomy.optim import Adam, Cosine, clip_grad_norm
from nnatomy.tasks import task_for
from nnatomy.tensor import Tensor
from nnatomy.training.fit import fit
from nnatomy.training.recipe import Recipe

Array = np.ndarray[Any, Any]


def double(*args: Any, **options: Any) -> LSTM:
    return LSTM(*args, **options).astype(np.float64)


def fitted(recipe: Recipe, dataset: data.Dataset, **options: Any) -> tuple[Any, dict[str, float]]:
    """A model trained as its recipe says, and its scores on the test split."""
    nn.seed(0)
    model = recipe.build(dataset, **{**recipe.options, **options})
    task = task_for(recipe, dataset)
    fit(recipe, model, dataset, task)
    return model, task.evaluate(model, dataset.test).metrics


# The equations


def test_one_step_by_hand() -> None:
    """Every gate, the cell and the output, in plain Python; peepholes of i and f see the old cell, that of o the new one."""

    def sigmoid(z: float) -> float:
        return 1 / (1 + np.exp(-z))

    a, c, p = (0.3, -0.7, 1.1, 0.4), 0.9, (0.5, -1.5, 2.0)
    i, f, g = sigmoid(0.3 + 0.5 * c), sigmoid(-0.7 - 1.5 * c), np.tanh(1.1)
    new = f * c + i * g
    o = sigmoid(0.4 + 2.0 * new)
    step = cell(Tensor(np.array([a])), Tensor(np.array([[c]])), [Tensor(np.array([v])) for v in p])
    close([step.i.item(), step.f.item(), step.g.item(), step.o.item()], [i, f, g, o])
    close([step.c.item(), step.h.item()], [new, o * np.tanh(new)])
    without = cell(Tensor(np.array([a])), Tensor(np.array([[c]])))
    close([without.i.item(), without.f.item(), without.o.item()], [sigmoid(0.3), sigmoid(-0.7), sigmoid(0.4)])


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["even", "ragged"])
@pytest.mark.parametrize("options", [{}, {"layers": 2}, {"bidirectional": True}, {"layers": 3, "bidirectional": True}])
def test_equals_torch_lstm(options: dict[str, Any], lengths: Array | None) -> None:
    """The same names and shapes, and with the same weights the same outputs, final states and gradients."""
    torch = pytest.importorskip("torch")
    rnn = torch.nn.utils.rnn
    ours = double(3, 5, **options)
    theirs = torch.nn.LSTM(3, 5, options.get("layers", 1), batch_first=True, bidirectional="bidirectional" in options).double()
    assert set(ours.state_dict()) == set(theirs.state_dict())
    theirs.load_state_dict({name: torch.tensor(a) for name, a in ours.state_dict().items()})
    x, k = numbers(4, 6, 3), numbers(4, 6, 10 if "bidirectional" in options else 5, seed=1).data
    y, (h, c) = ours(x, None if lengths is None else Tensor(lengths))
    (ops_sum(y * k) + ops_sum(h * c)).backward()
    their_x = torch.tensor(x.data)
    if lengths is None:
        their_y, (their_h, their_c) = theirs(their_x)
    else:
        packed = rnn.pack_padded_sequence(their_x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        packed, (their_h, their_c) = theirs(packed)
        their_y, _ = rnn.pad_packed_sequence(packed, batch_first=True)
    ((their_y * torch.tensor(k)).sum() + (their_h * their_c).sum()).backward()
    for a, b in ((y, their_y), (h, their_h), (c, their_c)):
        close(a, b.detach())
    for name, p in ours.named_parameters():
        assert p.grad is not None
        close(p.grad, dict(theirs.named_parameters())[name].grad)


def ops_sum(t: Tensor) -> Tensor:
    return t.sum()


def test_starts_as_torch_does() -> None:
    """All weights uniform in +-1/sqrt(hidden): the bounds are kept, nearly reached, and the mean is near 0."""
    values = np.concatenate([p.numpy().ravel() for p in LSTM(20, 100).parameters()])
    assert np.abs(values).max() <= 0.1
    assert np.abs(values).max() > 0.0999
    assert abs(values.mean()) < 0.001
    assert values.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.01)


def test_equals_keras_lstm() -> None:
    """Keras keeps matrices as (in, out) and one bias; its gates i, f, c, o are our i, f, g, o."""
    keras = pytest.importorskip("keras")
    ours = double(3, 5)
    layer = keras.layers.LSTM(5, return_sequences=True, return_state=True, dtype="float64")
    layer.build((4, 6, 3))
    w = ours.state_dict()
    layer.set_weights([w["weight_ih_l0"].T, w["weight_hh_l0"].T, w["bias_ih_l0"] + w["bias_hh_l0"]])
    x = numbers(4, 6, 3)
    y, (h, c) = ours(x)
    for a, b in zip((y, h[0], c[0]), layer(x.data), strict=True):
        close(a, keras.ops.convert_to_numpy(b))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_equals_our_own_layer(bidirectional: bool) -> None:
    """nn.LSTM, which other architectures use, takes this architecture's weights and gives its outputs."""
    ours = double(3, 5, layers=2, bidirectional=bidirectional)
    layer = nn.LSTM(3, 5, 2, batch_first=True, bidirectional=bidirectional).astype(np.float64)
    layer.load_state_dict(ours.state_dict())
    x = numbers(4, 6, 3)
    y, (h, c) = ours(x)
    y2, (h2, c2) = layer(x)
    close(y, y2.data)
    close(h, h2.data)
    close(c, c2.data)


# Ragged batches, directions, carried state


@pytest.mark.parametrize("readout", ["each", "last"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_ragged_batches_equal_single_runs(readout: str, bidirectional: bool) -> None:
    """Each sequence alone, cut to its length, has the same output as in the padded batch, for any values in the padding."""
    model = build(3, 5, 2, layers=2, bidirectional=bidirectional, peepholes=True, readout=readout).astype(np.float64)
    x = numbers(4, 6, 3)
    answers = model(x, Tensor(LENGTHS))
    for b, n in enumerate(LENGTHS):
        alone = model(x[b : b + 1, :n])
        close(answers[b, :n] if readout == "each" else answers[b], alone[0].data)
    noise = Tensor(np.where(np.arange(6)[:, None] < LENGTHS[:, None, None], x.data, 1e6))
    close(model(noise, Tensor(LENGTHS)), answers.data)
    y, _ = model.lstm(x, Tensor(LENGTHS))
    assert not y.numpy()[np.arange(6) >= LENGTHS[:, None]].any()


def test_directions_mirror_under_reversal() -> None:
    """With its directions' weights exchanged, a bidirectional LSTM does with the reversed sequence what it did before."""
    model, mirror = double(3, 5, bidirectional=True), double(3, 5, bidirectional=True)
    state = model.state_dict()
    mirror.load_state_dict({
        name: state[name.removesuffix("_reverse") if name.endswith("_reverse") else name + "_reverse"] for name in state
    })  # fmt: skip
    x = numbers(4, 6, 3)
    y, (h, c) = model(x)
    back, (h_back, c_back) = mirror(Tensor(x.data[:, ::-1]))
    close(back.data[:, ::-1, [*range(5, 10), *range(5)]], y.data)
    close(h_back.data[::-1], h.data)
    close(c_back.data[::-1], c.data)


def test_two_halves_with_the_state_passed_on_equal_the_whole() -> None:
    model = build(3, 5, 2, layers=2, peepholes=True, readout="each").astype(np.float64)
    x = numbers(4, 7, 3)
    whole, (h, c) = model.run(x)
    first, state = model.run(x[:, :3])
    second, (h2, c2) = model.run(x[:, 3:], state=state)
    close(np.concatenate([first.data, second.data], axis=1), whole.data)
    close(h2, h.data)
    close(c2, c.data)
    assert not np.allclose(model(x[:, 3:]).data, second.data)


def test_two_halves_differ_from_the_whole_with_two_directions() -> None:
    """The backward direction of the first half has not seen the second."""
    model = build(3, 5, 2, bidirectional=True, readout="each").astype(np.float64)
    x = numbers(4, 7, 3)
    first, _ = model.run(x[:, :3])
    assert not np.allclose(first.data, model(x).numpy()[:, :3])


def test_dropout_acts_between_layers_only() -> None:
    x = numbers(4, 6, 3)
    single, double_layer = double(3, 5, dropout=0.5), double(3, 5, layers=2, dropout=0.5)
    close(single(x)[0], single(x)[0].data)
    assert not np.allclose(double_layer(x)[0].data, double_layer(x)[0].data)
    double_layer.eval()
    close(double_layer(x)[0], double_layer(x)[0].data)
    y = double(3, 5, layers=2, dropout=1.0)
    zeros = double(5, 5)
    zeros.load_state_dict({name.replace("l1", "l0"): a for name, a in y.state_dict().items() if "l1" in name})
    close(y(x)[0], zeros(Tensor(np.zeros((4, 6, 5))))[0].data)  # all of layer 1's input is dropped, none of its output


# Why it remembers


def test_the_error_carousel() -> None:
    """Where neither gates nor candidate read h (W_hh = 0, no peepholes), dc_T/dc_0 is the product of the forget gates."""
    model = double(3, 5)
    model.weight_hh_l0 = type(model.weight_ih_l0)(np.zeros((20, 5)))  # type: ignore[attr-defined]
    x, c0 = numbers(2, 30, 3), nn.tensor(numbers(1, 2, 5).data, requires_grad=True)
    _, (_, c) = model(x, state=(numbers(1, 2, 5), c0))
    c.sum().backward()
    assert c0.grad is not None
    y, _ = model(x)
    assert y.shape == (2, 30, 5)
    close(c0.grad[0], model.trace(x).f.numpy().prod(axis=0), atol=1e-300)


@pytest.mark.parametrize("reads", ["candidate", "peepholes"])
def test_the_carousel_is_not_the_whole_derivative_where_h_or_c_is_read(reads: str) -> None:
    """W_hh = 0 in the gates is not enough if the candidate reads h, nor is W_hh = 0 with peepholes."""
    model = double(3, 5, peepholes=reads == "peepholes")
    rows = np.arange(20) // 5  # i, f, g, o
    state = model.state_dict()
    kept = (rows == 2) & (reads == "candidate")
    model.load_state_dict({**state, "weight_hh_l0": state["weight_hh_l0"] * kept[:, None]})
    x, c0 = numbers(2, 30, 3), nn.tensor(np.zeros((1, 2, 5)), requires_grad=True)
    _, (_, c) = model(x, state=(Tensor(np.zeros((1, 2, 5))), c0))
    c.sum().backward()
    assert c0.grad is not None
    product = model.trace(x).f.numpy().prod(axis=0)
    assert abs(c0.grad.numpy()[0] / product - 1).max() > 0.1


@pytest.mark.parametrize("beta, steps", [(0.0, 1.0), (1.0, 2.2), (4.0, 38.2)])
def test_the_bias_of_the_forget_gate_decides_how_long_half_is_kept(beta: float, steps: float) -> None:
    """A forget gate that sees only its bias halves the cell in ln 2 / ln(1 + e^-beta) steps."""
    assert np.log(2) / np.log1p(np.exp(-beta)) == pytest.approx(steps, rel=0.01)
    network = start_gates(build(1, 1, 1), forget=beta)
    model = network.lstm.astype(np.float64)
    only_bias = {name: a if name.startswith("bias") else 0 * a for name, a in model.state_dict().items()}
    only_bias["bias_ih_l0"][2] = only_bias["bias_hh_l0"][2] = 0  # the candidate is 0: nothing is written
    model.load_state_dict(only_bias)
    _, (_, c) = model(numbers(1, 100, 1), state=(Tensor(np.zeros((1, 1, 1))), Tensor(np.ones((1, 1, 1)))))
    assert c.item() == pytest.approx(0.5 ** (100 / (np.log(2) / np.log1p(np.exp(-beta)))), rel=1e-6)


@pytest.mark.parametrize("inputs, hidden, layers, bidirectional", [(64, 256, 1, False), (10, 20, 1, True), (3, 5, 3, True)])
def test_parameters_are_those_of_the_formula(inputs: int, hidden: int, layers: int, bidirectional: bool) -> None:
    """4 H (D + H + 2) a direction and layer, 3 H more with peepholes."""
    for peepholes in (False, True):
        model = LSTM(inputs, hidden, layers, bidirectional, peepholes)
        widths = [inputs] + [hidden * (1 + bidirectional)] * (layers - 1)
        each = [4 * hidden * (width + hidden + 2) + 3 * hidden * peepholes for width in widths]
        assert model.count_parameters() == (1 + bidirectional) * sum(each)


def reach(network: Any, x: Array) -> Array:
    """The norm of d(sum of last outputs) / dx_t for each step t."""
    t = Tensor(x, requires_grad=True)
    network(t)[0][:, -1].sum().backward()
    assert t.grad is not None
    return np.asarray(np.sqrt((t.grad.numpy() ** 2).sum(axis=(0, 2))))


def test_gradients_through_time_vanish_in_a_plain_rnn_and_stay_in_an_lstm() -> None:
    """Over 100 steps: below 1e-10 of the last step's in a plain RNN, above 0.1 where forget gates start open.

    An LSTM whose forget gates start at one half forgets as well: it is the open gate that keeps, not the name.
    """
    x = numbers(8, 100, 2).data
    network = build(2, 32, 1, readout="last")
    lstm, rnn = network.lstm.astype(np.float64), nn.RNN(2, 32, batch_first=True).astype(np.float64)
    half = reach(lstm, x)
    start_gates(network, forget=5.0)
    kept, lost = reach(lstm, x), reach(rnn, x)
    assert lost[0] / lost[-1] < 1e-10
    assert half[0] / half[-1] < 1e-10
    assert kept[0] / kept[-1] > 0.1
    logs = np.log(lost)  # by about the same factor at each step
    assert np.corrcoef(np.arange(100), logs)[0, 1] > 0.99


def adding(n: int, length: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Numbers in [0, 1] and marks, one mark in each half, and the sums of the marked numbers.

    The paper (Hochreiter and Schmidhuber 1997, section 5.4) has numbers in [-1, 1] and the target 0.5 + sum / 4.
    """
    values, marks, rows = rng.uniform(0, 1, (n, length)), np.zeros((n, length)), np.arange(n)
    marks[rows, rng.integers(0, length // 2, n)] = marks[rows, rng.integers(length // 2, length, n)] = 1
    return nn.tensor(np.stack([values, marks], 2), "float32"), nn.tensor((values * marks).sum(1, keepdims=True), "float32")


def test_always_predicting_one_has_an_error_of_a_sixth() -> None:
    """The variance of the sum of two uniform numbers, in the recipe's data as in the tests'."""
    dataset = data.load(sequences.data, ("series",), tasks=("regression",))
    sums = dataset.preprocessing.inverse_targets(dataset.train.all()[-1])
    for y in (adding(20_000, 40, np.random.default_rng(0))[1].numpy(), sums):
        assert ((y - 1) ** 2).mean() == pytest.approx(1 / 6, rel=0.05)


def test_adding_problem_is_solved_where_a_plain_rnn_fails() -> None:
    """At 40 steps, with the same examples, units and optimizer. At 200 steps: benchmarks/adding_problem.py."""

    def error_after_training(answer: Any, parameters: list[Any], steps: int = 600) -> float:
        rng, schedule = np.random.default_rng(0), Cosine(steps, warmup=0.02)
        optimizer = Adam(parameters, lr=2e-2)
        for step in range(steps):
            x, y = adding(32, 40, rng)
            optimizer.zero_grad()
            F.mse_loss(answer(x), y).backward()
            clip_grad_norm(parameters, 1.0)
            optimizer.factor = schedule(step)
            optimizer.step()
        x, y = adding(1000, 40, np.random.default_rng(1))
        with nn.no_grad():
            return float(F.mse_loss(answer(x), y).item())

    lstm = start_gates(build(2, 32, 1, readout="last"), forget=5.0, write=-3.0)
    rnn, output = nn.RNN(2, 32, batch_first=True), nn.Linear(32, 1)
    assert error_after_training(lstm, list(lstm.parameters())) < 0.02
    failed = error_after_training(lambda x: output(rnn(x)[0][:, -1]), [*rnn.parameters(), *output.parameters()])
    assert failed > 0.14  # the constant output 1 has an error of 1/6


# The network around it


def test_start_gates_sets_both_biases_together() -> None:
    model = start_gates(build(3, 4, 2, layers=2, bidirectional=True), forget=2.0, write=-1.0)
    state = model.lstm.state_dict()
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        total = state[f"bias_ih_{suffix}"] + state[f"bias_hh_{suffix}"]
        assert (total[:4] == -1).all()
        assert (total[4:8] == 2).all()
        assert (np.abs(total[8:]) > 0).all()


def test_loss_counts_every_step() -> None:
    """Mean over all steps of -log p, the padded ones too; mean squared error for numbers."""
    model = build(3, 4, 5, vocabulary=7, readout="each").astype(np.float64)
    tokens, lengths, targets = np.array([[1, 2, 3], [4, 0, 0]]), np.array([3, 1]), np.array([[0, 1, 2], [3, 4, 4]])
    scores = model(Tensor(tokens), Tensor(lengths)).numpy()
    log_p = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    expected = -np.take_along_axis(log_p, targets[..., None], -1).mean()
    close(loss(model, Tensor(tokens), Tensor(lengths), Tensor(targets))[0], expected)
    model = build(3, 4, 2, readout="last").astype(np.float64)
    x, y = numbers(2, 3, 3), numbers(2, 2, seed=1)
    close(loss(model, x, y)[0], ((model(x).numpy() - y.numpy()) ** 2).mean())


def test_sampling_carries_the_state() -> None:
    """Writing step by step is the same as reading the whole text in one call; equal generators write equal texts."""
    model = build(3, 8, 6, vocabulary=6, layers=2)
    written = sample_tokens(model, [1, 2], 20, temperature=0.0)
    scores = model(Tensor(np.array([[1, 2, *written[:-1]]]))).numpy()[0]
    assert written == scores[1:].argmax(axis=-1).tolist()
    first = sample_tokens(model, [1], 30, 1.0, nn.Generator(3))
    assert first == sample_tokens(model, [1], 30, 1.0, nn.Generator(3))
    assert first != sample_tokens(model, [1], 30, 1.0, nn.Generator(4))


def test_temperature_sharpens_as_the_softmax_says() -> None:
    """Frequencies of the next token against softmax(scores / temperature)."""
    model = build(2, 4, 3, vocabulary=3)
    scores = model(Tensor(np.array([[1]]))).numpy()[0, 0].astype(np.float64)
    generator = nn.Generator(0)
    drawn = [sample_tokens(model, [1], 1, 0.2, generator)[0] for _ in range(1500)]
    p = np.exp(scores / 0.2) / np.exp(scores / 0.2).sum()
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 1500, p, atol=0.04)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build(0, 4, 1), "at least 1 input"),
        (lambda: build(2, 4, 1, readout="both"), "readout"),
        (lambda: build(2, 4, 1)(numbers(5, 6, 3)), r"\[batch, time, 2\]. Received shape \(5, 6, 3\)"),
        (lambda: sequence_mask(numbers(2, 3, 2), Tensor(np.array([3]))), "one length for each of 2"),
        (lambda: double(2, 4)(numbers(2, 3, 2), state=(numbers(1, 1, 4), numbers(1, 2, 4))), "state is a pair"),
        (lambda: sample_tokens(build(2, 4, 3), [1], 2), "reads tokens"),
        (lambda: sample_tokens(build(2, 4, 3, vocabulary=3), [], 2), "needs a prompt of"),
    ],
)
def test_errors_say_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


# Recipes and pictures


def test_picture_of_marked_numbers_names_what_it_shows() -> None:
    """The adding problem: numbers with their marks, gates, forget gates and cells of ten units, and the reach of errors."""
    dataset = data.load(sequences.data, ("series",), tasks=("regression",), window=12)
    figure = draw(sequences.build(dataset, **sequences.options), dataset)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert [title[:8] for title in titles] == ["What the", "The gate", "Forget g", "What tho", "How far "]
    marked = [line for line in figure.axes[0].lines if "marked" in str(line.get_label())]
    assert len(np.asarray(marked[0].get_xdata())) == 2


def test_learns_the_order_of_characters(real_data: Path, tmp_path: Path) -> None:
    """On a twentieth of tinyshakespeare, in one minute's work, well below the entropy of characters without their order."""
    file = tmp_path / "part.txt"
    file.write_text((real_data / "text" / "tinyshakespeare.txt").read_text()[:60_000])
    dataset = data.load(str(file), ("text",), window=32)
    model, metrics = fitted(replace(text, epochs=6, batch_size=16), dataset, hidden=64, embedding=16)
    assert metrics["loss"] < metrics["unigram_entropy"] - 0.6
    assert text.sample is not None
    written = text.sample(model, dataset)
    assert len(written) == 600
    assert written == text.sample(model, dataset)
    assert draw(model, dataset).axes


def test_forecasts_move_with_the_level() -> None:
    """A series lifted by a constant is predicted lifted by it; the options reach the model."""
    dataset = data.load("mackey_glass", ("series",), tasks=("forecast",))
    model = forecasts.build(dataset, **{**forecasts.options, "hidden": 4})
    assert isinstance(model, FromLastValue)
    x = dataset.test.take(np.arange(3))[0]
    close(model(Tensor(x + np.float32(3))), model(Tensor(x)).numpy() + 3, atol=1e-5)
    assert draw(model, dataset).axes


@pytest.mark.slow
def test_scores_on_real_data(real_data: Path) -> None:
    """ETTh1: better than to repeat the last value. Film reviews: the polarity of most unseen sentences."""
    dataset = data.load(str(real_data / "timeseries" / "ETTh1.csv"), ("series",), tasks=("forecast",), target="OT")
    _, metrics = fitted(forecasts, dataset)
    assert metrics["mae"] < 0.95 * metrics["naive_mae"]
    dataset = data.load(str(real_data / "text" / "rt-polarity.pos.txt"), ("sentences",))
    model, metrics = fitted(sentences, dataset)
    assert isinstance(model, LSTMNetwork)
    assert metrics["accuracy"] > 0.72
    assert draw(model, dataset).axes
