"""Multi-head attention and the Transformer's layers equal PyTorch's: weights, masks, outputs, gradients."""

import math

import numpy as np
import pytest
from layer_parity import compare, load, same, torch

import nnatomy as nn

RNG = np.random.default_rng(6)
N, STEPS, MEMORY, E, HEADS = 3, 5, 4, 8, 2
T = torch.nn


def x(*shape):
    return RNG.normal(size=shape)


class Call:
    """A layer called with arguments next to the compared inputs; arrays among them as this framework has them."""

    def __init__(self, layer, make, call):
        self.layer, self.make, self.call = layer, make, call

    def __call__(self, *inputs):
        return self.call(self.layer, self.make, *inputs)

    def __getattr__(self, key):
        return getattr(self.layer, key)


def both(name, args, options, call, *inputs, dropout=0.0, training=True):
    """Compare a call of both frameworks' layers; `call(layer, make, *inputs)` gives arrays through make()."""
    theirs = getattr(T, name)(*args, dropout=dropout, **{"batch_first": True} | options)
    ours = getattr(nn, name)(*args, dropout=dropout, **{"batch_first": True} | options)
    load(ours, theirs)
    ours.train(training)
    theirs.train(training)
    compare(Call(ours, nn.tensor, call), Call(theirs, torch.tensor, call), *inputs)


HIDDEN = np.triu(np.ones((STEPS, STEPS), bool), 1)
PADDING = np.array([[False] * 5, [False, False, False, True, True], [True, False, False, False, False]])
MASKS = {
    "none": {},
    "boolean": {"attn_mask": HIDDEN},
    "float": {"attn_mask": RNG.normal(size=(STEPS, STEPS))},
    "for each head": {"attn_mask": RNG.normal(size=(N * HEADS, STEPS, STEPS))},
    "padding": {"key_padding_mask": PADDING},
    "padding, float": {"key_padding_mask": np.where(PADDING, -math.inf, 0.3)},
    "both boolean": {"attn_mask": np.roll(HIDDEN, 1, 1), "key_padding_mask": PADDING},
    "both float": {"attn_mask": x(STEPS, STEPS), "key_padding_mask": np.where(PADDING, -math.inf, 0.3)},
}


@pytest.mark.parametrize("weights", ["mean", "each", "none"])
@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
def test_self_attention(masks, weights):
    how = {"need_weights": weights != "none", "average_attn_weights": weights == "mean"}

    def call(layer, make, x):
        out = layer(x, x, x, **{k: make(v) for k, v in masks.items()}, **how)
        return out if how["need_weights"] else out[0]

    both("MultiheadAttention", (E, HEADS), {}, call, x(N, STEPS, E))


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"batch_first": False}])
def test_attention_across(options):
    def of_two(layer, make, q, k):
        return layer(q, k, k)

    def of_three(layer, make, q, k, v):
        return layer(q, k, v, need_weights=False)[0]

    def shape(steps):
        return (N, steps, E) if options.get("batch_first", True) else (steps, N, E)

    both("MultiheadAttention", (E, HEADS), options, of_two, x(*shape(STEPS)), x(*shape(MEMORY)))
    both("MultiheadAttention", (E, HEADS), options, of_three, x(*shape(STEPS)), x(*shape(MEMORY)), x(*shape(MEMORY)))


@pytest.mark.parametrize("options", [
    {"add_bias_kv": True}, {"add_zero_attn": True, "bias": False}, {"kdim": 6, "vdim": 5}, {"kdim": 6, "batch_first": False},
    {"add_bias_kv": True, "add_zero_attn": True, "vdim": 6},
], ids=str)  # fmt: skip
def test_added_keys_and_other_features(options):
    def shape(steps, features):
        return (N, steps, features) if options.get("batch_first", True) else (steps, N, features)

    inputs = x(*shape(STEPS, E)), x(*shape(MEMORY, options.get("kdim", E))), x(*shape(MEMORY, options.get("vdim", E)))
    padding = np.eye(N, MEMORY, dtype=bool)
    for need in (True, False):
        def call(layer, make, q, k, v, need=need):
            return layer(q, k, v, make(padding), need, make(np.triu(np.ones((STEPS, MEMORY), bool), 2)))[: 1 + need]

        both("MultiheadAttention", (E, HEADS), options, call, *inputs)


@pytest.mark.parametrize("options", [{}, {"batch_first": False}, {"add_zero_attn": True}], ids=str)
def test_without_a_batch(options):
    def call(layer, make, q, k):
        return layer(q, k, k, make(np.array([False, True, False, False])), attn_mask=make(x_mask))

    x_mask = np.triu(np.ones((STEPS, MEMORY), bool), 2)
    both("MultiheadAttention", (E, HEADS), options, call, x(STEPS, E), x(MEMORY, E))
    if not options:
        both("TransformerDecoderLayer", (E, HEADS, 12), {}, lambda layer, make, a, m: layer(a, m), x(STEPS, E), x(MEMORY, E))


@pytest.mark.parametrize("need", [False, True])
def test_is_causal_hides_what_comes_after(need):
    theirs, ours = T.MultiheadAttention(E, HEADS, batch_first=True), nn.MultiheadAttention(E, HEADS, batch_first=True)
    load(ours, theirs)
    hidden = torch.tensor(HIDDEN)
    compare(
        Call(ours, None, lambda layer, make, x: layer(x, x, x, need_weights=need, is_causal=True)[0]),
        Call(theirs, None, lambda layer, make, x: layer(x, x, x, attn_mask=hidden, need_weights=need)[0]),
        x(N, STEPS, E),
    )


def test_a_query_that_sees_nothing_gets_the_bias():
    layer = nn.MultiheadAttention(E, HEADS, batch_first=True).eval()
    with nn.no_grad():
        layer.out_proj.bias.copy_(x(E).astype("float32"))
    hidden = np.zeros((STEPS, STEPS), bool)
    hidden[2] = True
    for need in (False, True):
        inputs = nn.tensor(x(N, STEPS, E).astype("float32"), requires_grad=True)
        y, weights = layer(inputs, inputs, inputs, attn_mask=hidden, need_weights=need)
        np.testing.assert_array_equal(y.data[:, 2], np.broadcast_to(layer.out_proj.bias.data, (N, E)))
        assert weights is None or (weights.data[:, 2] == 0).all()
        y.sum().backward()
        assert np.isfinite(inputs.grad.data).all()


def test_weights_are_dropped_in_training_only():
    layer = nn.MultiheadAttention(E, HEADS, dropout=0.5, generator=nn.Generator(3), batch_first=True)
    inputs = x(N, 40, E).astype("float32")
    weights = layer(inputs, inputs, inputs, average_attn_weights=False)[1].data
    full = layer.eval()(inputs, inputs, inputs, average_attn_weights=False)[1].data
    dropped = weights == 0
    assert 0.4 < dropped.mean() < 0.6
    np.testing.assert_allclose(weights[~dropped], 2 * full[~dropped], rtol=1e-5)
    fast = layer(inputs, inputs, inputs, need_weights=False)[0].data
    np.testing.assert_allclose(fast, layer(inputs, inputs, inputs)[0].data, rtol=1e-4, atol=1e-6)
    layer.train()
    assert not np.allclose(layer(inputs, inputs, inputs, need_weights=False)[0].data, fast)


@pytest.mark.parametrize("name, branches", [("TransformerEncoderLayer", 2), ("TransformerDecoderLayer", 3)])
def test_every_branch_is_dropped_by_itself(name, branches):
    """A branch that is dropped with probability 1 leaves x as it is."""
    layer = getattr(nn, name)(E, HEADS, 12, 0.0, norm_first=True, batch_first=True)
    inputs = [nn.tensor(x(N, STEPS, E).astype("float32")) for _ in range(branches - 1)]
    for i in range(1, branches + 1):
        assert not np.allclose(layer(*inputs).data, inputs[0].data)
        getattr(layer, f"dropout{i}").p = 1.0
    np.testing.assert_array_equal(layer(*inputs).data, inputs[0].data)
    getattr(layer, f"dropout{branches}").p = 0.0
    layer.dropout.p = 1.0
    np.testing.assert_allclose(layer(*inputs).data, (inputs[0] + layer.linear2.bias).data, rtol=1e-6)


LAYER_OPTIONS = [
    {},
    {"activation": "gelu"},
    {"norm_first": True},
    {"bias": False, "layer_norm_eps": 1e-3},
    {"batch_first": False, "norm_first": True},
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, on its nested tensors
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", LAYER_OPTIONS)
def test_encoder_layer(options, training):
    shape = (N, STEPS, E) if options.get("batch_first", True) else (STEPS, N, E)
    how = {"training": training}
    both("TransformerEncoderLayer", (E, HEADS, 12), options, lambda layer, make, x: layer(x), x(*shape), **how)

    def masked(layer, make, x):
        return layer(x, make(HIDDEN), make(PADDING))

    both("TransformerEncoderLayer", (E, HEADS, 12), options, masked, x(*shape), **how)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", LAYER_OPTIONS)
def test_decoder_layer(options, training):
    steps, memory = (STEPS, N, E), (MEMORY, N, E)
    if options.get("batch_first", True):
        steps, memory = (N, STEPS, E), (N, MEMORY, E)
    inputs, how = (x(*steps), x(*memory)), {"training": training}
    both("TransformerDecoderLayer", (E, HEADS, 12), options, lambda layer, make, x, m: layer(x, m), *inputs, **how)
    memory_mask, padding = RNG.normal(size=(STEPS, MEMORY)), np.eye(N, MEMORY, dtype=bool)

    def masked(layer, make, x, m):
        return layer(x, m, make(HIDDEN), make(memory_mask), make(PADDING), make(np.where(padding, -math.inf, 0.0)))

    both("TransformerDecoderLayer", (E, HEADS, 12), options, masked, *inputs, **how)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("normed", [False, True])
def test_stacks(normed):
    """Three layers alike at first; then with their own weights."""
    how = {"dropout": 0.0, "norm_first": normed, "batch_first": True}
    ours = nn.TransformerEncoder(nn.TransformerEncoderLayer(E, HEADS, 12, **how), 3, nn.LayerNorm(E) if normed else None)
    layer = T.TransformerEncoderLayer(E, HEADS, 12, **how)
    same(ours, T.TransformerEncoder(layer, 3, T.LayerNorm(E) if normed else None), x(N, STEPS, E))
    ours = nn.TransformerDecoder(nn.TransformerDecoderLayer(E, HEADS, 12, **how), 3, nn.LayerNorm(E) if normed else None)
    layer = T.TransformerDecoderLayer(E, HEADS, 12, **how)
    theirs = T.TransformerDecoder(layer, 3, T.LayerNorm(E) if normed else None)
    same(ours, theirs, x(N, STEPS, E), x(N, MEMORY, E))


def test_stacks_hand_masks_to_every_layer():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(E, HEADS, 12, 0.0, batch_first=True), 2).astype("float64")
    hidden, inputs = HIDDEN, x(N, STEPS, E)
    np.testing.assert_allclose(encoder(inputs, is_causal=True).data, encoder(inputs, hidden).data, rtol=1e-10)
    changed = inputs.copy()
    changed[:, 3:] += 1
    np.testing.assert_allclose(encoder(changed, is_causal=True).data[:, :3], encoder(inputs, hidden).data[:, :3], rtol=1e-10)
    changed = np.where(PADDING[..., None], inputs + 1, inputs)
    seen = [encoder(v, None, PADDING).data[~PADDING] for v in (inputs, changed)]
    np.testing.assert_allclose(*seen, rtol=1e-10)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(E, HEADS, 12, 0.0, batch_first=True), 2).astype("float64")
    memory = x(N, STEPS, E)
    moved = np.where(PADDING[..., None], memory + 1, memory)
    first = decoder(inputs, memory, memory_key_padding_mask=PADDING, tgt_is_causal=True).data
    np.testing.assert_allclose(first, decoder(inputs, moved, None, None, None, PADDING, True).data, rtol=1e-10)
    np.testing.assert_allclose(first, decoder(inputs, memory, HIDDEN, None, None, PADDING).data, rtol=1e-10)
    across = decoder(inputs, memory, memory_is_causal=True).data
    np.testing.assert_allclose(across, decoder(inputs, memory, None, HIDDEN).data, rtol=1e-10)


def test_copies_start_alike_learn_apart_and_share_a_generator():
    generator = nn.Generator(1)
    layer = nn.TransformerEncoderLayer(E, HEADS, 12, 0.5, generator=generator, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2)
    first, second = encoder.layers
    np.testing.assert_array_equal(first.linear1.weight.data, second.linear1.weight.data)
    assert first.linear1.weight is not second.linear1.weight
    assert first.dropout._generator is second.dropout._generator is generator


@pytest.mark.parametrize("name, args", [("MultiheadAttention", (8, 2)), ("TransformerEncoderLayer", (8, 2)),
                                        ("TransformerDecoderLayer", (8, 2))])  # fmt: skip
def test_initial_weights_follow_pytorchs_law(name, args):
    from scipy import stats

    torch.manual_seed(0)
    args = (64, *args[1:])
    ours = getattr(nn, name)(*args, generator=nn.Generator(1)).state_dict()
    theirs = {k: v.numpy() for k, v in getattr(T, name)(*args).state_dict().items()}
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        assert value.dtype == np.float32
        if np.ptp(theirs[key]) == 0:
            np.testing.assert_array_equal(value, theirs[key])
        else:
            assert stats.ks_2samp(value.ravel(), theirs[key].ravel()).pvalue > 1e-3, key


def test_positions():
    layer = nn.SinusoidalPositionalEncoding(6)
    table = layer(np.zeros((2, 9, 6)))
    for t in range(9):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            np.testing.assert_allclose(table[:, t, 2 * i : 2 * i + 2], [[math.sin(angle), math.cos(angle)]] * 2, rtol=1e-12)
    np.testing.assert_array_equal(layer(np.zeros((4, 6))), table[0, :4])
    np.testing.assert_allclose(layer(np.zeros((12, 6)))[:9], table[0], rtol=1e-12)
    inputs = nn.tensor(x(2, 9, 5).astype("float32"), requires_grad=True)
    y = nn.SinusoidalPositionalEncoding(5)(inputs)
    assert y.dtype == np.float32
    y.sum().backward()
    np.testing.assert_array_equal(inputs.grad.data, 1)
    assert nn.SinusoidalPositionalEncoding(5).state_dict() == {}


def test_summary_counts_what_attention_multiplies():
    layer = nn.MultiheadAttention(E, HEADS, batch_first=True)
    inputs = np.zeros((N, STEPS, E), "float32")
    products = N * STEPS * E * E * 4
    pairs = N * STEPS * STEPS * E * 2
    assert nn.TransformerEncoderLayer(E, HEADS, 12, batch_first=True).summary(inputs).multiply_adds == (
        products + pairs + 2 * N * STEPS * E * 12 + 2 * 2 * N * STEPS * E
    )

    class Causal(nn.Module):
        def forward(self, q, k):
            return nn.scaled_dot_product_attention(q, k, k, causal=True)

    for queries, keys in ((5, 5), (3, 5), (5, 3)):
        seen = sum(min(i + 1, keys) for i in range(queries))
        got = Causal().summary(np.zeros((N, queries, E), "float32"), np.zeros((N, keys, E), "float32")).multiply_adds
        assert got == N * seen * 2 * E
    assert layer.count_parameters() == 4 * E * E + 4 * E


WRONG = [
    (lambda: nn.MultiheadAttention(8, 3, batch_first=True), "3 heads"),
    (lambda: nn.MultiheadAttention(8, 0, batch_first=True), "num_heads"),
    (lambda: nn.MultiheadAttention(8, 2, dropout=2.0, batch_first=True), "between 0 and 1"),
    (lambda: nn.TransformerEncoderLayer(8, 2, 0, batch_first=True), "dim_feedforward"),
    (lambda: nn.TransformerDecoderLayer(8, 2, activation="silu", batch_first=True), "'silu'"),
    (lambda: nn.TransformerEncoder(nn.Identity(), 0), "num_layers"),
    (lambda: nn.MultiheadAttention(8, 2, batch_first=True)(x(8), x(8), x(8)), r"\(batch, steps, 8\)"),
    (lambda: nn.MultiheadAttention(8, 2, batch_first=True)(x(1, 5, 8), x(1, 4, 8), x(1, 3, 8)), "as many keys as values"),
    (lambda: nn.MultiheadAttention(8, 2, batch_first=True)(*[x(2, 5, 8)] * 3, attn_mask=HIDDEN[:4]),
     r"\(5, 5\) or \(4, 5, 5\)"),
    (lambda: nn.MultiheadAttention(8, 2, batch_first=True)(*[x(2, 5, 8)] * 3, PADDING), r"\(2, 5\): batch, keys"),
    (lambda: nn.SinusoidalPositionalEncoding(8)(x(5, 6)), "8 features"),
    (lambda: nn.SinusoidalPositionalEncoding(8)(x(8)), "steps"),
]


@pytest.mark.parametrize("call, words", WRONG)
def test_wrong_arguments_are_told(call, words):
    with pytest.raises(nn.UserError, match=words):
        call()
