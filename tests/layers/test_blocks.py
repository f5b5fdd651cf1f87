"""Blocks of convolutional networks equal the same blocks of PyTorch's layers, which are written out here."""

import numpy as np
import pytest
from layer_parity import close, compare, torch

import nnatomy as nn

RNG = np.random.default_rng(8)
T = torch.nn


def conv(i, o, k=1, stride=1, groups=1, dilation=1):
    return T.Conv2d(i, o, k, stride, dilation * (k // 2), dilation, groups, bias=False)


class Residual(T.Module):
    """conv1, bn1, conv2, bn2, ... with ReLU between, x or downsample(x) added, and ReLU."""

    def __init__(self, layers, downsample=None, adds=True):
        super().__init__()
        self.adds = adds
        for i, layer in enumerate(layers, start=1):
            setattr(self, f"conv{i}", layer)
            setattr(self, f"bn{i}", T.BatchNorm2d(layer.out_channels))
        self.count, self.downsample = len(layers), downsample

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.count else y
        if not self.adds:
            return torch.relu(y)
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Inverted(T.Module):
    def __init__(self, i, o, stride, ratio):
        super().__init__()
        h = i * ratio
        first = [T.Sequential(conv(i, h), T.BatchNorm2d(h), T.ReLU6())] if ratio > 1 else []
        depthwise = T.Sequential(conv(h, h, 3, stride, h), T.BatchNorm2d(h), T.ReLU6())
        self.conv = T.Sequential(*first, depthwise, conv(h, o), T.BatchNorm2d(o))
        self.adds = stride == 1 and i == o

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class Squeeze(T.Module):
    def __init__(self, channels, squeezed, inner=torch.relu, gate=torch.sigmoid):
        super().__init__()
        self.inner, self.gate = inner, gate
        self.fc1, self.fc2 = T.Conv2d(channels, squeezed, 1), T.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        return x * self.gate(self.fc2(self.inner(self.fc1(x.mean((2, 3), keepdim=True)))))


def separable(i, o, stride):
    return T.Sequential(conv(i, i, 3, stride, i), T.BatchNorm2d(i), T.ReLU(), conv(i, o), T.BatchNorm2d(o), T.ReLU())


def down(i, o, stride):
    ours = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
    return ours, T.Sequential(conv(i, o, 1, stride), T.BatchNorm2d(o))


to_six, halved, wide, first = down(4, 6, 1), down(4, 6, 2), down(4, 8, 2), down(4, 8, 2)
CASES = {
    "basic": (nn.BasicBlock(4, 4), Residual([conv(4, 4, 3), conv(4, 4, 3)])),
    "basic, wider": (nn.BasicBlock(4, 6, 1, to_six[0]), Residual([conv(4, 6, 3), conv(6, 6, 3)], to_six[1])),
    "basic, halved": (nn.BasicBlock(4, 6, 2, halved[0]), Residual([conv(4, 6, 3, 2), conv(6, 6, 3)], halved[1])),
    "bottleneck": (nn.Bottleneck(4, 1), Residual([conv(4, 1), conv(1, 1, 3), conv(1, 4)])),
    "bottleneck, halved": (nn.Bottleneck(4, 2, 2, wide[0]), Residual([conv(4, 2), conv(2, 2, 3, 2), conv(2, 8)], wide[1])),
    "basic, plain": (nn.BasicBlock(4, 6, 2, residual=False), Residual([conv(4, 6, 3, 2), conv(6, 6, 3)], adds=False)),
    "bottleneck, plain": (nn.Bottleneck(4, 2, residual=False), Residual([conv(4, 2), conv(2, 2, 3), conv(2, 8)], adds=False)),
    "bottleneck, stride in 1x1": (
        nn.Bottleneck(4, 2, 2, first[0], stride_in="1x1"),
        Residual([conv(4, 2, 1, 2), conv(2, 2, 3), conv(2, 8)], first[1]),
    ),
    "bottleneck, groups": (
        nn.Bottleneck(8, 2, groups=3, base_width=128, dilation=2),
        Residual([conv(8, 12), conv(12, 12, 3, groups=3, dilation=2), conv(12, 8)]),
    ),
    "separable": (nn.DepthwiseSeparable(4, 6), separable(4, 6, 1)),
    "separable, halved": (nn.DepthwiseSeparable(4, 6, 2), separable(4, 6, 2)),
    "inverted": (nn.InvertedResidual(4, 4, 1, 3), Inverted(4, 4, 1, 3)),
    "inverted, not expanded": (nn.InvertedResidual(4, 4, 1, 1), Inverted(4, 4, 1, 1)),
    "inverted, halved": (nn.InvertedResidual(4, 4, 2, 2), Inverted(4, 4, 2, 2)),
    "inverted, wider": (nn.InvertedResidual(4, 6, 1, 2), Inverted(4, 6, 1, 2)),
    "squeeze": (nn.SqueezeExcitation(4, 2), Squeeze(4, 2)),
    "squeeze, other activations": (
        nn.SqueezeExcitation(4, 2, nn.SiLU, nn.Hardsigmoid),
        Squeeze(4, 2, T.functional.silu, lambda x: T.functional.relu6(x + 3) / 6),  # torch's hardsigmoid divides in float32
    ),
}


@pytest.mark.parametrize("ours, theirs", CASES.values(), ids=CASES)
def test_block(ours, theirs):
    ours.astype("float64")
    theirs.double()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        theirs.load_state_dict({k: v + 1 if "bn" in k and k.endswith("weight") else v for k, v in theirs.state_dict().items()})
    state = {k: v.numpy() for k, v in theirs.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    x = RNG.normal(size=(3, ours.conv1.in_channels if hasattr(ours, "conv1") else 4, 6, 5)) * 2
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        compare(ours, theirs, x, tolerance=1e-9)
    theirs_after = theirs.state_dict()
    for name, value in ours.state_dict().items():
        close(value, theirs_after[name].numpy(), f"{name} after training passes")


def test_squeezed_channels_are_scaled_between_0_and_1():
    x = RNG.normal(size=(2, 4, 3, 3)).astype("float32")
    y = nn.SqueezeExcitation(4, 2)(x).data
    ratio = y / x
    assert ((ratio > 0) & (ratio < 1)).all()
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :, :1, :1], ratio.shape), rtol=1e-5)


def test_weights_come_from_the_given_generator():
    for name, args in (("BasicBlock", (4, 4)), ("Bottleneck", (4, 1)), ("DepthwiseSeparable", (4, 6)),
                       ("InvertedResidual", (4, 4, 1, 3)), ("SqueezeExcitation", (4, 2))):  # fmt: skip
        first, second, other = (getattr(nn, name)(*args, generator=nn.Generator(seed)).state_dict() for seed in (1, 1, 2))
        for key, value in first.items():
            np.testing.assert_array_equal(value, second[key])
            drawn = np.ptp(value) > 0
            assert not drawn or not np.array_equal(value, other[key]), f"{name}.{key}"


WRONG = [
    (lambda: nn.BasicBlock(0, 4), "inplanes"),
    (lambda: nn.BasicBlock(4, 6)(np.ones((2, 4, 5, 5), "float32")),
     r"BasicBlock adds.*\(2, 6, 5, 5\). Received \(2, 4, 5, 5\)"),
    (lambda: nn.Bottleneck(4, 1, 2)(np.ones((2, 4, 5, 5), "float32")), "Bottleneck adds"),
    (lambda: nn.Bottleneck(4, 1, groups=0), "groups"),
    (lambda: nn.Bottleneck(4, 1, stride_in="1x3"), "stride_in"),
    (lambda: nn.InvertedResidual(4, 4, 1, 0), "expand_ratio"),
    (lambda: nn.DepthwiseSeparable(4, -1), "oup"),
    (lambda: nn.SqueezeExcitation(4, 0), "squeeze_channels"),
    (lambda: nn.InvertedResidual(4, 4, 1, 2)(np.ones((2, 3, 5, 5), "float32")), r"\(batch, 4, height, width\)"),
]


@pytest.mark.parametrize("call, words", WRONG)
def test_wrong_arguments_are_told(call, words):
    with pytest.raises(nn.UserError, match=words):
        call()
