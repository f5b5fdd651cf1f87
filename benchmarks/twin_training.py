"""Scores of an architecture and its PyTorch twin, trained by one recipe from the same initial weights.

    python benchmarks/twin_training.py lenet5 mlp --seeds 5

Data, batches, schedule, clipping, weight averaging and the choice of the best epoch are the recipe's. Forward, backward and
update are PyTorch's own; only its weights come back, to be scored by the same code as ours. The tests run a short version.
"""

from __future__ import annotations

import argparse
import inspect
import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnatomy.catalog import Architecture
from nnatomy.data.dataset import batches
from nnatomy.runs.prepare import Prepared, prepare
from nnatomy.runs.request import Request
from nnatomy.runs.train import train
from nnatomy.training.recipe import better


@dataclass(frozen=True)
class Comparison:
    """Held-out scores of both sides, seed by seed."""

    architecture: str
    metric: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def noise(self) -> float:
        """Three standard errors of the difference of the means, and 1 % of the score for what few seeds do not show."""
        spread = sum(statistics.variance(side) / len(side) for side in (self.ours, self.theirs))
        return 3 * spread**0.5 + 0.01 * max(abs(statistics.mean(self.theirs)), 0.1)

    @property
    def within_noise(self) -> bool:
        return abs(statistics.mean(self.ours) - statistics.mean(self.theirs)) <= self.noise

    def __str__(self) -> str:
        sides = "; ".join(
            f"{name} {statistics.mean(scores):.4f} ({', '.join(f'{s:.4f}' for s in scores)})"
            for name, scores in (("nnatomy", self.ours), ("torch", self.theirs))
        )
        verdict = "equal" if self.within_noise else "DIFFERENT"
        return f"{self.architecture}: test {self.metric}: {sides}; noise {self.noise:.4f}: {verdict}"


def compare(name: str, seeds: Sequence[int], epochs: int | None = None, limit: int | None = None) -> Comparison:
    """Trains both sides once for each seed and compares the first metric that the recipe must reach, or else its own."""
    ours, theirs, metric = [], [], ""
    for seed in seeds:
        request = Request(name, seed=seed, epochs=epochs, limit=limit, offline=True)
        metric, score = train_twin(request)
        theirs.append(score)
        with tempfile.TemporaryDirectory() as folder:
            options = {"seed": seed, "epochs": epochs, "limit": limit, "offline": True}
            ours.append(train(name, out=Path(folder) / "run", report=False, **options).metrics[metric])
    return Comparison(name, metric, tuple(ours), tuple(theirs))


def train_twin(request: Request) -> tuple[str, float]:
    """Trains the architecture's PyTorch twin as the recipe says; returns the metric's name and its value on the test split."""
    from nnatomy.catalog import architecture as find_architecture

    architecture = find_architecture(request.architecture)
    with options_of_builds(architecture) as built:
        prepared = prepare(request)
    recipe, dataset, model = prepared.recipe, prepared.dataset, prepared.model
    twin_module = architecture.module("torch_twin")
    options = options_for(twin_module.build, prepared, built)
    twin = twin_module.build(**options)
    twin.load_state_dict({name: torch.tensor(a) for name, a in model.state_dict().items()})
    torch.manual_seed(request.seed)

    ours = recipe.optimizer(model.named_parameters())
    rule = getattr(torch.optim, type(ours).__name__)
    optimizer = rule(twin.parameters(), **{k: v for k, v in ours.defaults.items() if k in inspect.signature(rule).parameters})
    rate = float(ours.lr)
    per_epoch = -(-len(dataset.train) // recipe.batch_size)
    schedule = None if recipe.schedule is None else recipe.schedule(recipe.epochs * per_epoch)
    average = {name: t.clone() for name, t in twin.state_dict().items()} if recipe.average is not None else None

    step, waited = 0, 0
    best: tuple[float | None, dict[str, Any]] = (None, {})
    for epoch in range(recipe.epochs):
        twin.train()
        order = np.random.Generator(np.random.Philox(key=[request.seed, epoch + 1]))
        for batch in batches(dataset.train, recipe.batch_size, order, augment=recipe.augment):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1.0 if schedule is None else float(schedule(step)))
            optimizer.zero_grad()
            twin_module.loss(twin, *fitted(batch, prepared, options)).backward()
            if recipe.clip is not None:
                torch.nn.utils.clip_grad_norm_(twin.parameters(), recipe.clip)
            optimizer.step()
            step += 1
            if average is not None:
                for key, t in twin.state_dict().items():
                    average[key] = recipe.average * average[key] + (1 - recipe.average) * t if t.is_floating_point() else t
        weights = {key: t.detach().numpy().copy() for key, t in (average or twin.state_dict()).items()}
        model.load_state_dict(weights)
        score = prepared.task.evaluate(model, dataset.validation).metrics[recipe.metric]
        if better(recipe.metric, score, best[0]):
            best, waited = (score, weights), 0
        else:
            waited += 1
            if recipe.patience is not None and waited >= recipe.patience:
                break
    model.load_state_dict(best[1])
    metric = next(iter(recipe.score), recipe.metric)
    return metric, prepared.task.evaluate(model, dataset.test).metrics[metric]


@contextmanager
def options_of_builds(architecture: Architecture) -> Iterator[list[inspect.BoundArguments]]:
    """Record the plain options with which the recipe calls the model's `build`, to build the twin with them."""
    recipe, original = architecture.module("recipe"), architecture.module("model").build
    noted: list[inspect.BoundArguments] = []

    def noting(*args: Any, **kwargs: Any) -> Any:
        noted.append(inspect.signature(original).bind(*args, **kwargs))
        return original(*args, **kwargs)

    recipe.build = noting
    try:
        yield noted
    finally:
        recipe.build = original


def options_for(build: Any, prepared: Prepared, built: list[inspect.BoundArguments]) -> dict[str, Any]:
    """The options of the last build, as the twin's `build` takes them; what it lacks must have its default.

    Where the recipe made its model in another way they are the recipe's options and the sizes of the data; if they are not the
    right ones, the weights will not fit.
    """
    known, recipe, dataset = inspect.signature(build).parameters, prepared.recipe, prepared.dataset
    if not built:
        sizes = {"features": math.prod(dataset.input_shape), "outputs": dataset.outputs, "classes": dataset.outputs}
        return {name: value for name, value in {**sizes, **recipe.options}.items() if name in known}
    for name, value in built[-1].arguments.items():
        if name not in known and value != built[-1].signature.parameters[name].default:
            raise RuntimeError(
                f"The twin of {prepared.architecture.name} knows no option {name}, which its recipe sets to {value!r}."
            )
    return {name: value for name, value in built[-1].arguments.items() if name in known}


def fitted(batch: tuple[Any, ...], prepared: Prepared, options: dict[str, Any]) -> list[torch.Tensor]:
    """A batch as the twin's loss takes it: rows of `features` where it has that option, the task's target at the end."""
    inputs, target = list(batch[:-1]), prepared.task.target(batch)
    if "features" in options:
        target = target.reshape(len(target), -1) if target is inputs[0] else target
        inputs[0] = inputs[0].reshape(len(inputs[0]), -1)
    return [torch.tensor(a) for a in (*inputs, target)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="+")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--limit", type=int, help="examples in each split; all if not given")
    given = parser.parse_args()
    results = [compare(name, range(given.seeds), given.epochs, given.limit) for name in given.architectures]
    for result in results:
        print(result)
    return 0 if all(result.within_noise for result in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
