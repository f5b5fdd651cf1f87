"""The adding problem of Hochreiter and Schmidhuber (1997): how far back can a recurrent network's error reach?

    python benchmarks/adding_problem.py --length 200 --steps 1500

Of a sequence of random numbers two are marked; after the last step the network must give their sum. A model that always
predicts 1 has a mean squared error of 1/6. An LSTM and a plain tanh RNN get the same units, examples, steps and learning rate.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import nnatomy as nn
from nnatomy import functional as F
from nnatomy.architectures.recurrent.lstm import build, start_gates
from nnatomy.optim import Adam, Cosine, clip_grad_norm

Array = np.ndarray[Any, Any]


class PlainRNN(nn.Module):  # type: ignore[misc, name-defined]
    """h_t = tanh(W_ih x_t + W_hh h_{t-1} + b), and a linear layer on the last h."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        self.rnn = nn.RNN(inputs, hidden, batch_first=True)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, x: Any) -> Any:
        return self.output(self.rnn(x)[0][:, -1])


def examples(n: int, length: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Sequences [n, length, 2] of numbers in [0, 1) and marks, one mark in each half; sums [n, 1]."""
    numbers, marks, rows = rng.uniform(0, 1, (n, length)), np.zeros((n, length)), np.arange(n)
    marks[rows, rng.integers(0, length // 2, n)] = 1
    marks[rows, rng.integers(length // 2, length, n)] = 1
    x = np.stack([numbers, marks], axis=2)
    return x.astype(np.float32), (numbers * marks).sum(axis=1, keepdims=True).astype(np.float32)


def train(model: Any, length: int, steps: int, batch: int = 50, lr: float = 5e-3, seed: int = 0) -> Iterator[tuple[int, float]]:
    """Adam on fresh examples; yields (step, error on 500 held-out sequences) ten times."""
    rng = np.random.default_rng(seed)
    held_x, held_y = examples(500, length, np.random.default_rng(seed + 1000))
    optimizer, schedule = Adam(model.parameters(), lr=lr), Cosine(steps, warmup=0.02)
    for step in range(1, steps + 1):
        x, y = examples(batch, length, rng)
        optimizer.zero_grad()
        F.mse_loss(model(nn.tensor(x)), nn.tensor(y)).backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.factor = schedule(step - 1)
        optimizer.step()
        if step % max(steps // 10, 1) == 0:
            with nn.no_grad():
                yield step, float(np.mean((model(nn.tensor(held_x)).numpy() - held_y) ** 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--forget-bias", type=float, default=6.0)
    parser.add_argument("--input-bias", type=float, default=-4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("lstm", "rnn"))
    args = parser.parse_args()
    models = {
        "lstm": lambda: start_gates(build(2, args.hidden, 1, readout="last"), args.forget_bias, args.input_bias),
        "rnn": lambda: PlainRNN(2, args.hidden, 1),
    }
    for name, make in models.items():
        if args.only not in (None, name):
            continue
        nn.seed(args.seed)
        started, history = time.perf_counter(), []
        for step, error in train(make(), args.length, args.steps, lr=args.lr, seed=args.seed):
            history.append(round(error, 5))
            print(f"{name}: step {step}, error {error:.4f}, {time.perf_counter() - started:.0f} s", flush=True)
        print(json.dumps({"model": name, **vars(args), "error": history[-1], "solved": history[-1] < 0.01, "history": history}))


if __name__ == "__main__":
    main()
