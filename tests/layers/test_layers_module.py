"""Modules: names, sharing, containers, state, hooks, modes, freezing, copies, cycles; and what a summary counts."""

import copy
import json
import pickle

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.layers.module import Module


class Block(Module):
    def __init__(self):
        self.first = nn.Linear(3, 4)
        self.many = [nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4)]
        self.named = {"left": nn.Linear(4, 2), "right": (nn.Linear(4, 2), nn.Parameter(np.ones(2, "float32")))}
        self.scale = nn.Parameter(np.ones((), "float32"))
        self.count = nn.tensor([1.0, 2.0])
        self.nothing = None
        self.size = (3, 4)
        self._hidden = nn.Linear(9, 9)

    def forward(self, x):
        x = self.first(x)
        for part in self.many:
            x = part(x)
        return self.scale * (self.named["left"](x) + self.named["right"][0](x) * self.named["right"][1])


NAMES = [
    "first.weight", "first.bias", "many.0.weight", "many.2.weight", "many.2.bias", "named.left.weight", "named.left.bias",
    "named.right.0.weight", "named.right.0.bias", "named.right.1", "scale",
]  # fmt: skip
X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")


def test_names_are_attribute_paths():
    block = Block()
    assert sorted(dict(block.named_parameters())) == sorted(NAMES)
    assert [name for name, _ in block.named_buffers()] == ["count"]
    assert set(block.state_dict()) == {*NAMES, "count"}
    assert [name for name, _ in block.named_modules()] == [
        "", "first", "many.0", "many.1", "many.2", "named.left", "named.right.0",
    ]  # fmt: skip
    assert block.count_parameters() == 16 + 16 + 20 + 10 + 10 + 2 + 1


def test_every_parameter_gets_a_gradient():
    block = Block()
    block(nn.tensor(X)).sum().backward()
    assert all(p.grad is not None for p in block.parameters())
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())


def test_shared_parameters_count_once_and_are_saved_under_each_name():
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.weight = a.weight
    model = nn.Sequential(a, b, a)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert model.count_parameters() == 15
    assert {"0.weight", "1.weight"} <= set(model.state_dict())
    assert model.summary(X).parameters == 15
    model(X).sum().backward()
    assert a.weight.grad is b.weight.grad


def test_cycles_end():
    parent, child = Block(), nn.Linear(2, 2)
    child.parent = parent
    parent.child = child
    assert sum(1 for _ in parent.modules()) == 8
    assert parent.train(False).training is False
    assert child.training is False
    copy.deepcopy(parent)


def test_state_goes_round_and_is_a_copy():
    a, b = Block(), Block()
    state = a.state_dict()
    b.load_state_dict(state)
    np.testing.assert_array_equal(a(X).data, b(X).data)
    state["first.weight"][:] = 0
    assert (a.first.weight.data != 0).any()
    assert (b.first.weight.data != 0).any()
    held = b.first.weight
    b.load_state_dict(a.state_dict())
    assert b.first.weight is held


def test_state_that_does_not_fit_is_told():
    block = Block()
    good = block.state_dict()
    lacking = {k: v for k, v in good.items() if k != "scale"}
    with pytest.raises(nn.UserError, match="missing: scale"):
        block.load_state_dict(lacking)
    with pytest.raises(nn.UserError, match=r"unexpected: extra\."):
        block.load_state_dict(good | {"extra": np.ones(1)})
    with pytest.raises(nn.UserError, match=r"first.bias is \(5,\), expected \(4,\)"):
        block.load_state_dict(good | {"first.bias": np.ones(5)})
    with pytest.raises(nn.UserError, match="misshapen"):
        block.load_state_dict(good | {"first.bias": np.ones(5)}, strict=False)
    block.load_state_dict(lacking | {"extra": np.ones(1), "first.bias": np.full(4, 7.0)}, strict=False)
    assert (block.first.bias.data == 7).all()
    assert block.first.bias.dtype == np.float32


def test_a_failed_load_changes_nothing():
    block = Block()
    before = block.state_dict()
    with pytest.raises(nn.UserError):
        block.load_state_dict({k: v + 1 for k, v in before.items()} | {"scale": np.ones(3)})
    for name, value in block.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_modes_reach_everything():
    model = nn.Sequential(nn.Dropout(0.5), Block(), nn.BatchNorm1d(2))
    assert all(m.training for m in model.modules())
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert nn.Linear(1, 1).training
    model.train()
    assert all(m.training for m in model.modules())


def test_freezing():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    x = nn.tensor(X, requires_grad=True)
    model(x).sum().backward()
    assert model[0].weight.grad is None
    assert model[1].weight.grad is not None
    assert x.grad is not None
    assert sum(1 for _ in model.parameters()) == 4


def test_deepcopy_and_pickle_are_independent():
    a = Block()
    b = copy.deepcopy(a)
    np.testing.assert_array_equal(a(X).data, b(X).data)
    b.first.weight.data = b.first.weight.data + 1
    assert (a(X).data != b(X).data).any()
    c = pickle.loads(pickle.dumps(a))
    np.testing.assert_array_equal(a(X).data, c(X).data)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    again = copy.deepcopy(tied)
    assert again[1].weight is again[0].weight


def test_hooks_see_and_replace():
    seen = []
    layer = nn.Linear(3, 2)
    handle = layer.register_forward_hook(lambda module, args, output: seen.append((module, args[0].shape, output.shape)))
    layer(X)
    assert seen == [(layer, (5, 3), (5, 2))]
    handle.remove()
    handle.remove()
    layer(X)
    assert len(seen) == 1
    handle = layer.register_forward_hook(lambda module, args, output: output * 0)
    assert (layer(X).data == 0).all()
    handle.remove()
    plain = layer(X).data
    handle = layer.register_forward_pre_hook(lambda module, args: args[0] * 2)
    np.testing.assert_allclose(layer(X).data - layer.bias.data, 2 * (plain - layer.bias.data), rtol=1e-5, atol=1e-6)
    handle.remove()
    np.testing.assert_array_equal(layer(X).data, plain)


def test_dtype_apply_repr_and_sequential():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, momentum=None), nn.Flatten())
    model.astype("float64")
    assert {str(t.dtype) for _, t in [*model.named_parameters(), *model.named_buffers()]} == {"float64", "int64"}
    names = []
    model.apply(lambda m: names.append(type(m).__name__))
    assert names == ["Sequential", "Conv2d", "BatchNorm2d", "Flatten"]
    text = repr(model)
    assert "(0): Conv2d(in_channels=1, out_channels=2" in text
    assert len(model) == 3
    assert [type(m).__name__ for m in model] == names[1:]
    assert isinstance(model[-1], nn.Flatten)
    assert nn.Sequential()(X) is X
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        Module()(X)


def test_generators_make_layers_repeatable():
    a, b = (nn.Dropout(0.5, generator=nn.Generator(3)) for _ in range(2))
    np.testing.assert_array_equal(a(X), b(X))
    nn.seed(1)
    first = nn.Linear(3, 3).weight.data
    nn.seed(1)
    np.testing.assert_array_equal(first, nn.Linear(3, 3).weight.data)


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Dropout(0.5), (8, 9)),
        (nn.Dropout1d(0.5), (8, 9, 4)),
        (nn.Dropout2d(0.5), (8, 9, 4, 4)),
        (nn.Dropout3d(0.5), (8, 9, 2, 2, 2)),
        (nn.AlphaDropout(0.5), (8, 9)),
        (nn.StochasticDepth(0.5), (8, 9)),
        (nn.StochasticDepth(1.0, "batch"), (8, 9)),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Module) else "",
)
def test_noise_in_training_only(layer, shape):
    x = np.random.default_rng(0).normal(size=shape)
    assert (layer.train()(x) != x).any()
    np.testing.assert_array_equal(layer.eval()(x), x)


# Penalties


def test_penalties():
    layer = nn.Linear(3, 2)
    w, b = layer.weight.data, layer.bias.data
    l1, l2 = nn.l1_penalty(layer.parameters()), nn.l2_penalty(layer.parameters())
    assert l1.item() == pytest.approx(np.abs(w).sum() + np.abs(b).sum(), rel=1e-6)
    assert l2.item() == pytest.approx((w**2).sum() + (b**2).sum(), rel=1e-6)
    (l1 + 0.5 * l2).backward()
    np.testing.assert_allclose(layer.weight.grad.data, np.sign(w) + w, rtol=1e-6)
    with pytest.raises(nn.UserError, match="at least one"):
        nn.l1_penalty([])


# Summaries: every count below is worked out by hand


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10),
    )  # fmt: skip


def test_summary_of_lenet5():
    model = lenet5()
    found = model.summary(np.zeros((1, 1, 28, 28), "float32"))
    assert [r.multiply_adds for r in found.rows if r.multiply_adds] == [
        6 * 25 * 28 * 28, 16 * 6 * 25 * 10 * 10, 400 * 120, 120 * 84, 84 * 10,
    ]  # fmt: skip
    assert found.multiply_adds == 416_520
    assert found.parameters == model.count_parameters() == 61_706
    assert [r.path for r in found.rows] == [str(i) for i in range(10)]
    assert found.rows[3].output_shape == (1, 16, 10, 10)
    assert found.rows[3].layer == "Conv2d"
    assert found.rows[3].parameters == 2416
    text = str(found)
    assert "416,520" in text
    assert "1 x 16 x 10 x 10" in text
    assert json.loads(json.dumps(found.to_json()))["rows"][0]["output_shape"] == [1, 6, 28, 28]


COSTS = [  # layer, input, multiply-adds
    (nn.Linear(5, 3), (2, 7, 5), 2 * 7 * 5 * 3),
    (nn.Bilinear(5, 4, 3), None, 2 * 3 * 5 * 4 + 2 * 3 * 4),  # x1 W, then that times x2
    (nn.Conv1d(4, 6, 3, groups=2), (2, 4, 9), 2 * 6 * 7 * 2 * 3),
    (nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4), 3 * 27 * 2 * 8),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (2, 4, 5, 5), 2 * 4 * 25 * 3 * 9),
    (nn.RNN(4, 6, 2, batch_first=True), (3, 5, 4), 3 * 5 * (6 * (4 + 6) + 6 * (6 + 6))),
    (nn.LSTM(4, 6, bidirectional=True, batch_first=True), (3, 5, 4), 3 * 5 * 2 * 4 * 6 * (4 + 6)),
    (nn.GRU(4, 6, batch_first=True), (3, 5, 4), 3 * 5 * 3 * 6 * (4 + 6)),
    (nn.GRU(4, 6, reset_after=False, batch_first=True), (3, 5, 4), 3 * 5 * 3 * 6 * (4 + 6)),
    (nn.LSTMCell(4, 6), (3, 4), 3 * 4 * 6 * (4 + 6)),
    (nn.BatchNorm2d(4), (2, 4, 3, 3), 72),
    (nn.LayerNorm(4), (2, 3, 4), 2 * 24),
    (nn.GroupNorm(2, 4), (2, 4, 3), 2 * 24),
    (nn.RMSNorm(4), (2, 3, 4), 2 * 24),
    (nn.ReLU(), (2, 3), 0),
    (nn.MaxPool2d(2), (1, 1, 4, 4), 0),
]


@pytest.mark.parametrize("layer, shape, expected", COSTS, ids=[type(c[0]).__name__ + str(i) for i, c in enumerate(COSTS)])
def test_multiply_adds(layer, shape, expected):
    inputs = [np.zeros((2, 5), "float32"), np.zeros((2, 4), "float32")] if shape is None else [np.zeros(shape, "float32")]
    found = layer.summary(*inputs)
    assert found.multiply_adds == expected
    assert len(found.rows) == 1


def test_summary_leaves_the_model_and_the_random_stream_as_they_were():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model[1].eval()
    before, counter = model.state_dict(), nn.random.default.counter
    model.summary(X)
    assert model.training
    assert not model[1].training
    assert nn.random.default.counter == counter
    assert all(not m._hooks and not m._pre_hooks for m in model.modules())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_summary_after_an_error_leaves_the_backend_whole():
    matmul = nn.backends.B.matmul
    model = lenet5()
    with pytest.raises(ValueError):
        model.summary(np.zeros((1, 3, 28, 28), "float32"))
    assert nn.backends.B.matmul is matmul
    assert all(not m._hooks and not m._pre_hooks for m in model.modules())


def test_summary_counts_what_a_model_computes_itself():
    class Attention(Module):
        def __init__(self):
            self.query = nn.Linear(4, 4)
            self.weight = nn.Parameter(np.ones((4, 6), "float32"))

        def forward(self, x):
            q = self.query(x)
            scores = q @ nn.swapaxes(q, -1, -2)
            return self.query(nn.einsum("bij,bjd->bid", scores, q)) @ self.weight

    found = Attention().summary(np.ones((2, 3, 4), "float32"))
    rows = {r.path: r for r in found.rows}
    assert rows["query"].multiply_adds == 2 * (2 * 3 * 4 * 4)
    assert rows[""].multiply_adds == 2 * 3 * 3 * 4 + 2 * 3 * 3 * 4 + 2 * 3 * 4 * 6
    assert rows[""].parameters == 24
    assert found.parameters == 44
    assert rows[""].output_shape == (2, 3, 6)
