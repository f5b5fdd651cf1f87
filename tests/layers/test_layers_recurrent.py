"""Recurrent layers equal PyTorch's, ragged batches its packed sequences, and the paper's GRU its equations."""

import inspect
import itertools

import numpy as np
import pytest
from layer_parity import close, compare, load, same, torch

import nnatomy as nn

RNG = np.random.default_rng(5)
N, STEPS, IN, HIDDEN = 3, 5, 4, 6
X = RNG.normal(size=(N, STEPS, IN))
KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("GRU", {})]
each_kind = pytest.mark.parametrize("name, options", KINDS)
SHAPES = list(itertools.product([1, 2, 3], [False, True], [False, True]))


def pair(name, options, **more):
    theirs = getattr(torch.nn, name)(IN, HIDDEN, **options, **{"batch_first": True} | more)
    ours = getattr(nn, name)(IN, HIDDEN, **options, **{"batch_first": True} | more)
    load(ours, theirs)
    return ours, theirs


def states(name, layers, ways):
    parts = [RNG.normal(size=(layers * ways, N, HIDDEN)) for _ in range(2 if name == "LSTM" else 1)]
    return parts


@each_kind
@pytest.mark.parametrize("layers, both_ways, bias", SHAPES)
def test_sequences(name, options, layers, both_ways, bias):
    ours, theirs = pair(name, options, num_layers=layers, bidirectional=both_ways, bias=bias)
    compare(ours, theirs, X)


@each_kind
@pytest.mark.parametrize("both_ways", [False, True])
def test_initial_states(name, options, both_ways):
    ours, theirs = pair(name, options, num_layers=2, bidirectional=both_ways)
    start = states(name, 2, 1 + both_ways)

    class Started:
        """Takes x and the states as separate arguments, so that their gradients are compared too."""

        def __init__(self, layer):
            self.layer = layer

        def __call__(self, x, *parts):
            return self.layer(x, tuple(parts) if len(parts) > 1 else parts[0])

        def __getattr__(self, key):
            return getattr(self.layer, key)

    compare(Started(ours), Started(theirs), X, *start)


@each_kind
def test_time_first(name, options):
    ours, theirs = pair(name, options, batch_first=False, bidirectional=True)
    compare(ours, theirs, X)  # read as (steps, batch, input)


@each_kind
@pytest.mark.parametrize("first", [False, True])
def test_one_sequence_without_a_batch(name, options, first):
    ours, theirs = pair(name, options, num_layers=2, bidirectional=True, batch_first=first)
    compare(ours, theirs, X[0])
    alone, batch = ours(X[0], lengths=3), ours(X[:1] if first else X[:1].swapaxes(0, 1), lengths=[3])
    np.testing.assert_array_equal(alone[0].data, batch[0].data.squeeze(0 if first else 1))
    cell = name + "Cell"
    same(getattr(nn, cell)(IN, HIDDEN, **options), getattr(torch.nn, cell)(IN, HIDDEN, **options), X[0, 0])


class Packed:
    """PyTorch's layer over a padded batch by way of pack_padded_sequence."""

    def __init__(self, layer, lengths):
        self.layer, self.lengths = layer, lengths

    def __call__(self, x):
        rnn = torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, torch.tensor(self.lengths), batch_first=True, enforce_sorted=False)
        y, state = self.layer(packed)
        return rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0], state

    def __getattr__(self, key):
        return getattr(self.layer, key)


@each_kind
@pytest.mark.parametrize("layers, both_ways", [(1, False), (1, True), (2, True)])
@pytest.mark.parametrize("lengths", [[5, 5, 5], [2, 5, 1], [4, 3, 3]])
def test_ragged_batches(name, options, layers, both_ways, lengths):
    ours, theirs = pair(name, options, num_layers=layers, bidirectional=both_ways)
    compare(ours, Packed(theirs, lengths), X, lengths=lengths)


@each_kind
def test_ragged_sequences_are_the_same_by_scan_and_step_by_step(name, options):
    """From no state they go through the scans, from a state step by step; zeros give the same result as no state."""
    layer = getattr(nn, name)(IN, HIDDEN, num_layers=2, bidirectional=True, batch_first=True, **options).astype("float64")
    zeros = nn.tensor(np.zeros((4, N, HIDDEN)))
    found = []
    for start in (None, (zeros, zeros) if name == "LSTM" else zeros):
        layer.zero_grad()
        y, state = layer(nn.tensor(X), start, lengths=[4, 5, 1])
        last = state[-1] if isinstance(state, tuple) else state
        (y.square().sum() + last.sum()).backward()
        found.append([y.data, last.data, *(p.grad.data for p in layer.parameters())])
    for scanned, stepped in zip(*found):
        np.testing.assert_allclose(scanned, stepped, rtol=1e-10, atol=1e-13)


def test_lengths_of_any_kind_and_what_stands_in_the_padding():
    layer = nn.LSTM(IN, HIDDEN, bidirectional=True, generator=nn.Generator(1), batch_first=True).astype("float64")
    lengths = np.array([2, 5, 1])
    other = np.where(np.arange(STEPS)[None, :, None] < lengths[:, None, None], X, 1e3)
    y, (h, c) = layer(X, lengths=lengths)
    for again in (layer(other, lengths=lengths), layer(X, lengths=nn.tensor(lengths)), layer(X, lengths=lengths.tolist())):
        np.testing.assert_array_equal(y.data, again[0].data)
        np.testing.assert_array_equal(h.data, again[1][0].data)
        np.testing.assert_array_equal(c.data, again[1][1].data)
    assert (y.data[0, 2:] == 0).all()


@pytest.mark.parametrize("bias", [True, False])
@each_kind
def test_cells(name, options, bias):
    name += "Cell"
    ours, theirs = getattr(nn, name)(IN, HIDDEN, bias, **options), getattr(torch.nn, name)(IN, HIDDEN, bias, **options)
    same(ours, theirs, X[:, 0])
    h, c = RNG.normal(size=(N, HIDDEN)), RNG.normal(size=(N, HIDDEN))
    x, start = nn.tensor(X[:, 0]), (nn.tensor(h), nn.tensor(c)) if name == "LSTMCell" else nn.tensor(h)
    t_start = (torch.tensor(h), torch.tensor(c)) if name == "LSTMCell" else torch.tensor(h)
    got, expected = ours(x, start), theirs(torch.tensor(X[:, 0]), t_start)
    for g, e in zip(*((v if isinstance(v, tuple) else (v,)) for v in (got, expected))):
        close(g.data, e.detach().numpy(), "state")


def test_the_papers_gru_resets_before_the_product():
    layer = nn.GRU(IN, HIDDEN, reset_after=False, generator=nn.Generator(2), batch_first=True).astype("float64")
    cell = nn.GRUCell(IN, HIDDEN, reset_after=False).astype("float64")
    s = layer.state_dict()
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in s.items()})
    h = np.zeros((N, HIDDEN))
    w, u = (np.split(s[k], 3) for k in ("weight_ih_l0", "weight_hh_l0"))
    b, d = (np.split(s[k], 3) for k in ("bias_ih_l0", "bias_hh_l0"))
    for t in range(STEPS):
        x = X[:, t]
        r = 1 / (1 + np.exp(-(x @ w[0].T + b[0] + h @ u[0].T + d[0])))
        z = 1 / (1 + np.exp(-(x @ w[1].T + b[1] + h @ u[1].T + d[1])))
        new = np.tanh(x @ w[2].T + b[2] + (r * h) @ u[2].T + d[2])
        before, h = h, z * h + (1 - z) * new
        np.testing.assert_allclose(cell(x, before).data, h, rtol=1e-12)
    y, last = layer(X)
    np.testing.assert_allclose(last.data[0], h, rtol=1e-12)
    np.testing.assert_array_equal(y.data[:, -1], last.data[0])
    nn.check_gradients(lambda x: layer(x)[0], [X[:2, :3]])


@each_kind
def test_second_derivative(name, options):
    layer = getattr(nn, name)(2, 3, batch_first=True, **options, generator=nn.Generator(3)).astype("float64")
    nn.check_gradients(lambda x: layer(x, lengths=[3, 2])[0], [RNG.normal(size=(2, 3, 2))], order=2, tolerance=1e-5)


@each_kind
def test_dropout_stands_between_layers_in_training_only(name, options):
    make = {"num_layers": 2, "dropout": 1.0, "batch_first": True}
    dead, alive = (getattr(nn, name)(IN, HIDDEN, **options, **make, generator=nn.Generator(4)) for _ in range(2))
    x = X.astype("float32")
    y, _ = dead(x)
    zeros = np.zeros((N, STEPS, HIDDEN), "float32")
    top = getattr(nn, name)(HIDDEN, HIDDEN, batch_first=True, **options)
    top.load_state_dict({k.replace("_l1", "_l0"): v for k, v in dead.state_dict().items() if "_l1" in k})
    np.testing.assert_allclose(y.data, top(zeros)[0].data, rtol=1e-6)  # the upper layer hears nothing
    assert (alive.eval()(x)[0].data != y.data).any()
    half = getattr(nn, name)(IN, HIDDEN, **options, num_layers=2, dropout=0.5, batch_first=True, generator=nn.Generator(5))
    assert (half(x)[0].data != half(x)[0].data).any()


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_defaults_are_pytorchs(name):
    ours = {
        k: p.default for k, p in inspect.signature(getattr(nn, name)).parameters.items() if p.default is not p.empty
    }
    theirs = getattr(torch.nn, name)(IN, HIDDEN)
    for key, value in ours.items():
        if key not in ("generator", "reset_after"):
            assert getattr(theirs, key) == value, key


def test_backward_is_linear_in_the_number_of_steps():
    """Reading one step must not cost a gradient as large as the sequence: 8 times the steps, about 8 times the time."""
    import time

    layer = nn.LSTM(64, 8, batch_first=True)

    def seconds(steps):
        best = float("inf")
        for _ in range(3):
            x = nn.tensor(np.ones((16, steps, 64), "float32"), requires_grad=True)
            start = time.perf_counter()
            layer(x)[0].sum().backward()
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds(800) < 30 * seconds(100)  # a quadratic cost would take 64 times as long
