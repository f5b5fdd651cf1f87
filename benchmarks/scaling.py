"""A scaling law in small: the loss of GPTs of several widths next to their parameters, and the power that fits it.

    python benchmarks/scaling.py --steps 800 --widths 8,16,32,64

All sizes read the same windows of tinyshakespeare in the same order, with the same learning rate. N are the parameters without
the two tables, as in Kaplan et al. (2020, section 2.1), who found loss ~ N^-0.076 for large models and much data.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

import nnatomy as nn
from nnatomy.architectures.transformers.gpt import build, loss
from nnatomy.data.dataset import Batch, Dataset, SubsetSplit, batches
from nnatomy.optim import AdamW, Cosine
from nnatomy.training.learners import GradientDescent

BATCH, TESTED = 32, 256


class Point(NamedTuple):
    """A trained size: its parameters without the tables, and its loss on held-out windows in nats."""

    width: int
    parameters: int
    loss: float


def measure(dataset: Dataset, width: int, steps: int, layers: int = 2, heads: int = 4, seed: int = 0) -> Point:
    """Train one size for so many steps, and measure it."""
    nn.seed(seed)
    model = build(dataset.outputs, dataset.input_shape[0], width, layers, heads, 0.0)
    spec = GradientDescent(loss, partial(AdamW, lr=4e-3, weight_decay=0.1), partial(Cosine, warmup=0.02), clip=1.0)
    learner = spec.begin(model, dataset)
    learner.set_total(steps)
    state = learner.state()
    for step, batch in enumerate(itertools.islice(_endless(dataset), steps)):
        learner.prepare(state, step, 1.0)
        state, _ = learner.step(state, batch)
    learner.bind(state)
    model.eval()
    held = SubsetSplit(dataset.test, np.arange(min(TESTED, len(dataset.test))))
    with nn.no_grad():
        found = [float(loss(model, *map(nn.tensor, batch))[0]) * len(batch[0]) for batch in batches(held, BATCH)]
    tables = model.wte.weight.size + model.wpe.weight.size
    return Point(width, model.count_parameters() - tables, sum(found) / len(held))


def _endless(dataset: Dataset) -> Iterator[Batch]:
    """Batches of the training part, epoch after epoch."""
    return (batch for epoch in itertools.count() for batch in batches(dataset.train, BATCH, shuffle=epoch, drop_last=True))


def power(points: Sequence[Point]) -> float:
    """Return b of the line ln loss = a - b ln N that fits the points best."""
    n, value = (np.log([getattr(point, name) for point in points]) for name in ("parameters", "loss"))
    return float(-np.polyfit(n, value, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="tinyshakespeare")
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--widths", default="8,16,32,64")
    args = parser.parse_args()
    dataset = nn.data.load(args.data, ("text",), window=args.window)
    print("| width | parameters without tables | loss, nats |\n|--:|--:|--:|")
    points = []
    for width in map(int, args.widths.split(",")):
        points.append(measure(dataset, width, args.steps))
        print(f"| {width} | {points[-1].parameters:,} | {points[-1].loss:.3f} |", flush=True)
    print(f"\nloss ~ N^-{power(points):.3f}")


if __name__ == "__main__":
    main()
