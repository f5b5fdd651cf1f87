"""Recurrent networks of Elman and Jordan in PyTorch: an independent twin, written from Elman (1990) and Jordan (1986).
It shares nothing with the architecture's model but the names and shapes of its state, which are torch.nn.RNN's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Weights(nn.Module):
    """The parameters of all layers and directions, U(-1, 1) / sqrt(hidden), by torch.nn.RNN's names."""

    def __init__(self, inputs: int, hidden: int, returning: int, layers: int, suffixes: list[str]) -> None:
        super().__init__()
        for layer in range(layers):
            width = hidden * len(suffixes) if layer else inputs
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (hidden, width), "weight_hh": (hidden, returning)}
            shapes |= {"bias_ih": (hidden,), "bias_hh": (hidden,)}
            for suffix in suffixes:
                for name, shape in shapes.items():
                    start = (2 * torch.rand(shape) - 1) / hidden**0.5
                    self.register_parameter(f"{name}_l{layer}{suffix}", nn.Parameter(start))

    def of(self, layer: int, suffix: str) -> list[Tensor]:
        return [getattr(self, f"{name}_l{layer}{suffix}") for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")]


class RNN(nn.Module):
    """h_t = f(W x_t + b + U r_t + d), where r_t is the state before (Elman), or what the outputs have left (Jordan)."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, layers: int, bidirectional: bool, relu: bool, jordan: bool, decay: float,
        truncation: int | None, dropout: float, vocabulary: int | None, last: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers, self.suffixes = layers, ["", "_reverse"] if bidirectional else [""]
        self.f = torch.relu if relu else torch.tanh
        self.jordan, self.decay, self.truncation, self.p, self.last = jordan, decay, truncation, dropout, last
        self.embedding = None if vocabulary is None else nn.Embedding(vocabulary, inputs)
        self.rnn = Weights(inputs, hidden, outputs if jordan else hidden, layers, self.suffixes)
        self.output = nn.Linear(hidden * len(self.suffixes), outputs)

    def cut(self, state: Tensor, step: int) -> Tensor:
        """The state that comes into a step, from which no gradient goes back at every `truncation`th step."""
        return state.detach() if self.truncation and step and step % self.truncation == 0 else state

    def direction(self, x: Tensor, real: Tensor, layer: int, suffix: str) -> tuple[Tensor, Tensor]:
        """One layer in one direction: (batch, time, hidden), and the state after its last step."""
        w, b, u, d = self.rnn.of(layer, suffix)
        h, out = x.new_zeros(len(x), len(w)), []
        times = range(x.shape[1]) if suffix == "" else range(x.shape[1] - 1, -1, -1)
        for step, t in enumerate(times):
            h = self.cut(h, step)
            there = real[:, t, None]
            h = torch.where(there, self.f(F.linear(x[:, t], w, b) + F.linear(h, u, d)), h)
            out.append(torch.where(there, h, torch.zeros_like(h)))
        return torch.stack(out if suffix == "" else out[::-1], dim=1), h

    def elman(self, x: Tensor, real: Tensor) -> Tensor:
        finals: list[Tensor] = []
        for layer in range(self.layers):
            x = F.dropout(x, self.p, self.training) if layer else x
            both = [self.direction(x, real, layer, suffix) for suffix in self.suffixes]
            x, finals = torch.cat([out for out, _ in both], dim=2), [final for _, final in both]
        return self.output(torch.cat(finals, dim=1) if self.last else x)

    def jordans(self, x: Tensor, real: Tensor) -> Tensor:
        w, b, u, d = self.rnn.of(0, "")
        y = c = x.new_zeros(len(x), self.output.out_features)
        ys = []
        for t in range(x.shape[1]):
            c = self.cut(self.decay * c + y, t)
            y = self.output(self.f(F.linear(x[:, t], w, b) + F.linear(c, u, d)))
            ys.append(torch.where(real[:, t, None], y, self.output.bias))
        each = torch.stack(ys, dim=1)
        return each[torch.arange(len(x)), real.sum(1) - 1] if self.last else each

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        real = torch.ones(x.shape[:2], dtype=torch.bool)
        if lengths is not None:
            real = torch.arange(x.shape[1]) < lengths[:, None]
        given = x if self.embedding is None else self.embedding(x)
        return self.jordans(given, real) if self.jordan else self.elman(given, real)


def build(
    inputs: int,
    hidden: int,
    outputs: int,
    layers: int = 1,
    bidirectional: bool = False,
    nonlinearity: str = "tanh",
    feedback: str = "state",
    decay: float = 0.0,
    truncation: int | None = None,
    dropout: float = 0.0,
    vocabulary: int | None = None,
    readout: str = "each",
) -> RNN:
    """The network with torch.nn.RNN's initial weights."""
    for name, value, values in (
        ("nonlinearity", nonlinearity, ("tanh", "relu")),
        ("feedback", feedback, ("state", "output")),
        ("readout", readout, ("each", "last")),
    ):
        if value not in values:
            raise ValueError(f"{name} is one of {values}. Received {value!r}. Use {name}={values[0]!r}.")
    if feedback == "output" and (layers > 1 or bidirectional):
        raise ValueError(f"Feedback of outputs needs one layer and direction. Received {layers} and {bidirectional}.")
    relu, jordan, last = nonlinearity == "relu", feedback == "output", readout == "last"
    return RNN(inputs, hidden, outputs, layers, bidirectional, relu, jordan, decay, truncation, dropout, vocabulary, last)


def loss(model: RNN, *batch: Tensor) -> Tensor:
    """Mean cross-entropy of class ids, or mean squared error of numbers, over all outputs."""
    *inputs, targets = batch
    y = model(*inputs)
    if targets.is_floating_point():
        return F.mse_loss(y, targets)
    return F.cross_entropy(y.flatten(0, -2), targets.flatten())
