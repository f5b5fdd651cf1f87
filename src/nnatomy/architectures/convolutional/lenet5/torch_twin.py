"""LeNet-5 in PyTorch: an independent twin, written from LeCun, Bottou, Bengio & Haffner (1998), section II.B.
It shares nothing with the architecture's model but the names and shapes of its state: c1, s2, c3, s4, c5, f6, output, codes."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Table I of the paper: the maps of S2 that each map of C3 sees.
TABLE = [
    *([0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [0, 4, 5], [0, 1, 5]),
    *([0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [0, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 5]),
    *([0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5]),
    [0, 1, 2, 3, 4, 5],
]


class Modern(nn.Module):
    """The form common today: 28 x 28 input, plain average pooling, full C3, a softmax at the end."""

    def __init__(self, classes: int, activation: str, channels: int) -> None:
        super().__init__()
        self.activation = {"tanh": torch.tanh, "relu": torch.relu}[activation]
        self.c1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.s2 = nn.AvgPool2d(2)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.s4 = nn.AvgPool2d(2)
        self.c5 = nn.Linear(400, 120)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        act = self.activation
        x = self.s2(act(self.c1(x)))
        x = self.s4(act(self.c3(x))).flatten(1)
        y: Tensor = self.output(act(self.f6(act(self.c5(x)))))
        return y


def squash(a: Tensor) -> Tensor:
    """The paper's A tanh(S a)."""
    return 1.7159 * torch.tanh(2 / 3 * a)


class Subsampling(nn.Module):
    """The sum of each 2 x 2 patch, times a coefficient, plus a bias, both trained, one of each per map."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(maps))
        self.bias = nn.Parameter(torch.empty(maps))

    def forward(self, x: Tensor) -> Tensor:
        total = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
        return total * self.weight[:, None, None] + self.bias[:, None, None]


class PartialConv(nn.Module):
    """The convolution C3: each map sees only its maps of TABLE, so 60 kernels of the 96 exist."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(60, 5, 5))
        self.bias = nn.Parameter(torch.empty(16))
        self.targets = [o for o, sources in enumerate(TABLE) for _ in sources]
        self.sources = [i for sources in TABLE for i in sources]

    def forward(self, x: Tensor) -> Tensor:
        full = self.weight.new_zeros(16, 6, 5, 5)
        full[self.targets, self.sources] = self.weight
        return F.conv2d(x, full, self.bias)


class Paper(nn.Module):
    """The form of 1998: 32 x 32 input, 60,000 trained weights, Euclidean distances to fixed codes at the end."""

    codes: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = PartialConv()
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        codes = np.random.default_rng(0).choice([-1.0, 1.0], (classes, 84))
        self.register_buffer("codes", torch.tensor(codes, dtype=torch.get_default_dtype()))
        # The paper draws from a uniform distribution within 2.4 / fan-in (C3's fan-in differs by map: 100 is its mean).
        fan_in = {"c1": 25, "s2": 4, "c3": 100, "s4": 4, "c5": 400, "f6": 120}
        for name, parameter in self.named_parameters():
            bound = 2.4 / fan_in[name.split(".")[0]]
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        x = squash(self.s2(squash(self.c1(x))))
        x = squash(self.s4(squash(self.c3(x))))
        x = squash(self.c5(x)).flatten(1)
        x = squash(self.f6(x))
        return ((x[:, None, :] - self.codes) ** 2).sum(2)


def build(form: str = "modern", classes: int = 10, activation: str = "tanh", channels: int = 1) -> nn.Module:
    """The model with its own initial weights; `activation` and `channels` concern the modern form only."""
    if form not in ("modern", "paper"):
        raise ValueError(f"form must be 'modern' or 'paper', got {form!r}")
    return Modern(classes, activation, channels) if form == "modern" else Paper(classes)


def loss(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy (modern), or the paper's equation 9 on penalties with j = 1 (paper)."""
    y: Tensor = model(x)
    if isinstance(model, Modern):
        return F.cross_entropy(y, targets)
    own = y.gather(1, targets[:, None])[:, 0]
    rejection = torch.full_like(y[:, :1], -1.0)
    return (own + torch.logsumexp(torch.cat([rejection, -y], 1), 1)).mean()
