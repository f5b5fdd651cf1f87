"""Every layer equals PyTorch's: one line a case."""

import warnings

import numpy as np
import pytest
from layer_parity import close, compare, load, same, torch

import nnatomy as nn

RNG = np.random.default_rng(4)
T = torch.nn


def x(*shape):
    return RNG.normal(size=shape)


def ids(*shape, high=7):
    return RNG.integers(0, high, shape)


IMAGES = {1: (2, 4, 9), 2: (2, 4, 7, 6), 3: (2, 4, 5, 4, 6)}

SIGNS = np.array([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])

CASES = [  # class, positional arguments, keyword arguments, inputs
    ("Identity", (), {}, [x(2, 3)]),
    ("Flatten", (), {}, [x(2, 3, 4)]),
    ("Flatten", (0, 1), {}, [x(2, 3, 4)]),
    ("Unflatten", (1, (2, 3)), {}, [x(4, 6, 2)]),
    ("Unflatten", (-1, (2, -1)), {}, [x(4, 6)]),
    ("Linear", (5, 3), {}, [x(4, 5)]),
    ("Linear", (5, 3), {"bias": False}, [x(4, 5)]),
    ("Linear", (5, 3), {}, [x(5)]),
    ("Linear", (5, 3), {}, [x(2, 3, 4, 5)]),
    ("Linear", (5, 3), {}, [x(0, 5)]),
    ("Bilinear", (5, 3, 2), {}, [x(4, 5), x(4, 3)]),
    ("Bilinear", (5, 3, 2), {"bias": False}, [x(2, 4, 5), x(2, 4, 3)]),
    *[
        (f"Conv{n}d", (4, 6, 3), options, [x(*IMAGES[n])])
        for n in (1, 2, 3)
        for options in (
            {},
            {"stride": 2, "padding": 1},
            {"dilation": 2, "bias": False, "padding": 2},
            {"groups": 2, "padding": "same"},
            {"padding": "valid", "groups": 2},
            {"padding": 1, "padding_mode": "circular"},
            {"padding": 2, "padding_mode": "reflect"},
            {"padding": "same", "padding_mode": "replicate", "dilation": 2},
        )
    ],
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}, [x(2, 4, 7, 6)]),
    ("Conv2d", (4, 8, 1), {"groups": 4}, [x(2, 4, 5, 5)]),
    *[
        (f"ConvTranspose{n}d", (4, 6, 3), options, [x(*IMAGES[n])])
        for n in (1, 2, 3)
        for options in ({}, {"stride": 2, "padding": 1, "output_padding": 1}, {"dilation": 2, "bias": False}, {"groups": 2})
    ],
    ("ConvTranspose2d", (4, 2, (3, 4)), {"stride": (1, 3), "output_padding": (0, 2)}, [x(2, 4, 3, 5)]),
    *[
        (f"{kind}Pool{n}d", (3,), options, [x(*IMAGES[n])])
        for n in (1, 2, 3)
        for kind in ("Max", "Avg")
        for options in ({}, {"stride": 2, "padding": 1}, {"ceil_mode": True}, {"ceil_mode": True, "stride": 2, "padding": 1})
    ],
    *[(f"MaxPool{n}d", (2,), {"dilation": 2, "stride": 1}, [x(*IMAGES[n])]) for n in (1, 2, 3)],
    ("MaxPool2d", (2, 3), {"ceil_mode": True}, [x(2, 4, 6, 6)]),
    ("MaxPool2d", (3, 2), {"ceil_mode": True, "dilation": 2}, [x(2, 4, 8, 7)]),
    ("MaxPool2d", (2,), {}, [np.zeros((1, 2, 4, 4))]),
    *[
        (f"AvgPool{n}d", (3,), {"count_include_pad": False, "padding": 1, "stride": 2, "ceil_mode": ceil}, [x(*IMAGES[n])])
        for n in (1, 2, 3)
        for ceil in (False, True)
    ],
    *[
        (f"Adaptive{kind}Pool{n}d", (size,), {}, [x(*IMAGES[n])])
        for n in (1, 2, 3)
        for kind in ("Max", "Avg")
        for size in (1, 3, 4)
    ],
    ("AdaptiveMaxPool2d", (3,), {}, [np.zeros((1, 2, 5, 7))]),
    ("AdaptiveMaxPool2d", (3,), {}, [np.zeros((1, 2, 6, 9))]),
    ("AdaptiveAvgPool2d", ((None, 2),), {}, [x(2, 4, 7, 6)]),
    ("AdaptiveMaxPool2d", ((3, None),), {}, [x(2, 4, 7, 6)]),
    *[("Upsample", (), {"scale_factor": 2}, [x(*IMAGES[n])]) for n in (1, 2, 3)],
    *[("Upsample", (11 if n == 1 else (11, 5, 9)[:n],), {}, [x(*IMAGES[n])]) for n in (1, 2, 3)],
    *[
        ("Upsample", (), {**how, "mode": mode, "align_corners": corners}, [x(*IMAGES[n])])
        for n, mode in ((1, "linear"), (2, "bilinear"), (2, "bicubic"), (3, "trilinear"))
        for how in ({"size": 9 if n == 1 else (9, 5, 7)[:n]}, {"scale_factor": 2}, {"scale_factor": 1.5})
        for corners in (False, True)
    ],
    *[
        (f"BatchNorm{n}d", (4,), options, [x(*IMAGES[n]) * 3 + 1])
        for n in (1, 2, 3)
        for options in (
            {}, {"affine": False, "eps": 1e-3}, {"momentum": 0.3}, {"track_running_stats": False}, {"momentum": None}
        )
    ],
    ("BatchNorm1d", (4,), {}, [x(5, 4) * 3 + 1]),
    *[
        (f"InstanceNorm{n}d", (4,), options, [x(*IMAGES[n]) * 3 + 1])
        for n in (1, 2, 3)
        for options in ({}, {"affine": True}, {"affine": True, "track_running_stats": True, "momentum": 0.3})
    ],
    ("LayerNorm", (5,), {}, [x(4, 3, 5)]),
    ("LayerNorm", ((3, 5),), {"eps": 1e-3}, [x(4, 3, 5)]),
    ("LayerNorm", (5,), {"elementwise_affine": False}, [x(4, 3, 5)]),
    ("LayerNorm", (5,), {"bias": False}, [x(4, 3, 5)]),
    ("RMSNorm", (5,), {}, [x(4, 3, 5)]),
    ("RMSNorm", ((3, 5),), {"eps": 1e-3, "elementwise_affine": False}, [x(4, 3, 5)]),
    ("GroupNorm", (2, 4), {}, [x(2, 4, 5)]),
    ("GroupNorm", (4, 4), {"affine": False, "eps": 1e-2}, [x(2, 4, 3, 5)]),
    ("GroupNorm", (1, 4), {}, [x(3, 4)]),
    ("LocalResponseNorm", (3,), {"alpha": 0.5}, [x(2, 4, 3, 5)]),
    ("Embedding", (7, 3), {}, [ids(4, 5)]),
    ("Embedding", (7, 3), {"padding_idx": 2}, [ids(4, 5)]),
    ("Embedding", (7, 3), {"padding_idx": -1, "max_norm": 1.0}, [ids(3)]),
    ("Embedding", (7, 3), {"max_norm": 0.5, "norm_type": 1.0}, [ids(2, 2, 2)]),
    *[(name, (), {}, [x(3, 4, 5) * 3]) for name in (
        "CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish", "PReLU",
        "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink",
    )],
    ("GLU", (), {}, [x(3, 4, 6)]),
    ("GLU", (1,), {}, [x(3, 4, 5)]),
    ("CELU", (0.5,), {}, [x(3, 4)]),
    ("ELU", (0.5,), {}, [x(3, 4)]),
    ("GELU", ("tanh",), {}, [x(3, 4)]),
    ("Hardtanh", (-0.5, 0.2), {}, [x(3, 4)]),
    ("LeakyReLU", (0.2,), {}, [x(3, 4)]),
    ("PReLU", (4, 0.1), {}, [x(3, 4, 5)]),
    ("Softplus", (2.0, 1.0), {}, [x(3, 4)]),
    ("Softshrink", (0.2,), {}, [x(3, 4)]),
    ("Hardshrink", (0.2,), {}, [x(3, 4)]),
    ("Softmax", (1,), {}, [x(3, 4, 5)]),
    ("LogSoftmax", (-1,), {}, [x(3, 4, 5)]),
    ("Softmin", (0,), {}, [x(3, 4, 5)]),
    ("MSELoss", (), {}, [x(3, 4), x(3, 4)]),
    ("L1Loss", (), {"reduction": "sum"}, [x(3, 4), x(3, 4)]),
    ("HuberLoss", ("none", 0.5), {}, [x(3, 4), x(3, 4)]),
    ("SmoothL1Loss", (), {"beta": 0.5}, [x(3, 4), x(3, 4)]),
    ("BCELoss", (), {}, [RNG.uniform(0.1, 0.9, (3, 4)), RNG.uniform(size=(3, 4))]),
    ("BCEWithLogitsLoss", (), {}, [x(3, 4), RNG.uniform(size=(3, 4))]),
    ("CrossEntropyLoss", (), {}, [x(5, 4), ids(5, high=4)]),
    ("CrossEntropyLoss", (), {"label_smoothing": 0.1, "ignore_index": 1}, [x(5, 4, 3), ids(5, 3, high=4)]),
    ("NLLLoss", (), {"ignore_index": 1}, [x(6, 4), np.array([0, 1, 2, 3, 1, 0])]),
    ("MultiMarginLoss", (2, 0.5), {}, [x(5, 4), ids(5, high=4)]),
    ("KLDivLoss", (), {"reduction": "batchmean"}, [x(3, 4), RNG.uniform(0.1, 1, (3, 4))]),
    ("KLDivLoss", (), {"reduction": "sum", "log_target": True}, [x(3, 4), x(3, 4)]),
    ("CosineEmbeddingLoss", (0.2,), {}, [x(3, 4), x(3, 4), np.array([1, -1, -1])]),
    ("TripletMarginLoss", (), {"swap": True}, [x(3, 4), x(3, 4), x(3, 4)]),
    # without a batch
    *[(f"{name}{n}d", args, {}, [x(*IMAGES[n][1:])]) for n in (1, 2, 3) for name, args in (
        ("Conv", (4, 6, 3)), ("ConvTranspose", (4, 6, 3, 2)), ("MaxPool", (2,)), ("AvgPool", (2,)), ("AdaptiveAvgPool", (3,)),
        ("AdaptiveMaxPool", (3,)), ("InstanceNorm", (4,)), ("ReplicationPad", (1,)),
    )],
    ("Conv2d", (4, 6, 3), {"padding": 2, "padding_mode": "circular"}, [x(4, 7, 6)]),
    ("MaxPool2d", (2,), {"return_indices": True}, [x(4, 7, 6)]),
    # places of maxima
    *[(f"MaxPool{n}d", (3,), {**how, "return_indices": True}, [x(*IMAGES[n])]) for n in (1, 2, 3)
      for how in ({}, {"stride": 2, "padding": 1}, {"ceil_mode": True, "stride": 2}, {"stride": 1})],
    ("MaxPool2d", ((2, 3), (1, 2), (1, 0), (2, 1)), {"return_indices": True}, [x(2, 4, 8, 7)]),
    ("MaxPool2d", (2,), {"return_indices": True}, [np.zeros((1, 2, 4, 4))]),
    *[(f"AdaptiveMaxPool{n}d", (size,), {"return_indices": True}, [x(*IMAGES[n])]) for n in (1, 2, 3) for size in (1, 3, 4)],
    *[(f"AvgPool{n}d", (3,), {"divisor_override": 5, **how}, [x(*IMAGES[n])]) for n in (2, 3)
      for how in ({}, {"padding": 1, "stride": 2, "ceil_mode": True}, {"count_include_pad": False, "padding": 1})],
    # norms without a bias
    *[(name, args, {"bias": False}, [x(*shape) * 3 + 1]) for name, args, shape in (
        ("BatchNorm1d", (4,), (5, 4)), ("BatchNorm2d", (4,), IMAGES[2]), ("BatchNorm3d", (4,), IMAGES[3]),
        ("GroupNorm", (2, 4), (2, 4, 5)),
    )],
    *[(f"InstanceNorm{n}d", (4,), {"bias": False, "affine": True}, [x(*IMAGES[n])]) for n in (1, 2, 3)],
    # padding
    *[(f"{kind}Pad{n}d", (widths, *((0.7,) if kind == "Constant" else ())), {}, [x(*IMAGES[n])])
      for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular") for n in (1, 2, 3)
      for widths in (1, tuple(range(1, 3)) * n)],
    ("ReflectionPad2d", ((1, 0, 2, 3),), {}, [x(4, 7, 6)]),
    ("CircularPad2d", ((6, 0, 7, 3),), {}, [x(1, 4, 7, 6)]),
    ("ZeroPad2d", ((-1, 2, -3, 0),), {}, [x(2, 4, 7, 6)]),
    ("ConstantPad1d", ((-2, -3), 1.0), {}, [x(2, 4, 7)]),
    # places, channels and patches
    ("PixelShuffle", (2,), {}, [x(2, 8, 3, 4)]),
    ("PixelShuffle", (3,), {}, [x(9, 3, 4)]),
    ("PixelUnshuffle", (2,), {}, [x(2, 3, 4, 6)]),
    ("PixelUnshuffle", (3,), {}, [x(2, 2, 3, 6, 3)]),
    ("ChannelShuffle", (2,), {}, [x(2, 6, 3, 4)]),
    ("Unfold", (3,), {}, [x(2, 4, 7, 6)]),
    ("Unfold", ((2, 3),), {"dilation": (2, 1), "padding": (1, 0), "stride": (1, 2)}, [x(2, 4, 7, 6)]),
    ("Unfold", (2,), {}, [x(4, 7, 6)]),
    ("Fold", ((7, 6), 3), {}, [x(2, 36, 20)]),
    ("Fold", ((7, 6), (2, 3)), {"dilation": (2, 1), "padding": (1, 0), "stride": (1, 2)}, [x(2, 24, 14)]),
    ("Fold", (6, 2), {"stride": 3}, [x(8, 4)]),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}, [x(2, 4, 7, 6)]),
    ("UpsamplingBilinear2d", ((9, 5),), {}, [x(2, 4, 7, 6)]),
    ("Upsample", (), {"scale_factor": (2.0, 1.5), "mode": "bilinear"}, [x(2, 4, 7, 6)]),
    # tables
    ("Embedding", (7, 3), {"scale_grad_by_freq": True, "padding_idx": 1}, [np.array([[0, 1, 2], [2, 2, 5]])]),
    *[("EmbeddingBag", (7, 3), {"mode": mode, **how}, [ids(4, 5)]) for mode in ("mean", "sum", "max")
      for how in ({}, {"padding_idx": 2}, {"max_norm": 1.0})],
    *[("EmbeddingBag", (7, 3), {"mode": mode, "padding_idx": pad}, [ids(9), np.array([0, 2, 2, 8])])
      for mode in ("mean", "sum", "max") for pad in (None, 3)],
    ("EmbeddingBag", (7, 3), {"include_last_offset": True}, [ids(9), np.array([0, 2, 9])]),
    # activations
    ("Threshold", (0.1, -2.0), {}, [x(3, 4)]),
    ("Softmax2d", (), {}, [x(2, 3, 4, 5)]),
    ("Softmax2d", (), {}, [x(3, 4, 5)]),
    # losses and distances
    ("MarginRankingLoss", (0.3,), {}, [x(6), x(6), SIGNS]),
    ("HingeEmbeddingLoss", (0.7,), {}, [x(6), SIGNS]),
    ("HingeEmbeddingLoss", (), {"reduction": "sum"}, [x(6), np.array([1.0, -1.0, 0.5, 1.0, -1.0, 0.0])]),
    ("MultiLabelSoftMarginLoss", (), {}, [x(5, 4), ids(5, 4, high=2).astype("float64")]),
    ("MultiLabelMarginLoss", (), {}, [x(3, 4), np.array([[3, 0, -1, 1], [-1, 0, 1, 2], [0, 1, 2, 3]])]),
    ("MultiLabelMarginLoss", ("none",), {}, [x(4), np.array([3, 0, -1, 1])]),
    *[("GaussianNLLLoss", (), how, [x(5, 4), x(5, 4), RNG.uniform(0.1, 2, shape)])
      for how in ({}, {"full": True, "reduction": "sum"}) for shape in ((5, 4), (5, 1), (5,))],
    ("GaussianNLLLoss", (), {"eps": 0.5}, [x(5, 4), x(5, 4), RNG.uniform(0.1, 2, (5, 4))]),
    ("PoissonNLLLoss", (), {}, [x(5, 4), ids(5, 4).astype("float64")]),
    ("PoissonNLLLoss", (), {"full": True, "reduction": "none"}, [x(5, 4), ids(5, 4).astype("float64") + 0.5]),
    ("PoissonNLLLoss", (False,), {"eps": 1e-3}, [np.abs(x(5, 4)), ids(5, 4).astype("float64")]),
    ("TripletMarginWithDistanceLoss", (), {"swap": True, "margin": 0.7}, [x(3, 4), x(3, 4), x(3, 4)]),
    ("SoftMarginLoss", (), {}, [x(6), SIGNS.astype("int64")]),
    ("CosineSimilarity", (), {}, [x(3, 4), x(3, 4)]),
    *[
        (f"LPPool{n}d", (p, 3), options, [np.abs(x(*IMAGES[n])) + 0.1])
        for n in (1, 2, 3)
        for p in (1, 2, 3.5)
        for options in ({}, {"stride": 2, "ceil_mode": True})
    ],
    ("LPPool2d", (2, (3, 2), (1, 2)), {}, [x(2, 4, 7, 6)]),
    ("LPPool2d", (2, 3), {}, [x(4, 7, 6)]),
    ("RReLU", (0.2, 0.2), {}, [x(3, 4)]),
    ("AdaptiveLogSoftmaxWithLoss", (16, 12, [4, 8]), {}, [x(10, 16), ids(10, high=12)]),
    ("AdaptiveLogSoftmaxWithLoss", (16, 12, [3]), {"div_value": 2.0, "head_bias": True}, [x(9, 16), ids(9, high=12)]),
    ("AdaptiveLogSoftmaxWithLoss", (16, 12, [4, 8]), {}, [x(16), np.array(9)]),
    ("AdaptiveLogSoftmaxWithLoss", (16, 12, [4, 8]), {}, [x(3, 16), np.array([1, 3, 9])]),
    ("CosineSimilarity", (-1, 1e-3), {}, [x(3, 4, 2), x(3, 4, 2)]),
    ("PairwiseDistance", (), {}, [x(3, 4), x(3, 4)]),
    ("PairwiseDistance", (1.0,), {"keepdim": True}, [x(3, 4), x(3, 4)]),
]  # fmt: skip


@pytest.mark.parametrize("name, args, options, inputs", CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_layer(name, args, options, inputs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's remarks on even kernels with padding="same"
        theirs = getattr(T, name)(*args, **options)
        rounded = name in ("CELU", "Hardsigmoid")  # PyTorch keeps a constant in float32 there
        same(getattr(nn, name)(*args, **options), theirs, *inputs, tolerance=1e-7 if rounded else 1e-10)


SHARED = {case[0] for case in CASES}


def test_every_layer_has_a_case():
    ours = {n for n in nn.layers.__all__ if isinstance(getattr(nn, n), type) and issubclass(getattr(nn, n), nn.Module)}
    elsewhere = {  # this file's PyTorch twin is missing; each has its own test
        "Module", "Sequential", "RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell", "StochasticDepth", "Step", "Maxout",
        "DiceLoss", "HingeLoss", "InfoNCELoss", "SigmoidFocalLoss", "MultiheadAttention",
        "SinusoidalPositionalEncoding", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
        "TransformerEncoderLayer", "BasicBlock", "Bottleneck", "MessagePassing", "GATConv", "GCNConv", "GINConv", "SAGEConv",
        "DepthwiseSeparable", "InvertedResidual", "SqueezeExcitation", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d",
        "AlphaDropout", "FeatureAlphaDropout", "FractionalMaxPool2d", "FractionalMaxPool3d",
        "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "Transformer", "CTCLoss", "MaxUnpool1d",
        "MaxUnpool2d", "MaxUnpool3d",
    }  # fmt: skip
    assert ours == SHARED | elsewhere


@pytest.mark.parametrize(
    "axes, args, options, shape",
    [
        *[
            (2, args, how, (2, 4, 9, 8))
            for args in ((2,), ((3, 2),))
            for how in ({"output_size": 4}, {"output_size": (5, 3), "return_indices": True}, {"output_ratio": (0.5, 0.6)})
        ],
        (3, (2, 3), {}, (2, 4, 7, 8, 6)),
        (3, (2, (1, 3, 2)), {"return_indices": True}, (2, 4, 5, 8, 6)),
    ],
)
def test_fractional_pooling_at_the_same_places(axes, args, options, shape):
    samples, name = RNG.uniform(size=(2, 4, axes)), f"FractionalMaxPool{axes}d"
    theirs = getattr(T, name)(*args, **options, _random_samples=torch.tensor(samples))
    compare(getattr(nn, name)(*args, **options, _random_samples=samples), theirs, x(*shape))


def test_fractional_pooling_draws_its_places():
    image = np.arange(81.0).reshape(1, 1, 9, 9)
    layer = nn.FractionalMaxPool2d(2, 5)
    found = [layer(nn.tensor(image)).numpy()[0, 0] for _ in range(40)]
    assert len({y.tobytes() for y in found}) > 5
    for y in found:
        assert y.shape == (5, 5)
        assert y[-1, -1] == 80
        assert set(np.diff(y, axis=1).reshape(-1)) <= {1.0, 2.0}


def test_dropped_channels_keep_the_moments_of_selu():
    """Whole channels of (batch, channels, ...) become the same limit, and mean and variance stay those of the input."""
    nn.seed(0)
    y = nn.FeatureAlphaDropout(0.3)(nn.tensor(RNG.normal(size=(400, 50, 3)))).numpy()
    dropped = np.ptp(y, axis=2) < 1e-6
    assert dropped.mean() == pytest.approx(0.3, abs=0.01)
    assert (y.mean(), y.var()) == pytest.approx((0, 1), abs=0.03)
    torch.manual_seed(0)
    twin = T.FeatureAlphaDropout(0.3)(torch.tensor(RNG.normal(size=(400, 50, 3)))).numpy()
    np.testing.assert_allclose(np.unique(y[dropped]).mean(), np.unique(twin[np.ptp(twin, axis=2) < 1e-6]).mean(), rtol=1e-6)
    layer = nn.FeatureAlphaDropout(0.3).eval()
    np.testing.assert_array_equal(layer(nn.tensor(y)).numpy(), y)


def test_random_slopes_are_uniform_in_training_and_their_mean_after_it():
    nn.seed(0)
    layer, minus = nn.RReLU(0.1, 0.5), nn.tensor(-np.ones(20_000))
    slopes = -layer(minus).numpy()
    assert 0.1 <= slopes.min() < 0.101 < 0.499 < slopes.max() <= 0.5
    assert slopes.mean() == pytest.approx(0.3, abs=0.005)
    np.testing.assert_allclose(layer.eval()(minus).numpy(), -0.3)
    np.testing.assert_array_equal(nn.RReLU()(nn.tensor([0.0, 2.0])).numpy(), [0.0, 2.0])


@pytest.mark.parametrize("shape", [(7, 16), (2, 16)])
def test_adaptive_softmax_gives_all_probabilities(shape):
    ours, theirs = (m.AdaptiveLogSoftmaxWithLoss(16, 12, [4, 8]) for m in (nn, T))
    load(ours, theirs)
    a = x(*shape)
    found = ours.log_prob(nn.tensor(a)).numpy()
    close(found, theirs.log_prob(torch.tensor(a)).detach().numpy(), "all")
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
    np.testing.assert_array_equal(ours.predict(nn.tensor(a)).numpy(), theirs.predict(torch.tensor(a)).numpy())
    y = np.arange(len(a)) % 12
    compiled = nn.compile(lambda a, y: ours(a, y).loss)(nn.tensor(a), nn.tensor(y))
    assert float(compiled) == pytest.approx(theirs(torch.tensor(a), torch.tensor(y)).loss.item())
    with pytest.raises(nn.UserError, match="Received 0 to 12"):
        ours(nn.tensor(a), nn.tensor(np.arange(len(a)) % 2 * 12))


@pytest.mark.parametrize(
    "layer, function, inputs",
    [
        (nn.Step(), nn.functional.step, [x(3, 4)]),
        (nn.Maxout(2), lambda a: nn.functional.maxout(a, 2), [x(3, 4)]),
        (nn.DiceLoss(0.5), lambda a, b: nn.functional.dice_loss(a, b, 0.5), [x(2, 3, 4), x(2, 3, 4)]),
        (nn.HingeLoss(0.5), lambda a, b: nn.functional.hinge_loss(a, b, 0.5), [x(3, 4), x(3, 4)]),
        (nn.SoftMarginLoss("sum"), lambda a, b: nn.functional.soft_margin_loss(a, b, "sum"), [x(3, 4), x(3, 4)]),
        (nn.InfoNCELoss(0.5), lambda a, b: nn.functional.info_nce_loss(a, b, 0.5), [x(3, 4), x(3, 4)]),
        (
            nn.SigmoidFocalLoss(0.5, 1.0, "sum"),
            lambda a, b: nn.functional.sigmoid_focal_loss(a, b, 0.5, 1.0, "sum"),
            [x(3, 4), x(3, 4)],
        ),
    ],
)
def test_layers_without_a_twin_pass_their_arguments_on(layer, function, inputs):
    np.testing.assert_array_equal(layer(*inputs), function(*inputs))


def test_weighted_losses_keep_their_weights_as_buffers():
    w, v = RNG.uniform(size=4), RNG.uniform(size=4)
    y = ids(5, high=4)
    same(nn.CrossEntropyLoss(w), T.CrossEntropyLoss(torch.tensor(w)), x(5, 4), y)
    same(nn.NLLLoss(nn.tensor(w)), T.NLLLoss(torch.tensor(w)), x(5, 4), y)
    same(nn.MultiMarginLoss(weight=w), T.MultiMarginLoss(weight=torch.tensor(w)), x(5, 4), y)
    same(nn.BCELoss(w), T.BCELoss(torch.tensor(w)), RNG.uniform(0.1, 0.9, (3, 4)), RNG.uniform(size=(3, 4)))
    theirs = T.BCEWithLogitsLoss(torch.tensor(w), pos_weight=torch.tensor(v))
    same(nn.BCEWithLogitsLoss(w, pos_weight=v), theirs, x(3, 4), RNG.uniform(size=(3, 4)))


LAWS = [
    ("Linear", (30, 400)),
    ("Bilinear", (10, 12, 100)),
    ("Conv1d", (8, 200, 5)),
    ("Conv2d", (8, 100, 3)),
    ("Conv3d", (4, 100, 3)),
    ("ConvTranspose1d", (100, 30, 5)),
    ("ConvTranspose2d", (100, 10, 3)),
    ("ConvTranspose3d", (100, 4, 3)),
    ("Embedding", (200, 50)),
    ("RNNCell", (40, 60)),
    ("LSTM", (40, 60)),
    ("GRU", (40, 60)),
]


@pytest.mark.parametrize("name, args", LAWS)
def test_initial_weights_follow_pytorchs_law(name, args):
    torch.manual_seed(0)
    from scipy import stats

    ours = getattr(nn, name)(*args, generator=nn.Generator(1)).state_dict()
    theirs = {k: v.numpy() for k, v in getattr(T, name)(*args).state_dict().items()}
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert value.dtype == np.float32
        assert stats.ks_2samp(value.ravel(), theirs[key].ravel()).pvalue > 1e-3, key
    again = getattr(nn, name)(*args, generator=nn.Generator(1)).state_dict()
    assert all((again[k] == v).all() for k, v in ours.items())


WRONG_CONSTRUCTORS = [
    (lambda: nn.Linear(0, 3), "in_features to be a whole number above 0. Received 0"),
    (lambda: nn.Linear(3, 2.5), "Received 2.5"),
    (lambda: nn.Conv2d(4, 6, 3, groups=3), "3 groups"),
    (lambda: nn.Conv2d(4, 6, (3, 3, 3)), "one whole number, or 2"),
    (lambda: nn.Conv2d(4, 6, 3, padding="some"), "'some'"),
    (lambda: nn.Conv2d(4, 6, 3, padding="same", stride=2), "stride 1"),
    (lambda: nn.Conv2d(4, 6, 3, padding_mode="mirror"), "'mirror'"),
    (lambda: nn.Conv2d(4, 6, 3, stride=0), "stride"),
    (lambda: nn.ConvTranspose2d(4, 6, 3, output_padding=1), "below stride"),
    (lambda: nn.ConvTranspose2d(4, 6, 3, padding_mode="circular"), "zeros"),
    (lambda: nn.MaxPool2d(2, padding=2), "half the kernel"),
    (lambda: nn.AdaptiveAvgPool2d(0), "output_size"),
    (lambda: nn.Upsample(), "either size or scale_factor"),
    (lambda: nn.Upsample(scale_factor=2, mode="cubic"), "'cubic'"),
    (lambda: nn.Upsample(scale_factor=2, align_corners=True), "align_corners"),
    (lambda: nn.BatchNorm2d(-1), "num_features"),
    (lambda: nn.GroupNorm(3, 4), "3 groups"),
    (lambda: nn.LayerNorm(()), "normalized_shape"),
    (lambda: nn.Dropout(1.2), "between 0 and 1"),
    (lambda: nn.StochasticDepth(0.5, "col"), "'col'"),
    (lambda: nn.Embedding(5, 3, padding_idx=5), "5 rows"),
    (lambda: nn.Hardtanh(1, -1), "below max_val"),
    (lambda: nn.GELU("fast"), "'fast'"),
    (lambda: nn.MSELoss("avg"), "'avg'"),
    (lambda: nn.RNN(3, 4, nonlinearity="gelu", batch_first=True), "'gelu'"),
    (lambda: nn.LSTM(3, 4, dropout=0.5, batch_first=True), "num_layers above 1"),
    (lambda: nn.GRU(3, 0, batch_first=True), "hidden_size"),
]
WRONG_INPUTS = [
    (lambda: nn.Linear(3, 2)(x(4, 5)), r"3 features on the last axis. Received shape \(4, 5\)"),
    (lambda: nn.Bilinear(3, 2, 2)(x(4, 3), x(5, 2)), "agree"),
    (lambda: nn.Conv2d(4, 6, 3)(x(2, 3, 5, 5)), r"\(batch, 4, height, width\)"),
    (lambda: nn.Conv1d(4, 6, 3)(x(5, 5)), r"\(batch, 4, length\)"),
    (lambda: nn.MaxPool2d(2)(x(4, 4)), r"\(batch, channels, height, width\)"),
    (lambda: nn.BatchNorm2d(4)(x(2, 4, 5)), "BatchNorm2d takes"),
    (lambda: nn.BatchNorm1d(4)(x(1, 4)), "larger batch"),
    (lambda: nn.LayerNorm(4)(x(2, 5)), r"\(4,\)"),
    (lambda: nn.GroupNorm(2, 4)(x(2, 6, 3)), r"\(batch, 4"),
    (lambda: nn.Embedding(5, 3)(np.array([0, 5])), "from 0 to 4. Received 0 to 5"),
    (lambda: nn.Embedding(5, 3)(np.array([-1])), "Received -1"),
    (lambda: nn.Embedding(5, 3)(x(3)), "integers"),
    (lambda: nn.LSTM(3, 4, batch_first=True)(x(5)), r"\(batch, steps, 3\)"),
    (lambda: nn.LSTM(3, 4, batch_first=True)(x(2, 5, 3), (x(1, 2, 4), x(1, 3, 4))), r"\(1, 2, 4\)"),
    (lambda: nn.GRU(3, 4, batch_first=True)(x(2, 5, 3), lengths=[5, 6]), "from 1 to 5. Received 5 to 6"),
    (lambda: nn.GRU(3, 4, batch_first=True)(x(2, 5, 3), lengths=[5]), "2 integers"),
    (lambda: nn.RNN(3, 4, batch_first=True)(x(2, 0, 3)), "at least one step"),
    (lambda: nn.LSTMCell(3, 4)(x(2, 3), (x(2, 4), x(2, 5))), r"\(2, 4\)"),
]


@pytest.mark.parametrize("call, words", WRONG_CONSTRUCTORS + WRONG_INPUTS)
def test_wrong_arguments_are_told(call, words):
    with pytest.raises(nn.UserError, match=words):
        call()
